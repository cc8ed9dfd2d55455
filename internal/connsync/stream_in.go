package connsync

import (
	"slices"
	"time"
)

// incoming is the half of a Stream that learns.
type incoming struct {
	want  uint64 // the bulk that is asked for
	base  uint64 // the first of its changes. 0: the peer has not said so yet
	next  uint64 // of the changes that is taken next
	ahead uint64 // all up to this one exist
	early map[uint64]early

	gapSince, gapSaid time.Time // next did not come, and when the peer was told so

	until          uint64
	total          uint32
	lag            time.Duration // negative: unknown
	seen           uint64        // the state of this side before the peer's last look whose changes are all here
	taken, refused uint64
	after          uint64 // the state that was sent last before the peer was there (again) …
	fresh          bool   // … and the peer has begun to look at its whole table after it heard a later one, and all of that is here
	caughtUp       bool
}

// early are changes that came before others.
type early struct {
	body []byte
	at   time.Time
}

// hear takes what the peer says of what it tells.
func (in *incoming) hear(now time.Time, st *state) {
	switch {
	case st.serve != in.want || in.want == 0:
		return
	case in.base == 0:
		in.base, in.next, in.ahead = st.base, st.base, st.base-1
	case st.base != in.base:
		*in = incoming{want: in.want + 1, after: in.after} // it has begun anew without being asked: not what this side knows of
		return
	}
	in.until, in.total = st.until, st.total
	in.lag = time.Duration(st.lag) * time.Millisecond
	if st.lag == unknownLag {
		in.lag = -1
	}
	in.seen = st.seen
	in.fresh = st.seen > in.after && in.lag >= 0 && in.lag <= caughtUpLag
	in.ahead = max(in.ahead, min(st.last, in.next+streamWindow-1))
	in.lookForGap(now)
	in.judge()
}

// judge: the bulk has come whole, and what followed it.
func (in *incoming) judge() {
	in.caughtUp = in.caughtUp || in.until != 0 && in.next >= in.until && in.fresh
}

// take takes changes in their order; what comes early waits.
func (in *incoming) take(now time.Time, s *Stream, number uint64, body []byte) Reason {
	switch {
	case in.base == 0 || number < in.base:
		return OtherSession
	case number < in.next || in.early[number].body != nil:
		s.counts.Repeated++
		return ""
	case number >= in.next+streamWindow:
		return BeyondWindow
	}
	in.ahead = max(in.ahead, number)
	if number != in.next {
		if in.early == nil {
			in.early = map[uint64]early{}
		}
		in.early[number] = early{slices.Clone(body), now}
		in.lookForGap(now)
		return ""
	}
	for e := (early{body, now}); e.body != nil; e = in.early[in.next] {
		delete(in.early, in.next)
		in.learn(s, e.body, now.Sub(e.at))
		in.next++
		s.hurry = s.hurry || (in.next-in.base)%ackEvery == 0
	}
	in.gapSince, in.gapSaid = time.Time{}, time.Time{}
	in.lookForGap(now)
	in.judge()
	return ""
}

func (in *incoming) learn(s *Stream, body []byte, waited time.Duration) {
	l := Learn{make([]Conn, 0, len(body)/(datedSize+entry4))} // no more can be in it
	readChanges(body, waited, func(c Conn) { l.Conns = append(l.Conns, c) }, func(why Reason) {
		s.counts.Refused[why]++
		in.refused++
	})
	in.taken += uint64(len(l.Conns))
	s.counts.Taken += uint64(len(l.Conns))
	if len(l.Conns) > 0 {
		s.emit(l)
	}
}

func (in *incoming) lookForGap(now time.Time) {
	switch missing := in.base != 0 && in.ahead >= in.next; {
	case !missing:
		in.gapSince, in.gapSaid = time.Time{}, time.Time{}
	case in.gapSince.IsZero():
		in.gapSince = now
	}
}

// nextGap is when the peer is to be told of a gap. Zero: there is none.
func (in *incoming) nextGap() time.Time {
	switch {
	case in.gapSince.IsZero():
		return time.Time{}
	case in.gapSaid.IsZero():
		return in.gapSince.Add(gapPatience)
	}
	return in.gapSaid.Add(gapAgain)
}

func (in *incoming) gapTooOld(now time.Time) bool {
	return !in.gapSince.IsZero() && now.Sub(in.gapSince) >= gapMost
}

// say fills in what this half says.
func (in *incoming) say(now time.Time, st *state) {
	st.want, st.taken, st.refused = in.want, in.taken, in.refused
	if in.base == 0 {
		return
	}
	st.ack = in.next - 1
	if in.gapSince.IsZero() || now.Sub(in.gapSince) < gapPatience {
		return
	}
	in.gapSaid = now
	for n := in.next; n <= in.ahead && len(st.gaps) < streamGaps; n++ {
		switch last := len(st.gaps) - 1; {
		case in.early[n].body != nil:
		case last >= 0 && st.gaps[last].first+uint64(st.gaps[last].count) == n:
			st.gaps[last].count++
		default:
			st.gaps = append(st.gaps, gap{n, 1})
		}
	}
}

// Refused notes that so many connections of a Learn could not be kept.
func (s *Stream) Refused(n int) { s.in.refused += uint64(n) }

// Said is the number of the state that was sent last: a mark for HeardSince.
func (s *Stream) Said() uint64 { return s.number }

// HeardSince tells whether all is here that a look of the peer's found which began after it had heard a state beyond that number.
func (s *Stream) HeardSince(number uint64) bool { return s.in.base != 0 && s.in.seen > number }
