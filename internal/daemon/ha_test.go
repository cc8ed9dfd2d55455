package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/vrrp"
)

// runHA runs a director's VRRP half in the bubble and returns how to end it.
func runHA(t *testing.T, h *fakeHost, log *journal) (a *ha, end func()) {
	t.Helper()
	a, err := newHA(h, quiet(t, log), []vrrp.Config{siteInstance()}, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	a.run(ctx, &wg)
	a.do(a.start)
	return a, func() { cancel(); a.close(); wg.Wait() }
}

// advert is one of another director.
func advert(source string, priority uint8) []byte {
	a := vrrp.Advert{Source: netip.MustParseAddr(source), Dest: vrrp.GroupIPv4, TTL: 255, ID: 1, Version: 2, Type: 1, Count: 1, VRID: 51, Priority: priority,
		AuthType: vrrp.AuthPass, AdvertInt: time.Second, VIPs: []netip.Addr{vip.Addr()}}
	copy(a.AuthData[:], "1111")
	return a.Append(nil)
}

func TestALoneDirectorTakesTheAddressAndGivesItBackWithPriorityZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(3500 * time.Millisecond)
		if h.holds(vip) {
			t.Fatal("it took the address before its master down time was over")
		}
		time.Sleep(200 * time.Millisecond)
		if !h.holds(vip) || h.announcements() != 5 {
			t.Fatalf("holds %v, %d announcements, want the address and 5", h.holds(vip), h.announcements())
		}
		if st := a.status(); st[0].State != vrrp.Master || !log.has("(VI_1) Entering MASTER STATE") {
			t.Fatalf("state %v", st[0].State)
		}
		h.wire.sent(t)
		a.do(a.speaker.Stop)
		sent := h.wire.sent(t)
		if h.holds(vip) || len(sent) != 1 || sent[0].Priority != 0 {
			t.Fatalf("after the stop it holds %v and sent %v", h.holds(vip), sent)
		}
	})
}

func TestAnAdoptedAddressStaysUntilAnotherMasterIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		h.addrs[vip] = true
		_, end := runHA(t, h, log)
		defer end()
		time.Sleep(time.Second)
		if !h.holds(vip) {
			t.Fatal("the start removed the address that the process before held")
		}
		h.wire.in <- advert("10.0.8.55", 100)
		synctest.Wait()
		if h.holds(vip) {
			t.Fatal("the address stayed although another director is master")
		}
	})
}

func TestALinkThatGoesDownIsAFaultAndAnAddressIsNoneOfTheLoopsBusiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(4 * time.Second)
		h.mu.Lock()
		h.up = false
		h.mu.Unlock()
		a.do(func(now time.Time) { a.refreshLink(now, "eth0") })
		if st := a.status()[0]; st.State != vrrp.Fault || h.holds(vip) {
			t.Fatalf("state %v, holds %v", st.State, h.holds(vip))
		}
	})
}

func TestALinkThatIsDownForAMomentIsNoFaultWithADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		a.do(func(time.Time) {
			a.configure(&conf.Config{Instances: []vrrp.Config{siteInstance()}, Delays: []conf.Delay{{Interface: "eth0", Down: 2 * time.Second}}})
		})
		time.Sleep(4 * time.Second)
		turn := func(up bool) {
			h.mu.Lock()
			h.up = up
			h.mu.Unlock()
			a.do(func(now time.Time) { a.refreshLink(now, "eth0") })
		}
		turn(false)
		time.Sleep(1900 * time.Millisecond)
		turn(true)
		time.Sleep(time.Second)
		turn(false)
		time.Sleep(1900 * time.Millisecond)
		if st := a.status()[0]; st.State != vrrp.Master || log.has("reports eth0 down") {
			t.Fatalf("%v\n%s", st.State, log)
		}
		time.Sleep(200 * time.Millisecond)
		if st := a.status()[0]; st.State != vrrp.Fault {
			t.Errorf("after two seconds: %v", st.State)
		}
	})
}

func TestALinkThatOnlyItsDriverKnowsOfIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		cfg := &conf.Config{Instances: []vrrp.Config{siteInstance()}, Routers: []*conf.Instance{{Config: siteInstance()}},
			Linkbeats: []conf.Linkbeat{{Interface: "eth0", Kind: "ETHTOOL"}, {Interface: "eth9"}}}
		a.do(func(now time.Time) {
			a.configure(cfg)
			a.follow(now, follower(h, cfg, a.events, true))
		})
		time.Sleep(4 * time.Second)
		for _, want := range []string{"(eth0): Configured linkbeat type ETHTOOL not supported, using MII", "Turning off linkbeat for eth9 since not used for tracking",
			"Using MII-BMSR/ETHTOOL NIC polling thread(s)..."} {
			if !log.has(want) {
				t.Errorf("nothing says %q:\n%s", want, log)
			}
		}
		turn := func(dead bool, want vrrp.State, said string) {
			t.Helper()
			h.mu.Lock()
			h.dead = dead
			h.mu.Unlock()
			time.Sleep(1100 * time.Millisecond)
			if st := a.status()[0]; st.State != want || !log.has(said) {
				t.Errorf("state %v, want %v and %q:\n%s", st.State, want, said, log)
			}
		}
		turn(true, vrrp.Fault, "Linkbeat reports eth0 down")
		turn(false, vrrp.Backup, "Linkbeat reports eth0 up")
		cfg.Linkbeats = nil
		a.do(func(now time.Time) {
			a.configure(cfg)
			a.follow(now, follower(h, cfg, a.events, true))
		})
		time.Sleep(4 * time.Second)
		turn(true, vrrp.Master, "") // who is not asked says nothing
	})
}

func TestAnAddressThatTheKernelRefusesIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		h.refuse = errTest
		_, end := runHA(t, h, log)
		defer end()
		time.Sleep(4 * time.Second)
		if !log.has("ERROR (VI_1) refused by the test") {
			t.Fatal("nothing was said about the address")
		}
	})
}

func TestAStoppingDirectorNoticesWhoTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		for name, c := range map[string]struct {
			packet []byte
			heard  bool
		}{
			"an advert of the same virtual router": {advert("10.0.8.55", 90), true},
			"one that gives up":                    {advert("10.0.8.55", 0), false},
			"garbage":                              {[]byte{0x45, 0}, false},
		} {
			h.wire.in <- c.packet
			synctest.Wait()
			select {
			case <-a.heard:
				if !c.heard {
					t.Errorf("%s was taken for a new master", name)
				}
			default:
				if c.heard {
					t.Errorf("%s was not noticed", name)
				}
			}
		}
	})
}

// Those who receive are threads as others: what has arrived, and they have not brought, counts before a takeover.
func TestWhatHasArrivedIsHeardBeforeATakeover(t *testing.T) {
	h, log := newFakeHost(), new(journal)
	a, err := newHA(h, quiet(t, log), []vrrp.Config{siteInstance()}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	now := time.Now()
	a.start(now)
	h.wire.in = make(chan []byte, 1)
	h.wire.in <- advert("10.0.8.55", 250)
	takesOver := func() bool {
		a.speaker.Take()
		a.Tick(a.Next())
		return slices.ContainsFunc(a.speaker.Take(), func(e vrrp.Effect) bool { _, is := e.(vrrp.AddAddresses); return is })
	}
	if takesOver() {
		t.Error("an advert was there, and it takes over")
	}
	if !takesOver() {
		t.Error("no advert was there, and it does not take over")
	}
}
