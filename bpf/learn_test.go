package bpf

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// learn runs the order and returns what it says of each.
func (r *rig) learn(all ...LbLearned) []LbLearned {
	r.Helper()
	in, err := binary.Append(nil, binary.NativeEndian, all)
	if err != nil {
		r.Fatal(err)
	}
	verdict, out := r.test(r.Learn, in)
	if verdict != xdpPass {
		r.Fatalf("verdict %d", verdict)
	}
	if _, err := binary.Decode(out, binary.NativeEndian, all); err != nil {
		r.Fatal(err)
	}
	return all
}

// told is a connection of a client to vip at a real server, as another director has it.
func told(from netip.AddrPort, real uint32, state int, flags LbConnFlag) LbLearned {
	return LbLearned{Addr: [8]uint32{addr4(from.Addr()), addr4(vip.Addr())}, Cport: port2(from.Port()), Vport: port2(vip.Port()), Proto: tcpProto,
		Real: real, Flags: uint16(flags), State: uint8(state), Ticks: 100 * ticksPerSecond, Packets: 3}
}

func TestNothingIsLearnedOfARealServerThatCannotBe(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	if got := r.learn(told(client, 1<<20, established, 0))[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_BUSY) || len(r.conns()) != 0 {
		t.Errorf("%+v, %d lines", got, len(r.conns()))
	}
}

func TestALearnedConnectionIsFollowedAsIfItHadBegunHere(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a := s.add(1)
	s.add(1) // the next to be picked
	got := r.learn(told(client, a, established, LbConnFlagCONN_NOOUTPUT))[0]
	if got.Outcome != uint16(LbLearnOutcomeLEARN_NEW) || got.Generation != uint32(r.conn().Life>>32) || r.conns()[got.Line] != r.conn() {
		t.Errorf("%+v, the line is %+v", got, r.conn())
	}
	c := r.conn()
	if c.flags() != LbConnFlagCONN_SYNC|LbConnFlagCONN_NOOUTPUT || c.state() != established || c.Packets != 3 || c.Control != 0 || r.secondsLeft(c) != 100 {
		t.Errorf("%+v", c)
	}
	if r.counts(a) != [3]uint32{1, 0, 0} || r.counters(r.RealCounters, a).Conns != 0 {
		t.Errorf("counts %v: it is one connection, and it was not made here", r.counts(a))
	}
	if out := r.want(frame{flags: ack}, LbReasonFORWARD_HIT); out[5] != byte(a) {
		t.Errorf("went to %d", out[5])
	}
	if c := r.conn(); r.secondsLeft(c) != 900 || c.Packets != 4 {
		t.Errorf("%+v", c)
	}
	r.want(frame{flags: rst}, LbReasonFORWARD_HIT)
	if r.counts(a) != [3]uint32{0, 1, 0} {
		t.Errorf("counts %v", r.counts(a))
	}
}

func TestWhatIsToldAgainChangesTheSameLine(t *testing.T) {
	r := newRig(t, 4)
	a := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	first := r.learn(told(client, a, established, 0))[0]
	l := told(client, a, timeWait, LbConnFlagCONN_INACTIVE)
	l.Ticks = 0 // as the state has it
	again := r.learn(l)[0]
	if again.Outcome != uint16(LbLearnOutcomeLEARN_AGAIN) || again.Line != first.Line || again.Generation != first.Generation {
		t.Errorf("%+v, then %+v", first, again)
	}
	if c := r.conn(); c.state() != timeWait || c.flags() != LbConnFlagCONN_SYNC|LbConnFlagCONN_INACTIVE || r.secondsLeft(c) != 120 {
		t.Errorf("%+v", c)
	}
	if n := r.counts(a); n != [3]uint32{0, 1, 0} {
		t.Errorf("counts %v", n)
	}
	r.travel(121)
	if freed := r.sweep(); freed != 1 || r.counts(a) != [3]uint32{} {
		t.Errorf("%d freed, counts %v", freed, r.counts(a))
	}
}

func TestAConnectionThatBeganHereStaysOfHereWhenItIsTold(t *testing.T) {
	r := newRig(t, 4)
	a := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.opened(frame{})
	r.learn(told(client, a, established, 0))
	if c := r.conn(); c.flags() != LbConnFlagCONN_NOOUTPUT || c.state() != established || r.counts(a) != [3]uint32{1, 0, 0} {
		t.Errorf("%+v, counts %v", c, r.counts(a))
	}
}

