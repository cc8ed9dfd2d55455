package bpf

import "testing"

// picked sends n new clients and says where they went; 0 for nobody.
func (s *service) picked(first, n int) (to []byte) {
	s.Helper()
	for i := range n {
		_, out, why := s.run(frame{flags: syn, from: clientNumber(first + i)}.bytes())
		switch why {
		case LbReasonFORWARD_NEW:
			to = append(to, out[5])
		case LbReasonREPLY_NO_SERVER:
			to = append(to, 0)
		default:
			s.Fatalf("client %d: %s", first+i, why.name())
		}
	}
	return to
}

// TestWeightedPhaseAfterAllWereOverloaded: where wrr goes on when nobody could be picked. In the walk's last round it stays
// where it was, from any other it starts at the top again.
func TestWeightedPhaseAfterAllWereOverloaded(t *testing.T) {
	r := newRig(t, 4)
	const a, b = 1, 2 // weights 3 and 1; walked b, a. As a was added alone, the level begins at 1: b a, then a, a, b a
	for _, row := range []struct {
		name   string
		before []byte
		after  []byte
	}{
		{"at level 3 it stays the highest", []byte{b, a, a}, []byte{a, b, a, a}},
		{"at level 2 it starts again", []byte{b, a, a, a}, []byte{a, b, a, a}},
		{"at level 1 from within the list it stays", []byte{b, a}, []byte{a, a, b, a}},
		{"at level 1 before the first pick it starts again", nil, []byte{a, a, b, a}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.clear()
			s := r.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
			s.add(3)
			s.add(1)
			if got := s.picked(0, len(row.before)); string(got) != string(row.before) {
				t.Fatalf("before: %v, want %v", got, row.before)
			}
			s.overload(a, 1)
			s.overload(b, 1)
			if got := s.picked(100, 1); got[0] != 0 {
				t.Fatalf("overloaded, and picked: %v", got)
			}
			s.overload(a, 0)
			s.overload(b, 0)
			if got := s.picked(200, 4); string(got) != string(row.after) {
				t.Errorf("after: %v, want %v", got, row.after)
			}
		})
	}
	r.TB = t
}

// TestManyMembers: the walk is as long as the pool, up to its greatest size.
func TestManyMembers(t *testing.T) {
	for name, scheduler := range map[string]LbScheduler{"rr": LbSchedulerSCHED_RR, "wrr": LbSchedulerSCHED_WRR, "wlc": LbSchedulerSCHED_WLC, "fo": LbSchedulerSCHED_FO} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 256)
			s := r.serve(vip, tcpProto, scheduler)
			real := s.add(1)
			s.members = nil
			for range int(LbNumberMAX_POOL) - 1 {
				s.members = append(s.members, LbMember{Real: real + 1})
			}
			s.members = append(s.members, LbMember{Real: real, Weight: 1})
			s.refill()
			for _, to := range s.picked(0, 3) {
				if to != byte(real) {
					t.Errorf("picked %d: the last of %d is the only one with a weight", to, len(s.members))
				}
			}
		})
	}
}

// TestADestinationIsRememberedWhateverCameBetween: the other family's packet, too, which goes through the same memory of the CPU.
func TestADestinationIsRememberedWhateverCameBetween(t *testing.T) {
	for name, scheduler := range map[string]LbScheduler{"lblc": LbSchedulerSCHED_LBLC, "lblcr": LbSchedulerSCHED_LBLCR} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 16)
			s := r.serve(vip, tcpProto, scheduler)
			s.add(4) // as all have a weight of 4 and nobody more connections than that, nobody has too much
			s.add(4)
			r.serve(vip6, tcpProto, scheduler).add(4)
			first := s.picked(0, 1)
			for n := range 3 {
				r.want(frame{flags: syn, from: client6Number(n), to: vip6}, LbReasonFORWARD_NEW)
				if got := s.picked(1+n, 1); got[0] != first[0] {
					t.Errorf("client %d went to %d, the destination's first one to %d", 1+n, got[0], first[0])
				}
			}
		})
	}
}

