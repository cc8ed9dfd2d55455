package vrrp

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func targets(dev string, addrs ...string) (all []Target) {
	for _, a := range addrs {
		all = append(all, Target{dev, ip(a)})
	}
	return all
}

// until plays an announcer and writes down what leaves when, in milliseconds.
func until(a *Announcer, end time.Time) (all []string) {
	for next := a.Next(); !next.IsZero() && !next.After(end); next = a.Next() {
		for _, one := range a.Tick(next, 3) {
			all = append(all, fmt.Sprintf("%d %s %s %s", next.Sub(epoch).Milliseconds(), one.Instance, one.Dev, one.Addr))
		}
	}
	return all
}

func TestAnnouncementsWithoutSpacingLeaveRoundByRound(t *testing.T) {
	a := NewAnnouncer()
	a.Announce(epoch, "x", targets("eth0", "10.0.0.1", "10.0.0.2"), 2)
	want := []string{"0 x eth0 10.0.0.1", "0 x eth0 10.0.0.2", "0 x eth0 10.0.0.1", "0 x eth0 10.0.0.2"}
	if got := until(a, at(time.Hour)); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestAnnouncementsAreSpacedByDeviceAndFamily(t *testing.T) {
	a := NewAnnouncer()
	a.Space(epoch, 10*time.Millisecond, 20*time.Millisecond, nil)
	a.Announce(epoch, "x", targets("eth0", "10.0.0.1", "fd00::1"), 2)
	a.Announce(epoch, "y", targets("eth1", "10.0.1.1"), 2)
	got := until(a, at(time.Hour))
	slices.Sort(got)
	want := []string{"0 x eth0 10.0.0.1", "0 x eth0 fd00::1", "0 y eth1 10.0.1.1", "10 x eth0 10.0.0.1", "10 y eth1 10.0.1.1", "20 x eth0 fd00::1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	a.Announce(at(25*time.Millisecond), "x", targets("eth0", "fd00::1"), 1)
	if want := at(40 * time.Millisecond); a.Next() != want {
		t.Errorf("the next may leave at %s", a.Next().Sub(epoch))
	}
}

func TestAGroupOfDevicesSharesItsSpacing(t *testing.T) {
	a := NewAnnouncer()
	a.Space(epoch, 0, 0, []Group{{Devs: []string{"eth0", "eth1"}, Garp: 10 * time.Millisecond}})
	a.Announce(epoch, "x", targets("eth0", "10.0.0.1"), 1)
	a.Announce(epoch, "y", targets("eth1", "10.0.1.1"), 1)
	a.Announce(epoch, "z", targets("eth2", "10.0.2.1"), 1)
	got := until(a, at(time.Hour))
	slices.Sort(got)
	if want := []string{"0 x eth0 10.0.0.1", "0 z eth2 10.0.2.1", "10 y eth1 10.0.1.1"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestWhatWaitsOfAnInstanceIsTakenBack(t *testing.T) {
	a := NewAnnouncer()
	a.Space(epoch, time.Second, 0, nil)
	a.Announce(epoch, "x", targets("eth0", "10.0.0.1", "10.0.0.2"), 5)
	a.Announce(epoch, "y", targets("eth0", "10.0.0.3"), 1)
	a.Tick(epoch, 1)
	a.Silence("x")
	if got := until(a, at(time.Hour)); !slices.Equal(got, []string{"1000 y eth0 10.0.0.3"}) {
		t.Errorf("%q", got)
	}
	if !a.Next().IsZero() || len(a.pending) != 0 {
		t.Errorf("left %v", a.pending)
	}
}

func TestAnAddressThatWaitsOftenEnoughIsNotAddedAgain(t *testing.T) {
	a := NewAnnouncer()
	a.Space(epoch, time.Second, 0, nil)
	for range 100 {
		a.Announce(epoch, "x", targets("eth0", "10.0.0.1"), 5)
	}
	if got := until(a, at(time.Hour)); len(got) != 5 {
		t.Errorf("%d announcements", len(got))
	}
}

// Whatever is asked for: nothing is lost, nothing leaves before its time, and no device sends faster than it may.
func TestSpacingHoldsWhateverIsAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(0, 50).Draw(t, "every")) * time.Millisecond
		a, now, want := NewAnnouncer(), epoch, 0
		a.Space(now, every, every, nil)
		last := map[string]time.Time{}
		sent := 0
		tick := func(end time.Time) {
			for next := a.Next(); !next.IsZero() && !next.After(end); next = a.Next() {
				if next.Before(now) {
					next = now
				}
				for _, one := range a.Tick(next, 1+rapid.IntRange(0, 40).Draw(t, "limit")) {
					key := fmt.Sprint(one.Dev, one.Addr.Is6())
					if before, ok := last[key]; ok && next.Sub(before) < every {
						t.Fatalf("%v %s after the one before", one, next.Sub(before))
					}
					last[key] = next
					sent++
				}
			}
			now = end
		}
		for i := range rapid.IntRange(1, 20).Draw(t, "n") {
			repeat := rapid.IntRange(1, 4).Draw(t, "repeat")
			dev := rapid.SampledFrom([]string{"eth0", "eth1"}).Draw(t, "dev")
			addr := rapid.SampledFrom([]string{"10.0.0.1", "fd00::1"}).Draw(t, "addr")
			a.Announce(now, fmt.Sprint(i), targets(dev, addr), repeat)
			want += repeat
			tick(now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "wait")) * time.Millisecond))
		}
		tick(now.Add(time.Hour))
		if sent != want {
			t.Fatalf("%d of %d left", sent, want)
		}
	})
}
