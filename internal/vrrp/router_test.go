package vrrp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// epoch is when every test begins: a round time, so that offsets can be read.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// site is director 1 of the example site.
func site(change ...func(*Config)) Config {
	cfg := Config{Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100, AdvertInt: time.Second, AuthType: AuthPass,
		AuthPass: "1111", Source: ip("10.0.8.2"), VIPs: []Address{{Prefix: netip.MustParsePrefix("10.0.8.9/32")}}}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// from is the advert of another router of the site.
func from(source string, priority uint8, change ...func(*Advert)) []byte {
	a := Advert{Source: ip(source), Dest: GroupIPv4, TTL: 255, ID: 1, VRID: 51, Priority: priority, AuthType: AuthPass,
		AdvertInt: time.Second, VIPs: []netip.Addr{ip("10.0.8.9")}, AuthData: [8]byte{'1', '1', '1', '1'}}
	for _, f := range change {
		f(&a)
	}
	return a.Append(nil)
}

func started(change ...func(*Config)) *Router {
	r := NewRouter(site(change...))
	r.Start(epoch, false)
	return r
}

// mastered is a router that heard nobody: master at 3.609375 s with the site's priority.
func mastered(change ...func(*Config)) *Router {
	r := started(change...)
	r.Tick(r.Next())
	taken(r)
	return r
}

func prio(p uint8) func(*Config) { return func(c *Config) { c.Priority = p } }

// RFC 3768 §6.1: "Master_Down_Interval: Time interval for Backup to declare Master down (seconds). Calculated as:
// (3 * Advertisement_Interval) + Skew_time"
func TestABackupWaitsForTheMasterDownInterval(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   time.Duration
	}{
		{"priority 100 waits 3 s and 156/256 s", prio(100), 3*time.Second + 156*time.Second/256},
		{"priority 254 waits 3 s and 2/256 s", prio(254), 3*time.Second + 2*time.Second/256},
		{"priority 1 waits 3 s and 255/256 s", prio(1), 3*time.Second + 255*time.Second/256},
		{"an owner that begins as backup waits 3 s and 1/256 s", prio(255), 3*time.Second + time.Second/256},
		{"the skew of version 2 does not grow with the interval", func(c *Config) { c.AdvertInt = 2 * time.Second }, 6*time.Second + 156*time.Second/256},
		{"state MASTER is no head start", func(c *Config) { c.InitialMaster = true }, 3*time.Second + 156*time.Second/256},
		{"preempt_delay is not a start delay", func(c *Config) { c.PreemptDelay = 3 * time.Second }, 3*time.Second + 156*time.Second/256},
		{"nopreempt waits no longer", func(c *Config) { c.NoPreempt = true }, 3*time.Second + 156*time.Second/256},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := started(c.change)
			if got := r.Next(); got != at(c.want) {
				t.Fatalf("next at %s, want %s", got.Sub(epoch), c.want)
			}
			r.Tick(at(c.want - 1))
			if s := r.Status(); s.State != Backup {
				t.Fatalf("%s a nanosecond early", s.State)
			}
			r.Tick(at(c.want))
			taken(r)
			if s := r.Status(); s.State != Master || s.Counters.BecameMaster != 1 {
				t.Fatalf("%s at the deadline", s.State)
			}
		})
	}
}

// RFC 3768 §6.4.1: "If the Priority = 255 … Transition to the {Master} state"
func TestAnOwnerWithStateMasterIsMasterAtOnce(t *testing.T) {
	for name, priority := range map[string]uint8{"priority 255": 255, "state MASTER without a priority means 255": 0} {
		t.Run(name, func(t *testing.T) {
			r := started(func(c *Config) { c.InitialMaster, c.Priority = true, priority })
			taken(r)
			if s := r.Status(); s.State != Master || s.Priority != 255 {
				t.Fatalf("%s with priority %d", s.State, s.Priority)
			}
		})
	}
}

func TestEffectsOfATakeoverComeInOrder(t *testing.T) {
	r := started()
	taken(r)
	r.Tick(r.Next())
	var kinds []string
	for _, e := range taken(r) {
		switch e := e.(type) {
		case Send:
			kinds = append(kinds, "send")
		case AddAddresses:
			kinds = append(kinds, "add")
		case Announce:
			kinds = append(kinds, "announce")
			if e.Repeat != 5 {
				t.Errorf("%d rounds", e.Repeat)
			}
		case Change:
			kinds = append(kinds, "change")
		}
	}
	want := []string{"add", "send", "announce", "change"}
	if !slices.Equal(kinds, want) {
		t.Fatalf("%v, want %v", kinds, want)
	}
}

