package vrrp

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Counters count since the router was made; Stop does not reset them.
type Counters struct {
	Sent                 uint64 // adverts, those with priority 0 included
	Received             uint64 // adverts that passed all checks
	Refused              map[Reason]uint64
	AddressList          uint64 // accepted although their list of VIPs differs from ours
	PriorityZeroSent     uint64
	PriorityZeroReceived uint64
	BecameMaster         uint64
	ReleasedMaster       uint64
	Late                 uint64        // adverts that left later than a fifth of their interval
	WorstLate            time.Duration // of all
}

// Status is a copy of what is known about an instance.
type Status struct {
	Name           string
	Interface      string
	Own            string // interface that was made for it upon that. If empty, none.
	VRID           uint8
	State          State
	Priority       uint8 // effective
	Base           uint8 // as configured
	Weights        []Weight
	Source         netip.Addr
	Master         netip.Addr // ourselves in MASTER. Zero: none heard yet.
	MasterPriority uint8
	HeardPriority  uint8        // of the last master that was not ourselves. Zero: none.
	Since          time.Time    // of State
	Why            string       // of State
	Faults         []string     // causes, the oldest first; the last is that of the sync group if it has one
	Waiting        string       // what the start waits for
	HoldsBack      string       // why a weaker master is left alone for a while, or empty …
	HoldsUntil     time.Time    // … and until when at the latest
	Group          string       // sync group, or empty
	Holding        bool         // the VIPs are on the host as far as asked for
	History        []Transition // the latest last
	Peers          []PeerStatus // who was heard, the latest first
	Refused        []Refused    // the latest first
	Version        uint8
	AdvertInt      time.Duration // ours
	MasterInt      time.Duration // the master's, with version 3
	Checksum       Sums          // as sent
	Auth           string        // none, PASS, AH or HMAC
	V6, Unicast    bool
	To             []netip.Addr // where adverts go: the group, or the peers
	VIPs           []netip.Prefix
	Counters       Counters
}

// Status tells how the instance stands.
func (r *Router) Status() Status {
	s := Status{
		Name: r.cfg.Name, Interface: r.cfg.Interface, Own: r.cfg.Own, VRID: r.cfg.VRID,
		State: r.seen(), To: r.dests(), Priority: r.priority, Base: r.cfg.Priority, Weights: slices.Clone(r.weights), Source: r.source, Master: r.master, MasterPriority: r.masterPrio, HeardPriority: r.heardPrio,
		Since: r.since, Why: r.why, Faults: slices.Clone(r.faults), Holding: r.holding, Counters: r.counters,
		History: slices.Clone(r.history), Peers: r.peers.list(), Refused: r.refusals(),
		Version: r.cfg.Version, AdvertInt: r.cfg.AdvertInt, MasterInt: r.interval, Checksum: r.dialect(), Auth: r.cfg.AuthType.String(),
		V6: r.cfg.V6, Unicast: r.cfg.Unicast,
	}
	if r.cfg.HMAC.On() {
		s.Auth = "HMAC"
	}
	s.HoldsBack, s.HoldsUntil = r.heldBack()
	if r.begun {
		s.Waiting = r.hold()
	}
	if r.group != nil {
		s.Group = r.group.name
		if cause := r.group.cause(r); cause != "" {
			s.Faults = append(s.Faults, cause)
		}
	}
	for _, vip := range r.cfg.VIPs {
		s.VIPs = append(s.VIPs, vip.Prefix)
	}
	s.Counters.Refused = maps.Clone(r.counters.Refused)
	return s
}

// State is the state alone.
func (r *Router) State() State { return r.seen() }

// Priority is the effective priority alone.
func (r *Router) Priority() uint8 { return r.priority }
