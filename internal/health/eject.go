package health

import (
	"fmt"
	"time"
)

// max_eject: checks never take out more than a part of the real servers of a service. When all fail at once, seen from one
// director, it is likelier that this one is cut off than that all are down.

// mayEject tells whether another real server may be taken out.
func (s *service) mayEject() bool {
	if s.cfg.MaxEject <= 0 {
		return true
	}
	out := 0
	for _, r := range s.reals {
		if !r.alive {
			out++
		}
	}
	return out < len(s.reals)*s.cfg.MaxEject/100
}

// keeps tells whether r, whose checks have failed, stays in the pool all the same.
func (p *Pools) keeps(now time.Time, s *service, r *real, why string) bool {
	if !r.alive || r.passing() || s.mayEject() {
		return false
	}
	r.why = why
	if r.kept.IsZero() {
		r.kept = now
		p.say(s, r, "Keeping service %s in VS %s: max_eject %d%% of its %d real servers are out", s.endpoint(r.cfg.Addr), s.name(), s.cfg.MaxEject, len(s.reals))
	}
	if failing := s.failing(); failing == len(s.reals) && !s.suspicious {
		s.suspicious = true
		p.say(s, nil, "Suspicious: all %d real servers of VS %s fail at once, seen from here%s", failing, s.name(), s.wellAtPeers(now))
	}
	return true
}

// ejectMore takes out real servers that were kept, the longest kept first, as far as there is room for it now, and lets go
// of those that are well again.
func (p *Pools) ejectMore(now time.Time, s *service) {
	s.suspicious = s.suspicious && s.failing() == len(s.reals)
	for {
		var next *real
		for _, r := range s.reals {
			switch {
			case r.kept.IsZero():
			case r.passing() || !r.alive:
				r.kept = time.Time{}
			case next == nil || r.kept.Before(next.kept):
				next = r
			}
		}
		if next == nil || !s.mayEject() {
			return
		}
		next.kept = time.Time{}
		p.turn(now, s, next, false, next.why)
		p.updateQuorum(now, s, false)
	}
}

// failing is how many real servers fail their checks, whether or not they are out.
func (s *service) failing() (n int) {
	for _, r := range s.reals {
		if !r.passing() {
			n++
		}
	}
	return n
}

func ruleKept(now time.Time, s *service, r *real) (Ruling, bool) {
	if r.kept.IsZero() {
		return Ruling{}, false
	}
	return Ruling{RuleMaxEject, fmt.Sprintf("its checks fail, and it stays: max_eject %d%% of %d real servers are out%s", s.cfg.MaxEject, len(s.reals), r.upSince(now, r.kept)), r.kept}, true
}
