package health

import (
	"fmt"
	"time"
)

type check struct {
	cfg     Checker
	id      CheckID // 0 until activated
	service *service
	real    *real
	up      bool
	ran     bool // a check has come to a conclusion since the start
	running bool // a Probe is out
	void    bool // and says nothing if it fails: it was under way when there was no way
	attempt int  // failures already forgiven while up; at cfg.Retry the next one counts
	// decisive: the first result decides, without retries. So it is at the start, where nothing is known of the real
	// server that retries could defend, and for a checker that joins a failed real server at a reload.
	decisive bool
	adopted  bool // up is what peers say, until its own results decide
	since    time.Time
	due      time.Time
	slot     int
	past     past
	url      int       // of HTTP: the page that is asked for next
	badURL   int       // of HTTP: the page that failed, or noURL
	weight   int       // that it adds to the real server's
	good     int       // successes in a row, while down
	warned   string    // said last
	ends     time.Time // of the certificate that was shown last
	lead     *check    // that is made in its place
	twins    []*check  // for which it is made
	agent    Agent     // what an agent has said so far
	percent  bool      // it has said a weight
	deaf     bool      // it has no answer, which has been said
}

// schedule sets when c is checked next.
func (p *Pools) schedule(c *check, due time.Time) {
	c.due = due
	p.waiting.put(c)
}

// Observe takes the result of a Probe. A result that nobody waits for, of a checker that a reload removed or a second
// one, is ignored. The next check is due from now on, the end of this one, as keepalived counts.
func (p *Pools) Observe(now time.Time, id CheckID, res Result) {
	c := p.checks[id]
	if c == nil || !c.running {
		return
	}
	c.running = false
	void := c.void && !res.OK
	if c.void = false; void {
		p.schedule(c, now)
		return
	}
	asked := c.url
	delay := p.spread(c, p.take(now, c, res))
	for _, t := range c.twins {
		t.url = asked
		delay = min(delay, p.take(now, t, res))
	}
	if c.lead == nil {
		p.schedule(c, now.Add(delay))
	}
}

// take lets one checker have a result.
func (p *Pools) take(now time.Time, c *check, res Result) time.Duration {
	c.past.add(Observed{At: now, URL: c.url, Result: res})
	c.adopted = c.adopted && (res.Inconclusive || !res.OK && c.up) // a failure that is forgiven finds nothing yet
	if !res.OK {
		c.good = 0
	}
	if !res.Ends.IsZero() {
		c.ends = res.Ends
	}
	if res.Warning != c.warned && (res.OK || res.Warning != "") {
		if c.warned = res.Warning; res.Warning != "" {
			p.sayReal(c, "%s on service %s: %s", c.cfg.Kind, c.name(), res.Warning)
		}
	}
	return p.judge(now, c, res)
}

// spread varies an interval by the jitter.
func (p *Pools) spread(c *check, delay time.Duration) time.Duration {
	if c.cfg.Jitter <= 0 || delay != c.cfg.DelayLoop {
		return delay
	}
	by := delay * time.Duration(c.cfg.Jitter) / 100
	return delay - by + p.random(2*by)
}

// risen counts a success and tells whether it is the one that brings c up.
func (c *check) risen() bool {
	if c.up {
		return true
	}
	if c.good++; c.good < c.cfg.Rise {
		return false
	}
	c.good = 0
	return true
}

// judge draws the conclusion from a result and returns the time to the next check.
//
// keepalived (2.3 and later): failures are retried every delay_before_retry only while the checker is up; failure number
// Retry+1 takes it down, and from then on it is checked every delay_loop and one success brings it up.
func (p *Pools) judge(now time.Time, c *check, res Result) time.Duration {
	words := c.cfg.Kind.words()
	if res.Inconclusive {
		// keepalived: it does not name the service nor, in this line, the reason.
		p.sayReal(c, words.void+" (service %s: %s)", c.name(), res.Why)
		return c.cfg.DelayLoop
	}
	switch c.cfg.Kind {
	case HTTPGet, SSLGet:
		return p.judgeHTTP(now, c, res)
	case MiscCheck:
		return p.judgeMisc(now, c, res)
	case SMTPCheck:
		return p.judgeSMTP(now, c, res)
	case DNSCheck:
		return p.judgeDNS(now, c, res)
	case FileCheck:
		return p.judgeFile(now, c, res)
	case AgentCheck:
		return p.judgeAgent(now, c, res)
	}
	delay := c.cfg.DelayLoop
	switch {
	case res.OK:
		c.attempt = 0
		if (!c.up || !c.ran) && c.risen() {
			p.sayReal(c, words.success, c.name())
			p.settle(now, c, true, fmt.Sprintf("%s succeeded in %s", c.label(), round(res.Took)))
		}
	case c.up && c.attempt >= c.cfg.Retry, !c.ran && c.decisive:
		c.attempt = 0
		p.logFailure(c, res)
		text, why, name := words.failed+".", c.label()+": "+res.Why, c.name()
		if c.cfg.Retry > 0 && c.ran {
			name = c.nameIn(words)
			text = fmt.Sprintf("%s after %d retries.", words.failed, c.cfg.Retry)
			why += fmt.Sprintf(", %d times in a row", c.cfg.Retry+1)
		}
		p.sayReal(c, text, name)
		p.settle(now, c, false, why)
	case c.up:
		p.logFailure(c, res)
		c.attempt++
		delay = c.cfg.DelayBeforeRetry
	}
	c.ran = true
	return delay
}

