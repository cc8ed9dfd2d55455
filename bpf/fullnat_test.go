package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
)

var local0 = netip.MustParseAddr("10.0.8.250")

// fullnat is a service with one real server of FULLNAT, behind so many local addresses.
func fullnat(t *testing.T, proto uint8, regions int, locals uint8) (*rig, *service, uint32) {
	t.Helper()
	r := newRig(t, regions)
	r.neighbourhood()
	s := r.serve(vip, proto, LbSchedulerSCHED_RR)
	real := s.add(1)
	s.change(real, func(e *LbReal) { e.Forward, e.Source[0], e.Locals = masq, addr4(local0), locals })
	r.expectReplies(real)
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_FULL) })
	return r, s, real
}

// localOf is the sender of a frame that went to a real server.
func localOf(t *testing.T, out []byte) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(out[26:])), binary.BigEndian.Uint16(out[34:]))
	if at.Port() < 1024 || at.Port() >= 32768 {
		t.Errorf("the local end is %v: its port is one of the host's own connections", at)
	}
	return at
}

// TestFullNATFrame: both ends of a request become others, and of a reply back again; with right checksums.
func TestFullNATFrame(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto, sctpProto} {
		r, s, real := fullnat(t, proto, 4, 1)
		for _, port := range []uint16{0, 8080} {
			s.change(real, func(e *LbReal) { e.Port = port2(port) })
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			server := netip.AddrPortFrom(realAddr(real), or(port, vip.Port()))
			opening := frame{proto: proto, flags: syn, summed: true}
			if proto == sctpProto {
				opening.payload = chunks(1).payload
			}
			_, out, why := r.run(opening.wire())
			if why != LbReasonFORWARD_NEW {
				t.Fatal(why.name())
			}
			local := localOf(t, out)
			if local.Addr() != local0 {
				t.Errorf("from %v", local)
			}
			for _, one := range []frame{
				{flags: ack, payload: []byte("GET / HTTP/1.1\r\n\r\n")}, {flags: ack, payload: []byte("odd"), ttl: 2},
				{flags: ack, options: bytes.Repeat([]byte{1}, 40), tags: []uint32{0x8100_0000}}, {flags: ack, frag: 0x4000, tos: 0x28},
			} {
				in := one
				in.proto, in.summed = proto, true
				if proto == sctpProto {
					in.payload = append([]byte{3, 0, 0, 8, 1, 2, 3, 4}, in.payload...)
				}
				want := in
				want.from, want.to, want.src, want.dst, want.ttl = local, server, ourMAC, realMAC(int(real)), or(in.ttl, 64)-1
				if _, out, why := r.run(in.wire()); !bytes.Equal(out, want.wire()) || why != LbReasonFORWARD_HIT {
					t.Errorf("%s protocol %d port %d\ngot  % x\nwant % x", why.name(), proto, port, out, want.wire())
				}
				in.from, in.to, in.src = server, local, realMAC(int(real))
				want = in
				want.from, want.to, want.src, want.dst, want.ttl = vip, client, ourMAC, routerMAC, or(in.ttl, 64)-1
				if _, out, why := r.run(in.wire()); !bytes.Equal(out, want.wire()) || why != LbReasonFORWARD_REPLY {
					t.Errorf("reply: %s protocol %d port %d\ngot  % x\nwant % x", why.name(), proto, port, out, want.wire())
				}
			}
			if n := r.counts(real); n[0]+n[1] != 1 {
				t.Errorf("%v connections are counted, want the one", n)
			}
		}
		if n := r.counters(r.RealCounters, real); n.Conns != 2 || n.Inpkts != 10 || n.Outpkts != 8 {
			t.Errorf("counted %+v", n)
		}
		r.checkTable()
	}
}

// replyTo is what a real server of FULLNAT answers.
func replyTo(real uint32, local netip.AddrPort, flags uint8) frame {
	return frame{flags: flags, from: netip.AddrPortFrom(realAddr(real), 80), to: local, src: realMAC(int(real)), summed: true}
}

