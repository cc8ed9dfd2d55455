package vrrp

import (
	"fmt"
	"time"
)

// Delay delays the start of an instance that has not started: until then it says nothing and looks at nothing, and its
// down time begins only then.
//
// keepalived: vrrp_startup_delay and vrrp_delay_after_boot.
func (r *Router) Delay(until time.Time) {
	if r.state == Init {
		r.heldUntil = until
	}
}

// Stalled tells that this machine did nothing for d until now, and that what arrived meanwhile has been received. A
// backup that was about to take over waits for one more interval: the silence may have been its own. A master with
// timer_expired_backup steps down if another may have taken over meanwhile.
func (r *Router) Stalled(now time.Time, d time.Duration) {
	switch {
	case r.state == Backup && due(now, r.masterDown) && d >= r.interval:
		r.masterDown = now.Add(r.interval + r.skew())
		r.downWhy += fmt.Sprintf(", %s of which this machine was not scheduled", Seconds(d))
		r.warn("not scheduled for %s: waiting one more advert interval for the master", Seconds(d))
	case r.state == Master && r.cfg.TimerExpired > 0:
		if now.Sub(r.sentAt) < 3*r.cfg.AdvertInt+r.rules.skew(r.cfg.Version, uint8(r.cfg.TimerExpired), r.cfg.AdvertInt) {
			return
		}
		why := fmt.Sprintf("not scheduled for %s, another may have taken over", Seconds(d))
		r.say("VRRP thread timer expired %s ago", Seconds(d))
		r.say("Entering BACKUP STATE")
		r.withdraw()
		r.toBackup(now, why)
	}
}

// Seconds writes a duration as a person reads it: 2.8 s.
func Seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
