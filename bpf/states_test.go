package bpf

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var stateNames = strings.Fields("NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK")

const (
	none = iota
	established
	synSent
	synRecv
	finWait
	timeWait
	closed
)

// tick is the table's clock.
func (r *rig) tick() uint32 {
	r.Helper()
	_, out := r.test(r.ClockProbe, make([]byte, 24))
	return binary.NativeEndian.Uint32(out[16:])
}

// secondsLeft until c may go, to the nearest second.
func (r *rig) secondsLeft(c LbConn) int {
	r.Helper()
	return (int(int32(c.Expires-r.tick())) + ticksPerSecond/2) / ticksPerSecond
}

// TestTCPStates walks the whole tables of IPVS, by who is heard: from every state, every event, the state after it, its
// timeout, and on which count the connection then stands. The service is persistent: a SYN would make a closed connection
// anew otherwise, which TestReuse has.
func TestTCPStates(t *testing.T) {
	segments := map[string][]frame{"SYN": flags(syn, syn|fin, syn|ack), "FIN": flags(fin, fin|ack, fin|psh), "ACK": flags(ack, ack|psh),
		"RST": flags(rst, rst|ack, rst|fin, rst|syn), "none": flags(0, psh)}
	for _, table := range []string{"", "secure_", "sctp_"} {
		x := tableTest{rig: newRig(t, 4), proto: tcpProto, names: stateNames, events: segments}
		x.neighbourhood()
		switch table {
		case "secure_":
			x.tune(func(t *LbTunables) { t.SecureTcp = 3 })
		case "sctp_":
			x.proto, x.names, x.events = sctpProto, sctpStateNames, sctpEvents
		}
		s := x.serve(vip, x.proto, LbSchedulerSCHED_RR)
		s.persist = 60
		x.real = s.add(1)
		x.expectReplies(x.real)
		s.change(x.real, func(e *LbReal) { e.Forward = masq })
		x.play(t, table+"input", 0, false)
		x.play(t, table+"output", 0, true)
		s.change(x.real, func(e *LbReal) { e.Forward = route })
		x.play(t, table+"input_only", LbConnFlagCONN_NOOUTPUT, false)
	}
}

// TestSecureTCPIsInForceFromLevelTwo: a client alone then establishes nothing.
func TestSecureTCPIsInForceFromLevelTwo(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for level, want := range []string{"SYN_RECV", "SYN_RECV", "SYNACK", "SYNACK"} {
		r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
		r.tune(func(t *LbTunables) { t.SecureTcp = uint32(level) })
		r.opened(frame{})
		if got := stateNames[r.conn().state()]; got != want {
			t.Errorf("level %d: %s, want %s", level, got, want)
		}
	}
}

func flags(list ...uint8) (frames []frame) {
	for _, f := range list {
		frames = append(frames, frame{flags: f})
	}
	return frames
}

var sctpStateNames = strings.Fields("NONE INIT1 INIT C-SENT C-REPLIED C-WAIT COOKIE C-ECHOED ESTABLISHED S-SENT S-RECEIVED S-ACK-SENT REJECTED CLOSED")

// chunks is an SCTP packet of chunks of these types (RFC 9260 3.2), each of eight bytes.
func chunks(types ...byte) (f frame) {
	f.proto = sctpProto
	for _, n := range types {
		f.payload = append(f.payload, n, 0, 0, 7, 1, 2, 3, 0) // the length of 7 is padded to 8
	}
	return f
}

// longChunk is a chunk that says this length, with an ABORT four bytes behind its beginning, where none is looked for.
func longChunk(kind byte, length uint16) frame {
	return frame{proto: sctpProto, payload: append(binary.BigEndian.AppendUint16([]byte{kind, 0}, length), 6, 0, 0, 4)}
}

var sctpEvents = map[string][]frame{
	"OTHER": {chunks(0), chunks(3), chunks(4), chunks(5), chunks(12), chunks(13), chunks(15), chunks(200), chunks(0, 6)},
	"INIT":  {chunks(1), chunks(1, 6)}, "INIT_ACK": {chunks(2)}, "ABORT": {chunks(6), chunks(10, 6), chunks(11, 6)},
	"SHUTDOWN": {chunks(7)}, "SHUTDOWN_ACK": {chunks(8)}, "ERROR": {chunks(9)}, "COOKIE_ECHO": {chunks(10), chunks(10, 0), longChunk(10, 0), longChunk(10, 3), longChunk(10, 0x4000)},
	"COOKIE_ACK": {chunks(11), chunks(11, 3, 6)}, "SHUTDOWN_COMPLETE": {chunks(14)},
}

