package bpf

import "testing"

// TestDispensable: ip_vs_random_dropentry: whom drop_entry gives up, and of whom how many.
func TestDispensable(t *testing.T) {
	r := stillRig(t, 4)
	for _, row := range []struct {
		name    string
		proto   uint8
		flags   []uint8 // packets of each client
		idle    int     // seconds
		clients int
		gone    int // of the entries, templates included
	}{
		{"half open", tcpProto, []uint8{syn}, 0, 4, 4},
		{"established, busy", tcpProto, []uint8{syn}, 59, 4, 4},
		{"established of two packets, idle for less than a minute", tcpProto, []uint8{syn, ack}, 59, 4, 0},
		{"established of two packets, idle", tcpProto, []uint8{syn, ack}, 60, 4, 2},
		{"established of three packets, idle", tcpProto, []uint8{syn, ack, ack}, 60, 7, 3},
		{"established of eight packets, idle", tcpProto, []uint8{syn, ack, ack, ack, ack, ack, ack, ack}, 100, 17, 3},
		{"established of nine packets, idle", tcpProto, []uint8{syn, ack, ack, ack, ack, ack, ack, ack, ack}, 100, 17, 0},
		{"ending", tcpProto, []uint8{syn, ack, fin | ack}, 100, 4, 0},
		{"reset", tcpProto, []uint8{syn, ack, rst}, 5, 4, 0},
		{"UDP of one packet, idle", udpProto, []uint8{0}, 60, 4, 4},
		{"UDP of one packet, busy", udpProto, []uint8{0}, 59, 4, 0},
		{"UDP of two packets, idle", udpProto, []uint8{0, 0}, 60, 4, 2},
		{"SCTP that begins", sctpProto, []uint8{1}, 1, 4, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			s := r.serve(vip, row.proto, LbSchedulerSCHED_RR)
			s.add(1)
			for i := range row.clients {
				for _, flags := range row.flags {
					f := frame{proto: row.proto, from: clientNumber(i), flags: flags}
					if row.proto == sctpProto {
						f.payload = []byte{flags, 0, 0, 4}
					}
					r.run(f.bytes())
				}
			}
			before := len(r.conns())
			r.travel(row.idle)
			r.put(r.Paces, 0, make([]LbPace, cpus()))
			if done := r.order(r.Defend, LbOrder{}); int(done) != row.gone || before-len(r.conns()) != row.gone {
				t.Errorf("%d given up, %d of %d gone; want %d", done, before-len(r.conns()), before, row.gone)
			}
		})
	}
}

// TestDispensableTemplates: those that no connection has assured, once they control none.
func TestDispensableTemplates(t *testing.T) {
	r := stillRig(t, 4)
	for _, row := range []struct {
		name  string
		flags []uint8
		left  int
	}{{"assured", []uint8{syn, ack, rst}, 1}, {"not assured", []uint8{syn}, 0}} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
			s.persist = 300
			s.add(1)
			for _, flags := range row.flags {
				r.run(frame{flags: flags}.bytes())
			}
			r.travel(61)
			r.sweep()
			r.order(r.Defend, LbOrder{})
			if n := len(r.conns()); n != row.left {
				t.Errorf("%d left, want %d", n, row.left)
			}
		})
	}
}

// TestNeededLinesAreNotGivenUp: a template that holds a connection, and the way back of one under FULLNAT.
func TestNeededLinesAreNotGivenUp(t *testing.T) {
	keeps := func(r *rig, want int) {
		r.Helper()
		if done := r.order(r.Defend, LbOrder{}); done != 0 || len(r.conns()) != want {
			r.Errorf("%d given up, %d left of %d", done, len(r.conns()), want)
		}
	}
	t.Run("a template", func(t *testing.T) {
		r := stillRig(t, 4)
		s := r.serve(vip, udpProto, LbSchedulerSCHED_RR)
		s.persist = 300
		s.add(1)
		r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
		keeps(r, 2)
		if c := r.template(); c.Control != 1 {
			t.Errorf("it holds %d", c.Control)
		}
	})
	t.Run("a way back", func(t *testing.T) {
		r, _, real := fullnat(t, udpProto, 4, 1)
		local := localOf(t, r.want(frame{proto: udpProto, summed: true}, LbReasonFORWARD_NEW))
		keeps(r, 2)
		reply := replyTo(real, local, 0)
		reply.proto = udpProto
		r.want(reply, LbReasonFORWARD_REPLY)
	})
}
