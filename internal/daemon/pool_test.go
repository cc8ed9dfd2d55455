package daemon

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

type poolRig struct {
	m      *pool
	plane  *fakePlane
	prober *fakeProber
	log    *journal
	asked  [][]netip.Addr
}

// runPool runs a director's pool half in the bubble and returns how to end it.
func runPool(t *testing.T, cfg health.Config, prepare func(*fakePlane)) (r *poolRig, end func()) {
	t.Helper()
	r = &poolRig{plane: newFakePlane(), prober: &fakeProber{down: map[netip.AddrPort]bool{}}, log: new(journal)}
	if prepare != nil {
		prepare(r.plane)
	}
	r.m = newPool(quiet(t, r.log), cfg, r.plane, r.prober, func(a []netip.Addr) { r.asked = append(r.asked, a) }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.m.run(ctx, &wg)
	r.m.loop.Do(r.m.start)
	return r, func() { cancel(); wg.Wait() }
}

// reals lists who is in the only pool of the plane.
func (r *poolRig) reals(t *testing.T) (all []netip.AddrPort) {
	t.Helper()
	r.m.loop.Do(func(time.Time) {
		have, err := r.plane.Read()
		if err != nil || len(have) == 0 {
			t.Errorf("read: %v, %d services", err, len(have))
			return
		}
		for _, x := range have[0].Reals {
			all = append(all, x.Addr)
		}
	})
	return all
}

func TestADeadServerLeavesThePlaneWithOneOperationAndComesBackWithOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, end := runPool(t, siteHealth(), nil)
		defer end()
		time.Sleep(10 * time.Second)
		r.plane.Applied()
		r.prober.set(real13, true)
		time.Sleep(30 * time.Second)
		if ops := r.plane.Applied(); len(ops) != 1 || ops[0].Verb != plane.DelReal || ops[0].Real.Addr != real13 {
			t.Fatalf("applied %v, want one removal of %v", ops, real13)
		}
		if !r.log.has("Removing service [10.0.8.13]:tcp:80 from VS [10.0.8.9]:tcp:80") {
			t.Error("keepalived's line about it is missing")
		}
		r.prober.set(real13, false)
		time.Sleep(7 * time.Second)
		if ops := r.plane.Applied(); len(ops) != 1 || ops[0].Verb != plane.AddReal {
			t.Fatalf("applied %v, want one addition", ops)
		}
	})
}

func TestARestartTouchesNothingThatIsAsItShouldBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := lb.Pool{Service: siteHealth().Services[0].Service, Reals: []lb.Real{{Addr: real12, Forward: lb.Route, Weight: 2}}}
		r, end := runPool(t, siteHealth(), func(p *fakePlane) {
			if err := p.Apply(plane.Diff(nil, []lb.Pool{want})); err != nil {
				t.Fatal(err)
			}
			p.Applied()
		})
		defer end()
		if ops := r.plane.Applied(); len(ops) != 0 {
			t.Errorf("the start applied %v", ops)
		}
		time.Sleep(10 * time.Second)
		if got := r.reals(t); len(got) != 2 {
			t.Errorf("after good checks the pool is %v", got)
		}
	})
}

func TestAServiceThatThePlaneRefusesDoesNotKeepTheOthersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := siteHealth()
		bad := cfg.Services[0]
		bad.Addr = netip.MustParseAddrPort("10.0.8.8:80")
		cfg.Services = []health.Service{bad, cfg.Services[0]}
		r, end := runPool(t, cfg, func(p *fakePlane) {
			p.Fail(func(op plane.Op) error {
				if op.Service.Addr == bad.Addr {
					return errTest
				}
				return nil
			})
		})
		defer end()
		if got := r.reals(t); len(got) != 2 {
			t.Errorf("the good service has %v", got)
		}
		if !r.log.has("ERROR virtual server [10.0.8.8]:tcp:80: ") || !r.log.has(errTest.Error()) {
			t.Error("the refusal was not said")
		}
	})
}

func TestWhatFailedOnceIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		r, end := runPool(t, siteHealth(), func(p *fakePlane) {
			p.Fail(func(plane.Op) error {
				if failing {
					return plane.ErrFull
				}
				return nil
			})
		})
		defer end()
		if have, _ := r.plane.Read(); len(have) != 0 {
			t.Fatalf("the plane has %v", have)
		}
		r.m.loop.Do(func(time.Time) { failing = false })
		r.m.loop.Do(r.m.sample)
		if got := r.reals(t); len(got) != 2 || !r.log.has("the packet path has it now") {
			t.Errorf("the service has %v", got)
		}
	})
}

func TestNextHopsAreAskedForAndWrittenAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, end := runPool(t, siteHealth(), nil)
		defer end()
		if len(r.asked) == 0 || len(r.asked[0]) != 2 {
			t.Fatalf("asked for %v", r.asked)
		}
		hop := host.Hop{Addr: real12.Addr(), OK: true, Carrier: host.Carrier{Ifindex: 2}, IfName: "eth0", Dst: host.MAC{2, 0, 0, 0, 0, 1}}
		r.m.hop(hop)
		synctest.Wait()
		if r.plane.hops[real12.Addr()].Dst != [6]byte(hop.Dst) {
			t.Fatalf("hops are %v", r.plane.hops)
		}
		r.m.hop(host.Hop{Addr: real12.Addr(), Why: "no neighbour 10.0.8.12 on eth0"})
		synctest.Wait()
		if len(r.plane.hops) != 0 || !r.log.has("next hop of 10.0.8.12 is lost: no neighbour") {
			t.Fatalf("hops are %v", r.plane.hops)
		}
	})
}

func TestTheEndRemovesServicesAndPlaneAndQuestionsAreAnsweredByAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, end := runPool(t, siteHealth(), nil)
		defer end()
		if st, err := r.m.status(); err != nil || len(st.services) != 1 || st.reasons[0].Packets != 7 {
			t.Fatalf("status %+v, %v", st, err)
		}
		r.m.loop.Do(r.m.end)
		if have, _ := r.plane.Read(); len(have) != 0 || !r.plane.removed {
			t.Errorf("left behind: %v", have)
		}
		if _, err := r.m.status(); err == nil {
			t.Error("a plane that is gone was asked")
		}
		r.m.hop(host.Hop{Addr: real12.Addr(), OK: true})
		time.Sleep(5 * time.Second)
		if len(r.plane.hops) != 0 {
			t.Error("a plane that is gone was written to")
		}
	})
}
