package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"syscall"
	"time"
)

// Live is a lab under steady load that somebody watches and breaks: it knows how every part is, and what happened.
type Live struct {
	lab     *Lab
	traffic *traffic
	acts    sync.Mutex // one act at a time

	mu     sync.Mutex // of what follows
	now    Moment
	byHand map[string]string // host to what was done to it last, until it shows
	off    map[string]bool   // directors without power
	failed struct {          // requests that fail now, second after second
		since time.Time
		n     int
	}
}

// Moment is a lab at one time.
type Moment struct {
	At       time.Time
	Lab      Site
	Method   string
	Hosts    []HostStatus
	Off      map[string]bool // directors whose cable is pulled
	Master   string          // the director that is master; empty: none, or several
	Seconds  []Second        // the last two minutes but the present second, the oldest first
	Requests int             // since the beginning
	Failed   int
	Events   []Event // the newest first
	Mails    []Mail  // the newest first
}

// Second is what came of the requests that started in one second.
type Second struct {
	At     time.Time
	ByReal map[string]int // real server's address to answers
	Failed int
}

// Event is something that happened to the lab.
type Event struct {
	At   time.Time
	Host string // where; empty: everywhere
	Text string
	Bad  bool // something is missing since
}

// How much Live remembers.
const (
	liveSeconds = 120
	liveEvents  = 60
)

// Live puts a lab that is ready under load. The caller calls Run.
func (l *Lab) Live() (*Live, error) {
	t, err := l.startTraffic(l.Clients)
	if err != nil {
		return nil, err
	}
	return &Live{lab: l, traffic: t, byHand: map[string]string{}, off: map[string]bool{}}, nil
}

// Run looks at the lab every half second until ctx ends.
func (v *Live) Run(ctx context.Context) error {
	for {
		if err := v.observe(ctx, time.Now()); err != nil {
			return err
		}
		if sleep(ctx, 500*time.Millisecond) != nil {
			return v.traffic.stop()
		}
	}
}

