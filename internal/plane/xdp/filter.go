package xdp

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"vipd/bpf"
	"vipd/internal/lb"
)

// filterBit is where an address stands in the filter: a fold of its four bytes, as shared.h has it, or of its four words.
func filterBit(a netip.Addr) uint32 {
	n := uint32(0)
	for b := a.AsSlice(); len(b) > 0; b = b[4:] {
		n ^= binary.LittleEndian.Uint32(b)
	}
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

// writeSources tells packets where replies come from: the real servers that masquerade, also those that were removed, and
// whether there are any, or tunnels.
func (p *Plane) writeSources() error {
	var next bpf.LbFilter
	nat, tunnel := false, false
	for _, s := range p.services {
		for _, list := range [][]*real{s.reals, s.gone} {
			for _, r := range list {
				tunnel = tunnel || r.spec.Forward == lb.Tunnel
				if r.spec.Forward == lb.Masq {
					n := filterBit(r.spec.Addr.Addr())
					next.Bits[n>>6] |= 1 << (n & 63)
					nat = true
				}
			}
		}
	}
	if next != p.sources {
		if err := p.maps.put(bpf.LbMapSourceFilter, 0, &next); err != nil {
			return err
		}
		p.sources = next
	}
	return errors.Join(p.setHave(bpf.LbHaveHAVE_NAT, nat), p.setHave(bpf.LbHaveHAVE_TUNNEL, tunnel))
}

// setHave tells packets what there is to look for.
func (p *Plane) setHave(bit bpf.LbHave, on bool) error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	have := t.Have &^ uint32(bit)
	if on {
		have |= uint32(bit)
	}
	if have == t.Have {
		return nil
	}
	t.Have = have
	return p.maps.put(bpf.LbMapTuning, 0, t)
}
