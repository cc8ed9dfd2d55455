package vrrp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"vipd/internal/loop"
)

var _ loop.Machine = (*Speaker)(nil)

func speaker(t *testing.T, configs ...Config) *Speaker {
	t.Helper()
	s := NewSpeaker()
	for _, cfg := range configs {
		if _, err := s.Add(cfg); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func named(name, ifname string, vrid uint8) Config {
	return site(func(c *Config) { c.Name, c.Interface, c.VRID = name, ifname, vrid })
}

func TestASpeakerGivesAPacketToTheInstanceItIsFor(t *testing.T) {
	s := speaker(t, named("a", "eth0", 51), named("b", "eth1", 51), named("c", "eth0", 52))
	for _, r := range s.Routers() {
		r.Start(epoch, false)
	}
	good := from("10.0.8.3", 150)
	s.Receive(epoch, "eth0", good)
	s.Receive(epoch, "eth1", good)
	s.Receive(epoch, "eth1", good)
	s.Receive(epoch, "eth0", good[:25])
	s.Receive(epoch, "eth2", good)
	s.Receive(epoch, "eth1", from("10.0.8.3", 150, func(a *Advert) { a.VRID = 99 }))
	s.Receive(epoch, "eth1", from("10.0.8.3", 150, func(a *Advert) { a.VRID = 99 }))
	s.Receive(epoch, "eth0", bytes.Replace(good, []byte{0x21, 51}, []byte{0x31, 52}, 1))

	var received []uint64
	for _, r := range s.Routers() {
		received = append(received, r.Status().Counters.Received)
	}
	if !slices.Equal(received, []uint64{1, 2, 0}) {
		t.Errorf("received %v", received)
	}
	if n := s.Router("c").Status().Counters.Refused[ReasonVersion]; n != 1 {
		t.Errorf("c refused %d of another version", n)
	}
	want := []Stray{{"eth0", 0, false, ReasonLength, 1}, {"eth1", 99, false, ReasonVRID, 2}, {"eth2", 51, false, ReasonVRID, 1}}
	if diff := cmp.Diff(want, s.Strays()); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
}

func TestASpeakerRunsAllInstancesByOneClock(t *testing.T) {
	s := speaker(t, named("a", "eth0", 51), site(func(c *Config) { c.Name, c.VRID, c.Priority = "b", 52, 200 }))
	if !s.Next().IsZero() {
		t.Error("a deadline before any start")
	}
	for _, r := range s.Routers() {
		r.Start(epoch, false)
	}
	takenOf(s)
	if want := at(3*time.Second + 56*time.Second/256); s.Next() != want {
		t.Fatalf("next at %s", s.Next().Sub(epoch))
	}
	s.Tick(s.Next())
	takenOf(s)
	if a, b := s.Router("a").Status().State, s.Router("b").Status().State; a != Backup || b != Master {
		t.Errorf("a is %s, b is %s", a, b)
	}
	s.Tick(at(3*time.Second + 156*time.Second/256))
	takenOf(s)
	s.Stop(at(5 * time.Second))
	if got := doings(takenOf(s)); !slices.Equal(got, []string{"send 0", "remove", "MASTER→INIT", "send 0", "remove", "MASTER→INIT"}) {
		t.Errorf("stop: %v", got)
	}
	if s.Router("none") != nil || len(s.Routers()) != 2 {
		t.Error("instances are not found as they were added")
	}
}

func TestASpeakerRefusesAConfigurationItCannotRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"a name twice", func(c *Config) { c.VRID = 52 }, "vrrp_instance VI_1: the name is taken"},
		{"a VRID twice on one interface", func(c *Config) { c.Name = "b" }, "vrrp_instance b: virtual_router_id 51 on eth0 is taken by VI_1"},
		{"no VRID", func(c *Config) { c.Name, c.VRID = "b", 0 }, "vrrp_instance b: virtual_router_id is missing"},
		{"version 4", func(c *Config) { c.Name, c.Version = "b", 4 }, "vrrp_instance b: there is no VRRP version 4"},
		{"authentication AH with IPv6", func(c *Config) { c.Name, c.AuthType, c.V6 = "b", AuthAH, true }, "vrrp_instance b: authentication type AH exists for IPv4 only"},
		{"no interface", func(c *Config) { c.Name, c.Interface = "b", "" }, "vrrp_instance b: no interface; only unicast with unicast_src_ip can be without"},
		{"an IPv6 address", func(c *Config) { c.Name, c.VIPs = "b", []Address{{Prefix: netip.MustParsePrefix("fd00::9/128")}} },
			"vrrp_instance b: virtual_ipaddress fd00::9/128 is of another family than the instance"},
		{"an IPv6 peer", func(c *Config) { c.Name, c.Unicast, c.Peers = "b", true, []Peer{{Addr: ip("fd00::2")}} }, "vrrp_instance b: unicast_peer fd00::2 is of another family than the instance"},
		{"unicast without peers", func(c *Config) { c.Name, c.Unicast = "b", true }, "vrrp_instance b: unicast without a unicast_peer"},
		{"an active key that is not there", func(c *Config) { c.Name, c.HMAC = "b", HMAC{Keys: map[uint8][]byte{1: make([]byte, 32)}, Active: 2} },
			"vrrp_instance b: auth_hmac active_key 2 is none of its keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := speaker(t, site())
			if _, err := s.Add(site(c.change)); err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if len(s.Routers()) != 1 {
				t.Error("it was added all the same")
			}
		})
	}
}

