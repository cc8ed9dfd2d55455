// Package connsync is the connection synchronisation of the kernel's IPVS (net/netfilter/ipvs/ip_vs_sync.c): what two
// directors tell each other of their connections, so that either can go on where the other stopped.
//
// Decode reads datagrams of version 0 and 1, Packer writes version 1; Master decides which connections are told and when;
// Waiting keeps what was told of real servers that are not configured (yet). The package is pure: datagrams go in and come
// out as bytes, time comes in as an argument.
//
// ipvs: nothing is authenticated, acknowledged or repeated. Whoever can send to the group can make connections to
// configured real servers, and to no others.
package connsync

import (
	"net/netip"

	"vipd/internal/lb"
)

// Port and the groups are where datagrams go unless something else is said.
const Port = 8848

// The groups by family.
var (
	Group4 = netip.AddrFrom4([4]byte{224, 0, 0, 81})
	Group6 = netip.MustParseAddr("ff02::81")
)

// The datagram's bounds, in bytes of UDP payload.
const (
	DefaultMaxLen4 = 1472 // 1500 without the headers of IPv4 and UDP
	DefaultMaxLen6 = 1452
	MaxMaxLen      = 65507
	minBackupLen   = 1024
)

// Flags are ip_vs.h's IP_VS_CONN_F_*, of which the low 16 bits are the same for ever.
type Flags uint32

// The flags that mean something to a receiver. The lowest three bits are lb.Forward.
const (
	ForwardMask  Flags = 0x0007
	Synced       Flags = 0x0020 // made by synchronisation; the receiver's own business
	hashed       Flags = 0x0040
	NoOutput     Flags = 0x0080 // replies do not pass the sender, or have not yet
	Inactive     Flags = 0x0100
	OutSeq       Flags = 0x0200
	InSeq        Flags = 0x0400
	NoClientPort Flags = 0x0800 // of FTP's data connections: not known yet
	Template     Flags = 0x1000
	OnePacket    Flags = 0x2000

	seqFlags = OutSeq | InSeq
	// kept is IP_VS_CONN_F_BACKUP_MASK: what a receiver takes over.
	kept = ForwardMask | NoOutput | Inactive | seqFlags | NoClientPort | Template
)

// Sequence is how much longer an application helper has made one direction of a TCP connection (struct ip_vs_seq).
type Sequence struct{ Init, Delta, Previous uint32 }

// Conn is one connection or template as it is told.
type Conn struct {
	Protocol lb.Protocol    // 0 in a template of a firewall mark
	Client   netip.AddrPort // port 0 in a template
	Virtual  netip.AddrPort // the mark as an address in a template of one
	Real     netip.AddrPort
	Mark     uint32 // of the service. If zero, none.
	Flags    Flags
	State    lb.State // of a template: 1 if one of its connections was completed
	Timeout  uint32   // seconds. If zero, as the receiver's own tables say.
	// In and Out are there if Flags has InSeq or OutSeq.
	In, Out Sequence
	// Engine is the persistence engine that made a template, EngineData what it recognizes clients by. If empty, none.
	Engine, EngineData string
}

// Forward is the method that the sender forwards by.
func (c Conn) Forward() lb.Forward { return lb.Forward(c.Flags & ForwardMask) }

// Is6 is the family of the client.
func (c Conn) Is6() bool { return c.Client.Addr().Is6() }

// Daemon is one half, master or backup, as ipvsadm --start-daemon describes it.
type Daemon struct {
	Interface string     // that datagrams leave and come in by
	ID        uint8      // A backup of 0 takes every one.
	MaxLen    uint16     // bytes of a datagram. If zero, 1472, or 1452 with a group of IPv6.
	Group     netip.Addr // If invalid, Group4.
	Port      uint16     // If zero, 8848.
	TTL       uint8      // If zero, 1.
}

// Normal fills in what is not said, as the kernel does.
func (d Daemon) Normal(backup bool) Daemon {
	if !d.Group.IsValid() {
		d.Group = Group4
	}
	if d.MaxLen == 0 {
		if d.MaxLen = DefaultMaxLen4; d.Group.Is6() {
			d.MaxLen = DefaultMaxLen6
		}
	}
	if backup {
		d.MaxLen = max(d.MaxLen, minBackupLen)
	}
	if d.Port == 0 {
		d.Port = Port
	}
	d.TTL = max(d.TTL, 1)
	return d
}
