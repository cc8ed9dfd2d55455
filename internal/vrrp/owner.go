package vrrp

import "time"

// owners is what a master of priority 255 knows of another one: only one router can own an address.
//
// keepalived: the one with the lower address yields. The other sends two adverts more, waits "a bit more than" an
// interval, and if the rogue still goes on it takes 254, so that there are not two masters for ever. It is 255 again when
// the rogue is gone or no longer an owner.
type owners struct {
	left     int           // adverts that are still to be sent before the wait
	interval time.Duration // of the rogue
	until    time.Time     // zero: not waiting
}

func (r *Router) warnOwners(a *Advert) {
	if r.priority == 255 && a.Priority == 255 {
		r.warnOnce("owners", "CONFIGURATION ERROR: local instance and %s are both configured as address owner, please resolve", a.Source)
	}
}

// twoOwners is what an owner with the higher address does about another.
func (r *Router) twoOwners(now time.Time, a *Advert) {
	if r.priority != 255 || a.Priority != 255 {
		return
	}
	if !r.rogue.until.IsZero() {
		r.warn("%s is still advertising as address owner, please resolve - reducing our priority", a.Source)
		r.rogue = owners{}
		r.concede(now, true)
		return
	}
	r.warnOwners(a)
	r.rogue.interval = a.AdvertInt
	if r.rogue.left == 0 {
		r.rogue.left = 2
	}
}

// rogueAdvert counts an advert that an owner has sent beside another.
func (r *Router) rogueAdvert(now time.Time) {
	if r.rogue.left == 0 {
		return
	}
	if r.rogue.left--; r.rogue.left == 0 {
		r.rogue.until = now.Add(max(r.rogue.interval, r.cfg.AdvertInt) * 12 / 10)
	}
}

// rogueGone ends the wait.
func (r *Router) rogueGone() {
	r.rogue = owners{}
	r.say("rogue address owner appears to have stopped advertising")
}

// concede takes 254, or 255 again.
func (r *Router) concede(now time.Time, give bool) {
	r.conceded = give
	r.reweigh(now)
}

// ownerAgain takes the priority back that twoOwners gave up, when the sender of an advert is no owner.
func (r *Router) ownerAgain(now time.Time, a *Advert) {
	if r.conceded && (a.Priority != 255 || a.Source != r.master) {
		r.say("Restoring our priority to 255 since received advert with lower priority")
		r.concede(now, false)
	}
}
