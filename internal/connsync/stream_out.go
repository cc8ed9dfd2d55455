package connsync

import (
	"encoding/binary"
	"slices"
	"time"

	"vipd/internal/lb"
)

// outgoing is the half of a Stream that tells: looks at the table find what the peer does not know yet.
type outgoing struct {
	serve uint64 // the bulk that is or was told. 0: the peer has not asked
	fresh bool   // asked for, and no look has begun since: nothing counts as told
	base  uint64
	last  uint64 // of the changes that were sent
	ack   uint64
	until uint64
	ring  [streamWindow]sent // of those above ack, by number
	marks [][]known          // by line, in parts; a part is made when it is needed

	open  []byte // the datagram that is being filled
	count uint16
	at    *known // of the line that Look said yes to
	seen  Sight

	look      look    // that goes on
	done      look    // that has ended last
	confirms  []point // looks that told everything, not acknowledged yet
	confirmed point
	refused   uint64 // by the peer, as it says
}

type sent struct {
	changes   []byte // with room for a header in front
	built, at time.Time
}

// known is what the peer knows of a line: 16 bytes.
type known struct {
	generation uint32
	number     uint32 // of the changes that said so, as far as 32 bits do
	expires    uint32
	state      uint8
	ok         bool
}

// look is one look at the whole table.
type look struct {
	began            time.Time
	seen             uint64 // the peer's state that was heard last before
	whole            bool   // nothing was left out for want of room
	total, has, tell uint32
	end              uint64 // the last of the changes that it made
}

// point: when those up to number are acknowledged, all that was before began is with the peer.
type point struct {
	began  time.Time
	seen   uint64
	number uint64
}

const confirmsMost = 64

// hear takes what the peer says of what it has learned.
func (o *outgoing) hear(now time.Time, s *Stream, st *state) {
	if st.want == 0 {
		return
	}
	if st.want != o.serve {
		last := o.last
		*o = outgoing{serve: st.want, fresh: true, base: last + 1, last: last, ack: last}
		s.counts.Bulks++
		s.hurry = true
		return
	}
	if st.ack > o.ack && st.ack <= o.last {
		for n := o.ack + 1; n <= st.ack; n++ {
			o.ring[n%streamWindow] = sent{}
		}
		o.ack = st.ack
	}
	for len(o.confirms) > 0 && o.confirms[0].number <= o.ack {
		o.confirmed, o.confirms = o.confirms[0], o.confirms[1:]
	}
	o.refused = st.refused
	o.resend(now, s, st.gaps)
}

// resend sends again what the peer lacks.
func (o *outgoing) resend(now time.Time, s *Stream, gaps []gap) {
	left := resendMost
	for _, g := range gaps {
		if g.first <= o.ack {
			continue
		}
		for n := g.first; n <= o.last && n-g.first < uint64(g.count) && left > 0; n++ {
			if at := &o.ring[n%streamWindow]; at.changes != nil && now.Sub(at.at) >= resendAfter {
				at.at = now
				s.sendChanges(now, n, slices.Clone(at.changes))
				s.counts.Resent++
				left--
			}
		}
	}
}

// say fills in what this half says.
func (o *outgoing) say(now time.Time, st *state) {
	st.lag = unknownLag
	if o.serve == 0 {
		return
	}
	st.serve, st.base, st.last, st.until = o.serve, o.base, o.last, o.until
	st.total = max(o.done.total, o.look.total)
	if st.seen = o.confirmed.seen; !o.confirmed.began.IsZero() {
		st.lag = uint32(min(max(now.Sub(o.confirmed.began)/time.Millisecond, 0), unknownLag-1))
	}
}

// Wants tells whether the peer is to be told of what a look at the table finds.
func (s *Stream) Wants(now time.Time) bool { return s.out.serve != 0 && s.alive(now) }

// Room tells whether changes can be sent; else the peer has to acknowledge some first.
func (s *Stream) Room() bool { return s.out.last-s.out.ack+2 <= streamWindow } // the one that is being filled, and another

// Begin begins a look at the whole table, in which about so many lines are in use.
func (s *Stream) Begin(now time.Time, lines int) {
	o := &s.out
	if o.fresh {
		o.fresh, o.marks = false, nil
		o.done.total = uint32(max(lines, 0))
	}
	o.look = look{began: now, seen: s.theirNumber, whole: s.Wants(now)}
}

// Look says whether the peer is to be told of a line; Tell must follow if so.
func (s *Stream) Look(now uint32, line int, c Sight) bool {
	o := &s.out
	if o.look.began.IsZero() || o.fresh || o.serve == 0 || !s.tells(c) {
		return false
	}
	o.look.total++
	m := o.mark(line)
	if m.generation != c.Generation {
		*m = known{generation: c.Generation}
	}
	if m.ok && !changed(m, c) {
		if int32(m.number-uint32(o.ack)) <= 0 {
			o.look.has++
		}
		return false
	}
	if !s.Room() {
		o.look.whole = false
		return false
	}
	o.at, o.seen = m, c
	o.seen.idle = time.Duration(int32(now+c.Timeout-c.Expires)) * s.tick
	return true
}

