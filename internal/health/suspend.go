package health

import (
	"net/netip"
	"slices"
	"time"

	"vipd/internal/lb"
)

// Address tells that this host has, or has no more, an address. Services with ha_suspend are checked only while the host
// has one of theirs: what a check is due for is then put off by its delay_loop, and what was known stays. Before Start it
// says nothing.
//
// keepalived: never finds the addresses of a virtual_server_group, whose real servers are then never checked; here one of
// them is enough.
func (p *Pools) Address(now time.Time, addr netip.Addr, here bool) {
	addr = addr.Unmap()
	if p.here[addr] == here {
		return
	}
	p.here[addr] = here
	if !here {
		delete(p.here, addr)
	}
	for _, s := range p.services {
		was := s.idle
		if p.suspend(s); s.idle == was {
			continue
		}
		verb := "Activating"
		if s.idle {
			verb = "Suspending"
		}
		for _, c := range s.checks() {
			if c.id != 0 {
				p.sayReal(c, "%s healthchecker for service %s for VS %s", verb, c.name(), s.name())
			}
		}
		if was {
			p.resumes(now, s)
		}
	}
}

// suspend finds out whether the checks of s are made.
func (p *Pools) suspend(s *service) {
	s.idle = s.cfg.HASuspend && !slices.ContainsFunc(s.members(), func(key lb.ServiceKey) bool { return p.here[key.Addr.Addr().Unmap()] })
}

// sayActive says of a new checker whether it is made.
func (p *Pools) sayActive(c *check) {
	verb := "Activating"
	if c.service.idle {
		verb = "Deactivating"
	}
	p.sayReal(c, "%s healthchecker for service %s for VS %s", verb, c.name(), c.service.name())
}
