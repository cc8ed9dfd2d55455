package plane

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vipd/internal/lb"
)

// "each server takes weight consecutive slots (weight 0 and 1 both take one), cyclic from the newest"
func TestSourceHash(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int32
		first   []int
		counts  []int
	}{
		{"no server fills nothing", nil, []int{-1, -1, -1}, nil},
		{"one server has all", []int32{1}, []int{0, 0, 0}, []int{256}},
		{"equal weights alternate", []int32{1, 1}, []int{0, 1, 0, 1}, []int{128, 128}},
		{"weight 0 takes one slot as weight 1 does", []int32{0, 1}, []int{0, 1, 0, 1}, []int{128, 128}},
		{"a weight is a run of slots", []int32{1, 3, 2}, []int{0, 1, 1, 1, 2, 2, 0, 1, 1, 1, 2, 2}, []int{43, 129, 84}},
		{"a great weight leaves nothing to those after it", []int32{2, 1000, 5}, []int{0, 0, 1, 1}, []int{2, 254, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := SourceHash(c.weights)
			if !slices.Equal(table[:len(c.first)], c.first) {
				t.Errorf("begins %v, want %v", table[:len(c.first)], c.first)
			}
			for i, want := range c.counts {
				n := 0
				for _, at := range table {
					if at == i {
						n++
					}
				}
				if n != want {
					t.Errorf("server %d has %d slots, want %d", i, n, want)
				}
			}
		})
	}
}

func TestWRR(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int32
		di, mw  int32
	}{
		{"no server", nil, 1, 0},
		{"all quiesced", []int32{0, 0}, 1, 0},
		{"one server of weight 1", []int32{1}, 1, 1},
		{"one server of weight 3 needs one level", []int32{3}, 3, 1},
		{"common divisor", []int32{4, 0, 6}, 2, 5},
		{"coprime", []int32{3, 2, 1}, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if di, mw := WRR(c.weights); di != c.di || mw != c.mw {
				t.Errorf("di %d, mw %d; want %d, %d", di, mw, c.di, c.mw)
			}
		})
	}
}

func TestWRRLevel(t *testing.T) {
	for _, c := range []struct {
		name              string
		cw, di, mw, level int32
	}{
		{"not begun: the top", 0, 2, 5, 5},
		{"above the top: the top", 9, 1, 3, 3},
		{"step 1: stays", 2, 1, 3, 2},
		{"greater step: brought onto the steps", 4, 3, 7, 4},
		{"greater step: down to the step", 5, 3, 7, 4},
		{"nothing to pick: nothing", 4, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if level := WRRLevel(c.cw, c.di, c.mw); level != c.level {
				t.Errorf("level %d, want %d", level, c.level)
			}
		})
	}
}

// "with weights 3,2,1 added in that order the first picks are 13,12,11,11,12,11 (repeat)"
func TestWRRLevelGivesTheFirstPicksOfIPVS(t *testing.T) {
	weights, names, cw := []int32{}, []string{}, int32(0)
	for i, w := range []int32{3, 2, 1} {
		weights = slices.Insert(weights, 0, w)
		names = slices.Insert(names, 0, []string{"11", "12", "13"}[i])
		di, mw := WRR(weights)
		cw = WRRLevel(cw, di, mw)
	}
	di, mw := WRR(weights)
	var picks []string
	for at := -1; len(picks) < 12; {
		if at++; at == len(weights) {
			if at, cw = -1, cw-di; cw <= 0 {
				cw = mw
			}
			continue
		}
		if weights[at] >= cw {
			picks = append(picks, names[at])
		}
	}
	if got := strings.Join(picks, ","); got != "13,12,11,11,12,11,13,12,11,11,12,11" {
		t.Errorf("picks %s", got)
	}
}

// Over any weights a round of the table of wrr levels picks each server as often as its share says.
func TestWRRLevelsAreExactOverARound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		weights := make([]int32, 1+rnd.IntN(6))
		for i := range weights {
			weights[i] = int32(rnd.IntN(5)) * int32(1+rnd.IntN(4))
		}
		di, mw := WRR(weights)
		picks := make([]int32, len(weights))
		for cw := mw; cw > 0; cw -= di {
			for i, w := range weights {
				if w >= cw {
					picks[i]++
				}
			}
		}
		for i, w := range weights {
			if picks[i] != w/di {
				t.Fatalf("weights %v: picks %v", weights, picks)
			}
		}
	}
}

// 1,000 connections and packets of 100 bytes in each 2 s: the shown rates approach 500/s by a quarter at a time.
func TestEstimatorFollowsTheKernelsRule(t *testing.T) {
	var e Estimator
	e.Start(lb.Counters{Conns: 7})
	total := lb.Counters{Conns: 7}
	want := []uint64{125, 219, 289, 342, 381}
	for i, w := range want {
		total = total.Add(lb.Counters{Conns: 1000, InPkts: 1000, InBytes: 100000})
		e.Fold(total)
		if r := e.Rates(); r.Conns != w || r.InPkts != w || r.OutPkts != 0 {
			t.Errorf("after %d periods %+v, want %d", i+1, r, w)
		}
	}
	for range 60 {
		e.Fold(total)
	}
	if r := e.Rates(); r.Conns != 0 || r.InPkts != 0 {
		t.Errorf("idle for 2 minutes: %+v", r)
	}
}
