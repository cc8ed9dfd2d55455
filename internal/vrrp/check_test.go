package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// said are the texts of the lines among effects, warnings only if so asked.
func said(effects []Effect, warnings bool) []string {
	var lines []string
	for _, e := range effects {
		switch e := e.(type) {
		case Say:
			if e.Warning || !warnings {
				lines = append(lines, e.Text)
			}
		case Announce:
			if !warnings {
				lines = append(lines, announced(e)...)
			}
		}
	}
	return lines
}

// announced are the lines of announcements.
func announced(e Announce) (lines []string) {
	a := NewAnnouncer()
	a.Announce(epoch, e.Instance, e.Targets, e.Repeat)
	for _, one := range a.Tick(epoch, 1<<20) {
		lines = append(lines, one.Lines()...)
	}
	return lines
}

// RFC 3768 §7.1: "If any one of the above checks fails, the receiver MUST discard the packet, SHOULD log the event and
// MAY indicate via network management that an error occurred."
func TestAPacketThatFailsACheckIsCountedSaidAndWithoutEffect(t *testing.T) {
	broken := func(change func(p []byte)) []byte {
		p := from("10.0.8.3", 200)
		change(p)
		return p
	}
	for _, c := range []struct {
		name   string
		packet []byte
		reason Reason
		text   string
	}{
		// "MUST verify that the IP TTL is 255."
		{"a TTL of 254 has crossed a router", from("10.0.8.3", 200, func(a *Advert) { a.TTL = 254 }), ReasonTTL, "(VI_1) invalid TTL/HL. Received 254 and expect 255"},
		// "MUST verify the VRRP version is 2."
		{"version 3", broken(func(p []byte) { p[20] = 0x31 }), ReasonVersion, "(VI_1) wrong version. Received 3 and expect 2"},
		{"a type that is no advert", broken(func(p []byte) { p[20] = 0x22 }), ReasonType, "(VI_1) Invalid packet type. 2 and expect 1"},
		// "MUST verify that the Auth Type matches the locally configured authentication method"
		{"no authentication where a password is wanted", from("10.0.8.3", 200, func(a *Advert) { a.AuthType = AuthNone }), ReasonAuthType, "(VI_1) received a 0 auth, expecting 1!"},
		{"another password", from("10.0.8.3", 200, func(a *Advert) { a.AuthData[3] = '2' }), ReasonPassword, "(VI_1) received an invalid passwd!"},
		{"a longer password with the same beginning", from("10.0.8.3", 200, func(a *Advert) { a.AuthData[4] = '1' }), ReasonPassword, "(VI_1) received an invalid passwd!"},
		// "MUST verify the VRRP checksum."
		{"a wrong checksum", broken(func(p []byte) { p[26]++ }), ReasonChecksum, "(VI_1) Invalid VRRPv2 checksum"},
		{"a wrong password is told before a wrong checksum", broken(func(p []byte) { p[len(p)-1]++ }), ReasonPassword, "(VI_1) received an invalid passwd!"},
		// "MUST verify that the Adver Interval in the packet is the same as the locally configured for this virtual router"
		{"another interval", from("10.0.8.3", 200, func(a *Advert) { a.AdvertInt = 2 * time.Second }), ReasonInterval, "(VI_1) advertisement interval mismatch with 10.0.8.3 mine=1 sec rcv'd=2 sec"},
		{"sent to us alone", from("10.0.8.3", 200, func(a *Advert) { a.Dest = ip("10.0.8.2") }), ReasonDestination, "(VI_1) Expected multicast packet but received unicast packet"},
		{"cut off", from("10.0.8.3", 200)[:30], ReasonLength, "(VI_1) ip_tot_len mismatch against received length. 40 and received 30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mastered()
			next := r.Next()
			r.Receive(at(4*time.Second), c.packet)
			r.Receive(at(4*time.Second), c.packet)
			s, effects := r.Status(), taken(r)
			if s.State != Master || r.Next() != next || len(effects) != 1 {
				t.Errorf("%s, effects %v", s.State, effects)
			}
			if s.Counters.Refused[c.reason] != 2 || len(s.Counters.Refused) != 1 || s.Counters.Received != 0 {
				t.Errorf("counted %+v, want twice %s", s.Counters, c.reason)
			}
			if lines := said(effects, true); len(lines) != 1 || lines[0] != c.text {
				t.Errorf("said %q, want once %q", lines, c.text)
			}
		})
	}
}

