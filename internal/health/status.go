package health

import (
	"slices"
	"time"

	"vipd/internal/lb"
)

// ServiceStatus is what is known of a service. Every type here is a copy that the caller may keep.
type ServiceStatus struct {
	Service    lb.Service
	Group      string // of which it is a member. If empty, none.
	QuorumUp   bool
	Quorum     int
	Hysteresis int
	Alive      int64     // weight of the real servers that are up
	Since      time.Time // of QuorumUp's value
	Sorry      *lb.Real  // nil: none
	SorryUp    bool      // it stands in
	Suspended  bool      // ha_suspend: it is not checked, as none of its addresses is here
	Reals      []RealStatus
}

// RealStatus is what is known of a real server.
type RealStatus struct {
	Real    lb.Real // as configured; Weight is the effective one
	Healthy bool    // every checker is up
	InPool  bool    // it gets new connections if its weight allows; false while a sorry server displaces it
	Listed  bool    // the plane holds it, with weight 0 where it is not InPool
	Why     string  // of the last verdict
	Since   time.Time
	Hand    *Hand      // of an operator. If nil, none.
	Peers   []PeerSays // what other directors told of it
	Checks  []CheckStatus
}

// CheckStatus is what is known of a checker.
type CheckStatus struct {
	ID      CheckID
	Checker Checker // defaults filled in
	Up      bool
	Ran     bool // it has come to a conclusion; if not, Up is an assumption
	Running bool // a check is under way
	Failed  int  // failures forgiven so far while up, of Checker.Retry
	Since   time.Time
	Next    time.Time  // zero while Running
	Last    []Observed // the last results, oldest first
	Ends    time.Time  // of the certificate that it was shown, where it looks at one
	Warning string     // about it; empty: none
}

// Observed is a result and when it came.
type Observed struct {
	At  time.Time
	URL int // of HTTP: the page that was asked for
	Result
}

// Status tells everything that is known, in the order of the file.
func (p *Pools) Status() []ServiceStatus {
	var all []ServiceStatus
	for _, s := range p.services {
		st := s.status()
		for _, key := range s.members() {
			all = append(all, s.memberStatus(key, st))
		}
	}
	return all
}

// status is that of the service, or of the members that share it.
func (s *service) status() ServiceStatus {
	st := ServiceStatus{Service: s.cfg.Service, Group: s.cfg.Group(), QuorumUp: s.quorumUp, Quorum: s.cfg.Quorum, Hysteresis: s.cfg.Hysteresis,
		Alive: s.alive(), Since: s.since, SorryUp: s.sorryUp, Suspended: s.idle}
	if s.cfg.Sorry != nil {
		sorry := *s.cfg.Sorry
		st.Sorry = &sorry
	}
	for _, r := range s.reals {
		st.Reals = append(st.Reals, s.statusOf(r))
	}
	return st
}

func (s *service) statusOf(r *real) RealStatus {
	st := RealStatus{Real: r.cfg.Real, Healthy: r.alive, InPool: s.uses(r), Listed: s.listed(r),
		Why: r.why, Since: r.since, Peers: slices.Clone(r.peers)}
	if r.hand != nil {
		hand := *r.hand
		st.Hand = &hand
	}
	st.Real.Weight = r.weight
	for _, c := range r.checks {
		cs := CheckStatus{ID: c.id, Checker: c.cfg, Up: c.up, Ran: c.ran, Running: c.running, Failed: c.attempt, Since: c.since,
			Last: c.past.list(), Ends: c.ends, Warning: c.warned}
		if asked := c.asked(); !asked.running {
			cs.Next = asked.due
		}
		st.Checks = append(st.Checks, cs)
	}
	return st
}
