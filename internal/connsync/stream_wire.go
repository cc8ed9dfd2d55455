package connsync

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// The datagrams of a Stream; docs/sync.md has the tables. Everything is big-endian.
const (
	streamMagic   = 0x76697073 // "vips"
	streamVersion = 1

	kindState   = 1
	kindChanges = 2

	headerSize = 32
	stateSize  = 96
	gapSize    = 12
	macSize    = 16
	// StreamMaxLen is the longest datagram that is read, and MACs are of what is in front of them.
	StreamMaxLen = 9000

	changesSize = 4 // the count, and for how long they wait already
	ageUnit     = 10 * time.Millisecond
	mostAge     = (1<<16 - 1) * ageUnit
	datedSize   = 4

	unknownLag = 1<<32 - 1
	maxIdle    = (1<<32 - 1) * time.Millisecond // that can be told

	// takesLocal: who sends a state learns the connections and templates of FULLNAT. An older one says 0 there.
	takesLocal = 1
)

// header is in front of both kinds: magic, version, kind, length, the sender's epoch, the receiver's as the sender knows it,
// and the number of the state or of the changes.
type header struct {
	kind                uint8
	epoch, echo, number uint64
}

// begin makes room for a datagram of so many bytes.
func (header) begin(size int) []byte { return make([]byte, headerSize, headerSize+size+macSize) }

// seal fills in the header of what follows it, and ends it with the MAC if there is a key.
func (h header) seal(b, key []byte) []byte {
	be := binary.BigEndian
	size := len(b)
	if len(key) > 0 {
		size += macSize
	}
	be.PutUint32(b, streamMagic)
	b[4], b[5] = streamVersion, h.kind
	be.PutUint16(b[6:], uint16(size))
	be.PutUint64(b[8:], h.epoch)
	be.PutUint64(b[16:], h.echo)
	be.PutUint64(b[24:], h.number)
	if len(key) > 0 {
		b = append(b, mac(b, key)...)
	}
	return b
}

func mac(b, key []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(b)
	return m.Sum(nil)[:macSize]
}

// Opened is a datagram whose header and MAC were looked at.
type Opened struct {
	header
	body []byte
	why  Reason
}

// Open looks at a datagram's header and MAC: all that needs no Stream. It refers to b.
func Open(b, key []byte) (o Opened) {
	o.header, o.body, o.why = openDatagram(b, key)
	return o
}

// openDatagram reads a header and gives what follows it. It keeps no reference.
func openDatagram(b, key []byte) (h header, body []byte, why Reason) {
	be := binary.BigEndian
	switch {
	case len(b) < headerSize:
		return h, nil, ShortDatagram
	case be.Uint32(b) != streamMagic || b[4] != streamVersion:
		return h, nil, OtherProtocol
	case int(be.Uint16(b[6:])) != len(b):
		return h, nil, WrongSize
	}
	end := len(b)
	if len(key) > 0 {
		if end -= macSize; end < headerSize || !hmac.Equal(mac(b[:end], key), b[end:]) {
			return h, nil, BadMAC
		}
	}
	h = header{kind: b[5], epoch: be.Uint64(b[8:]), echo: be.Uint64(b[16:]), number: be.Uint64(b[24:])}
	if h.kind < kindState || h.kind > kindVerdicts || h.epoch == 0 {
		return h, nil, OtherProtocol
	}
	return h, b[headerSize:end], ""
}

// state is all that one side says of itself.
type state struct {
	floor uint64 // the receiver's epoch that the sender holds for the latest. 0: none

	// As who learns.
	want           uint64 // the number of the bulk that it wants. 0: none
	ack            uint64 // all changes up to this one were taken
	taken, refused uint64 // connections of this bulk and of what followed it; of those refused

	// As who tells.
	serve      uint64 // the bulk that is or was told. 0: none yet
	base, last uint64 // the first of its changes, and the last that there are; base-1 is last when there are none
	until      uint64 // the bulk is whole in front of this one. 0: it is not told whole yet
	seen       uint64 // the receiver's state that was heard last before the look at the table whose findings are acknowledged
	total      uint32 // connections that there are to tell
	takes      uint32 // what the sender understands beyond what all do
	lag        uint32 // ms since everything was told and acknowledged. unknownLag: never was
	gaps       []gap
}

// gap are changes that did not come.
type gap struct {
	first uint64
	count uint32
}

func (s *state) append(b []byte) []byte {
	be := binary.BigEndian
	for _, n := range [...]uint64{s.floor, s.want, s.ack, s.taken, s.refused, s.serve, s.base, s.last, s.until, s.seen} {
		b = be.AppendUint64(b, n)
	}
	for _, n := range [...]uint32{s.total, s.takes, s.lag, uint32(len(s.gaps))} {
		b = be.AppendUint32(b, n)
	}
	for _, g := range s.gaps {
		b = be.AppendUint32(be.AppendUint64(b, g.first), g.count)
	}
	return b
}

// mostNumber is more than any changes are numbered, and far from where numbers wrap.
const mostNumber = 1 << 62

func readState(b []byte) (s state, ok bool) {
	be := binary.BigEndian
	if len(b) < stateSize {
		return s, false
	}
	for i, at := range [...]*uint64{&s.floor, &s.want, &s.ack, &s.taken, &s.refused, &s.serve, &s.base, &s.last, &s.until, &s.seen} {
		*at = be.Uint64(b[8*i:])
	}
	s.total, s.takes, s.lag = be.Uint32(b[80:]), be.Uint32(b[84:]), be.Uint32(b[88:])
	n := be.Uint32(b[92:])
	b = b[stateSize:]
	if n > streamGaps || len(b) != int(n)*gapSize {
		return s, false
	}
	for ; len(b) > 0; b = b[gapSize:] {
		s.gaps = append(s.gaps, gap{be.Uint64(b), be.Uint32(b[8:])})
	}
	if max(s.base, s.last, s.until) > mostNumber {
		return s, false
	}
	return s, s.serve == 0 || s.base > 0 && s.last >= s.base-1 && (s.until == 0 || s.until >= s.base && s.until-1 <= s.last)
}

// appendDated writes a connection as changes have it: how long ago it was used, in ms, then as an entry of version 1. The
// length of b but for its header is a multiple of 4.
func appendDated(b []byte, c *Conn) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(min(max(c.Idle, 0), maxIdle)/time.Millisecond))
	b = c.append(b)
	return append(b, make([]byte, pad(len(b)))...)
}

func datedLen(c *Conn) int { n := datedSize + c.size(); return n + pad(n) }

// readChanges reads what follows the header of changes that wait here for a while already; it calls take and refuse as Decode does.
func readChanges(b []byte, waited time.Duration, take func(Conn), refuse func(Reason)) {
	if len(b) < changesSize {
		refuse(ShortDatagram)
		return
	}
	count := int(binary.BigEndian.Uint16(b))
	if count == 0 {
		refuse(Empty)
	}
	waited += time.Duration(binary.BigEndian.Uint16(b[2:])) * ageUnit
	for b = b[changesSize:]; count > 0; count-- {
		if len(b) < datedSize {
			refuse(ShortEntry)
			return
		}
		idle := time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
		e, next, why := cutEntry(b[datedSize:])
		if why != "" {
			refuse(why)
			return
		}
		c, why, sure := conn1(e)
		switch {
		case why == "":
			c.Flags &= kept
			c.Dated, c.Idle = true, min(idle+waited, maxIdle)
			take(c)
		case !sure:
			refuse(why)
			return
		default:
			refuse(why)
		}
		b = next
	}
}
