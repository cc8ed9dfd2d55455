package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// HMAC is auth_hmac: adverts signed by a trailer, as keepalived 2.4.2 and later have it. The zero value: none.
type HMAC struct {
	Keys      map[uint8][]byte // by id 1..255, each of 32 to 64 bytes
	Active    uint8            // id of the key that signs
	Window    time.Duration    // how far clocks may differ, with Monotonic unused. If zero, three advert intervals and at least 5 s.
	Monotonic bool             // only order counts, not the time
	Mode      HMACMode
}

// HMACMode says what an instance with keys does with adverts without a trailer, and whether it sends one. Peers go from
// none to all of them through the two others without a gap.
type HMACMode uint8

// Modes.
const (
	HMACEnforce     HMACMode = iota
	HMACPermissive           // takes adverts without a trailer too
	HMACReceiveOnly          // and sends none
)

func (m HMACMode) String() string { return [...]string{"enforce", "permissive", "receive-only"}[m%3] }

// On tells whether adverts are verified.
func (h *HMAC) On() bool { return len(h.Keys) > 0 }

// Trailer follows a signed message.
type Trailer struct {
	Type     uint8
	Key      uint8
	Reserved uint16
	Sequence uint64 // seconds since 1970, a 16-bit fraction of a second, a 16-bit counter
	Tag      [16]byte
}

const (
	trailerLen  = 28
	trailerType = 1
	// maxSenders bounds the tables of senders; the one that was silent longest is forgotten.
	maxSenders = 8
)

func (a *Advert) readTrailer(b []byte) {
	a.Trailer = &Trailer{Type: b[0], Key: b[1], Reserved: binary.BigEndian.Uint16(b[2:]), Sequence: binary.BigEndian.Uint64(b[4:]), Tag: [16]byte(b[12:])}
}

func (t *Trailer) append(b []byte) []byte {
	b = append(b, t.Type, t.Key)
	b = binary.BigEndian.AppendUint16(b, t.Reserved)
	b = binary.BigEndian.AppendUint64(b, t.Sequence)
	return append(b, t.Tag[:]...)
}

// tag signs message with trailer t: HMAC-SHA256 cut to 128 bits, over a pseudo header that binds family, version, VRID
// and source, the message with its checksum 0, the trailer before its tag, and 16 zero bytes.
func tag(key []byte, source netip.Addr, message []byte, t *Trailer) (out [16]byte) {
	var head [20]byte
	head[0], head[1], head[2] = 4, message[0]>>4, message[1]
	if source.Is6() {
		head[0] = 6
	}
	copy(head[4:], source.AsSlice())
	unsigned := *t
	unsigned.Tag = [16]byte{}
	mac := hmac.New(sha256.New, key)
	mac.Write(head[:])
	mac.Write(message[:6])
	mac.Write([]byte{0, 0})
	mac.Write(message[8:])
	mac.Write(unsigned.append(nil))
	copy(out[:], mac.Sum(nil))
	return out
}

// signer makes and checks the sequence numbers of one instance.
type signer struct {
	sent uint64
	seen []sender // the latest first
}

type sender struct {
	addr     netip.Addr
	sequence uint64
}

// stamp is the time as a sequence number.
func stamp(now time.Time) uint64 {
	return uint64(uint32(now.Unix()))<<32 | uint64(now.Nanosecond())<<16/1e9<<16
}

// after compares sequence numbers as RFC 1982 does.
func after(a, b uint64) bool { return int64(a-b) > 0 }

// apart is by how many seconds sequence lies before now.
func apart(now time.Time, sequence uint64) int32 {
	return int32(uint32(now.Unix()) - uint32(sequence>>32))
}

// next is the number of the next advert: the time, or one more than the last where the clock did not move on. With
// clocks compared, a clock that was set back by more than the window is followed: the peers would refuse the old time.
func (s *signer) next(now time.Time, h *HMAC) uint64 {
	clock := stamp(now)
	if after(clock, s.sent) || !h.Monotonic && -apart(now, s.sent) > h.seconds() {
		s.sent = clock
	} else {
		s.sent++
	}
	return s.sent
}

