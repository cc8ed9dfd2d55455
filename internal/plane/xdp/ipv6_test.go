package xdp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

var web6 = lb.Service{
	ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("[2001:db8:8::9]:80")}, Scheduler: "rr",
}

func server6(host byte) lb.Real {
	addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 8, 15: host})
	return lb.Real{Addr: netip.AddrPortFrom(addr, 80), Forward: lb.Route, Weight: 1}
}

var client6 = netip.MustParseAddrPort("[2001:db8:4::10]:40000")

// TestIPv6Service: forwarded, listed and counted, adopted by the next process, and taken away; an IPv4 service stands beside.
func TestIPv6Service(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	sticky := web6
	sticky.Persistence, sticky.Wild = 50*time.Second, lb.WildOf(64, true)
	do(t, p, add(sticky, server6(12), server6(11))...)
	do(t, p, add(planetest.Web, planetest.Server(13, 1))...)
	if got := p.Hops(); len(got) != 3 || got[1] != server6(11).Addr.Addr() || got[2] != server6(12).Addr.Addr() {
		t.Errorf("hops %v", got)
	}
	runner{p}.Connect(t, sticky, client6)
	_, first := runner{p}.pass(t, sticky.ServiceKey, client6, "A")
	if verdict, to := (runner{p}).pass(t, sticky.ServiceKey, netip.MustParseAddrPort("[2001:db8:4::77]:1"), "S"); verdict != xdpTX || to != first {
		t.Errorf("a neighbour of the client: verdict %d, to % x and not % x", verdict, to, first)
	}
	if verdict, to := (runner{p}).pass(t, sticky.ServiceKey, netip.MustParseAddrPort("[2001:db8:4:1::10]:1"), "S"); verdict != xdpTX || to == first {
		t.Errorf("a client elsewhere: verdict %d, to % x", verdict, to)
	}
	runner{p}.Connect(t, planetest.Web, port(40000))
	checkIPv6(t, p, first[5])
	before, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = opened(t, opts)
	after, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreTypes(lb.Rates{})); diff != "" {
		t.Errorf("adopted (-before +after):\n%s", diff)
	}
	if hop, ok := p.Hop(server6(11).Addr.Addr()); !ok || hop.Dst[5] != 11 {
		t.Errorf("adopted next hop %+v", hop)
	}
	checkIPv6(t, p, first[5])
	if verdict, to := (runner{p}).pass(t, sticky.ServiceKey, client6, "A"); verdict != xdpTX || to != first {
		t.Errorf("after adoption: verdict %d, to % x", verdict, to)
	}
	do(t, p, plane.Op{Verb: plane.DelService, Service: sticky})
	if verdict, _ := (runner{p}).pass(t, sticky.ServiceKey, netip.MustParseAddrPort("[2001:db8:4:2::10]:1"), "S"); verdict != xdpPass {
		t.Errorf("a SYN to the removed service: verdict %d", verdict)
	}
	do(t, p, add(sticky, server6(first[5]))...)
	if verdict, to := (runner{p}).pass(t, sticky.ServiceKey, client6, "A"); verdict != xdpTX || to != first {
		t.Errorf("its connection, once it is back: verdict %d, to % x", verdict, to)
	}
}

// checkIPv6: client6's connection is listed with its template.
func checkIPv6(t *testing.T, p *Plane, host byte) {
	t.Helper()
	found := 0
	for _, c := range conns(t, p) {
		if c.Virtual == web6.Addr && c.Client == client6 {
			found++
			if c.Real != server6(host).Addr || c.State != lb.Established || c.Template {
				t.Errorf("connection %+v", c)
			}
		}
		if c.Template && c.Client.Addr() == netip.MustParseAddr("2001:db8:4::") {
			found++
		}
		if c.Virtual == planetest.Web.Addr && c.Client == port(40000) {
			found++
		}
	}
	if found != 3 {
		t.Errorf("%d of 3 found in %+v", found, conns(t, p))
	}
}

func TestMethodsOfIPv6AreNamed(t *testing.T) {
	for _, forward := range []lb.Forward{lb.Masq, lb.Tunnel} {
		r := server6(11)
		r.Forward = forward
		if err := Check(web6, []lb.Real{r}); !errors.Is(err, plane.ErrUnsupported) {
			t.Errorf("%s: %v", forward, err)
		}
	}
	four := planetest.Server(11, 1)
	four.Forward = lb.Tunnel
	if err := Check(web6, []lb.Real{four}); !errors.Is(err, plane.ErrUnsupported) {
		t.Errorf("a tunnel of IPv4: %v", err)
	}
	if err := Check(web6, []lb.Real{server6(11)}); err != nil {
		t.Error(err)
	}
}
