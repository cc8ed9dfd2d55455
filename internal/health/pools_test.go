package health

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

var (
	vip  = netip.MustParseAddrPort("10.0.8.9:80")
	rip1 = netip.MustParseAddrPort("10.0.8.12:80")
	rip2 = netip.MustParseAddrPort("10.0.8.13:80")
)

func oneService(s Service, reals ...Real) Config {
	s.ServiceKey = lb.ServiceKey{Protocol: lb.TCP, Addr: vip}
	s.Reals = reals
	return Config{Services: []Service{s}}
}

func checked(a netip.AddrPort, c Checker) Real {
	c.Kind = TCPCheck
	return Real{Real: lb.Real{Addr: a, Weight: 1}, Checkers: []Checker{c}}
}

func at(d time.Duration) time.Time { return epoch.Add(d) }

// probes takes the effects and returns the probes among them.
func probes(p *Pools) []Probe {
	var out []Probe
	for _, e := range p.Take() {
		if probe, ok := e.(Probe); ok {
			out = append(out, probe)
		}
	}
	return out
}

func TestTheFirstRunIsOneSecondAndARandomPartOfTheWarmupAfterTheStart(t *testing.T) {
	for _, c := range []struct {
		name    string
		service time.Duration // delay_loop of the service
		checker Checker
		limit   time.Duration // what the random part may be at most
	}{
		{"no warm-up: one second exactly", 6 * time.Second, Checker{}, 0},
		{"an own warm-up", 6 * time.Second, Checker{Warmup: 2500 * time.Millisecond}, 2500 * time.Millisecond},
		{"a negative warm-up is the delay_loop of the service", 6 * time.Second, Checker{Warmup: -1}, 6 * time.Second},
		{"a negative warm-up is the delay_loop of the checker", 6 * time.Second, Checker{Warmup: -1, DelayLoop: 9 * time.Second}, 9 * time.Second},
		{"nothing given: 60 s", 0, Checker{Warmup: -1}, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked time.Duration
			p := New(oneService(Service{DelayLoop: c.service}, checked(rip1, c.checker)),
				func(limit time.Duration) time.Duration { asked = limit; return limit / 4 })
			p.Start(epoch)
			if asked != c.limit {
				t.Errorf("random part of up to %v, want %v", asked, c.limit)
			}
			if want := at(time.Second + c.limit/4); !p.Next().Equal(want) {
				t.Errorf("first run at %v, want %v", p.Next().Sub(epoch), want.Sub(epoch))
			}
		})
	}
}

// TestJitterVariesTheTimeBetweenChecks either way by as many percent of it, and no retry.
func TestJitterVariesTheTimeBetweenChecks(t *testing.T) {
	const loop, again = 10 * time.Second, 3 * time.Second
	for _, c := range []struct {
		name   string
		jitter int
		part   int64 // of what the random part may be, in percent
		result Result
		next   time.Duration
	}{
		{"none", 0, 100, Result{OK: true}, loop},
		{"the earliest", 20, 0, Result{OK: true}, 8 * time.Second},
		{"the middle", 20, 50, Result{OK: true}, loop},
		{"the latest", 20, 100, Result{OK: true}, 12 * time.Second},
		{"a retry", 20, 100, Result{Why: "refused"}, again},
		{"one that could not be made", 20, 0, Result{Inconclusive: true}, 8 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(oneService(Service{}, checked(rip1, Checker{Jitter: c.jitter, DelayLoop: loop, DelayBeforeRetry: again, Retry: 3})),
				func(limit time.Duration) time.Duration { return limit * time.Duration(c.part) / 100 })
			p.Start(epoch)
			now := p.Next()
			p.Tick(now)
			p.Observe(now, probes(p)[0].ID, Result{OK: true}) // up from now on: what is down is not retried
			now = p.Next()
			p.Tick(now)
			p.Observe(now, probes(p)[0].ID, c.result)
			if got := p.Next().Sub(now); got != c.next {
				t.Errorf("next after %v, want %v", got, c.next)
			}
		})
	}
}

func TestNextCheckIsCountedFromTheEndOfTheLastToTheMillisecond(t *testing.T) {
	cfg := Checker{Retry: 2, DelayLoop: 6 * time.Second, DelayBeforeRetry: 1500 * time.Millisecond}
	p := New(oneService(Service{}, checked(rip1, cfg)), nil)
	p.Start(epoch)
	now := at(time.Second)
	for i, step := range []struct {
		ok   bool
		took time.Duration
		wait time.Duration
	}{
		{true, 7 * time.Millisecond, 6 * time.Second},
		{false, time.Millisecond, 1500 * time.Millisecond},
		{false, 3 * time.Second, 1500 * time.Millisecond},
		{false, 0, 6 * time.Second},                        // the third failure takes it down
		{false, 11 * time.Millisecond, 6 * time.Second},    // down: no retries, only the loop
		{true, 250 * time.Millisecond, 6 * time.Second},    // up at once
		{false, time.Millisecond, 1500 * time.Millisecond}, // and retries begin anew
		{true, time.Millisecond, 6 * time.Second},          // a success in between forgives
		{false, time.Millisecond, 1500 * time.Millisecond},
	} {
		if !p.Next().Equal(now) {
			t.Fatalf("step %d: due at %v, want %v", i, p.Next().Sub(epoch), now.Sub(epoch))
		}
		p.Tick(now.Add(-time.Millisecond))
		if got := probes(p); i > 0 && len(got) != 0 {
			t.Fatalf("step %d: a probe one millisecond early", i)
		}
		p.Tick(now)
		got := probes(p)
		if len(got) != 1 {
			t.Fatalf("step %d: %d probes, want 1", i, len(got))
		}
		if next := p.Next(); !next.IsZero() {
			t.Fatalf("step %d: while its check is under way something is due at %v", i, next)
		}
		now = now.Add(step.took)
		p.Observe(now, got[0].ID, Result{OK: step.ok, Took: step.took})
		p.Take()
		now = now.Add(step.wait)
	}
}

