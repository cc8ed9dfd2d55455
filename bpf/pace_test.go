package bpf

import "testing"

// TestSloppy: what makes a connection without beginning one, with sloppy_tcp and sloppy_sctp.
func TestSloppy(t *testing.T) {
	r := newRig(t, 4)
	chunk := func(kind byte) []byte { return []byte{kind, 0, 0, 4} }
	for _, row := range []struct {
		name   string
		f      frame
		sloppy bool
		why    LbReason
	}{
		{"ACK", frame{flags: ack}, false, LbReasonPASS_NO_CONNECTION},
		{"sloppy ACK", frame{flags: ack}, true, LbReasonFORWARD_NEW},
		{"sloppy FIN", frame{flags: fin}, true, LbReasonFORWARD_NEW},
		{"sloppy, no flag", frame{}, true, LbReasonFORWARD_NEW},
		{"sloppy RST", frame{flags: rst | ack}, true, LbReasonPASS_NO_CONNECTION},
		{"SYN with RST", frame{flags: syn | rst}, false, LbReasonPASS_NO_CONNECTION},
		{"SYN with ACK", frame{flags: syn | ack}, false, LbReasonFORWARD_NEW},
		{"SCTP DATA", frame{proto: sctpProto, payload: chunk(0)}, false, LbReasonPASS_NO_CONNECTION},
		{"sloppy SCTP DATA", frame{proto: sctpProto, payload: chunk(0)}, true, LbReasonFORWARD_NEW},
		{"SCTP INIT", frame{proto: sctpProto, payload: chunk(1)}, false, LbReasonFORWARD_NEW},
		{"sloppy SCTP ABORT", frame{proto: sctpProto, payload: chunk(6)}, true, LbReasonPASS_NO_CONNECTION},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			r.serve(vip, or(row.f.proto, tcpProto), LbSchedulerSCHED_RR).add(1)
			r.tune(func(t *LbTunables) {
				if row.sloppy {
					t.SloppyTcp, t.SloppySctp = 1, 1
				}
			})
			r.want(row.f, row.why)
		})
	}
}

// TestSloppyOfOneProtocol: sloppy_tcp is not SCTP's.
func TestSloppyOfOneProtocol(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, sctpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(at("10.0.8.9:81"), tcpProto, LbSchedulerSCHED_RR).add(1)
	r.tune(func(t *LbTunables) { t.SloppyTcp = 1 })
	r.want(frame{proto: sctpProto, payload: []byte{0, 0, 0, 4}}, LbReasonPASS_NO_CONNECTION)
	r.tune(func(t *LbTunables) { t.SloppyTcp, t.SloppySctp = 0, 1 })
	r.want(frame{flags: ack, to: at("10.0.8.9:81")}, LbReasonPASS_NO_CONNECTION)
}

// TestPatience: what belongs to no connection is dropped until a tick, and left to the host from it on; what begins one, or has one,
// is not concerned.
func TestPatience(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.want(frame{flags: ack}, LbReasonPASS_NO_CONNECTION)
	r.tune(func(t *LbTunables) { t.Patience = r.tick() + 60*ticksPerSecond })
	r.want(frame{flags: ack}, LbReasonDROP_AWAITED)
	r.want(frame{flags: fin | ack}, LbReasonDROP_AWAITED)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.want(frame{flags: ack, from: port(1), to: at("10.0.8.9:81")}, LbReasonPASS_NOT_SERVICE)
	r.travel(61)
	r.want(frame{flags: ack, from: port(1)}, LbReasonPASS_NO_CONNECTION)
}

// TestDropPacket: ip_vs_todrop: of drop_rate packets that would make a connection one is dropped, the last; no others.
func TestDropPacket(t *testing.T) {
	r := stillRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.tune(func(t *LbTunables) { t.DropRate = 3 })
	for i := range uint16(9) {
		why := LbReasonFORWARD_NEW
		if i%3 == 2 {
			why = LbReasonDROP_DEFENCE
		}
		r.want(frame{flags: syn, from: port(1000 + i)}, why)
		r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
		r.want(frame{flags: ack, from: port(1)}, LbReasonPASS_NO_CONNECTION)
		r.want(frame{flags: syn, to: at("10.0.8.9:81")}, LbReasonPASS_NOT_SERVICE)
	}
}

// flooded is the rig with a service that makes so many entries in a tick.
func (r *rig) flooded(t *testing.T, scheduler LbScheduler, rate uint32) *service {
	t.Helper()
	r.renew(t)
	s := r.serve(vip, tcpProto, scheduler)
	s.add(1)
	s.add(1)
	r.tune(func(t *LbTunables) { t.FloodRate = rate })
	return s
}

