package vrrp

import (
	"slices"
	"testing"
	"time"
)

func TestAnnouncementsAreRefreshed(t *testing.T) {
	r := mastered(func(c *Config) {
		c.GarpMasterDelay, c.GarpMasterRefresh, c.GarpRefreshRepeat = -1, 90*time.Second, 2
	})
	var when []time.Duration
	became := r.Status().Since
	for r.Next().Sub(became) < 200*time.Second {
		now := r.Next()
		r.Tick(now)
		for _, e := range taken(r) {
			if announce, ok := e.(Announce); ok {
				when = append(when, now.Sub(became))
				if announce.Repeat != 2 {
					t.Errorf("%d rounds", announce.Repeat)
				}
			}
		}
	}
	if len(when) != 2 || when[0] != 90*time.Second || when[1] != 180*time.Second {
		t.Errorf("announced after %v", when)
	}
}

func TestAMasterMayKeepSilentAtAWeakerAdvert(t *testing.T) {
	r := mastered(func(c *Config) { c.LowerPrioNoAdvert, c.GarpLowerPrioRepeat = true, -1 })
	next := r.Next()
	r.Receive(at(4*time.Second), from("10.0.8.3", 50))
	effects := taken(r)
	expectLine(t, effects, "(VI_1) Received advert from 10.0.8.3 with lower priority 50, ours 100")
	if got := doings(effects); got != nil || r.Next() != next {
		t.Errorf("did %v", got)
	}
}

func TestAMasterThatYieldsMaySayALastWord(t *testing.T) {
	r := mastered(func(c *Config) { c.HigherPrioSendAdv = true })
	r.Receive(at(4*time.Second), from("10.0.8.3", 150))
	expect(t, r, "yield", "send", "remove", "MASTER→BACKUP")
}

func expectLine(t *testing.T, effects []Effect, want string) {
	t.Helper()
	for _, line := range said(effects, false) {
		if line == want {
			return
		}
	}
	t.Errorf("%q is not among %q", want, said(effects, false))
}

// An identification of 0 would make the kernel put its own.
func TestTheIdentificationSkipsZero(t *testing.T) {
	r := mastered()
	r.id = 65534
	var ids []uint16
	for range 3 {
		r.advertise(epoch, 100)
	}
	for _, packet := range packets(taken(r)) {
		advert, err := Parse(packet)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, advert.ID)
	}
	if len(ids) != 3 || ids[0] != 65535 || ids[1] != 1 || ids[2] != 2 {
		t.Errorf("identifications %v", ids)
	}
}

func TestASecondStartIsNone(t *testing.T) {
	r := started()
	taken(r)
	r.Start(at(time.Second), false)
	expect(t, r, "second start")
}

// garp_extra_if: interfaces that send no adverts are announced on one by one, after the second block.
func TestOtherInterfacesAreAnnouncedOnFromTimeToTime(t *testing.T) {
	to := []Target{{Dev: "vrrp1.51", Addr: ip("10.1.0.9")}}
	r := mastered(func(c *Config) { c.GarpExtra, c.GarpExtraTo, c.GarpMasterDelay = 10*time.Second, to, 5*time.Second })
	var when []time.Duration
	for r.Next().Before(r.since.Add(36 * time.Second)) {
		now := r.Next()
		r.Tick(now)
		for _, e := range taken(r) {
			if a, ok := e.(Announce); ok && len(a.Targets) == 1 && a.Targets[0] == to[0] && a.Repeat == 1 {
				when = append(when, now.Sub(r.since))
			}
		}
	}
	if want := []time.Duration{15 * time.Second, 25 * time.Second, 35 * time.Second}; !slices.Equal(when, want) {
		t.Errorf("announced after %v, want %v", when, want)
	}
}
