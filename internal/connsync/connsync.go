// Package connsync is the connection synchronisation of the kernel's IPVS (net/netfilter/ipvs/ip_vs_sync.c): what two
// directors tell each other of their connections, so that either can go on where the other stopped.
//
// Decode reads datagrams of version 0 and 1, Packer writes version 1; Master decides which connections are told and when;
// Waiting keeps what was told of real servers that are not configured (yet). The package is pure: datagrams go in and come
// out as bytes, time comes in as an argument.
//
// Stream is what vipd's directors have beside it: acknowledged, repaired and, with a key, authenticated.
//
// ipvs: nothing is authenticated, acknowledged or repeated. Whoever can send to the group can make connections to
// configured real servers, and to no others.
package connsync

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
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

// Begun is how far a connection is of which the real server is told the client by the PROXY protocol.
type Begun struct {
	State   Proxy
	Initial uint32 // the client's initial sequence number
}

// Proxy is enum proxy of bpf/shared.h.
type Proxy uint8

// What a real server has of the header.
const (
	ProxyNone Proxy = iota // nothing is put in front, or the real server has not answered yet
	ProxyDue               // it has answered, and not acknowledged the header
	ProxyDone
	proxies
)

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
	// Local is the director's own end of a connection of FULLNAT, which its real server sees as the client; of a Stream alone, whose
	// peer must understand it. Not valid: it has none. Begun is what is known of the PROXY header in front of what the client says.
	Local netip.AddrPort
	Begun Begun
	// Dated is a connection of a Stream: it was used last Idle ago, and what another director saw of it later holds.
	Dated bool
	Idle  time.Duration
}

// Forward is the method that the sender forwards by.
func (c Conn) Forward() lb.Forward { return lb.Forward(c.Flags & ForwardMask) }

// Is6 is the family of the client.
func (c Conn) Is6() bool { return c.Client.Addr().Is6() }
