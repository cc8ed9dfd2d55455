package lb

import (
	"net/netip"
	"testing"
)

func TestAddrRange(t *testing.T) {
	for text, want := range map[string]struct {
		shown string
		n     int
	}{
		"10.0.8.25":                       {"10.0.8.25", 1},
		"10.0.8.25-28":                    {"10.0.8.25-10.0.8.28", 4},
		"10.0.8.25-10.0.8.25":             {"10.0.8.25", 1},
		"10.0.8.250-10.0.9.3":             {"10.0.8.250-10.0.9.3", 10},
		"10.0.8.1-255":                    {"10.0.8.1-10.0.8.255", 255},
		"2001:db8::fe-101":                {"2001:db8::fe-2001:db8::101", 4},
		"10.0.8.0-255":                    {},
		"10.0.8.25-24":                    {},
		"10.0.8.25-256":                   {},
		"10.0.8.25-":                      {},
		"-10.0.8.25":                      {},
		"10.0.8":                          {},
		"":                                {},
		"10.0.8.25-2001:db8::1":           {},
		"255.255.255.250-255.255.255.255": {"255.255.255.250-255.255.255.255", 6},
		"255.255.255.250-0.0.0.1":         {},
	} {
		r, err := ParseAddrRange(text)
		if (err == nil) != (want.n > 0) || r.Len() != want.n || r.String() != want.shown {
			t.Errorf("%q: %v of %d, error %v; want %q of %d", text, r, r.Len(), err, want.shown, want.n)
		}
		if again, err := ParseAddrRange(r.String()); want.n > 0 && (err != nil || !again.Equal(r)) {
			t.Errorf("%q is read back as %v, error %v", r, again, err)
		}
	}
	for text, want := range map[string][]string{
		"10.0.8.250-10.0.9.3": {"10.0.8.250", "10.0.8.255", "10.0.9.0", "10.0.9.3"}, "2001:db8::ffff:ffff:ffff:fffe-2001:db8:0:1::2": {"2001:db8::ffff:ffff:ffff:fffe", "2001:db8:0:1::", "2001:db8:0:1::2"},
	} {
		r, err := ParseAddrRange(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range want {
			if n := r.Index(netip.MustParseAddr(a)); n < 0 || n >= r.Len() || r.At(n) != netip.MustParseAddr(a) {
				t.Errorf("%s is number %d of %s", a, n, text)
			}
		}
		for _, a := range []netip.Addr{{}, r.First.Prev(), r.Last.Next(), netip.MustParseAddr("::ffff:10.0.9.0"), netip.MustParseAddr("10.1.0.0")} {
			if n := r.Index(a); n != -1 || (AddrRange{}).Index(a) != -1 {
				t.Errorf("%s is number %d of %s", a, n, text)
			}
		}
	}
	if n := (AddrRange{First: netip.MustParseAddr("10.0.8.1")}).Len(); n != 0 {
		t.Errorf("a range without an end has %d addresses", n)
	}
}

func FuzzParseAddrRange(f *testing.F) {
	for _, seed := range []string{"10.0.8.25-28", "2001:db8::1-ff", "1.2.3.4-1.2.4.1", "-", "::1%lo-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseAddrRange(text)
		if err != nil {
			return
		}
		if n := r.Len(); n < 1 || n > MaxRange {
			t.Fatalf("%q: %d addresses", text, n)
		}
		if again, err := ParseAddrRange(r.String()); err != nil || again != r {
			t.Fatalf("%q: %v is read back as %v, error %v", text, r, again, err)
		}
	})
}
