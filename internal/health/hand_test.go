package health

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

var siteKey = lb.ServiceKey{Protocol: lb.TCP, Addr: vip}

// handled is a service of two real servers, weight 4 each, started.
func handled(t *testing.T, s Service) *Pools {
	t.Helper()
	a, b := checked(rip1, Checker{}), checked(rip2, Checker{})
	a.Weight, b.Weight = 4, 4
	p := New(oneService(s, a, b), nil)
	p.Start(epoch)
	p.Take()
	return p
}

// weights are those of the pool as the plane is to have them, in the order of rip1, rip2, sorry; -1: not in it.
func weights(p *Pools) [3]int32 {
	out := [3]int32{-1, -1, -1}
	for _, r := range p.Want()[0].Reals {
		if i := slices.Index([]netip.AddrPort{rip1, rip2, sorryAddr}, r.Addr); i >= 0 {
			out[i] = r.Weight
		}
	}
	return out
}

var sorryAddr = netip.MustParseAddrPort("10.0.8.99:80")

func TestEachVerbOfTheOperatorGivesItsWeightAndReadyTakesItBack(t *testing.T) {
	for _, row := range []struct {
		hand Hand
		want int32
	}{
		{Hand{Do: Drain}, 0}, {Hand{Do: Disable}, -1}, {Hand{Do: Weigh, Weight: 7}, 7}, {Hand{Do: Weigh}, 0},
		{Hand{Do: Weigh, Percent: 50}, 2}, {Hand{Do: Weigh, Percent: 1}, 1}, {Hand{Do: Weigh, Percent: 250}, 10}, {Hand{Do: Weigh, Weight: 65535}, 65535},
	} {
		t.Run(row.hand.String(), func(t *testing.T) {
			p := handled(t, Service{})
			if err := p.Hold(at(time.Second), siteKey, rip1, row.hand); err != nil {
				t.Fatal(err)
			}
			if got := weights(p); got != [3]int32{row.want, 4, -1} {
				t.Errorf("held: %v", got)
			}
			if h := p.Status()[0].Reals[0].Hand; h == nil || *h != row.hand {
				t.Errorf("status has %v", h)
			}
			if err := p.Release(at(2*time.Second), siteKey, rip1); err != nil {
				t.Fatal(err)
			}
			if got := weights(p); got != [3]int32{4, 4, -1} || len(p.Held()) != 0 || p.Status()[0].Reals[0].Hand != nil {
				t.Errorf("released: %v, %v", got, p.Held())
			}
		})
	}
}

func TestTheHandIsRefusedWithAReason(t *testing.T) {
	p := handled(t, Service{})
	other := lb.ServiceKey{Protocol: lb.UDP, Addr: vip}
	for _, row := range []struct {
		err  error
		want error
	}{
		{p.Hold(epoch, other, rip1, Hand{Do: Drain}), ErrNoService}, {p.Hold(epoch, siteKey, sorryAddr, Hand{Do: Drain}), ErrNoReal},
		{p.Release(epoch, siteKey, rip1), ErrNotHeld}, {p.Release(epoch, siteKey, sorryAddr), ErrNoReal},
	} {
		if !errors.Is(row.err, row.want) {
			t.Errorf("%v, want %v", row.err, row.want)
		}
	}
	for _, h := range []Hand{{}, {Do: "ready"}, {Do: Drain, Weight: 1}, {Do: Weigh, Weight: -1}, {Do: Weigh, Weight: 65536}, {Do: Weigh, Percent: 1001}, {Do: Weigh, Weight: 1, Percent: 1}} {
		if err := p.Hold(epoch, siteKey, rip1, h); err == nil || len(p.Held()) != 0 {
			t.Errorf("%+v is taken", h)
		}
	}
}

// What the checks find goes on beneath the hand, and what it holds is as it was when they find it well again.
func TestADrainedServerThatFailsLeavesAndComesBackDrained(t *testing.T) {
	p := handled(t, Service{})
	if err := p.Hold(epoch, siteKey, rip1, Hand{Do: Drain}); err != nil {
		t.Fatal(err)
	}
	p.Take()
	p.Tick(at(time.Second))
	first := probes(p)[0].ID
	p.Observe(at(time.Second), first, Result{Why: "refused"})
	if got := weights(p); got != [3]int32{-1, 4, -1} {
		t.Errorf("failed: %v", got)
	}
	p.Tick(at(2 * time.Minute))
	p.Observe(at(2*time.Minute), first, Result{OK: true})
	if got := weights(p); got != [3]int32{0, 4, -1} {
		t.Errorf("well again: %v", got)
	}
}

