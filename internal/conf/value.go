package conf

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// badValue reports argument i of a statement. also is the keyword's own line in keepalived, "" if it has none.
func (l *loader) badValue(s *stmt, i int, text, also string) *Diagnostic {
	t := s.arg(i)
	d := l.warn(t, "bad-value", text)
	if text == "" {
		d.Text = l.fill(also, t.Text)
	} else if also != "" {
		d.More = []string{l.fill(also, t.Text)}
	}
	if l.kw.Args != "" {
		d.Expected = l.kw.Name + " " + l.kw.Args
	}
	return d
}

// cut reads a number as strtoul(3) does in base 10, or in base 0 where auto is set: leading blanks, a sign, digits. It
// gives what is left of the text; over tells that the digits exceed 64 bits.
func cutNumber(t string, auto bool) (neg bool, v uint64, rest string, over bool) {
	s := t
	for s != "" && (isBlank(s[0]) || s[0] == '\n') {
		s = s[1:]
	}
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	base := uint64(10)
	switch {
	case auto && len(s) > 2 && (s[1] == 'x' || s[1] == 'X') && hexDigit(s[2]) < 16:
		base, s = 16, s[2:]
	case auto && len(s) > 1 && s[0] == '0':
		base = 8
	}
	i := 0
	for ; i < len(s); i++ {
		d := uint64(hexDigit(s[i]))
		if d >= base {
			break
		}
		if v > (math.MaxUint64-d)/base {
			over = true
		}
		v = v*base + d
	}
	if i == 0 {
		return false, 0, t, false
	}
	return neg, v, s[i:], over
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// whole is the fault of a text as a whole number in a range, "" if it has none. signed numbers have 32 bits, others 32
// bits and no sign. keepalived: an empty word is 0.
func whole(t string, lo, hi int64, signed, auto bool) (int64, string) {
	if v, ok := digits(t); ok && !auto && int64(v) >= lo && int64(v) <= hi {
		return int64(v), "" // within 32 bits
	}
	neg, u, rest, over := cutNumber(t, auto)
	v := int64(min(u, math.MaxInt64))
	if neg {
		v = -v
	}
	switch {
	case neg && !signed:
		return 0, "negative number '" + t + "'"
	case rest != "":
		return 0, "invalid number '" + t + "'"
	case signed && (over || u > math.MaxInt64 || v > math.MaxInt32 || v < math.MinInt32):
		return 0, "number '" + t + "' outside integer range"
	case !signed && (over || u > math.MaxUint32):
		return 0, "number '" + t + "' outside unsigned integer range"
	case v < lo || v > hi:
		return 0, fmt.Sprintf("number '%s' outside range [%d, %d]", t, lo, hi)
	}
	return v, ""
}

// integer reads argument i as a number without a sign. also: see badValue.
func (l *loader) integer(s *stmt, i int, lo, hi int64, also string) (int64, bool) {
	v, bad := whole(s.text(i), lo, hi, false, false)
	if bad != "" {
		l.badValue(s, i, bad, also)
	}
	return v, bad == ""
}

// signed reads argument i as a number that may be negative.
func (l *loader) signed(s *stmt, i int, lo, hi int64, also string) (int64, bool) {
	v, bad := whole(s.text(i), lo, hi, true, false)
	if bad != "" {
		l.badValue(s, i, bad, also)
	}
	return v, bad == ""
}

// Bounds of decimal seconds, in microseconds.
const (
	second   = 1000000
	micros32 = math.MaxUint32 // 4294.967295 s
	micros63 = math.MaxInt64 / 1000
	// biggest is keepalived's bound for long timers: 64 bits of microseconds. A Duration holds less.
	biggest = math.MaxUint64 - 1
)

// decimal reads argument i as seconds with up to six decimal places. lo and hi are microseconds.
func (l *loader) decimal(s *stmt, i int, lo, hi uint64, also string) (time.Duration, bool) {
	v, ok := l.fraction(s, i, lo, hi, 6, true, also)
	return time.Duration(min(v, micros63)) * time.Microsecond, ok
}

// fraction reads argument i as a number with places decimal places and gives it without the point. A number with too
// many places is rounded, which is reported and counts; keepalived: so does one with something behind it, if it is in
// the range as far as it goes, where it is lenient.
func (l *loader) fraction(s *stmt, i int, lo, hi uint64, places int, lenient bool, also string) (uint64, bool) {
	t := s.text(i)
	if strings.HasPrefix(t, "-") {
		l.badValue(s, i, "negative number '"+t+"'", also)
		return 0, false
	}
	if v, ok := digits(t); ok && places <= 9 {
		if v *= tens[places]; v >= lo && v <= hi {
			return v, true
		}
	}
	head, tail, point := strings.Cut(t, ".")
	up := uint64(0)
	if len(tail) > places {
		l.badValue(s, i, "number '"+t+"' has too many decimal places", "")
		if tail[places] >= '5' {
			up = 1
		}
		tail = tail[:places]
	}
	if !point {
		tail = ""
	}
	_, v, rest, over := cutNumber(head+tail+strings.Repeat("0", places-len(tail)), false)
	v += up
	bad := ""
	switch {
	case rest != "":
		bad = "invalid number '" + t + "'"
	case over:
		l.badValue(s, i, "number '"+t+"' outside unsigned decimal range", also)
		return 0, false
	case v < lo || v > hi:
		bad = fmt.Sprintf("number '%s' outside range [%s, %s]", t, pointed(lo, places), pointed(hi, places))
	default:
		return v, true
	}
	if lenient && v >= lo && v <= hi {
		l.badValue(s, i, bad, "")
		return v, true
	}
	l.badValue(s, i, bad, also)
	return 0, false
}

// digits reads up to nine digits and nothing else: nearly every number there is.
func digits(t string) (v uint64, ok bool) {
	for i := range len(t) {
		d := t[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, t != "" && len(t) <= 9
}

var tens = [...]uint64{1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000}

// pointed writes a number with its decimal point.
func pointed(v uint64, places int) string {
	unit := uint64(math.Pow10(places))
	return fmt.Sprintf("%d.%0*d", v/unit, places, v%unit)
}

// truth reads keepalived's words for yes and no.
func truth(s string) (v, ok bool) {
	switch s {
	case "true", "on", "yes":
		return true, true
	case "false", "off", "no":
		return false, true
	}
	return false, false
}

// yes reads the optional boolean argument: nothing means true.
func (l *loader) yes(s *stmt, also string) (v, ok bool) {
	if len(s.words) < 2 {
		return true, true
	}
	if v, ok = truth(s.text(1)); !ok {
		l.badValue(s, 1, "", also).Expected = "true, on, yes, false, off or no"
	}
	return v, ok
}

// address reads a literal address. There are no zones and no names.
func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}

// plain reads an address as inet_stosockaddr of keepalived: what follows a - or a / is not looked at.
func plain(s string) (netip.Addr, bool) {
	v6 := strings.Contains(s, ":")
	if i := strings.IndexByte(s, '-'); i >= 0 {
		s = s[:i]
	} else if i := strings.IndexByte(s, '/'); i >= 0 {
		s = s[:i]
	}
	a, ok := address(s)
	return a, ok && a.Is6() == v6
}

// The makers below give setters for the common kinds of argument.

func flag(put func(l *loader)) setter { return func(l *loader, _ *stmt) { put(l) } }

func boolean(also string, put func(l *loader, v bool)) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.yes(s, also); ok {
			put(l, v)
		}
	}
}

