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
		strict := a.strict(r)
		a.reachable(r, strict)
		a.unicastStrict(r, strict)
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

// strict gives the statement that has an instance keep to the standard; nil: none.
func (a *adviser) strict(r *router) *Statement {
	if yes, set := r.at.yes("strict_mode"); yes {
		return r.at.child("strict_mode")
	} else if set {
		return nil
	}
	if at := a.global("vrrp_strict"); at != nil && at.Text(1) != "false" && at.Text(1) != "off" && at.Text(1) != "no" {
		return at
	}
	return nil
}

// unicastStrict looks for what keepalived took from unicast instances in strict mode up to 2.3, and refuses since 2.4.
func (a *adviser) unicastStrict(r *router, strict *Statement) {
	if peers := r.at.child("unicast_peer"); strict != nil && r.Unicast && r.Interface != "" && peers != nil {
		a.say(Warning, "unicast-strict", peers, 0, fmt.Sprintf("with %s keepalived 2.4 does not start %s, as the standard has no unicast peers",
			strict.Text(0), r.Name), "remove "+strict.Text(0)+", or the peers")
	}
}

// reachable looks for addresses that do not answer: with strict keepalived has the firewall drop packets to them.
func (a *adviser) reachable(r *router, at *Statement) {
	accepts := r.Priority == 255 || r.Version == 3 && r.at.child("accept") != nil && r.at.child("no_accept") == nil
	if at == nil || accepts {
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