// TestStatesUnderFullNAT: both sides are heard, and a reply line ends with its connection.
func TestStatesUnderFullNAT(t *testing.T) {
	r, _, real := fullnat(t, tcpProto, 4, 1)
	local := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW))
	for _, step := range []struct {
		in    frame
		why   LbReason
		state int
	}{
		{replyTo(real, local, syn|ack), LbReasonFORWARD_REPLY, 3}, {frame{flags: ack}, LbReasonFORWARD_HIT, 1},
		{replyTo(real, local, fin|ack), LbReasonFORWARD_REPLY, 4}, {frame{flags: fin | ack}, LbReasonFORWARD_HIT, 5},
	} {
		r.want(step.in, step.why)
		if got := r.connection().state(); got != step.state {
			t.Errorf("state %d, want %d", got, step.state)
		}
	}
	if n := len(r.conns()); n != 2 {
		t.Errorf("%d lines, want the connection and its way back", n)
	}
	r.travel(119)
	if freed := r.sweep(); freed != 0 {
		t.Errorf("%d lines freed before their time", freed)
	}
	r.want(replyTo(real, local, ack), LbReasonFORWARD_REPLY)
	r.travel(121)
	r.sweep()
	r.want(replyTo(real, local, ack), LbReasonPASS_NOT_SERVICE)
	r.travel(61)
	r.sweep()
	if n := len(r.conns()); n != 0 || r.counts(real) != [3]uint32{} {
		t.Errorf("%d lines are left, counts %v", n, r.counts(real))
	}
	if again := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW)); again.Addr() != local0 {
		t.Errorf("from %v", again)
	}
	r.checkTable()
}

// TestNewConnectionOfOldPortsHasItsOwnLocalEnd: what is left of the old one in the line is not taken for its own.
func TestNewConnectionOfOldPortsHasItsOwnLocalEnd(t *testing.T) {
	r, _, real := fullnat(t, tcpProto, 1, 1)
	local := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW))
	r.want(replyTo(real, local, rst), LbReasonFORWARD_REPLY) // CLOSE: a SYN makes it anew
	again := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW))
	if again == local {
		t.Errorf("both have %v", local) // one of 31,744: chance says otherwise, unless it is never chosen anew
	}
	r.want(replyTo(real, local, ack), LbReasonPASS_NOT_SERVICE)
	r.want(replyTo(real, again, syn|ack), LbReasonFORWARD_REPLY)
	r.checkTable()
}

// TestReplyOfNobodyUnderFullNAT: the host's own connections from a local address are left alone.
func TestReplyOfNobodyUnderFullNAT(t *testing.T) {
	r, s, real := fullnat(t, tcpProto, 4, 1)
	local := localOf(t, r.want(frame{flags: syn}, LbReasonFORWARD_NEW))
	mine := replyTo(real, local, ack)
	for _, row := range []struct {
		name   string
		change func(f *frame)
	}{
		{"to another local port", func(f *frame) { f.to = netip.AddrPortFrom(local.Addr(), local.Port()^1) }},
		{"to another address", func(f *frame) { f.to = netip.AddrPortFrom(at("10.0.8.251:1").Addr(), local.Port()) }},
		{"from another port", func(f *frame) { f.from = netip.AddrPortFrom(f.from.Addr(), 81) }},
		{"from another server", func(f *frame) { f.from = at("10.0.8.12:80") }},
		{"of another protocol", func(f *frame) { f.proto = udpProto }},
		{"with a TTL that ends here", func(f *frame) { f.ttl = 1 }},
		{"to the client itself", func(f *frame) { f.to = client }},
		{"a following fragment alone", func(f *frame) { f.frag = 9 }},
		{"with a header that says it is shorter than any", func(f *frame) { f.ihl = 4 }},
	} {
		in := mine
		row.change(&in)
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(in, LbReasonPASS_NOT_SERVICE)
		})
	}
	r.TB = t
	r.tune(func(t *LbTunables) { t.Have &^= uint32(LbHaveHAVE_FULL) })
	r.want(mine, LbReasonPASS_NOT_SERVICE)
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_FULL) })
	r.want(mine, LbReasonFORWARD_REPLY)
	s.remove(real)
	r.want(frame{flags: ack}, LbReasonDROP_REAL_GONE)
	r.want(mine, LbReasonFORWARD_REPLY)
	if freed := r.order(r.Forget, LbOrder{Real: real}); freed != 2 {
		t.Errorf("%d lines forgotten, want both", freed)
	}
	r.want(mine, LbReasonPASS_NOT_SERVICE)
}

