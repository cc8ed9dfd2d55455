package lb

import (
	"strings"
	"testing"
)

// TestClassWords: what is read is printed in its one form, which reads the same again.
func TestClassWords(t *testing.T) {
	for _, row := range []struct{ in, out string }{
		{"7 10.0.8.9", "7 10.0.8.9"},
		{"7 tcp 10.0.8.9 80", "7 tcp 10.0.8.9 80"},
		{"4294967295 UDP 10.0.8.9/24 8000-8099", "4294967295 udp 10.0.8.0/24 8000-8099"},
		{"7 0.0.0.0/0 0-65535", "7 0.0.0.0/0"},
		{"7 sctp 10.0.8.9 80-80 interface eth0 from 10.0.4.7/32", "7 sctp 10.0.8.9 80 from 10.0.4.7 interface eth0"},
		{"7 2001:db8::9/64 from 2001:db8:4::/48", "7 2001:db8::/64 from 2001:db8:4::/48"},
		{"7 10.0.8.9 0", "7 10.0.8.9 0"},
	} {
		c, at, err := ParseClass(strings.Fields(row.in))
		if err != nil || c.String() != row.out || at != len(strings.Fields(row.in)) {
			t.Errorf("%s: %s, word %d, %v; want %s", row.in, c, at, err, row.out)
			continue
		}
		if again, _, err := ParseClass(strings.Fields(row.out)); err != nil || again != c {
			t.Errorf("%s reads as %+v, %v; was %+v", row.out, again, err, c)
		}
	}
}

// TestClassFaults: which word, and what is wanted instead.
func TestClassFaults(t *testing.T) {
	for _, row := range []struct {
		in   string
		at   int
		says string
	}{
		{"", 0, "mark"},
		{"0 10.0.8.9", 0, "mark"},
		{"4294967296 10.0.8.9", 0, "mark"},
		{"-1 10.0.8.9", 0, "mark"},
		{"7", 1, "network"},
		{"7 icmp 10.0.8.9", 1, "network"},
		{"7 tcp", 2, "network"},
		{"7 10.0.8.9/33", 1, "network"},
		{"7 fe80::1%eth0", 1, "network"},
		{"7 ::ffff:10.0.8.9", 1, "network"},
		{"7 10.0.8.9 80-", 2, "ports"},
		{"7 10.0.8.9 90-80", 2, "ports"},
		{"7 10.0.8.9 65536", 2, "ports"},
		{"7 10.0.8.9 from", 3, "network"},
		{"7 10.0.8.9 from 2001:db8::1", 3, "family"},
		{"7 10.0.8.9 from 10.0.4.1 from 10.0.4.2", 4, "at most once"},
		{"7 10.0.8.9 interface", 3, "interface"},
		{"7 10.0.8.9 interface sixteencharacter", 3, "interface"},
		{"7 10.0.8.9 80 443", 3, "want ports"},
	} {
		_, at, err := ParseClass(strings.Fields(row.in))
		if err == nil || at != row.at || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: word %d, %v; want word %d and %q", row.in, at, err, row.at, row.says)
		}
	}
}

func FuzzClass(f *testing.F) {
	f.Add("7 tcp 10.0.8.0/24 80-90 from 10.0.4.0/24 interface eth0")
	f.Add("7 2001:db8::/32")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := ParseClass(strings.Fields(text))
		if err != nil {
			return
		}
		if again, _, err := ParseClass(strings.Fields(c.String())); err != nil || again != c {
			t.Errorf("%q: %+v, again %+v, %v", text, c, again, err)
		}
	})
}
