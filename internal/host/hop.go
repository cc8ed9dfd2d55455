package host

import (
	"fmt"
	"net/netip"
)

// Hop is how frames for an address leave this host.
type Hop struct {
	Addr    netip.Addr
	OK      bool       // Ifindex, Src and Dst may be used. False: nothing is known, and nothing is guessed.
	Local   bool       // Addr is this host's own; OK is false, as there is no frame to send
	Why     string     // if not OK: the reason, in one clause for a person
	Via     netip.Addr // whose MAC Dst is: the gateway, or Addr itself
	Carrier            // that frames leave by: a VLAN's is the one below it
	IfName  string     // of the route
	Src     MAC        // the egress interface's
	Dst     MAC        // that of Via
	MTU     int        // of the way: the route's, else the interface's
	Source  netip.Addr // the address that this host would send from
}

// next is the neighbour that packets by r for addr go to.
func (r Route) next(addr netip.Addr) netip.Addr {
	if r.Via.IsValid() {
		return r.Via
	}
	return addr
}

// hopTo puts together what is known of the way to addr. neigh is the zero Neighbour if the kernel has none.
func hopTo(addr netip.Addr, route Route, noRoute error, links map[int]Link, neigh Neighbour) Hop {
	h := Hop{Addr: addr}
	if noRoute != nil {
		h.Why = noRoute.Error()
		return h
	}
	if route.Local() {
		h.Local, h.Why = true, "is this host's own address"
		return h
	}
	link := links[route.Ifindex]
	port, ok := carrierOf(link, links)
	h.Via, h.Carrier, h.IfName = route.next(addr), port, link.Name
	if h.Why = unfit(route, link); h.Why != "" {
		return h
	}
	if !ok {
		h.Why = "interface " + link.Name + " has more than two VLAN tags"
		return h
	}
	if !neigh.Usable() {
		h.Why = fmt.Sprintf("no neighbour %s on %s", h.Via, link.Name)
		return h
	}
	h.OK, h.Src, h.Dst, h.MTU, h.Source = true, link.MAC, neigh.MAC, link.MTU, route.Src
	if route.MTU != 0 {
		h.MTU = route.MTU
	}
	return h
}

// unfit tells why no unicast frame can leave by route and link, or nothing.
func unfit(route Route, link Link) string {
	switch {
	case !route.unicast():
		return "is not a unicast destination"
	case link.Index == 0:
		return fmt.Sprintf("interface %d is gone", route.Ifindex)
	case !link.Up:
		return "interface " + link.Name + " is down"
	case !link.Running:
		return "interface " + link.Name + " has no carrier"
	case !link.Ethernet || link.MAC == MAC{}:
		return "interface " + link.Name + " is not Ethernet"
	}
	return ""
}

// Rouse makes the kernel resolve the neighbour that packets for addr go to, if it does not know it. It does not wait for the
// answer. via tells that this is a gateway, which others go by too.
func Rouse(addr netip.Addr) (via bool, err error) {
	route, err := RouteTo(addr)
	if err != nil || !route.unicast() {
		return false, err
	}
	next := route.next(addr)
	return next != addr, solicit(route.Ifindex, next, ask)
}
