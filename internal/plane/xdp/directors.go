package xdp

import (
	"errors"
	"fmt"
	stdmaps "maps"
	"net/netip"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/lb"
)

// SetDirectors tells which other directors there are of these services, by their addresses, and the MAC address of each:
// what they send to a service that has them or this host among its real servers, they have chosen this host for, and it goes
// up. Only what a director sends from its own address is scheduled, as any client's. It holds until the next call.
func (p *Plane) SetDirectors(directors map[netip.Addr][6]byte) error {
	if p.directors != nil && stdmaps.Equal(directors, p.directors) {
		return nil
	}
	p.directors = map[netip.Addr][6]byte{}
	stdmaps.Copy(p.directors, directors)
	var errs []error
	for _, addr := range p.Hops() { // an earlier process may have been told otherwise
		errs = append(errs, p.writeHops(addr))
	}
	return errors.Join(append(errs, p.writePeers(), p.writeDirectors())...)
}

// peerEntries are the directors as packets look for them: by MAC address, in either family, and with each of their addresses.
func (p *Plane) peerEntries() map[bpf.LbPeerKey]uint32 {
	entries := map[bpf.LbPeerKey]uint32{}
	for addr, mac := range p.directors {
		own := bpf.LbPeerKey{Mac: mac, Addr: words6(addr)}
		if addr.Is6() {
			own.V6 = 1
		}
		for _, key := range []bpf.LbPeerKey{own, {Mac: mac}, {Mac: mac, V6: 1}} {
			entries[key] = 1
		}
	}
	return entries
}

func (p *Plane) writePeers() error {
	entries := p.peerEntries()
	if err := setEntries(p.maps[bpf.LbMapPeers], entries); err != nil {
		return fmt.Errorf("write peers: %w", err)
	}
	return p.setHave(bpf.LbHaveHAVE_PEERS, len(entries) > 0)
}

// setEntries makes a hash hold these entries and no others.
func setEntries[K, V comparable](m *ebpf.Map, want map[K]V) error {
	have := map[K]V{}
	var key K
	var value V
	all := m.Iterate()
	for all.Next(&key, &value) {
		have[key] = value
	}
	errs := []error{all.Err()}
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			errs = append(errs, m.Put(k, v))
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			errs = append(errs, m.Delete(k))
		}
	}
	return errors.Join(errs...)
}

// writeDirectors tells packets of each service whether a director, this one or another, is or was among its real servers.
func (p *Plane) writeDirectors() error {
	var errs []error
	for _, s := range p.services {
		if s.indexed && p.hasDirectors(s) != s.directors {
			errs = append(errs, p.writeService(s))
		}
	}
	return errors.Join(errs...)
}

func (p *Plane) hasDirectors(s *service) bool {
	for _, list := range [][]*real{s.reals, s.gone} {
		for _, r := range list {
			_, peer := p.directors[r.spec.Addr.Addr()]
			if peer || r.spec.Forward == lb.Local || p.hops[r.spec.Addr.Addr()].Local {
				return true
			}
		}
	}
	return false
}

// writeService tells packets what the service is. Its owner stands there only as long as service_index leads to it: packets that
// have a hint ask no more than that.
func (p *Plane) writeService(s *service) error {
	s.directors = p.hasDirectors(s)
	e := s.entry(p.clock)
	if s.directors {
		e.Flags |= uint32(bpf.LbServiceFlagSERVICE_DIRECTORS)
	}
	if s.indexed {
		e.Owner = key6Of(s.spec.ServiceKey)
	}
	return p.maps.put(bpf.LbMapServices, s.index, e)
}
