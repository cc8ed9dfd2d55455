package health

import (
	"fmt"
	"time"
)

// judgeMisc is judge for MISC_CHECK: its own lines, a weight, and the next run counted from the start of the last one.
func (p *Pools) judgeMisc(now time.Time, c *check, res Result) time.Duration {
	if res.OK {
		if res.HasWeight {
			p.addWeight(now, c, res.Weight-int(c.real.cfg.Weight))
		} else if c.cfg.Script.Dynamic {
			p.addWeight(now, c, 0)
		}
		c.attempt = 0
		if (!c.up || !c.ran) && c.risen() {
			p.sayMisc(c, "succeeded", "", "")
			p.settle(now, c, true, fmt.Sprintf("%s succeeded in %s", c.label(), round(res.Took)))
		}
	} else if c.up || !c.ran {
		p.miscFailed(now, c, res)
	}
	c.ran = true
	delay := c.cfg.DelayLoop
	if c.attempt > 0 {
		delay = c.cfg.DelayBeforeRetry
	}
	return max(delay-res.Took, time.Microsecond)
}

func (p *Pools) miscFailed(now time.Time, c *check, res Result) {
	first := !c.ran && c.decisive
	if c.attempt < c.cfg.Retry && !first {
		if c.attempt++; c.cfg.LogAllFailures {
			more := fmt.Sprintf(" on retry %d/%d", c.attempt-1, c.cfg.Retry)
			if c.attempt == 1 {
				more = fmt.Sprintf(", will do %d %s", c.cfg.Retry, retries(c.cfg.Retry))
			}
			p.sayMisc(c, res.verb(), more, res.Said)
		}
		return
	}
	more := " with retry disabled"
	if c.cfg.Retry > 0 {
		more = fmt.Sprintf(" after %d %s", c.cfg.Retry, retries(c.cfg.Retry))
	}
	c.attempt = 0
	p.sayMisc(c, res.verb(), more, res.Said)
	p.addWeight(now, c, 0)
	p.settle(now, c, false, c.label()+": "+res.Why)
}

func retries(n int) string {
	if n == 1 {
		return "retry"
	}
	return "retries"
}

func (r Result) verb() string {
	if r.Timeout {
		return "timed out"
	}
	return "failed"
}

func (p *Pools) sayMisc(c *check, verb, more, reason string) {
	if reason != "" {
		reason = " (" + reason + ")"
	}
	p.sayReal(c, "Misc check for [%s VS %s] by [%s] %s%s%s.", c.name(), c.service.name(), c.cfg.Script.Args[0], verb, more, reason)
}

// judgeSMTP is judge for SMTP_CHECK.
//
// keepalived: what is down is tried with retries too, also at the start, and each turn of them counts its own.
func (p *Pools) judgeSMTP(now time.Time, c *check, res Result) time.Duration {
	delay := c.cfg.DelayLoop
	switch {
	case res.OK:
		c.attempt = 0
		if (!c.up || !c.ran) && c.risen() {
			p.sayReal(c, c.cfg.Kind.words().success, c.name())
			p.settle(now, c, true, fmt.Sprintf("%s succeeded in %s", c.label(), round(res.Took)))
		}
	default:
		last := c.attempt >= c.cfg.Retry
		if (c.up || !c.ran) && (last || c.cfg.LogAllFailures) {
			p.sayReal(c, "SMTP_CHECK %s", res.Said)
		}
		if !last {
			c.attempt++
			return c.cfg.DelayBeforeRetry
		}
		c.attempt = 0
		if c.up || !c.ran {
			p.settle(now, c, false, c.label()+": "+res.Why)
		}
	}
	c.ran = true
	return delay
}

// judgeDNS is judge for DNS_CHECK, whose lines say what was wrong, and nothing of a success.
func (p *Pools) judgeDNS(now time.Time, c *check, res Result) time.Duration {
	delay := c.cfg.DelayLoop
	switch {
	case res.OK:
		c.attempt = 0
		if (!c.up || !c.ran) && c.risen() {
			p.settle(now, c, true, fmt.Sprintf("%s succeeded in %s", c.label(), round(res.Took)))
		}
	case c.up || !c.ran:
		last := c.attempt >= c.cfg.Retry || !c.ran && c.decisive
		if last || c.cfg.LogAllFailures {
			after := ""
			if c.ran && last {
				after = fmt.Sprintf(" after %d retries", c.cfg.Retry)
			}
			p.sayReal(c, "DNS_CHECK (%s) %s%s", c.name(), res.Said, after)
		}
		if !last {
			c.attempt++
			delay = c.cfg.DelayBeforeRetry
			break
		}
		c.attempt = 0
		p.settle(now, c, false, c.label()+": "+res.Why)
	}
	c.ran = true
	return delay
}

// judgeFile is judge for FILE_CHECK: a number that is a verdict or a weight.
//
// keepalived: it follows the file by inotify; here it is read every second.
func (p *Pools) judgeFile(now time.Time, c *check, res Result) time.Duration {
	// keepalived: a weight that goes with a fault or comes after it does so without a word, and so does the first one: it has
	// read the file before it begins, where here the first look follows at once.
	says := c.up && c.ran
	if res.OK && c.cfg.File.Weight != 0 {
		p.weighBy(now, c, res.Weight, says)
	}
	if res.OK != c.up || !c.ran {
		why := c.label() + ": " + res.Why
		if res.OK {
			why = c.label() + " is well"
		}
		p.settle(now, c, res.OK, why)
	}
	if !res.OK {
		p.weighBy(now, c, 0, false)
	}
	c.ran = true
	return fileDelay
}

const fileDelay = time.Second

// addWeight sets what a checker adds to the weight of its real server. Those of several add up; less than 0 is 0.
func (p *Pools) addWeight(now time.Time, c *check, weight int) { p.weighBy(now, c, weight, true) }

func (p *Pools) weighBy(now time.Time, c *check, weight int, says bool) {
	if c.weight == weight {
		return
	}
	c.weight = weight
	s, r := c.service, c.real
	was := r.weight
	r.weigh()
	if r.weight == was {
		return
	}
	if says {
		p.sayWeight(s, r, was)
	}
	p.updateQuorum(now, s, false)
	p.refresh(s)
}

// weigh computes the weight that a real server has when it is up.
func (r *real) weigh() {
	sum := int(r.cfg.Weight)
	for _, c := range r.checks {
		sum += c.weight
	}
	r.weight = r.hand.weigh(int32(min(max(sum, 0), maxWeight)))
}

const maxWeight = 65535 // keepalived's largest

func (p *Pools) sayWeight(s *service, r *real, was int32) {
	state := ""
	if !r.alive {
		state = "in"
	}
	p.say(s, r, "Changing weight from %d to %d for %sactive service %s of VS %s", was, r.weight, state, s.endpoint(r.cfg.Addr), s.name())
}
