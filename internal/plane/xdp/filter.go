package xdp

import (
	"encoding/binary"
	"net/netip"

	"vipd/bpf"
)

// filterBit is where an address stands in the filter: a fold of its four bytes, as shared.h has it.
func filterBit(a netip.Addr) uint32 {
	b := a.As4()
	n := binary.LittleEndian.Uint32(b[:])
	return (n ^ n>>16) & 0xffff
}

// writeFilter sets the bits of all services' addresses and, unless it only adds, clears the others. The address of a
// removed service stays while there are others: its connections are dropped, as IPVS does, and the host, which has the
// address, does not reset them. With the last service the host gets everything, as when IPVS lets go of its hooks.
func (p *Plane) writeFilter(only bool) error {
	var next bpf.LbFilter
	if only {
		next = p.filter
	}
	alive := false
	for _, s := range p.services {
		alive = alive || s.alive
	}
	for _, s := range p.services {
		if alive {
			n := filterBit(s.spec.Addr.Addr())
			next.Bits[n>>6] |= 1 << (n & 63)
		}
	}
	if p.filterKnown && next == p.filter {
		return nil
	}
	// The bytes that do not change are written with the values that they have, so no packet sees a bit that is not there.
	if err := p.maps.put(bpf.LbMapServiceFilter, 0, &next); err != nil {
		return err
	}
	p.filter, p.filterKnown = next, true
	return nil
}
