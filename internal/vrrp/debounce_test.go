package vrrp

import (
	"slices"
	"testing"
	"time"
)

func TestALinkCountsAsDownWhenItHasBeenForLong(t *testing.T) {
	var d Debouncer
	d.Set(map[string]LinkDelay{"eth0": {Down: 2 * time.Second, Up: 5 * time.Second}, "eth1": {Down: 2 * time.Second}})
	if d.Hold(epoch, "lo", true, false) || d.Hold(epoch, "eth1", false, true) {
		t.Error("a change without a delay is held")
	}
	if !d.Hold(epoch, "eth0", true, false) || !d.Hold(at(time.Second), "eth0", true, false) || d.Next() != at(2*time.Second) {
		t.Fatalf("held until %s", d.Next())
	}
	if got := d.Due(at(2*time.Second - 1)); got != nil {
		t.Errorf("early: %v", got)
	}
	if got := d.Due(at(2 * time.Second)); !slices.Equal(got, []LinkChange{{"eth0", false}}) || !d.Next().IsZero() {
		t.Errorf("due: %v", got)
	}
	if !d.Hold(at(3*time.Second), "eth0", false, true) || d.Next() != at(8*time.Second) {
		t.Errorf("up again: held until %s", d.Next())
	}
	if d.Hold(at(4*time.Second), "eth0", false, false) || !d.Next().IsZero() {
		t.Error("a link that is as it was again has changed")
	}
}
