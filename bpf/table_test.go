package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// clientNumber is a client of its own for each n.
func clientNumber(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 50, byte(n >> 8), byte(n)}), 3000)
}

// fill opens connections until the table of one region is full.
func (r *rig) fill() {
	r.Helper()
	for i := range int(LbNumberREGION_LINES) {
		r.opened(frame{from: clientNumber(i)})
	}
}

// liveHead is what region_heads says of a region.
func (r *rig) liveHead(i uint32) uint32 { return get[LbRegionHead](r, r.RegionHeads, i).Live }

func TestFullRegion(t *testing.T) {
	r := newRig(t, 1)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	r.fill()
	r.want(frame{flags: syn, from: clientNumber(64)}, LbReasonDROP_TABLE_FULL)
	r.want(frame{flags: ack, from: clientNumber(64)}, LbReasonPASS_NO_CONNECTION)
	r.want(frame{flags: ack, from: clientNumber(63)}, LbReasonFORWARD_HIT)
	if n := r.counts(real); n != [3]uint32{64, 0, 0} || r.liveHead(0) != 64 {
		t.Errorf("counts %v, head %d", n, r.liveHead(0))
	}
	r.travel(61) // all but the established one are expired: the next takes a line over without waiting for the sweep
	r.opened(frame{from: clientNumber(64)})
	if n := r.counts(real); n != [3]uint32{64, 0, 0} || r.liveHead(0) != 64 {
		t.Errorf("after reuse in place: counts %v, head %d", n, r.liveHead(0))
	}
	r.want(frame{flags: ack, from: clientNumber(63)}, LbReasonFORWARD_HIT)
}

func TestFullRegionOfIPv6(t *testing.T) {
	r := newRig(t, 1)
	real := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	for i := range int(LbNumberREGION_LINES) {
		r.want(frame{flags: syn, from: client6Number(i), to: vip6}, LbReasonFORWARD_NEW)
	}
	for _, row := range []struct {
		client int
		flags  uint8
		why    LbReason
	}{{64, syn, LbReasonDROP_TABLE_FULL}, {64, ack, LbReasonPASS_NO_CONNECTION}, {63, ack, LbReasonFORWARD_HIT}} {
		r.want(frame{flags: row.flags, from: client6Number(row.client), to: vip6}, row.why)
	}
	if n := r.counts(real); n != [3]uint32{64, 0, 0} || r.liveHead(0) != 64 {
		t.Errorf("counts %v, head %d", n, r.liveHead(0))
	}
}

// TestSecondInItsChain: behind another connection a line is found as if it stood alone. When it has expired, or has ended, the
// connection gets it anew.
func TestSecondInItsChain(t *testing.T) {
	others := []struct {
		name  string
		makes func(c *LbConn)
	}{
		{"another port", func(c *LbConn) { c.Cport++ }},
		{"another client", func(c *LbConn) { c.Addr[0]++ }},
		{"another client of its network", func(c *LbConn) { c.Addr[3]++ }},
		{"another service", func(c *LbConn) { c.Vport++ }},
	}
	both(t, func(t *testing.T, v6 bool) {
		in := frame{proto: udpProto, from: client, to: vip, payload: make([]byte, 20)} // as long as the fast road wants it
		if v6 {
			in.from, in.to = client6, vip6
		}
		r := newRig(t, 1)
		for _, other := range others {
			if !v6 && other.name == "another client of its network" {
				continue // there stands something else in a line of IPv4
			}
			t.Run(other.name, func(t *testing.T) {
				r.TB = t
				r.clear()
				r.serve(in.to, udpProto, LbSchedulerSCHED_RR).add(1)
				for _, tags := range [][]uint32{nil, {0x8100_0000}} { // the fast road, and the other
					in.tags = tags
					secondInItsChain(r, in, other.makes)
				}
			})
		}
		r.TB = t
	})
}

