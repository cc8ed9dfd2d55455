package xdp

import (
	"net/netip"
	"testing"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane/planetest"
)

// TestRealServersAreReadBackAsWritten holds each method's words: a later process makes its services of them.
func TestRealServersAreReadBackAsWritten(t *testing.T) {
	at := planetest.Server(12, 3).Addr
	for _, r := range []lb.Real{
		{Addr: at, Weight: 3, Forward: lb.Route},
		{Addr: at, Weight: 0, Forward: lb.Masq},
		{Addr: netip.AddrPortFrom(at.Addr(), 0), Weight: 65535, Forward: lb.Masq},
		{Addr: at, Weight: 1, Forward: lb.Local},
		{Addr: at, Weight: 1, Forward: lb.Tunnel},
		{Addr: at, Weight: 1, Forward: lb.Tunnel, Tunnel: lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}},
		{Addr: at, Weight: 1, Forward: lb.Tunnel, Tunnel: lb.TunnelOptions{Type: lb.GUE, Port: 6080, RemCsum: true}},
		{Addr: at, Weight: 1, Forward: lb.Tunnel, Tunnel: lb.TunnelOptions{Type: lb.GRE}},
	} {
		for _, hop := range []Hop{
			{},
			{Local: true},
			{Ifindex: 3, Src: ourMAC, Dst: realMAC, MTU: 1500, Source: netip.MustParseAddr("10.0.8.2")},
			{Ifindex: 3, Src: ourMAC, Dst: realMAC},
		} {
			p := &Plane{state: &state{hops: map[netip.Addr]Hop{at.Addr(): hop}}}
			e := p.entry(&service{spec: planetest.Web}, &real{spec: r}, 0)
			if got := realOf(e); got != r {
				t.Errorf("read back as %+v, written %+v", got, r)
			}
			later := &state{hops: map[netip.Addr]Hop{}}
			later.adoptHop(&real{spec: r}, e)
			if got := later.hops[at.Addr()]; got != hop {
				t.Errorf("next hop read back as %+v, written %+v", got, hop)
			}
			if e.Forward != uint8(r.Forward) || (e.Flags&uint8(bpf.LbRealFlagREAL_LOCAL) != 0) != hop.Local {
				t.Errorf("entry %+v", e)
			}
		}
	}
}
