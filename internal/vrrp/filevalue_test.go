package vrrp

import (
	"math"
	"strings"
	"testing"
)

func TestTheNumberInATrackFile(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0": 0, "5\n": 5, " \t\n-7 left\n": -7, "+3": 3, "0x1F": 31, "0X10z": 16, "010": 8, "09": 0, "0x": 0, "0xg": 0, "abc": 0, "-": 0, "1e3": 1, "--1": 0,
		"2147483647": math.MaxInt32, "2147483648": math.MaxInt32 + 1, "-2147483648": math.MinInt32, "12 34": 12,
		strings.Repeat(" ", FileLimit) + "9": 0,
	} {
		if n, ok := ParseFile([]byte(text)); n != want || !ok {
			t.Errorf("%q: %d %t, want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{"2147483649", "-2147483649", "99999999999999999999999999", "0xffffffffffffffffffff"} {
		if n, ok := ParseFile([]byte(text)); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("0x10\n"))
	f.Add([]byte("-99999999999999"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, ok := ParseFile(text); ok && (n < math.MinInt32 || n > math.MaxInt32+1) {
			t.Errorf("%q: %d", text, n)
		}
	})
}