func TestARefusalIsSaidAgainAfterTheStateOrTheMasterChanged(t *testing.T) {
	bad := from("10.0.8.7", 200, func(a *Advert) { a.TTL = 1 })
	r := started()
	warned := func(when string, want int) {
		t.Helper()
		r.Receive(at(time.Second), bad)
		if lines := said(taken(r), true); len(lines) != want {
			t.Errorf("%s: %q, want %d lines", when, lines, want)
		}
	}
	warned("at first", 1)
	warned("again", 0)
	r.Receive(at(time.Second), from("10.0.8.3", 150))
	warned("after a first master", 1)
	r.Receive(at(time.Second), from("10.0.8.3", 150))
	warned("after the same master", 0)
	r.Receive(at(time.Second), from("10.0.8.4", 150))
	warned("after another master", 1)
	r.Tick(r.Next())
	warned("as master", 1)
	warned("as master again", 0)
}

// keepalived: since 2.3.3 a list of VIPs that differs is told and counted, and the advert is heeded.
func TestAnAdvertWithOtherVIPsIsToldAndAccepted(t *testing.T) {
	two := func(c *Config) {
		c.VIPs = append(c.VIPs, Address{Prefix: netip.MustParsePrefix("10.0.8.10/24")})
	}
	vips := func(list ...string) func(*Advert) {
		return func(a *Advert) {
			a.VIPs = nil
			for _, vip := range list {
				a.VIPs = append(a.VIPs, ip(vip))
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Advert)
		text   string
	}{
		{"the same list is silent", vips("10.0.8.9", "10.0.8.10"), ""},
		{"another order is silent", vips("10.0.8.10", "10.0.8.9"), ""},
		{"one is missing", vips("10.0.8.9"), "(VI_1) expected 2 VIPs but received 1"},
		{"one too many", vips("10.0.8.9", "10.0.8.10", "10.0.8.11"), "(VI_1) expected 2 VIPs but received 3"},
		{"one is another", vips("10.0.8.9", "10.0.8.11"), "(VI_1) ip address associated with VRID 51 not present in advert from 10.0.8.3: 10.0.8.10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mastered(two)
			r.Receive(at(4*time.Second), from("10.0.8.3", 200, c.change))
			s, lines := r.Status(), strings.Join(said(taken(r), true), "\n")
			if s.State != Backup || s.Counters.Received != 1 {
				t.Errorf("not accepted: %s, %+v", s.State, s.Counters)
			}
			if told := c.text != ""; lines != c.text || (s.Counters.AddressList == 1) != told {
				t.Errorf("said %q, counted %d", lines, s.Counters.AddressList)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(from("10.0.8.3", 200), uint8(100), false)
	f.Add(from("10.0.8.1", 100), uint8(100), true)
	f.Add(from("10.0.8.3", 0), uint8(255), true)
	for _, s := range samples(f) {
		f.Add(s.packet, uint8(100), true)
	}
	f.Fuzz(func(t *testing.T, packet []byte, priority uint8, master bool) {
		r := started(prio(max(priority, 1)))
		if master {
			r.Tick(r.Next())
		}
		before := r.Status()
		r.Receive(at(4*time.Second), packet)
		after := r.Status()
		refused := uint64(0)
		for _, n := range after.Counters.Refused {
			refused += n
		}
		if refused+after.Counters.Received != 1 {
			t.Fatalf("one packet, %d refused and %d received", refused, after.Counters.Received)
		}
		if refused == 1 && after.State != before.State {
			t.Fatalf("a refused packet led from %s to %s", before.State, after.State)
		}
		if r.Next().IsZero() {
			t.Fatal("no deadline is left")
		}
	})
}