// Moment is the lab as it was seen last.
func (v *Live) Moment() Moment {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

func (v *Live) observe(ctx context.Context, now time.Time) error {
	v.traffic.forget(now.Add(-(liveSeconds + 30) * time.Second))
	mails, err := v.lab.ReadMails()
	if err != nil {
		return err
	}
	next := Moment{At: now, Lab: v.lab.Site, Method: v.lab.Method, Hosts: v.lab.Status(ctx)}
	next.Requests, next.Failed = v.traffic.count()
	for i := len(mails) - 1; i >= 0 && len(next.Mails) < liveEvents; i-- {
		next.Mails = append(next.Mails, mails[i])
	}
	for _, h := range next.Hosts {
		if h.State == "MASTER" {
			next.Master += h.Host
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next.Off = maps.Clone(v.off)
	if v.now.At.IsZero() {
		next.Events = []Event{{At: now, Text: "the site stands"}}
	}
	next.Events = append(next.Events, v.now.Events...)
	next.Seconds = v.seconds(v.now.Seconds, now)
	for _, e := range v.changes(v.now, next) {
		next.Events = append([]Event{e}, next.Events...)
	}
	next.Events = next.Events[:min(len(next.Events), liveEvents)]
	v.now = next
	return nil
}

// seconds adds those that have passed. Of one that ended less than a second and a half ago answers may still be out.
func (v *Live) seconds(have []Second, now time.Time) []Second {
	end := now.Add(-loadTimeout - 500*time.Millisecond).Truncate(time.Second)
	at := end.Add(-liveSeconds * time.Second)
	if len(have) > 0 {
		at = have[len(have)-1].At.Add(time.Second)
	}
	out := have[:len(have):len(have)]
	for ; at.Before(end); at = at.Add(time.Second) {
		f := v.traffic.figures(at, at.Add(time.Second))
		out = append(out, Second{At: at, ByReal: f.ByReal, Failed: f.Failed})
	}
	return out[max(0, len(out)-liveSeconds):]
}

// changes says what is different now. The caller holds the lock.
func (v *Live) changes(old, now Moment) []Event {
	var out []Event
	was := map[string]HostStatus{}
	for _, h := range old.Hosts {
		was[h.Host] = h
	}
	for _, h := range now.Hosts {
		before, known := was[h.Host]
		switch {
		case !known || h.Role == "":
		case before.PID != 0 && h.PID == 0:
			what := "ended by itself"
			if done := v.byHand[h.Host]; done != "" {
				what = "was " + done
			}
			delete(v.byHand, h.Host)
			out = append(out, Event{At: now.At, Host: h.Host, Text: h.Is() + " " + what, Bad: true})
		case before.PID == 0 && h.PID != 0:
			out = append(out, Event{At: now.At, Host: h.Host, Text: h.Is() + " runs again"})
		}
		if h.Host == now.Master {
			out = append(out, poolChanges(now.At, before, h)...)
		}
	}
	if now.Master != old.Master && !old.At.IsZero() {
		e := Event{At: now.At, Host: now.Master, Text: "is master and has " + now.Lab.VIP.Addr().String()}
		if now.Master == "" {
			e.Text, e.Bad = "no director is master", true
		}
		out = append(out, e)
	}
	return append(out, v.failures(old, now)...)
}

func poolChanges(at time.Time, old, now HostStatus) []Event {
	var out []Event
	was := map[string]bool{}
	for _, r := range old.Pool {
		was[r.Real] = r.InPool
	}
	for _, r := range now.Pool {
		before, known := was[r.Real]
		switch {
		case !known || before == r.InPool:
		case r.InPool:
			out = append(out, Event{At: at, Host: now.Host, Text: "takes " + r.Real + " into the pool"})
		default:
			out = append(out, Event{At: at, Host: now.Host, Text: "takes " + r.Real + " out of the pool", Bad: true})
		}
	}
	return out
}

// failures makes one event of seconds in a row in which requests failed, when they are over.
func (v *Live) failures(old, now Moment) []Event {
	var out []Event
	last := time.Time{}
	if n := len(old.Seconds); n > 0 {
		last = old.Seconds[n-1].At
	}
	for _, s := range now.Seconds {
		switch f := &v.failed; {
		case !s.At.After(last):
		case s.Failed > 0:
			if f.n == 0 {
				f.since = s.At
			}
			f.n += s.Failed
		case f.n > 0:
			out = append(out, Event{At: s.At, Text: fmt.Sprintf("%d requests failed within %.0f s; no more", f.n, s.At.Sub(f.since).Seconds())})
			f.n = 0
		}
	}
	return out
}

// Do does something to a host: kill, stop or start its program, or off: pull the cable of a director and kill it.
func (v *Live) Do(host, what string) error {
	v.acts.Lock()
	defer v.acts.Unlock()
	done := map[string]string{"kill": "killed", "stop": "stopped", "off": "powered off"}[what]
	v.note(host, done)
	switch what {
	case "kill":
		return v.lab.Signal(host, syscall.SIGKILL, grace)
	case "stop":
		return v.lab.Signal(host, syscall.SIGTERM, 2*grace)
	case "off":
		if _, ok := v.lab.Configs[host]; !ok {
			return fmt.Errorf("%s is no director", host)
		}
		v.power(host, false)
		return errors.Join(v.lab.built.setCarrier(host, false), v.lab.Signal(host, syscall.SIGKILL, grace))
	case "start":
		if v.power(host, true) {
			if err := v.lab.reboot(host); err != nil {
				return err
			}
		}
		return v.lab.Start(host)
	}
	return fmt.Errorf("nobody can %s %s", what, host)
}

func (v *Live) note(host, done string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.byHand[host] = done
}

// power switches a host on or off, and tells whether it was off.
func (v *Live) power(host string, on bool) (wasOff bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wasOff = v.off[host]
	v.off[host] = !on
	return wasOff
}
