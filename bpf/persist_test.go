package bpf

import (
	"net/netip"
	"testing"
)

// persistent is a rig with a persistent service of two real servers; b, the newest, is picked first.
func persistent(t *testing.T, proto uint8, seconds int) (r *rig, s *service, a, b uint32) {
	t.Helper()
	r = newRig(t, 4)
	s = r.serve(vip, proto, LbSchedulerSCHED_RR)
	s.persist = seconds
	a, b = s.add(1), s.add(1)
	return r, s, a, b
}

func port(n uint16) netip.AddrPort { return netip.AddrPortFrom(client.Addr(), n) }

// opened sends a SYN and says which real server the client got.
func (r *rig) opened(f frame) byte {
	r.Helper()
	f.flags = syn
	return r.want(f, LbReasonFORWARD_NEW)[5]
}

func TestTemplateAsItIsWritten(t *testing.T) {
	r, s, _, b := persistent(t, tcpProto, 60)
	s.netmask = addr4(netip.MustParseAddr("255.255.255.0"))
	s.write()
	r.opened(frame{})
	c := r.template()
	clear(c.Addr[LbSpareSPARE_HOP:LbSpareSPARE_HOP_TICK]) // reply.h
	want := LbConn{Life: 1<<32 | 0x1180<<16 | none<<8 | 2, Addr: [8]uint32{addr4(netip.MustParseAddr("10.0.4.0")), addr4(vip.Addr())},
		Vport: port2(vip.Port()), Proto: tcpProto, Kind: 1, Expires: c.Expires, Real: b, Packets: 60 * ticksPerSecond, Control: 1}
	if c != want {
		t.Errorf("%+v\nwant %+v", c, want)
	}
	if got := r.secondsLeft(c); got != 60 {
		t.Errorf("%d s left", got)
	}
	if n := r.counts(b); n != [3]uint32{1, 0, 1} {
		t.Errorf("active, inactive, persist %v", n)
	}
}

func TestClientStaysWithItsServer(t *testing.T) {
	r, s, a, b := persistent(t, tcpProto, 60)
	for i := range uint16(5) {
		if got := r.opened(frame{from: port(1000 + i)}); got != byte(b) {
			t.Errorf("connection %d went to %d", i, got)
		}
	}
	if got := r.opened(frame{from: at("10.0.4.103:1")}); got != byte(a) {
		t.Errorf("another client went to %d: the first one's picks moved the pointer", got)
	}
	s.netmask = addr4(netip.MustParseAddr("255.255.255.0"))
	s.write()
	first := r.opened(frame{from: at("10.0.5.1:1")})
	if got := r.opened(frame{from: at("10.0.5.2:1")}); got != first {
		t.Errorf("two clients of one network went to %d and %d", first, got)
	}
	if refs := r.templateOf(client.Addr()).Control; refs != 5 {
		t.Errorf("the template controls %d connections, want 5", refs)
	}
}

func (r *rig) templateOf(a netip.Addr) (found LbConn) {
	r.Helper()
	for _, c := range r.conns() {
		if c.template() && c.Addr[0] == addr4(a) {
			found = c
		}
	}
	return found
}

func TestEachServiceHasItsOwnTemplate(t *testing.T) {
	r, _, _, _ := persistent(t, tcpProto, 60)
	other := r.serve(at("10.0.8.9:443"), tcpProto, LbSchedulerSCHED_RR)
	other.persist = 60
	c := other.add(1)
	r.opened(frame{})
	if got := r.opened(frame{to: at("10.0.8.9:443")}); got != byte(c) {
		t.Errorf("went to %d", got)
	}
	if n := len(r.conns()); n != 4 {
		t.Errorf("%d entries, want two connections and two templates", n)
	}
}

