package conf

import (
	"fmt"
	"math"
	"time"
)

// bfdAt is a bfd_instance while it is read.
type bfdAt struct {
	BFD
	neighbor      string // how the keyword is spelled
	vrrp, checker bool   // said
}

func beginBFD(l *loader, s *stmt) {
	name := s.text(1)
	bad := func(format string) {
		l.warn(s.arg(1), "bad-value", fmt.Sprintf(format, name))
		l.skip = true
	}
	known := false
	for _, b := range l.cfg.BFDs {
		known = known || b.Name == name
	}
	all := l.pass == passAll || l.pass == passBFD
	switch {
	case all && len(name) >= 32:
		bad("Configuration error: BFD instance %s name too long (maximum length is 31 characters) - ignoring")
	case all && known:
		bad("Configuration error: BFD instance %s already configured - ignoring")
	case l.pass == passVRRP && len(name) >= 32:
		bad("BFD name %s too long")
	case known:
		bad("BFD %s already specified")
	}
	l.bfd = &bfdAt{neighbor: "neighbor", BFD: BFD{Name: name, MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond, IdleTx: time.Second, Multiplier: 5}}
}

// bfdSays is the start of what is said of a bfd_instance.
const bfdSays = "Configuration error: BFD instance {bfd} "

func bfdNeighbor(l *loader, s *stmt) {
	a, ok := plain(s.text(1))
	if !ok {
		l.badValue(s, 1, "", "Configuration error: BFD instance {bfd} has malformed "+l.bfd.neighbor+" address {value}, ignoring instance").Expected = "an address"
		l.end = l.skipRest()
		return
	}
	l.bfd.Neighbor = a
}

// skipRest passes over the rest of the block.
func (l *loader) skipRest() bool {
	for depth := 1; depth > 0; {
		s, ok := l.in.next()
		if !ok {
			return true
		}
		switch s.kind {
		case Open:
			depth++
		case Close:
			depth--
		}
	}
	return true
}

func bfdSource(l *loader, s *stmt) {
	if a, ok := plain(s.text(1)); ok {
		l.bfd.Source = a
	} else {
		l.badValue(s, 1, "", bfdSays+"has malformed source address {value}, ignoring").Expected = "an address"
	}
}

// bfdTime reads milliseconds with up to three decimal places.
func bfdTime(lo uint64, at func(b *BFD) *time.Duration) setter {
	return func(l *loader, s *stmt) {
		const top = math.MaxUint32 / 1000
		v, ok := l.fraction(s, 1, lo*1000, top*1000, 3, false, fmt.Sprintf("%s%s value {value} is not valid (must be in range [%d-%d]), ignoring", bfdSays, s.text(0), lo, top))
		if ok {
			*at(&l.bfd.BFD) = time.Duration(v) * time.Microsecond
		}
	}
}

func bfdWeight(l *loader, s *stmt) {
	if v, ok := l.signed(s, 1, -253, 253, bfdSays+"weight value {value} not valid (must be in range [-253-253]), ignoring"); ok {
		l.bfd.Weight = int(v)
	}
	if len(s.words) > 2 {
		if s.text(2) == "reverse" {
			l.bfd.Reverse = true
		} else {
			l.badValue(s, 2, "", bfdSays+"unknown weight option {value}")
		}
	}
}

func endBFD(l *loader) {
	b := l.bfd
	l.bfd = nil
	b.VRRP, b.Checker = b.vrrp || !b.checker, b.checker || !b.vrrp
	if l.pass == passVRRP || l.pass == passChecker {
		l.cfg.BFDs = append(l.cfg.BFDs, b.BFD)
		return
	}
	say := func(format string, a ...any) {
		l.warn(l.at.arg(0), "bfd", fmt.Sprintf("Configuration error: BFD instance "+b.Name+" "+format, a...))
	}
	if !b.Neighbor.IsValid() {
		say("has no %s address set, disabling instance", b.neighbor)
		return
	}
	if b.Source.IsValid() && b.Source.Is4() != b.Neighbor.Is4() {
		other := b.Neighbor
		if l.pass != passAll {
			other = b.Source // keepalived writes the same one twice
		}
		say("source address %s and %s address %s are not of the same family, disabling instance", b.Source, b.neighbor, other)
		return
	}
	for _, o := range l.cfg.BFDs {
		switch {
		case o.Neighbor != b.Neighbor || o.Source != b.Source:
			continue
		case b.Source.IsValid():
			say("has duplicate source/%s address %s/%s, ignoring instance", b.neighbor, b.Source, b.Neighbor)
		default:
			say("has duplicate %s address %s, ignoring instance", b.neighbor, b.Neighbor)
		}
		return
	}
	if b.SendTTL = b.TTL; b.TTL == 0 {
		// RFC 5881 §5: "all BFD Control packets for the session MUST be sent with a TTL or Hop Limit value of 255".
		// keepalived: 64 with IPv6, which other programs throw away; what comes with so little is taken all the same.
		b.SendTTL = 255
		if b.TTL = 255; b.Neighbor.Is6() {
			b.TTL = 64
		}
	}
	if b.MaxHops > b.TTL {
		l.warn(l.at.arg(0), "bfd", "BFD instance "+b.Name+": max_hops exceeds ttl/hoplimit - setting to ttl/hoplimit")
		b.MaxHops = b.TTL
	}
	l.cfg.BFDs = append(l.cfg.BFDs, b.BFD)
}