// TestLocalEndsAreNeverShared: many connections, many CPUs at once; every one has an end of its own, and its replies find it.
func TestLocalEndsAreNeverShared(t *testing.T) {
	r, _, real := fullnat(t, udpProto, 64, 4)
	const n = 1000
	out := make([][]byte, n)
	var all sync.WaitGroup
	for cpu := range 4 {
		all.Go(func() {
			for i := cpu; i < n; i += 2 { // two of them work at the same connections
				_, frame := r.test(r.Lb, frame{proto: udpProto, from: clientNumber(i)}.bytes())
				if cpu < 2 {
					out[i] = frame
				}
			}
		})
	}
	all.Wait()
	seen, hosts := map[netip.AddrPort]int{}, map[netip.Addr]int{}
	for i := range n {
		local := localOf(t, out[i])
		if j, taken := seen[local]; taken {
			t.Fatalf("connections %d and %d both have %v", i, j, local)
		}
		seen[local] = i
		hosts[local.Addr()]++
		in := replyTo(real, local, 0)
		in.proto = udpProto
		want := in
		want.from, want.to, want.src, want.dst, want.ttl = vip, clientNumber(i), ourMAC, routerMAC, 63
		if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
			t.Fatalf("connection %d\ngot  % x\nwant % x", i, out, want.bytes())
		}
	}
	for i := range 4 {
		a := local0
		for range i {
			a = a.Next()
		}
		if hosts[a] < n/8 {
			t.Errorf("%d of %d connections come from %v", hosts[a], n, a)
		}
	}
	r.checkTable()
}

// TestNoLocalEndIsLeft: a table that has room for the connection, and none for the line of its replies.
func TestNoLocalEndIsLeft(t *testing.T) {
	r, _, _ := fullnat(t, udpProto, 1, 1)
	other := netip.AddrPortFrom(vip.Addr(), 53)
	r.serve(other, udpProto, LbSchedulerSCHED_RR).add(1)
	r.want(frame{proto: udpProto, to: other}, LbReasonFORWARD_NEW) // takes one line, and FULLNAT two each
	for i := range 31 {
		r.want(frame{proto: udpProto, from: clientNumber(i)}, LbReasonFORWARD_NEW)
	}
	for range 2 {
		r.want(frame{proto: udpProto, from: clientNumber(31)}, LbReasonDROP_NO_LOCAL)
	}
	r.want(frame{proto: udpProto, from: clientNumber(32)}, LbReasonDROP_TABLE_FULL)
	r.checkTable()
}

// ofEitherFamily is fullnat or fullnat6, with a packet of its client and the address and port of its real server.
func ofEitherFamily(t *testing.T, v6 bool, proto uint8) (r *rig, s *service, real uint32, in frame, server netip.AddrPort) {
	t.Helper()
	if v6 {
		r, s, real = fullnat6(t, proto, 1)
		return r, s, real, frame{proto: proto, from: client6, to: vip6}, netip.AddrPortFrom(realAddr6(real), 80)
	}
	r, s, real = fullnat(t, proto, 4, 1)
	return r, s, real, frame{proto: proto, from: client, to: vip}, netip.AddrPortFrom(realAddr(real), 80)
}

// connection is the one line that is not for replies.
func (r *rig) connection() (found LbConn) {
	r.Helper()
	for _, c := range r.conns() {
		if c.Kind&uint8(LbConnKindKIND_RETURN) == 0 {
			found = c
		}
	}
	return found
}