// TestTemplateTimer: set anew by every new connection, not by packets; 60 s at a time while connections are attached.
func TestTemplateTimer(t *testing.T) {
	r, _, _, b := persistent(t, tcpProto, 100)
	r.opened(frame{})
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.travel(50)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	if got := r.secondsLeft(r.template()); got != 50 {
		t.Errorf("after a packet: %d s left, want 50", got)
	}
	r.opened(frame{from: port(2)})
	if got := r.secondsLeft(r.template()); got != 100 {
		t.Errorf("after a new connection: %d s left, want 100", got)
	}
	r.travel(101) // the second connection, a bare SYN, is gone too
	if freed := r.sweep(); freed != 1 {
		t.Errorf("%d lines freed, want the half-open connection's", freed)
	}
	if got := r.secondsLeft(r.template()); got != 60 {
		t.Errorf("at its end with a connection attached: %d s left, want 60", got)
	}
	r.travel(1000)
	if freed := r.sweep(); freed < 1 {
		t.Error("the last connection is not freed")
	}
	r.travel(61)
	r.sweep()
	if n := len(r.conns()); n != 0 || r.counts(b) != [3]uint32{} {
		t.Errorf("%d entries left, counts %v", n, r.counts(b))
	}
}

// TestTemplateKeepsItsTime: what its service said when it was made, and 60 s once it has lived on for its connections; also of IPv6.
func TestTemplateKeepsItsTime(t *testing.T) {
	for name, to := range map[string]netip.AddrPort{"IPv4": vip, "IPv6": vip6} {
		from := map[bool]netip.AddrPort{false: client, true: client6}[to.Addr().Is6()]
		next := func() netip.AddrPort { from = following(from, "port"); return from }
		start := func(t *testing.T) (*rig, *service) {
			r := newRig(t, 4)
			s := r.serve(to, tcpProto, LbSchedulerSCHED_RR)
			s.persist = 100
			s.add(1)
			r.opened(frame{from: next(), to: to})
			r.want(frame{from: from, to: to, flags: ack}, LbReasonFORWARD_HIT)
			return r, s
		}
		left := func(r *rig, when string, want int) {
			t.Helper()
			if got := r.secondsLeft(r.template()); got != want {
				r.Errorf("%s: %d s left, want %d", when, got, want)
			}
		}
		t.Run(name+", its service has another", func(t *testing.T) {
			r, s := start(t)
			s.persist = 30
			s.write()
			r.travel(5)
			r.opened(frame{from: next(), to: to})
			left(r, "after a new connection", 100)
		})
		t.Run(name+", it was extended", func(t *testing.T) {
			r, _ := start(t)
			r.travel(101)
			r.sweep()
			r.travel(5)
			r.opened(frame{from: next(), to: to})
			left(r, "after a new connection", 60)
		})
		t.Run(name+", it is about to be", func(t *testing.T) {
			r, _ := start(t)
			r.travel(101)
			r.opened(frame{from: next(), to: to})
			left(r, "after a new connection", 60)
		})
		t.Run(name+", an earlier version made it", func(t *testing.T) {
			r, s := start(t)
			r.edit(r.template(), func(c *LbConn) { c.Packets = 0 })
			s.persist = 30
			s.write()
			r.opened(frame{from: next(), to: to})
			left(r, "after a new connection", 30)
		})
	}
}

func TestExpiredTemplate(t *testing.T) {
	r, s, a, b := persistent(t, udpProto, 10)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	r.travel(11)
	if out := r.want(frame{proto: udpProto, from: port(2)}, LbReasonFORWARD_NEW); out[5] != byte(b) {
		t.Errorf("while it controls a connection the template holds, but the client went to %d", out[5])
	}
	r.order(r.Forget, LbOrder{Real: b}) // connections, and the template with them
	s.remove(a)
	s.restore(a, 1)
	first := r.want(frame{proto: udpProto, from: port(3)}, LbReasonFORWARD_NEW)[5]
	r.edit(r.conn(), func(c *LbConn) { c.Expires -= 1000 * ticksPerSecond })
	r.sweep()
	r.travel(11)
	if out := r.want(frame{proto: udpProto, from: port(4)}, LbReasonFORWARD_NEW); out[5] == first {
		t.Error("a template that had expired was followed")
	}
	if n := len(r.conns()); n != 2 {
		t.Errorf("%d entries: the expired template's line is taken over in place", n)
	}
}