func secondInItsChain(r *rig, in frame, other func(*LbConn)) {
	r.Helper()
	r.forgetAll()
	r.sweep()
	r.want(in, LbReasonFORWARD_NEW)
	r.edit(r.conn(), func(c *LbConn) { c.Expires = r.tick() })
	r.want(in, LbReasonFORWARD_NEW)
	region, home := get[LbRegion](r, r.Regions, 0), uint32(0)
	for n := range r.conns() {
		home = n
	}
	second := &region.Line[(home+1)%uint32(LbNumberREGION_LINES)]
	*second = region.Line[home]
	other(&region.Line[home])
	write := func() { r.put(r.Regions, 0, region) }
	read := func() { region = get[LbRegion](r, r.Regions, 0) }
	write()
	r.put(r.RegionHeads, 0, LbRegionHead{Live: 2})
	r.want(in, LbReasonFORWARD_HIT)
	read()
	if second.Packets != 2 || region.Line[home].Packets != 1 {
		r.Errorf("%d packets were counted, and %d in the line before", second.Packets, region.Line[home].Packets)
	}
	generation := second.Life >> 32
	second.Expires = r.tick()
	write()
	r.want(in, LbReasonFORWARD_NEW)
	read()
	if second.Life>>32 != generation+1 || second.Packets != 1 {
		r.Errorf("generation %d after %d, %d packets", second.Life>>32, generation, second.Packets)
	}
	second.Life = second.Life&^0xff | uint64(LbPhasePHASE_DEAD)
	write()
	r.put(r.RegionHeads, 0, LbRegionHead{Live: 1})
	r.want(in, LbReasonFORWARD_NEW)
	read()
	if second.Life>>32 != generation+2 || second.phase() != LbPhasePHASE_LIVE || r.liveHead(0) != 2 {
		r.Errorf("generation %d after %d, phase %d, head %d", second.Life>>32, generation, second.phase(), r.liveHead(0))
	}
}

func TestFullRegionWithTemplate(t *testing.T) {
	r := newRig(t, 1)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	for i := range 63 {
		r.opened(frame{from: clientNumber(i)})
	}
	s.persist = 60
	s.write()
	// The template takes the last line, the connection finds none and lets the template go.
	r.want(frame{flags: syn, from: clientNumber(63)}, LbReasonDROP_TABLE_FULL)
	if c := r.template(); c.Control != 0 || r.counts(real) != [3]uint32{63, 0, 1} {
		t.Errorf("template holds %d, counts %v", c.Control, r.counts(real))
	}
	r.want(frame{flags: syn, from: clientNumber(64)}, LbReasonDROP_TABLE_FULL) // no line even for the template
}

// TestHashesNeedNoTable: their clients go on to the right server when there is no room, SYN or not.
func TestHashesNeedNoTable(t *testing.T) {
	for name, scheduler := range map[string]LbScheduler{"sh": LbSchedulerSCHED_SH, "dh": LbSchedulerSCHED_DH, "mh": LbSchedulerSCHED_MH} {
		t.Run(name, func(t *testing.T) { needsNoTable(t, scheduler, vip, clientNumber) })
		t.Run(name+" of IPv6", func(t *testing.T) { needsNoTable(t, scheduler, vip6, client6Number) })
	}
}

func needsNoTable(t *testing.T, scheduler LbScheduler, to netip.AddrPort, number func(int) netip.AddrPort) {
	r := newRig(t, 1)
	s := r.serve(to, tcpProto, scheduler)
	for range 3 {
		s.add(1)
	}
	for i := range int(LbNumberREGION_LINES) {
		r.opened(frame{from: number(i), to: to})
	}
	for i := 64; i < 96; i++ {
		first := r.want(frame{flags: syn, from: number(i), to: to}, LbReasonFORWARD_STATELESS)
		second := r.want(frame{flags: ack, from: number(i), to: to}, LbReasonFORWARD_STATELESS)
		if first[5] != second[5] {
			t.Errorf("client %d: SYN to %d, ACK to %d", i, first[5], second[5])
		}
	}
	var n LbCounters
	for _, m := range s.members {
		one := r.counters(r.RealCounters, m.Real)
		n.Conns, n.Inpkts = n.Conns+one.Conns, n.Inpkts+one.Inpkts
	}
	if n.Conns != 64 || n.Inpkts != 128 {
		t.Errorf("%+v", n)
	}
	r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
	stateless := r.opened(frame{from: number(70), to: to})
	if want := r.want(frame{flags: ack, from: number(70), to: to}, LbReasonFORWARD_HIT); want[5] != stateless {
		t.Error("with room it is a connection again")
	}
}

