package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
)

// story tells of one real server which rules speak, the one that decides first.
func story(t *testing.T, p *Pools, i int) string {
	t.Helper()
	e, ok := p.Explain(at(0), siteKey)
	if !ok || len(e.Rulings) != len(e.Reals) {
		t.Fatalf("%v, %d rulings of %d", ok, len(e.Rulings), len(e.Reals))
	}
	var all []string
	for _, r := range e.Rulings[i] {
		all = append(all, string(r.Rule))
	}
	return strings.Join(all, " ")
}

func TestTheRuleThatDecidesComesFirst(t *testing.T) {
	do := func(h Hand) func(*testing.T, *Pools) {
		return func(t *testing.T, p *Pools) {
			if err := p.Hold(epoch, siteKey, rip1, h); err != nil {
				t.Fatal(err)
			}
		}
	}
	fail := func(t *testing.T, p *Pools) {
		p.Tick(at(time.Second))
		for _, probe := range probes(p) {
			if probe.Checker.Target == rip1 {
				p.Observe(at(time.Second), probe.ID, Result{Why: "refused"})
			}
		}
	}
	for _, row := range []struct {
		name, want string
		service    Service
		real       func(*Real)
		steps      []func(*testing.T, *Pools)
	}{
		{"assumed up", "check", Service{}, nil, nil},
		{"no checker", "check", Service{}, func(r *Real) { r.Checkers = nil }, nil},
		{"alpha", "alpha", Service{}, func(r *Real) { r.Checkers[0].Alpha = true }, nil},
		{"failed", "check", Service{}, nil, []func(*testing.T, *Pools){fail}},
		{"failed and inhibited", "check inhibit", Service{}, func(r *Real) { r.InhibitOnFailure = true }, []func(*testing.T, *Pools){fail}},
		{"drained", "operator check", Service{}, nil, []func(*testing.T, *Pools){do(Hand{Do: Drain})}},
		{"weighted", "operator check", Service{}, nil, []func(*testing.T, *Pools){do(Hand{Do: Weigh, Weight: 3})}},
		{"drained and failed", "check operator", Service{}, nil, []func(*testing.T, *Pools){do(Hand{Do: Drain}), fail}},
		{"disabled and failed", "operator check", Service{}, nil, []func(*testing.T, *Pools){do(Hand{Do: Disable}), fail}},
		{"weight 0", "weight check", Service{}, func(r *Real) { r.Weight = 0 }, nil},
		{"a quorum that was never there, with a sorry server", "quorum check", Service{Quorum: 9, Sorry: &lb.Real{Addr: sorryAddr}}, nil, nil},
		{"the same without one", "check", Service{Quorum: 9}, nil, nil},
		{"suspended", "check suspend", Service{HASuspend: true}, nil, nil},
		{"the same, and failed", "check quorum", Service{Quorum: 9}, nil, []func(*testing.T, *Pools){fail}},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b := checked(rip1, Checker{Target: rip1}), checked(rip2, Checker{Target: rip2})
			if row.real != nil {
				row.real(&a)
			}
			p := New(oneService(row.service, a, b), nil)
			p.Start(epoch)
			p.Take()
			for _, step := range row.steps {
				step(t, p)
			}
			if got := story(t, p, 0); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	if _, ok := New(Config{}, nil).Explain(epoch, siteKey); ok {
		t.Error("a service that is not there is explained")
	}
}

// A result is kept with the page that was asked for and what was seen of it.
func TestTheLastResultsAreKeptWithWhatWasSeen(t *testing.T) {
	c := checked(rip1, Checker{})
	c.Checkers[0].Kind, c.Checkers[0].HTTP = HTTPGet, &HTTP{URLs: []URL{{Path: "/a"}, {Path: "/b"}}}
	p := New(oneService(Service{DelayLoop: time.Second}, c), nil)
	p.Start(epoch)
	var urls []int
	for i := range kept + 2 {
		now := at(time.Duration(i+1) * time.Second)
		p.Tick(now)
		probe := probes(p)[0]
		urls = append(urls, probe.Checker.URL)
		p.Observe(now, probe.ID, Result{OK: true, Seen: &Seen{Received: i}})
	}
	last := p.Status()[0].Reals[0].Checks[0].Last
	if len(last) != kept {
		t.Fatalf("%d results are kept, want %d", len(last), kept)
	}
	for i, o := range last {
		if o.Seen.Received != i+2 || o.URL != urls[i+2] {
			t.Errorf("result %d: %+v", i, o)
		}
	}
	if !slices.Contains(urls, 1) {
		t.Error("the second page was never asked for")
	}
}