// A weight of 0 is nothing towards the quorum, as keepalived counts.
func TestWhoDrainsTheLastServerLosesTheQuorumAndItsConnectionsGoOn(t *testing.T) {
	p := handled(t, Service{Sorry: &lb.Real{Addr: sorryAddr}})
	for _, a := range []netip.AddrPort{rip1, rip2} {
		if err := p.Hold(epoch, siteKey, a, Hand{Do: Drain}); err != nil {
			t.Fatal(err)
		}
	}
	if got, st := weights(p), p.Status()[0]; got != [3]int32{0, 0, 1} || st.QuorumUp || !st.SorryUp {
		t.Errorf("both drained: %v, %+v", got, st)
	}
	if err := p.Hold(epoch, siteKey, rip2, Hand{Do: Disable}); err != nil {
		t.Fatal(err)
	}
	if got := weights(p); got != [3]int32{0, -1, 1} {
		t.Errorf("one disabled: %v", got)
	}
	if err := p.Release(epoch, siteKey, rip2); err != nil {
		t.Fatal(err)
	}
	if got, st := weights(p), p.Status()[0]; got != [3]int32{0, 4, -1} || !st.QuorumUp {
		t.Errorf("one ready: %v, %+v", got, st)
	}
}

func TestTheHandIsKeptOverAReloadAndWaitsForAServerThatWent(t *testing.T) {
	p := handled(t, Service{})
	if err := p.Hold(epoch, siteKey, rip1, Hand{Do: Drain, By: "root"}); err != nil {
		t.Fatal(err)
	}
	b := checked(rip2, Checker{})
	b.Weight = 4
	p.Update(at(time.Second), oneService(Service{}, b))
	if got := p.Held(); len(got) != 1 || !got[0].Waits || got[0].By != "root" {
		t.Fatalf("gone: %+v", got)
	}
	a := checked(rip1, Checker{})
	a.Weight = 9
	p.Update(at(2*time.Second), oneService(Service{}, a, b))
	if got := weights(p); got != [3]int32{0, 4, -1} || p.Held()[0].Waits {
		t.Errorf("back: %v", got)
	}
	p.Update(at(3*time.Second), oneService(Service{}, b))
	if err := p.Release(at(4*time.Second), siteKey, rip1); err != nil || len(p.Held()) != 0 {
		t.Errorf("a hand that waits is not taken back: %v", err)
	}
}

func TestTheHandIsKeptOverARestart(t *testing.T) {
	a, b := checked(rip1, Checker{}), checked(rip2, Checker{})
	p := New(oneService(Service{}, a, b), nil)
	p.Restore([]Held{{Service: siteKey, Real: rip1, Hand: Hand{Do: Drain}}})
	p.Adopt([]lb.Pool{{Service: lb.Service{ServiceKey: siteKey}, Reals: []lb.Real{{Addr: rip1}, {Addr: rip2, Weight: 1}}}})
	p.Start(epoch)
	if got := weights(p); got != [3]int32{0, 1, -1} {
		t.Errorf("got %v", got)
	}
	if st := p.Status()[0].Reals[0]; !st.Healthy {
		t.Errorf("the weight 0 of a drained server is taken for a failure: %+v", st)
	}
}

// A group has one set of real servers for all its members.
func TestAMemberStandsForItsGroup(t *testing.T) {
	tls := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:443")}
	direct := checked(rip1, Checker{})
	direct.Forward = lb.Route
	cfg := oneService(Service{Members: []lb.ServiceKey{siteKey, tls}, Name: "[web]:0"}, direct)
	p := New(cfg, nil)
	p.Start(epoch)
	if err := p.Hold(epoch, tls, netip.MustParseAddrPort("10.0.8.12:443"), Hand{Do: Drain}); err != nil {
		t.Fatal(err)
	}
	for _, pool := range p.Want() {
		if pool.Reals[0].Weight != 0 {
			t.Errorf("%v: %v", pool.Service.ServiceKey, pool.Reals)
		}
	}
	for _, st := range p.Status() {
		if st.Group != "web" || st.Reals[0].Hand == nil {
			t.Errorf("%+v", st)
		}
	}
	cfg.Services[0].Members = []lb.ServiceKey{tls, siteKey}
	cfg.Services[0].ServiceKey = tls
	p.Update(epoch, cfg)
	if err := p.Release(epoch, siteKey, rip1); err != nil || len(p.Held()) != 0 {
		t.Errorf("after the first member has changed: %v", err)
	}
}
