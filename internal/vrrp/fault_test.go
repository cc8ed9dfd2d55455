package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// doings are the effects without their lines, one word each.
func doings(effects []Effect) []string {
	var words []string
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			if advert, _ := Parse(e.Packet); advert.Priority == 0 {
				words = append(words, "send 0")
			} else {
				words = append(words, "send")
			}
		case AddAddresses:
			words = append(words, "add")
		case RemoveAddresses:
			words = append(words, "remove")
		case Announce:
			words = append(words, "announce")
		case Change:
			words = append(words, e.From.String()+"→"+e.To.String())
		}
	}
	return words
}

func expect(t *testing.T, r *Router, when string, want ...string) {
	t.Helper()
	if got := doings(taken(r)); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", when, got, want)
	}
}

// keepalived: "IPv4 ipvlan requires a source ip address to be configured. setting instance to fault state".
func TestADefectOfTheConfigurationIsAFaultThatStays(t *testing.T) {
	cfg := named("VI_1", "eth0", 51)
	cfg.Defect = "use_ipvlan without an address"
	s := speaker(t, cfg)
	s.Start(epoch, noVIPs)
	plays(s, at(20*time.Second))
	if r := s.Router("VI_1"); r.State() != Fault || !slices.Contains(r.Status().Faults, cfg.Defect) {
		t.Errorf("%v, %v", r.State(), r.Status().Faults)
	}
	cfg.Defect = ""
	if s.Router("VI_1").is(cfg) {
		t.Error("a reload that mends it has the same instance go on")
	}
}

func TestAFaultyMasterSaysPriorityZeroFirst(t *testing.T) {
	r := mastered()
	r.Fault(at(5*time.Second), CauseInterfaceDown("eth0"), true)
	expect(t, r, "fault", "send 0", "remove", "MASTER→FAULT")
	if s := r.Status(); s.Why != "interface eth0 down" || s.Counters.PriorityZeroSent != 1 || !r.Next().IsZero() {
		t.Errorf("%+v, next %s", s, r.Next())
	}
}

func TestFaultsAreASetOfCauses(t *testing.T) {
	r := mastered()
	r.Fault(at(5*time.Second), "interface eth0 down", true)
	r.Fault(at(5*time.Second), "interface eth0 down", true)
	r.Fault(at(5*time.Second), "disk full", true)
	taken(r)
	r.Fault(at(6*time.Second), "interface eth0 down", false)
	r.Fault(at(6*time.Second), "never there", false)
	expect(t, r, "one cause is left")
	if s := r.Status(); s.State != Fault || !slices.Equal(s.Faults, []string{"disk full"}) {
		t.Fatalf("%s because of %q", s.State, s.Faults)
	}
	r.Fault(at(7*time.Second), "disk full", false)
	expect(t, r, "none is left", "FAULT→BACKUP")
	if want := at(10*time.Second + 156*time.Second/256); r.Next() != want {
		t.Errorf("down time until %s, want %s: a whole one", r.Next().Sub(epoch), want.Sub(epoch))
	}
}

func TestAFaultyRouterHearsButDoesNothing(t *testing.T) {
	r := started()
	r.Fault(at(time.Second), "disk full", true)
	taken(r)
	for _, priority := range []uint8{0, 1, 255} {
		r.Receive(at(2*time.Second), from("10.0.8.3", priority))
	}
	expect(t, r, "adverts")
	if s := r.Status(); s.State != Fault || s.Counters.Received != 3 {
		t.Errorf("%+v", s)
	}
	r.Stop(at(3 * time.Second))
	expect(t, r, "stop", "FAULT→INIT")
}

func TestAFaultBeforeTheStartBeginsInFault(t *testing.T) {
	r := NewRouter(site())
	r.Fault(epoch, "disk full", true)
	expect(t, r, "before the start")
	r.Start(epoch, true)
	expect(t, r, "start", "remove", "INIT→FAULT")
	r.Fault(at(time.Second), "disk full", false)
	expect(t, r, "gone", "FAULT→BACKUP")
}

