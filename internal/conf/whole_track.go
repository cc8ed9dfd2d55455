package conf

import (
	"fmt"
)

// settleTracking drops weights where they can have no effect: in a sync group, and for an owner of the addresses.
func (l *loader) settleTracking(v *instance) {
	grouped := v.sync != nil && !v.sync.TrackingWeight
	if !grouped && v.Priority != 255 {
		return
	}
	because := "address_owner"
	if grouped {
		because = "SYNC group"
	}
	say := func(format string, a ...any) { l.conflict(v, fmt.Sprintf(format, a...)+because) }
	t := &v.Track
	t.Interfaces = filter(t.Interfaces, func(it *Tracked) bool {
		if it.Weight == 0 {
			return true
		}
		if grouped {
			say("ignoring %s tracked interface weight due to ", it.Name)
			it.Weight = 0
			return true
		}
		l.conflict(v, fmt.Sprintf("ignoring %s tracked interface due to address owner", it.Name))
		return false
	})
	t.Scripts = filter(t.Scripts, func(it *Tracked) bool {
		if it.Weight != 0 {
			say("ignoring tracked script %s with weights due to ", it.Name)
		}
		return it.Weight == 0
	})
	t.Files = filter(t.Files, func(it *Tracked) bool {
		switch it.Weight {
		case 0:
		case 1:
			l.conflict(v, fmt.Sprintf("ignoring weight from tracked file %s due to %s. specify weight 0", it.Name, because))
			it.Weight = 0
		default:
			say("ignoring tracked file %s with weight %d due to ", it.Name, it.Weight)
			return false
		}
		return true
	})
	t.BFDs = filter(t.BFDs, func(it *Tracked) bool {
		if it.Weight != 0 {
			say("ignoring tracked bfd %s with weight %d due to ", it.Name, it.Weight)
		}
		return it.Weight == 0
	})
}

// filter keeps what keep says, which may change it.
func filter(list []Tracked, keep func(t *Tracked) bool) []Tracked {
	var out []Tracked
	for i := range list {
		if keep(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}
