package conf

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
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
	d.Expected = l.kw.Name + " " + l.kw.Args
	return d
}

// integer reads argument i as a whole decimal number in a range. also: see badValue.
func (l *loader) integer(s *stmt, i int, lo, hi int64, also string) (int64, bool) {
	t := s.text(i)
	digits := strings.TrimPrefix(t, "+")
	v, err := strconv.ParseInt(digits, 10, 64)
	_, big := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil && (big == nil || isRange(err)):
		l.badValue(s, i, fmt.Sprintf("number '%s' outside range [%d, %d]", t, lo, hi), also)
	case err != nil || digits == "" || digits[0] == '+':
		l.badValue(s, i, "invalid number '"+t+"'", also)
	case v < 0 && lo >= 0:
		l.badValue(s, i, "negative number '"+t+"'", also)
	case v < lo || v > hi:
		l.badValue(s, i, fmt.Sprintf("number '%s' outside range [%d, %d]", t, lo, hi), also)
	default:
		return v, true
	}
	return 0, false
}

func isRange(err error) bool {
	var ne *strconv.NumError
	return asNum(err, &ne) && ne.Err == strconv.ErrRange
}

func asNum(err error, to **strconv.NumError) bool {
	ne, ok := err.(*strconv.NumError)
	*to = ne
	return ok
}

// Bounds of decimal seconds, in microseconds.
const (
	second    = 1000000
	micros32  = math.MaxUint32 // 4294.967295 s
	micros63  = math.MaxInt64 / 1000
	biggest   = "18446744073709.551614" // keepalived: 64 bits of microseconds; a Duration holds less
	tooPoints = "number '%s' has too many decimal places"
)

// decimal reads argument i as seconds with up to six decimal places. lo and hi are microseconds.
func (l *loader) decimal(s *stmt, i int, lo, hi int64, also string) (time.Duration, bool) {
	t := s.text(i)
	whole, part, point := strings.Cut(strings.TrimPrefix(t, "+"), ".")
	if strings.HasPrefix(t, "-") {
		l.badValue(s, i, "negative number '"+t+"'", also)
		return 0, false
	}
	if whole == "" && part == "" || !digits(whole) || !digits(part) || point && whole == "" && part == "" {
		l.badValue(s, i, "invalid number '"+t+"'", also)
		return 0, false
	}
	if len(part) > 6 {
		l.badValue(s, i, fmt.Sprintf(tooPoints, t), "")
		part = part[:6]
	}
	w, err := strconv.ParseInt("0"+whole, 10, 64)
	p, _ := strconv.ParseInt((part + "000000")[:6], 10, 64)
	if err != nil || w > micros63/second-1 || w*second+p < lo || w*second+p > hi {
		top := micros(hi)
		if hi == micros63 {
			top = biggest
		}
		l.badValue(s, i, fmt.Sprintf("number '%s' outside range [%s, %s]", t, micros(lo), top), also)
		return 0, false
	}
	return time.Duration(w*second+p) * time.Microsecond, true
}

func micros(v int64) string { return fmt.Sprintf("%d.%06d", v/second, v%second) }

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// yes reads the optional boolean argument: nothing means true.
func (l *loader) yes(s *stmt, also string) (v, ok bool) {
	switch s.text(1) {
	case "":
		return true, true
	case "true", "on", "yes":
		return true, true
	case "false", "off", "no":
		return false, true
	}
	d := l.badValue(s, 1, "", also)
	d.Expected = "true, on, yes, false, off or no"
	return false, false
}

// address reads a literal address. There are no zones and no names.
func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
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

func seconds(lo, hi int64, also string, put func(l *loader, v time.Duration)) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.decimal(s, 1, lo, hi, also); ok {
			put(l, v)
		}
	}
}

func word(put func(l *loader, v string)) setter {
	return func(l *loader, s *stmt) { put(l, s.text(1)) }
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