// TestHashesPickNobodyWhoIsNotFit, although the table has nobody else.
func TestHashesPickNobodyWhoIsNotFit(t *testing.T) {
	r := newRig(t, 1)
	for name, scheduler := range map[string]LbScheduler{"sh": LbSchedulerSCHED_SH, "dh": LbSchedulerSCHED_DH, "mh": LbSchedulerSCHED_MH} {
		for what, how := range map[string]func(*service, uint32){
			"of weight 0":                         func(s *service, real uint32) { s.weigh(real, 0) },
			"overloaded":                          func(s *service, real uint32) { s.overload(real, 1) },
			"removed, and the table has it still": func(s *service, real uint32) { s.mark(real, LbRealFlagREAL_GONE) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				r.TB = t
				r.clear()
				s := r.serve(vip, tcpProto, scheduler)
				real := s.add(1)
				r.opened(frame{})
				how(s, real)
				r.want(frame{flags: syn, from: port(2)}, LbReasonREPLY_NO_SERVER)
			})
		}
	}
	r.TB = t
}

// TestFallbackFindsTheOneThatIsFit, however many others stand in front of it; and nobody, where there is none.
func TestFallbackFindsTheOneThatIsFit(t *testing.T) {
	r := newRig(t, 4)
	for name, scheduler := range map[string]LbScheduler{"sh": LbSchedulerSCHED_SH, "mh": LbSchedulerSCHED_MH} {
		t.Run(name, func(t *testing.T) {
			r.TB = t
			r.clear()
			s := r.serve(vip, tcpProto, scheduler)
			s.flags |= LbServiceFlagSERVICE_FALLBACK
			var reals []uint32
			for range 8 {
				reals = append(reals, s.add(1))
			}
			for _, real := range reals[1:] {
				s.overload(real, 1)
			}
			for i := range 32 {
				if got := r.opened(frame{from: clientNumber(i)}); got != byte(reals[0]) {
					t.Errorf("client %d went to %d, want %d", i, got, reals[0])
				}
			}
			s.overload(reals[0], 1)
			r.want(frame{flags: syn, from: clientNumber(32)}, LbReasonREPLY_NO_SERVER)
		})
	}
	r.TB = t
}

func TestSourceHashWithoutServerAndWithoutRoom(t *testing.T) {
	r := newRig(t, 1)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_SH)
	real := s.add(1)
	r.fill()
	s.weigh(real, 0)
	r.want(frame{flags: syn, from: clientNumber(64)}, LbReasonREPLY_NO_SERVER)
}

// TestBusy: a lock that is not had in time is a named drop, and nothing stays behind.
func TestBusy(t *testing.T) {
	r := newRig(t, 1)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	r.opened(frame{})
	r.put(r.RegionHeads, 0, LbRegionHead{Lock: 1, Live: 1})
	r.want(frame{flags: syn, from: port(2)}, LbReasonDROP_BUSY)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT) // a connection's packets take no lock
	s.persist = 60
	s.write()
	r.want(frame{flags: syn, from: port(2)}, LbReasonDROP_BUSY)
	r.travel(5000)
	if freed := r.sweep(); freed != 0 {
		t.Error("the sweep worked in a region that was locked")
	}
	r.put(r.RegionHeads, 0, LbRegionHead{Live: 1})
	if freed := r.sweep(); freed != 1 {
		t.Errorf("%d lines freed once it was not", freed)
	}
	pool := get[LbPool](r, r.Pools, s.pool)
	held := pool
	held.Lock = 1
	r.put(r.Pools, s.pool, held)
	r.want(frame{flags: syn, from: port(2)}, LbReasonDROP_BUSY)
	r.put(r.Pools, s.pool, pool)
	r.opened(frame{from: port(2)})
	if n := r.counts(real); n != [3]uint32{1, 0, 1} {
		t.Errorf("counts %v", n)
	}
}

