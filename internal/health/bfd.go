package health

import "time"

// Session tells whether a BFD session is up, which is the verdict of the BFD_CHECKs of its name, at once and without
// retries. Until it is told, they are up, or under alpha down. Before Start it is kept for then.
func (p *Pools) Session(now time.Time, name string, up bool) {
	p.sessions[name] = up
	for _, s := range p.services {
		for _, c := range s.checks() {
			if c.cfg.Kind == BFDCheck && c.cfg.BFD == name && c.id != 0 {
				p.follow(now, c)
			}
		}
	}
}

// follow gives a BFD_CHECK what is known of its session.
func (p *Pools) follow(now time.Time, c *check) {
	up, known := p.sessions[c.cfg.BFD]
	if !known || c.ran && !c.adopted && c.up == up {
		return
	}
	state := "DOWN"
	if up {
		state = "UP"
	}
	res := Result{OK: up, Why: "the session is " + state}
	c.adopted = false
	c.past.add(Observed{At: now, URL: c.url, Result: res})
	p.sayReal(c, "BFD check of [%s] RS(%s) is %s", c.cfg.BFD, c.name(), state)
	p.settle(now, c, up, c.label()+": "+res.Why)
	c.ran = true
}
