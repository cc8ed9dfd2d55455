package vrrp

import "time"

// Next is the earliest deadline. The zero time: none.
func (r *Router) Next() time.Time {
	var next time.Time
	for _, at := range [...]time.Time{r.masterDown, r.advertAt, r.blockAt, r.refreshAt, r.extraAt, r.rogue.until} {
		next = earlier(next, at)
	}
	return next
}

// earlier is the lesser of two deadlines, of which zero ones do not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Tick does everything that is due at now. Adverts come before announcements.
func (r *Router) Tick(now time.Time) {
	if due(now, r.masterDown) {
		r.wantMaster(now)
	}
	if due(now, r.advertAt) {
		// RFC 3768 §6.4.3: "If the Adver_Timer fires, then: Send an ADVERTISEMENT. Reset the Adver_Timer to
		// Advertisement_Interval". Counted from the deadline, not from now, so that lateness does not add up.
		r.advertise(now, r.priority)
		r.counters.note(now.Sub(r.advertAt), r.cfg.AdvertInt)
		r.rogueAdvert(now)
		r.advertAt = following(now, r.advertAt, r.cfg.AdvertInt)
	}
	if due(now, r.rogue.until) {
		r.rogueGone()
	}
	if due(now, r.blockAt) {
		r.blockAt = time.Time{}
		r.announce(r.blockLen)
	}
	if due(now, r.refreshAt) {
		r.refreshAt = following(now, r.refreshAt, r.cfg.GarpMasterRefresh)
		r.announce(r.cfg.GarpRefreshRepeat)
	}
	if due(now, r.extraAt) {
		r.extraAt = following(now, r.extraAt, r.cfg.GarpExtra)
		r.emit(Announce{Instance: r.cfg.Name, Repeat: 1, Targets: r.cfg.GarpExtraTo})
	}
}

// planExtra keeps switches from forgetting the interfaces that send nothing by themselves: no adverts leave there.
func (r *Router) planExtra(now time.Time) {
	r.extraAt = time.Time{}
	if r.cfg.GarpExtra > 0 && len(r.cfg.GarpExtraTo) > 0 {
		r.extraAt = now.Add(max(r.cfg.GarpMasterDelay, 0) + r.cfg.GarpExtra)
	}
}

func due(now, at time.Time) bool { return !at.IsZero() && !at.After(now) }

// following is the deadline after at; one that was missed altogether (the machine slept) is not caught up with.
func following(now, at time.Time, every time.Duration) time.Time {
	if next := at.Add(every); next.After(now) {
		return next
	}
	return now.Add(every)
}

// laterBlock plans a further block of announcements, unless one is already planned.
func (r *Router) laterBlock(now time.Time, delay time.Duration, repeat int) {
	if delay > 0 && repeat > 0 && r.blockAt.IsZero() {
		r.blockAt, r.blockLen = now.Add(delay), repeat
	}
}