// ip_vs_proc_conn: an active connection to another real server replaces what is here, an inactive one is the end of what has
// been replaced.
func TestAnotherRealServerReplacesUnlessItIsTheEnd(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a, b := s.add(1), s.add(1)
	first := r.learn(told(client, a, established, 0))[0]
	if got := r.learn(told(client, b, timeWait, LbConnFlagCONN_INACTIVE))[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_STALE) {
		t.Errorf("%+v", got)
	}
	if r.counts(a) != [3]uint32{1, 0, 0} || r.counts(b) != [3]uint32{} {
		t.Errorf("counts %v %v", r.counts(a), r.counts(b))
	}
	got := r.learn(told(client, b, established, 0))[0]
	if got.Outcome != uint16(LbLearnOutcomeLEARN_NEW) || got.Generation == first.Generation || r.counts(a) != [3]uint32{} || r.counts(b) != [3]uint32{1, 0, 0} {
		t.Errorf("%+v, counts %v %v", got, r.counts(a), r.counts(b))
	}
}

// toldTemplate is the template of a client.
func toldTemplate(from netip.Addr, real uint32, flags LbConnFlag) LbLearned {
	l := told(netip.AddrPortFrom(from, 0), real, 0, LbConnFlagCONN_TEMPLATE|LbConnFlagCONN_NOOUTPUT|LbConnFlagCONN_INACTIVE|flags)
	l.Kind, l.Packets = uint8(LbConnKindKIND_TEMPLATE), 0
	return l
}

func TestALearnedTemplateKeepsItsClientAtItsServer(t *testing.T) {
	r, _, a, b := persistent(t, tcpProto, 60)
	r.learn(toldTemplate(client.Addr(), a, LbConnFlagCONN_ASSURED))
	if n := r.counts(a); n != [3]uint32{0, 0, 1} || r.template().flags()&LbConnFlagCONN_ASSURED == 0 {
		t.Errorf("counts %v, %+v", n, r.template())
	}
	for i := range uint16(3) {
		if got := r.opened(frame{from: port(1000 + i)}); got != byte(a) {
			t.Errorf("connection %d went to %d", i, got)
		}
	}
	if c := r.template(); c.Control != 3 || r.secondsLeft(c) != 60 {
		t.Errorf("%+v", c)
	}
	// Told again, of another server: the template stays as it is but for its time.
	r.learn(toldTemplate(client.Addr(), b, 0))
	if c := r.template(); c.Real != a || r.secondsLeft(c) != 100 || c.Control != 3 || c.flags()&LbConnFlagCONN_ASSURED != 0 {
		t.Errorf("%+v", c)
	}
	if r.counts(a) != [3]uint32{3, 0, 1} || r.counts(b) != [3]uint32{} {
		t.Errorf("counts %v %v", r.counts(a), r.counts(b))
	}
}

func TestLearnedConnectionsOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	a := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	l := told(client, a, established, 0)
	from, to := addr6(client6.Addr()), addr6(vip6.Addr())
	copy(l.Addr[:4], from[:])
	copy(l.Addr[4:], to[:])
	l.Kind = uint8(LbConnKindKIND_IPV6)
	r.learn(l)
	if out := r.want(frame{from: client6, to: vip6, flags: ack}, LbReasonFORWARD_HIT); out[5] != byte(a) {
		t.Errorf("went to %d", out[5])
	}
	if r.counts(a) != [3]uint32{1, 0, 0} || len(r.conns()) != 1 {
		t.Errorf("counts %v, %d lines", r.counts(a), len(r.conns()))
	}
}

// The frame is some pages long, of which lessons lie across the borders.
func TestAnOrderHoldsAsManyLessonsAsItMay(t *testing.T) {
	r := newRig(t, 64)
	a := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	var batch []LbLearned
	for i := range int(LbNumberLEARN_MOST) {
		batch = append(batch, told(clientNumber(i), a, established, 0))
	}
	for i, l := range r.learn(batch...) {
		if l.Outcome != uint16(LbLearnOutcomeLEARN_NEW) || l.Cport != batch[i].Cport || l.Addr != batch[i].Addr {
			t.Errorf("%d: %+v", i, l)
		}
	}
	if r.counts(a) != [3]uint32{uint32(LbNumberLEARN_MOST), 0, 0} {
		t.Errorf("counts %v", r.counts(a))
	}
}

