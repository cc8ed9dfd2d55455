package xdp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// TestDirectorsAgreeHoweverTheirServersCame: in whatever order real servers were added, sh and mh send each client to the same.
func TestDirectorsAgreeHoweverTheirServersCame(t *testing.T) {
	picks := func(order []int, base uint32) string {
		var list []*real
		for _, n := range order {
			list = append(list, &real{index: base + uint32(n), lastWeight: int32(1 + n%3), spec: lb.Real{Weight: int32(1 + n%3),
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(12 + n)}), 80)}})
		}
		list = inAgreedOrder(list)
		table := shTable(list, true)
		for i := range table.Real {
			table.Real[i] -= base
		}
		var hashed []plane.MaglevReal
		for _, r := range list {
			hashed = append(hashed, plane.MaglevReal{Addr: r.spec.Addr, Weight: r.lastWeight})
		}
		return fmt.Sprint(table.Real, plane.Maglev(false, hashed))
	}
	want := picks([]int{0, 1, 2, 3, 4}, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 20 {
		if got := picks(rng.Perm(5), uint32(100*i)); got != want {
			t.Fatal("another order of addition gives another table")
		}
	}
	if picks([]int{0, 1, 2, 3}, 0) == want {
		t.Error("another pool gives the same table")
	}
}

// TestCarryOnIsAdopted: a later process reads it from the table that it finds.
func TestCarryOnIsAdopted(t *testing.T) {
	s := syncService("tcp 10.0.8.9:80", 0)
	s.Scheduler, s.CarryOn = "mh", true
	p := opened(t, small)
	do(t, p, add(s, real12(80, lb.Route))...)
	have, err := p.Read()
	if err != nil || len(have) != 1 || !have[0].Service.CarryOn {
		t.Errorf("%+v, %v", have, err)
	}
	s.Scheduler = "rr"
	if err := p.Apply([]plane.Op{{Verb: plane.EditService, Service: s}}); err == nil {
		t.Error("carry_on with rr was taken")
	}
}
