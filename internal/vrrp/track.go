package vrrp

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kind is what an instance can follow.
type Kind uint8

// Kinds, in the order in which keepalived lists them.
const (
	TrackInterface Kind = iota
	TrackScript
	TrackFile
	TrackProcess
	TrackBFD
)

func (k Kind) String() string { return [...]string{"interface", "script", "file", "process", "bfd"}[k] }

// Thing is one thing that can be followed.
type Thing struct {
	Kind Kind
	Name string
}

func (t Thing) String() string {
	return t.Kind.String() + " " + t.Name
}

// Tracked is a Thing as one instance follows it.
type Tracked struct {
	Thing
	Weight  int  // 0: a loss is a fault
	Reverse bool // success counts as failure, and the sign of the weight is the other one
}

// Verdict is what is known about a Thing.
type Verdict struct {
	Known bool
	OK    bool  // up, succeeded, quorum. Of a file: its number is 0.
	Value int64 // of a file
}

// Up and Down are the verdicts of things that have no number.
func Up(ok bool) Verdict { return Verdict{Known: true, OK: ok} }

// FileValue is the verdict of a file's number.
func FileValue(n int64) Verdict { return Verdict{Known: true, OK: n == 0, Value: n} }

// Bounds of what one file adds to a priority. keepalived: at the lower one and below, it is a fault.
const (
	fileFault = -254
	fileMost  = 253
)

// Counts says what a verdict means for who follows: a share of the priority, or a fault.
func (t Tracked) Counts(v Verdict) (weight int, fault bool) {
	sign := 1
	if t.Reverse {
		sign = -1
	}
	switch {
	case !v.Known:
		return 0, false
	case t.Weight == 0:
		return 0, v.OK == t.Reverse
	case t.Kind == TrackFile:
		value := min(max(v.Value, -1<<32), 1<<32) * int64(t.Weight*sign)
		if value <= fileFault {
			return 0, true
		}
		return int(min(value, fileMost)), false
	case v.OK == (t.Weight > 0):
		return t.Weight * sign, false
	}
	return 0, false
}

// cause names the fault that a loss of t is. The words are those that keepalived puts behind "entering FAULT state".
func (t Tracked) cause() string {
	if t.Reverse && t.Weight == 0 {
		return [...]string{"interface %s up", "script %s succeeded", "tracked file %s is 0", "tracked process %s quorum achieved", "BFD %s up"}[t.Kind]
	}
	return [...]string{"interface %s down", "script %s failed", "tracked file %s", "tracked process %s quorum not achieved", "BFD %s down"}[t.Kind]
}

// Cause is the name of the fault that a loss of t is, as Router.Fault takes it.
func (t Tracked) Cause() string { return fmt.Sprintf(t.cause(), t.Name) }

// hold is what a start waits for when t is not known.
func (t Tracked) hold() string { return t.String() + " has not run yet" }

// Follower is an instance with what it follows, that of its sync group included.
type Follower struct {
	Instance string
	Things   []Tracked
}

// Merge is what an instance follows for itself and for its sync group.
//
// keepalived: of what both follow, the instance's line counts if its weight is 0 and the group's otherwise.
func Merge(own, group []Tracked) []Tracked {
	all := slices.Clone(own)
	for _, g := range group {
		i := slices.IndexFunc(all, func(o Tracked) bool { return o.Thing == g.Thing })
		switch {
		case i < 0:
			all = append(all, g)
		case all[i].Weight != 0:
			all[i] = g
		}
	}
	return all
}

// Trackers keep what is known of everything that instances follow, and tell the instances. It is not safe for
// concurrent use.
type Trackers struct {
	speaker   *Speaker
	followers []Follower
	applied   map[*Router][]Tracked // what each has been told of
	known     map[Thing]Verdict
}

// NewTrackers makes one for the instances of s.
func NewTrackers(s *Speaker) *Trackers {
	return &Trackers{speaker: s, known: map[Thing]Verdict{}}
}

