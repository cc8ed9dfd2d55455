package connsync

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"vipd/internal/lb"
)

// Verdict is what the checks of one director say of a real server.
type Verdict struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Up      bool
	For     time.Duration // that it says so
	Age     time.Duration // of the oldest result that it rests on
	Why     string        // in one clause, for a person
}

// Verdicts are what the peer's checks say.
type Verdicts struct{ All []Verdict }

func (Verdicts) streamEffect() {}

const (
	kindVerdicts = 3

	verdictUp   = 1 << 0
	verdictMark = 1 << 1 // the service is a firewall mark
	verdictVIP6 = 1 << 2 // the service is of IPv6
	verdictRIP6 = 1 << 3 // the real server is

	verdictsSize = 4   // the count, and two bytes for later
	verdictFixed = 14  // of an entry: all but addresses, ports and reason
	mostWhy      = 120 // bytes of a reason
)

// TellVerdicts tells the peer, in a session, what this director's checks say: all of it, each time. What is lost comes with the
// next.
func (s *Stream) TellVerdicts(now time.Time, all []Verdict) {
	if !s.alive(now) {
		return
	}
	h := header{kind: kindVerdicts, epoch: s.epoch, echo: s.theirs}
	var b []byte
	count := uint16(0)
	send := func() {
		if count == 0 {
			return
		}
		s.verdicts++
		h.number = s.verdicts
		binary.BigEndian.PutUint16(b[headerSize:], count)
		s.emit(Send{h.seal(b, s.cfg.Key)})
		b, count = nil, 0
	}
	for i := range all {
		entry := all[i].append(nil)
		if len(b)+len(entry)+macSize > s.cfg.MaxLen {
			send()
		}
		if count == 0 {
			b = append(h.begin(s.cfg.MaxLen), make([]byte, verdictsSize)...)
		}
		b = append(b, entry...)
		count++
	}
	send()
}

func (s *Stream) hearVerdicts(number uint64, body []byte) Reason {
	if number <= s.theirVerdicts {
		return Replayed
	}
	all, why := readVerdicts(body)
	if why != "" {
		return why
	}
	s.theirVerdicts = number
	s.emit(Verdicts{all})
	return ""
}

// append writes an entry, its length in front.
func (v *Verdict) append(b []byte) []byte {
	be := binary.BigEndian
	at := len(b)
	flags := uint8(0)
	set := func(only bool, flag uint8) {
		if only {
			flags |= flag
		}
	}
	set(v.Up, verdictUp)
	set(v.Service.Mark != 0, verdictMark)
	set(v.Service.Is6(), verdictVIP6)
	set(v.Real.Addr().Is6(), verdictRIP6)
	b = append(b, 0, 0, flags, uint8(v.Service.Protocol))
	b = be.AppendUint32(b, millis(v.For))
	b = be.AppendUint32(b, millis(v.Age))
	if v.Service.Mark != 0 {
		b = be.AppendUint32(b, v.Service.Mark)
	} else {
		b = appendEndpoint(b, v.Service.Addr)
	}
	b = appendEndpoint(b, v.Real)
	why := short(v.Why)
	b = append(b, uint8(len(why)))
	b = append(b, why...)
	be.PutUint16(b[at:], uint16(len(b)-at))
	return b
}

// short is as much of a reason as there is room for.
func short(s string) string {
	if len(s) > mostWhy {
		s = strings.ToValidUTF8(s[:mostWhy], "")
	}
	return s
}

func millis(d time.Duration) uint32 { return uint32(min(max(d/time.Millisecond, 0), 1<<32-1)) }

func appendEndpoint(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// readVerdicts reads what follows the header. What an entry has beyond its reason is of later versions.
func readVerdicts(b []byte) (all []Verdict, why Reason) {
	if len(b) < verdictsSize {
		return nil, ShortDatagram
	}
	count := int(binary.BigEndian.Uint16(b))
	for b = b[verdictsSize:]; count > 0; count-- {
		if len(b) < 2 {
			return nil, ShortEntry
		}
		size := int(binary.BigEndian.Uint16(b))
		if size < verdictFixed || size > len(b) {
			return nil, ShortEntry
		}
		v, ok := readVerdict(b[:size])
		if !ok {
			return nil, ShortEntry
		}
		all = append(all, v)
		b = b[size:]
	}
	return all, ""
}

func readVerdict(b []byte) (v Verdict, ok bool) {
	be := binary.BigEndian
	flags := b[2]
	v = Verdict{Up: flags&verdictUp != 0, For: time.Duration(be.Uint32(b[4:])) * time.Millisecond, Age: time.Duration(be.Uint32(b[8:])) * time.Millisecond}
	b2 := b[12:]
	ok = true
	if flags&verdictMark != 0 {
		if len(b2) < 4 {
			return v, false
		}
		v.Service = lb.ServiceKey{Mark: be.Uint32(b2), V6: flags&verdictVIP6 != 0}
		ok = v.Service.Mark != 0
		b2 = b2[4:]
	} else {
		v.Service.Protocol = lb.Protocol(b[3])
		v.Service.Addr, b2, ok = cutEndpoint(b2, flags&verdictVIP6 != 0)
	}
	if ok {
		v.Real, b2, ok = cutEndpoint(b2, flags&verdictRIP6 != 0)
	}
	if !ok || len(b2) < 1 || int(b2[0]) > len(b2)-1 {
		return v, false
	}
	v.Why = short(printable(string(b2[1 : 1+int(b2[0])])))
	return v, true
}

func cutEndpoint(b []byte, v6 bool) (a netip.AddrPort, rest []byte, ok bool) {
	size := 4
	if v6 {
		size = 16
	}
	if len(b) < size+2 {
		return a, nil, false
	}
	addr, _ := netip.AddrFromSlice(b[:size])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[size:])), b[size+2:], true
}

// printable makes of a peer's text what may stand in a log line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