// logFailure says each single failure where log_all_failures asks for it.
func (p *Pools) logFailure(c *check, res Result) {
	if !c.cfg.LogAllFailures || !c.up {
		return
	}
	words := c.cfg.Kind.words()
	if res.Timeout {
		p.sayReal(c, words.timeout, c.name())
		return
	}
	p.sayReal(c, words.single, c.nameIn(words))
}

// nameIn is the name in those lines in which some kinds add their service.
func (c *check) nameIn(w words) string {
	if w.of {
		return c.name() + " of " + c.service.name()
	}
	return c.name()
}

// settle sets a checker's verdict and with it, if it was the one that decided, the real server's.
func (p *Pools) settle(now time.Time, c *check, up bool, why string) {
	s, r := c.service, c.real
	if c.up == up {
		// A first result that confirms what was assumed: told only where it is news, that is under alpha, where "down"
		// was an assumption until now.
		if up == r.alive {
			r.why = why
		}
		if !c.ran && (c.cfg.Alpha || !up) && !r.told {
			p.notify(s, r, why)
		}
		if !c.ran && c.cfg.Kind == MiscCheck {
			p.emit(c.turned(false, why)) // keepalived: of this kind the first result is mailed, whatever was assumed
		}
		return
	}
	c.up, c.since, c.adopted = up, now, false
	turned := r.passing() != r.alive && !p.keeps(now, s, r, why)
	switch {
	case turned:
		p.turn(now, s, r, !r.alive, why)
		p.updateQuorum(now, s, false)
		p.refresh(s)
	case !r.alive && !up:
		r.why = why // one more reason to be down; the newest is shown
	}
	p.ejectMore(now, s)
	p.emit(c.turned(turned, why))
}

// turned is the news that c came to its verdict, which changed the real server or not.
func (c *check) turned(real bool, why string) CheckerTurned {
	return CheckerTurned{Last: c.past.last(), Service: c.service.cfg.ServiceKey, Real: c.real.cfg.Addr, Kind: c.cfg.Kind, Session: c.cfg.BFD,
		Up: c.up, RealUp: c.real.alive, RealTurned: real, Why: why}
}

// turn takes a real server out of its pool or back in.
func (p *Pools) turn(now time.Time, s *service, r *real, alive bool, why string) {
	verb, prep := "Removing", "from"
	switch {
	case alive && r.cfg.InhibitOnFailure:
		verb, prep = "Enabling", "of"
	case alive:
		verb, prep = "Adding", "to"
	case r.cfg.InhibitOnFailure:
		verb, prep = "Disabling", "of"
	}
	p.say(s, r, "%s service %s %s VS %s", verb, s.endpoint(r.cfg.Addr), prep, s.name())
	r.alive, r.since, r.why, r.kept = alive, now, why, time.Time{}
	p.ramp(now, r)
	p.refresh(s)
	p.notify(s, r, why)
}

// notify tells the state of a real server to those outside.
func (p *Pools) notify(s *service, r *real, why string) {
	if r.alive {
		p.emit(RealUp{s.cfg.ServiceKey, r.cfg.Addr, why})
		return
	}
	p.emit(RealDown{s.cfg.ServiceKey, r.cfg.Addr, why})
}

// name is how keepalived's log names the checker: by its real server.
func (c *check) name() string { return c.service.endpoint(c.real.cfg.Addr) }

// label names the checker for a person: kind and what it connects to.
func (c *check) label() string {
	if c.cfg.Kind == BFDCheck {
		return fmt.Sprintf("%s %s", c.cfg.Kind, c.cfg.BFD)
	}
	if c.cfg.Way != nil {
		return fmt.Sprintf("%s %s to %s", c.cfg.Kind, c.cfg.Target, c.cfg.Way)
	}
	return fmt.Sprintf("%s %s", c.cfg.Kind, c.cfg.Target)
}

// round shortens a duration to what a person reads.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