func TestAssured(t *testing.T) {
	r, _, _, _ := persistent(t, tcpProto, 60)
	r.opened(frame{})
	if r.template().flags()&LbConnFlagCONN_ASSURED != 0 {
		t.Error("assured by a SYN alone")
	}
	r.want(frame{flags: rst}, LbReasonFORWARD_HIT)
	if r.template().flags()&LbConnFlagCONN_ASSURED != 0 {
		t.Error("assured by a reset")
	}
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	if r.template().flags()&LbConnFlagCONN_ASSURED == 0 {
		t.Error("not assured by a handshake")
	}
	if r.template().flags()&LbConnFlagCONN_TEMPLATE == 0 {
		t.Error("no template any more")
	}
}

// TestSloppyConnectionAssures: with sloppy_tcp and sloppy_sctp one may begin where others get to by a handshake.
func TestSloppyConnectionAssures(t *testing.T) {
	for _, row := range []struct {
		name    string
		first   frame
		assured bool
	}{
		{"an ACK", frame{flags: ack}, true},
		{"a FIN", frame{flags: fin}, false},
		{"a SYN", frame{flags: syn}, false},
		{"a chunk of data", chunks(0), true},
		{"a COOKIE ECHO", chunks(10), true},
		{"a SHUTDOWN", chunks(7), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, _, _, _ := persistent(t, or(row.first.proto, tcpProto), 60)
			r.tune(func(t *LbTunables) { t.SloppyTcp, t.SloppySctp = 1, 1 })
			r.want(row.first, LbReasonFORWARD_NEW)
			if got := r.template().flags()&LbConnFlagCONN_ASSURED != 0; got != row.assured {
				t.Errorf("assured %v", got)
			}
		})
	}
}

func TestDatagramsDoNotAssure(t *testing.T) {
	r, _, _, _ := persistent(t, udpProto, 60)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_HIT)
	if r.template().flags()&LbConnFlagCONN_ASSURED != 0 {
		t.Error("assured")
	}
}

// TestOnePacketHoldsNoTemplate: a datagram of one-packet scheduling goes where its client's template says, and the template ends by its time.
func TestOnePacketHoldsNoTemplate(t *testing.T) {
	r, s, _, b := persistent(t, udpProto, 60)
	s.flags |= LbServiceFlagSERVICE_ONE_PACKET
	s.write()
	for range 3 {
		if out := r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW); out[5] != byte(b) {
			t.Errorf("went to %d", out[5])
		}
	}
	if c := r.only(true); c.Control != 0 {
		t.Errorf("the template controls %d connections", c.Control)
	}
	r.travel(61)
	r.sweep()
	if n := len(r.conns()); n != 0 || r.counts(b) != [3]uint32{} {
		t.Errorf("%d entries, counts %v", n, r.counts(b))
	}
}

func TestTemplateOfAServerThatIsGone(t *testing.T) {
	r, s, a, b := persistent(t, tcpProto, 60)
	if got := r.opened(frame{}); got != byte(b) {
		t.Fatalf("went to %d", got)
	}
	s.remove(b)
	if got := r.opened(frame{from: port(2)}); got != byte(a) {
		t.Errorf("went to %d", got)
	}
	dead, live := 0, 0
	for _, c := range r.conns() {
		switch {
		case c.template() && c.toPort() == uint16(LbNumberDEAD_VPORT) && c.Real == b && c.Cport == 0:
			dead++
		case c.template() && c.toPort() == vip.Port() && c.Real == a:
			live++
		}
	}
	if dead != 1 || live != 1 {
		t.Errorf("%d dead and %d live templates, want one of each", dead, live)
	}
	s.restore(b, 1)
	if got := r.opened(frame{from: port(3)}); got != byte(a) {
		t.Errorf("the dead template matched again: client went to %d", got)
	}
	r.travel(2000)
	r.sweep()
	r.travel(61)
	r.sweep()
	if n := len(r.conns()); n != 0 || r.counts(a) != [3]uint32{} || r.counts(b) != [3]uint32{} {
		t.Errorf("%d entries, counts %v %v", n, r.counts(a), r.counts(b))
	}
}

