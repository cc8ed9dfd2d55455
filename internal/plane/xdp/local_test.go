package xdp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// rewriting is a service of FULLNAT of either family, and its real server.
func rewriting(t *testing.T, v6, proxy bool) (lb.Service, lb.Real, netip.AddrPort) {
	t.Helper()
	s, r, client, locals := planetest.Web, planetest.Server(12, 1), port(40000), "10.0.8.25-28"
	if v6 {
		s, r, client, locals = web6, server6(12), client6, "2001:db8:8::fffe-2001:db8:8::1:1"
	}
	s.Locals, s.Proxy, r.Forward = localAddrs(t, locals), proxy, lb.Masq
	return s, r, client
}

// sentFrom is the local end that a client's packet goes on from; not valid if it does not.
func sentFrom(t *testing.T, p *Plane, k lb.ServiceKey, client netip.AddrPort, flags string) netip.AddrPort {
	t.Helper()
	runner{p}.pass(t, k, client, flags) // tells next hops too
	out := make([]byte, 2048)
	verdict, err := p.progs[bpf.LbProgLb].Run(&ebpf.RunOptions{Data: frame(t, k, client, flags), DataOut: out})
	switch {
	case err != nil:
		t.Fatal(err)
	case verdict != xdpTX:
		return netip.AddrPort{}
	case k.Is6():
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(out[22:])), uint16(out[54])<<8|uint16(out[55]))
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(out[26:])), uint16(out[34])<<8|uint16(out[35]))
}

// streamed is what a look for a stream finds; those of the kernel's protocol must find nothing.
func streamed(t *testing.T, p *Plane) (told []connsync.Conn) {
	t.Helper()
	kernels := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
	for cursor := 0; cursor >= 0; {
		next, err := p.Look(cursor, func(now uint32, line int, s connsync.Sight) bool {
			if s.Rewritten && kernels.Look(now, line, s) {
				t.Errorf("told in the kernel's protocol: %+v", s)
			}
			return true
		}, func(c connsync.Conn) { c.Dated = true; told = append(told, c) }, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		cursor = next
	}
	return told
}

// TestALocalEndGoesFromDirectorToDirector: one after the other, each with another secret; told are connections and templates.
func TestALocalEndGoesFromDirectorToDirector(t *testing.T) {
	planes := []*Plane{opened(t, small), opened(t, small), opened(t, small)}
	for name, tc := range map[string]struct{ v6, proxy, sticky bool }{
		"IPv4": {}, "IPv4, persistent": {sticky: true}, "IPv4, PROXY protocol": {proxy: true}, "IPv6": {v6: true}, "IPv6, persistent": {v6: true, sticky: true},
		"IPv6, PROXY protocol": {v6: true, proxy: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, r, client := rewriting(t, tc.v6, tc.proxy)
			want := 1
			if tc.sticky {
				s.Persistence, s.Wild, want = 50*time.Second, lb.WildOf(map[bool]int{false: 32, true: 128}[tc.v6], tc.v6), 2
			}
			for _, p := range planes {
				do(t, emptied(t, p), add(s, r)...)
			}
			first := sentFrom(t, planes[0], s.ServiceKey, client, "S")
			if s.Locals.Index(first.Addr()) < 0 {
				t.Fatalf("from %v", first)
			}
			if tc.proxy {
				answer(t, planes[0], s, r, first)
			}
			sentFrom(t, planes[0], s.ServiceKey, client, "A")
			told := streamed(t, planes[0])
			for _, p := range planes[1:] {
				i := slices.IndexFunc(told, func(c connsync.Conn) bool { return c.Flags&connsync.Template == 0 })
				if len(told) != want || i < 0 || told[i].Local != first || (told[i].Begun.State == connsync.ProxyDue) != tc.proxy || tc.proxy && told[i].Begun.Initial == 0 {
					t.Fatalf("told %+v, want the local end %v", told, first)
				}
				sel := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
				if refused := learn(t, p, sel, told...); len(refused) > 0 {
					t.Fatalf("refused %v", refused)
				}
				if refused := learn(t, p, sel, told...); len(refused) > 0 {
					t.Errorf("again: refused %v", refused)
				}
				if got := sentFrom(t, p, s.ServiceKey, client, "A"); got != first {
					t.Errorf("goes on from %v, want %v", got, first)
				}
				told = streamed(t, p)
			}
		})
	}
}

