package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"vipd/bpf"
)

// Hop is how frames reach a neighbour.
type Hop struct {
	Ifindex  int     // the interface that they leave by
	Src, Dst [6]byte // its MAC address, and the neighbour's
}

// ErrNoHop: no real server has the address.
var ErrNoHop = errors.New("no real server has this address")

// Hops lists the addresses of the real servers, each of which needs a next hop: until SetHop has told it, packets to it
// are dropped as drop_no_neighbour. In ascending order.
func (p *Plane) Hops() []netip.Addr {
	set := map[netip.Addr]bool{}
	for _, s := range p.services {
		for _, r := range s.reals {
			set[r.spec.Addr.Addr()] = true
		}
	}
	list := make([]netip.Addr, 0, len(set))
	for a := range set {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// Hop reads what SetHop told, also what an earlier process did. False if there is none.
func (p *Plane) Hop(addr netip.Addr) (Hop, bool) {
	h := p.hops[addr]
	if h == nil {
		return Hop{}, false
	}
	var e bpf.LbHop
	if err := p.maps.get(bpf.LbMapHops, h.index, &e); err != nil || e.Ifindex == 0 {
		return Hop{}, false
	}
	return Hop{Ifindex: int(e.Ifindex), Src: e.Src, Dst: e.Dst}, true
}

// SetHop tells where the packets of a real server go, from the next one on. ErrNoHop if no real server has the address.
func (p *Plane) SetHop(addr netip.Addr, hop Hop) error {
	return p.writeHop(addr, bpf.LbHop{Ifindex: uint32(hop.Ifindex), Src: hop.Src, Dst: hop.Dst})
}

// ClearHop ends that: packets are dropped as drop_no_neighbour.
func (p *Plane) ClearHop(addr netip.Addr) error { return p.writeHop(addr, bpf.LbHop{}) }

func (p *Plane) writeHop(addr netip.Addr, e bpf.LbHop) error {
	h := p.hops[addr]
	if h == nil {
		return fmt.Errorf("next hop of %s: %w", addr, ErrNoHop)
	}
	var have bpf.LbHop
	if err := p.maps.get(bpf.LbMapHops, h.index, &have); err != nil || have == e {
		return err
	}
	return p.maps.put(bpf.LbMapHops, h.index, e)
}