// Follow makes these the followers. What is known of a thing that is still followed is kept; what an instance does not
// follow any more counts no longer.
func (t *Trackers) Follow(now time.Time, followers []Follower) {
	t.followers = followers
	old := t.applied
	t.applied = map[*Router][]Tracked{}
	for _, f := range followers {
		if r := t.speaker.Router(f.Instance); r != nil {
			t.applied[r] = f.Things
		}
	}
	for _, r := range t.speaker.routers { // also one that has another name now
		for _, gone := range old[r] {
			if !slices.Contains(t.applied[r], gone) {
				t.forget(now, r, gone)
			}
		}
	}
	for thing := range t.known {
		if !t.followed(thing) {
			delete(t.known, thing)
		}
	}
	for _, f := range followers {
		if r := t.speaker.Router(f.Instance); r != nil {
			for _, thing := range f.Things {
				t.apply(now, r, thing, t.known[thing.Thing])
			}
		}
	}
}

func (t *Trackers) followed(thing Thing) bool {
	return slices.ContainsFunc(t.followers, func(f Follower) bool {
		return slices.ContainsFunc(f.Things, func(h Tracked) bool { return h.Thing == thing })
	})
}

// Interfaces are the names of those that anybody follows.
func (t *Trackers) Interfaces() (names []string) {
	for _, f := range t.followers {
		for _, h := range f.Things {
			if h.Kind == TrackInterface && !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// Known is what is known of a thing.
func (t *Trackers) Known(thing Thing) Verdict { return t.known[thing] }

// Observe takes a verdict and tells those who follow, in the order of the file. It reports whether the verdict is new.
func (t *Trackers) Observe(now time.Time, thing Thing, v Verdict) bool {
	if t.known[thing] == v || !t.followed(thing) {
		return false
	}
	t.known[thing] = v
	for _, f := range t.followers {
		for _, h := range f.Things {
			if r := t.speaker.Router(f.Instance); r != nil && h.Thing == thing {
				t.apply(now, r, h, v)
			}
		}
	}
	return true
}

func (t *Trackers) apply(now time.Time, r *Router, h Tracked, v Verdict) {
	weight, fault := h.Counts(v)
	if h.Kind == TrackFile && fault != slices.Contains(r.faults, h.Cause()) {
		what := map[bool]string{true: "now", false: "leaving"}[fault]
		r.emit(Say{Instance: r.cfg.Name, Text: fmt.Sprintf("(%s): tracked file %s %s FAULT state", r.cfg.Name, h.Name, what), Detail: true})
	}
	r.Weigh(now, h.String(), weight)
	if fault { // before the hold: the start then knows of it
		r.Fault(now, h.Cause(), true)
	}
	// keepalived: of what is new at a reload, nothing is assumed and nothing waited for.
	r.Hold(now, h.hold(), !v.Known && h.Kind == TrackScript && h.Weight == 0 && r.state == Init)
	if !fault {
		r.Fault(now, h.Cause(), false)
	}
}

func (t *Trackers) forget(now time.Time, r *Router, h Tracked) {
	r.Hold(now, h.hold(), false)
	r.Weigh(now, h.String(), 0)
	r.Fault(now, h.Cause(), false)
}

// TrackerStatus is one thing with its verdict and who follows it.
type TrackerStatus struct {
	Thing
	Verdict
	Followers []string
}

// Status lists all that is followed, by kind and name.
func (t *Trackers) Status() (all []TrackerStatus) {
	for _, f := range t.followers {
		for _, h := range f.Things {
			i := slices.IndexFunc(all, func(s TrackerStatus) bool { return s.Thing == h.Thing })
			if i < 0 {
				i = len(all)
				all = append(all, TrackerStatus{Thing: h.Thing, Verdict: t.known[h.Thing]})
			}
			all[i].Followers = append(all[i].Followers, f.Instance)
		}
	}
	slices.SortStableFunc(all, func(a, b TrackerStatus) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return all
}
