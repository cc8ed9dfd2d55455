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
	state := func() int {
		for _, c := range r.conns() {
			if c.Kind&uint8(LbConnKindKIND_RETURN) == 0 {
				return c.state()
			}
		}
		return -1
	}
	for _, step := range []struct {
		in    frame
		why   LbReason
		state int
	}{
		{replyTo(real, local, syn|ack), LbReasonFORWARD_REPLY, 3}, {frame{flags: ack}, LbReasonFORWARD_HIT, 1},
		{replyTo(real, local, fin|ack), LbReasonFORWARD_REPLY, 4}, {frame{flags: fin | ack}, LbReasonFORWARD_HIT, 5},
	} {
		r.want(step.in, step.why)
		if got := state(); got != step.state {
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

// TestNoLocalEndIsLeft: a table without room.
func TestNoLocalEndIsLeft(t *testing.T) {
	r, _, _ := fullnat(t, udpProto, 1, 1)
	whys := map[LbReason]int{}
	for i := range 80 {
		_, _, why := r.run(frame{proto: udpProto, from: clientNumber(i)}.bytes())
		whys[why]++
	}
	if whys[LbReasonFORWARD_NEW] != 32 || whys[LbReasonDROP_NO_LOCAL] == 0 && whys[LbReasonDROP_TABLE_FULL] == 0 {
		t.Errorf("of 64 lines %v", whys)
	}
	r.checkTable()
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
