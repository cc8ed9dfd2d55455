package health

import (
	"testing"
	"time"
)

// TestWhatCanBeReachedAgainIsCheckedAtOnce, if it had failed; one that is under way while the way comes back decides nothing by failing.
func TestWhatCanBeReachedAgainIsCheckedAtOnce(t *testing.T) {
	const loop = 6 * time.Second
	p := New(oneService(Service{DelayLoop: loop}, checked(rip1, Checker{}), checked(rip2, Checker{})), nil)
	p.Start(epoch)
	ask := func(now time.Duration) []Probe { p.Tick(at(now)); return probes(p) }
	in := func() (n int) {
		for _, r := range p.Want()[0].Reals {
			if r.Weight > 0 {
				n++
			}
		}
		return n
	}
	first := ask(time.Second)
	if len(first) != 2 {
		t.Fatalf("%d checks", len(first))
	}
	p.Observe(at(4*time.Second), first[0].ID, Result{Why: "timeout"})
	if in() != 1 {
		t.Fatalf("%d in the pool", in())
	}
	p.Reached(at(5*time.Second), rip1.Addr())
	p.Reached(at(5*time.Second), rip2.Addr())
	again := ask(5 * time.Second)
	if len(again) != 1 || again[0].ID != first[0].ID {
		t.Fatalf("made at once: %v", again)
	}
	p.Observe(at(5*time.Second), again[0].ID, Result{OK: true})
	p.Observe(at(5100*time.Millisecond), first[1].ID, Result{Why: "timeout"})
	if in() != 2 {
		t.Errorf("%d in the pool", in())
	}
	more := ask(5100 * time.Millisecond)
	if len(more) != 1 || more[0].ID != first[1].ID {
		t.Fatalf("made once more: %v", more)
	}
	p.Observe(at(8*time.Second), more[0].ID, Result{Why: "timeout"})
	if in() != 1 {
		t.Errorf("the second failure counts: %d in the pool", in())
	}
	// What is well is left to its time.
	p.Reached(at(8*time.Second), rip1.Addr())
	if got := ask(8 * time.Second); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
