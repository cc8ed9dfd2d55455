// Package vrrp is the Virtual Router Redundancy Protocol as a pure machine: RFC 3768 (version 2) and RFC 9568
// (version 3), with keepalived's choices where the standard leaves room. Packets, times and facts about the host go in
// by verbs that take now; what is to be done comes out of Take as effects, in order. Inside there is no goroutine, no
// lock, no clock, no logger and no socket, so the same input always gives the same output.
//
// The package does not know that addresses are netlink or that adverts are raw sockets: internal/daemon/ha.go does.
//
// A Router is one instance; a Speaker holds all instances of the process and is what a loop.Loop runs.
//
// Invariant: the addresses are asked for only in MASTER, and only there adverts with a priority above 0 leave; the one
// exception is Start with adopted, which leaves addresses of a process that died where they are until it is known who
// is master.
package vrrp

import (
	"fmt"
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
	Peer   netip.Addr   // the other end of a point-to-point link, whose length is Prefix's. If zero, none.

	Home, NoDAD, ManageTemp, NoPrefixRoute, AutoJoin bool // flags of ip-address(8)

	Preferred    uint32 // preferred_lft: seconds for which it is a source by preference, the largest number for ever
	PreferredSet bool   // If not, for ever; keepalived: an IPv6 /128 never.
}

// Config is one vrrp_instance.
type Config struct {
	Name      string
	Interface string // If empty, none: unicast needs none.
	// GarpExtra is how often a master announces on its other interfaces, one address on each. If zero, never.
	GarpExtra   time.Duration
	GarpExtraTo []Target
	Wire        string        // that adverts leave and come in by: the router's own upon Interface. If empty, Interface.
	Own         string        // interface that was made for it upon Interface. If empty, none.
	SourceOn    string        // interface whose address adverts leave from. If empty, Interface.
	VRF         string        // of the routing domain whose interfaces adverts leave and come in by, without Interface. If empty, none.
	Defect      string        // what of its configuration lets it never take part. If empty, nothing.
	V6          bool          // its family
	VRID        uint8         // 1..255
	Priority    uint8         // If zero, 100 (255 when InitialMaster is set). 255 owns the addresses.
	AdvertInt   time.Duration // Version 2: whole seconds, version 3: 10 ms to 40.95 s in steps of 10 ms. If zero, 1 s.
	Version     uint8         // If zero, 2, with V6 3.
	// InitialMaster is "state MASTER". keepalived: it gives no head start unless the priority is 255, and clears
	// NoPreempt and PreemptDelay.
	InitialMaster    bool
	NoPreempt        bool
	PreemptDelay     time.Duration // If zero, none.
	DownTimerAdverts int           // down_timer_adverts: adverts missed before a takeover. If zero, 3.
	OwnerIgnores     bool          // owner_ignore_adverts
	TimerExpired     int           // timer_expired_backup: the highest priority that another may have. If zero, off.

	AuthType AuthType
	AuthPass string // at most 8 bytes count
	HMAC     HMAC
	Source   netip.Addr // address that adverts leave from; the daemon fills it from the interface when the file has none
	VIPs     []Address  // in adverts, in this order
	Excluded []Address  // held but not in adverts

	McastDst         netip.Addr // the group. If zero, the standard's.
	Unicast          bool       // adverts go to Peers instead
	Peers            []Peer
	TTL              int // of unicast adverts, 1..255. Otherwise 255, with IPv6 the kernel's default.
	FaultNoPeer      bool
	CheckUnicastSrc  bool   // take adverts from Peers only
	OldChecksum      string // old_unicast_checksum: ChecksumAuto, …
	V3ChecksumAsV2   bool   // v3_checksum_as_v2: SumMessage
	SkipCheckAdvAddr bool

	GarpMasterDelay   time.Duration // delay of the second block. If zero, 5 s; negative: no second block.
	GarpMasterRepeat  int           // announcements per block and address. If zero, 5.
	GarpMasterRefresh time.Duration // If zero, never.
	GarpRefreshRepeat int           // If zero, 1.

	GarpLowerPrioDelay  time.Duration // as GarpMasterDelay, after a weaker advert was heard. If zero, GarpMasterDelay.
	GarpLowerPrioRepeat int           // If zero, GarpMasterRepeat; negative: no announcement.
	LowerPrioNoAdvert   bool          // a master does not answer a weaker advert
	HigherPrioSendAdv   bool          // a master that yields sends one last advert, so that the stronger one knows of it
}

// Values of Config.OldChecksum. Empty is ChecksumAuto.
const (
	ChecksumAuto  = "no"     // SumGroup is accepted from unicast peers, and then sent too
	ChecksumNever = "never"  // it is refused
	ChecksumOld   = "config" // it is sent
)

// Peer is a line of unicast_peer. The TTLs bound what its adverts may have, if CheckUnicastSrc is on.
type Peer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL uint8
}

// AuthType is RFC 2338's authentication type as it stands in the packet.
type AuthType uint8

// Authentication types.
const (
	AuthNone AuthType = 0
	AuthPass AuthType = 1
	AuthAH   AuthType = 2
)

func (a AuthType) String() string {
	switch a {
	case AuthNone:
		return "none"
	case AuthPass:
		return "PASS"
	case AuthAH:
		return "AH"
	}
	return fmt.Sprintf("type %d", uint8(a))
}

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
