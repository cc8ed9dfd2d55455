package daemon

import (
	"time"

	"vipd/internal/vrrp"
)

// Bounds of lateness: from the first on, packets that have arrived are read before timers count; from the second on, it
// is said.
const (
	lateWake  = time.Millisecond
	lateStall = 100 * time.Millisecond
)

// late is called when this program was not scheduled in time: the machine was stopped, suspended or overloaded. What has
// arrived meanwhile is read before a timer that it would have restarted counts as expired, and the instances are told, so
// that they do not take their own absence for another's death.
func (a *ha) late(now time.Time, by time.Duration) {
	buf := make([]byte, 64<<10)
	for at, wire := range a.wires {
		for n := wire.TryRecv(buf); n > 0; n = wire.TryRecv(buf) {
			a.speaker.Receive(now, at.Dev, buf[:n])
			a.notice(at.Dev, buf[:n])
		}
	}
	if by >= lateStall {
		a.stalls++
		a.worstStall = max(a.worstStall, by)
		a.events.Warn("not scheduled for " + vrrp.Seconds(by) + ": adverts and timers were late by as much")
	}
	for _, r := range a.speaker.Routers() {
		r.Stalled(now, by)
	}
}
