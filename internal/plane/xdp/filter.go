package xdp

import (
	"errors"
	"net/netip"

	"vipd/bpf"
	"vipd/internal/lb"
)

// writeFilter lets in what goes to all services' addresses and, unless it only adds, nothing else. The address of a
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
		if alive && s.spec.Mark == 0 {
			letIn(&next, s.spec.Addr.Addr())
		}
	}
	for _, c := range p.classes {
		if alive && p.services[lb.ServiceKey{Mark: c.Mark, V6: c.To.Addr().Is6()}] != nil {
			letAllIn(&next, c.To)
		}
	}
	if p.filterKnown && next == p.filter {
		return nil
	}
	// The bytes that do not change are written with the values that they have, so no packet sees what is not there.
	if err := p.maps.put(bpf.LbMapServiceFilter, 0, &next); err != nil {
		return err
	}
	p.filter, p.filterKnown = next, true
	return nil
}

func letIn(f *bpf.LbFilter, a netip.Addr) { f.May[bpf.FilterIndex(a)] = 1 }

// fewAddresses is how many of a network are set one by one. A larger one lets everything through, to be looked up.
const fewAddresses = 4096

func letAllIn(f *bpf.LbFilter, network netip.Prefix) {
	if 1<<(network.Addr().BitLen()-network.Bits()) > fewAddresses || network.Addr().BitLen()-network.Bits() > 30 {
		for i := range f.May {
			f.May[i] = 1
		}
		return
	}
	for a := network.Addr(); network.Contains(a); a = a.Next() {
		letIn(f, a)
	}
}

// writeHave tells packets which kinds of services there are to look for.
func (p *Plane) writeHave() error {
	marks, ftp, port0 := false, false, false
	for key, s := range p.services {
		if !s.alive {
			continue
		}
		marks = marks || key.Mark != 0 && len(p.classes) > 0
		ftp = ftp || key.Mark == 0 && key.Protocol == lb.TCP && key.Addr.Port() == portFTP
		port0 = port0 || key.Mark == 0 && key.Addr.Port() == 0
	}
	return errors.Join(p.setHave(bpf.LbHaveHAVE_SIP, p.hasEngine()), p.setHave(bpf.LbHaveHAVE_MARKS, marks), p.setHave(bpf.LbHaveHAVE_FTP, ftp), p.setHave(bpf.LbHaveHAVE_PORT0, port0))
}

// writeSources tells packets where replies come from: the real servers that masquerade, also those that were removed, and
// whether there are any, or tunnels; and, in the same filter, to which local addresses of FULLNAT they go.
func (p *Plane) writeSources() error {
	var next bpf.LbFilter
	have := uint32(0)
	for _, s := range p.services {
		for _, list := range [][]*real{s.reals, s.gone} {
			for _, r := range list {
				heard := heardBack(r.spec)
				have |= uint32(heard) | handled(s.spec, r.spec)
				if heard == bpf.LbHaveHAVE_NAT || heard == bpf.LbHaveHAVE_NAT6 {
					letIn(&next, r.spec.Addr.Addr())
				}
				if rewritten(owned{r, s}) {
					for n := range s.spec.Locals.Len() {
						letIn(&next, s.spec.Locals.At(n))
					}
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
	return p.setHaves(heardOf, have)
}

// hasEngine tells whether a service looks into what its packets say.
func (p *Plane) hasEngine() bool {
	for _, s := range p.services {
		if s.alive && s.spec.Engine != "" {
			return true
		}
	}
	return false
}

const heardOf = uint32(bpf.LbHaveHAVE_NAT | bpf.LbHaveHAVE_NAT6 | bpf.LbHaveHAVE_TUNNEL | bpf.LbHaveHAVE_TUNNEL6 |
	bpf.LbHaveHAVE_FULL | bpf.LbHaveHAVE_MSS)

// handled is what else packets of this real server are looked at for.
func handled(s lb.Service, r lb.Real) (have uint32) {
	if r.Forward == lb.Masq && s.Locals.Len() != 0 {
		have |= uint32(bpf.LbHaveHAVE_FULL)
	}
	if s.Segment != 0 {
		have |= uint32(bpf.LbHaveHAVE_MSS)
	}
	return have
}

// heardBack is what packets from a real server, or about it, are looked for by; 0: none come here.
func heardBack(r lb.Real) bpf.LbHave {
	six := r.Addr.Addr().Is6()
	switch {
	case r.Forward == lb.Masq && six:
		return bpf.LbHaveHAVE_NAT6
	case r.Forward == lb.Masq:
		return bpf.LbHaveHAVE_NAT
	case r.Forward == lb.Tunnel && six:
		return bpf.LbHaveHAVE_TUNNEL6
	case r.Forward == lb.Tunnel:
		return bpf.LbHaveHAVE_TUNNEL
	}
	return 0
}

// setHave tells packets what there is to look for.
func (p *Plane) setHave(bit bpf.LbHave, on bool) error {
	if on {
		return p.setHaves(uint32(bit), uint32(bit))
	}
	return p.setHaves(uint32(bit), 0)
}

// setHaves tells packets what of mask there is to look for.
func (p *Plane) setHaves(mask, bits uint32) error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	have := t.Have&^mask | bits
	if have == t.Have {
		return nil
	}
	t.Have = have
	return p.maps.put(bpf.LbMapTuning, 0, t)
}
