package vrrp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made is a router's advert with priority 200 at epoch + 1 min.
func made(t *testing.T, change ...func(*Config)) []byte {
	t.Helper()
	r := NewRouter(site(append([]func(*Config){func(c *Config) { c.Source = ip("10.0.8.3") }}, change...)...))
	return advertFrom(t, r, epoch.Add(time.Minute))
}

// hears is what a router with that configuration does with a packet.
func hears(t *testing.T, packet []byte, change ...func(*Config)) (*Router, Status) {
	t.Helper()
	r := NewRouter(site(append([]func(*Config){func(c *Config) { c.Source = ip("10.0.8.2") }}, change...)...))
	r.Start(epoch, false)
	r.Receive(epoch.Add(time.Minute), packet)
	return r, r.Status()
}

func v3(c *Config) { c.Version, c.AuthType = 3, AuthNone }

func v6(c *Config) {
	v3(c)
	c.V6 = true
	c.Source = map[netip.Addr]netip.Addr{ip("10.0.8.2"): ip("fe80::2"), ip("10.0.8.3"): ip("fe80::3")}[c.Source]
	c.VIPs = []Address{{Prefix: netip.MustParsePrefix("fe80::9/64")}, {Prefix: netip.MustParsePrefix("fd00::9/128")}}
}

func unicast(c *Config) {
	c.Unicast, c.Peers = true, []Peer{{Addr: ip("10.0.8.2"), MaxTTL: 255}, {Addr: ip("10.0.8.3"), MaxTTL: 255}}
	c.Peers = c.Peers[:1]
	if c.Source == ip("10.0.8.2") {
		c.Peers = []Peer{{Addr: ip("10.0.8.3"), MaxTTL: 255}}
	}
	if c.V6 {
		c.Peers = []Peer{{Addr: map[netip.Addr]netip.Addr{ip("fe80::2"): ip("fe80::3"), ip("fe80::3"): ip("fe80::2")}[c.Source], MaxTTL: 255}}
	}
}

func ah(c *Config) { c.AuthType, c.AuthPass = AuthAH, "k3y" }

func old(c *Config) { c.OldChecksum = ChecksumOld }

func asV2(c *Config) { c.V3ChecksumAsV2 = true }

type changes = []func(*Config)

// Whatever can be configured on both ends is sent by the one and accepted by the other.
func TestEveryKindOfAdvertIsAcceptedByItsEqual(t *testing.T) {
	for name, c := range map[string]changes{
		"v2": nil, "v2 AH": {ah}, "v2 unicast": {unicast}, "v2 unicast AH": {unicast, ah}, "v3": {v3}, "v3 unicast": {v3, unicast},
		"v3 old": {v3, unicast, old}, "v3 as v2": {v3, asV2}, "v3 unicast as v2": {v3, unicast, asV2}, "v6": {v6}, "v6 unicast": {v6, unicast},
		"v6 version 2": {v6, func(c *Config) { c.Version = 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			packet := made(t, c...)
			if _, st := hears(t, packet, c...); st.Counters.Received != 1 || st.Counters.AddressList != 0 || st.MasterPriority != 200 {
				t.Errorf("%+v", st)
			}
			a, err := Parse(packet)
			if err != nil {
				t.Fatal(err)
			}
			if again := a.Append(nil); !bytes.Equal(again, packet) {
				t.Errorf("read and written again:\n%x\n%x", again, packet)
			}
		})
	}
}