// TestARenewedConnectionCountsUntilItsSuccessorIsChosen, as IPVS's old entry goes by its timer, a tick later.
func TestARenewedConnectionCountsUntilItsSuccessorIsChosen(t *testing.T) {
	again := func(s *service, client int) LbReason { // its connection has ended, and it comes back with the same port
		for _, flags := range []uint8{ack, rst} {
			s.want(frame{flags: flags, from: clientNumber(client)}, LbReasonFORWARD_HIT)
		}
		_, _, why := s.run(frame{flags: syn, from: clientNumber(client)}.bytes())
		return why
	}
	t.Run("another real server's limit is reached", func(t *testing.T) {
		s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_FO)
		a, b := s.add(4), s.add(2)
		s.limit(a, 3, 3)
		if got := s.picked(0, 3); string(got) != string([]byte{byte(a), byte(a), byte(a)}) {
			t.Fatalf("the first three went to %v", got)
		}
		if why := again(s, 1); why != LbReasonFORWARD_NEW || s.counts(a) != [3]uint32{2, 0, 0} || s.counts(b) != [3]uint32{1, 0, 0} {
			t.Errorf("%s, counts %v and %v", why.name(), s.counts(a), s.counts(b))
		}
		if got := s.picked(3, 1); got[0] != byte(a) {
			t.Errorf("then one went to %v: there is room at the first", got)
		}
	})
	t.Run("both count at the same one", func(t *testing.T) {
		s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_RR)
		a := s.add(1)
		s.limit(a, 3, 1) // it is full until nobody is left
		s.picked(0, 2)
		if why := again(s, 1); why != LbReasonFORWARD_NEW || s.counts(a) != [3]uint32{2, 0, 0} {
			t.Errorf("%s, counts %v", why.name(), s.counts(a))
		}
		if got := s.picked(2, 1); got[0] != 0 {
			t.Errorf("then one went to %v: it was full for a moment", got)
		}
	})
	t.Run("nobody is left for it", func(t *testing.T) {
		s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_RR)
		a := s.add(1)
		s.limit(a, 1, 1)
		s.picked(0, 1)
		if why := again(s, 0); why != LbReasonREPLY_NO_SERVER || s.counts(a) != [3]uint32{} || len(s.conns()) != 0 {
			t.Errorf("%s, counts %v, entries %v", why.name(), s.counts(a), s.conns())
		}
		if got := s.picked(1, 1); got[0] != byte(a) {
			t.Errorf("then one went to %v", got)
		}
	})
}

// TestAnExpiredConnectionCountsForNobody: nor for the real server that has it when the same client and port come again.
func TestAnExpiredConnectionCountsForNobody(t *testing.T) {
	s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_LC)
	s.add(1)
	s.add(1)
	first := s.opened(frame{})
	s.travel(61)
	if got := s.opened(frame{}); got != first {
		t.Errorf("went to %d, and nobody has more than %d", got, first)
	}
}

// TestALimitThatIsTakenAway: its real server takes connections again.
func TestALimitThatIsTakenAway(t *testing.T) {
	s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a := s.add(1)
	s.limit(a, 1, 1)
	s.opened(frame{})
	s.want(frame{flags: syn, from: port(2)}, LbReasonREPLY_NO_SERVER)
	s.limit(a, 0, 0)
	s.opened(frame{from: port(2)})
}

// TestWhatStandsBehindThePoolIsNotPicked: behind a pool's members are those that it had before, or another pool's.
func TestWhatStandsBehindThePoolIsNotPicked(t *testing.T) {
	r := newRig(t, 4)
	for _, scheduler := range []LbScheduler{LbSchedulerSCHED_RR, LbSchedulerSCHED_WRR} {
		r.clear()
		s := r.serve(vip, tcpProto, scheduler)
		a, b := byte(s.add(1)), byte(s.add(1))
		pool := get[LbPool](s.rig, s.Pools, s.pool)
		s.put(s.Members, pool.First+pool.Count, LbMember{Real: uint32(a), Weight: 1})
		if got := s.picked(0, 6); string(got) != string([]byte{b, a, b, a, b, a}) {
			t.Errorf("scheduler %d: %v", scheduler, got)
		}
	}
}