// TestTemplateOfAServerThatIsGoneOfTheLastPort: a dead template has the port 65535, by which a service of that port does not find it.
func TestTemplateOfAServerThatIsGoneOfTheLastPort(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r := newRig(t, 4)
		to, from := netip.AddrPortFrom(vip.Addr(), uint16(LbNumberDEAD_VPORT)), client
		if v6 {
			to, from = netip.AddrPortFrom(vip6.Addr(), to.Port()), client6
		}
		s := r.serve(to, tcpProto, LbSchedulerSCHED_RR)
		s.persist = 60
		a, b := s.add(1), s.add(1)
		open := func(n uint16) byte { return r.opened(frame{from: netip.AddrPortFrom(from.Addr(), n), to: to}) }
		if got := open(1); got != byte(b) {
			t.Fatalf("went to %d", got)
		}
		s.remove(b)
		for n := range uint16(3) {
			if got := open(2 + n); got != byte(a) {
				t.Errorf("went to %d", got)
			}
		}
		s.restore(b, 1)
		if got := open(5); got != byte(a) {
			t.Errorf("the dead template matched again: client went to %d", got)
		}
		if n := r.counts(a); n != [3]uint32{4, 0, 1} || r.counts(b) != [3]uint32{1, 0, 1} {
			t.Errorf("counts %v %v", n, r.counts(b))
		}
	})
}

func TestSYNOfAConnectionWhoseServerIsGoneLeavesItsTemplate(t *testing.T) {
	r, s, a, b := persistent(t, tcpProto, 60)
	r.opened(frame{})
	s.remove(b)
	if got := r.opened(frame{}); got != byte(a) {
		t.Errorf("went to %d", got)
	}
	for _, c := range r.conns() {
		if c.template() && c.Control != map[uint32]uint32{a: 1, b: 0}[c.Real] {
			t.Errorf("template of %d controls %d", c.Real, c.Control)
		}
	}
	if n := r.counts(b); n != [3]uint32{0, 0, 1} {
		t.Errorf("the old server has %v", n)
	}
}

// TestQuiescedServerKeepsItsPersistentClients, and so does an overloaded one: the template is asked, not the scheduler.
func TestQuiescedServerKeepsItsPersistentClients(t *testing.T) {
	r, s, a, b := persistent(t, tcpProto, 60)
	r.opened(frame{})
	s.weigh(b, 0)
	if got := r.opened(frame{from: port(2)}); got != byte(b) {
		t.Errorf("weight 0: went to %d", got)
	}
	s.weigh(b, 1)
	s.overload(b, 1)
	if got := r.opened(frame{from: port(3)}); got != byte(b) {
		t.Errorf("overloaded: went to %d", got)
	}
	if got := r.opened(frame{from: at("10.0.4.103:1")}); got != byte(a) {
		t.Errorf("a new client went to the overloaded %d", got)
	}
}

// TestPortZeroIsNoTemplate: a datagram from port 0 has the key of a template but for one byte.
func TestPortZeroIsNoTemplate(t *testing.T) {
	r, _, _, _ := persistent(t, udpProto, 60)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	r.want(frame{proto: udpProto, from: port(0)}, LbReasonFORWARD_NEW)
	r.want(frame{proto: udpProto, from: port(0)}, LbReasonFORWARD_HIT)
	if c := r.template(); c.Control != 2 || c.Packets != 60*ticksPerSecond {
		t.Errorf("%+v", c)
	}
}

func TestNoTemplateWithoutServer(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	s.persist = 60
	s.write()
	r.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
	if n := len(r.conns()); n != 0 {
		t.Errorf("%d entries", n)
	}
}

// TestSYNOfAClosedConnectionLeavesItsTemplateAlone: it is no new connection, so the template's time goes on.
func TestSYNOfAClosedConnectionLeavesItsTemplateAlone(t *testing.T) {
	r, _, _, _ := persistent(t, tcpProto, 60)
	for _, flags := range []uint8{syn, ack, rst} {
		r.test(r.Lb, frame{flags: flags}.bytes())
	}
	r.travel(5)
	r.want(frame{flags: syn}, LbReasonFORWARD_HIT)
	if c := r.template(); r.secondsLeft(c) != 55 || c.Control != 1 {
		t.Errorf("%d s left, %d connections", r.secondsLeft(c), c.Control)
	}
}

