package lab

import (
	"maps"
	"slices"
	"time"
)

// CrowdMoment is how the connections of a crowd are, and what became of them since it began.
type CrowdMoment struct {
	Kinds   []KindMoment  // in the order of Kinds
	Seconds []CrowdSecond // the last two minutes but the present second, the oldest first
	Last    []BrokenConn  // the newest first
}

// KindMoment is one kind of connections.
type KindMoment struct {
	Kind      string
	Open      int
	Began     int
	Answers   int
	PerSecond int            // answers, of the last second
	Longest   time.Duration  // that an answer took
	Broken    map[string]int // by cause
}

// CrowdSecond is what came in one second.
type CrowdSecond struct {
	At      time.Time
	Answers map[string]int // by kind
	Broken  int
}

// tally adds up what a crowd says.
type tally struct {
	kinds   map[string]*KindMoment
	seconds []CrowdSecond
	last    []BrokenConn // the oldest first
}

func (t *tally) add(r CrowdReport) {
	if t.kinds == nil {
		t.kinds = map[string]*KindMoment{}
		for _, kind := range Kinds {
			t.kinds[kind] = &KindMoment{Kind: kind, Broken: map[string]int{}}
		}
	}
	at := r.At.Truncate(time.Second)
	if n := len(t.seconds); n == 0 || t.seconds[n-1].At.Before(at) {
		t.seconds = append(t.seconds, CrowdSecond{At: at, Answers: map[string]int{}})
		t.seconds = t.seconds[max(0, len(t.seconds)-liveSeconds-1):]
	}
	now := &t.seconds[len(t.seconds)-1]
	for kind, k := range t.kinds {
		k.Open = r.Open[kind]
		k.Began += r.Began[kind]
		k.Answers += r.Answers[kind]
		k.Longest = max(k.Longest, r.Longest[kind])
		now.Answers[kind] += r.Answers[kind]
	}
	now.Broken += len(r.Broken)
	for _, b := range r.Broken {
		if k := t.kinds[b.Kind]; k != nil {
			k.Broken[b.Cause]++
		}
	}
	t.last = append(t.last, r.Broken...)
	t.last = t.last[max(0, len(t.last)-liveEvents):]
}

// moment is a copy that nothing changes any more.
func (t *tally) moment() (m CrowdMoment) {
	if len(t.seconds) > 0 { // those that are over do not change
		m.Seconds = slices.Clone(t.seconds[:len(t.seconds)-1])
	}
	for _, kind := range Kinds {
		k := KindMoment{Kind: kind}
		if of := t.kinds[kind]; of != nil {
			k = *of
			k.Broken = maps.Clone(of.Broken)
		}
		if n := len(m.Seconds); n > 0 {
			k.PerSecond = m.Seconds[n-1].Answers[kind]
		}
		m.Kinds = append(m.Kinds, k)
	}
	m.Last = slices.Clone(t.last)
	slices.Reverse(m.Last)
	return m
}