// answer is the real server's SYN and ACK.
func answer(t *testing.T, p *Plane, s lb.Service, r lb.Real, local netip.AddrPort) {
	t.Helper()
	in := frame(t, lb.ServiceKey{Protocol: lb.TCP, Addr: local}, r.Addr, "SA")
	at := 14 + 20 + 8 // where the acknowledgement number stands
	if s.Is6() {
		at = 14 + 40 + 8
	}
	in[at+3] = 2
	verdict, err := p.progs[bpf.LbProgLb].Run(&ebpf.RunOptions{Data: in, DataOut: make([]byte, 2048)})
	if list, _ := p.Reasons(); err != nil || verdict == xdpPass {
		t.Fatalf("verdict %d, error %v; %v", verdict, err, list)
	}
}

// TestWhatOfFULLNATIsNotTaken: by whom, and why.
func TestWhatOfFULLNATIsNotTaken(t *testing.T) {
	p := opened(t, small)
	s, r, client := rewriting(t, false, false)
	plain := planetest.DNS
	plain.Protocol = lb.TCP
	masq := planetest.Server(13, 1)
	masq.Forward = lb.Masq
	do(t, p, append(add(s, r), add(plain, masq)...)...)
	good := connsync.Conn{Protocol: lb.TCP, Client: client, Virtual: s.Addr, Real: r.Addr, State: lb.Established, Timeout: 900, Dated: true, Local: netip.MustParseAddrPort("10.0.8.26:1024")}
	sel := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
	for name, row := range map[string]struct {
		spoil func(*connsync.Conn)
		want  connsync.Reason
	}{
		"in the kernel's protocol":       {func(c *connsync.Conn) { c.Dated, c.Local = false, netip.AddrPort{} }, connsync.AddressRewrite},
		"its template":                   {func(c *connsync.Conn) { c.Dated, c.Local, c.Flags = false, netip.AddrPort{}, connsync.Template }, connsync.AddressRewrite},
		"by a director without FULLNAT":  {func(c *connsync.Conn) { c.Local = netip.AddrPort{} }, connsync.AddressRewrite},
		"from another range":             {func(c *connsync.Conn) { c.Local = netip.MustParseAddrPort("10.0.8.29:1024") }, connsync.OtherLocal},
		"from the other family":          {func(c *connsync.Conn) { c.Local = netip.MustParseAddrPort("[2001:db8::1]:1024") }, connsync.OtherLocal},
		"from a port of the host's":      {func(c *connsync.Conn) { c.Local = netip.MustParseAddrPort("10.0.8.26:32768") }, connsync.OtherLocal},
		"from a low port":                {func(c *connsync.Conn) { c.Local = netip.MustParseAddrPort("10.0.8.26:1023") }, connsync.OtherLocal},
		"to a server of NAT":             {func(c *connsync.Conn) { c.Virtual, c.Real = plain.Addr, masq.Addr }, connsync.OtherLocal},
		"of a server that there is none": {func(c *connsync.Conn) { c.Real = netip.MustParseAddrPort("10.0.8.99:80") }, connsync.UnknownServer},
	} {
		c := good
		row.spoil(&c)
		if got := learn(t, p, sel, c); len(got) != 1 || got[0] != row.want {
			t.Errorf("%s: %v, want %s", name, got, row.want)
		}
	}
	if used, _ := p.Room(); used != 0 {
		t.Errorf("%d lines", used)
	}
	if refused := learn(t, p, sel, good); len(refused) > 0 {
		t.Fatal(refused)
	}
	other := good
	other.Client, other.Idle = port(40001), time.Minute
	if got := learn(t, p, sel, other); len(got) != 1 || got[0] != connsync.LocalTaken {
		t.Errorf("of an end that another has: %v", got)
	}
	if used, _ := p.Room(); used != 2 {
		t.Errorf("%d lines, want the connection and its way back", used)
	}
	do(t, p, plane.Op{Verb: plane.DelService, Service: s})
}