// TestWhoWaitsForAPool: two picks at once wait for each other where the second goes on from the first, and nowhere else.
func TestWhoWaitsForAPool(t *testing.T) {
	r := newRig(t, 4)
	waits := map[LbScheduler]bool{LbSchedulerSCHED_RR: true, LbSchedulerSCHED_WRR: true, LbSchedulerSCHED_LBLCR: true}
	for _, scheduler := range schedulerNumbers {
		if scheduler == LbSchedulerSCHED_NONE {
			continue
		}
		r.clear()
		s := r.serve(vip, tcpProto, scheduler)
		s.add(1)
		pool := get[LbPool](r, r.Pools, s.pool)
		pool.Lock = 1
		r.put(r.Pools, s.pool, pool)
		why := LbReasonFORWARD_NEW
		if waits[scheduler] {
			why = LbReasonDROP_BUSY
		}
		r.want(frame{flags: syn}, why)
		if got := get[LbPool](r, r.Pools, s.pool).Lock; got != 1 {
			t.Errorf("scheduler %d: the lock of another is %d", scheduler, got)
		}
	}
}

// TestExpiredEntryCountsAsAbsent, before any sweep.
func TestExpiredEntryCountsAsAbsent(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	datagrams := r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	r.opened(frame{})
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.travel(899)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.travel(901)
	r.want(frame{flags: ack}, LbReasonPASS_NO_CONNECTION)
	r.opened(frame{})
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	r.travel(301)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	if n := len(r.conns()); n != 2 || r.counts(real) != [3]uint32{1, 0, 0} || r.counts(datagrams) != [3]uint32{0, 1, 0} {
		t.Errorf("%d entries, counts %v %v", n, r.counts(real), r.counts(datagrams))
	}
}

// TestClockWraps: expiry is a signed difference, and holds over the end of the 32 bits.
func TestClockWraps(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	tuning := ipvsTimeouts()
	tuning.Offset = -r.tick() - 10*ticksPerSecond
	r.put(r.Tuning, 0, tuning)
	r.opened(frame{})
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.travel(20)
	if r.sweep() != 0 {
		t.Error("swept")
	}
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
}

// TestSweep frees what is due, settles the counts and cleans the chains.
func TestSweep(t *testing.T) {
	r := newRig(t, 8)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a, b := s.add(1), s.add(1)
	const n = 256
	for i := range n {
		r.opened(frame{from: clientNumber(i)})
		if i%4 == 0 {
			r.want(frame{flags: ack, from: clientNumber(i)}, LbReasonFORWARD_HIT)
		}
	}
	if r.sweep() != 0 {
		t.Error("something was due at once")
	}
	r.travel(61)
	if freed := r.sweep(); freed != n*3/4 {
		t.Errorf("%d freed, want the %d half-open ones", freed, n*3/4)
	}
	if ca, cb := r.counts(a), r.counts(b); ca[0]+cb[0] != n/4 || ca[1]+cb[1] != 0 {
		t.Errorf("counts %v %v", ca, cb)
	}
	r.checkTable()
	for i := 0; i < n; i += 4 {
		r.want(frame{flags: ack, from: clientNumber(i)}, LbReasonFORWARD_HIT)
	}
	r.travel(901)
	r.sweep()
	r.lines(func(n uint32, c LbConn) {
		if c.phase() != LbPhasePHASE_EMPTY {
			t.Errorf("line %d is in phase %d after all is gone", n, c.phase())
		}
	})
}

