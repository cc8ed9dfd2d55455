package vrrp

import (
	"errors"
	"fmt"
	"time"
)

// Receive takes a packet that arrived on the instance's interface with its VRID. One that fails a check is counted,
// said once until the state or the master changes, and otherwise without effect.
func (r *Router) Receive(now time.Time, packet []byte) {
	advert, err := Parse(packet)
	r.receive(now, advert, packet, err)
}

func (r *Router) receive(now time.Time, advert Advert, packet []byte, err error) {
	if r.state == Init || now.Before(r.heldUntil) { // keepalived: what arrives during a startup delay is not looked at
		return
	}
	if err == nil {
		err = r.check(now, &advert, packet)
	}
	if err != nil {
		r.refused(now, &advert, err)
		return
	}
	r.counters.Received++
	if advert.Priority == 0 {
		r.counters.PriorityZeroReceived++
	}
	known := advert.Source == r.master
	r.heardFrom(now, &advert)
	r.learnSum(&advert)
	switch r.state {
	case Backup:
		r.backupReceives(now, &advert)
	case Master:
		r.masterReceives(now, &advert)
	}
	r.compareVIPs(&advert, known) // last: a change of state or master lets it be said again, not twice
}

func (r *Router) refused(now time.Time, a *Advert, err error) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return
	}
	r.counters.Refused[refusal.Reason]++
	r.remember(now, a.Source, refusal)
	r.warnOnce(string(refusal.Reason), "%s", refusal.Text)
}

// warnOnce keeps a misconfigured neighbour from filling the log.
func (r *Router) warnOnce(key string, format string, args ...any) {
	if !r.said[key] {
		r.said[key] = true
		r.warn(format, args...)
	}
}

// backupReceives is RFC 3768 §6.4.2.
func (r *Router) backupReceives(now time.Time, a *Advert) {
	r.ownerAgain(now, a)
	if a.Priority == 0 {
		// "If the Priority in the ADVERTISEMENT is Zero, then: Set the Master_Down_Timer to Skew_Time"
		r.detail("Backup received priority 0 advertisement")
		if r.rules.leaving {
			r.masterDown = now.Add(r.skew())
			r.downWhy = a.Source.String() + " left with priority 0"
		}
		return
	}
	r.heard(a)
	if r.holding && r.rules.vacates {
		// Adopted addresses: whoever it is, another is master, and two hosts must not answer for one address.
		r.withdraw()
	}
	weaker := r.rules.weaker(a.Priority, r.priority)
	r.preemptDelay(now, weaker)
	back := r.holdsBack(now, weaker)
	if weaker && !r.cfg.NoPreempt && !r.resigned && !back && !r.delaying(now) {
		// "else Discard the ADVERTISEMENT"; the timer goes on, so that we take over after what is left of it.
		r.say("received lower priority (%d) advert from %s - discarding", a.Priority, a.Source)
		r.downWhy = fmt.Sprintf("preempting %s with lower priority %d, ours %d", a.Source, a.Priority, r.priority)
		return
	}
	r.wants = r.wants && !r.rules.heeds
	r.learnInterval(a)
	r.waitForMaster(now)
}

// learnInterval: RFC 9568 §6.4.2: "Set Active_Adver_Interval to Max Advertise Interval contained in the ADVERTISEMENT."
func (r *Router) learnInterval(a *Advert) {
	if r.cfg.Version != 3 || a.AdvertInt == r.interval || !r.rules.learns {
		return
	}
	r.detail("advertisement interval updated from %dms to %dms by master", r.interval.Milliseconds(), a.AdvertInt.Milliseconds())
	r.interval = max(a.AdvertInt, centisecond) // 0 would be a takeover at once
}

// preemptDelay starts the delay at the first weaker advert and forgets it at any other.
func (r *Router) preemptDelay(now time.Time, weaker bool) {
	switch delay := r.cfg.PreemptDelay; {
	case delay == 0:
	case weaker && r.preemptAt.IsZero():
		r.preemptAt = now.Add(delay)
		r.detail("start preempt delay (%d.%06d)", delay/time.Second, delay%time.Second/time.Microsecond)
	case !weaker && !r.preemptAt.IsZero():
		r.preemptAt = time.Time{}
		r.detail("stop preempt delay")
	}
}

