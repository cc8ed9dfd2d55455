package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

func TestARestartIsFoundAmongSystemdsJobs(t *testing.T) {
	list := " 71 probe.service start   running\n154 vipd.service  restart running\n"
	for _, c := range []struct {
		list, unit string
		want       bool
	}{
		{list, "vipd.service", true},
		{list, "probe.service", false},
		{list, "vipd@b.service", false},
		{strings.ReplaceAll(list, "restart", "stop"), "vipd.service", false},
		{strings.ReplaceAll(list, "restart", "try-restart"), "vipd.service", true},
		{"No jobs running.\n", "vipd.service", false},
		{"", "vipd.service", false},
	} {
		if got := jobIsRestart(c.list, c.unit); got != c.want {
			t.Errorf("of %s in %q: %v", c.unit, c.list, got)
		}
	}
}

// What a process hands over is what the next one needs: adverts go on, and the addresses stay on the host meanwhile.
func TestAMasterHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(5 * time.Second)
		h.wire.sent(t)
		var masters []mastership
		a.do(func(now time.Time) {
			masters, _ = a.handOver(now)
			a.drain(now)
		})
		if len(masters) != 1 || masters[0].Instance != "VI_1" || masters[0].Within != 3*time.Second || len(masters[0].Addresses) != 1 {
			t.Fatalf("%+v", masters)
		}
		if sent := h.wire.sent(t); len(sent) != 1 || sent[0].Priority != 100 || !h.holds(vip) {
			t.Errorf("sent %+v, holds the address: %v", sent, h.holds(vip))
		}
	})
}

func TestWhoFollowsABFDSessionSaysGoodbyeInstead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		thing := vrrp.Thing{Kind: vrrp.TrackBFD, Name: "peer"}
		a.do(func(now time.Time) {
			a.track.trackers.Follow(now, []vrrp.Follower{{Instance: "VI_1", Things: []vrrp.Tracked{{Thing: thing}}}})
			a.track.trackers.Observe(now, thing, vrrp.Up(true))
		})
		time.Sleep(5 * time.Second)
		h.wire.sent(t)
		a.do(func(now time.Time) {
			if masters, _ := a.handOver(now); len(masters) != 0 {
				t.Errorf("%+v", masters)
			}
			a.drain(now)
		})
		if sent := h.wire.sent(t); len(sent) != 1 || sent[0].Priority != 0 || h.holds(vip) {
			t.Errorf("sent %+v, holds the address: %v", sent, h.holds(vip))
		}
	})
}

func TestWhatWasHandedOverMayBeOfNoUse(t *testing.T) {
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		h    handover
		want string
	}{
		{handover{Version: handoverVersion, Boot: boot}, ""},
		{handover{Version: handoverVersion + 1, Boot: boot}, "it has version 2, this one reads 1"},
		{handover{Version: handoverVersion, Boot: "another"}, "it is of before the last boot"},
	} {
		said := ""
		if err := c.h.usable(); err != nil {
			said = err.Error()
		}
		if said != c.want {
			t.Errorf("%+v: %q, want %q", c.h, said, c.want)
		}
	}
}
