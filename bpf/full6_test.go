package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

var local6 = netip.MustParseAddr("2001:db8:8::fffe")

// fullnat6 is fullnat of IPv6.
func fullnat6(t *testing.T, proto uint8, locals uint8) (*rig, *service, uint32) {
	t.Helper()
	r, s, real := masqueraded6(t, proto)
	s.change(real, func(e *LbReal) {
		e.Source, e.Locals, e.Flags = addr6(local6), locals, e.Flags|uint8(LbRealFlagREAL_IPV6)
	})
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_FULL) })
	return r, s, real
}

// localEnd is localOf for either family, of a frame without extension headers.
func localEnd(t *testing.T, out []byte) netip.AddrPort {
	t.Helper()
	if out[12] == 8 {
		return localOf(t, out)
	}
	at := netip.AddrPortFrom(netip.AddrFrom16([16]byte(out[22:])), binary.BigEndian.Uint16(out[54:]))
	if at.Port() < 1024 || at.Port() >= 32768 {
		t.Errorf("the local end is %v: its port is one of the host's own connections", at)
	}
	return at
}

// TestFullNATFrame6: both ends of a request become others, and of a reply back again; with right checksums.
func TestFullNATFrame6(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto, sctpProto} {
		t.Run(fmt.Sprint("protocol ", proto), func(t *testing.T) { framesUnderFullNAT6(t, proto) })
	}
}

