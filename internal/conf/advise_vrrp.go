package conf

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"vipd/internal/vrrp"
)

// router is an instance that can run, with where it stands and what may change its priority.
type router struct {
	vrrp.Config
	at       *Statement
	weighted []tracker
	down     time.Duration // after which a dead master is replaced, if this one is next
}

// tracker is something with a weight that an instance follows.
type tracker struct {
	at     *Statement // the line in the instance
	name   string
	weight int
}

// instances looks at every vrrp_instance that can run.
func (a *adviser) instances() {
	byName := map[string]vrrp.Config{}
	for _, c := range a.cfg.Instances {
		byName[c.Name] = c
	}
	for _, s := range append(slices.Clone(a.vis), a.groups...) {
		for _, b := range s.Body {
			for _, item := range b.Body {
				a.tracked[item.Text(0)] = a.tracked[item.Text(0)] || b.Text(0) == "track_script"
			}
		}
	}
	for _, s := range a.vis {
		c, ok := byName[s.Text(1)]
		if !ok {
			continue // it cannot run, or stands here a second time
		}
		delete(byName, c.Name)
		r := &router{Config: c, at: s}
		r.down = a.masterDown(r)
		a.routers = append(a.routers, r)
		a.state(r)
		a.reachable(r)
		r.weighted = a.trackers(r)
		a.weights(r)
	}
}

// masterDown is RFC 3768 §6.1's Master_Down_Interval: 3 × Advertisement_Interval + Skew_time, where Skew_Time is
// ( (256 - Priority) / 256 ) seconds; in version 3 (RFC 9568 §6.1) the skew is that part of the interval.
func (a *adviser) masterDown(r *router) time.Duration {
	return time.Duration(a.adverts(r))*r.AdvertInt + r.skew()
}

// adverts is how many may be missed. keepalived: down_timer_adverts.
func (a *adviser) adverts(r *router) int {
	for _, s := range []*Statement{r.at.child("down_timer_adverts"), a.global("vrrp_down_timer_adverts")} {
		if s != nil {
			if n, err := strconv.Atoi(s.Text(1)); err == nil && n >= 1 && n <= 100 {
				return n
			}
		}
	}
	return 3
}

func (r *router) skew() time.Duration {
	unit := time.Second
	if r.Version == 3 {
		unit = r.AdvertInt
	}
	return time.Duration(256-int(r.Priority)) * unit / 256
}

// state looks at what "state MASTER" is thought to do.
func (a *adviser) state(r *router) {
	s := r.at.child("state")
	if s == nil || s.Text(1) != "MASTER" {
		return
	}
	if r.Priority != 255 {
		a.say(Notice, "state-no-effect", s, 1,
			fmt.Sprintf("state MASTER changes nothing with priority %d: this director starts as BACKUP and takes over after %s if it hears no better one", r.Priority, short(r.down)),
			"only the priority decides who is master; write state BACKUP in both files to say what happens")
		return
	}
	if r.at.child("priority") == nil {
		a.say(Warning, "priority-by-state", s, 1,
			"state MASTER without a priority means priority 255: this director owns the addresses, and nothing makes it give them up",
			"add a priority below 255, such as: priority 150")
	}
}

// reachable looks for addresses that do not answer: with strict keepalived has the firewall drop packets to them.
func (a *adviser) reachable(r *router) {
	strict, set := r.at.yes("strict_mode")
	at := r.at.child("strict_mode")
	if !set {
		at = a.global("vrrp_strict")
		strict = at != nil && at.Text(1) != "false" && at.Text(1) != "off" && at.Text(1) != "no"
	}
	accepts := r.Priority == 255 || r.Version == 3 && r.at.child("accept") != nil && r.at.child("no_accept") == nil
	if !strict || accepts {
		return
	}
	hint := "remove " + at.Text(0)
	if r.Version == 3 {
		hint += ", or add to the instance: accept"
	} else {
		hint += "; in version 2 accept does not help"
	}
	a.say(Warning, "vip-unreachable", at, 0, fmt.Sprintf("with %s keepalived drops packets to the addresses of %s: they answer neither ping nor a service",
		at.Text(0), r.Name), hint)
}

// short is a duration for a person: 3.61 s, 67 s, 5 min. It is rounded up, as a bound must be.
func short(d time.Duration) string {
	const unit = 10 * time.Millisecond
	d = (d + unit - 1) / unit * unit
	if d >= 2*time.Minute && d%time.Minute == 0 {
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}
