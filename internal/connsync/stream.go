package connsync

import (
	"time"
)

// Stream is what this director and one peer tell each other, both ways, in datagrams of vipd's own (docs/sync.md has every
// byte). Its datagrams are of two kinds: a state says all that there is to say but the connections, so that the loss of one
// is healed by the next; changes are numbered, acknowledged by states, and sent again when one of them names the gap.
//
// A session is a pair of epochs, one of each side's lives, of which each has proved that it knows the other's: nothing that
// was recorded in another session is taken in this one. In a session each side asks for the other's whole table (wants) and
// is told it (a bulk), and from then on of what changes. What is told says how long ago it was used, and what was used later
// holds, whichever side it comes from: to be told the same twice, late, or by two directors harms nothing.
//
// Verbs take now first. It is not safe for concurrent use.
type Stream struct {
	cfg     StreamConfig
	tick    time.Duration
	epoch   uint64    // of this life
	number  uint64    // of the state sent last
	sentAt  time.Time // … and when
	hurry   bool      // the next is due now
	parting bool      // everything is told

	theirs      uint64 // the peer's epoch. 0: none has proved itself yet
	theirNumber uint64 // of its state heard last
	theirTakes  uint32 // what it understands, as it says there
	heardAt     time.Time
	answeredAt  time.Time // when somebody without a session was answered last

	out outgoing
	in  incoming

	verdicts, theirVerdicts uint64 // number of those told and heard last

	counts  StreamCounts
	effects []StreamEffect
}

// StreamConfig is what a Stream is made for.
type StreamConfig struct {
	Key       []byte                         // of the HMAC. If empty, nothing is authenticated but the address.
	Interval  time.Duration                  // between two states
	MaxLen    int                            // of a datagram, in bytes
	Threshold uint32                         // packets of a client from which on a connection is told that is told as usual
	Ticks     func(time.Duration) uint32     // of the table's clock
	Lives     func(now time.Time) (n uint64) // the epoch of a life that begins now. If nil, the nanoseconds of now.
}

// Bounds, and how long things take.
const (
	streamWindow   = 1024                  // datagrams of changes that may be unacknowledged, or ahead of a gap
	streamGaps     = 64                    // that one state names
	gapPatience    = 20 * time.Millisecond // before a gap is a loss and no reordering
	gapAgain       = 50 * time.Millisecond // between two states about the same gap
	gapMost        = 5 * time.Second       // then the whole table is asked for again
	resendAfter    = 30 * time.Millisecond // nothing is sent again sooner
	ackEvery       = 128                   // changes, at the latest
	resendMost     = 256                   // datagrams that one state has sent again
	answerEvery    = 20 * time.Millisecond // to those without a session
	leastDeadAfter = 3 * time.Second
	caughtUpLag    = 3 * time.Second // at most, for a bulk to count
)

// StreamEffect is Send, Learn or Verdicts.
type StreamEffect interface{ streamEffect() }

// Send is a datagram for the peer.
type Send struct{ Datagram []byte }

// Learn are connections that the peer has told, in its order.
type Learn struct{ Conns []Conn }

func (Send) streamEffect()  {}
func (Learn) streamEffect() {}

// StreamCounts are since the Stream was made.
type StreamCounts struct {
	Told, Sent, Resent uint64 // connections; datagrams of changes; of those sent again
	Heard, Taken       uint64 // datagrams; connections that were taken out of them
	Repeated           uint64 // datagrams of changes that came twice
	Bulks, Resyncs     uint64 // whole tables that the peer asked for; that were asked for again because of a gap
	Refused            map[Reason]uint64
}

// NewStream makes one whose life begins now.
func NewStream(now time.Time, cfg StreamConfig) *Stream {
	if cfg.Lives == nil {
		cfg.Lives = func(now time.Time) uint64 { return uint64(now.UnixNano()) }
	}
	s := &Stream{cfg: cfg, tick: tickOf(cfg.Ticks), counts: StreamCounts{Refused: map[Reason]uint64{}}, hurry: true}
	s.live(cfg.Lives(now))
	return s
}

// live begins another life.
func (s *Stream) live(epoch uint64) {
	s.epoch, s.theirs, s.theirNumber, s.theirTakes = max(epoch, 1), 0, 0, 0
	s.out, s.in = outgoing{}, incoming{}
	s.theirVerdicts = 0
}

// Take hands out what is to be done, in order.
func (s *Stream) Take() []StreamEffect {
	all := s.effects
	s.effects = nil
	return all
}

