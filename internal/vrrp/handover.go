package vrrp

import "time"

// Mastership is what a process that ends leaves to the next one of the same host, so that the other routers notice nothing
// of the change: the next one is master from its first moment, if that comes before anybody else could be.
type Mastership struct {
	Instance string
	Sequence uint32        // of AH, sent last
	Within   time.Duration // for how long after HandOver nobody else takes over
}

// HandOver sends a last advert and tells what the next process needs. It reports false for a router that is not master, or
// of whose addresses the host has not confirmed all: that one says Stop.
//
// RFC 9568 §6.4.2: a Backup router that hears an advertisement resets its Active_Down_Timer to Active_Down_Interval, which
// is "(3 * Active_Adver_Interval) + Skew_Time".
func (r *Router) HandOver(now time.Time) (Mastership, bool) {
	if r.state != Master || r.pending() || !r.advertise(now, r.priority) {
		return Mastership{}, false
	}
	r.advertAt = now.Add(r.cfg.AdvertInt)
	return Mastership{Instance: r.cfg.Name, Sequence: r.sequence, Within: time.Duration(r.cfg.DownTimerAdverts) * r.cfg.AdvertInt}, true
}

// Resume has Start begin as MASTER: the process before was until a moment ago, and has left the addresses where they are. A
// fault goes before it; what a start would wait for does not, since it was there a moment ago too. In a sync group it counts
// only if all members are told so.
func (r *Router) Resume(m Mastership) { r.resumes, r.sequence = true, max(r.sequence, m.Sequence) }

// resumable tells whether a router that is to resume can: its group is whole.
func (r *Router) resumable() bool {
	if !r.resumes || r.group == nil {
		return r.resumes
	}
	for _, m := range r.group.members {
		if !m.resumes && m.state != Master {
			return false
		}
	}
	return true
}
