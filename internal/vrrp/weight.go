package vrrp

import (
	"slices"
	"time"
)

// Weight is what one named thing adds to a router's priority, or takes from it.
type Weight struct {
	Cause string
	Value int
}

// PriorityChange tells that the effective priority of an instance is another one. It comes before a change of state that
// it leads to.
type PriorityChange struct {
	Instance string
	From, To uint8
	State    State
}

func (PriorityChange) effect() {}

// Weigh sets what a named cause adds to the configured priority; 0 takes it away. The effective priority is the
// configured one with all weights, between 1 and 254. It makes no advert and no change of state by itself: the peers
// elect by the next advert.
//
// RFC 3768 §5.3.4: "The priority value for the VRRP router that owns the IP address(es) associated with the virtual
// router MUST be 255". keepalived: an owner's priority never changes.
func (r *Router) Weigh(now time.Time, cause string, value int) {
	i := slices.IndexFunc(r.weights, func(w Weight) bool { return w.Cause == cause })
	switch {
	case i < 0 && value != 0:
		r.weights = append(r.weights, Weight{cause, value})
	case i >= 0 && value != 0:
		r.weights[i].Value = value
	case i >= 0:
		r.weights = slices.Delete(r.weights, i, i+1)
	}
	r.reweigh(now)
}

// reweigh makes the effective priority what the weights say.
func (r *Router) reweigh(now time.Time) {
	was, to := r.priority, r.effective()
	if was == to {
		return
	}
	r.say("Changing effective priority from %d to %d", was, to)
	before := r.downTime()
	r.priority = to
	if r.state == Backup && !r.masterDown.IsZero() {
		// keepalived: what is left of the down time grows or shrinks by the change of the skew.
		r.masterDown = r.masterDown.Add(r.downTime() - before)
	}
	if r.state == Master {
		r.masterPrio = to
	}
	r.emit(PriorityChange{Instance: r.cfg.Name, From: was, To: to, State: r.state})
}

func (r *Router) effective() uint8 {
	if r.cfg.Priority == 255 && r.conceded {
		return 254
	}
	if r.cfg.Priority == 255 {
		return 255
	}
	sum := int(r.cfg.Priority)
	for _, w := range r.weights {
		sum += w.Value
	}
	return uint8(min(max(sum, 1), 254))
}
