package bpf

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
)

// cached is a place of what is remembered of a destination. Stamp 0: it is free.
type cached struct {
	real, stamp uint32
	stranger    bool // the server had that index before
}

// cache is what is remembered of the virtual address, used and changed so many ticks ago.
func (s *service) cache(set []cached, used, changed uint32) (c LbCache) {
	s.Helper()
	now := s.tick()
	c.Used, c.Changed = now-used, now-changed
	for i, one := range set {
		c.Set[i].Real, c.Set[i].Stamp = one.real, one.stamp
		c.Set[i].Serial = get[LbReal](s.rig, s.Reals, one.real).Serial
		if one.stranger {
			c.Set[i].Serial--
		}
		if one.stamp != 0 {
			c.Count++
		}
		c.Stamp = max(c.Stamp, one.stamp)
	}
	return c
}

func (s *service) cacheKey(destination netip.Addr) LbCacheKey {
	if destination.Is6() {
		return LbCacheKey{Service: s.serial, Addr: addr6(destination)}
	}
	return LbCacheKey{Service: s.serial, Addr: [4]uint32{addr4(destination)}}
}

// TestWhatIsRememberedOfADestination: to whom the next client goes, and what is remembered then.
func TestWhatIsRememberedOfADestination(t *testing.T) {
	const one, set = LbSchedulerSCHED_LBLC, LbSchedulerSCHED_LBLCR
	const forOne, forSet, minutes = 100, 200, 30 * 10 // ticks: each one's expiration, and of both what IPVS's table takes to look
	gone := func(real uint32) func(*service) { return func(s *service) { s.remove(real) } }
	overloaded := func(real uint32) func(*service) { return func(s *service) { s.overload(real, 1) } }
	r := stillRig(t, 4)
	r.advance(10000)
	for _, row := range []struct {
		name      string
		scheduler LbScheduler
		weights   [4]int32 // of 1 to 4; 4 if all are zero. Of equals wlc picks the last
		active    [4]uint32
		inactive  [4]uint32
		prepare   func(*service)
		had       []cached
		used      uint32 // ticks ago
		changed   uint32
		to        byte
		has       []cached // nil: what it had
		anew      bool     // nothing else
	}{
		{name: "lblc: it has more to do than others", scheduler: one, active: [4]uint32{3}, had: []cached{{1, 1, false}}, to: 1},
		{name: "lblc: as much as its weight is not too much", scheduler: one, active: [4]uint32{4}, had: []cached{{1, 1, false}}, to: 1},
		{name: "lblc: too much, and others have less than half", scheduler: one, active: [4]uint32{5}, had: []cached{{1, 1, false}}, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: too much, and others have half", scheduler: one, active: [4]uint32{5, 2, 2, 2}, had: []cached{{1, 1, false}}, to: 1},
		{name: "lblc: the first has less than half", scheduler: one, active: [4]uint32{1, 2, 2, 5}, had: []cached{{4, 1, false}}, to: 1, has: []cached{{1, 1, false}}, anew: true},
		{name: "lblc: too much, and who has nothing is not of the pool", scheduler: one, active: [4]uint32{5, 2, 2, 0}, had: []cached{{1, 1, false}}, to: 1,
			prepare: func(s *service) {
				s.remove(4)
				pool := get[LbPool](s.rig, s.Pools, s.pool)
				s.put(s.Members, pool.First+pool.Count, LbMember{Real: 4, Weight: 4})
			}},
		{name: "lblc: too much, and the others are behind all members", scheduler: one, active: [4]uint32{5}, had: []cached{{1, 1, false}}, to: 1,
			prepare: func(s *service) {
				pool := get[LbPool](s.rig, s.Pools, s.pool)
				pool.First = 1 << 20
				s.put(s.Pools, s.pool, pool)
			}},
		{name: "lblc: its threshold is not looked at", scheduler: one, prepare: overloaded(1), had: []cached{{1, 1, false}}, to: 1},
		{name: "lblc: its weight is 0", scheduler: one, weights: [4]int32{0, 4, 4, 4}, had: []cached{{1, 1, false}}, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: it was removed", scheduler: one, prepare: gone(1), had: []cached{{1, 1, false}}, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: its index is another's", scheduler: one, had: []cached{{1, 1, true}}, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: nothing", scheduler: one, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: still known", scheduler: one, had: []cached{{1, 1, false}}, used: forOne + minutes, to: 1},
		{name: "lblc: too long ago", scheduler: one, had: []cached{{1, 1, false}}, used: forOne + minutes + 1, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "lblc: nobody is left", scheduler: one, weights: [4]int32{-1, -1, -1, -1}, to: 0},

		{name: "the least loaded", scheduler: set, active: [4]uint32{2, 1}, had: []cached{{1, 1, false}, {2, 2, false}}, to: 2},
		{name: "the least loaded stands first", scheduler: set, active: [4]uint32{2, 1}, had: []cached{{2, 1, false}, {1, 2, false}}, to: 2},
		{name: "the least loaded stands last", scheduler: set, active: [4]uint32{3, 1, 2}, had: []cached{{1, 1, false}, {1, 2, true}, {1, 3, true}, {1, 4, true}, {1, 5, true}, {1, 6, true}, {3, 7, false}, {2, 8, false}}, to: 2},
		{name: "the least loaded by its weight", scheduler: set, weights: [4]int32{8, 1, 4, 4}, active: [4]uint32{4, 1}, had: []cached{{1, 1, false}, {2, 2, false}}, to: 1},
		{name: "the least loaded by its weight stands last", scheduler: set, weights: [4]int32{8, 1, 4, 4}, active: [4]uint32{4, 1}, had: []cached{{2, 1, false}, {1, 2, false}}, to: 1},
		{name: "of two that are as loaded the later, which stands last", scheduler: set, active: [4]uint32{1, 1}, had: []cached{{1, 1, false}, {2, 2, false}}, to: 2},
		{name: "of two that are as loaded the later, which stands first", scheduler: set, active: [4]uint32{1, 1}, had: []cached{{1, 2, false}, {2, 1, false}}, to: 1},
		{name: "one of weight 0", scheduler: set, weights: [4]int32{0, 4, 4, 4}, active: [4]uint32{0, 3}, had: []cached{{1, 1, false}, {2, 2, false}}, to: 2},
		{name: "one that is overloaded", scheduler: set, active: [4]uint32{0, 3}, prepare: overloaded(1), had: []cached{{1, 1, false}, {2, 2, false}}, to: 2},
		{name: "one that was removed", scheduler: set, active: [4]uint32{0, 3}, prepare: gone(1), had: []cached{{1, 1, false}, {2, 2, false}}, to: 2},
		{name: "one whose index is another's", scheduler: set, active: [4]uint32{0, 3}, had: []cached{{1, 1, true}, {2, 2, false}}, to: 2},
		{name: "a free place", scheduler: set, active: [4]uint32{0, 3}, had: []cached{{1, 0, false}, {2, 2, false}}, to: 2},
		{name: "nobody is fit", scheduler: set, weights: [4]int32{0, 4, 4, 4}, had: []cached{{1, 1, false}}, to: 4, has: []cached{{1, 1, false}, {4, 2, false}}},
		{name: "too much", scheduler: set, active: [4]uint32{5, 4, 4, 1}, had: []cached{{1, 1, false}}, to: 4, has: []cached{{1, 1, false}, {4, 2, false}}},
		{name: "not too much", scheduler: set, active: [4]uint32{4, 4, 4, 1}, had: []cached{{1, 1, false}}, to: 1},
		{name: "too much, and all others have half", scheduler: set, active: [4]uint32{5, 2, 2, 2}, had: []cached{{1, 1, false}}, to: 1},
		{name: "too much, and it is the least nevertheless", scheduler: set, active: [4]uint32{5}, inactive: [4]uint32{0, 9999, 9999, 9999}, had: []cached{{3, 1, true}, {1, 2, false}}, to: 1},
		{name: "a free place that was the same server's", scheduler: set, active: [4]uint32{5}, had: []cached{{4, 0, false}, {1, 1, false}}, to: 4, has: []cached{{4, 2, false}, {1, 1, false}}},
		{name: "one of the same index was another", scheduler: set, active: [4]uint32{5}, had: []cached{{1, 1, false}, {4, 2, true}}, to: 4, has: []cached{{1, 1, false}, {4, 2, true}, {4, 3, false}}},
		{name: "a full set lets go of the earliest", scheduler: set, active: [4]uint32{5},
			had: []cached{{1, 10, false}, {2, 11, true}, {2, 12, true}, {2, 9, true}, {2, 13, true}, {2, 14, true}, {2, 15, true}, {2, 16, true}}, to: 4,
			has: []cached{{1, 10, false}, {2, 11, true}, {2, 12, true}, {4, 17, false}, {2, 13, true}, {2, 14, true}, {2, 15, true}, {2, 16, true}}},
		{name: "nothing is known", scheduler: set, to: 4, has: []cached{{4, 1, false}}, anew: true},
		{name: "still known", scheduler: set, had: []cached{{1, 1, false}}, used: forSet + minutes, to: 1},
		{name: "too long ago", scheduler: set, had: []cached{{1, 1, false}}, used: forSet + minutes + 1, to: 4, has: []cached{{4, 1, false}}, anew: true},

		{name: "the most loaded is forgotten", scheduler: set, active: [4]uint32{1, 3, 2}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 0, false}, {3, 3, false}}},
		{name: "the most loaded stands last", scheduler: set, active: [4]uint32{1, 2, 3}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 2, false}, {3, 0, false}}},
		{name: "the most loaded stands at the end of a full set", scheduler: set, active: [4]uint32{1, 2, 3}, had: []cached{{1, 1, false}, {2, 2, true}, {2, 3, true}, {2, 4, true}, {2, 5, true}, {2, 6, true}, {2, 7, false}, {3, 8, false}}, changed: forSet + 1, to: 1,
			has: []cached{{1, 1, false}, {2, 2, true}, {2, 3, true}, {2, 4, true}, {2, 5, true}, {2, 6, true}, {2, 7, false}, {3, 0, false}}},
		{name: "the most loaded by its weight", scheduler: set, weights: [4]int32{8, 2, 4, 4}, active: [4]uint32{4, 2}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet + 1, to: 3, has: []cached{{1, 1, false}, {2, 0, false}, {3, 3, false}}},
		{name: "the most loaded by its weight stands first", scheduler: set, weights: [4]int32{2, 8, 4, 4}, active: [4]uint32{2, 4}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet + 1, to: 3, has: []cached{{1, 0, false}, {2, 2, false}, {3, 3, false}}},
		{name: "of two that are as loaded the later is forgotten, which stands last", scheduler: set, active: [4]uint32{1, 1}, had: []cached{{1, 1, false}, {2, 3, false}, {3, 2, false}}, changed: forSet + 1, to: 3, has: []cached{{1, 1, false}, {2, 0, false}, {3, 2, false}}},
		{name: "of two that are as loaded the later is forgotten, which stands first", scheduler: set, active: [4]uint32{1, 1}, had: []cached{{1, 3, false}, {2, 1, false}, {3, 2, false}}, changed: forSet + 1, to: 3, has: []cached{{1, 0, false}, {2, 1, false}, {3, 2, false}}},
		{name: "of two alone that are as loaded the later is forgotten", scheduler: set, active: [4]uint32{1, 1}, had: []cached{{1, 1, false}, {2, 2, false}}, changed: forSet + 1, to: 2, has: []cached{{1, 1, false}, {2, 0, false}}},
		{name: "one that was removed is forgotten", scheduler: set, active: [4]uint32{1, 3}, prepare: gone(2), had: []cached{{1, 1, false}, {2, 2, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 0, false}}},
		{name: "one that is overloaded is forgotten", scheduler: set, active: [4]uint32{1, 3}, prepare: overloaded(2), had: []cached{{1, 1, false}, {2, 2, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 0, false}}},
		{name: "one of weight 0 is not", scheduler: set, weights: [4]int32{4, 0, 4, 4}, active: [4]uint32{1, 3, 2}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 2, false}, {3, 0, false}}},
		{name: "one whose index is another's is not", scheduler: set, active: [4]uint32{1, 3, 2}, had: []cached{{1, 1, false}, {2, 2, true}, {3, 3, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 2, true}, {3, 0, false}}},
		{name: "nor a free place", scheduler: set, active: [4]uint32{1, 3, 2}, had: []cached{{1, 1, false}, {2, 0, false}, {3, 3, false}}, changed: forSet + 1, to: 1, has: []cached{{1, 1, false}, {2, 0, false}, {3, 0, false}}},
		{name: "nobody can be forgotten", scheduler: set, weights: [4]int32{0, 0, 4, 4}, had: []cached{{1, 1, false}, {2, 2, false}}, changed: forSet + 1, to: 4, has: []cached{{1, 1, false}, {2, 2, false}, {4, 3, false}}},
		{name: "nobody is forgotten before", scheduler: set, active: [4]uint32{1, 3, 2}, had: []cached{{1, 1, false}, {2, 2, false}, {3, 3, false}}, changed: forSet, to: 1},
		{name: "one alone is not forgotten", scheduler: set, active: [4]uint32{1}, had: []cached{{1, 1, false}}, changed: forSet + 1, to: 1},
		{name: "lblc forgets nobody", scheduler: one, had: []cached{{1, 1, false}, {2, 2, false}}, changed: forSet + 1, to: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.clear()
			r.tune(func(t *LbTunables) { t.LblcExpiration, t.LblcrExpiration, t.Extend = forOne, forSet, minutes/30 })
			s := r.serve(vip, tcpProto, row.scheduler)
			for i := range row.weights {
				real := s.add(max(0, or(row.weights, [4]int32{4, 4, 4, 4})[i]))
				r.put(r.RealCounts, int(real), LbRealCount{Active: row.active[i], Inactive: row.inactive[i]})
			}
			was := s.cache(row.had, row.used, row.changed)
			if row.prepare != nil {
				row.prepare(s)
			}
			if row.had != nil {
				r.put(r.Caches, s.cacheKey(vip.Addr()), was)
			}
			if got := s.picked(0, 1); got[0] != row.to {
				t.Errorf("went to %d, want %d", got[0], row.to)
			}
			var got LbCache
			err := r.Caches.Lookup(s.cacheKey(vip.Addr()), &got)
			if row.to == 0 {
				if !errors.Is(err, ebpf.ErrKeyNotExist) {
					t.Errorf("remembered: %+v (%v)", got, err)
				}
				return
			}
			want := was
			if row.has != nil {
				want = s.cache(row.has, 0, 0)
			}
			if !row.anew {
				want.Stamp = max(want.Stamp, was.Stamp)
			}
			if want.Used = r.tick(); err != nil || got != want {
				t.Errorf("remembered: %+v (%v), want %+v", got, err, want)
			}
		})
	}
	r.TB = t
}

