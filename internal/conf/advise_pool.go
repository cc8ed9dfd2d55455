package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ignoresWeights are the schedulers that look at a weight only to see whether it is zero.
var ignoresWeights = []string{"rr", "lc"}

// pool looks at one virtual_server.
func (a *adviser) pool(vs *Statement) {
	var reals, unchecked []*Statement
	weights := map[int]bool{}
	total, slowest := 0, checkTime{}
	for _, rs := range vs.Body {
		if rs.Text(0) != "real_server" {
			continue
		}
		reals = append(reals, rs)
		w := weightOf(vs, rs)
		weights[w] = true
		total += w
		t, ok := a.checks(vs, rs)
		switch {
		case !ok:
			unchecked = append(unchecked, rs)
		case t.total() > slowest.total():
			slowest = t
		}
	}
	if len(reals) == 0 {
		return
	}
	a.unchecked(vs, reals, unchecked)
	a.quorum(vs, total)
	if algo := firstOf(vs.child("lb_algo"), vs.child("lvs_sched")); algo != nil && differ(weights) && slices.Contains(ignoresWeights, algo.Text(1)) {
		a.say(Warning, "weight-ignored", algo, 1, fmt.Sprintf("%s gives every real server the same share: the weights of this service do not count", algo.Text(1)),
			"write lb_algo w"+algo.Text(1)+" to share by weight, or leave the weights out")
	}
	a.pools.add(vs, slowest, len(unchecked))
}

// differ tells whether there are several weights that are not zero.
func differ(weights map[int]bool) bool {
	n := len(weights)
	if weights[0] {
		n--
	}
	return n > 1
}

func firstOf(all ...*Statement) *Statement {
	for _, s := range all {
		if s != nil {
			return s
		}
	}
	return nil
}

func weightOf(vs, rs *Statement) int {
	for _, s := range []*Statement{rs, vs} {
		if w, ok := s.number("weight"); ok && w >= 0 {
			return w
		}
	}
	return 1
}

// isCheck tells the blocks of a real server that check it.
func isCheck(name string) bool {
	return strings.HasSuffix(name, "_CHECK") || strings.HasSuffix(name, "_GET")
}

// unchecked says which real servers nobody looks at.
func (a *adviser) unchecked(vs *Statement, reals, unchecked []*Statement) {
	const hint = "add to each real_server: TCP_CHECK { connect_timeout 3 }"
	if len(unchecked) == len(reals) {
		a.say(Warning, "pool-unchecked", vs, 1, fmt.Sprintf("no real server of %s is checked: a dead one goes on getting its share of connections", serviceName(vs)), hint)
		return
	}
	for _, rs := range unchecked {
		a.say(Warning, "real-unchecked", rs, 1, fmt.Sprintf("%s has no check, unlike others of its pool: when it is dead it goes on getting its share of connections", serviceName(rs)),
			"add: TCP_CHECK { connect_timeout 3 }")
	}
}

// quorum looks for one that is lost once and for all. Load corrects a quorum above the total weight itself.
func (a *adviser) quorum(vs *Statement, total int) {
	quorum, ok := vs.number("quorum")
	if !ok || quorum > total {
		return
	}
	h, _ := vs.number("hysteresis")
	if h > 0 && h < quorum && quorum+h > total {
		a.say(Warning, "quorum-unreachable", vs.child("hysteresis"), 1,
			fmt.Sprintf("once lost, the quorum is never gained again: that needs a weight of %d (quorum %d + hysteresis %d), and all real servers together have %d", quorum+h, quorum, h, total),
			fmt.Sprintf("lower hysteresis to %d or less, or the quorum", total-quorum))
	}
}

// checkTime is how long a check takes to find that a real server has gone silent.
type checkTime struct {
	interval, attempt, pause time.Duration
	retry                    int
	limit                    string // the keyword that bounds an attempt
}

// trial is the time from the first failed attempt to the verdict; total adds the wait for that attempt.
func (t checkTime) trial() time.Duration {
	return time.Duration(t.retry+1)*t.attempt + time.Duration(t.retry)*t.pause
}
func (t checkTime) total() time.Duration { return t.interval + t.trial() }

func (t checkTime) String() string {
	s := "delay_loop " + short(t.interval)
	if t.retry == 0 {
		return s + " + " + t.limit + " " + short(t.attempt)
	}
	return fmt.Sprintf("%s + %d × %s %s + %d × delay_before_retry %s", s, t.retry+1, t.limit, short(t.attempt), t.retry, short(t.pause))
}

// checks looks at the checks of a real server and gives the one that finds out first that it is silent; false if there
// is none that could.
func (a *adviser) checks(vs, rs *Statement) (checkTime, bool) {
	best, found := checkTime{}, false
	for _, c := range rs.Body {
		if !isCheck(c.Text(0)) {
			continue
		}
		if c.Text(0) == "BFD_CHECK" || c.Text(0) == "FILE_CHECK" {
			found = true // others find out; they have their own times
			continue
		}
		t := timesOf(vs, rs, c)
		a.slow(c, t)
		if !found || best.total() == 0 || t.total() < best.total() {
			best = t
		}
		found = true
	}
	return best, found
}