func (s *Stream) emit(e StreamEffect) { s.effects = append(s.effects, e) }

// Next is when Tick has something to do.
func (s *Stream) Next() time.Time {
	if s.hurry {
		return s.sentAt
	}
	next := s.sentAt.Add(s.cfg.Interval)
	if gap := s.in.nextGap(); !gap.IsZero() && gap.Before(next) {
		return gap
	}
	return next
}

// Tick sends what is due.
func (s *Stream) Tick(now time.Time) {
	if s.in.gapTooOld(now) && s.alive(now) {
		s.counts.Resyncs++
		s.in = incoming{want: s.in.want + 1, after: s.in.after}
		s.hurry = true
	}
	if now.Before(s.Next()) {
		return
	}
	s.sendState(now, s.theirs)
}

// alive tells whether the peer was heard lately, in a session.
func (s *Stream) alive(now time.Time) bool {
	return s.theirs != 0 && now.Sub(s.heardAt) < max(leastDeadAfter, 10*s.cfg.Interval)
}

func (s *Stream) sendState(now time.Time, echo uint64) {
	s.number++
	st := state{floor: s.theirs, takes: takesLocal}
	if echo == s.theirs {
		s.in.say(now, &st)
		s.out.say(now, &st)
		s.sentAt, s.hurry = now, false
	}
	h := header{kind: kindState, epoch: s.epoch, echo: echo, number: s.number}
	s.emit(Send{h.seal(st.append(h.begin(stateSize)), s.cfg.Key)})
}

// Receive takes a datagram of the peer's address.
func (s *Stream) Receive(now time.Time, datagram []byte) {
	s.ReceiveOpened(now, Open(datagram, s.cfg.Key))
}

// ReceiveOpened takes one that Open has looked at, in whatever goroutine, with the key of this Stream.
func (s *Stream) ReceiveOpened(now time.Time, d Opened) {
	s.counts.Heard++
	if why := s.receive(now, d); why != "" {
		s.counts.Refused[why]++
	}
}

// SetInterval changes the time between two states.
func (s *Stream) SetInterval(d time.Duration) { s.cfg.Interval = d }

// SetThreshold changes from which packet on a connection is told that is told as usual.
func (s *Stream) SetThreshold(packets uint32) { s.cfg.Threshold = packets }

func (s *Stream) receive(now time.Time, d Opened) Reason {
	h, body := d.header, d.body
	switch {
	case d.why != "":
		return d.why
	case h.epoch == s.epoch:
		return OwnDatagram
	case h.echo != s.epoch: // it knows another life of ours, or none
		if h.kind == kindState {
			s.answer(now, h.epoch)
			return ""
		}
		return OtherSession
	case h.epoch < s.theirs:
		s.answer(now, h.epoch)
		return OtherSession
	case h.kind == kindState:
		return s.hearState(now, h, body)
	case h.epoch != s.theirs:
		return OtherSession
	}
	if h.kind == kindVerdicts {
		return s.hearVerdicts(h.number, body)
	}
	return s.in.take(now, s, h.number, body)
}

// answer has somebody without a session prove that it lives, and know what it must know for that.
func (s *Stream) answer(now time.Time, epoch uint64) {
	if now.Sub(s.answeredAt) >= answerEvery {
		s.answeredAt = now
		s.sendState(now, epoch)
	}
}

func (s *Stream) hearState(now time.Time, h header, body []byte) Reason {
	st, ok := readState(body)
	switch {
	case !ok:
		return BadState
	case st.floor > s.epoch: // the clock of this host has gone back: the peer knows a later life
		s.live(max(s.cfg.Lives(now), st.floor+1))
		s.hurry = true
		return OtherSession
	case h.epoch > s.theirs:
		s.theirs = h.epoch
		s.in, s.out, s.theirVerdicts = incoming{want: 1}, outgoing{}, 0
		s.hurry = true
	case h.number <= s.theirNumber:
		return Replayed
	}
	if !s.alive(now) {
		s.in.caughtUp, s.in.fresh, s.in.after = false, false, s.number // what happened meanwhile is still to come
		if s.in.base != 0 && now.Sub(s.heardAt) >= mostAge {           // and waits for longer than it can say of itself
			s.in = incoming{want: s.in.want + 1, after: s.number}
			s.hurry = true
		}
	}
	s.theirNumber, s.heardAt, s.theirTakes = h.number, now, st.takes
	s.in.hear(now, &st)
	s.out.hear(now, s, &st)
	return ""
}
