package vrrp

import "time"

// A router that takes over is MASTER for the election at once, and for everybody else when the host has its addresses:
// AddAddresses asks for them, Confirm is the answer, and only then come the advert, the log line, the announcements and
// the Change.
//
// keepalived: it advertises first, then sets the addresses and announces whether the kernel took them or not.

// asking is a takeover that is not confirmed yet. The zero value: there is none.
type asking struct {
	term uint64 // of the AddAddresses that is not answered; 0: none
	mute bool   // no advert has left yet
	why  string // of the takeover
	from State  // before it
}

// patience is for how long the first advert waits for the addresses: half a step of priority. A host that is slower
// (a thousand addresses) advertises without them, because otherwise the next weaker router would take over too.
//
// RFC 3768 §6.1: "Skew_Time … ( (256 - Priority) / 256 )" seconds, RFC 9568 §6.1: "(((256 - Priority) *
// Active_Adver_Interval) / 256)": routers whose priorities differ by one expire that far apart.
func (r *Router) patience(interval time.Duration) time.Duration {
	if r.cfg.Version != 3 {
		interval = time.Second
	}
	return interval / 512
}

// ask begins a takeover; learned is the interval that the other routers go by.
func (r *Router) ask(now time.Time, learned time.Duration, why string) {
	r.terms++
	r.asked = asking{term: r.terms, mute: true, why: why, from: r.state}
	r.assume(r.terms)
	r.advertAt = time.Time{}
	if r.rules.hurries {
		r.advertAt = now.Add(r.patience(min(learned, r.cfg.AdvertInt)))
	}
}

// Confirm tells that the addresses of the AddAddresses with that Term are on the host. One that was given up meanwhile
// is nobody's.
func (r *Router) Confirm(now time.Time, term uint64) {
	if r.state != Master || r.asked.term != term || term == 0 {
		return
	}
	asked := r.asked
	r.asked = asking{}
	if asked.mute {
		r.advertise(now, r.priority)
		r.advertAt = now.Add(r.cfg.AdvertInt)
	}
	r.say("Entering MASTER STATE")
	r.announce(r.cfg.GarpMasterRepeat)
	r.laterBlock(now, r.cfg.GarpMasterDelay, r.cfg.GarpMasterRepeat)
	if r.cfg.GarpMasterRefresh > 0 {
		// keepalived: the first one is counted from the second block.
		r.refreshAt = now.Add(max(r.cfg.GarpMasterDelay, 0) + r.cfg.GarpMasterRefresh)
	}
	r.planExtra(now)
	r.counters.BecameMaster++
	r.since = now
	r.tell(now, asked.from, Master, asked.why)
	if r.group != nil {
		r.group.led(r)
		r.group.confirmed()
	}
}

// Refuse is the other answer: the host has not all of the addresses, which is a fault of that name. It reports whether
// anybody waited for the answer. With term 0 it is about addresses that a master has lost.
func (r *Router) Refuse(now time.Time, term uint64, cause string) bool {
	if r.state != Master || term != r.asked.term {
		return false
	}
	r.Fault(now, cause, true)
	return true
}

// pending tells that the router is MASTER for the election alone.
func (r *Router) pending() bool { return r.asked.term != 0 }

// seen is the state that others are told of.
func (r *Router) seen() State {
	if r.pending() {
		return r.asked.from
	}
	return r.state
}

// tell makes a change known.
func (r *Router) tell(now time.Time, from, to State, why string) {
	r.history = append(r.history[max(0, len(r.history)-maxHistory+1):], Transition{now, from, to, why})
	r.emit(Change{Instance: r.cfg.Name, From: from, To: to, Why: why})
}