func (r *Router) delaying(now time.Time) bool { return r.preemptAt.After(now) }

// heard records who is master.
func (r *Router) heard(a *Advert) {
	if a.Source != r.master {
		if r.master.IsValid() {
			r.detail("master changed from %s to %s", r.master, a.Source)
		} else {
			r.detail("master set to %s", a.Source)
		}
		clear(r.said)
	}
	r.follow(a)
}

// masterReceives is RFC 3768 §6.4.3.
func (r *Router) masterReceives(now time.Time, a *Advert) {
	ours, theirs := claim{r.priority, r.source}, claim{a.Priority, a.Source}
	switch {
	case r.asked.mute && !r.rules.yields(ours, theirs): // our first advert is the answer, and due at any moment
	case a.Priority == 0:
		// "If the Priority in the ADVERTISEMENT is Zero, then: Send an ADVERTISEMENT. Reset the Adver_Timer to
		// Advertisement_Interval"
		r.detail("Master received priority 0 message")
		r.advertise(now, r.priority)
		r.advertAt = now.Add(r.cfg.AdvertInt)
	case ours == theirs:
		r.warnOnce("own_address", "WARNING - equal priority advert received from remote host with our IP address.")
	case r.rules.yields(ours, theirs):
		r.warnOwners(a)
		r.yield(now, a)
	default:
		r.twoOwners(now, a)
		if ours.priority = r.priority; r.rules.yields(ours, theirs) {
			r.yield(now, a)
			return
		}
		r.insist(now, a)
	}
}

// yield: "Cancel Adver_Timer. Set Master_Down_Timer to Master_Down_Interval. Transition to the {Backup} state"
func (r *Router) yield(now time.Time, a *Advert) {
	why := fmt.Sprintf("advert from %s with higher priority %d, ours %d", a.Source, a.Priority, r.priority)
	if a.Priority == r.priority {
		why = fmt.Sprintf("advert from %s with same priority %d but higher IP address than ours", a.Source, a.Priority)
	}
	r.say("Master received %s", why)
	if r.cfg.HigherPrioSendAdv && !r.asked.mute {
		r.advertise(now, r.priority)
	}
	r.say("Entering BACKUP STATE")
	r.withdraw()
	r.follow(a)
	r.learnInterval(a)
	r.waitForMaster(now)
	r.become(now, Backup, why)
}

// insist answers a weaker master. RFC 3768 has it discard the advert; keepalived: it advertises at once and announces
// again, because switches and neighbours may have learnt the other one's MAC.
func (r *Router) insist(now time.Time, a *Advert) {
	forcing := ", forcing new election"
	if r.cfg.LowerPrioNoAdvert {
		forcing = ""
	}
	r.say("Received advert from %s with lower priority %d, ours %d%s", a.Source, a.Priority, r.priority, forcing)
	r.emit(Weaker{Instance: r.cfg.Name, Peer: a.Source, Priority: a.Priority})
	if !r.rules.answers {
		return
	}
	if a.AH != nil {
		// keepalived: the weaker one may have counted further than we, so that our adverts were refused there.
		r.detail("IPSEC-AH : Syncing seq_num - Increment seq")
		r.sequence = max(r.sequence, a.AH.Sequence+1)
	}
	if !r.cfg.LowerPrioNoAdvert {
		r.advertise(now, r.priority)
		r.advertAt = now.Add(r.cfg.AdvertInt)
	}
	r.reannounce(now)
	if r.group == nil {
		return
	}
	for _, m := range r.group.members {
		if m != r && m.state == Master {
			m.reannounce(now)
		}
	}
}

// reannounce tells switches and neighbours again where the addresses are.
func (r *Router) reannounce(now time.Time) {
	if r.pending() { // Confirm does
		return
	}
	r.announce(r.cfg.GarpLowerPrioRepeat)
	r.laterBlock(now, r.cfg.GarpLowerPrioDelay, r.cfg.GarpLowerPrioRepeat)
}