// The lines are those of keepalived 2.2.7 for the same addresses and two rounds: the rounds are the outer loop, the
// first one names the instance.
func TestAnnouncementsAreSaidLineByLine(t *testing.T) {
	r := started(func(c *Config) {
		c.Name, c.GarpMasterRepeat = "v2evip", 2
		c.VIPs = []Address{{Prefix: netip.MustParsePrefix("10.9.0.32/24")}, {Prefix: netip.MustParsePrefix("10.9.1.32/32"), Dev: "eth1"}}
		c.Excluded = []Address{{Prefix: netip.MustParsePrefix("fd00:9::32/64")}}
	})
	r.Tick(r.Next())
	want := []string{
		"(v2evip) Sending/queueing gratuitous ARPs on eth0 for 10.9.0.32",
		"Sending gratuitous ARP on eth0 for 10.9.0.32",
		"(v2evip) Sending/queueing gratuitous ARPs on eth1 for 10.9.1.32",
		"Sending gratuitous ARP on eth1 for 10.9.1.32",
		"(v2evip) Sending/queueing Unsolicited Neighbour Adverts on eth0 for fd00:9::32",
		"Sending unsolicited Neighbour Advert on eth0 for fd00:9::32",
		"Sending gratuitous ARP on eth0 for 10.9.0.32",
		"Sending gratuitous ARP on eth1 for 10.9.1.32",
		"Sending unsolicited Neighbour Advert on eth0 for fd00:9::32",
	}
	lines := said(taken(r), false)
	if got := lines[len(lines)-len(want):]; !slices.Equal(got, want) {
		t.Errorf("said\n%s", strings.Join(got, "\n"))
	}
}

func TestATransitionTellsWhy(t *testing.T) {
	second := at(time.Second)
	for _, c := range []struct {
		name string
		do   func(r *Router)
		want string
	}{
		{"nobody was heard", func(*Router) {}, "no advert for 3.609s"},
		{"the master left", func(r *Router) { r.Receive(second, from("10.0.8.3", 0)) }, "10.0.8.3 left with priority 0"},
		{"the master is weaker", func(r *Router) { r.Receive(second, from("10.0.8.3", 50)) }, "preempting 10.0.8.3 with lower priority 50, ours 100"},
		{"the master fell silent", func(r *Router) {
			r.Receive(second, from("10.0.8.3", 50))
			r.Receive(second, from("10.0.8.3", 150))
		}, "no advert for 3.609s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := started()
			c.do(r)
			r.Tick(r.Next())
			taken(r)
			if s := r.Status(); s.State != Master || s.Why != c.want || s.Since.Before(at(time.Second)) {
				t.Errorf("%s because %q", s.State, s.Why)
			}
		})
	}
}

// What a backup does with an advert at 2 s; its timer would fire at 3.609375 s.
func TestWhatABackupDoesWithAnAdvert(t *testing.T) {
	const skew = 156 * time.Second / 256
	left, full := 3*time.Second+skew, 5*time.Second+skew
	for _, c := range []struct {
		name   string
		change func(*Config)
		packet []byte
		next   time.Duration
	}{
		// RFC 3768 §6.4.2: "If the Priority in the ADVERTISEMENT is Zero, then: Set the Master_Down_Timer to Skew_Time"
		{"priority 0 leaves only the skew", prio(100), from("10.0.8.3", 0), 2*time.Second + skew},
		// "If Preempt_Mode is False, or If the Priority in the ADVERTISEMENT is greater than or equal to the local
		// Priority, then: Reset the Master_Down_Timer to Master_Down_Interval"
		{"a higher priority restarts the timer", prio(100), from("10.0.8.3", 150), full},
		{"an equal priority restarts the timer, from a higher address", prio(100), from("10.0.8.3", 100), full},
		{"an equal priority restarts the timer, from a lower address", prio(100), from("10.0.8.1", 100), full},
		{"with nopreempt a lower priority restarts the timer", func(c *Config) { c.NoPreempt = true }, from("10.0.8.3", 50), full},
		{"while preempt_delay runs a lower priority restarts the timer", func(c *Config) { c.PreemptDelay = time.Minute }, from("10.0.8.3", 50), full},
		// "else Discard the ADVERTISEMENT"
		{"a lower priority leaves the timer", prio(100), from("10.0.8.3", 50), left},
		{"nopreempt means nothing to state MASTER", func(c *Config) { c.NoPreempt, c.InitialMaster = true, true }, from("10.0.8.3", 50), left},
		{"nopreempt means nothing to an owner", func(c *Config) { c.NoPreempt, c.Priority = true, 255 }, from("10.0.8.3", 50), 3*time.Second + time.Second/256},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := started(c.change)
			r.Receive(at(2*time.Second), c.packet)
			if got := r.Next().Sub(epoch); got != c.next || r.Status().State != Backup {
				t.Errorf("%s until %s, want BACKUP until %s", r.Status().State, got, c.next)
			}
		})
	}
}