// TestTheLeastIsOfThePool: nor does a walk over all members go on behind them, to one that has less to do and more weight.
func TestTheLeastIsOfThePool(t *testing.T) {
	r := newRig(t, 256)
	for _, scheduler := range []LbScheduler{LbSchedulerSCHED_LC, LbSchedulerSCHED_WLC, LbSchedulerSCHED_SED, LbSchedulerSCHED_NQ, LbSchedulerSCHED_FO, LbSchedulerSCHED_OVF} {
		r.clear()
		s := r.serve(vip, tcpProto, scheduler)
		a, behind := s.add(1), s.add(9)
		s.members = s.members[1:]
		s.refill()
		pool := get[LbPool](r, r.Pools, s.pool)
		r.put(r.Members, pool.First+pool.Count, LbMember{Real: behind, Weight: 9})
		r.put(r.RealCounts, int(a), LbRealCount{Active: 1})
		if got := s.picked(0, 1); got[0] != byte(a) {
			t.Errorf("scheduler %d: %v", scheduler, got)
		}
	}
}

// TestNeverQueueTakesTheFirstIdleOne: whoever stands behind it, in a pool of any size.
func TestNeverQueueTakesTheFirstIdleOne(t *testing.T) {
	s := newRig(t, 256).serve(vip, tcpProto, LbSchedulerSCHED_NQ)
	for range 40 {
		s.add(1)
	}
	if got := s.picked(0, 3); string(got) != string([]byte{40, 39, 38}) {
		t.Errorf("%v", got)
	}
}

// TestHeaviestIsOfThePool: when the heaviest is overloaded the level sinks to the heaviest that is left, whatever stands behind the
// pool.
func TestHeaviestIsOfThePool(t *testing.T) {
	s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	a := s.add(1)
	b := s.add(3)
	pool := get[LbPool](s.rig, s.Pools, s.pool)
	s.put(s.Members, pool.First+pool.Count, LbMember{Real: a, Weight: 9})
	s.overload(b, 1)
	if got := s.picked(0, 3); string(got) != string([]byte{byte(a), byte(a), byte(a)}) {
		t.Errorf("picked %v", got)
	}
}

// TestActiveConnectionCountsMoreThan256Inactive: ip_vs_dest_conn_overhead is 256 × active + active + inactive.
func TestActiveConnectionCountsMoreThan256Inactive(t *testing.T) {
	s := newRig(t, 256).serve(vip, tcpProto, LbSchedulerSCHED_LC)
	a, b := s.add(1), s.add(1)
	for _, row := range []struct{ inactive, want uint32 }{{256, b}, {258, a}} {
		s.put(s.RealCounts, int(a), LbRealCount{Active: 1})
		s.put(s.RealCounts, int(b), LbRealCount{Inactive: row.inactive})
		if got := s.picked(int(row.inactive), 1); uint32(got[0]) != row.want {
			t.Errorf("one active beside %d inactive: %d, want %d", row.inactive, got[0], row.want)
		}
	}
}

// TestWeightedPicksNobodyWithoutWeights: neither of a pool whose members all have weight 0, nor of one that is not filled in.
func TestWeightedPicksNobodyWithoutWeights(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	s.add(0)
	s.add(0)
	if got := s.picked(0, 3); string(got) != string([]byte{0, 0, 0}) {
		t.Errorf("weights 0: %v", got)
	}
	for i, wrong := range []LbPool{{Mw: 1}, {Mw: 1, Di: -1}, {Di: 1}, {Mw: -1, Di: 1}} {
		r.clear()
		s := r.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
		s.add(1)
		pool := get[LbPool](s.rig, s.Pools, s.pool)
		pool.Cw, pool.Mw, pool.Di = 0, wrong.Mw, wrong.Di
		s.put(s.Pools, int(s.pool), pool)
		if got := s.picked(10*i, 1); got[0] != 0 {
			t.Errorf("level of %d by %d: %v", wrong.Mw, wrong.Di, got)
		}
	}
}