// checkTable holds what is always true of a table at rest: no connection in two lines, region_heads right, and each
// connection found by a search that ends at the first empty line.
func (r *rig) checkTable() {
	r.Helper()
	seen, live := map[LbConn]uint32{}, make([]uint32, r.regions)
	refs := map[uint32]uint32{}
	for n, c := range r.conns() {
		key := LbConn{Addr: c.Addr, Cport: c.Cport, Vport: c.Vport, Proto: c.Proto, Kind: c.Kind}
		if other, twice := seen[key]; twice && c.toPort() != uint16(LbNumberDEAD_VPORT) {
			r.Errorf("lines %d and %d hold one connection", n, other)
		}
		seen[key] = n
		live[n/uint32(LbNumberREGION_LINES)]++
		if !c.template() && c.Control != 0 {
			refs[c.Control-1]++
		}
	}
	for i, n := range live {
		if h := get[LbRegionHead](r, r.RegionHeads, uint32(i)); h.Live != n || h.Lock != 0 {
			r.Errorf("region %d has %d live lines, its head says %+v", i, n, h)
		}
	}
	for n, c := range r.conns() {
		if c.template() && c.Control != refs[n] {
			r.Errorf("template in line %d controls %d, and says %d", n, refs[n], c.Control)
		}
	}
}

// TestForget ends the connections and templates of one real server, and leaves the others.
func TestForget(t *testing.T) {
	r, _, a, b := persistent(t, tcpProto, 60)
	for i := range 40 {
		r.opened(frame{from: clientNumber(i)})
	}
	if freed := r.order(r.Forget, LbOrder{Real: a}); freed != 40 {
		t.Errorf("%d lines freed, want 20 connections and 20 templates", freed)
	}
	if r.counts(a) != [3]uint32{} || r.counts(b) != [3]uint32{20, 0, 20} {
		t.Errorf("counts %v %v", r.counts(a), r.counts(b))
	}
	r.checkTable()
	if freed := r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)}); freed != 40 {
		t.Errorf("%d lines freed of the rest", freed)
	}
}

// TestForgetLeavesWhatIsNeeded: the template of a connection that could not be ended, and the way back of another real server's.
func TestForgetLeavesWhatIsNeeded(t *testing.T) {
	t.Run("a template", func(t *testing.T) {
		r, _, _, b := persistent(t, tcpProto, 60)
		for i := 0; ; i++ { // until the two lie in different regions
			r.forgetAll()
			if r.opened(frame{from: clientNumber(i)}) != byte(b) {
				continue
			}
			region := map[bool]uint32{}
			for n, c := range r.conns() {
				region[c.template()] = n / uint32(LbNumberREGION_LINES)
			}
			if region[false] == region[true] {
				continue
			}
			r.put(r.RegionHeads, region[false], LbRegionHead{Lock: 1, Live: 1})
			if freed := r.order(r.Forget, LbOrder{Real: b}); freed != 0 || r.template().Control != 1 {
				t.Errorf("%d freed, the template controls %d", freed, r.template().Control)
			}
			r.put(r.RegionHeads, region[false], LbRegionHead{Live: 1})
			if freed := r.order(r.Forget, LbOrder{Real: b}); freed != 2 || r.counts(b) != [3]uint32{} {
				t.Errorf("%d freed, counts %v", freed, r.counts(b))
			}
			r.checkTable()
			return
		}
	})
	t.Run("a way back", func(t *testing.T) {
		r, _, real := fullnat(t, tcpProto, 4, 1)
		local := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW))
		if freed := r.order(r.Forget, LbOrder{Real: real + 1}); freed != 0 || len(r.conns()) != 2 {
			t.Errorf("%d freed, %d lines left", freed, len(r.conns()))
		}
		r.want(replyTo(real, local, syn|ack), LbReasonFORWARD_REPLY)
	})
}