func TestPreemptDelayCountsFromTheFirstWeakerAdvert(t *testing.T) {
	r := started(func(c *Config) { c.PreemptDelay = 5 * time.Second })
	for second := 1; second <= 9; second++ {
		r.Receive(at(time.Duration(second)*time.Second), from("10.0.8.3", 50))
	}
	// Delay from 1 s to 6 s; the last accepted advert is that of 5 s.
	if want := at(8*time.Second + 156*time.Second/256); r.Next() != want {
		t.Fatalf("takes over at %s, want %s", r.Next().Sub(epoch), want.Sub(epoch))
	}
	r.Receive(at(8*time.Second), from("10.0.8.4", 100))
	r.Receive(at(9*time.Second), from("10.0.8.3", 50))
	if want := at(12*time.Second + 156*time.Second/256); r.Next() != want {
		t.Fatalf("an advert that is no weaker did not stop the delay: takes over at %s, want %s", r.Next().Sub(epoch), want.Sub(epoch))
	}
}

func TestWhatAMasterDoesWithAnAdvert(t *testing.T) {
	for _, c := range []struct {
		name          string
		packet        []byte
		state         State
		sends, rounds int
	}{
		// RFC 3768 §6.4.3: "If the Priority in the ADVERTISEMENT is Zero, then: Send an ADVERTISEMENT"
		{"answers priority 0 and stays", from("10.0.8.3", 0), Master, 1, 0},
		// "If the Priority in the ADVERTISEMENT is greater than the local Priority … Transition to the {Backup} state"
		{"yields to a higher priority", from("10.0.8.1", 101), Backup, 0, 0},
		// "or If the Priority in the ADVERTISEMENT is equal to the local Priority and the primary IP Address of the
		// sender is greater than the local primary IP Address"
		{"yields to an equal priority with a higher address", from("10.0.8.3", 100), Backup, 0, 0},
		{"compares addresses as numbers, not as text", from("10.0.8.10", 100), Backup, 0, 0},
		{"insists against an equal priority with a lower address", from("10.0.8.1", 100), Master, 1, 5},
		{"insists against a lower priority with a higher address", from("10.0.8.3", 99), Master, 1, 5},
		{"only warns of its own address", from("10.0.8.2", 100), Master, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mastered()
			r.Receive(at(4*time.Second), c.packet)
			effects, sends, rounds, removed := taken(r), 0, 0, false
			for _, e := range effects {
				switch e := e.(type) {
				case Send:
					sends++
				case Announce:
					rounds += e.Repeat
				case RemoveAddresses:
					removed = true
				}
			}
			s := r.Status()
			if s.State != c.state || sends != c.sends || rounds != c.rounds || removed != (c.state == Backup) {
				t.Errorf("%s, %d adverts, %d rounds, removed %t", s.State, sends, rounds, removed)
			}
			if want := at(7*time.Second + 156*time.Second/256); s.State == Backup && r.Next() != want {
				t.Errorf("down time until %s, want %s", r.Next().Sub(epoch), want.Sub(epoch))
			}
		})
	}
}

func TestALateTickSendsOneAdvertAndKeepsThePace(t *testing.T) {
	r := mastered(func(c *Config) { c.GarpMasterDelay = -1 })
	first := r.Next()
	r.Tick(first.Add(200 * time.Millisecond))
	if got := r.Next(); got != first.Add(time.Second) {
		t.Errorf("lateness moved the next advert by %s", got.Sub(first.Add(time.Second)))
	}
	taken(r)
	late := first.Add(10 * time.Second)
	r.Tick(late)
	if n := len(packets(taken(r))); n != 1 || r.Next() != late.Add(time.Second) {
		t.Errorf("after a stall of 10 s: %d adverts, next %s later", n, r.Next().Sub(late))
	}
}

func TestSleepingRoutersDoNothing(t *testing.T) {
	r := NewRouter(site())
	r.Receive(epoch, from("10.0.8.3", 150))
	r.Tick(at(time.Hour))
	r.Stop(at(time.Hour))
	if effects := taken(r); effects != nil || !r.Next().IsZero() {
		t.Errorf("before Start: %v, next %s", effects, r.Next())
	}
	r.Start(epoch, false)
	r.Stop(at(time.Second))
	taken(r)
	r.Tick(at(time.Hour))
	r.Receive(at(time.Hour), from("10.0.8.3", 0))
	if effects := taken(r); effects != nil || !r.Next().IsZero() {
		t.Errorf("after Stop: %v, next %s", effects, r.Next())
	}
}
