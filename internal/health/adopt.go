package health

import (
	"net/netip"

	"vipd/internal/lb"
)

// Adopt tells, before Start, what the plane holds from the process before: a real server that this one took out of a
// pool then starts down, until a check succeeds, instead of getting traffic that it cannot answer. A service that the
// plane does not have yet starts as usual, and so does a real server without checkers.
//
// keepalived: every start begins with all real servers up.
func (p *Pools) Adopt(have []lb.Pool) {
	for _, pool := range have {
		for _, s := range p.services {
			if s.cfg.ServiceKey == pool.Service.ServiceKey {
				s.adopt(pool)
			}
		}
	}
}

func (s *service) adopt(pool lb.Pool) {
	inUse := map[netip.AddrPort]bool{}
	for _, r := range pool.Reals {
		inUse[r.Addr] = r.Weight > 0
	}
	if len(inUse) == 0 {
		return // it was being set up or taken down: nothing can be told
	}
	for _, r := range s.reals {
		r.adoptedDown = !inUse[s.cfg.memberReal(s.cfg.ServiceKey, r.cfg.Real).Addr] && len(r.checks) > 0 && r.cfg.Weight > 0 &&
			!r.hand.quiesces() // why it was not in use is known
	}
}