func TestWhatTwoRoutersDisagreeAboutIsNamed(t *testing.T) {
	two := func(c *Config) { c.AdvertInt = 2 * time.Second }
	check := func(c *Config) { c.CheckUnicastSrc = true }
	other := func(c *Config) { c.Peers = []Peer{{Addr: ip("10.0.8.77"), MaxTTL: 255}} }
	for _, c := range []struct {
		name         string
		sent, ours   changes
		reason       Reason
		field        string
		theirs, mine string
	}{
		{"version", changes{v3}, nil, ReasonVersion, "version", "3", "2"},
		{"authentication", nil, changes{ah}, ReasonAuthType, "authentication", "PASS", "AH"},
		{"AH that is not wanted", changes{ah}, nil, ReasonAuthType, "authentication", "AH", "PASS"},
		{"AH with another password", changes{ah}, changes{ah, func(c *Config) { c.AuthPass = "other" }}, ReasonAHValue, "AH value", "another key", "auth_pass"},
		{"interval", changes{two}, nil, ReasonInterval, "advert_int", "2s", "1s"},
		{"unicast to one of multicast", changes{unicast}, nil, ReasonDestination, "destination", "10.0.8.2", "224.0.0.18"},
		{"multicast to one of unicast", nil, changes{unicast}, ReasonDestination, "destination", "224.0.0.18", "10.0.8.2"},
		{"a stranger", changes{unicast}, changes{unicast, check, other}, ReasonSource, "source", "10.0.8.3", "a unicast_peer"},
		{"signed, and we have no key", changes{v3, func(c *Config) { c.HMAC = HMAC{Keys: map[uint8][]byte{1: key1}, Active: 1} }}, changes{v3}, ReasonLength, "auth_hmac", "signed", "none"},
		{"the old checksum where it is never to be", changes{v3, unicast, old}, changes{v3, unicast, func(c *Config) { c.OldChecksum = ChecksumNever }},
			ReasonChecksum, "checksum", "with pseudo header of 224.0.0.18", "with pseudo header"},
		{"an owner that ignores adverts", nil, changes{func(c *Config) { c.Priority, c.OwnerIgnores, c.InitialMaster = 255, true, true }}, ReasonOwner, "priority", "200", "255"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, st := hears(t, made(t, c.sent...), c.ours...)
			if len(st.Refused) != 1 || st.Counters.Refused[c.reason] != 1 {
				t.Fatalf("refused %v %+v", st.Counters.Refused, st.Refused)
			}
			got := st.Refused[0]
			if got.Peer != ip("10.0.8.3") || got.Field != c.field || got.Theirs != c.theirs || got.Ours != c.mine || got.Count != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTheTTLOfAUnicastPeerMayBeBounded(t *testing.T) {
	bound := func(least, most uint8) func(*Config) {
		return func(c *Config) { c.CheckUnicastSrc, c.Peers[0].MinTTL, c.Peers[0].MaxTTL = true, least, most }
	}
	packet := made(t, unicast, func(c *Config) { c.TTL = 64 })
	for _, c := range []struct {
		least, most uint8
		ok          bool
	}{{0, 255, true}, {64, 64, true}, {65, 255, false}, {0, 63, false}} {
		if _, st := hears(t, packet, unicast, bound(c.least, c.most)); (st.Counters.Received == 1) != c.ok || (st.Counters.Refused[ReasonTTL] == 1) == c.ok {
			t.Errorf("%d to %d: %v", c.least, c.most, st.Counters)
		}
	}
}

// Version 3 over IPv4 has three checksums in the field; each is accepted, and the peer's is sent unless ours is set.
func TestTheChecksumOfThePeerIsLearnt(t *testing.T) {
	for _, c := range []struct {
		name       string
		sent, ours changes
		want       Sums
	}{
		{"as ours", changes{v3, unicast}, changes{v3, unicast}, SumPseudo},
		{"message only", changes{v3, unicast, asV2}, changes{v3, unicast}, SumMessage},
		{"message only over multicast", changes{v3, asV2}, changes{v3}, SumMessage},
		{"old", changes{v3, unicast, old}, changes{v3, unicast}, SumGroup},
		{"ours is set", changes{v3, unicast}, changes{v3, unicast, asV2}, SumMessage},
		{"ours is set to the old one", changes{v3, unicast, asV2}, changes{v3, unicast, old}, SumGroup},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, st := hears(t, made(t, c.sent...), c.ours...)
			if st.Counters.Received != 1 {
				t.Fatalf("refused %+v", st.Refused)
			}
			a, err := Parse(advertFrom(t, r, epoch.Add(time.Minute)))
			if err != nil || a.Sum&c.want == 0 {
				t.Errorf("sent with %v, %v", a.Sum, err)
			}
		})
	}
}

// Of AH one counter is common to both ends: who takes over goes on from the master's.
func TestTheSequenceOfAHGoesOnAfterATakeover(t *testing.T) {
	x := NewRouter(site(ah, func(c *Config) { c.Source = ip("10.0.8.3") }))
	r, _ := hears(t, advertFrom(t, x, epoch), ah)
	for range 5 {
		r.Receive(epoch, advertFrom(t, x, epoch))
	}
	again := advertFrom(t, x, epoch)
	r.Receive(epoch, again)
	r.Receive(epoch, again)
	if n := r.Status().Counters.Refused[ReasonAHReplay]; n != 1 {
		t.Errorf("%d replays refused", n)
	}
	taken(r)
	a, err := Parse(advertFrom(t, r, epoch))
	if err != nil || a.AH.Sequence != 8 {
		t.Errorf("%+v, %v", a.AH, err)
	}
}

func TestUnicastSendsTheSameAdvertToEveryPeer(t *testing.T) {
	r := NewRouter(site(v3, func(c *Config) {
		c.Source, c.Unicast = ip("10.0.8.3"), true
		c.Peers = []Peer{{Addr: ip("10.0.8.4")}, {Addr: ip("10.0.8.5")}}
	}))
	r.advertise(epoch, 100)
	var to []netip.Addr
	var adverts []Advert
	for _, e := range taken(r) {
		if send, ok := e.(Send); ok {
			a, err := Parse(send.Packet)
			if err != nil || a.Sum&SumPseudo == 0 || a.Dest != send.To {
				t.Errorf("%+v %v", a, err)
			}
			to = append(to, send.To)
			a.Dest = netip.Addr{}
			a.Sum = 0
			adverts = append(adverts, a)
		}
	}
	if len(to) != 2 || !cmp.Equal(adverts[0], adverts[1], byAddr) || r.Status().Counters.Sent != 1 {
		t.Errorf("to %v: %+v", to, adverts)
	}
}

// RFC 9568 §6.4.2: "Set Active_Adver_Interval to Max Advertise Interval contained in the ADVERTISEMENT."
func TestABackupOfVersion3WaitsByTheMastersInterval(t *testing.T) {
	slow := func(c *Config) { c.AdvertInt = 3 * time.Second }
	r, st := hears(t, made(t, v3, slow), v3)
	if st.MasterInt != 3*time.Second {
		t.Fatalf("interval %s", st.MasterInt)
	}
	if want := epoch.Add(time.Minute + 9*time.Second + 156*3*time.Second/256); r.Next() != want {
		t.Errorf("it waits until %s, want %s", r.Next().Sub(epoch), want.Sub(epoch))
	}
	r.Tick(r.Next())
	taken(r)
	if st := r.Status(); st.State != Master || st.MasterInt != time.Second {
		t.Errorf("as master its interval is %s", st.MasterInt)
	}
}

func TestWhatIsRememberedOfRefusalsIsBounded(t *testing.T) {
	r := NewRouter(site(func(c *Config) { c.Source = ip("10.0.8.2") }))
	r.Start(epoch, false)
	a := ip("10.1.0.0")
	for i := range 1000 {
		a = a.Next()
		r.Receive(epoch.Add(time.Duration(i)*time.Second), from(a.String(), 100, func(a *Advert) { a.AuthType = AuthNone }))
	}
	st := r.Status()
	if len(st.Refused) != maxRefused || st.Refused[0].Peer != a || st.Counters.Refused[ReasonAuthType] != 1000 {
		t.Errorf("%d remembered, the latest %+v", len(st.Refused), st.Refused[0])
	}
}
