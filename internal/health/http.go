package health

import (
	"fmt"
	"time"
)

// noURL is the place of no page.
const noURL = -1

// judgeHTTP is judge for HTTP_GET and SSL_GET, which ask for one page a turn.
//
// keepalived: pages are asked for in turn, a delay_loop apart. One that fails is asked for alone, and once it is good again
// all of them must be before the real server is up.
func (p *Pools) judgeHTTP(now time.Time, c *check, res Result) time.Duration {
	if res.OK {
		return p.pageGood(now, c, res)
	}
	if c.up || !c.ran {
		p.pageBad(now, c, res)
	}
	c.ran = true
	if c.badURL != noURL {
		return max(c.cfg.DelayBeforeRetry, c.cfg.DelayLoop)
	}
	return c.cfg.DelayBeforeRetry
}

func (p *Pools) pageGood(now time.Time, c *check, res Result) time.Duration {
	if !c.up {
		p.sayReal(c, "%s success to %s url(%s)", res.Matched, c.name(), c.cfg.HTTP.URLs[c.url].Path)
	}
	last := c.url == len(c.cfg.HTTP.URLs)-1
	c.attempt = 0
	switch {
	case c.badURL != noURL:
		c.url, c.badURL = 0, noURL
	case !last:
		c.url++
	default:
		c.url = 0
		if (!c.up || !c.ran) && c.risen() {
			p.sayReal(c, c.cfg.Kind.words().success, c.name())
			p.settle(now, c, true, fmt.Sprintf("%s succeeded in %s", c.label(), round(res.Took)))
		}
		c.ran = true
	}
	if c.cfg.HTTP.FastRecovery && (!c.ran || !c.up && c.badURL == noURL) {
		return 0
	}
	return c.cfg.DelayLoop
}

func (p *Pools) pageBad(now time.Time, c *check, res Result) {
	if c.cfg.LogAllFailures {
		p.sayReal(c, "%s server %s.", res.Said, c.name())
	}
	if c.up && c.attempt < c.cfg.Retry && (c.ran || !c.decisive) {
		c.attempt++
		return
	}
	text, why := fmt.Sprintf("%s.", c.cfg.Kind.words().failed), c.label()+": "+res.Why
	if c.cfg.Retry > 0 { // keepalived: says so of the very first one too
		text = fmt.Sprintf("%s after %d retries.", c.cfg.Kind.words().failed, c.cfg.Retry)
	}
	if c.cfg.Retry > 0 && c.ran {
		why += fmt.Sprintf(", %d times in a row", c.cfg.Retry+1)
	}
	c.attempt, c.badURL = 0, c.url
	p.sayReal(c, text, c.name())
	p.settle(now, c, false, why)
}
