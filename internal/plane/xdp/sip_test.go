package xdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// calls lists the templates of the SIP engine, and says how many texts are kept of them.
func calls(t *testing.T, p *Plane) (list []string, kept int) {
	t.Helper()
	for _, c := range conns(t, p) {
		if c.Template {
			list = append(list, fmt.Sprintf("%s %s %s %s", c.Client, c.Virtual, c.Engine, c.EngineData))
			if c.Packets != 0 {
				t.Errorf("template %v has %d packets", c, c.Packets)
			}
		}
	}
	slices.Sort(list)
	var key bpf.LbCallKey
	var call bpf.LbCall
	for all := p.maps[bpf.LbMapCalls].Iterate(); all.Next(&key, &call); {
		kept++
	}
	return list, kept
}

// TestCallsAreListed: with their engine and text, of both families, by a later process too, and by a template that is of no
// use any more; when they have ended nothing is kept.
func TestCallsAreListed(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	for _, at := range []string{"10.0.8.9:5060", "[2001:db8:8::9]:5060"} {
		k := lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort(at)}
		real, client := planetest.Server(12, 1), port(5060)
		if k.Is6() {
			real.Addr, client = netip.MustParseAddrPort("[2001:db8:8::12]:5060"), netip.MustParseAddrPort("[2001:db8:4::10]:5060")
		}
		s := lb.Service{ServiceKey: k, Scheduler: "rr", Persistence: time.Minute, Engine: "sip"}
		do(t, p, add(s, real)...)
		have, err := p.Read()
		if err != nil || len(plane.Diff(plane.Pools(have), []lb.Pool{{Service: s, Reals: []lb.Real{real}}})) != 0 {
			t.Fatalf("read back %+v, %v", have, err)
		}
		invite := "INVITE sip:u SIP/2.0\r\nCall-ID: %s\r\n\r\n"
		traffic := runner{p}
		traffic.send(t, k, client, fmt.Sprintf(invite, "one@a"))
		traffic.send(t, k, netip.AddrPortFrom(client.Addr(), 5061), fmt.Sprintf(invite, "two@a"))
		traffic.send(t, k, netip.AddrPortFrom(client.Addr(), 5062), fmt.Sprintf(invite, "one@a"))
		if verdict, _ := traffic.pass(t, k, netip.AddrPortFrom(client.Addr(), 5063), "not sip"); verdict != 1 {
			t.Errorf("no SIP: verdict %d, want XDP_DROP", verdict)
		}
		kill(p)
		p = opened(t, opts)
		want := []string{}
		for _, id := range []string{"one@a", "two@a"} {
			want = append(want, fmt.Sprintf("%s %s sip %s", netip.AddrPortFrom(client.Addr(), 0), at, id))
		}
		if list, kept := calls(t, p); !slices.Equal(list, want) || kept != 2 {
			t.Errorf("listed %q, %d kept; want %q", list, kept, want)
		}
		// Without its server a template matches no more, and shows so.
		do(t, p, plane.Op{Verb: plane.DelReal, Service: s, Real: real})
		second := real
		second.Addr = netip.AddrPortFrom(real.Addr.Addr().Next(), real.Addr.Port())
		do(t, p, plane.Op{Verb: plane.AddReal, Service: s, Real: second})
		(runner{p}).send(t, k, netip.AddrPortFrom(client.Addr(), 5064), fmt.Sprintf(invite, "one@a"))
		want = append(want, strings.Replace(want[0], ":5060", ":65535", 1))
		slices.Sort(want)
		if list, kept := calls(t, p); !slices.Equal(list, want) || kept != 3 {
			t.Errorf("listed %q, %d kept; want %q", list, kept, want)
		}
		do(t, p, plane.Op{Verb: plane.DelService, Service: s})
		if err := p.Travel(20 * time.Minute); err != nil {
			t.Fatal(err)
		}
		for range 3 { // what holds a template goes first
			if _, err := p.Sweep(); err != nil {
				t.Fatal(err)
			}
			if err := p.Travel(2 * time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if list, kept := calls(t, p); len(list)+kept != 0 {
			t.Errorf("at the end there is %q, and %d kept", list, kept)
		}
	}
}