// TestADatagramAloneCountsForThresholds: of one-packet scheduling nothing is kept, but a real server that has room for one more is
// overloaded by it until fewer than its lower threshold are left, as in IPVS, where a connection ends with the packet.
func TestADatagramAloneCountsForThresholds(t *testing.T) {
	for _, c := range []struct {
		name         string
		upper, lower uint32
		then         LbReason // what becomes of the second datagram; one connection is there all the time
	}{
		{"without thresholds", 0, 0, LbReasonFORWARD_NEW},
		{"room for two more", 3, 1, LbReasonFORWARD_NEW},
		{"room for one more, and too many are left", 2, 1, LbReasonREPLY_NO_SERVER},
		{"room for one more, and few enough are left", 2, 2, LbReasonFORWARD_NEW},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 4)
			s := r.serve(vip, udpProto, LbSchedulerSCHED_RR)
			a := s.add(1)
			r.want(frame{proto: udpProto, from: clientNumber(0)}, LbReasonFORWARD_NEW)
			s.flags |= LbServiceFlagSERVICE_ONE_PACKET
			s.write()
			s.limit(a, c.upper, c.lower)
			r.want(frame{proto: udpProto, from: clientNumber(1)}, LbReasonFORWARD_NEW)
			r.want(frame{proto: udpProto, from: clientNumber(2)}, c.then)
			if n := r.counts(a); n != [3]uint32{0, 1, 0} {
				t.Errorf("it has %v", n)
			}
		})
	}
}

// TestNobodyIsPickedOfAPoolThatIsNotFilledIn: by no scheduler, whatever is not there.
func TestNobodyIsPickedOfAPoolThatIsNotFilledIn(t *testing.T) {
	const nowhere = 1 << 20
	empty := func(s *service) { s.members = nil; s.refill() }
	beyond := func(s *service) {
		pool := get[LbPool](s.rig, s.Pools, s.pool)
		pool.First, pool.Table = nowhere, nowhere
		s.put(s.Pools, s.pool, pool)
	}
	strangers := func(s *service) { // the members, and the tables, name a real server that cannot be
		pool := get[LbPool](s.rig, s.Pools, s.pool)
		s.put(s.Members, pool.First, LbMember{Real: nowhere, Weight: 1})
		var table LbShTable
		for i := range table.Real {
			table.Real[i] = nowhere
		}
		s.put(s.ShTables, s.pool, table)
		if s.scheduler != LbSchedulerSCHED_MH {
			return
		}
		for i := range uint32(LbNumberMH_LINES) {
			s.put(s.MhLines, pool.Table+i, LbMhLine{Real: [64]uint32(table.Real[:])})
		}
	}
	r := newRig(t, 4)
	for name, scheduler := range schedulerNumbers {
		for _, row := range []struct {
			name string
			how  func(*service)
		}{{"without members", empty}, {"its members are behind all", beyond}, {"its members are none", strangers}} {
			t.Run(name+", "+row.name, func(t *testing.T) {
				r.TB = t
				r.clear()
				s := r.serve(vip, tcpProto, scheduler)
				s.add(1)
				row.how(s)
				r.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
				if n := len(r.conns()); n != 0 {
					t.Errorf("%d entries", n)
				}
			})
		}
	}
	r.TB = t
}

// TestALevelOfNothingPicksNobodyThatIsNotThere: at level 0, which no pool that is filled in has, any weight would do.
func TestALevelOfNothingPicksNobodyThatIsNotThere(t *testing.T) {
	s := newRig(t, 4).serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	s.add(1)
	pool := get[LbPool](s.rig, s.Pools, s.pool)
	pool.First, pool.Cw = 1<<20, 0
	s.put(s.Pools, s.pool, pool)
	s.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
}

// TestOnePacketIsForDatagrams: a service of one-packet scheduling keeps what it has of TCP, as a firewall mark's may.
func TestOnePacketIsForDatagrams(t *testing.T) {
	r := newRig(t, 4)
	s := r.serveMark(4, LbSchedulerSCHED_RR, class("10.0.8.9/32"))
	s.flags |= LbServiceFlagSERVICE_ONE_PACKET
	a := s.add(1)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	if n := len(r.conns()); n != 0 || r.counts(a) != [3]uint32{} {
		t.Errorf("%d entries, counts %v", n, r.counts(a))
	}
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	if n := len(r.conns()); n != 1 || r.counts(a) != [3]uint32{1, 0, 0} {
		t.Errorf("%d entries, counts %v", n, r.counts(a))
	}
}