// TestNoLocalEndWithoutItsLock: of a connection from before there were local addresses, which has one as soon as the lock is had.
func TestNoLocalEndWithoutItsLock(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r, s, real, in, server := ofEitherFamily(t, v6, udpProto)
		s.change(real, func(e *LbReal) { e.Locals = 0 })
		r.want(in, LbReasonFORWARD_NEW)
		s.change(real, func(e *LbReal) { e.Locals = 1 })
		hold := func(lock uint32) {
			for i := range uint32(4) {
				head := get[LbRegionHead](r, r.RegionHeads, i)
				head.Lock = lock
				r.put(r.RegionHeads, i, head)
			}
		}
		hold(1)
		r.want(in, LbReasonDROP_NO_LOCAL)
		if n := len(r.conns()); n != 1 {
			t.Errorf("%d lines, want the connection alone", n)
		}
		if v6 {
			r.errorWithoutALocalEnd6(real)
		}
		hold(0)
		local := localEnd(t, r.want(in, LbReasonFORWARD_HIT))
		r.want(frame{proto: udpProto, from: server, to: local, src: realMAC(int(real))}, LbReasonFORWARD_REPLY)
		r.checkTable()
	})
}

// TestOnePacketHasNoLocalEnd: nothing is kept of it, so its reply would not find back.
func TestOnePacketHasNoLocalEnd(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r, s, _, in, _ := ofEitherFamily(t, v6, udpProto)
		s.flags = LbServiceFlagSERVICE_ONE_PACKET
		s.write()
		r.want(in, LbReasonDROP_NO_LOCAL)
		if n := len(r.conns()); n != 0 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestAnEndOfAnEndedConnectionIsFree: IPv6 tries the same ends each time, and a connection made anew takes what the old one had.
func TestAnEndOfAnEndedConnectionIsFree(t *testing.T) {
	r, _, real, in, server := ofEitherFamily(t, true, tcpProto)
	in.flags = syn
	local := localEnd(t, r.want(in, LbReasonFORWARD_NEW))
	answer := frame{flags: rst, from: server, to: local, src: realMAC(int(real))}
	r.want(answer, LbReasonFORWARD_REPLY) // CLOSE: a SYN makes it anew
	if again := localEnd(t, r.want(in, LbReasonFORWARD_NEW)); again != local {
		t.Errorf("%v, and then %v", local, again)
	}
	answer.flags = syn | ack
	r.want(answer, LbReasonFORWARD_REPLY)
	if n := len(r.conns()); n != 2 {
		t.Errorf("%d lines, want the connection and its way back", n)
	}
	r.checkTable()
}

// TestRepliesThatCannotGoUnderFullNAT: too large for the way to the client, of which the host tells; no way; no connection.
func TestRepliesThatCannotGoUnderFullNAT(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r, _, real, in, server := ofEitherFamily(t, v6, udpProto)
		local := localEnd(t, r.want(in, LbReasonFORWARD_NEW))
		// way says that the routes were asked a moment ago, and of what size packets reach the client.
		way := func(mtu uint32) {
			t.Helper()
			asked, key := r.tick()+60*ticksPerSecond, LbClientKey{Addr: addr6(client6.Addr())}
			if v6 {
				var known LbClient
				if err := r.Clients6.Lookup(key, &known); err != nil {
					t.Fatal(err)
				}
				r.put(r.Clients6, key, LbClient{Hop: known.Hop, Tick: asked, Mtu: mtu})
				return
			}
			r.edit(r.connection(), func(c *LbConn) { c.Addr[LbSpareSPARE_HOP_TICK], c.Addr[LbSpareSPARE_HOP_MTU] = asked, mtu })
		}
		back := frame{proto: udpProto, from: server, to: local, src: realMAC(int(real)), payload: make([]byte, 100)}
		size := uint32(len(back.bytes()) - 14)
		way(size)
		r.want(back, LbReasonFORWARD_REPLY)
		way(size - 1)
		if !v6 {
			r.want(back, LbReasonDROP_TOO_BIG)
			back.frag = 0x4000
		}
		r.want(back, LbReasonPASS_NOT_SERVICE)
		way(0)
		if v6 {
			r.pushOut(client6.Addr())
			first := back
			first.next, first.options = nextFragment, fragment6(udpProto, 0, true, 7)
			r.want(first, LbReasonDROP_NO_NEIGHBOUR)
		} else {
			r.edit(r.connection(), func(c *LbConn) { c.Addr[LbSpareSPARE_HOP], c.Addr[LbSpareSPARE_HOP+1] = 0, 0 })
		}
		r.want(back, LbReasonDROP_NO_NEIGHBOUR)
		r.travel(301)
		r.want(back, LbReasonPASS_NOT_SERVICE)
	})
}

