package xdp

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func localAddrs(t *testing.T, text string) lb.AddrRange {
	t.Helper()
	r, err := lb.ParseAddrRange(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFullNATService: real servers that masquerade get the local addresses, others do not; one connection is listed as one;
// the next process has it all.
func TestFullNATService(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	s := planetest.Web
	s.Locals, s.Segment, s.Proxy = localAddrs(t, "10.0.8.25-28"), lb.FitSegment, true
	nat := planetest.Server(12, 1)
	nat.Forward = lb.Masq
	do(t, p, add(s, nat)...)
	for _, again := range []bool{false, true} {
		var tuning bpf.LbTunables
		if err := p.maps.get(bpf.LbMapTuning, 0, &tuning); err != nil {
			t.Fatal(err)
		}
		if want := uint32(bpf.LbHaveHAVE_FULL | bpf.LbHaveHAVE_NAT | bpf.LbHaveHAVE_MSS); tuning.Have&want != want {
			t.Errorf("packets look for %#x", tuning.Have)
		}
		runner{p}.Connect(t, s, port(40000))
		if list := conns(t, p); len(list) != 1 || list[0].Client != port(40000) || list[0].Virtual != s.Addr || list[0].Real != nat.Addr {
			t.Errorf("connections %+v", list)
		}
		before, err := p.Read()
		if err != nil || before[0].Reals[0].Active != 1 || before[0].Service.Locals != s.Locals || before[0].Service.Segment != s.Segment || !before[0].Service.Proxy {
			t.Errorf("read %+v, error %v", before, err)
		}
		if again {
			break
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = opened(t, opts)
		after, err := p.Read()
		if diff := cmp.Diff(before, after, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreTypes(lb.Rates{})); diff != "" || err != nil {
			t.Errorf("adopted (-before +after), error %v:\n%s", err, diff)
		}
	}
	plain := s
	plain.Locals, plain.Segment, plain.Proxy = lb.AddrRange{}, 0, false
	do(t, p, plane.Op{Verb: plane.EditService, Service: plain})
	var tuning bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &tuning); err != nil || tuning.Have&uint32(bpf.LbHaveHAVE_FULL|bpf.LbHaveHAVE_MSS) != 0 {
		t.Errorf("without: packets look for %#x, error %v", tuning.Have, err)
	}
}

// TestFullNATServiceOfIPv6: the same; one connection is listed as one, with its client's own address.
func TestFullNATServiceOfIPv6(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	s := web6
	s.Locals, s.Proxy = localAddrs(t, "2001:db8:8::fffe-ffff"), true
	nat := server6(12)
	nat.Forward = lb.Masq
	do(t, p, add(s, nat)...)
	var e bpf.LbReal
	if err := p.maps.get(bpf.LbMapReals, p.services[s.ServiceKey].reals[0].index, &e); err != nil {
		t.Fatal(err)
	}
	if e.Locals != 2 || addrOf(e.Source, true) != s.Locals.First || e.Flags&isProxy == 0 {
		t.Errorf("%+v", e)
	}
	if got, err := p.Read(); err != nil || got[0].Service.Locals != s.Locals || !got[0].Service.Proxy {
		t.Errorf("read %+v, error %v", got, err)
	}
}

func TestLocalAddressesThatNoServiceCanHave(t *testing.T) {
	other := planetest.Web
	other.Locals = localAddrs(t, "2001:db8::1-3")
	six := web6
	six.Locals = localAddrs(t, "10.0.8.25")
	proxy := planetest.Web
	proxy.Proxy = true
	datagrams := planetest.Web
	datagrams.Proxy, datagrams.Protocol, datagrams.Locals = true, lb.UDP, localAddrs(t, "10.0.8.25")
	group := planetest.Web
	group.Locals = localAddrs(t, "224.0.0.1")
	torn := planetest.Web
	torn.Locals.First = netip.MustParseAddr("10.0.8.25")
	for _, row := range []struct {
		service lb.Service
		err     error
	}{{six, plane.ErrInvalid}, {proxy, plane.ErrInvalid}, {datagrams, plane.ErrInvalid}, {other, plane.ErrInvalid}, {group, plane.ErrInvalid}, {torn, plane.ErrInvalid}} {
		if err := Check(row.service, nil); !errors.Is(err, row.err) {
			t.Errorf("%v: %v, want %v", row.service.Locals, err, row.err)
		}
	}
}

// TestSegmentThatFits: what the way's MTU leaves behind all headers.
func TestSegmentThatFits(t *testing.T) {
	tun := func(o lb.TunnelOptions, addr string) lb.Real {
		return lb.Real{Addr: netip.MustParseAddrPort(addr), Forward: lb.Tunnel, Tunnel: o}
	}
	for _, row := range []struct {
		service lb.Service
		segment uint16
		real    lb.Real
		mtu     int
		want    uint16
	}{
		{planetest.Web, 0, planetest.Server(12, 1), 1500, 0},
		{planetest.Web, 1301, planetest.Server(12, 1), 1500, 1301},
		{planetest.Web, lb.FitSegment, planetest.Server(12, 1), 0, 0},
		{planetest.Web, lb.FitSegment, planetest.Server(12, 1), 1500, 1460},
		{web6, lb.FitSegment, server6(12), 1500, 1440},
		{planetest.Web, lb.FitSegment, tun(lb.TunnelOptions{}, "10.0.8.12:80"), 1500, 1440},
		{planetest.Web, lb.FitSegment, tun(lb.TunnelOptions{Type: lb.GUE, Port: 6080}, "[2001:db8::1]:80"), 1500, 1408},
		{web6, lb.FitSegment, tun(lb.TunnelOptions{Type: lb.GRE}, "10.0.8.12:80"), 1500, 1416},
		{web6, lb.FitSegment, tun(lb.TunnelOptions{Type: lb.GRE, Csum: true}, "[2001:db8::1]:80"), 1500, 1392},
		{planetest.Web, lb.FitSegment, planetest.Server(12, 1), 70000, 65535},
	} {
		row.service.Segment = row.segment
		if got := segment(row.service, row.real, row.mtu); got != row.want {
			t.Errorf("%v by %v %+v, MTU %d: %d, want %d", row.service.Addr, row.real.Forward, row.real.Tunnel, row.mtu, got, row.want)
		}
	}
}
