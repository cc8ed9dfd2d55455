package connsync

import "time"

// StreamStatus is how one director and one peer stand.
type StreamStatus struct {
	Alive   bool
	Silent  time.Duration // since the peer was heard. Negative: never
	Counts  StreamCounts
	Refused uint64 // connections that the peer could not keep
	Total   uint32 // connections that there are to tell
	Has     uint32 // of those, told and acknowledged, as they are now
	Lag     time.Duration
	// Of what the peer tells:
	CaughtUp   bool   // the whole table has come, and what followed
	Taken      uint64 // connections since this side asked for the whole table
	TheirTotal uint32 // that the peer has to tell. 0 until it has said so
	TheirLag   time.Duration
}

// Status tells how it stands. Lags are negative while they are not known.
func (s *Stream) Status(now time.Time) StreamStatus {
	o, in := &s.out, &s.in
	st := StreamStatus{Alive: s.alive(now), Silent: -1, Counts: s.counts, Refused: o.refused, Total: o.done.total, Has: o.done.has, Lag: -1,
		CaughtUp: in.caughtUp && s.alive(now), Taken: in.taken, TheirTotal: in.total, TheirLag: in.lag}
	if o.done.tell > 0 && o.ack >= o.done.end {
		st.Has += o.done.tell
	}
	if !o.confirmed.began.IsZero() {
		st.Lag = now.Sub(o.confirmed.began)
	}
	if !s.heardAt.IsZero() {
		st.Silent = now.Sub(s.heardAt)
	}
	if in.base == 0 {
		st.TheirLag = -1
	}
	st.Counts.Refused = map[Reason]uint64{}
	for why, n := range s.counts.Refused {
		st.Counts.Refused[why] = n
	}
	return st
}
