package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Receive takes an IPv4 packet that arrived on the instance's interface with its VRID. One that fails a check is
// counted, said once until the state or the master changes, and otherwise without effect.
func (r *Router) Receive(now time.Time, packet []byte) {
	advert, err := ParseIPv4(packet)
	r.receive(now, advert, err)
}

func (r *Router) receive(now time.Time, advert Advert, err error) {
	if r.state == Init {
		return
	}
	if err == nil {
		err = r.check(&advert)
	}
	if err != nil {
		r.refused(err)
		return
	}
	r.counters.Received++
	if advert.Priority == 0 {
		r.counters.PriorityZeroReceived++
	}
	switch r.state {
	case Backup:
		r.backupReceives(now, &advert)
	case Master:
		r.masterReceives(now, &advert)
	}
	r.compareVIPs(&advert) // last: a change of state or master lets it be said again, not twice
}

func (r *Router) refused(err error) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return
	}
	r.counters.Refused[refusal.Reason]++
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
	if a.Priority == 0 {
		// "If the Priority in the ADVERTISEMENT is Zero, then: Set the Master_Down_Timer to Skew_Time"
		r.detail("Backup received priority 0 advertisement")
		if r.rules.leaving {
			r.masterDown = now.Add(r.rules.skew(r.priority))
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
	if weaker && !r.cfg.NoPreempt && !r.delaying(now) {
		// "else Discard the ADVERTISEMENT"; the timer goes on, so that we take over after what is left of it.
		r.say("received lower priority (%d) advert from %s - discarding", a.Priority, a.Source)
		r.downWhy = fmt.Sprintf("preempting %s with lower priority %d, ours %d", a.Source, a.Priority, r.priority)
		return
	}
	r.wants = r.wants && !r.rules.heeds
	r.waitForMaster(now)
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
	r.setMaster(a.Source, a.Priority)
}

// masterReceives is RFC 3768 §6.4.3.
func (r *Router) masterReceives(now time.Time, a *Advert) {
	ours, theirs := claim{r.priority, r.source}, claim{a.Priority, a.Source}
	switch {
	case a.Priority == 0:
		// "If the Priority in the ADVERTISEMENT is Zero, then: Send an ADVERTISEMENT. Reset the Adver_Timer to
		// Advertisement_Interval"
		r.detail("Master received priority 0 message")
		r.advertise(r.priority)
		r.advertAt = now.Add(r.cfg.AdvertInt)
	case ours == theirs:
		r.warnOnce("own_address", "WARNING - equal priority advert received from remote host with our IP address.")
	case r.rules.yields(ours, theirs):
		r.warnOwners(a)
		r.yield(now, a)
	default:
		r.warnOwners(a)
		r.insist(now, a)
	}
}

// warnOwners: only one router can own an address.
func (r *Router) warnOwners(a *Advert) {
	if r.priority == 255 && a.Priority == 255 {
		r.warnOnce("owners", "CONFIGURATION ERROR: local instance and %s are both configured as address owner, please resolve", a.Source)
	}
}

// yield: "Cancel Adver_Timer. Set Master_Down_Timer to Master_Down_Interval. Transition to the {Backup} state"
func (r *Router) yield(now time.Time, a *Advert) {
	why := fmt.Sprintf("advert from %s with higher priority %d, ours %d", a.Source, a.Priority, r.priority)
	if a.Priority == r.priority {
		why = fmt.Sprintf("advert from %s with same priority %d but higher IP address than ours", a.Source, a.Priority)
	}
	r.say("Master received %s", why)
	if r.cfg.HigherPrioSendAdv {
		r.advertise(r.priority)
	}
	r.say("Entering BACKUP STATE")
	r.withdraw()
	r.setMaster(a.Source, a.Priority)
	r.toBackup(now, why)
}

// insist answers a weaker master. RFC 3768 has it discard the advert; keepalived: it advertises at once and announces
// again, because switches and neighbours may have learnt the other one's MAC.
func (r *Router) insist(now time.Time, a *Advert) {
	forcing := ", forcing new election"
	if r.cfg.LowerPrioNoAdvert {
		forcing = ""
	}
	r.say("Received advert from %s with lower priority %d, ours %d%s", a.Source, a.Priority, r.priority, forcing)
	if !r.rules.answers {
		return
	}
	if !r.cfg.LowerPrioNoAdvert {
		r.advertise(r.priority)
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
	r.announce(r.cfg.GarpLowerPrioRepeat)
	r.laterBlock(now, r.cfg.GarpLowerPrioDelay, r.cfg.GarpLowerPrioRepeat)
}

// check applies RFC 3768 §7.1 in keepalived's order. The VRID is known to be ours: the Speaker looked it up.
func (r *Router) check(a *Advert) error {
	switch {
	// "MUST verify that the IP TTL is 255."
	case a.TTL != ttlOnLink:
		return refuse(ReasonTTL, "invalid TTL/HL. Received %d and expect %d", a.TTL, ttlOnLink)
	// "MUST verify the VRRP version is 2."
	case a.Version != r.cfg.Version:
		return refuse(ReasonVersion, "wrong version. Received %d and expect %d", a.Version, r.cfg.Version)
	// §5.3.2: "A packet with unknown type MUST be discarded."
	case a.Type != typeAdvert:
		return refuse(ReasonType, "Invalid packet type. %d and expect %d", a.Type, typeAdvert)
	// "MUST verify that the Auth Type matches the locally configured authentication method for the virtual router and
	// perform that authentication method."
	case a.AuthType != r.cfg.AuthType:
		return refuse(ReasonAuthType, "received a %d auth, expecting %d!", a.AuthType, r.cfg.AuthType)
	case a.AuthType == AuthPass && !equal(a.AuthData, r.password):
		return refuse(ReasonPassword, "received an invalid passwd!")
	// "MUST verify the VRRP checksum."
	case !a.ChecksumOK:
		return refuse(ReasonChecksum, "Invalid VRRPv2 checksum")
	// "MUST verify that the Adver Interval in the packet is the same as the locally configured for this virtual router"
	case a.AdvertInt != r.cfg.AdvertInt:
		return refuse(ReasonInterval, "advertisement interval mismatch with %s mine=%d sec rcv'd=%d sec",
			a.Source, r.cfg.AdvertInt/time.Second, a.AdvertInt/time.Second)
	case a.Dest != GroupIPv4:
		return refuse(ReasonDestination, "Expected multicast packet but received unicast packet")
	}
	return nil
}

// equal takes the same time wherever the first difference is, so that a password cannot be guessed byte by byte.
func equal(a, b [authLen]byte) bool {
	var diff byte
	for i := range a {
		diff |= a[i] ^ b[i]
	}
	return diff == 0
}

// compareVIPs: "MAY verify that "Count IP Addrs" and the list of IP Address matches the IP_Addresses configured for
// the VRID. If the above check fails, the receiver SHOULD log the event … If the packet was not generated by the
// address owner …, the receiver MUST drop the packet". keepalived: since 2.3.3 it logs, counts and accepts, as here: a
// list that is being changed on one router after the other must not make two masters.
func (r *Router) compareVIPs(a *Advert) {
	if slices.Equal(a.VIPs, r.vips) {
		return // the usual case, in order
	}
	if len(a.VIPs) != len(r.vips) {
		r.counters.AddressList++
		r.warnOnce("vip_count", "expected %d VIPs but received %d", len(r.vips), len(a.VIPs))
		return
	}
	missing := slices.IndexFunc(r.vips, func(vip netip.Addr) bool { return !slices.Contains(a.VIPs, vip) })
	if missing >= 0 {
		r.counters.AddressList++
		r.warnOnce("vip_list", "ip address associated with VRID %d not present in advert from %s: %s", r.cfg.VRID, a.Source, r.vips[missing])
	}
}
