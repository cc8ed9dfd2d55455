package host

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func assigned(t *testing.T, a Address) (Assigned, bool) {
	t.Helper()
	all, err := Addresses(a.Dev)
	check(t, err)
	i := slices.IndexFunc(all, func(h Assigned) bool { return h.Prefix == a.Prefix })
	if i < 0 {
		return Assigned{}, false
	}
	return all[i], true
}

func TestAddressIsAddedWithKeepalivedsAttributes(t *testing.T) {
	c := newCable(t)
	a := vip(c.near, "10.9.0.100/32")
	check(t, AddAddress(a))
	got, ok := assigned(t, a)
	if !ok || got.Proto != Protocol || got.Scope != unix.RT_SCOPE_UNIVERSE || got.Label != c.near || got.Secondary {
		t.Fatalf("got %+v", got)
	}
}

func TestAddressIsAddedWithLabelScopeAndBroadcast(t *testing.T) {
	c := newCable(t)
	a := vip(c.near, "10.8.0.101/24") // of another network: the kernel wants one scope for all of a network
	a.Label, a.Scope, a.Brd = c.near+":v", "link", addr("10.8.0.255")
	check(t, AddAddress(a))
	got, ok := assigned(t, a)
	if !ok || got.Label != a.Label || got.Scope != unix.RT_SCOPE_LINK || got.Brd != a.Brd || got.Secondary {
		t.Fatalf("got %+v", got)
	}
}

func TestIPv6HostAddressSkipsDetectionAndIsDeprecated(t *testing.T) {
	c := newCable(t)
	single, network := vip(c.near, "fd00:9::100/128"), vip(c.near, "fd00:9::101/64")
	check(t, AddAddress(single))
	check(t, AddAddress(network))
	if got, ok := assigned(t, single); !ok || got.Tentative || !got.Deprecated || got.Proto != Protocol {
		t.Errorf("/128: got %+v", got)
	}
	if got, ok := assigned(t, network); !ok || got.Tentative || got.Deprecated {
		t.Errorf("/64: got %+v", got)
	}
}

func TestAddressesAreAddedAndRemovedTwiceWithoutError(t *testing.T) {
	c := newCable(t)
	for _, p := range []string{"10.9.0.100/32", "10.9.0.101/24", "fd00:9::100/128"} {
		a := vip(c.near, p)
		for range 2 {
			check(t, AddAddress(a))
			if has, err := HasAddress(a); err != nil || !has {
				t.Fatalf("%s after adding: has %v, %v", a, has, err)
			}
		}
		a.Label, a.Scope = "other", "link"
		for range 2 {
			check(t, DelAddress(a))
			if has, err := HasAddress(a); err != nil || has {
				t.Fatalf("%s after removing: has %v, %v", a, has, err)
			}
		}
	}
}

func TestAddressOnAMissingInterface(t *testing.T) {
	newCable(t)
	a := vip("nosuch0", "10.9.0.100/32")
	err := AddAddress(a)
	var missing *NoInterfaceError
	if !errors.As(err, &missing) || missing.Name != "nosuch0" || !errors.Is(err, ErrNoInterface) {
		t.Errorf("add: %v", err)
	}
	check(t, DelAddress(a))
	if has, err := HasAddress(a); has || err != nil {
		t.Errorf("has: %v %v", has, err)
	}
}

func TestBadAddressesAreNamedErrors(t *testing.T) {
	c := newCable(t)
	bad := vip(c.near, "10.9.0.100/32")
	bad.Scope = "everywhere"
	if err := AddAddress(bad); err == nil || !strings.Contains(err.Error(), `scope "everywhere"`) {
		t.Errorf("scope: %v", err)
	}
	if err := AddAddress(Address{Dev: c.near}); err == nil {
		t.Error("no address is added without error")
	}
	long := vip(c.near, "10.9.0.100/32")
	long.Label = "alabelthatismuchtoolong"
	if err := AddAddress(long); err == nil || !strings.Contains(err.Error(), "10.9.0.100/32 dev "+c.near) {
		t.Errorf("label: %v", err)
	}
}

func TestScopeNumbers(t *testing.T) {
	for s, want := range map[string]uint8{"": 0, "global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255, "7": 7, "0xfd": 253} {
		if got, err := scopeNumber(s); err != nil || got != want {
			t.Errorf("%q: got %d %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"256", "-1", "worldwide"} {
		if _, err := scopeNumber(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestSourceOfAdverts(t *testing.T) {
	v4 := func(s string, secondary bool) Assigned {
		return Assigned{Ifindex: 1, Prefix: netip.MustParsePrefix(s), Secondary: secondary}
	}
	tests := []struct {
		name string
		have []Assigned
		want string
	}{
		{"the first address is taken", []Assigned{v4("10.9.0.1/24", false), v4("10.8.0.1/24", false)}, "10.9.0.1"},
		{"a VIP is passed over", []Assigned{v4("10.9.0.100/32", false), v4("10.9.0.1/24", false)}, "10.9.0.1"},
		{"a secondary address is passed over", []Assigned{v4("10.9.0.7/24", true), v4("10.9.0.1/24", false)}, "10.9.0.1"},
		{"IPv6 is passed over", []Assigned{v4("fe80::1/64", false), v4("10.9.0.1/24", false)}, "10.9.0.1"},
		{"a secondary one serves when a VIP is the primary", []Assigned{v4("10.9.0.100/24", false), v4("10.9.0.1/24", true)}, "10.9.0.1"},
		{"VIPs alone are none", []Assigned{v4("10.9.0.100/24", false)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := choosePrimary(tt.have, []netip.Addr{addr("10.9.0.100")})
			if ok != (tt.want != "") || ok && got != addr(tt.want) {
				t.Fatalf("got %v, %v", got, ok)
			}
		})
	}
}

func TestSourceOfAdvertsOnARealInterface(t *testing.T) {
	c := newCable(t)
	check(t, AddAddress(vip(c.near, "10.9.0.100/32")))
	got, err := PrimaryIPv4(c.near, []netip.Addr{addr("10.9.0.100")})
	if err != nil || got != addr("10.9.0.1") {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := PrimaryIPv4(c.near, []netip.Addr{addr("10.9.0.1"), addr("10.9.0.100")}); !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), c.near) {
		t.Fatalf("VIPs alone: %v", err)
	}
	if _, err := PrimaryIPv4("nosuch0", nil); !errors.Is(err, ErrNoInterface) {
		t.Fatalf("missing interface: %v", err)
	}
}
