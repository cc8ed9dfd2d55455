package vrrp

import (
	"slices"
	"testing"
	"time"
)

func TestThePriorityIsTheConfiguredOneWithAllWeights(t *testing.T) {
	for _, c := range []struct {
		base    uint8
		weights []int
		want    uint8
	}{
		{100, nil, 100}, {100, []int{20}, 120}, {100, []int{-20, 5}, 85}, {100, []int{253, 253}, 254}, {100, []int{-253}, 1},
		{100, []int{200, -253}, 47}, // clamped at the end and not in between
		{254, []int{1}, 254}, {1, []int{-1}, 1}, {255, []int{-100}, 255},
	} {
		r := started(prio(c.base))
		for i, w := range c.weights {
			r.Weigh(at(time.Second), string(rune('a'+i)), w)
		}
		if got := r.Status().Priority; got != c.want {
			t.Errorf("%d with %v: %d, want %d", c.base, c.weights, got, c.want)
		}
		for i := range c.weights {
			r.Weigh(at(time.Second), string(rune('a'+i)), 0)
		}
		if s := r.Status(); s.Priority != c.base || len(s.Weights) != 0 {
			t.Errorf("%d after all weights went: %+v", c.base, s)
		}
	}
}

func TestAChangeOfPriorityMovesTheDownTimerAndNothingElse(t *testing.T) {
	r := started()
	taken(r)
	before := r.Next()
	r.Weigh(at(time.Second), "script chk", -20)
	effects := taken(r)
	if got := r.Next().Sub(before); got != 20*time.Second/256 {
		t.Errorf("the down time moved by %s", got)
	}
	if lines := said(effects, false); !slices.Equal(lines, []string{"(VI_1) Changing effective priority from 100 to 80"}) {
		t.Errorf("said %q", lines)
	}
	if got := effects[len(effects)-1]; got != (PriorityChange{"VI_1", 100, 80, Backup}) || len(effects) != 2 {
		t.Errorf("effects %+v", effects)
	}
	r.Weigh(at(time.Second), "script chk", -20)
	if effects := taken(r); effects != nil {
		t.Errorf("the same weight again: %+v", effects)
	}
	if w := r.Status().Weights; !slices.Equal(w, []Weight{{"script chk", -20}}) {
		t.Errorf("weights %+v", w)
	}
}

func TestAMasterAdvertisesItsNewPriorityWhenItsAdvertIsDue(t *testing.T) {
	r := mastered()
	due := r.Next()
	r.Weigh(at(4*time.Second), "script chk", 50)
	if got := doings(taken(r)); got != nil || r.Next() != due {
		t.Fatalf("did %v, next %s", got, r.Next())
	}
	r.Tick(due)
	for _, e := range taken(r) {
		if s, ok := e.(Send); ok {
			if a, _ := Parse(s.Packet); a.Priority != 150 {
				t.Errorf("advertised %d", a.Priority)
			}
		}
	}
	if s := r.Status(); s.MasterPriority != 150 {
		t.Errorf("%+v", s)
	}
}

func TestAReloadKeepsTheWeights(t *testing.T) {
	s := speaker(t, site())
	r := s.Router("VI_1")
	r.Start(epoch, false)
	r.Weigh(epoch, "script chk", -20)
	if _, err := s.Renew(at(time.Second), []Config{site(prio(150))}); err != nil {
		t.Fatal(err)
	}
	if got := r.Status().Priority; got != 130 {
		t.Errorf("priority %d", got)
	}
}
