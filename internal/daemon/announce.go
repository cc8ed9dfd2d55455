package daemon

import (
	"context"
	"log/slog"
	"time"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// announceBatch is how many announcements leave between two looks at what else is to be done.
const announceBatch = 32

// execute hands one effect of the speaker to whom it concerns. Adverts go at once; addresses, announcements, and those
// who are told, follow in a goroutine of their own, in order.
func (a *ha) execute(e vrrp.Effect) {
	switch e := e.(type) {
	case vrrp.Send:
		a.send(e)
	case vrrp.AddAddresses:
		a.assume(e.Instance, e.Term)
	case vrrp.RemoveAddresses:
		a.release(e.Instance)
	case vrrp.Vacate:
		a.hands.do(func() { a.vacate(e.Instance, hostAddresses(e.Interface, e.Addresses)) })
	case vrrp.Announce:
		a.announce(e)
	case vrrp.Silence:
		a.hands.do(func() { a.announcer.Silence(e.Instance) })
	case vrrp.Say:
		a.say(e)
	case vrrp.Change:
		// The machine's own Say lines are keepalived's; this one says why, which keepalived's do not.
		a.events.Info("("+e.Instance+") "+e.From.String()+" to "+e.To.String()+": "+e.Why, "vi", e.Instance)
	case vrrp.GroupChange:
		a.events.Info("VRRP_Group("+e.Group+") "+e.From.String()+" to "+e.To.String()+": "+e.Why, "group", e.Group)
	default:
		a.track.effect(e)
	}
	a.notify(e)
}

// notify tells others, after the addresses are as they are to be.
func (a *ha) notify(e vrrp.Effect) {
	switch e := e.(type) {
	case vrrp.Change:
		if a.turned != nil {
			a.turned(e.Instance, e.To)
		}
		priority := a.priority(e.Instance)
		a.hands.do(func() { a.tell.changed(e.Instance, e.To, priority) })
	case vrrp.Weaker:
		priority := a.priority(e.Instance)
		a.hands.do(func() { a.tell.lowerHeard(e.Instance, priority) })
	case vrrp.GroupChange:
		a.hands.do(func() { a.tell.groupChanged(e.Group, e.To) })
	case vrrp.PriorityChange:
		a.hands.do(func() { a.tell.prioritySet(e.Instance, e.State, e.To) })
	}
}

// priority is the effective one of an instance.
func (a *ha) priority(instance string) uint8 { return a.speaker.Router(instance).Priority() }

func (a *ha) say(e vrrp.Say) {
	switch {
	case e.Warning:
		a.events.Warn(e.Text, "vi", e.Instance)
	case e.Detail:
		a.events.Debug(e.Text, "vi", e.Instance)
	default:
		a.events.Info(e.Text, "vi", e.Instance)
	}
}

// vacate removes addresses; one that fails does not keep the others back.
func (a *ha) vacate(instance string, all []host.Address) {
	for _, addr := range all {
		if err := a.host.DelAddress(addr); err != nil {
			a.events.Error("("+instance+") "+err.Error(), "vi", instance, "if", addr.Dev)
		}
	}
}

func (a *ha) announce(e vrrp.Announce) {
	a.hands.do(func() { a.announcer.Announce(time.Now(), e.Instance, e.Targets, e.Repeat) })
}

// announceDue sends a batch of what is due and tells when the next is.
func (a *ha) announceDue(now time.Time) time.Time {
	detail := a.events.Enabled(context.Background(), slog.LevelDebug)
	for _, one := range a.announcer.Tick(now, announceBatch) {
		for _, line := range one.Lines() {
			if detail {
				a.events.Debug(line, "vi", one.Instance)
			}
		}
		if err := a.host.Announce(one.Dev, one.Addr); err != nil {
			a.events.Error("("+one.Instance+") announce "+one.Addr.String()+": "+err.Error(), "vi", one.Instance, "if", one.Dev)
		}
	}
	return a.announcer.Next()
}
