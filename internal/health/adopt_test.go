package health

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

// wanted lists the real servers of the only service that are in its pool.
func wanted(p *Pools) []netip.AddrPort {
	var all []netip.AddrPort
	for _, r := range p.Want()[0].Reals {
		all = append(all, r.Addr)
	}
	return all
}

func TestARestartKeepsOutWhoWasOutUntilACheckSucceeds(t *testing.T) {
	cfg := oneService(Service{}, checked(rip1, Checker{}), checked(rip2, Checker{}))
	p := New(cfg, nil)
	p.Adopt([]lb.Pool{{Service: cfg.Services[0].Service, Reals: []lb.Real{{Addr: rip1, Weight: 1}}}})
	p.Start(at(0))
	if got := wanted(p); !slices.Equal(got, []netip.AddrPort{rip1}) {
		t.Fatalf("after the start the pool is %v", got)
	}
	p.Tick(at(time.Hour))
	for _, probe := range probes(p) {
		p.Observe(at(time.Hour), probe.ID, Result{OK: true})
	}
	if got := wanted(p); !slices.Equal(got, []netip.AddrPort{rip1, rip2}) {
		t.Errorf("after good checks the pool is %v", got)
	}
}

func TestARestartTakesInhibitedServersForDownAndNewServicesForUp(t *testing.T) {
	inhibited := checked(rip2, Checker{})
	inhibited.InhibitOnFailure = true
	cfg := oneService(Service{}, checked(rip1, Checker{}), inhibited)
	p := New(cfg, nil)
	p.Adopt([]lb.Pool{{Service: cfg.Services[0].Service, Reals: []lb.Real{{Addr: rip1, Weight: 1}, {Addr: rip2, Weight: 0}}}})
	p.Start(at(0))
	if got := p.Want()[0].Reals; got[0].Weight != 1 || got[1].Weight != 0 {
		t.Errorf("weights are %d and %d, want 1 and 0", got[0].Weight, got[1].Weight)
	}
	for _, have := range [][]lb.Pool{nil, {{Service: cfg.Services[0].Service}}} {
		fresh := New(cfg, nil)
		fresh.Adopt(have)
		fresh.Start(at(0))
		if got := wanted(fresh); len(got) != 2 {
			t.Errorf("with %v before, the pool is %v", have, got)
		}
	}
}

func TestARestartDoesNotDoubtServersThatNobodyChecks(t *testing.T) {
	cfg := oneService(Service{}, Real{Real: lb.Real{Addr: rip1, Weight: 1}}, checked(rip2, Checker{}))
	p := New(cfg, nil)
	p.Adopt([]lb.Pool{{Service: cfg.Services[0].Service, Reals: []lb.Real{{Addr: rip2, Weight: 1}}}})
	p.Start(at(0))
	if got := wanted(p); len(got) != 2 {
		t.Errorf("the pool is %v, want both", got)
	}
}