// Parting has everything told that is not of a service that tells nothing, however young: another director takes over.
func (s *Stream) Parting(on bool) { s.parting = on }

// Hurry has the next state go at once, so that the peer hears what there is and says what it has.
func (s *Stream) Hurry() { s.hurry = true }

// ToldSince tells whether all that a look found which began at or after a moment is with the peer, as it says itself.
func (s *Stream) ToldSince(at time.Time) bool {
	return !s.out.confirmed.began.Before(at)
}

// changed: another state, or its end has moved by a quarter of the time that it has.
func changed(m *known, c Sight) bool {
	return m.state != uint8(c.State) || moved(m.expires, c.Expires) > c.Timeout/4
}

// tells: is it one of those that the service's policy says?
func (s *Stream) tells(c Sight) bool {
	switch {
	case c.Telling == lb.TellNone, c.Rewritten && s.theirTakes&takesLocal == 0:
		return false
	case c.Template || c.Telling == lb.TellAll || s.parting:
		return true
	case c.Telling == lb.TellUsual && c.Packets < s.cfg.Threshold && !c.Synced:
		return false
	case c.Protocol == lb.TCP:
		return tcpTold>>c.State&1 != 0
	case c.Protocol == lb.SCTP:
		return sctpTold>>c.State&1 != 0
	}
	return true
}

// Tell puts the connection into the changes that Look said yes to.
func (s *Stream) Tell(now time.Time, c Conn) {
	o := &s.out
	c.Idle = o.seen.idle
	if o.seen.Template && o.seen.Controlled {
		c.Idle = 0 // its connections hold it, whatever its time
	}
	if o.open != nil && (o.count == 1<<16-1 || len(o.open)+datedLen(&c)+macSize > s.cfg.MaxLen) {
		s.Flush(now)
	}
	if o.open == nil {
		o.open = append(header{}.begin(s.cfg.MaxLen), 0, 0, 0, 0)
	}
	o.open = appendDated(o.open, &c)
	o.count++
	o.look.tell++
	s.counts.Told++
	*o.at = known{generation: o.seen.Generation, number: uint32(o.last + 1), expires: o.seen.Expires, state: uint8(o.seen.State), ok: true}
}

// Flush sends the changes that are being filled.
func (s *Stream) Flush(now time.Time) {
	o := &s.out
	if o.open == nil {
		return
	}
	binary.BigEndian.PutUint16(o.open[headerSize:], o.count)
	o.last++
	o.ring[o.last%streamWindow] = sent{slices.Clone(o.open), now, now}
	s.sendChanges(now, o.last, o.open)
	o.open, o.count = nil, 0
	s.counts.Sent++
}

// sendChanges sends those of a number, whose age is that of the moment.
func (s *Stream) sendChanges(now time.Time, number uint64, b []byte) {
	age := now.Sub(s.out.ring[number%streamWindow].built) / ageUnit
	binary.BigEndian.PutUint16(b[headerSize+2:], uint16(min(age, 1<<16-1)))
	h := header{kind: kindChanges, epoch: s.epoch, echo: s.theirs, number: number}
	s.emit(Send{h.seal(b, s.cfg.Key)})
}

// End ends a look at the whole table.
func (s *Stream) End(now time.Time) {
	s.Flush(now)
	o := &s.out
	if o.look.began.IsZero() || o.fresh {
		return
	}
	o.look.end = o.last
	o.done, o.look = o.look, look{}
	if !o.done.whole {
		return
	}
	if o.until == 0 {
		o.until = o.last + 1
		s.hurry = true
	}
	at := point{o.done.began, o.done.seen, o.last}
	if o.ack >= o.last && len(o.confirms) == 0 {
		o.confirmed = at
	} else if len(o.confirms) < confirmsMost {
		o.confirms = append(o.confirms, at)
	}
}

// Learned notes that a line says now what the peer told.
func (s *Stream) Learned(line int, c Sight) {
	o := &s.out
	if o.serve == 0 || o.fresh {
		return
	}
	*o.mark(line) = known{generation: c.Generation, number: uint32(o.ack), expires: c.Expires, state: uint8(c.State), ok: true}
}

func (o *outgoing) mark(line int) *known {
	at := line / marksChunk
	for len(o.marks) <= at {
		o.marks = append(o.marks, nil)
	}
	if o.marks[at] == nil {
		o.marks[at] = make([]known, marksChunk)
	}
	return &o.marks[at][line%marksChunk]
}
