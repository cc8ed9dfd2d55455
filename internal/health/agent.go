package health

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Agent is what an agent said of its server, in HAProxy's words (HAProxy configuration manual, "agent-check"). What it did
// not say is as it was.
type Agent struct {
	Percent int    // of the configured weight. Negative: not said.
	State   string // up, down, fail or stopped. If empty, not said.
	Admin   string // ready, drain or maint. If empty, not said.
	Reason  string // what the agent adds to down, fail or stopped. May be empty.
}

// ParseAgent reads what an agent says: a line of words, separated by spaces, tabs or commas, in letters of either case. A word that begins with "#" is the
// beginning of the reason of down, fail or stopped, which goes on to the end. A word that is not known is passed over, as
// HAProxy does; an error is that there is none that is.
func ParseAgent(line string) (a Agent, err error) {
	a.Percent = -1
	line, reason := cutReason(line)
	known := false
	for _, w := range strings.FieldsFunc(strings.ToLower(line), separates) {
		percent, isPercent := strings.CutSuffix(w, "%")
		n, err := strconv.ParseUint(percent, 10, 32)
		switch {
		case isPercent && err == nil:
			a.Percent = int(min(n, maxPercent))
		case w == "up" || w == "down" || w == "fail" || w == "stopped":
			a.State, a.Reason = w, ""
		case w == "ready" || w == "drain" || w == "maint":
			a.Admin = w
		case strings.HasPrefix(w, "maxconn:"):
			// the packet path has uthreshold for that, which the file sets
		default:
			continue
		}
		known = true
	}
	if !known {
		return a, fmt.Errorf("it says %.40q, expected up, down, fail, stopped, ready, drain, maint or a weight in %%", line)
	}
	if a.State != "" && a.State != "up" {
		a.Reason = shortened(reason)
	}
	return a, nil
}

func separates(r rune) bool { return strings.ContainsRune(" \t,\r\n", r) }

// cutReason parts the words of a line from the reason behind them.
func cutReason(line string) (words, reason string) {
	for i, r := range line {
		if r == '#' && (i == 0 || separates(rune(line[i-1]))) {
			return line[:i], line[i+1:]
		}
	}
	return line, ""
}

const (
	maxPercent = 25600 // HAProxy's largest weight is 256
	maxReason  = 100
)

// shortened is a text of outside for a log: printable, and not long.
func shortened(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.TrimSpace(text))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

// judgeAgent is judge for AGENT_CHECK. HAProxy: "Failing to connect to the agent is not considered an error as connectivity is
// tested by the regular health check": such a result changes nothing.
//
// drain is weight 0, maint takes the server out; both last until ready, whatever else is said.
func (p *Pools) judgeAgent(now time.Time, c *check, res Result) time.Duration {
	a := res.Agent
	if a == nil {
		if !c.deaf {
			p.sayReal(c, "AGENT_CHECK on service %s has no answer: %s.", c.name(), res.Why)
		}
		c.deaf = true
		return c.cfg.DelayLoop
	}
	c.deaf = false
	if a.Percent >= 0 {
		c.agent.Percent, c.percent = a.Percent, true
	}
	if a.State != "" {
		c.agent.State, c.agent.Reason = a.State, a.Reason
	}
	if a.Admin != "" {
		c.agent.Admin = a.Admin
	}
	own := int(c.real.cfg.Weight)
	weight := own
	if c.percent {
		if weight = (own*c.agent.Percent + 50) / 100; c.agent.Percent > 0 && own > 0 {
			weight = max(weight, 1)
		}
	}
	if c.agent.Admin == "drain" {
		weight = 0
	}
	p.addWeight(now, c, weight-own)
	up, state := true, c.agent.State
	switch {
	case c.agent.Admin == "maint":
		up, state = false, "maint"
	case state == "down" || state == "fail" || state == "stopped":
		up = false
	}
	if up != c.up || !c.ran {
		why := fmt.Sprintf("%s says %s", c.label(), strings.TrimSpace(cmp.Or(state, "up")+" "+c.agent.Reason))
		p.sayReal(c, "AGENT_CHECK on service %s: the agent says %s.", c.name(), strings.TrimSpace(cmp.Or(state, "up")+" "+c.agent.Reason))
		p.settle(now, c, up, why)
	}
	c.ran = true
	return c.cfg.DelayLoop
}

// Credible is what of a could have come from ParseAgent: for who has it from somebody that may say anything.
func (a Agent) Credible() *Agent {
	if a.Percent < 0 {
		a.Percent = -1
	}
	a.Percent = min(a.Percent, maxPercent)
	if a.State != "up" && a.State != "down" && a.State != "fail" && a.State != "stopped" {
		a.State = ""
	}
	if a.Admin != "ready" && a.Admin != "drain" && a.Admin != "maint" {
		a.Admin = ""
	}
	a.Reason = shortened(a.Reason)
	return &a
}
