package health

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

// TestAGroupSharesItsChecks: one check of a real server, which then leaves every member; each member has its port.
func TestAGroupSharesItsChecks(t *testing.T) {
	web := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	tls := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.10:443")}
	mark := lb.ServiceKey{Mark: 7}
	real := func(addr string, f lb.Forward) Real {
		a := netip.MustParseAddrPort(addr)
		return Real{Real: lb.Real{Addr: a, Forward: f, Weight: 1}, Checkers: []Checker{{Kind: TCPCheck, Target: netip.AddrPortFrom(a.Addr(), 80), Retry: 0}}}
	}
	s := Service{Service: lb.Service{ServiceKey: web, Scheduler: "rr"}, Members: []lb.ServiceKey{web, tls, mark}, Name: "[web]:0",
		Reals: []Real{real("10.0.8.12:80", lb.Route), real("10.0.8.13:8080", lb.Masq), real("10.0.8.14:0", lb.Masq)}}
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	p := New(Config{Services: []Service{s}}, nil)
	p.Start(now)
	want := func(list ...string) {
		t.Helper()
		var have []string
		for _, pool := range p.Want() {
			line := pool.Service.ServiceKey.String()
			for _, r := range pool.Reals {
				line += " " + r.Addr.String()
			}
			have = append(have, line)
		}
		if !slices.Equal(have, list) {
			t.Errorf("have %q\nwant %q", have, list)
		}
	}
	want("[10.0.8.9]:tcp:80 10.0.8.12:80 10.0.8.13:8080 10.0.8.14:80", "[10.0.8.10]:tcp:443 10.0.8.12:443 10.0.8.13:8080 10.0.8.14:443",
		"FWM 7 10.0.8.12:0 10.0.8.13:8080 10.0.8.14:0")
	probes := 0
	p.Tick(now.Add(time.Hour))
	for _, e := range p.Take() {
		if probe, ok := e.(Probe); ok {
			probes++
			if probe.Checker.Target.Addr().String() == "10.0.8.12" {
				p.Observe(now.Add(time.Hour), probe.ID, Result{Why: "connection refused"})
			}
		}
	}
	if probes != 3 {
		t.Errorf("%d checks, want one of each real server", probes)
	}
	want("[10.0.8.9]:tcp:80 10.0.8.13:8080 10.0.8.14:80", "[10.0.8.10]:tcp:443 10.0.8.13:8080 10.0.8.14:443", "FWM 7 10.0.8.13:8080 10.0.8.14:0")
	status := p.Status()
	if len(status) != 3 || status[1].Service.ServiceKey != tls || status[1].Reals[0].Real.Addr.String() != "10.0.8.12:443" || status[0].Reals[0].Healthy {
		t.Errorf("status %+v", status)
	}
	// What the process before left is told by a member's own ports.
	again := New(Config{Services: []Service{s}}, nil)
	again.Adopt(p.Want())
	again.Start(now)
	p = again
	want("[10.0.8.9]:tcp:80 10.0.8.13:8080 10.0.8.14:80", "[10.0.8.10]:tcp:443 10.0.8.13:8080 10.0.8.14:443", "FWM 7 10.0.8.13:8080 10.0.8.14:0")
}

func TestEachMemberAlone(t *testing.T) {
	web := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	tls := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:443")}
	r := lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:0"), Forward: lb.Route, Weight: 1}
	s := Service{Service: lb.Service{ServiceKey: web}, Members: []lb.ServiceKey{web, tls}, Name: "[web]:0", Reals: []Real{{Real: r}}, Sorry: &r}
	all := s.Each()
	if len(all) != 2 || all[1].ServiceKey != tls || all[1].Reals[0].Addr.Port() != 443 || all[1].Sorry.Addr.Port() != 443 || all[1].Members != nil || s.Reals[0].Addr.Port() != 0 {
		t.Errorf("%+v", all)
	}
	s.Members = nil
	if all = s.Each(); len(all) != 1 || all[0].Reals[0].Addr.Port() != 0 {
		t.Errorf("no group: %+v", all)
	}
}
