package vrrp

import "time"

// Withhold has the router leave a weaker master alone for a cause, as preempt_delay does: for most at the longest, from the
// first advert of a weaker master on, or until the cause is empty. It takes over at once when no master is heard. Another
// cause, also one that comes before the router has taken over, changes what Status says and nothing else. A router that is master
// stays master.
func (r *Router) Withhold(now time.Time, cause string, most time.Duration) {
	if cause == "" && r.withheld != "" && r.withholds(now) {
		r.say("holds back no longer, after %s", now.Sub(r.withheldAt).Round(100*time.Millisecond))
	}
	r.withheld, r.withheldMost = cause, most
}

func (r *Router) withholds(now time.Time) bool { return now.Before(r.withheldAt.Add(r.withheldMost)) }

// holdsBack tells whether a master that is weaker is left alone.
func (r *Router) holdsBack(now time.Time, weaker bool) bool {
	switch {
	case !weaker || r.cfg.NoPreempt || r.resigned:
		r.withheldAt = time.Time{}
		return false
	case r.withheld == "" || r.withheldMost == 0:
		return false
	case r.withheldAt.IsZero():
		r.withheldAt, r.withheldOver = now, false
		r.say("holds back for %s at most: %s", r.withheldMost, r.withheld)
	}
	if !r.withholds(now) {
		if !r.withheldOver {
			r.withheldOver = true
			r.warn("holds back no longer, although: %s", r.withheld)
		}
		return false
	}
	return true
}

// heldBack is why the router holds back and until when, if it does.
func (r *Router) heldBack() (why string, until time.Time) {
	if r.withheld == "" || r.withheldAt.IsZero() || r.withheldOver {
		return "", time.Time{}
	}
	return r.withheld, r.withheldAt.Add(r.withheldMost)
}
