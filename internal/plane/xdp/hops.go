package xdp

import (
	"errors"
	"net/netip"
	"slices"

	"vipd/bpf"
)

// Hop is how packets reach an address.
type Hop struct {
	Ifindex  int        // the interface that frames leave by: of a VLAN the one below it
	Tags     [2]uint16  // and their VLAN tags, outer first: identifiers, with 0x1000 if the tag is 802.1ad's. 0: none
	Src, Dst [6]byte    // its MAC address, and the neighbour's
	MTU      int        // of the way: larger packets are answered with an ICMP error. If zero, none are
	Source   netip.Addr // what the outer packets of a tunnel have as their source. If zero, tunnels do not work
	Local    bool       // the address is this host's: its packets go up, and the rest of Hop is nothing
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

// Hop is what SetHop told, also to an earlier process. False if there is none.
func (p *Plane) Hop(addr netip.Addr) (Hop, bool) {
	h, ok := p.hops[addr]
	return h, ok
}

// SetHop tells where the packets of an address go, from the next one on. Told before the real server is added, it is
// there when the first packet comes. It holds until ClearHop, or until the last real server of the address is gone.
func (p *Plane) SetHop(addr netip.Addr, hop Hop) error {
	if p.hops[addr] == hop {
		return nil
	}
	p.hops[addr] = hop
	return errors.Join(p.writeHops(addr), p.writeDirectors())
}

// ClearHop ends that: packets to the address are dropped as drop_no_neighbour. Not told is no error.
func (p *Plane) ClearHop(addr netip.Addr) error {
	if _, ok := p.hops[addr]; !ok {
		return nil
	}
	delete(p.hops, addr)
	return p.writeHops(addr)
}

// writeHops tells every real server of the address, the removed ones too.
func (p *Plane) writeHops(addr netip.Addr) error {
	for _, s := range p.services {
		for _, r := range s.reals {
			if err := p.writeHop(s, r, addr, 0); err != nil {
				return err
			}
		}
		for _, r := range s.gone {
			if err := p.writeHop(s, r, addr, gone); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Plane) writeHop(s *service, r *real, addr netip.Addr, flags uint8) error {
	if r.fresh || r.spec.Addr.Addr() != addr {
		return nil
	}
	return p.maps.put(bpf.LbMapReals, r.index, p.entry(s, r, flags))
}

// forgetHop lets go of what was told when no real server has the address any more.
func (p *Plane) forgetHop(addr netip.Addr) {
	for _, s := range p.services {
		for _, list := range [][]*real{s.reals, s.gone} {
			if slices.ContainsFunc(list, func(r *real) bool { return r.spec.Addr.Addr() == addr }) {
				return
			}
		}
	}
	delete(p.hops, addr)
}