func framesUnderFullNAT6(t *testing.T, proto uint8) {
	r, s, real := fullnat6(t, proto, 1)
	for _, port := range []uint16{0, 8080} {
		s.change(real, func(e *LbReal) { e.Port = port2(port) })
		r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
		server := netip.AddrPortFrom(realAddr6(real), or(port, vip6.Port()))
		opening := frame{proto: proto, from: client6, to: vip6, flags: syn, summed: true}
		if proto == sctpProto {
			opening.payload = chunks(1).payload
		}
		_, out, why := r.run(opening.wire())
		if why != LbReasonFORWARD_NEW {
			t.Fatal(why.name())
		}
		local := localEnd(t, out)
		if local.Addr() != local6 {
			t.Errorf("from %v", local)
		}
		for _, one := range []frame{
			{flags: ack, payload: []byte("GET / HTTP/1.1\r\n\r\n")}, {flags: ack, payload: []byte("odd"), ttl: 2},
			{flags: ack, tags: []uint32{0x8100_0000}}, {flags: ack, next: 60, options: []byte{proto, 0, 1, 4, 0, 0, 0, 0}},
		} {
			in := one
			in.proto, in.summed, in.from, in.to = proto, true, client6, vip6
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
			want.from, want.to, want.src, want.dst, want.ttl = vip6, client6, ourMAC, routerMAC, or(in.ttl, 64)-1
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

// TestLocalEndsAreNeverShared6: many connections by four addresses; every one has an end of its own that stays, and its replies
// find it. Addresses are counted on over the 32 bits of a word.
func TestLocalEndsAreNeverShared6(t *testing.T) {
	r, s, real := fullnat6(t, udpProto, 4)
	s.change(real, func(e *LbReal) { e.Source = addr6(netip.MustParseAddr("2001:db8:8::ffff:fffe")) })
	const n = 60
	seen, hosts := map[netip.AddrPort]int{}, map[netip.Addr]bool{}
	request := func(i int) frame {
		return frame{proto: udpProto, from: netip.AddrPortFrom(client6.Addr(), uint16(1000+i)), to: vip6}
	}
	for i := range n {
		local := localEnd(t, r.want(request(i), LbReasonFORWARD_NEW))
		if j, taken := seen[local]; taken {
			t.Fatalf("connections %d and %d both have %v", i, j, local)
		}
		seen[local], hosts[local.Addr()] = i, true
		if again := localEnd(t, r.want(request(i), LbReasonFORWARD_HIT)); again != local {
			t.Fatalf("connection %d has %v, and then %v", i, local, again)
		}
	}
	for local, i := range seen {
		in := frame{proto: udpProto, from: netip.AddrPortFrom(realAddr6(real), 80), to: local, src: realMAC(int(real))}
		want := in
		want.from, want.to, want.src, want.dst, want.ttl = vip6, request(i).from, ourMAC, routerMAC, 63
		if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
			t.Fatalf("connection %d\ngot  % x\nwant % x", i, out, want.bytes())
		}
	}
	for _, a := range []string{"2001:db8:8::ffff:fffe", "2001:db8:8::ffff:ffff", "2001:db8:8::1:0:0", "2001:db8:8::1:0:1"} {
		if !hosts[netip.MustParseAddr(a)] || len(hosts) != 4 {
			t.Errorf("not from %s, of %v", a, hosts)
		}
	}
	r.order(r.Forget, LbOrder{Real: real})
	if left := len(r.conns()); left != 0 {
		t.Errorf("%d lines are left", left)
	}
	r.checkTable()
}

// TestWhatCannotGoUnderFullNAT6: as with any method.
func TestWhatCannotGoUnderFullNAT6(t *testing.T) {
	r, s, real := fullnat6(t, tcpProto, 1)
	request := func(f frame) frame { f.from, f.to = client6, vip6; return f }
	in := request(frame{flags: syn, ttl: 1})
	checkError6(t, in, r.want(in, LbReasonREPLY_TTL), 3, 0, 0)
	local := localEnd(t, r.want(request(frame{flags: syn}), LbReasonFORWARD_HIT))
	s.change(real, func(e *LbReal) { e.Mtu = 70 })
	in = request(frame{flags: ack, payload: make([]byte, 20)})
	out := r.want(in, LbReasonREPLY_TOO_BIG)
	in.ttl = 63
	checkError6(t, in, out, 2, 0, 70)
	s.change(real, func(e *LbReal) { e.Mtu, e.Ifindex = 0, 0 })
	r.want(request(frame{flags: ack}), LbReasonDROP_NO_NEIGHBOUR)
	reply := frame{flags: syn | ack, from: netip.AddrPortFrom(realAddr6(real), 80), to: local, src: realMAC(int(real))}
	for name, change := range map[string]func(f *frame){
		"to another local port":     func(f *frame) { f.to = netip.AddrPortFrom(local.Addr(), local.Port()^1) },
		"to another address":        func(f *frame) { f.to = netip.AddrPortFrom(local.Addr().Next(), local.Port()) },
		"from another port":         func(f *frame) { f.from = netip.AddrPortFrom(f.from.Addr(), 81) },
		"with a TTL that ends here": func(f *frame) { f.ttl = 1 },
		"nine extension headers": func(f *frame) {
			f.next, f.options = nextOptions, append(bytes.Repeat(hopByHop(nextOptions), 8), hopByHop(tcpProto)...)
		},
	} {
		one := reply
		change(&one)
		if _, _, why := r.run(one.bytes()); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("%s: %s", name, why.name())
		}
	}
	r.want(reply, LbReasonFORWARD_REPLY)
	if err := r.Roads.Delete(uint32(LbRoadROAD_FULL6)); err != nil {
		t.Fatal(err)
	}
	r.want(request(frame{flags: ack}), LbReasonPASS_NO_ROAD)
}

// TestFragmentsUnderFullNAT6: following fragments have the ends of the first.
func TestFragmentsUnderFullNAT6(t *testing.T) {
	r, _, real := fullnat6(t, udpProto, 1)
	piece := func(from, to netip.AddrPort, offset uint16, payload []byte) frame {
		f := frame{proto: udpProto, from: from, to: to, next: 44, options: binary.BigEndian.AppendUint32([]byte{udpProto, 0, byte(offset >> 8), byte(offset)}, 77)}
		if offset>>3 == 0 {
			f.payload = payload
			return f
		}
		f.proto, f.body = 0xfe, payload // nothing of its own in front
		return f
	}
	later := func(from, to netip.AddrPort) []byte {
		b := piece(from, to, 9<<3, []byte("the rest")).bytes()
		b[54] = udpProto
		return b
	}
	if _, _, why := r.run(later(client6, vip6)); why != LbReasonPASS_FRAGMENT {
		t.Error(why.name())
	}
	_, out, why := r.run(piece(client6, vip6, 1, make([]byte, 64)).bytes())
	if why != LbReasonFORWARD_NEW {
		t.Fatal(why.name())
	}
	local := netip.AddrPortFrom(netip.AddrFrom16([16]byte(out[22:])), binary.BigEndian.Uint16(out[62:]))
	server := netip.AddrPortFrom(realAddr6(real), 80)
	for _, step := range []struct {
		in, want []byte
		why      LbReason
	}{
		{later(client6, vip6), later(local, server), LbReasonFORWARD_FRAGMENT},
		{piece(server, local, 1, make([]byte, 64)).bytes(), piece(vip6, client6, 1, make([]byte, 64)).bytes(), LbReasonFORWARD_REPLY},
		{later(server, local), later(vip6, client6), LbReasonFORWARD_REPLY},
	} {
		_, out, why := r.run(step.in)
		if why != step.why || !bytes.Equal(out[15+7:], step.want[15+7:]) {
			t.Errorf("%s, want %s\ngot  % x\nwant % x", why.name(), step.why.name(), out, step.want)
		}
	}
}

// TestErrorsUnderFullNAT6: either way an error is about the packet as its receiver sent it.
func TestErrorsUnderFullNAT6(t *testing.T) {
	r, s, real := fullnat6(t, udpProto, 1)
	s.change(real, func(e *LbReal) { e.Port = port2(8080) })
	stranger6 := netip.MustParseAddr("2001:db8:77::1")
	request := frame{proto: udpProto, from: client6, to: vip6, summed: true, payload: []byte("hello")}
	sent := r.want(request, LbReasonFORWARD_NEW)
	local, server := localEnd(t, sent), netip.AddrPortFrom(realAddr6(real), 8080)
	check := func(in, want frame, quoted, like []byte) {
		t.Helper()
		quoted = bytes.Clone(quoted)
		copy(quoted[46:48], like[46:48]) // the quoted transport checksum stays
		fresh := errorAbout6(want.from.Addr(), want.to.Addr(), 2, 0, 1400, quoted)
		fresh.src, fresh.dst, fresh.ttl = want.src, want.dst, 63
		if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, fresh.bytes()) {
			t.Errorf("got  % x\nwant % x", out, fresh.bytes())
		}
	}
	request.ttl = 63
	for _, from := range []netip.Addr{server.Addr(), stranger6} {
		check(errorAbout6(from, local.Addr(), 2, 0, 1400, sent[14:]), frame{from: vip6, to: client6, src: ourMAC, dst: routerMAC}, request.packet6(), sent[14:])
	}
	size := uint64(2 * (48 + len(sent[14:])))
	if n := r.counters(r.RealCounters, real); n.Outpkts != 2 || n.Outbytes != size {
		t.Errorf("counted %+v, want 2 packets of %d bytes out", n, size)
	}
	answer := frame{proto: udpProto, from: vip6, to: client6, summed: true, payload: []byte("an answer")}
	its := answer
	its.from, its.to = server, local
	check(errorAbout6(stranger6, vip6.Addr(), 2, 0, 1400, answer.packet6()),
		frame{from: netip.AddrPortFrom(stranger6, 0), to: server, src: ourMAC, dst: realMAC(int(real))}, its.packet6(), answer.packet6())
	other := its
	other.from, other.to = netip.AddrPortFrom(local.Addr(), local.Port()^1), its.from
	r.want(errorAbout6(stranger6, local.Addr(), 1, 4, 0, other.packet6()), LbReasonPASS_NOT_SERVICE)
}

// TestRateOfAnswersUnderFullNAT: one too many is dropped, as without.
func TestRateOfAnswersUnderFullNAT(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r, in := (*rig)(nil), frame{flags: syn, from: client, to: vip, ttl: 1}
		if v6 {
			r, _, _ = fullnat6(t, tcpProto, 1)
			in.from, in.to = client6, vip6
		} else {
			r, _, _ = fullnat(t, tcpProto, 4, 1)
		}
		r.oneCPU = true
		r.want(in, LbReasonREPLY_TTL)
		r.tune(func(t *LbTunables) { t.AnswerRate = 1 })
		for range 1000 { // a second's worth is eight, and the clock goes on meanwhile
			switch _, _, why := r.run(in.bytes()); why {
			case LbReasonREPLY_TTL:
			case LbReasonDROP_ANSWER:
				return
			default:
				t.Fatal(why.name())
			}
		}
		t.Error("all were answered")
	})
}
