package bpf

import "testing"

// picks counts who is picked by the clients of n numbers, which are new, each of whom finds the same counts.
func (s *service) picks(first, n int, counts map[uint32]LbRealCount) map[byte]int {
	s.Helper()
	to := map[byte]int{}
	for i := range n {
		for real, c := range counts {
			s.put(s.RealCounts, int(real), c)
		}
		to[s.picked(first+i, 1)[0]]++
	}
	return to
}

// TestTwosIsTheBetterOfTwoThatAreDrawn: IPVS draws two numbers from 0 to the sum of the weights, both included; each chooses the first
// real server at which the weights so far reach it.
func TestTwosIsTheBetterOfTwoThatAreDrawn(t *testing.T) {
	r := newRig(t, 256)
	for _, row := range []struct {
		name         string
		a, b         int32 // weights; b is walked first
		busyA, busyB uint32
		picks        int // 300 if zero
		least, most  int // of them at a: six deviations around what is to be expected
		noneA, noneB bool
	}{
		// b is drawn by 0 and 1, a by 2: a is picked when both are.
		{name: "a has more to do", a: 1, b: 1, busyA: 5, busyB: 1, least: 1, most: 66},
		// The load is taken by the weight: 5 / 10 is less than 1 / 1. b by 0 and 1 of 12 numbers; picked when both are: 25 of 900.
		{name: "a has more to do by number, but not by weight", a: 10, b: 1, busyA: 5, busyB: 1, picks: 900, least: 840, most: 899},
		// b is drawn by 0 and 1, a by 2 to 4, and the first one stays.
		{name: "equally idle", a: 3, b: 1, least: 129, most: 231},
		{name: "a has weight 0", b: 2, busyB: 9},
		{name: "b has weight 0", a: 2, busyA: 9, least: 300, most: 300},
		{name: "a is overloaded", a: 9, b: 1, busyB: 9, noneA: true},
		{name: "b is overloaded", a: 1, b: 9, busyA: 9, noneB: true, least: 300, most: 300},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.clear()
			s := r.serve(vip, tcpProto, LbSchedulerSCHED_TWOS)
			a, b := s.add(row.a), s.add(row.b)
			overloaded := map[bool]uint32{true: 1}
			n := or(row.picks, 300)
			got := s.picks(0, n, map[uint32]LbRealCount{a: {Active: row.busyA, Overloaded: overloaded[row.noneA]}, b: {Active: row.busyB, Overloaded: overloaded[row.noneB]}})
			if at := got[byte(a)]; at < row.least || at > row.most || at+got[byte(b)] != n {
				t.Errorf("%v of %d picks, want %d to %d at %d", got, n, row.least, row.most, a)
			}
		})
	}
	r.TB = t
}

// TestTwosOfMany looks at every member of the pool, at nobody behind it, and says so when nobody is left.
func TestTwosOfMany(t *testing.T) {
	r := newRig(t, 256)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_TWOS)
	for range 40 {
		s.add(1)
	}
	pool := get[LbPool](r, r.Pools, s.pool)
	r.put(r.Members, pool.First+pool.Count, LbMember{Real: 99, Weight: 5})
	idle := map[uint32]LbRealCount{}
	for i := range uint32(40) {
		idle[i+1] = LbRealCount{}
	}
	got := s.picks(0, 400, idle)
	if got[0] != 0 || got[99] != 0 || len(got) < 35 {
		t.Errorf("400 picks of 40: %v", got)
	}
	if got[1]+got[2] == 0 { // by chance once in 300 million
		t.Error("the last two that are walked are never drawn")
	}
	for i := range uint32(39) {
		s.weigh(i+2, 0) // all but the last that is walked
	}
	if got := s.picks(400, 20, idle); got[1] != 20 {
		t.Errorf("the last alone has a weight: %v", got)
	}
	s.weigh(1, 0)
	if got := s.picks(420, 3, idle); got[0] != 3 {
		t.Errorf("nobody has a weight: %v", got)
	}
}

// TestTwosWaitsForTheSecond: of two that are drawn the better one is met after the walk's first members, and has the connection.
func TestTwosWaitsForTheSecond(t *testing.T) {
	s := newRig(t, 256).serve(vip, tcpProto, LbSchedulerSCHED_TWOS)
	last := s.add(16) // idle; drawn by 16 of 33 numbers
	counts := map[uint32]LbRealCount{last: {}}
	for range 16 {
		counts[s.add(1)] = LbRealCount{Active: 5}
	}
	const picks, least = 600, 370 // 441 are to be expected; were the first drawn to have it, 291
	if got := s.picks(0, picks, counts)[byte(last)]; got < least {
		t.Errorf("%d of %d picks went to the idle one, want %d at least", got, picks, least)
	}
}
