package vrrp

import (
	"slices"
	"testing"
	"time"
)

func TestALinkCountsAsDownWhenItHasBeenForLong(t *testing.T) {
	var d Debouncer
	delay := LinkDelay{Down: 2 * time.Second, Up: 5 * time.Second}
	if d.Hold(epoch, "lo", true, false, LinkDelay{}) || d.Hold(epoch, "eth1", false, true, LinkDelay{Down: 2 * time.Second}) {
		t.Error("a change without a delay is held")
	}
	if !d.Hold(epoch, "eth0", true, false, delay) || !d.Hold(at(time.Second), "eth0", true, false, delay) || d.Next() != at(2*time.Second) {
		t.Fatalf("held until %s", d.Next())
	}
	if got := d.Due(at(2*time.Second - 1)); got != nil {
		t.Errorf("early: %v", got)
	}
	if got := d.Due(at(2 * time.Second)); !slices.Equal(got, []LinkChange{{"eth0", false}}) || !d.Next().IsZero() {
		t.Errorf("due: %v", got)
	}
	if !d.Hold(at(3*time.Second), "eth0", false, true, delay) || d.Next() != at(8*time.Second) {
		t.Errorf("up again: held until %s", d.Next())
	}
	if d.Hold(at(4*time.Second), "eth0", false, false, delay) || !d.Next().IsZero() {
		t.Error("a link that is as it was again has changed")
	}
}

func TestNoLinkMayBeAwayForAsLongAsABackupWaits(t *testing.T) {
	long := LinkDelay{Down: 5 * time.Second, Up: 1999 * time.Millisecond}
	for _, c := range []struct {
		adverts  int
		interval time.Duration
		want     LinkDelay
	}{
		{3, time.Second, LinkDelay{2*time.Second - time.Second/256, 1999 * time.Millisecond}},
		{3, 256 * time.Millisecond, LinkDelay{511 * time.Millisecond, 511 * time.Millisecond}},
		{10, time.Second, long},
		{1, time.Second, LinkDelay{}},
	} {
		if got := long.Within(c.adverts, c.interval); got != c.want {
			t.Errorf("%d adverts every %s: %v, want %v", c.adverts, c.interval, got, c.want)
		}
	}
}