// timesOf resolves the times of a check. keepalived: what a checker leaves open comes from its real server, then from
// the service, then from the kind of checker.
func timesOf(vs, rs, c *Statement) checkTime {
	d := func(def time.Duration, names ...string) time.Duration {
		for _, s := range []*Statement{c, rs, vs} {
			for _, n := range names {
				if v, ok := s.seconds(n); ok {
					return v
				}
			}
		}
		return def
	}
	t := checkTime{interval: d(time.Minute, "delay_loop"), attempt: d(5*time.Second, "connect_timeout"), retry: 1, limit: "connect_timeout"}
	pause := time.Second
	switch c.Text(0) {
	case "HTTP_GET", "SSL_GET":
		pause = 3 * time.Second
	case "DNS_CHECK":
		pause, t.retry = t.interval, 3
	case "MISC_CHECK":
		t.retry, t.limit = 0, "misc_timeout"
		t.attempt = t.interval
		if v, ok := c.seconds("misc_timeout"); ok {
			t.attempt = v
		}
	}
	t.pause = d(pause, "delay_before_retry")
	for _, s := range []*Statement{vs, rs, c} {
		if n, ok := s.number("retry"); ok && n >= 0 {
			t.retry = n
		}
		if n, ok := s.number("nb_get_retry"); ok && n >= 0 && s == c {
			t.retry = n
		}
	}
	return t
}

// slow compares a check with its interval.
func (a *adviser) slow(c *Statement, t checkTime) {
	at := firstOf(c.child(t.limit), c)
	switch {
	case t.attempt > t.interval:
		a.say(Warning, "check-slow", at, 0, fmt.Sprintf("%s lets one attempt of %s take up to %s, longer than the %s from check to check: a server that is silent is checked less often than delay_loop says",
			t.limit, c.Text(0), short(t.attempt), short(t.interval)),
			fmt.Sprintf("set %s to less than delay_loop, or raise delay_loop above %s", t.limit, short(t.attempt)))
	case t.trial() > t.interval && t.retry > 0 && !a.pools.long[t]:
		if a.pools.long == nil {
			a.pools.long = map[checkTime]bool{}
		}
		a.pools.long[t] = true
		a.say(Notice, "check-long", at, 0, fmt.Sprintf("a failing %s takes up to %s for its %d attempts, longer than delay_loop %s; the next check waits for it",
			c.Text(0), short(t.trial()), t.retry+1, short(t.interval)), "fewer retries or a shorter "+t.limit+" find a dead server sooner")
	}
}

// poolTimes gathers the times of all services for one notice.
type poolTimes struct {
	slowest   checkTime
	at        *Statement
	times     []string // of distinct services, in order
	seen      map[checkTime]int
	unchecked int // real servers
	long      map[checkTime]bool
}

func (p *poolTimes) add(vs *Statement, t checkTime, unchecked int) {
	p.unchecked += unchecked
	if t.total() == 0 {
		return
	}
	if t.total() > p.slowest.total() {
		p.slowest, p.at = t, vs
	}
	if p.seen == nil {
		p.seen = map[checkTime]int{}
	}
	if p.seen[t]++; p.seen[t] == 1 && len(p.times) < maxTimes {
		p.times = append(p.times, fmt.Sprintf("%s: %s: %s", serviceName(vs), short(t.total()), t))
	}
}

// maxTimes bounds the lines of the notice.
const maxTimes = 8

// timers says how long clients may wait when something dies.
func (a *adviser) timers(f *File) {
	var parts, more []string
	var worst time.Duration
	for _, r := range a.routers {
		worst = max(worst, r.down)
		if len(more) < maxTimes {
			unit := "1 s"
			if r.Version == 3 {
				unit = "advert_int"
			}
			more = append(more, fmt.Sprintf("%s: %s: %d × advert_int %s + skew %s (%d/256 of %s, for priority %d)", r.Name, short(r.down),
				a.adverts(r), short(r.AdvertInt), short(r.skew()), 256-int(r.Priority), unit, r.Priority))
		}
	}
	if worst > 0 {
		parts = append(parts, "this director replaces a dead one after at most "+short(worst))
	}
	var scripts time.Duration
	for _, v := range a.cfg.Scripts {
		if t, how := scriptTime(v); a.tracked[v.Name] && v.Interval > 0 {
			scripts = max(scripts, t)
			if len(more) < 2*maxTimes {
				more = append(more, fmt.Sprintf("%s: %s: %s", v.Name, short(t), how))
			}
		}
	}
	if scripts > 0 {
		parts = append(parts, "a failing script counts after at most "+short(scripts))
	}
	if p := &a.pools; p.at != nil {
		parts = append(parts, "a dead real server is out after at most "+short(p.slowest.total()))
		more = append(more, p.times...)
		if n := len(p.seen) - len(p.times); n > 0 {
			more = append(more, strconv.Itoa(n)+" more kinds of services")
		}
	}
	if len(parts) == 0 {
		return
	}
	if n := a.pools.unchecked; n == 1 {
		parts = append(parts, "but 1 real server is not checked")
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("but %d real servers are not checked", n))
	}
	d := a.diags.add(Notice, "timers", f, Token{}, strings.Join(parts, ", "))
	d.More = more
}
