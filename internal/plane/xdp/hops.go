package xdp

import (
	"fmt"
	"net/netip"
	"slices"

	"vipd/bpf"
	"vipd/internal/plane"
)

// Hop is how frames reach a neighbour.
type Hop struct {
	Ifindex  int     // the interface that they leave by
	Src, Dst [6]byte // its MAC address, and the neighbour's
}

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

// SetHop tells where the packets of an address go, from the next one on. Told before the real server is added, it is
// there when the first packet comes. It holds until ClearHop, or until the last real server of the address is gone.
func (p *Plane) SetHop(addr netip.Addr, hop Hop) error {
	if !addr.Is4() {
		return unsupported("next hop of %s (IPv4 is)", addr)
	}
	h := p.hops[addr]
	if h == nil {
		var err error
		if h, err = p.newHop(addr); err != nil {
			return err
		}
	}
	return p.writeHop(h, bpf.LbHop{Ifindex: uint32(hop.Ifindex), Src: hop.Src, Dst: hop.Dst})
}

// ClearHop ends that: packets to the address are dropped as drop_no_neighbour. Not told is no error.
func (p *Plane) ClearHop(addr netip.Addr) error {
	h := p.hops[addr]
	switch {
	case h == nil:
		return nil
	case h.users == 0:
		return p.freeHop(addr, h)
	}
	return p.writeHop(h, bpf.LbHop{})
}

func (p *Plane) writeHop(h *hop, e bpf.LbHop) error {
	var have bpf.LbHop
	if err := p.maps.get(bpf.LbMapHops, h.index, &have); err != nil || have == e {
		return err
	}
	return p.maps.put(bpf.LbMapHops, h.index, e)
}

// newHop has no users yet. If there is no index left, those that were told and never used give way.
func (p *Plane) newHop(addr netip.Addr) (*hop, error) {
	index, ok := p.hopSlots.take()
	for a, h := range p.hops {
		if ok {
			break
		}
		if h.users == 0 {
			if err := p.freeHop(a, h); err != nil {
				return nil, err
			}
			index, ok = p.hopSlots.take()
		}
	}
	if !ok {
		return nil, fmt.Errorf("%d next hops: %w", len(p.hops), plane.ErrFull)
	}
	h := &hop{index: index}
	p.hops[addr] = h
	return h, p.maps.put(bpf.LbMapHops, index, bpf.LbHop{})
}

// takeHop gives r the hop of its address.
func (p *Plane) takeHop(r *real, addr netip.Addr) error {
	h := p.hops[addr]
	if h == nil {
		var err error
		if h, err = p.newHop(addr); err != nil {
			return err
		}
	}
	h.users++
	r.hop = h.index
	return nil
}

func (p *Plane) dropHop(r *real) error {
	addr := r.spec.Addr.Addr()
	h := p.hops[addr]
	if h.users--; h.users > 0 {
		return nil
	}
	return p.freeHop(addr, h)
}

func (p *Plane) freeHop(addr netip.Addr, h *hop) error {
	delete(p.hops, addr)
	p.hopSlots.free(h.index, 1)
	return p.maps.put(bpf.LbMapHops, h.index, bpf.LbHop{})
}
