package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// Target is an address on a device, to be announced there.
type Target struct {
	Dev  string
	Addr netip.Addr
}

// Announcement is one gratuitous ARP or unsolicited neighbour advertisement that is to leave now.
type Announcement struct {
	Instance string
	Target
	First bool // of its rounds
}

// Lines are what keepalived says with -D about it. The first round names the instance.
func (a Announcement) Lines() []string {
	queueing, sending := "Sending/queueing gratuitous ARPs", "Sending gratuitous ARP"
	if a.Addr.Is6() {
		queueing, sending = "Sending/queueing Unsolicited Neighbour Adverts", "Sending unsolicited Neighbour Advert"
	}
	where := " on " + a.Dev + " for " + a.Addr.String()
	if a.First {
		return []string{"(" + a.Instance + ") " + queueing + where, sending + where}
	}
	return []string{sending + where}
}

type waitingKey struct {
	instance string
	Target
}

func (a Announcement) key() waitingKey { return waitingKey{a.Instance, a.Target} }

// Announcer spaces announcements, and hands them out a few at a time, so that whoever sends them can do something else
// in between and take back those of an instance that is no longer master. It is a machine as the others are: Next is
// when Tick has something. It is not safe for concurrent use.
type Announcer struct {
	garp, gna time.Duration // between those of one device; zero: none
	free      line          // all that is not spaced, in order
	groups    []*pace
	own       []*pace // of devices that are in no group
	pending   map[waitingKey]int
}

// pace is a set of devices that share their spacing. IPv4 and IPv6 are spaced each for itself.
type pace struct {
	devs  []string
	lines [2]line
}

// line is a queue of one family.
type line struct {
	every time.Duration
	at    time.Time // when the first may leave
	queue []Announcement
}

// NewAnnouncer makes one without any spacing.
func NewAnnouncer() *Announcer {
	return &Announcer{pending: map[waitingKey]int{}}
}

// Group is devices that share their spacing: keepalived's garp_group.
type Group struct {
	Devs      []string
	Garp, Gna time.Duration
}

// Space sets the spacing: garp and gna between the announcements of one device, and of groups what they say. What waits
// is kept.
func (a *Announcer) Space(now time.Time, garp, gna time.Duration, groups []Group) {
	var waiting []Announcement
	for _, l := range a.lines() {
		waiting = append(waiting, l.queue...)
	}
	*a = Announcer{garp: garp, gna: gna, pending: a.pending}
	for _, g := range groups {
		a.groups = append(a.groups, &pace{devs: g.Devs, lines: [2]line{{every: g.Garp}, {every: g.Gna}}})
	}
	for _, w := range waiting {
		a.line(w.Target).add(now, w)
	}
}

// lines are all queues.
func (a *Announcer) lines() []*line {
	all := []*line{&a.free}
	for _, list := range [][]*pace{a.groups, a.own} {
		for _, p := range list {
			all = append(all, &p.lines[0], &p.lines[1])
		}
	}
	return all
}

// pace finds a device's spacing among list.
func (t Target) pace(list []*pace) *pace {
	i := slices.IndexFunc(list, func(p *pace) bool { return slices.Contains(p.devs, t.Dev) })
	if i < 0 {
		return nil
	}
	return list[i]
}

// line is the queue that a target waits in.
func (a *Announcer) line(t Target) *line {
	p := t.pace(a.groups)
	if p == nil {
		p = t.pace(a.own)
	}
	if p == nil && (a.garp > 0 || a.gna > 0) {
		p = &pace{devs: []string{t.Dev}, lines: [2]line{{every: a.garp}, {every: a.gna}}}
		a.own = append(a.own, p)
	}
	family := 0
	if t.Addr.Is6() {
		family = 1
	}
	if p == nil || p.lines[family].every == 0 {
		return &a.free
	}
	return &p.lines[family]
}

func (l *line) add(now time.Time, one Announcement) {
	if len(l.queue) == 0 && l.at.Before(now) {
		l.at = now
	}
	l.queue = append(l.queue, one)
}

// Announce puts repeat rounds over targets into the queues. An address that already waits so often is not added again.
// keepalived: the same.
func (a *Announcer) Announce(now time.Time, instance string, targets []Target, repeat int) {
	for round := range repeat {
		for _, t := range targets {
			one := Announcement{instance, t, round == 0}
			if a.pending[one.key()] >= repeat {
				continue
			}
			a.pending[one.key()]++
			a.line(t).add(now, one)
		}
	}
}

// Silence takes back what waits of an instance.
func (a *Announcer) Silence(instance string) {
	for _, l := range a.lines() {
		l.queue = slices.DeleteFunc(l.queue, func(one Announcement) bool { return one.Instance == instance })
	}
	for one := range a.pending {
		if one.instance == instance {
			delete(a.pending, one)
		}
	}
}

// Next is when the first announcement may leave. The zero time: none waits.
func (a *Announcer) Next() (next time.Time) {
	for _, l := range a.lines() {
		if len(l.queue) > 0 {
			next = earlier(next, l.at)
		}
	}
	return next
}

// Tick hands out at most limit of what is due at now, those of one device in order.
func (a *Announcer) Tick(now time.Time, limit int) (all []Announcement) {
	for _, l := range a.lines() {
		for len(l.queue) > 0 && due(now, l.at) && len(all) < limit {
			one := l.queue[0]
			l.queue = l.queue[1:]
			if a.pending[one.key()]--; a.pending[one.key()] <= 0 {
				delete(a.pending, one.key())
			}
			all = append(all, one)
			l.at = now.Add(l.every)
		}
	}
	return all
}
