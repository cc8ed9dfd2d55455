package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func heardOf(t *testing.T, change ...func(*Config)) Heard {
	t.Helper()
	c := NewCensus()
	c.Hear(epoch, "eth0", made(t, change...))
	list := c.List()
	if len(list) != 1 {
		t.Fatalf("%d routers", len(list))
	}
	return list[0]
}

func TestACensusNamesEveryFieldThatDiffers(t *testing.T) {
	own := Own{Name: "VI_1", Version: 2, AdvertInt: time.Second, Auth: "PASS", Sum: "message only", VIPs: []netip.Addr{ip("10.0.8.9")}}
	third := Own{Name: "VI_1", Version: 3, AdvertInt: time.Second, Auth: "none", Sum: "with pseudo header", VIPs: []netip.Addr{ip("10.0.8.9")}}
	for _, c := range []struct {
		name   string
		theirs changes
		own    Own
		want   []string
		fatal  bool
	}{
		{"nothing", nil, own, nil, false},
		{"interval", changes{func(c *Config) { c.AdvertInt = 2 * time.Second }}, own, []string{"advert_int"}, true},
		{"authentication", changes{ah}, own, []string{"authentication"}, true},
		{"signed", changes{hmacOn}, own, []string{"authentication"}, true},
		{"version", changes{v3}, own, []string{"version", "authentication"}, true},
		{"unicast", changes{unicast}, own, []string{"destination"}, true},
		{"addresses", changes{func(c *Config) { c.VIPs = append(c.VIPs, Address{Prefix: netip.MustParsePrefix("10.0.8.8/32")}) }}, own, []string{"virtual addresses"}, false},
		{"interval of version 3", changes{v3, func(c *Config) { c.AdvertInt = 3 * time.Second }}, third, []string{"advert_int"}, false},
		{"checksum of version 3", changes{v3, asV2}, third, []string{"checksum"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := heardOf(t, c.theirs...)
			var fields []string
			fatal := false
			for _, m := range h.Differs(c.own) {
				fields, fatal = append(fields, m.Field), fatal || m.Fatal
			}
			if !slices.Equal(fields, c.want) || fatal != c.fatal {
				t.Errorf("%+v", h.Differs(c.own))
			}
		})
	}
}

func TestTwoMastersAreThoseThatSendAtTheSameTime(t *testing.T) {
	c := NewCensus()
	send := func(second int, source string, priority uint8) {
		c.Hear(at(time.Duration(second)*time.Second), "eth0", from(source, priority))
	}
	for i := range 3 {
		send(i, "10.0.8.2", 100)
	}
	send(3, "10.0.8.2", 0)
	for i := range 3 {
		send(4+i, "10.0.8.3", 90) // it took over
	}
	if all := c.Masters("eth0", 51, false); len(all) != 0 {
		t.Errorf("a takeover counts as two masters: %v", all)
	}
	send(7, "10.0.8.2", 100)
	send(8, "10.0.8.3", 90)
	if all := c.Masters("eth0", 51, false); !slices.Equal(all, []netip.Addr{ip("10.0.8.2"), ip("10.0.8.3")}) {
		t.Errorf("masters %v", all)
	}
	if free := c.Free("eth0", func(v uint8) bool { return v < 51 }); free != 52 {
		t.Errorf("free %d", free)
	}
}

func TestACensusIsBounded(t *testing.T) {
	c := NewCensus()
	a := ip("10.1.0.0")
	for range maxHeard + 100 {
		a = a.Next()
		c.Hear(epoch, "eth0", from(a.String(), 100))
	}
	c.Hear(epoch, "eth0", []byte{0x45})
	if len(c.List()) != maxHeard || c.Broken != 101 {
		t.Errorf("%d routers, %d broken", len(c.List()), c.Broken)
	}
}