// tableTest walks one of the tables.
type tableTest struct {
	*rig
	proto  uint8
	real   uint32
	names  []string
	events map[string][]frame
}

func (x tableTest) play(t *testing.T, table string, flags LbConnFlag, output bool) {
	text, err := os.ReadFile("testdata/" + table + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
	events := strings.Fields(rows[0])
	events = events[1 : len(events)-2]
	seconds, active := timesOf(t, rows[1:])
	for _, row := range rows[1:] {
		words := strings.Fields(row)
		for i, event := range events {
			for n, f := range x.events[event] {
				t.Run(table+" "+words[0]+" "+event+" "+strconv.Itoa(n), func(t *testing.T) {
					x.TB = t
					x.order(x.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
					x.inState(x.proto, x.real, slices.Index(x.names, words[0]), active[words[0]], flags)
					f.proto = x.proto
					if output {
						reply := replyOf(x.real, f.flags)
						reply.proto, reply.payload = f.proto, f.payload
						x.want(reply, LbReasonFORWARD_REPLY)
					} else {
						x.want(f, LbReasonFORWARD_HIT)
					}
					x.checkState(x.real, x.names, words[1+i], seconds, active)
				})
			}
		}
	}
}

func timesOf(t *testing.T, rows []string) (seconds map[string]int, active map[string]bool) {
	seconds, active = map[string]int{}, map[string]bool{}
	for _, row := range rows {
		words := strings.Fields(row)
		n, err := strconv.Atoi(words[len(words)-2])
		if err != nil {
			t.Fatal(err)
		}
		seconds[words[0]], active[words[0]] = n, words[len(words)-1] == "yes"
	}
	return seconds, active
}

// inState makes a connection and puts it into a state, however it may be reached.
func (r *rig) inState(proto uint8, real uint32, state int, active bool, more LbConnFlag) {
	r.Helper()
	first := frame{flags: syn}
	if proto == sctpProto {
		first = chunks(1)
	}
	r.want(first, LbReasonFORWARD_NEW)
	r.edit(r.conn(), func(c *LbConn) {
		flags := uint64(more)
		if !active {
			flags |= uint64(LbConnFlagCONN_INACTIVE)
		}
		if have := c.flags() & LbConnFlagCONN_NOOUTPUT; have != more {
			r.Errorf("flag NOOUTPUT of a new connection is %#x, want %#x", have, more)
		}
		c.Life = c.Life&^0xffffff00 | flags<<16 | uint64(state)<<8
	})
	n := LbRealCount{Active: 1, Persist: 1}
	if !active {
		n = LbRealCount{Inactive: 1, Persist: 1}
	}
	r.put(r.RealCounts, real, n)
}

func (r *rig) checkState(real uint32, names []string, want string, seconds map[string]int, active map[string]bool) {
	r.Helper()
	c := r.conn()
	if got := names[c.state()]; got != want {
		r.Errorf("now %s, want %s", got, want)
	}
	if got := r.secondsLeft(c); got != seconds[want] {
		r.Errorf("%d s left, want %d", got, seconds[want])
	}
	counts := [3]uint32{1, 0, 1}
	if !active[want] {
		counts = [3]uint32{0, 1, 1}
	}
	if got := r.counts(real); got != counts {
		r.Errorf("active, inactive, persist %v, want %v", got, counts)
	}
	if inactive := c.flags()&LbConnFlagCONN_INACTIVE != 0; inactive == active[want] {
		r.Errorf("inactive flag %v in %s", inactive, want)
	}
}

// TestLivesOfConnections: what a client does, and what is in the table then.
func TestLivesOfConnections(t *testing.T) {
	rows := []struct {
		name    string
		proto   uint8
		flags   []uint8
		state   int
		seconds int
		counts  [3]uint32
	}{
		{"a SYN is half a connection, and active", tcpProto, []uint8{syn}, synRecv, 60, [3]uint32{1, 0, 0}},
		{"a SYN with ACK makes one too", tcpProto, []uint8{syn | ack}, synRecv, 60, [3]uint32{1, 0, 0}},
		{"a SYN sent again", tcpProto, []uint8{syn, syn}, synRecv, 60, [3]uint32{1, 0, 0}},
		{"a handshake", tcpProto, []uint8{syn, ack}, established, 900, [3]uint32{1, 0, 0}},
		{"data", tcpProto, []uint8{syn, ack, ack | psh, ack}, established, 900, [3]uint32{1, 0, 0}},
		{"the client closes: FIN_WAIT, as only the client is heard", tcpProto, []uint8{syn, ack, fin | ack}, finWait, 120, [3]uint32{0, 1, 0}},
		{"the last ACK changes nothing", tcpProto, []uint8{syn, ack, fin | ack, ack}, finWait, 120, [3]uint32{0, 1, 0}},
		{"the client resets", tcpProto, []uint8{syn, ack, rst}, closed, 10, [3]uint32{0, 1, 0}},
		{"the same port again after FIN_WAIT", tcpProto, []uint8{syn, ack, fin | ack, syn}, synRecv, 60, [3]uint32{1, 0, 0}},
		{"datagrams are never active", udpProto, []uint8{0, 0}, none, 300, [3]uint32{0, 1, 0}},
	}
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	udpReal := r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			for _, flags := range row.flags {
				if verdict, _ := r.test(r.Lb, frame{proto: row.proto, flags: flags}.bytes()); verdict != xdpTX {
					t.Fatalf("flags %#x: verdict %d", flags, verdict)
				}
			}
			counted := map[uint8]uint32{tcpProto: real, udpProto: udpReal}[row.proto]
			if c := r.conn(); c.state() != row.state || r.secondsLeft(c) != row.seconds {
				t.Errorf("state %s, %d s", stateNames[c.state()], r.secondsLeft(c))
			}
			if got := r.counts(counted); got != row.counts {
				t.Errorf("active, inactive, persist %v, want %v", got, row.counts)
			}
		})
	}
}

