package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// causeNoAddress is the fault that SetSource and Start raise themselves.
const causeNoAddress = "no IPv4 address for interface"

// CauseInterfaceDown names the fault of a link that is down, in keepalived's words.
func CauseInterfaceDown(ifname string) string { return "interface " + ifname + " down" }

// Fault adds a named cause for not taking part, or takes it away. It is a set: saying the same twice is saying it once.
// The first cause puts the router into FAULT; when the last has gone it is BACKUP for a whole down time. Before Start
// the causes are only kept.
func (r *Router) Fault(now time.Time, cause string, present bool) {
	if present {
		r.addFault(cause)
	} else {
		r.faults = slices.DeleteFunc(r.faults, func(have string) bool { return have == cause })
	}
	switch {
	case r.state == Init:
	case r.state != Fault && len(r.faults) > 0:
		r.toFault(now, cause)
	case r.state == Fault && len(r.faults) == 0:
		r.say("Entering BACKUP STATE")
		r.toBackup(now, "all faults gone, last: "+cause)
	}
}

func (r *Router) addFault(cause string) {
	if !slices.Contains(r.faults, cause) {
		r.faults = append(r.faults, cause)
	}
}

func (r *Router) toFault(now time.Time, cause string) {
	r.say("entering FAULT state (%s)", cause)
	r.say("Entering FAULT STATE")
	r.leave()
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
	if !addr.Is4() {
		if r.state != Init {
			r.Fault(now, causeNoAddress, true)
		}
		r.source = netip.Addr{}
		return
	}
	r.source = addr
	if r.state == Master {
		r.setMaster(addr, r.priority)
	}
	r.Fault(now, causeNoAddress, false)
}
