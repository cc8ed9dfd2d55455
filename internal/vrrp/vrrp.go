// Package vrrp is the Virtual Router Redundancy Protocol as a pure machine: RFC 3768 (version 2), later RFC 9568
// (version 3), with keepalived's choices where the standard leaves room. Packets, times and facts about the host go in
// by verbs that take now; what is to be done comes out of Take as effects, in order. Inside there is no goroutine, no
// lock, no clock, no logger and no socket, so the same input always gives the same output.
//
// The package does not know that addresses are netlink or that adverts are raw sockets: internal/daemon/ha.go does.
//
// A Router is one instance; a Speaker holds all instances of the process and is what a loop.Loop runs. Today: version 2
// over IPv4 multicast with no or PASS authentication (Config.Check names what else a file may ask for).
//
// Invariant: the addresses are asked for only in MASTER, and only there adverts with a priority above 0 leave; the one
// exception is Start with adopted, which leaves addresses of a process that died where they are until it is known who
// is master.
package vrrp

import (
	"net/netip"
	"time"
)

// Address is a virtual address as the configuration has it. Only Prefix.Addr() goes into an advert.
type Address struct {
	Prefix netip.Prefix // as configured; keepalived: /32 and /128 when no length is given
	Dev    string       // If empty, the instance's interface.
	Label  string       // If empty, none.
	Scope  string       // If empty, global.
	Brd    netip.Addr   // If zero, none.
}

// Config is one vrrp_instance.
type Config struct {
	Name      string
	Interface string
	VRID      uint8         // 1..255
	Priority  uint8         // If zero, 100 (255 when InitialMaster is set). 255 owns the addresses.
	AdvertInt time.Duration // Version 2: whole seconds. If zero, 1 s.
	Version   uint8         // If zero, 2.
	// InitialMaster is "state MASTER". keepalived: it gives no head start unless the priority is 255, and clears
	// NoPreempt and PreemptDelay.
	InitialMaster bool
	NoPreempt     bool
	PreemptDelay  time.Duration // If zero, none.
	AuthType      AuthType
	AuthPass      string     // at most 8 bytes count
	Source        netip.Addr // address that adverts leave from; the daemon fills it from the interface when the file has none
	VIPs          []Address  // in adverts, in this order
	Excluded      []Address  // held but not in adverts

	GarpMasterDelay   time.Duration // delay of the second block. If zero, 5 s; negative: no second block.
	GarpMasterRepeat  int           // announcements per block and address. If zero, 5.
	GarpMasterRefresh time.Duration // If zero, never.
	GarpRefreshRepeat int           // If zero, 1.

	GarpLowerPrioDelay  time.Duration // as GarpMasterDelay, after a weaker advert was heard. If zero, GarpMasterDelay.
	GarpLowerPrioRepeat int           // If zero, GarpMasterRepeat; negative: no announcement.
	LowerPrioNoAdvert   bool          // a master does not answer a weaker advert
	HigherPrioSendAdv   bool          // a master that yields sends one last advert, so that the stronger one knows of it
}

// AuthType is RFC 2338's authentication type as it stands in the packet.
type AuthType uint8

// Authentication types.
const (
	AuthNone AuthType = 0
	AuthPass AuthType = 1
	AuthAH   AuthType = 2
)

// State is RFC 3768 §6.3's state, with FAULT as keepalived adds it.
type State uint8

// States. The numbers are those of keepalived.json.
const (
	Init   State = 0
	Backup State = 1
	Master State = 2
	Fault  State = 3
)

func (s State) String() string {
	switch s {
	case Init:
		return "INIT"
	case Backup:
		return "BACKUP"
	case Master:
		return "MASTER"
	}
	return "FAULT"
}

// Effect is something that the machine wants done. It is one of the types below.
type Effect interface{ effect() }

// Send puts an advert on the wire: a whole IPv4 packet, header included, for the instance's interface.
type Send struct {
	Instance string
	Packet   []byte
	To       netip.Addr
}

// AddAddresses and RemoveAddresses put the instance's VIPs on the host or take them off. Neither is an error when the
// host is already so.
type AddAddresses struct{ Instance string }

// RemoveAddresses is the opposite of AddAddresses.
type RemoveAddresses struct{ Instance string }

// Announce sends gratuitous ARP for every VIP and excluded VIP (unsolicited neighbour adverts for IPv6), Repeat rounds
// over all of them. The log lines about it follow as Say.
type Announce struct {
	Instance string
	Repeat   int
	Only     []netip.Addr // If nil, all.
}

// Change tells that the instance went from one state to another, and why in one clause for a person. It comes after
// the effects that the transition needs. To is Init when the instance was stopped.
type Change struct {
	Instance string
	From, To State
	Why      string
}

// Say is a log line. Detail lines are those that keepalived prints only with -D.
type Say struct {
	Instance string
	Text     string
	Warning  bool
	Detail   bool
}

func (Send) effect()            {}
func (AddAddresses) effect()    {}
func (RemoveAddresses) effect() {}
func (Announce) effect()        {}
func (Change) effect()          {}
func (Say) effect()             {}
