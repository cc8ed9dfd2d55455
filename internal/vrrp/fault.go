package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// CauseNoPeer is the fault of unicast_fault_no_peer.
const CauseNoPeer = "no unicast peer"

// causeNoAddress is the fault that SetSource and Start raise themselves.
func (r *Router) causeNoAddress() string {
	if r.cfg.V6 {
		return "no IPv6 address for interface"
	}
	return "no IPv4 address for interface"
}

// CauseInterfaceDown names the fault of a link that is down, in keepalived's words.
func CauseInterfaceDown(ifname string) string { return "interface " + ifname + " down" }

// Fault adds a named cause for not taking part, or takes it away. It is a set: saying the same twice is saying it once.
// The first cause puts the router into FAULT, and its sync group with it; when the last has gone it is BACKUP for a whole
// down time. Before Start the causes are only kept.
func (r *Router) Fault(now time.Time, cause string, present bool) {
	why := cause
	if present {
		r.addFault(cause)
	} else {
		r.faults = without(r.faults, cause)
		why = "all faults gone, last: " + cause
	}
	r.settle(now, why)
}

// Hold names something that is not known yet and that Start waits for in INIT, or takes it away. A fault does not wait.
// keepalived: a script that has not run yet holds every instance that it could put into FAULT.
func (r *Router) Hold(now time.Time, cause string, present bool) {
	r.holds = without(r.holds, cause)
	if present {
		r.holds = append(r.holds, cause)
	}
	r.settle(now, "start, no longer waiting: "+cause)
}

func without(list []string, cause string) []string {
	return slices.DeleteFunc(list, func(have string) bool { return have == cause })
}

// settle makes the state what the causes say, in this router and then in its sync group.
func (r *Router) settle(now time.Time, why string) {
	r.settleFaults(now, why)
	if r.group == nil {
		return
	}
	for _, m := range r.group.members {
		m.settleFaults(now, why)
	}
}

func (r *Router) settleFaults(now time.Time, why string) {
	cause := r.cause()
	switch {
	case !r.begun:
	case r.state == Init:
		r.begin(now, "")
	case r.state != Fault && cause != "":
		r.toFault(now, cause)
	case r.state == Fault && cause == "" && r.hold() == "":
		r.say("Entering BACKUP STATE")
		r.toBackup(now, why)
	}
}

// cause is why the router may not take part: of its own, or of its sync group. "": it may.
func (r *Router) cause() string {
	switch {
	case len(r.faults) > 0:
		return r.faults[0]
	case r.group != nil:
		return r.group.cause(r)
	}
	return ""
}

// hold is what keeps the router from taking part for now, or "".
func (r *Router) hold() string {
	switch {
	case len(r.holds) > 0:
		return r.holds[0]
	case r.group != nil:
		return r.group.waits()
	}
	return ""
}

func (r *Router) addFault(cause string) {
	if !slices.Contains(r.faults, cause) {
		r.faults = append(r.faults, cause)
	}
}

func (r *Router) toFault(now time.Time, cause string) {
	r.say("entering FAULT state (%s)", cause)
	r.say("Entering FAULT STATE")
	r.leave(now)
	if r.holding {
		r.withdraw()
	}
	r.setMaster(netip.Addr{}, 0)
	r.become(now, Fault, cause)
}

// SetSource sets the address that adverts leave from: the interface's primary address, never a VIP. The zero Addr says
// that there is none, which is a fault; a priority-0 advert then still leaves from the old one.
func (r *Router) SetSource(now time.Time, addr netip.Addr) {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Is6() != r.cfg.V6 {
		if r.state != Init {
			r.Fault(now, r.causeNoAddress(), true)
		}
		r.source = netip.Addr{}
		return
	}
	r.source = addr
	if r.state == Master {
		r.setMaster(addr, r.priority)
	}
	r.Fault(now, r.causeNoAddress(), false)
}