// TestFragmentsUnderFullNAT: following fragments have the ends of the first.
func TestFragmentsUnderFullNAT(t *testing.T) {
	r, _, real := fullnat(t, udpProto, 4, 1)
	first := frame{proto: udpProto, frag: 0x2000, payload: make([]byte, 64), summed: true}
	next := frame{proto: udpProto, frag: 9, payload: []byte("the rest of it.."), from: client, to: vip}
	r.want(next, LbReasonPASS_FRAGMENT)
	local := localOf(t, r.want(first, LbReasonFORWARD_NEW))
	out := r.want(next, LbReasonFORWARD_FRAGMENT)
	if netip.AddrFrom4([4]byte(out[26:])) != local.Addr() || netip.AddrFrom4([4]byte(out[30:])) != realAddr(real) || sum(out[14:34]) != 0xffff ||
		!bytes.Equal(out[34:], next.bytes()[34:]) {
		t.Errorf("% x", out)
	}
	next.ttl = 1
	r.want(next, LbReasonDROP_TTL)
	back := replyTo(real, local, 0)
	back.proto, back.frag, back.payload = udpProto, 0x2000, make([]byte, 64)
	r.want(back, LbReasonFORWARD_REPLY)
	back.frag = 9
	out = r.want(back, LbReasonFORWARD_REPLY)
	if netip.AddrFrom4([4]byte(out[26:])) != vip.Addr() || netip.AddrFrom4([4]byte(out[30:])) != client.Addr() || sum(out[14:34]) != 0xffff ||
		!bytes.Equal(out[34:], back.bytes()[34:]) {
		t.Errorf("% x", out)
	}
}

// TestFragmentsWithoutAFirstThatWent: what follows a first fragment that had no local end, and what cannot go itself.
func TestFragmentsWithoutAFirstThatWent(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r, _, _, in, _ := ofEitherFamily(t, v6, udpProto)
		piece := func(offset uint16, more bool, ttl uint8) frame {
			f := in
			f.payload, f.ttl = make([]byte, 32), ttl
			if v6 {
				f.next, f.options = nextFragment, fragment6(udpProto, offset, more, 7)
			} else if f.frag = offset; more {
				f.frag |= 0x2000
			}
			return f
		}
		for _, step := range []struct {
			in  frame
			why LbReason
			six LbReason // if another
		}{
			{piece(0, true, 1), LbReasonREPLY_TTL, 0}, {piece(5, false, 64), LbReasonDROP_NO_LOCAL, 0}, {piece(5, false, 1), LbReasonDROP_TTL, LbReasonREPLY_TTL},
			{piece(0, true, 64), LbReasonFORWARD_HIT, 0}, {piece(5, false, 64), LbReasonFORWARD_FRAGMENT, 0}, {piece(5, false, 1), LbReasonDROP_TTL, LbReasonREPLY_TTL},
		} {
			if v6 {
				step.why = or(step.six, step.why)
			}
			r.want(step.in, step.why)
		}
	})
}