func TestSweepOfAPart(t *testing.T) {
	r := newRig(t, 8)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for i := range 64 {
		r.opened(frame{from: clientNumber(i)})
	}
	r.travel(61)
	freed := uint32(0)
	for i := range uint32(8) {
		n := r.liveHead(i)
		if got := r.order(r.Sweep, LbOrder{First: i, Count: 1}); got != n {
			t.Errorf("region %d: %d freed of %d", i, got, n)
		}
		freed += n
	}
	if freed != 64 {
		t.Errorf("%d in all", freed)
	}
}

// TestTimerSweepsAlone: started once, it frees what is due with nobody's help, and goes on.
func TestTimerSweepsAlone(t *testing.T) {
	r := newRig(t, 64)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for range 2 { // the second start is that of a newer program
		if verdict, _ := r.test(r.StartSweep, make([]byte, 14)); verdict != xdpPass {
			t.Fatalf("start: verdict %d", verdict)
		}
	}
	r.opened(frame{})
	r.travel(61)
	deadline := time.Now().Add(10 * time.Second)
	for r.counts(real) != [3]uint32{} {
		if time.Now().After(deadline) {
			t.Fatalf("still %v after %d turns", r.counts(real), get[LbSweeper](r, r.SweepTimer, 0).Turns)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.checkTable()
}

func TestClockProbe(t *testing.T) {
	r := newRig(t, 4)
	_, one := r.test(r.ClockProbe, make([]byte, 24))
	time.Sleep(50 * time.Millisecond)
	_, two := r.test(r.ClockProbe, make([]byte, 24))
	word := func(b []byte, i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	jiffies, ns := word(two, 0)-word(one, 0), word(two, 1)-word(one, 1)
	if hz := float64(jiffies) / (float64(ns) / 1e9); hz < 50 || hz > 2000 {
		t.Errorf("%d jiffies in %d ns: HZ would be %.0f", jiffies, ns, hz)
	}
}

// TestOrdersNeedTheirFrame: a program that is run with too short a frame does nothing and says so.
func TestOrdersNeedTheirFrame(t *testing.T) {
	r := newRig(t, 4)
	for name, p := range map[string]func() uint32{
		"sweep":  func() uint32 { v, _ := r.test(r.Sweep, make([]byte, 15)); return v },
		"forget": func() uint32 { v, _ := r.test(r.Forget, make([]byte, 15)); return v },
		"defend": func() uint32 { v, _ := r.test(r.Defend, make([]byte, 15)); return v },
		"judge":  func() uint32 { v, _ := r.test(r.Judge, make([]byte, 15)); return v },
		"learn":  func() uint32 { v, _ := r.test(r.Learn, make([]byte, 15)); return v },
		"clock":  func() uint32 { v, _ := r.test(r.ClockProbe, make([]byte, 23)); return v },
	} {
		if v := p(); v != xdpAborted {
			t.Errorf("%s: verdict %d", name, v)
		}
	}
}

// TestChainsOverTheEndOfARegion: with one region nearly full, chains wrap from its last line to its first.
func TestChainsOverTheEndOfARegion(t *testing.T) {
	r := newRig(t, 1)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for round := range 20 {
		for i := range 60 {
			r.opened(frame{from: at(fmt.Sprintf("10.50.%d.%d:%d", round, i, 1000+i))})
		}
		r.checkTable()
		for i := range 60 {
			if i%3 == 0 {
				r.want(frame{flags: ack, from: at(fmt.Sprintf("10.50.%d.%d:%d", round, i, 1000+i))}, LbReasonFORWARD_HIT)
			}
		}
		r.travel(61)
		r.sweep()
		for i := 0; i < 60; i += 3 {
			r.want(frame{flags: rst, from: at(fmt.Sprintf("10.50.%d.%d:%d", round, i, 1000+i))}, LbReasonFORWARD_HIT)
		}
		r.travel(11)
		r.sweep()
		if n := len(r.conns()); n != 0 {
			t.Fatalf("round %d: %d left", round, n)
		}
	}
}
