package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/bpf"
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

func TestMethodsOfIPv6(t *testing.T) {
	four, six := planetest.Server(11, 1), server6(11)
	for _, row := range []struct {
		service lb.Service
		real    lb.Real
		forward lb.Forward
		err     error
	}{
		{web6, six, lb.Route, nil}, {web6, six, lb.Tunnel, nil}, {web6, six, lb.Masq, nil},
		{web6, four, lb.Tunnel, nil}, {planetest.Web, six, lb.Tunnel, nil},
		{web6, four, lb.Route, plane.ErrInvalid}, {planetest.Web, six, lb.Masq, plane.ErrInvalid},
	} {
		row.real.Forward = row.forward
		if err := Check(row.service, []lb.Real{row.real}); !errors.Is(err, row.err) {
			t.Errorf("%v to %v by %s: %v, want %v", row.service.Addr, row.real.Addr, row.forward, err, row.err)
		}
	}
}

// TestTunnelBetweenFamilies: the outer addresses are the real server's and the source that the way to it has, also for the
// next process.
func TestTunnelBetweenFamilies(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	six, four := server6(12), planetest.Server(13, 1)
	six.Forward, four.Forward = lb.Tunnel, lb.Tunnel
	four.Tunnel = lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}
	do(t, p, add(planetest.Web, six)...)
	do(t, p, add(web6, four)...)
	source := map[netip.Addr]netip.Addr{six.Addr.Addr(): netip.MustParseAddr("2001:db8:8::2"), four.Addr.Addr(): netip.MustParseAddr("10.0.8.2")}
	for _, again := range []bool{false, true} {
		for addr, from := range source {
			if hop, _ := p.Hop(addr); again && hop.Source != from {
				t.Errorf("%v: adopted source %v", addr, hop.Source)
			}
			if err := p.SetHop(addr, Hop{Ifindex: 1, Src: ourMAC, Dst: realMAC, MTU: 1500, Source: from}); err != nil {
				t.Fatal(err)
			}
		}
		if got := (runner{p}).outer(t, planetest.Web.ServiceKey, port(40000)); got != "IPv6 2001:db8:8::2 > 2001:db8:8::c, next 4" {
			t.Error(got)
		}
		if got := (runner{p}).outer(t, web6.ServiceKey, client6); got != "IPv4 10.0.8.2 > 10.0.8.13, next 17" {
			t.Error(got)
		}
		if again {
			break
		}
		before, err := p.Read()
		if err != nil {
			t.Fatal(err)
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
}

// outer sends a SYN and describes the header that the frame leaves with.
func (r runner) outer(t *testing.T, k lb.ServiceKey, client netip.AddrPort) string {
	t.Helper()
	if err := r.SetLink(1, ourMAC, true); err != nil {
		t.Fatal(err)
	}
	in := frame(t, k, client, "S")
	out := make([]byte, 2048)
	verdict, err := r.progs[bpf.LbProgLb].Run(&ebpf.RunOptions{Data: in, DataOut: out})
	if err != nil || verdict != xdpTX {
		list, _ := r.Reasons()
		t.Fatalf("verdict %d, error %v, %v", verdict, err, list)
	}
	if out[12] == 0x86 {
		return fmt.Sprintf("IPv6 %v > %v, next %d", netip.AddrFrom16([16]byte(out[22:])), netip.AddrFrom16([16]byte(out[38:])), out[20])
	}
	return fmt.Sprintf("IPv4 %v > %v, next %d", netip.AddrFrom4([4]byte(out[26:])), netip.AddrFrom4([4]byte(out[30:])), out[23])
}