// TestEntryAsItIsWritten holds each word of a fresh connection.
func TestEntryAsItIsWritten(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	c := r.conn()
	clear(c.Addr[LbSpareSPARE_HOP:LbSpareSPARE_HOP_TICK]) // reply.h
	want := LbConn{Life: 1<<32 | uint64(LbConnFlagCONN_NOOUTPUT)<<16 | synRecv<<8 | 2, Addr: [8]uint32{addr4(client.Addr()), addr4(vip.Addr())},
		Cport: port2(client.Port()), Vport: port2(vip.Port()), Proto: tcpProto, Expires: c.Expires, Real: real, Packets: 1}
	if c != want {
		t.Errorf("%+v\nwant %+v", c, want)
	}
}

// TestReuse: a client that comes back with the port of a closed connection gets a new one, and no SYN is lost.
func TestReuse(t *testing.T) {
	rows := []struct {
		name    string
		state   int
		flags   uint8
		persist int
		why     LbReason
	}{
		{"a SYN in TIME_WAIT is scheduled anew", timeWait, syn, 0, LbReasonFORWARD_NEW},
		{"a SYN in CLOSE is scheduled anew", closed, syn, 0, LbReasonFORWARD_NEW},
		{"a SYN in FIN_WAIT stays", finWait, syn, 0, LbReasonFORWARD_HIT},
		{"a SYN in ESTABLISHED stays", established, syn, 0, LbReasonFORWARD_HIT},
		{"an ACK in TIME_WAIT stays", timeWait, ack, 0, LbReasonFORWARD_HIT},
		{"a SYN in TIME_WAIT stays with its template", timeWait, syn, 60, LbReasonFORWARD_HIT},
	}
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a, b := s.add(1), s.add(1)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			s.persist = row.persist
			s.write()
			r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
			old := r.conn()
			r.edit(old, func(c *LbConn) { c.Life = c.Life&^0xff00 | uint64(row.state)<<8 })
			r.want(frame{flags: row.flags}, row.why)
			now := r.conn()
			if anew := row.why == LbReasonFORWARD_NEW; anew != (now.Real != old.Real) || anew != (now.Life>>32 != old.Life>>32) {
				t.Errorf("real server %d then %d, generation %d then %d", old.Real, now.Real, old.Life>>32, now.Life>>32)
			}
			na, nb := r.counts(a), r.counts(b)
			if na[0]+na[1]+nb[0]+nb[1] != 1 {
				t.Errorf("counts %v and %v for one connection", na, nb)
			}
		})
	}
}

