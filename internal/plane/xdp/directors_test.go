package xdp

import (
	"net/netip"
	"testing"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane/planetest"
)

// TestDirectorsAreKnownToPackets: by the service that has one among its real servers, as a real server, and as a peer; and
// after a later process has been told that they are gone, no more.
func TestDirectorsAreKnownToPackets(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	do(t, p, add(planetest.Web, planetest.Server(12, 1), planetest.Server(13, 1))...)
	do(t, p, add(planetest.DNS, planetest.Server(14, 1))...)
	other := netip.MustParseAddr("10.0.8.13")
	involved := func(p *Plane, k lb.ServiceKey) bool {
		t.Helper()
		var e bpf.LbService
		if err := p.maps.get(bpf.LbMapServices, p.services[k].index, &e); err != nil {
			t.Fatal(err)
		}
		return e.Flags&uint32(bpf.LbServiceFlagSERVICE_DIRECTORS) != 0
	}
	flags := func(p *Plane, at int) uint8 {
		t.Helper()
		var e bpf.LbReal
		if err := p.maps.get(bpf.LbMapReals, p.services[planetest.Web.ServiceKey].reals[at].index, &e); err != nil {
			t.Fatal(err)
		}
		return e.Flags
	}
	have := func(p *Plane) bool {
		t.Helper()
		var tuning bpf.LbTunables
		if err := p.maps.get(bpf.LbMapTuning, 0, &tuning); err != nil {
			t.Fatal(err)
		}
		return tuning.Have&uint32(bpf.LbHaveHAVE_PEERS) != 0
	}
	peers := func(p *Plane) (n int) {
		var key bpf.LbPeerKey
		var value uint32
		for all := p.maps[bpf.LbMapPeers].Iterate(); all.Next(&key, &value); {
			n++
		}
		return n
	}
	mac := [6]byte{2, 0, 0, 0, 0, 13}
	if err := p.SetDirectors(map[netip.Addr][6]byte{other: mac, netip.MustParseAddr("2001:db8::3"): mac}); err != nil {
		t.Fatal(err)
	}
	if !involved(p, planetest.Web.ServiceKey) || involved(p, planetest.DNS.ServiceKey) || flags(p, 0)&isPeer != 0 || flags(p, 1)&isPeer == 0 || !have(p) {
		t.Error("the director is not where it should be")
	}
	if n := peers(p); n != 4 { // in either family, and each address
		t.Errorf("%d peers", n)
	}
	here := netip.MustParseAddr("10.0.8.14")
	if err := p.SetHop(here, Hop{Local: true}); err != nil || !involved(p, planetest.DNS.ServiceKey) {
		t.Errorf("this host is a real server: %v", err)
	}
	kill(p)
	later := opened(t, opts)
	if !involved(later, planetest.Web.ServiceKey) || !have(later) {
		t.Error("the director is forgotten with the process")
	}
	if err := later.SetDirectors(nil); err != nil {
		t.Fatal(err)
	}
	if involved(later, planetest.Web.ServiceKey) || flags(later, 1)&isPeer != 0 || have(later) || peers(later) != 0 {
		t.Error("it is a director for ever")
	}
	if !involved(later, planetest.DNS.ServiceKey) {
		t.Error("this host is no real server any more")
	}
}

// TestPortsAreKnownToPackets: what was told an earlier process goes when a later one is told otherwise.
func TestPortsAreKnownToPackets(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	link := func(p *Plane, i uint32) (l bpf.LbLink) {
		t.Helper()
		if err := p.maps.get(bpf.LbMapLinks, i, &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	at := Port{Ifindex: 2, Tags: [2]uint16{0x1007, 5}}
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	if err := p.SetPorts(map[int]Port{4: at, 5: {Ifindex: 2}}, map[Station]int{{at, mac}: 4}); err != nil {
		t.Fatal(err)
	}
	if err := p.NoteLink(4, mac); err != nil {
		t.Fatal(err)
	}
	if l := link(p, 4); l.Lower != 2 || l.Tci != tci(at.Tags) || l.Mac != mac || l.Attached != 0 {
		t.Errorf("%+v", l)
	}
	var index uint32
	key := bpf.LbStation{Ifindex: 2, Tci: tci(at.Tags), Mac: mac}
	if err := p.maps[bpf.LbMapStations].Lookup(key, &index); err != nil || index != 4 {
		t.Errorf("station of %d, %v", index, err)
	}
	kill(p)
	later := opened(t, opts)
	if err := later.SetPorts(map[int]Port{5: {Ifindex: 2}}, nil); err != nil {
		t.Fatal(err)
	}
	if l := link(later, 4); l.Lower != 0 || l.Tci != [2]uint16{} || l.Mac != mac {
		t.Errorf("%+v", l)
	}
	if l := link(later, 5); l.Lower != 2 {
		t.Errorf("%+v", l)
	}
	if err := later.maps[bpf.LbMapStations].Lookup(key, &index); err == nil {
		t.Error("the station is there still")
	}
}

// TestASuccessorMendsWhatItsPredecessorLeftOut: every daemon tells the directors once, and that writes anew what packets know of real
// servers. An earlier version has other numbers for the fast road's tunnels there, which a newer program does not take.
func TestASuccessorMendsWhatItsPredecessorLeftOut(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	server := planetest.Server(12, 1)
	server.Forward = lb.Tunnel
	do(t, p, add(planetest.Web, server)...)
	if err := p.SetHop(server.Addr.Addr(), Hop{Ifindex: 1, MTU: 1500, Source: netip.MustParseAddr("10.0.8.2")}); err != nil {
		t.Fatal(err)
	}
	entry := func(p *Plane) (e bpf.LbReal, index uint32) {
		t.Helper()
		index = p.services[planetest.Web.ServiceKey].reals[0].index
		if err := p.maps.get(bpf.LbMapReals, index, &e); err != nil {
			t.Fatal(err)
		}
		return e, index
	}
	was, index := entry(p)
	const theirs = 3
	left := was
	left.Plain = theirs
	if err := p.maps.put(bpf.LbMapReals, index, left); err != nil {
		t.Fatal(err)
	}
	kill(p)
	next := opened(t, opts)
	if now, _ := entry(next); now.Plain != theirs {
		t.Errorf("plain %d before anything was told", now.Plain)
	}
	if err := next.SetDirectors(nil); err != nil {
		t.Fatal(err)
	}
	if now, _ := entry(next); now != was || bpf.LbPlain(now.Plain) != bpf.LbPlainPLAIN_IPIP {
		t.Errorf("%+v, want %+v", now, was)
	}
}