func TestDefaultsAndSettingsThatExcludeEachOther(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		right  func(Config) bool
		notes  string
	}{
		{"defaults", func(c *Config) { c.Priority, c.AdvertInt = 0, 0 }, func(c Config) bool {
			return c.Priority == 100 && c.AdvertInt == time.Second && c.Version == 2 && c.GarpMasterDelay == 5*time.Second &&
				c.GarpMasterRepeat == 5 && c.GarpRefreshRepeat == 1 && c.GarpLowerPrioDelay == 5*time.Second && c.GarpLowerPrioRepeat == 5
		}, ""},
		{"an interval is rounded to seconds", func(c *Config) { c.AdvertInt = 1600 * time.Millisecond }, func(c Config) bool { return c.AdvertInt == 2*time.Second }, ""},
		{"an interval is at least a second", func(c *Config) { c.AdvertInt = 10 * time.Millisecond }, func(c Config) bool { return c.AdvertInt == time.Second }, ""},
		{"an interval fits its byte", func(c *Config) { c.AdvertInt = time.Hour }, func(c Config) bool { return c.AdvertInt == 255*time.Second }, ""},
		{"state MASTER with nopreempt", func(c *Config) { c.InitialMaster, c.NoPreempt = true, true }, func(c Config) bool { return !c.NoPreempt },
			"(VI_1) Warning - nopreempt will not work with initial state MASTER - clearing"},
		{"an owner with nopreempt", func(c *Config) { c.Priority, c.NoPreempt, c.InitialMaster = 0, true, true }, func(c Config) bool { return !c.NoPreempt },
			"(VI_1) nopreempt is incompatible with priority 255. resetting nopreempt"},
		{"state MASTER with preempt_delay", func(c *Config) { c.InitialMaster, c.PreemptDelay = true, 1 }, func(c Config) bool { return c.PreemptDelay == 0 },
			"(VI_1) Warning - preempt delay will not work with initial state MASTER - clearing"},
		{"nopreempt with preempt_delay", func(c *Config) { c.NoPreempt, c.PreemptDelay = true, 1 }, func(c Config) bool { return c.NoPreempt && c.PreemptDelay == 0 },
			"(VI_1) preempt_delay is incompatible with nopreempt mode - resetting"},
		{"more VIPs than an advert can count", func(c *Config) {
			c.VIPs = nil
			for i := range 300 {
				c.VIPs = append(c.VIPs, Address{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.1.%d.%d/32", i/256, i%256))})
			}
		}, func(c Config) bool {
			return len(c.VIPs) == 255 && len(c.Excluded) == 45 && c.Excluded[0].Prefix.Addr() == ip("10.1.0.255")
		}, "(VI_1) Number of VIPs (300) exceeds maximum/space available in packet (max 255 addresses) - excess moved to eVIPs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, notes := site(c.change).Normal()
			if !c.right(got) {
				t.Errorf("%+v", got)
			}
			if joined := strings.Join(notes, "\n"); joined != c.notes {
				t.Errorf("notes %q", joined)
			}
			again, more := got.Normal()
			if diff := cmp.Diff(got, again, byAddr, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || more != nil {
				t.Errorf("not settled at once: %s %q", diff, more)
			}
		})
	}
}