// TestWhoHasLessThanHalfIsFoundInAnyPool: also behind the first members of many.
func TestWhoHasLessThanHalfIsFoundInAnyPool(t *testing.T) {
	s := stillRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_LBLC)
	for range 40 {
		s.put(s.RealCounts, int(s.add(4)), LbRealCount{Active: 5})
	}
	s.put(s.RealCounts, 2, LbRealCount{})
	s.put(s.Caches, s.cacheKey(vip.Addr()), s.cache([]cached{{40, 1, false}}, 0, 0))
	if got := s.picked(0, 1); got[0] != 2 {
		t.Errorf("went to %d, which has more connections than its weight: 2 has none", got[0])
	}
}

// TestEachDestinationIsRememberedByItself, by its service and whole address.
func TestEachDestinationIsRememberedByItself(t *testing.T) {
	for name, scheduler := range map[string]LbScheduler{"lblc": LbSchedulerSCHED_LBLC, "lblcr": LbSchedulerSCHED_LBLCR} {
		t.Run(name, func(t *testing.T) {
			r := stillRig(t, 4)
			four, six := r.serveMark(4, scheduler, class("10.9.0.0/16")), r.serveMark(6, scheduler, class("::/0"))
			four.add(9)
			six.add(9)
			n := 0
			for _, to := range []string{"10.9.0.1:80", "10.9.1.1:80", "[2001:db8::1]:80", "[2001:db9::1]:80", "[2001:db8:1::1]:80", "[2001:db8::1:0:1]:80", "[2001:db8::2]:80"} {
				s, f := four, frame{from: clientNumber(1), to: at(to)}
				if f.six() {
					s, f.from = six, client6Number(1)
				}
				r.opened(f)
				var c LbCache
				if err := r.Caches.Lookup(s.cacheKey(f.to.Addr()), &c); err != nil || c.Set[0].Real != s.members[0].Real {
					t.Errorf("of %s: %+v (%v)", to, c, err)
				}
				n++
			}
			var key LbCacheKey
			var c LbCache
			for all := r.Caches.Iterate(); all.Next(&key, &c); {
				n--
			}
			if n != 0 {
				t.Errorf("%d destinations more than are remembered", n)
			}
		})
	}
}