// TestSYNOfAPersistentClientOfWeightZero: with expire_nodest_conn its connection begins anew, where its template says; that one is
// of no use any more with expire_quiescent_template.
func TestSYNOfAPersistentClientOfWeightZero(t *testing.T) {
	for _, row := range []struct {
		name              string
		nodest, quiescent uint32
		why               LbReason
		moves             bool
	}{
		{"neither", 0, 0, LbReasonFORWARD_HIT, false},
		{"expire_nodest_conn", 1, 0, LbReasonFORWARD_NEW, false},
		{"expire_quiescent_template", 0, 1, LbReasonFORWARD_HIT, false},
		{"both", 1, 1, LbReasonFORWARD_NEW, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, s, a, b := persistent(t, tcpProto, 60)
			r.tune(func(t *LbTunables) { t.ExpireNodestConn, t.ExpireQuiescentTemplate = row.nodest, row.quiescent })
			r.opened(frame{})
			s.weigh(b, 0)
			want := map[bool]uint32{false: b, true: a}[row.moves]
			if out := r.want(frame{flags: syn}, row.why); out[5] != byte(want) {
				t.Errorf("went to %d, want %d", out[5], want)
			}
			if n := r.counts(want); n != [3]uint32{1, 0, 1} {
				t.Errorf("%d has %v", want, n)
			}
		})
	}
}

// TestRefusedSYNEndsWhatItWouldHaveMadeAnew: IPVS ends a closed connection before it looks for a real server.
func TestRefusedSYNEndsWhatItWouldHaveMadeAnew(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags uint8 // of the packet before
		then  func(r *rig, s *service, a uint32)
		why   LbReason
		stays bool
	}{
		{"no real server", fin | ack, func(_ *rig, s *service, a uint32) { s.overload(a, 1) }, LbReasonREPLY_NO_SERVER, false},
		{"no real server for a template", fin | ack, func(_ *rig, s *service, a uint32) {
			s.persist = 60
			s.write()
			s.overload(a, 1)
		}, LbReasonREPLY_NO_SERVER, false},
		{"no service", fin | ack, func(r *rig, s *service, _ uint32) {
			if err := r.ServiceIndex.Delete(s.owner.four()); err != nil {
				r.Fatal(err)
			}
			r.put(r.Services, s.index, LbService{})
		}, LbReasonPASS_NOT_SERVICE, false},
		{"drop_packet", fin | ack, func(r *rig, _ *service, _ uint32) {
			r.tune(func(t *LbTunables) { t.DropRate = 1 })
		}, LbReasonDROP_DEFENCE, false},
		{"no service, and its real server was removed", ack, func(r *rig, s *service, a uint32) {
			s.remove(a)
			if err := r.ServiceIndex.Delete(s.owner.four()); err != nil {
				r.Fatal(err)
			}
			r.put(r.Services, s.index, LbService{})
		}, LbReasonPASS_NOT_SERVICE, true},
		{"no real server, and its own was removed", ack, func(_ *rig, s *service, a uint32) { s.remove(a) }, LbReasonREPLY_NO_SERVER, true},
		{"no real server for a template, and its own was removed", ack, func(_ *rig, s *service, a uint32) {
			s.persist = 60
			s.remove(a)
		}, LbReasonREPLY_NO_SERVER, true},
		{"one that goes on stays", ack, func(_ *rig, s *service, a uint32) { s.overload(a, 1) }, LbReasonFORWARD_HIT, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, 4)
			s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
			a := s.add(1)
			r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
			r.want(frame{flags: row.flags}, LbReasonFORWARD_HIT)
			row.then(r, s, a)
			r.want(frame{flags: syn}, row.why)
			want, count := 0, [3]uint32{}
			if row.stays {
				want, count = 1, [3]uint32{1, 0, 0}
			}
			if all := r.conns(); len(all) != want || r.counts(a) != count {
				t.Errorf("connections %+v, counts %v", all, r.counts(a))
			}
		})
	}
}
