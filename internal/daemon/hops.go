package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"vipd/internal/host"
	"vipd/internal/plane/xdp"
)

// Where the plane meets the neighbourhood: the next hops of real servers, this host's interfaces, and the other directors.

// needs tells the resolver whose next hops are needed, and forgets those of the others.
func (m *pool) needs() {
	need := slices.AppendSeq(m.plane.Hops(), maps.Keys(m.directors))
	slices.SortFunc(need, netip.Addr.Compare)
	need = slices.Compact(need)
	for addr := range m.hopState {
		if _, found := slices.BinarySearchFunc(need, addr, netip.Addr.Compare); !found {
			delete(m.hopState, addr)
		}
	}
	m.hops(need)
	m.tellDirectors()
}

// hop takes what the host found about the way to a real server or a director.
func (m *pool) hop(h host.Hop) {
	m.loop.Send(func(now time.Time) {
		if m.closed {
			return
		}
		old, seen := m.hopState[h.Addr]
		m.hopState[h.Addr] = h
		if err := m.tellHop(h); err != nil {
			m.events.Error(fmt.Sprintf("next hop of %s: %v", h.Addr, err), "rs", h.Addr.String())
			return
		}
		if len(m.directors) > 0 { // else there is nothing to tell that needs has not told
			m.tellDirectors()
		}
		switch {
		case h.OK && (!old.OK || old.Dst != h.Dst || old.Ifindex != h.Ifindex || old.Tags != h.Tags):
			m.events.Info(fmt.Sprintf("next hop of %s is %s on %s", h.Addr, h.Dst, h.IfName), "rs", h.Addr.String(), "if", h.IfName)
		case !h.OK && seen && old.OK:
			m.events.Warn(fmt.Sprintf("next hop of %s is lost: %s", h.Addr, h.Why), "rs", h.Addr.String())
		}
		if h.OK && seen && !old.OK {
			m.pools.Reached(now, h.Addr)
		}
	})
}

// tellHop tells the plane of a real server's next hop. A director that is none has no packets to get.
func (m *pool) tellHop(h host.Hop) error {
	if m.directors[h.Addr] && !slices.Contains(m.plane.Hops(), h.Addr) {
		return nil
	}
	if !h.OK && !h.Local {
		return m.plane.ClearHop(h.Addr)
	}
	return m.plane.SetHop(h.Addr, xdp.Hop{Ifindex: h.Ifindex, Tags: h.Tags, Src: h.Src, Dst: h.Dst, MTU: h.MTU, Source: h.Source, Local: h.Local})
}

// director takes an address that another director has spoken from, of one of our virtual routers. A link-local one says
// nothing without its interface.
func (m *pool) director(addr netip.Addr) {
	m.loop.Send(func(time.Time) {
		if m.closed || m.shared || m.directors[addr] || addr.IsLinkLocalUnicast() {
			return
		}
		m.directors[addr] = true
		m.needs()
	})
}

// tellDirectors tells the plane which stations are directors, and by which addresses: that by which one speaks VRRP, and
// that of every real server with the same MAC address. One behind a router is none: the MAC address is the router's.
func (m *pool) tellDirectors() {
	stations := map[host.MAC]bool{}
	for addr := range m.directors {
		if h := m.hopState[addr]; h.OK && h.Via == addr {
			stations[h.Dst] = true
		}
	}
	told := map[netip.Addr][6]byte{}
	for addr, h := range m.hopState {
		if h.OK && h.Via == addr && stations[h.Dst] {
			told[addr] = h.Dst
		}
	}
	if err := m.plane.SetDirectors(told); err != nil {
		m.events.Error("tell the packet path of the other directors: " + err.Error())
		return
	}
	for addr, mac := range told {
		if m.toldDirectors[addr] != mac {
			m.events.Info(fmt.Sprintf("%s at %s is another director: what it sends here for a service whose real server one of us is stays here", addr, host.MAC(mac)))
		}
	}
	m.toldDirectors = told
}

// link takes the MAC address of an interface.
func (m *pool) link(l host.Link) {
	m.loop.Send(func(time.Time) {
		if m.closed {
			return
		}
		if err := m.plane.NoteLink(l.Index, l.MAC); err != nil {
			m.events.Error(fmt.Sprintf("note the address of interface %s: %v", l.Name, err), "if", l.Name)
		}
	})
}

// ports takes where VLANs and virtual interfaces stand.
func (m *pool) ports(ports map[int]host.Carrier, stations map[host.Station]int) {
	at := make(map[int]xdp.Port, len(ports))
	for index, p := range ports {
		at[index] = xdp.Port(p)
	}
	ours := make(map[xdp.Station]int, len(stations))
	for s, index := range stations {
		ours[xdp.Station{Port: xdp.Port(s.Carrier), MAC: s.MAC}] = index
	}
	m.loop.Send(func(time.Time) {
		if m.closed {
			return
		}
		if err := m.plane.SetPorts(at, ours); err != nil {
			m.events.Error("note the VLANs: " + err.Error())
		}
	})
}