func TestResultsThatNobodyWaitsForAreIgnored(t *testing.T) {
	p := New(oneService(Service{}, checked(rip1, Checker{})), nil)
	p.Start(epoch)
	p.Tick(at(time.Second))
	id := probes(p)[0].ID
	p.Observe(at(time.Second), id, Result{OK: true})
	p.Take()
	due := p.Next()
	p.Observe(at(2*time.Second), id, Result{Why: "a second answer"})
	p.Observe(at(2*time.Second), id+1, Result{Why: "an unknown check"})
	p.Observe(at(2*time.Second), 0, Result{Why: "no check"})
	if e := p.Take(); len(e) != 0 || !p.Next().Equal(due) {
		t.Errorf("effects %v, due %v; want none and %v", e, p.Next(), due)
	}
}

func TestACheckUnderWayAtAReloadCountsForWhatStaysAndIsIgnoredForWhatGoes(t *testing.T) {
	cfg := oneService(Service{}, checked(rip1, Checker{}), checked(rip2, Checker{}))
	p := New(cfg, nil)
	p.Start(epoch)
	p.Tick(at(time.Second))
	got := probes(p)
	p.Update(at(2*time.Second), oneService(Service{}, checked(rip2, Checker{})))
	p.Tick(at(2 * time.Hour))
	if again := probes(p); len(again) != 0 {
		t.Fatalf("a second check of a checker whose first is under way: %v", again)
	}
	for _, probe := range got {
		p.Observe(at(3*time.Second), probe.ID, Result{Why: "connection refused"})
	}
	want := []Effect{RealDown{cfg.Services[0].ServiceKey, rip2, "TCP_CHECK 10.0.8.13:80: connection refused"}}
	var downs []Effect
	for _, e := range p.Take() {
		if down, ok := e.(RealDown); ok {
			downs = append(downs, down)
		}
	}
	if !slices.Equal(downs, want) {
		t.Errorf("down: %v, want %v", downs, want)
	}
}

func TestASorryServerThatIsARealServerIsListedOnce(t *testing.T) {
	sorry := lb.Real{Addr: rip1, Weight: 7}
	cfg := oneService(Service{Sorry: &sorry, Quorum: 2}, checked(rip1, Checker{}), checked(rip2, Checker{}))
	for i := range cfg.Services[0].Reals {
		cfg.Services[0].Reals[i].InhibitOnFailure = true
	}
	p := New(cfg, nil)
	p.Start(epoch)
	p.Tick(at(time.Second))
	p.Observe(at(time.Second), probes(p)[1].ID, Result{Why: "connection refused"})
	want := []lb.Real{{Addr: rip2, Weight: 0}, {Addr: rip1, Weight: 7}}
	if got := p.Want()[0].Reals; !slices.Equal(got, want) {
		t.Errorf("pool %v, want %v", got, want)
	}
}

func TestDoublesInTheConfigurationAreIgnored(t *testing.T) {
	cfg := oneService(Service{}, checked(rip1, Checker{}), checked(rip1, Checker{}))
	cfg.Services = append(cfg.Services, cfg.Services[0])
	p := New(cfg, nil)
	p.Start(epoch)
	if w := p.Want(); len(w) != 1 || len(w[0].Reals) != 1 {
		t.Errorf("want one service with one real server, have %v", w)
	}
	p.Tick(at(time.Second))
	if got := probes(p); len(got) != 1 {
		t.Errorf("%d probes, want 1", len(got))
	}
}

func TestAfterStopNothingIsWantedOrDue(t *testing.T) {
	p := New(oneService(Service{}, checked(rip1, Checker{})), nil)
	p.Start(epoch)
	p.Tick(at(time.Second))
	id := probes(p)[0].ID
	p.Stop(at(2 * time.Second))
	p.Take()
	p.Observe(at(3*time.Second), id, Result{OK: true})
	if e := p.Take(); len(e) != 0 || !p.Next().IsZero() || len(p.Want()) != 0 || len(p.Status()) != 0 {
		t.Errorf("effects %v, next %v, want %v, status %v", e, p.Next(), p.Want(), p.Status())
	}
}

func TestStatusKeepsTheLastResultsOldestFirst(t *testing.T) {
	p := New(oneService(Service{}, checked(rip1, Checker{DelayLoop: time.Second})), nil)
	p.Start(epoch)
	for i := range kept + 3 {
		p.Tick(at(time.Hour * time.Duration(i+1)))
		p.Observe(at(time.Hour*time.Duration(i+1)), probes(p)[0].ID, Result{OK: true, Took: time.Duration(i)})
		p.Take()
	}
	last := p.Status()[0].Reals[0].Checks[0].Last
	if len(last) != kept || last[0].Took != 3 || last[kept-1].Took != kept+2 {
		t.Errorf("last results %v", last)
	}
}