// TestFlood: above the rate a hash scheduler's connections begin without an entry, at the server that they would have had; who
// goes on gets one at that server.
func TestFlood(t *testing.T) {
	r := stillRig(t, 4)
	for name, scheduler := range map[string]LbScheduler{"sh": LbSchedulerSCHED_SH, "mh": LbSchedulerSCHED_MH, "dh": LbSchedulerSCHED_DH} {
		t.Run(name, func(t *testing.T) {
			r.flooded(t, scheduler, 0)
			to := map[int]byte{}
			for i := range 20 {
				to[i] = r.opened(frame{from: clientNumber(i)})
			}
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			r.tune(func(t *LbTunables) { t.FloodRate = 5 })
			for i := range 20 {
				why := LbReasonFORWARD_NEW
				if i >= 5 {
					why = LbReasonFORWARD_STATELESS
				}
				if got := r.want(frame{flags: syn, from: clientNumber(i)}, why)[5]; got != to[i] {
					t.Errorf("client %d went to %d, was %d", i, got, to[i])
				}
			}
			if n := len(r.conns()); n != 5 {
				t.Fatalf("%d entries, want 5", n)
			}
			r.travel(1)
			if got := r.want(frame{flags: ack, from: clientNumber(19)}, LbReasonFORWARD_NEW)[5]; got != to[19] {
				t.Errorf("went on at %d, began at %d", got, to[19])
			}
			r.want(frame{flags: ack, from: clientNumber(19)}, LbReasonFORWARD_HIT)
			r.want(frame{flags: rst, from: clientNumber(18)}, LbReasonPASS_NO_CONNECTION)
			r.travel(61)
			r.want(frame{flags: ack, from: clientNumber(18)}, LbReasonPASS_NO_CONNECTION)
		})
	}
}

// TestFloodOfOthers: only what equal packets get an equal answer from can do without entries; and not with NAT or persistence.
func TestFloodOfOthers(t *testing.T) {
	r := stillRig(t, 4)
	many := func() {
		for i := range 10 {
			r.want(frame{flags: syn, from: clientNumber(i)}, LbReasonFORWARD_NEW)
		}
	}
	t.Run("rr", func(t *testing.T) {
		r.flooded(t, LbSchedulerSCHED_RR, 2)
		many()
	})
	t.Run("persistent", func(t *testing.T) {
		s := r.flooded(t, LbSchedulerSCHED_SH, 2)
		s.persist = 60
		s.write()
		many()
		r.want(frame{flags: ack, from: clientNumber(10)}, LbReasonPASS_NO_CONNECTION) // nobody began without an entry
	})
	t.Run("NAT", func(t *testing.T) {
		s := r.flooded(t, LbSchedulerSCHED_SH, 2)
		for _, m := range s.members {
			r.change(m.Real, func(e *LbReal) { e.Forward = 0 })
		}
		many()
	})
}

// TestRateOfAnswers: a second's worth at once, then as many as ticks pass; the path's MTU is always told.
func TestRateOfAnswers(t *testing.T) {
	r := stillRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(0)
	r.tune(func(t *LbTunables) { t.AnswerRate = 2 })
	count := func() (given int) {
		for i := range uint16(30) {
			_, _, why := r.run(frame{flags: syn, from: port(1000 + i)}.bytes())
			switch why {
			case LbReasonREPLY_NO_SERVER:
				given++
			case LbReasonDROP_ANSWER:
			default:
				t.Fatal(why.name())
			}
		}
		return given
	}
	for _, row := range []struct{ ticks, answers int }{{0, 16}, {0, 0}, {3, 6}, {7, 14}, {100, 16}} {
		r.advance(row.ticks)
		if n := count(); n != row.answers {
			t.Errorf("%d answers after %d ticks, want %d", n, row.ticks, row.answers)
		}
	}
	r.tune(func(t *LbTunables) { t.AnswerRate = 0 })
	if n := count(); n != 30 {
		t.Errorf("%d answers without a limit, want 30", n)
	}
	r.tune(func(t *LbTunables) { t.AnswerRate = 1 })
	s.weigh(real, 1)
	r.change(real, func(e *LbReal) { e.Mtu = 100 })
	for i := range uint16(20) {
		r.want(frame{flags: syn, from: port(2000 + i), frag: 0x4000, payload: make([]byte, 200)}, LbReasonREPLY_TOO_BIG)
	}
}

// TestCarryOn: of one service alone, and nothing that ends a connection.
func TestCarryOn(t *testing.T) {
	r := newRig(t, 4)
	for _, row := range []struct {
		flags LbServiceFlag
		f     frame
		why   LbReason
	}{
		{0, frame{flags: ack}, LbReasonPASS_NO_CONNECTION},
		{LbServiceFlagSERVICE_CARRY, frame{flags: ack}, LbReasonFORWARD_NEW},
		{LbServiceFlagSERVICE_CARRY, frame{flags: rst}, LbReasonPASS_NO_CONNECTION},
		{LbServiceFlagSERVICE_CARRY, frame{flags: rst | ack}, LbReasonPASS_NO_CONNECTION},
	} {
		r.renew(t)
		s := r.serve(vip, tcpProto, LbSchedulerSCHED_SH)
		s.add(1)
		s.flags |= row.flags
		s.write()
		r.want(row.f, row.why)
		if row.why == LbReasonFORWARD_NEW {
			if c := r.conn(); c.state() != established {
				t.Errorf("state %d", c.state())
			}
			r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
		}
	}
}