// TestAnotherLocalEndThanItsOwn: a line for replies of which the connection does not know is another CPU's, which chose too late.
func TestAnotherLocalEndThanItsOwn(t *testing.T) {
	r, _, real := fullnat(t, udpProto, 4, 1)
	local := localOf(t, r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW))
	back := replyTo(real, local, 0)
	back.proto = udpProto
	r.want(back, LbReasonFORWARD_REPLY)
	r.edit(r.connection(), func(c *LbConn) { c.Addr[LbSpareSPARE_LOCAL+1] ^= 0x100 }) // its port
	r.want(back, LbReasonPASS_NOT_SERVICE)
}

// TestWhatCannotGoUnderFullNAT: as with any method.
func TestWhatCannotGoUnderFullNAT(t *testing.T) {
	r, s, real := fullnat(t, tcpProto, 4, 1)
	in := frame{flags: syn, ttl: 1}
	checkError(t, in, r.want(in, LbReasonREPLY_TTL), 11, 0, 0)
	s.change(real, func(e *LbReal) { e.Mtu = 50 })
	in = frame{flags: ack, frag: 0x4000, payload: make([]byte, 20)}
	out := r.want(in, LbReasonREPLY_TOO_BIG)
	in.ttl = 63
	checkError(t, in, out, 3, 4, 50)
	in.frag, in.ttl = 0, 64
	r.want(in, LbReasonDROP_TOO_BIG)
	s.change(real, func(e *LbReal) { e.Mtu, e.Ifindex = 0, 0 })
	r.want(frame{flags: ack}, LbReasonDROP_NO_NEIGHBOUR)
	if err := r.Roads.Delete(uint32(LbRoadROAD_FULL)); err != nil {
		t.Fatal(err)
	}
	r.want(frame{flags: ack}, LbReasonPASS_NO_ROAD)
}

// TestErrorsUnderFullNAT: either way an error is about the packet as its receiver sent it.
func TestErrorsUnderFullNAT(t *testing.T) {
	r, s, real := fullnat(t, udpProto, 4, 1)
	s.change(real, func(e *LbReal) { e.Port = port2(8080) })
	request := frame{proto: udpProto, summed: true, payload: []byte("hello")}
	sent := r.want(request, LbReasonFORWARD_NEW)
	local, server := localOf(t, sent), netip.AddrPortFrom(realAddr(real), 8080)
	check := func(in, want frame, quoted, like []byte) {
		t.Helper()
		quoted = bytes.Clone(quoted)
		copy(quoted[26:28], like[26:28]) // ipvs: the quoted transport checksum stays
		fresh := errorAbout(want.from.Addr(), want.to.Addr(), 3, 4, 1400, quoted)
		fresh.src, fresh.dst, fresh.ttl = want.src, want.dst, 63
		if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, fresh.bytes()) {
			t.Errorf("got  % x\nwant % x", out, fresh.bytes())
		}
	}
	request.ttl = 63
	for _, from := range []netip.Addr{server.Addr(), stranger} {
		in := errorAbout(from, local.Addr(), 3, 4, 1400, sent[14:])
		check(in, frame{from: vip, to: client, src: ourMAC, dst: routerMAC}, request.packet(), sent[14:])
	}
	size := uint64(2 * (28 + len(sent[14:])))
	if n := r.counters(r.RealCounters, real); n.Outpkts != 2 || n.Outbytes != size {
		t.Errorf("counted %+v, want 2 packets of %d bytes out", n, size)
	}
	answer := frame{proto: udpProto, from: vip, to: client, summed: true, payload: []byte("an answer")}
	its := answer
	its.from, its.to = server, local
	in := errorAbout(stranger, vip.Addr(), 3, 4, 1400, answer.packet())
	check(in, frame{from: netip.AddrPortFrom(stranger, 0), to: server, src: ourMAC, dst: realMAC(int(real))}, its.packet(), answer.packet())
	other := its
	other.to = netip.AddrPortFrom(local.Addr(), local.Port()^1)
	other.from, other.to = other.to, other.from
	r.want(errorAbout(stranger, local.Addr(), 3, 3, 0, other.packet()), LbReasonPASS_NOT_SERVICE)
}