func (h *HMAC) seconds() int32 { return int32(h.Window / time.Second) }

// fresh reports a number that is newer than the last from addr, and remembers it. It comes last, so that nothing forged
// moves the mark.
func (s *signer) fresh(now time.Time, h *HMAC, addr netip.Addr, sequence uint64) bool {
	i := slices.IndexFunc(s.seen, func(x sender) bool { return x.addr == addr })
	if i >= 0 {
		last := s.seen[i].sequence
		// A mark outside the window orders only what the window refuses anyway; without it a sender whose clock was set
		// back is heard again.
		expired := !h.Monotonic && (apart(now, last) > h.seconds() || apart(now, last) < -h.seconds())
		if !expired && !after(sequence, last) {
			return false
		}
		s.seen = slices.Delete(s.seen, i, i+1)
	}
	s.seen = slices.Insert(s.seen, 0, sender{addr, sequence})
	s.seen = s.seen[:min(len(s.seen), maxSenders)]
	return true
}

// sign gives an advert its trailer; seal fills in the tag when the message is complete.
func (r *Router) sign(now time.Time, a *Advert) {
	now = now.Add(r.ahead)
	if h := &r.cfg.HMAC; h.On() && h.Mode != HMACReceiveOnly {
		a.Trailer = &Trailer{Type: trailerType, Key: h.Active, Sequence: r.signer.next(now, h)}
		a.Trailer.Tag = tag(h.Keys[h.Active], a.Source, a.appendMessage(nil), a.Trailer)
	}
}

// checkHMAC verifies the trailer of an advert whose message is given.
func (r *Router) checkHMAC(now time.Time, a *Advert, message []byte) error {
	h, t := &r.cfg.HMAC, a.Trailer
	now = now.Add(r.ahead)
	switch {
	case t == nil && h.Mode != HMACEnforce:
		return nil
	case t == nil:
		return refuse(ReasonHMACMissing, "missing authentication trailer from %s", a.Source).versus("auth_hmac", "none", "enforce")
	case r.cfg.Unicast && !r.isPeer(a.Source):
		return refuse(ReasonSource, "unicast source address %s not a unicast peer", a.Source).versus("source", a.Source, "a unicast_peer")
	case t.Type != trailerType || t.Reserved != 0:
		return refuse(ReasonHMACMalformed, "malformed authentication trailer from %s", a.Source).versus("auth_hmac type", t.Type, trailerType)
	}
	behind := apart(now, t.Sequence)
	if !h.Monotonic && (behind > h.seconds() || behind < -h.seconds()) {
		return refuse(ReasonHMACStale, "stale authentication trailer from %s, clock skew %d sec exceeds window %d sec", a.Source, behind, h.seconds()).
			versus("clock", fmt.Sprintf("%+d s", -behind), fmt.Sprintf("within %d s", h.seconds()))
	}
	key := h.Keys[t.Key]
	if key == nil {
		return refuse(ReasonHMACKey, "unknown authentication key id %d from %s", t.Key, a.Source).versus("auth_hmac key", t.Key, slices.Sorted(maps.Keys(h.Keys)))
	}
	if want := tag(key, a.Source, message, t); !hmac.Equal(want[:], t.Tag[:]) {
		return refuse(ReasonHMACTag, "invalid authentication HMAC from %s", a.Source).versus("auth_hmac tag", "of another key or changed", "of key "+fmt.Sprint(t.Key))
	}
	if !r.signer.fresh(now, h, a.Source, t.Sequence) {
		return refuse(ReasonHMACReplay, "replayed authentication trailer from %s", a.Source).versus("auth_hmac sequence", "not newer", "newer than the last")
	}
	if half := h.seconds() / 2; !h.Monotonic && (behind > half || behind < -half) {
		r.warnOnce("clock", "authentication clock skew %d sec from %s approaching window %d sec", behind, a.Source, h.seconds())
	}
	return nil
}
