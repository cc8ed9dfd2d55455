package vrrp

import (
	"math"
	"strings"
)

// FileLimit is how much of a track_file is read. keepalived: the same.
const FileLimit = 127

// ParseFile reads the number of a track_file as strtol(3) with base 0 does: blanks, a sign, then decimal, 0x hexadecimal
// or 0 octal digits; what follows them does not matter, and a text without a number is 0. ok is false if the number does
// not fit in 32 bits: it is then to be ignored.
func ParseFile(text []byte) (n int64, ok bool) {
	s := strings.TrimLeft(string(text[:min(len(text), FileLimit)]), " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	base := int64(10)
	switch {
	case len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && digit(s[2]) < 16:
		base, s = 16, s[2:]
	case strings.HasPrefix(s, "0"):
		base = 8
	}
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			break
		}
		if n = n*base + d; n > 2*math.MaxUint32 {
			return 0, false
		}
	}
	if negative {
		n = -n
	}
	// keepalived: one above the largest 32-bit number passes.
	return n, n >= math.MinInt32 && n <= math.MaxInt32+1
}

// digit is the value of a digit of any base; 36 of no digit.
func digit(c byte) int64 {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0')
	case c >= 'a' && c <= 'z':
		return int64(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int64(c-'A') + 10
	}
	return 36
}
