package vrrp

import (
	"slices"
	"time"
)

// LinkDelay is for how long a link must be down, or up again, before it counts: a line of interface_up_down_delays.
type LinkDelay struct{ Down, Up time.Duration }

// Within is the delay less than the time in which so many adverts but one leave at this interval: a master whose link is away
// for longer must have given up before its backup takes over and the link is back.
//
// keepalived: the same, so "(down_timer_adverts - 1) * the advert interval"; with one advert there is no delay.
func (d LinkDelay) Within(adverts int, interval time.Duration) LinkDelay {
	limit := time.Duration(adverts-1) * interval
	bound := func(d time.Duration) time.Duration {
		if d < limit {
			return d
		}
		return max(0, limit-interval/256)
	}
	return LinkDelay{bound(d.Down), bound(d.Up)}
}

// Debouncer holds changes of links back. It is a machine as the others are, and is not safe for concurrent use.
type Debouncer struct {
	pending map[string]heldLink
}

type heldLink struct {
	up bool
	at time.Time // when it counts
}

// LinkChange is a change that counts now.
type LinkChange struct {
	Name string
	Up   bool
}

// Hold tells that a link that counts as was is now up or down, and reports whether that is to count later only. A link
// that is soon as it was has not changed.
func (d *Debouncer) Hold(now time.Time, name string, was, up bool, delay LinkDelay) bool {
	if was == up {
		delete(d.pending, name)
		return false
	}
	if _, held := d.pending[name]; held {
		return true
	}
	wait := delay.Down
	if up {
		wait = delay.Up
	}
	if wait <= 0 {
		return false
	}
	if d.pending == nil {
		d.pending = map[string]heldLink{}
	}
	d.pending[name] = heldLink{up, now.Add(wait)}
	return true
}

// Next is when the first held change counts. The zero time: none is held.
func (d *Debouncer) Next() (next time.Time) {
	for _, h := range d.pending {
		next = earlier(next, h.at)
	}
	return next
}

// Due gives the changes that count at now, by name.
func (d *Debouncer) Due(now time.Time) (all []LinkChange) {
	for name, h := range d.pending {
		if due(now, h.at) {
			all = append(all, LinkChange{name, h.up})
			delete(d.pending, name)
		}
	}
	slices.SortFunc(all, func(a, b LinkChange) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}