func TestWithoutASourceAddressARouterIsInFault(t *testing.T) {
	r := NewRouter(site(func(c *Config) { c.Source = netip.Addr{} }))
	r.Start(epoch, false)
	expect(t, r, "start", "remove", "INIT→FAULT")
	r.SetSource(at(time.Second), ip("10.0.8.2"))
	expect(t, r, "an address came", "FAULT→BACKUP")
	r.Tick(r.Next())
	expect(t, r, "takeover", "add", "send", "announce", "BACKUP→MASTER")
	r.SetSource(at(6*time.Second), ip("::ffff:10.0.8.4"))
	expect(t, r, "another address")
	if s := r.Status(); s.Master != ip("10.0.8.4") {
		t.Errorf("master is %s", s.Master)
	}
	r.SetSource(at(7*time.Second), netip.Addr{})
	expect(t, r, "the address went", "send 0", "remove", "MASTER→FAULT")
	if s := r.Status(); s.Why != "no IPv4 address for interface" {
		t.Error(s.Why)
	}
}

func TestASourceThatComesBeforeTheStartIsEnough(t *testing.T) {
	r := NewRouter(site(func(c *Config) { c.Source = netip.Addr{} }))
	r.SetSource(epoch, netip.Addr{})
	r.SetSource(epoch, ip("10.0.8.2"))
	r.Start(epoch, false)
	expect(t, r, "start", "remove", "INIT→BACKUP")
}

// RFC 3768 §6.4.3: "If a Shutdown event is received, then: Cancel the Adver_Timer. Send an ADVERTISEMENT with
// Priority = 0. Transition to the {Initialize} state"
func TestAStoppedMasterSaysPriorityZeroFirst(t *testing.T) {
	r := mastered()
	r.Stop(at(5 * time.Second))
	expect(t, r, "stop", "send 0", "remove", "MASTER→INIT")
	r.Stop(at(6 * time.Second))
	expect(t, r, "stop again")
	r.Start(at(7*time.Second), false)
	expect(t, r, "start again", "remove", "INIT→BACKUP")
	r.Stop(at(8 * time.Second))
	expect(t, r, "stop as backup", "BACKUP→INIT")
}

// Addresses that a dead process left stay until it is known who is master.
func TestAdoptedAddresses(t *testing.T) {
	adopted := func(change ...func(*Config)) *Router {
		r := NewRouter(site(change...))
		r.Start(epoch, true)
		return r
	}
	soon := at(time.Second)
	for _, c := range []struct {
		name string
		r    *Router
		do   func(r *Router)
		want []string
	}{
		{"stay when nobody is heard, and are set again", adopted(), func(r *Router) { r.Tick(r.Next()) }, []string{"add", "send", "announce", "BACKUP→MASTER"}},
		{"go when a stronger master is heard", adopted(), func(r *Router) { r.Receive(soon, from("10.0.8.3", 150)) }, []string{"remove"}},
		{"go when a weaker master is heard, before it is preempted", adopted(), func(r *Router) { r.Receive(soon, from("10.0.8.3", 50)) }, []string{"remove"}},
		{"go with nopreempt too", adopted(func(c *Config) { c.NoPreempt = true }), func(r *Router) { r.Receive(soon, from("10.0.8.3", 50)) }, []string{"remove"}},
		{"go once", adopted(), func(r *Router) {
			r.Receive(soon, from("10.0.8.3", 150))
			r.Receive(soon, from("10.0.8.3", 150))
		}, []string{"remove"}},
		{"stay at priority 0: that master is leaving", adopted(), func(r *Router) { r.Receive(soon, from("10.0.8.3", 0)) }, nil},
		{"stay at a packet that fails a check", adopted(), func(r *Router) {
			r.Receive(soon, from("10.0.8.3", 150, func(a *Advert) { a.AuthData[0] = 'x' }))
		}, nil},
		{"go at a fault", adopted(), func(r *Router) { r.Fault(soon, "disk full", true) }, []string{"remove", "BACKUP→FAULT"}},
		{"go at a stop", adopted(), func(r *Router) { r.Stop(soon) }, []string{"remove", "BACKUP→INIT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, c.r, "start", "INIT→BACKUP")
			c.do(c.r)
			expect(t, c.r, "then", c.want...)
		})
	}
}