// A quarter of each region is left to what begins here, whatever a peer says.
func TestLearningLeavesRoom(t *testing.T) {
	r := newRig(t, 1)
	a := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	outcomes := map[LbLearnOutcome]int{}
	var batch []LbLearned
	for i := range 64 {
		batch = append(batch, told(clientNumber(i), a, established, 0))
	}
	for _, l := range r.learn(batch...) {
		outcomes[LbLearnOutcome(l.Outcome)]++
	}
	if outcomes[LbLearnOutcomeLEARN_NEW] != 48 || outcomes[LbLearnOutcomeLEARN_NO_ROOM] != 16 || r.counts(a) != [3]uint32{48, 0, 0} {
		t.Errorf("%v, counts %v", outcomes, r.counts(a))
	}
	for i := range 16 {
		r.opened(frame{from: clientNumber(100 + i)})
	}
	r.want(frame{flags: syn, from: clientNumber(200)}, LbReasonDROP_TABLE_FULL)
	if got := r.learn(told(clientNumber(3), a, timeWait, LbConnFlagCONN_INACTIVE))[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_AGAIN) {
		t.Errorf("what is there can still be told: %+v", got)
	}
	r.forgetAll()
	if n := r.liveHead(0); n != 0 || r.counts(a) != [3]uint32{} {
		t.Errorf("%d live, counts %v", n, r.counts(a))
	}
}

func (r *rig) forgetAll() { r.Helper(); r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)}) }

func TestALearnedConnectionWaitsForNoLock(t *testing.T) {
	r := newRig(t, 1)
	a := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.put(r.RegionHeads, 0, LbRegionHead{Lock: 1})
	if got := r.learn(told(client, a, established, 0))[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_BUSY) || len(r.conns()) != 0 {
		t.Errorf("%+v, %d lines", got, len(r.conns()))
	}
	r.put(r.RegionHeads, 0, LbRegionHead{})
	if got := r.learn(told(client, a, established, 0))[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_NEW) {
		t.Errorf("%+v", got)
	}
}

func TestALearnedConnectionCountsForThresholds(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a := s.add(1)
	s.limit(a, 2, 1)
	for i := range 2 {
		r.learn(told(clientNumber(i), a, established, 0))
	}
	r.want(frame{flags: syn, from: clientNumber(9)}, LbReasonREPLY_NO_SERVER)
}

// What says how long ago it was used gives way to a line that was used later, whichever director that was at.
func TestTheLaterUseOfAConnectionHolds(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a, b := s.add(1), s.add(1)
	r.learn(told(client, a, established, 0))
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT) // used here now: 900 s left
	r.travel(10)
	dated := func(real uint32, state int, flags LbConnFlag, idle uint32) LbLearned {
		l := told(client, real, state, flags)
		l.Idle = idle*ticksPerSecond + 1
		return r.learn(l)[0]
	}
	for _, older := range []LbLearned{dated(a, timeWait, LbConnFlagCONN_INACTIVE, 20), dated(b, established, 0, 12)} {
		if older.Outcome != uint16(LbLearnOutcomeLEARN_STALE) {
			t.Errorf("used 10 s ago here, and longer ago there: %+v", older)
		}
	}
	if c := r.conn(); c.state() != established || c.Real != a {
		t.Errorf("%+v", c)
	}
	if got := dated(a, timeWait, LbConnFlagCONN_INACTIVE, 5); got.Outcome != uint16(LbLearnOutcomeLEARN_AGAIN) || r.conn().state() != timeWait {
		t.Errorf("%+v, %+v", got, r.conn())
	}
	if got := dated(b, established, 0, 0); got.Outcome != uint16(LbLearnOutcomeLEARN_NEW) || r.conn().Real != b {
		t.Errorf("a later connection to another server: %+v, %+v", got, r.conn())
	}
}

func TestTheLaterUseOfATemplateHolds(t *testing.T) {
	r, _, a, _ := persistent(t, tcpProto, 60)
	r.opened(frame{}) // whose server has a template of 60 s now
	if r.template().Real != a {
		a = r.template().Real
	}
	r.travel(5)
	l := toldTemplate(client.Addr(), a, LbConnFlagCONN_ASSURED)
	l.Whole, l.Idle = 60*ticksPerSecond, 30*ticksPerSecond
	if got := r.learn(l)[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_STALE) {
		t.Errorf("%+v", got)
	}
	l.Idle = 2 * ticksPerSecond
	if got := r.learn(l)[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_AGAIN) || r.template().flags()&LbConnFlagCONN_ASSURED == 0 {
		t.Errorf("%+v", got)
	}
}