// TestReuseByMode: which SYNs begin anew by conn_reuse_mode and expire_nodest_conn.
func TestReuseByMode(t *testing.T) {
	const sctpEstablished = 8
	again := frame{flags: syn}
	rows := []struct {
		name   string
		first  frame
		state  int
		heard  bool // the real server is heard too
		mode   uint32
		nodest uint32
		why    LbReason
	}{
		{"0: a SYN in TIME_WAIT stays", again, timeWait, false, 0, 0, LbReasonFORWARD_HIT},
		{"2: a SYN in TIME_WAIT is scheduled anew", again, timeWait, false, 2, 0, LbReasonFORWARD_NEW},
		{"2: a SYN in FIN_WAIT, where the client alone is heard, is scheduled anew", again, finWait, false, 2, 0, LbReasonFORWARD_NEW},
		{"2: a SYN in FIN_WAIT, where both are heard, stays", again, finWait, true, 2, 0, LbReasonFORWARD_HIT},
		{"2: a SYN in ESTABLISHED stays", again, established, false, 2, 0, LbReasonFORWARD_HIT},
		{"2: an INIT in ESTABLISHED stays", chunks(1), sctpEstablished, false, 2, 0, LbReasonFORWARD_HIT},
		{"expire_nodest_conn: a SYN to a server that has weight stays", again, established, false, 1, 1, LbReasonFORWARD_HIT},
	}
	r := newRig(t, 4)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.clear()
			s := r.serve(vip, or(row.first.proto, tcpProto), LbSchedulerSCHED_RR)
			s.add(1)
			s.add(1)
			r.tune(func(t *LbTunables) { t.ConnReuseMode, t.ExpireNodestConn = row.mode, row.nodest })
			r.want(row.first, LbReasonFORWARD_NEW)
			old := r.conn()
			r.edit(old, func(c *LbConn) {
				c.Life = c.Life&^0xff00 | uint64(row.state)<<8
				if row.heard {
					c.Life &^= uint64(LbConnFlagCONN_NOOUTPUT) << 16
				}
			})
			r.want(row.first, row.why)
			now := r.conn()
			if anew := row.why == LbReasonFORWARD_NEW; anew != (now.Real != old.Real) || anew != (now.Life>>32 != old.Life>>32) {
				t.Errorf("real server %d then %d, generation %d then %d", old.Real, now.Real, old.Life>>32, now.Life>>32)
			}
		})
	}
	r.TB = t
}

func TestRealServerThatIsGone(t *testing.T) {
	rows := []struct {
		name   string
		proto  uint8
		flags  uint8
		nodest uint32 // expire_nodest_conn
		why    LbReason
	}{
		{"data to it is dropped", tcpProto, ack | psh, 0, LbReasonDROP_REAL_GONE},
		{"a FIN to it is dropped", tcpProto, fin | ack, 0, LbReasonDROP_REAL_GONE},
		{"a datagram to it is dropped", udpProto, 0, 0, LbReasonDROP_REAL_GONE},
		{"a SYN is scheduled anew", tcpProto, syn, 0, LbReasonFORWARD_NEW},
		{"expire_nodest_conn: so is a datagram", udpProto, 0, 1, LbReasonFORWARD_NEW},
		{"expire_nodest_conn: data to it is the host's, and ends the connection", tcpProto, ack | psh, 1, LbReasonPASS_NO_CONNECTION},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, 4)
			s := r.serve(vip, row.proto, LbSchedulerSCHED_RR)
			a, b := s.add(1), s.add(1)
			r.tune(func(t *LbTunables) { t.ExpireNodestConn = row.nodest })
			r.want(frame{proto: row.proto, flags: syn}, LbReasonFORWARD_NEW)
			before := r.conn()
			s.remove(b)
			r.want(frame{proto: row.proto, flags: row.flags}, row.why)
			if row.why == LbReasonPASS_NO_CONNECTION {
				if all := r.conns(); len(all) != 0 || r.counts(b) != [3]uint32{} {
					t.Errorf("it has not ended: %+v, counts %v", all, r.counts(b))
				}
				s.restore(b, 1)
				r.want(frame{proto: row.proto, flags: row.flags}, row.why)
				return
			}
			after := r.conn()
			if row.why == LbReasonFORWARD_NEW {
				one := map[uint8][3]uint32{tcpProto: {1, 0, 0}, udpProto: {0, 1, 0}}[row.proto]
				if after.Real != a || r.counts(b) != [3]uint32{} || r.counts(a) != one {
					t.Errorf("on %d, counts %v and %v", after.Real, r.counts(a), r.counts(b))
				}
				return
			}
			if after != before {
				t.Errorf("the drop changed the entry: %+v, was %+v", after, before)
			}
			s.restore(b, 1)
			r.want(frame{proto: row.proto, flags: row.flags}, LbReasonFORWARD_HIT) // it goes on when the server comes back
		})
	}
}

func TestRealServerOfWeightZeroKeepsItsConnections(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	a, b := s.add(1), s.add(1)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	on := r.conn().Real
	s.weigh(on, 0)
	r.want(frame{flags: ack | psh}, LbReasonFORWARD_HIT)
	for i := range 4 {
		out := r.want(frame{flags: syn, from: following(client, "port"), to: vip, ttl: uint8(64 + i)}, []LbReason{LbReasonFORWARD_NEW, LbReasonFORWARD_HIT}[min(i, 1)])
		if mac(out[:6]) == realMAC(int(on)) {
			t.Error("a new connection went to it")
		}
	}
	if on != a && on != b {
		t.Errorf("connection on %d", on)
	}
}
