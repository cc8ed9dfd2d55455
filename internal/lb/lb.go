// Package lb holds the words of load balancing that every floor above shares: services, real servers, forwarding
// methods, connections and counters. It decides nothing and touches nothing: plain comparable values, printed as
// ipvsadm(8) and keepalived print them.
//
// Invariant: a value of this package never needs the host to be understood; an address is a literal, a weight a number.
package lb

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protocol is an IP protocol number (IANA): the transport of a virtual service.
type Protocol uint8

// The transports that a service may have. A firewall-mark template has protocol 0 ("IP").
const (
	IP   Protocol = 0
	TCP  Protocol = 6
	UDP  Protocol = 17
	ESP  Protocol = 50 // never scheduled; follows a UDP connection of port 500
	AH   Protocol = 51 // as ESP
	SCTP Protocol = 132
)

// String gives the name as ipvsadm prints it: TCP, UDP, SCTP, AH, ESP, IP.
func (p Protocol) String() string {
	switch p {
	case IP:
		return "IP"
	case ESP:
		return "ESP"
	case AH:
		return "AH"
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return fmt.Sprintf("IP_%d", uint8(p))
}

// Forward is how packets reach a real server. The numbers are those of the IPVS kernel interface (ip_vs.h).
type Forward uint8

// Forwarding methods.
const (
	Masq   Forward = 0 // NAT: destination address and port rewritten
	Local  Forward = 1 // the director itself
	Tunnel Forward = 2 // encapsulated
	Route  Forward = 3 // direct routing: only the destination MAC changes
	Bypass Forward = 4 // straight to the original destination
)

// String gives the name as ipvsadm's Forward column has it.
func (f Forward) String() string {
	switch f {
	case Masq:
		return "Masq"
	case Local:
		return "Local"
	case Tunnel:
		return "Tunnel"
	case Route:
		return "Route"
	case Bypass:
		return "Bypass"
	}
	return fmt.Sprintf("Forward(%d)", uint8(f))
}

// SchedFlags are a service's scheduler flags, in the positions of the kernel interface shifted down to bit 0.
type SchedFlags uint8

// Scheduler flags. What they mean depends on the scheduler: for sh and mh, flag 1 is fallback and flag 2 is port.
const (
	SchedFlag1 SchedFlags = 1 << iota
	SchedFlag2
	SchedFlag3
)

// ServiceKey names a virtual service: by protocol, address and port, or by firewall mark and family.
// It is comparable and serves as a map key.
type ServiceKey struct {
	Protocol Protocol       // IP (0) with a firewall mark
	Addr     netip.AddrPort // invalid with a firewall mark; port 0 means every port
	Mark     uint32         // 0: not a firewall-mark service
	V6       bool           // family of a firewall-mark service; otherwise Addr tells
}

// String prints the key as keepalived names a service in its log: [10.0.8.9]:tcp:80, FWM 7.
func (k ServiceKey) String() string {
	if k.Mark != 0 {
		return fmt.Sprintf("FWM %d", k.Mark)
	}
	return EndpointName(k.Protocol, k.Addr)
}

// EndpointName prints an endpoint as keepalived does in logs and FIFOs: [10.0.8.12]:tcp:80.
func EndpointName(p Protocol, a netip.AddrPort) string {
	proto := "none"
	switch p {
	case TCP:
		proto = "tcp"
	case UDP:
		proto = "udp"
	case SCTP:
		proto = "sctp"
	}
	return fmt.Sprintf("[%s]:%s:%d", a.Addr(), proto, a.Port())
}

// Service is a virtual service and its rules.
type Service struct {
	ServiceKey
	Scheduler   string        // as ipvsadm names it: rr, wrr, sh, … If empty, wlc.
	Flags       SchedFlags    // If zero, none.
	Persistence time.Duration // whole seconds. If zero, not persistent.
	// Wild is what of a client's address does not count for persistence. If zero, all of it counts. For IPv4 it is the
	// inverse of the netmask (0xff for 255.255.255.0), which may have gaps and may be everything; for IPv6 the number of
	// low bits (64 for prefix length 64), up to 127.
	Wild      uint32
	OnePacket bool   // UDP: schedule every datagram anew.
	Engine    string // persistence engine. If empty, none.
	// Segment is the most that a TCP handshake that passes may say of its largest segment. If zero, what it says; FitSegment:
	// what fits the way to the real server.
	Segment uint16
	// Locals are this host's addresses from which requests go to real servers that masquerade (FULLNAT). If zero, the client's.
	Locals AddrRange
	// Proxy tells those real servers who the client is, by the PROXY protocol's version 2. TCP alone.
	Proxy bool
	// CarryOn takes what is in the middle of a TCP connection that is not known here for one that another director had, and
	// sends it where sh or mh would have it there: the table does not depend on the order of real servers. Not persistent.
	CarryOn bool
	// Telling is which of its connections other directors are told of.
	Telling Telling
}

// Telling is which connections of a service a director tells its peers (connection_sync, and not lvs_sync_daemon).
type Telling uint8

// What can be told.
const (
	TellUsual       Telling = iota // as the kernel: from the third packet of the client on, of TCP once it is established
	TellEstablished                // from the first packet on, of TCP once it is established
	TellAll                        // from the first packet on
	TellNone
)

var tellings = [...]string{"usual", "established", "all", "none"}

func (t Telling) String() string { return tellings[t&3] }

// ParseTelling reads what String writes; nothing is usual.
func ParseTelling(s string) (Telling, error) {
	if i := slices.Index(tellings[:], s); i >= 0 {
		return Telling(i), nil
	}
	if s == "" {
		return TellUsual, nil
	}
	return TellUsual, fmt.Errorf("%.20q is none of %s", s, strings.Join(tellings[:], ", "))
}

// FitSegment is Service.Segment for "whatever fits".
const FitSegment = 1

// AddrRange is the addresses from First to Last. The zero value has none.
type AddrRange struct{ First, Last netip.Addr }

// Equal tells whether both have the same addresses. It is ==, for those who compare whole services field by field.
func (r AddrRange) Equal(o AddrRange) bool { return r == o }

// MaxRange is how many addresses an AddrRange may have.
const MaxRange = 255

// Len is how many addresses there are: 0 also where Last is before First, of another family, or too far behind.
func (r AddrRange) Len() int {
	if !r.First.IsValid() || r.First.Is4() != r.Last.Is4() {
		return 0
	}
	n := 1
	for a := r.First; a != r.Last; a = a.Next() {
		if n++; n > MaxRange || !a.IsValid() {
			return 0
		}
	}
	return n
}

// At is the address of that number, which must be there.
func (r AddrRange) At(i int) netip.Addr {
	a := r.First
	for range i {
		a = a.Next()
	}
	return a
}

// Index is which of the addresses a is, the first being 0; -1: none.
func (r AddrRange) Index(a netip.Addr) int {
	if !r.First.IsValid() || a.Is4() != r.First.Is4() || a.Less(r.First) || r.Last.Less(a) {
		return -1
	}
	low := func(a netip.Addr) uint64 { b := a.As16(); return binary.BigEndian.Uint64(b[8:]) }
	return int(low(a) - low(r.First)) // they are few
}

// String is the first address, and the last if that is another: 10.0.8.25, 10.0.8.25-10.0.8.28.
func (r AddrRange) String() string {
	switch {
	case !r.First.IsValid():
		return ""
	case r.First == r.Last:
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// ParseAddrRange reads what String writes, and as keepalived writes a range: 10.0.8.25-28 or, with IPv6, a hexadecimal last
// part.
func ParseAddrRange(s string) (r AddrRange, err error) {
	first, last, ranged := strings.Cut(s, "-")
	if r.First, err = netip.ParseAddr(first); err != nil {
		return AddrRange{}, err
	}
	switch {
	case !ranged:
		last = first
	case !strings.ContainsAny(last, ".:"):
		last = first[:strings.LastIndexAny(first, ".:")+1] + last
	}
	if r.Last, err = netip.ParseAddr(last); err != nil {
		return AddrRange{}, err
	}
	if r.Len() == 0 {
		return AddrRange{}, fmt.Errorf("%s is no range of at most %d addresses", s, MaxRange)
	}
	return r, nil
}

// Is6 is the family of the service's clients.
func (k ServiceKey) Is6() bool { return k.V6 || k.Mark == 0 && k.Addr.Addr().Is6() }

// WildOf is Service.Wild for a prefix length, of a service of IPv6 or of IPv4.
func WildOf(bits int, v6 bool) uint32 {
	if v6 {
		return uint32(128 - bits)
	}
	return uint32(uint64(1)<<(32-bits) - 1)
}

// MaskBits is the prefix length of the service's netmask; false if it has gaps, which only an IPv4 netmask can have.
func (s Service) MaskBits() (int, bool) {
	if s.Is6() {
		return 128 - int(s.Wild), true
	}
	n := bits.LeadingZeros32(s.Wild)
	return n, s.Wild == WildOf(n, false)
}

// Netmask is the service's netmask as ipvsadm's -M takes it: 255.255.255.0, or a prefix length for IPv6. Empty when all
// of a client's address counts.
func (s Service) Netmask() string {
	switch m := ^s.Wild; {
	case s.Wild == 0:
		return ""
	case s.Is6():
		return fmt.Sprint(128 - int(s.Wild))
	default:
		return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
	}
}

// TunnelType is the encapsulation of a Tunnel real server. Numbers as in the kernel interface.
type TunnelType uint8

// Encapsulations.
const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// TunnelOptions are ipvsadm's --tun-type, --tun-port and --tun-csum options.
type TunnelOptions struct {
	Type    TunnelType
	Port    uint16 // GUE destination port
	Csum    bool
	RemCsum bool
}

// Real is a real server as a service has it.
type Real struct {
	Addr    netip.AddrPort // port 0: the packet's own port is kept
	Forward Forward
	Weight  int32  // 0: no new connections
	Upper   uint32 // connections at which it is overloaded. If zero, never.
	Lower   uint32 // connections below which it recovers. If zero, three quarters of Upper.
	Tunnel  TunnelOptions
}

// Pool is a service with its real servers in order of addition (IPVS walks them newest first).
type Pool struct {
	Service Service
	Reals   []Real
}

// Counters are what has passed since the start or the last zeroing.
type Counters struct {
	Conns    uint64 // connections made
	InPkts   uint64 // packets from clients
	OutPkts  uint64 // packets to clients, where they pass us (NAT)
	InBytes  uint64 // IP total length of InPkts
	OutBytes uint64
}

// Add returns the sum of two counts.
func (c Counters) Add(o Counters) Counters {
	return Counters{c.Conns + o.Conns, c.InPkts + o.InPkts, c.OutPkts + o.OutPkts, c.InBytes + o.InBytes, c.OutBytes + o.OutBytes}
}

// Rates are Counters per second.
type Rates Counters

// State is a connection's protocol state, with the numbers that the IPVS sync protocol puts on the wire: a table for each
// protocol, this one for TCP.
type State uint8

// TCP states (ip_vs.h order). UDP has the single state UDPNormal; templates use None and Assured.
const (
	None State = iota
	Established
	SynSent
	SynRecv
	FinWait
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	SynAck
)

// SCTP states (ip_vs.h order), where TCP's names would say something else.
const (
	SCTPInit1       State = 1
	SCTPEstablished State = 8
	SCTPRejected    State = 12
	SCTPClosed      State = 13
)

var sctpStateNames = [...]string{"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED",
	"ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"}

var tcpStateNames = [...]string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE",
	"CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}

// Conn is one entry of the connection table.
type Conn struct {
	Protocol Protocol       // IP in a template of a firewall mark
	Client   netip.AddrPort // port 0 in a template
	Virtual  netip.AddrPort // port 65535 in a dead template; the mark as an address in a template of one
	Real     netip.AddrPort
	Forward  Forward
	State    State
	Template bool // a persistence template
	Assured  bool // of a template: one of its connections was completed
	Packets  uint32
	Expires  time.Duration // time left; never negative

	Engine     string // persistence engine that made a template. If empty, none.
	EngineData string // what it recognizes clients by, such as a SIP Call-ID: bytes, at most 255
}

// Active reports whether the connection counts as active (ActiveConn) rather than inactive: ip_vs_proto_*.c.
func (c Conn) Active() bool {
	switch c.Protocol {
	case TCP:
		return c.State == Established || c.State == SynSent || c.State == SynRecv || c.State == SynAck
	case SCTP:
		return c.State == SCTPEstablished
	}
	return false
}

// StateName is the state as ipvsadm -lcn prints it: ESTABLISHED, UDP, NONE, ASSURED.
func (c Conn) StateName() string {
	switch {
	case c.Template && c.Assured:
		return "ASSURED"
	case c.Template:
		return "NONE"
	case c.Protocol == UDP:
		return "UDP"
	case c.Protocol == SCTP && int(c.State) < len(sctpStateNames):
		return sctpStateNames[c.State]
	case c.Protocol != SCTP && int(c.State) < len(tcpStateNames):
		return tcpStateNames[c.State]
	}
	return fmt.Sprintf("STATE_%d", c.State)
}

// Timeouts are the three that ipvsadm --set changes.
type Timeouts struct {
	TCP    time.Duration // established
	TCPFin time.Duration // FIN_WAIT
	UDP    time.Duration
}

// DefaultTimeouts are those of the kernel: 900, 120 and 300 s.
var DefaultTimeouts = Timeouts{TCP: 900 * time.Second, TCPFin: 120 * time.Second, UDP: 300 * time.Second}