func number(lo, hi int64, also string, put func(l *loader, v int64)) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.integer(s, 1, lo, hi, also); ok {
			put(l, v)
		}
	}
}

func signedNumber(lo, hi int64, also string, put func(l *loader, v int64)) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.signed(s, 1, lo, hi, also); ok {
			put(l, v)
		}
	}
}

func seconds(lo, hi uint64, also string, put func(l *loader, v time.Duration)) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.decimal(s, 1, lo, hi, also); ok {
			put(l, v)
		}
	}
}

// timer reads seconds without an upper bound.
func timer(lo uint64, also string, put func(l *loader, v time.Duration)) setter {
	return seconds(lo, biggest, also, put)
}

func word(put func(l *loader, v string)) setter {
	return func(l *loader, s *stmt) { put(l, s.text(1)) }
}

// once keeps a word unless there is one already; also is what is said then.
func once(also string, at func(l *loader) *string) setter {
	return func(l *loader, s *stmt) {
		if p := at(l); *p == "" {
			*p = s.text(1)
		} else {
			l.badValue(s, 1, "", strings.ReplaceAll(also, "{old}", *p))
		}
	}
}

// choice keeps one of several words.
func choice(also string, put func(l *loader, v string), words ...string) setter {
	return func(l *loader, s *stmt) {
		for _, w := range words {
			if s.text(1) == w {
				put(l, w)
				return
			}
		}
		l.badValue(s, 1, "", also).Expected = strings.Join(words, ", ")
	}
}

// ifName keeps a name that can be an interface's (IFNAMSIZ: 15 bytes).
func ifName(put func(l *loader, v string)) setter {
	return func(l *loader, s *stmt) {
		if n := s.text(1); len(n) > 15 {
			l.badValue(s, 1, "Interface name '"+n+"' too long - ignoring", "").Expected = "at most 15 bytes"
		} else {
			put(l, n)
		}
	}
}
