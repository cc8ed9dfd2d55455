package health

import (
	"time"

	"vipd/internal/lb"
)

// Update takes another configuration. Services are matched by their key, real servers by address and port, checkers by
// what they check and how. What matches keeps its verdict, its retries, its time and a check that is under way; a
// removed failing checker no longer holds its real server down; what is new starts as at a start, with its retries.
//
// keepalived: draws a new warm-up for every checker at a reload; here a reload does not delay a verdict.
func (p *Pools) Update(now time.Time, cfg Config) {
	old := p.services
	p.services, p.cfg = resolveAll(cfg), cfg
	p.cfg.Services = nil
	p.lay()
	fresh := map[lb.ServiceKey]*service{}
	for _, s := range p.services {
		fresh[s.cfg.ServiceKey] = s
	}
	for _, o := range old {
		if s := fresh[o.cfg.ServiceKey]; s != nil {
			delete(fresh, o.cfg.ServiceKey)
			p.adopt(now, s, o)
			continue
		}
		p.say(o, nil, "Removing Virtual Server %s", o.name())
		p.close(o, false)
	}
	for _, s := range p.services {
		if fresh[s.cfg.ServiceKey] == s {
			p.open(now, s)
		}
		p.updateQuorum(now, s, true)
		p.refresh(s)
	}
	p.activate(now)
}

// adopt gives s the state of o, the same service before the reload.
func (p *Pools) adopt(now time.Time, s, o *service) {
	s.quorumUp, s.sorryUp, s.since, s.want, s.told = o.quorumUp, o.sorryUp, o.since, o.want, o.told
	p.suspend(s)
	for _, r := range o.reals {
		if s.real(r.cfg.Addr) == nil {
			p.say(o, r, "service %s no longer exist", o.endpoint(r.cfg.Addr))
			p.clear(o, r, false)
		}
	}
	for _, r := range s.reals {
		if was := o.real(r.cfg.Addr); was != nil {
			p.adoptReal(now, s, r, was)
		} else {
			p.openReal(now, r)
			p.introduce(s, r)
		}
	}
	p.adoptSorry(s, o)
	for _, r := range s.reals {
		why := "the checkers were changed by a reload"
		if !r.kept.IsZero() {
			why = r.why
		}
		if alive := r.passing(); alive != r.alive && !p.keeps(now, s, r, why) {
			p.turn(now, s, r, alive, why)
		}
	}
}

// adoptReal gives r the state of was, but for the verdict that changed checkers may change.
func (p *Pools) adoptReal(now time.Time, s *service, r, was *real) {
	r.alive, r.since, r.why, r.kept = was.alive, was.since, was.why, was.kept
	r.peers, r.told = was.peers, was.told
	p.adoptRamp(now, r, was)
	left := was.checks
	for _, c := range r.checks {
		left = p.adoptCheck(now, c, left)
		if !was.alive && !c.ran {
			c.up, c.decisive = c.up && !c.cfg.Alpha, true
		}
	}
	for _, c := range left {
		p.forget(c)
	}
	if r.weigh(); r.weight != was.weight {
		p.sayWeight(s, r, was.weight)
	}
}

// adoptCheck looks for c among old and takes over its state; it returns those that are left.
func (p *Pools) adoptCheck(now time.Time, c *check, old []*check) []*check {
	for i, was := range old {
		if !c.cfg.sameCheck(was.cfg) {
			continue
		}
		c.id, c.ran, c.running, c.since, c.past = was.id, was.ran, was.running, was.since, was.past
		c.decisive, c.adopted = was.decisive, was.adopted
		// keepalived: takes an alpha checker that has not run for up, if another of the real server has run.
		c.up = was.up || !was.ran && !was.adopted && !c.cfg.Alpha
		c.attempt = min(was.attempt, c.cfg.Retry)
		c.url, c.badURL, c.weight, c.good, c.warned = was.url, was.badURL, was.weight, min(was.good, max(c.cfg.Rise-1, 0)), was.warned
		c.ends = was.ends
		c.agent, c.percent, c.deaf = was.agent, was.percent, was.deaf
		p.forget(was)
		p.checks[c.id] = c
		if !c.running && c.cfg.Kind != BFDCheck {
			p.schedule(c, earlier(later(was.asked().due, now), now.Add(c.cfg.DelayLoop)))
		}
		return append(append([]*check{}, old[:i]...), old[i+1:]...)
	}
	c.since = now
	return old
}

// adoptSorry takes the sorry server out where the reload changed or removed it; updateQuorum then puts the new one in.
func (p *Pools) adoptSorry(s, o *service) {
	if !o.sorryUp || s.cfg.Sorry != nil && s.cfg.Sorry.Addr == o.cfg.Sorry.Addr {
		return
	}
	p.say(s, nil, "%s sorry server %s from VS %s", o.cfg.sorryVerb(false), s.endpoint(o.cfg.Sorry.Addr), s.name())
	if s.cfg.Sorry == nil {
		p.say(s, nil, "Adding alive servers to the pool for VS %s", s.name())
	}
	s.sorryUp = false
}

// Stop ends everything: afterwards Want is empty, Next is never and results are ignored.
func (p *Pools) Stop(time.Time) {
	for _, s := range p.services {
		p.close(s, true)
	}
	p.services = nil
}

// close takes a service out with all its real servers.
func (p *Pools) close(s *service, stopping bool) {
	quiet := stopping && !s.cfg.Omega
	for _, r := range s.reals {
		if stopping && p.cfg.Flush {
			p.forgetAll(r)
			continue
		}
		p.clear(s, r, stopping)
	}
	p.emit(Changed{s.cfg.ServiceKey})
	switch {
	case quiet:
	case stopping:
		p.emit(QuorumDown{s.cfg.ServiceKey, "Shutting down"})
	case s.quorumUp:
		p.emit(QuorumDown{s.cfg.ServiceKey, "Removing"})
	}
}

// clear takes a real server out of the configuration: its checkers are forgotten and, if it was in the pool, that is
// told; at a stop only under omega.
func (p *Pools) clear(s *service, r *real, stopping bool) {
	p.forgetAll(r)
	listed := s.listed(r)
	if listed || stopping {
		verb, mark := "Removing", ""
		if stopping {
			verb = "Shutting down"
		}
		if r.cfg.InhibitOnFailure && !r.alive {
			mark = "(inhibited) "
		}
		p.say(s, r, "%s %sservice %s from VS %s", verb, mark, s.endpoint(r.cfg.Addr), s.name())
	}
	if !listed && !r.disabled() || !r.alive {
		return
	}
	r.alive = false
	switch {
	case !stopping:
		p.emit(RealDown{s.cfg.ServiceKey, r.cfg.Addr, "removed from the configuration"})
	case s.cfg.Omega:
		p.emit(RealDown{s.cfg.ServiceKey, r.cfg.Addr, "shutting down"})
	}
}

// forgetAll stops the checkers of a real server.
func (p *Pools) forgetAll(r *real) {
	p.endRamp(r)
	for _, c := range r.checks {
		p.forget(c)
	}
}

// forget stops a checker: it is checked no more and a result of a check under way is ignored.
func (p *Pools) forget(c *check) {
	p.waiting.drop(c)
	delete(p.checks, c.id)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
