package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// errorAbout6 is an ICMPv6 error from somebody about a packet, as much of it as is given.
func errorAbout6(from, to netip.Addr, typ, code byte, rest uint32, quoted []byte) frame {
	icmp := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest)
	icmp = append(icmp, quoted...)
	f := frame{proto: icmp6Proto, from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(to, 0), body: icmp}
	binary.BigEndian.PutUint16(icmp[2:], ^sum(append(pseudo6(f.packet6(), icmp6Proto, len(icmp)), icmp...)))
	return f
}

var stranger6 = netip.MustParseAddr("2001:db8:ff::1")

// answered6 is what a real server sends that is heard by the client: from the virtual address.
func answered6(proto uint8) frame {
	return frame{proto: proto, from: vip6, to: client6, flags: ack, summed: true, payload: []byte("an answer"), ttl: 60}
}

// withCheckOf is the packet with the transport checksum of another: what is quoted keeps its own.
func withCheckOf(packet, other []byte, proto uint8) []byte {
	check := 40 + map[uint8]int{tcpProto: 16, udpProto: 6}[proto]
	packet = bytes.Clone(packet)
	copy(packet[check:check+2], other[check:check+2])
	return packet
}

// TestErrorsOfIPv6ReachTheRealServer: RFC 4443's four kinds, about a reply, to whom it is from, by its method. Also to one that was removed.
func TestErrorsOfIPv6ReachTheRealServer(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto} {
		r, s, real := masqueraded6(t, proto)
		r.want(frame{proto: proto, flags: syn, to: vip6}, LbReasonFORWARD_NEW)
		for _, leave := range leavings {
			leave.do(s, real)
			for _, kind := range [][2]byte{{1, 4}, {2, 0}, {3, 1}, {4, 2}} {
				for _, size := range []int{48, 200} {
					quoted := answered6(proto).packet6()
					quoted = quoted[:min(size, len(quoted))]
					in := errorAbout6(stranger6, vip6.Addr(), kind[0], kind[1], 1400, quoted)

					s.change(real, func(e *LbReal) { e.Forward = route })
					want := in
					want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
					if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
						t.Errorf("%s, direct routing\ngot  % x\nwant % x", leave.name, out, want.bytes())
					}

					tunnelled := get[LbReal](r, r.Reals, real)
					tunnelled.Forward, tunnelled.Source = tunnel, addr6(source6)
					r.put(r.Reals, real, tunnelled)
					in.ttl = 64
					inner := in
					inner.ttl = 63
					if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, over(realAddr6(real), 0, 0, inner.packet6(), out)) {
						t.Errorf("%s, IPv6 in IPv6: % x", leave.name, out)
					}

					s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) })
					its := answered6(proto)
					its.from = netip.AddrPortFrom(realAddr6(real), 8080)
					mine := withCheckOf(its.packet6(), answered6(proto).packet6(), proto)
					want = errorAbout6(stranger6, realAddr6(real), kind[0], kind[1], 1400, mine[:len(quoted)])
					want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
					if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
						t.Errorf("%s, NAT\ngot  % x\nwant % x", leave.name, out, want.bytes())
					}
				}
			}
		}
		size := len(frame{proto: proto, to: vip6}.packet6()) + 3*4*3*(48+48+48+len(answered6(proto).packet6()))
		if n := r.counters(r.RealCounters, real); n.Inpkts != 1+3*4*2*3 || n.Inbytes != uint64(size) {
			t.Errorf("counted %+v", n)
		}
		large := errorAbout6(stranger6, vip6.Addr(), 2, 0, 1400, answered6(proto).packet6())
		r.change(real, func(e *LbReal) { e.Mtu = 60 })
		r.want(large, LbReasonDROP_ICMP)
		r.want(frame{proto: proto, flags: ack, to: vip6}, LbReasonDROP_REAL_GONE)
	}
}

// TestErrorsOfIPv6ReachTheClient: what a NAT real server, or a router on the way there, says of a request comes from the
// virtual address and is about the request as the client sent it.
func TestErrorsOfIPv6ReachTheClient(t *testing.T) {
	r, s, real := masqueraded6(t, udpProto)
	s.change(real, func(e *LbReal) { e.Port = port2(8080) })
	request := frame{proto: udpProto, to: vip6, summed: true, payload: []byte("hello")}
	quoted := r.want(request, LbReasonFORWARD_NEW)[14:]
	for _, from := range []netip.Addr{realAddr6(real), stranger6} {
		for _, kind := range [][2]byte{{1, 4}, {2, 0}, {3, 0}, {4, 0}} {
			in := errorAbout6(from, client6.Addr(), kind[0], kind[1], 1280, quoted)
			in.src = realMAC(int(real))
			as := request
			as.ttl = 63
			want := errorAbout6(vip6.Addr(), client6.Addr(), kind[0], kind[1], 1280, withCheckOf(as.packet6(), quoted, udpProto))
			want.src, want.dst, want.ttl = ourMAC, routerMAC, 63
			if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
				t.Errorf("got  % x\nwant % x", out, want.bytes())
			}
		}
	}
	size := uint64(8 * (40 + 8 + len(quoted)))
	if n := r.counters(r.RealCounters, real); n.Outpkts != 8 || n.Outbytes != size || n.Inpkts != 1 {
		t.Errorf("counted %+v", n)
	}
}

// TestErrorsAboutTunnelsOfIPv6: the client is told about its own packet, in its own family's words; where a size is told,
// the tunnel's headers are taken off.
func TestErrorsAboutTunnelsOfIPv6(t *testing.T) {
	type word struct {
		typ, code byte
		rest      uint32
	}
	four := map[word]word{ // RFC 7915 4.2, to IPv6
		{3, 4, 1400}: {2, 0, 1400}, {3, 4, 0}: {2, 0, 1500}, {3, 3, 0}: {1, 4, 0}, {3, 2, 0}: {4, 1, 6}, {3, 1, 0}: {1, 0, 0}, {3, 13, 0}: {1, 1, 0},
		{3, 9, 0}: {1, 1, 0}, {3, 10, 0}: {1, 1, 0}, {11, 0, 0}: {3, 0, 0},
	}
	six := map[word]word{ // RFC 7915 5.2, to IPv4
		{2, 0, 1400}: {3, 4, 1400}, {1, 4, 0}: {3, 3, 0}, {1, 0, 0}: {3, 1, 0}, {1, 1, 0}: {3, 10, 0}, {1, 3, 0}: {3, 1, 0}, {3, 0, 0}: {11, 0, 0},
		{4, 1, 6}: {3, 2, 0},
	}
	same := map[word]word{{2, 0, 1400}: {2, 0, 1400}, {1, 4, 0}: {1, 4, 0}, {1, 3, 0}: {1, 3, 0}, {3, 0, 0}: {3, 0, 0}, {4, 1, 40}: {4, 1, 40}}
	r := newRig(t, 4)
	r.neighbourhood()
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	s := r.serve(vip6, udpProto, LbSchedulerSCHED_RR)
	s.members = []LbMember{{Real: 1, Weight: 1}}
	s.refill()
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_TUNNEL | LbHaveHAVE_TUNNEL6) })
	for _, row := range []struct {
		name  string
		to    netip.AddrPort
		far   netip.Addr
		words map[word]word
	}{{"6in6", vip6, far6, same}, {"4in6", vip, far6, six}, {"6in4", vip6, far4, four}} {
		for name, w := range tunnels {
			t.Run(row.name+" "+name, func(t *testing.T) {
				r.TB = t
				r.change(1, tunnelTo(row.far, w.kind, w.flags))
				r.change(1, func(e *LbReal) { e.Mtu, e.Tunnel, e.TunnelFlags = 1500, w.kind, uint16(w.flags) })
				request := frame{proto: udpProto, to: row.to, frag: 0x4000, summed: true, payload: make([]byte, 900)}
				_, frame, why := r.run(request.bytes())
				if !forwardsWhy(why) {
					t.Fatal(why.name())
				}
				outer := frame[14:]
				request.ttl = 63
				inner := request.packet
				if row.to.Addr().Is6() {
					inner = request.packet6
				}
				more := len(outer) - len(inner())
				for said, told := range row.words {
					for _, size := range []int{more + 48, min(len(outer), 548)} {
						in := errorAbout(stranger, source, said.typ, said.code, said.rest, outer[:size])
						if row.far.Is6() {
							in = errorAbout6(stranger6, source6, said.typ, said.code, said.rest, outer[:size])
						}
						in.src = realMAC(1)
						rest := told.rest
						if rest > 1000 {
							rest -= uint32(more)
						}
						if told.typ == 4 && !row.far.Is4() {
							rest = said.rest
						}
						quoted := inner()[:size-more]
						want := errorAbout(vip.Addr(), client.Addr(), told.typ, told.code, rest, quoted)
						want.tos = 0xc0
						if row.to.Addr().Is6() {
							want = errorAbout6(vip6.Addr(), client6.Addr(), told.typ, told.code, rest, quoted)
						}
						want.src, want.dst = ourMAC, routerMAC
						if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
							t.Errorf("%v\ngot  % x\nwant % x", said, out, want.bytes())
						}
					}
				}
				elsewhere := errorAbout(stranger, source, 3, 3, 0, outer)
				if row.far.Is6() {
					elsewhere = errorAbout6(stranger6, source6, 1, 4, 0, outer)
				}
				r.change(1, func(e *LbReal) { e.Addr[0] ^= 1 << 31; e.Tunnel, e.TunnelFlags = w.kind, uint16(w.flags) })
				r.want(elsewhere, LbReasonPASS_NOT_SERVICE)
			})
		}
	}
}

// TestErrorsOfIPv6OfNobody: what belongs to no connection is the host's, untouched.
func TestErrorsOfIPv6OfNobody(t *testing.T) {
	r, s, real := masqueraded6(t, tcpProto)
	r.want(frame{flags: syn, to: vip6}, LbReasonFORWARD_NEW)
	reply := answered6(tcpProto)
	good := errorAbout6(stranger6, vip6.Addr(), 1, 4, 0, reply.packet6())
	other := func(change func(f *frame)) frame {
		f := reply
		change(&f)
		return errorAbout6(stranger6, vip6.Addr(), 1, 4, 0, f.packet6())
	}
	optional := reply
	optional.next, optional.options = nextOptions, options16(tcpProto)
	for _, row := range []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"a ping", frame{proto: icmp6Proto, to: vip6, body: []byte{128, 0, 0, 0, 0, 0, 0, 0}}, LbReasonPASS_ICMP},
		{"a ping with a packet in it", errorAbout6(stranger6, vip6.Addr(), 128, 0, 0, reply.packet6()), LbReasonPASS_ICMP},
		{"a redirect", errorAbout6(stranger6, vip6.Addr(), 137, 0, 0, reply.packet6()), LbReasonPASS_ICMP},
		{"an error of a kind that nobody knows", errorAbout6(stranger6, vip6.Addr(), 5, 0, 0, reply.packet6()), LbReasonPASS_ICMP},
		{"of kind 0", errorAbout6(stranger6, vip6.Addr(), 0, 0, 0, reply.packet6()), LbReasonPASS_ICMP},
		{"about another client", other(func(f *frame) { f.to = at("[2001:db8:4::103]:5244") }), LbReasonPASS_ICMP},
		{"about another port", other(func(f *frame) { f.from = netip.AddrPortFrom(vip6.Addr(), 81) }), LbReasonPASS_ICMP},
		{"about another protocol", other(func(f *frame) { f.proto = udpProto }), LbReasonPASS_ICMP},
		{"about a protocol without ports", other(func(f *frame) { f.proto = 50 }), LbReasonPASS_ICMP},
		{"about a following fragment", other(func(f *frame) { f.next, f.options = nextFragment, fragment6(tcpProto, 7, false, 1) }), LbReasonPASS_ICMP},
		{"about IPv4", other(func(f *frame) { f.version = 4 }), LbReasonPASS_ICMP},
		{"about a packet that another sent", other(func(f *frame) { f.from = at("[2001:db8:8::10]:80") }), LbReasonPASS_ICMP},
		{"what reads like one", func() frame { f := good; f.proto = 50; return f }(), LbReasonPASS_NOT_SERVICE},
		{"with less than is quoted always", errorAbout6(stranger6, vip6.Addr(), 1, 4, 0, reply.packet6()[:47]), LbReasonPASS_ICMP},
		{"with less than a header", errorAbout6(stranger6, vip6.Addr(), 1, 4, 0, reply.packet6()[:39]), LbReasonPASS_ICMP},
		{"with less than an error's header", frame{proto: icmp6Proto, to: vip6, body: []byte{1, 4, 0, 0}}, LbReasonPASS_ICMP},
		{"quoted to the middle of a header", errorAbout6(stranger6, vip6.Addr(), 1, 4, 0, optional.packet6()[:44]), LbReasonPASS_ICMP},
		{"in the first of some fragments", func() frame {
			f := good
			f.next, f.options = nextFragment, fragment6(icmp6Proto, 0, true, 1)
			return f
		}(), LbReasonPASS_ICMP},
		{"to another address", errorAbout6(stranger6, source6, 1, 4, 0, reply.packet6()), LbReasonPASS_NOT_SERVICE},
		{"that has come far enough", func() frame { f := good; f.ttl = 1; return f }(), LbReasonDROP_ICMP},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(row.in, row.why)
		})
	}
	r.TB = t
	r.want(good, LbReasonFORWARD_ICMP)
	behind := other(func(f *frame) {
		f.next, f.options = nextHopByHop, append(hopByHop(nextOptions), options16(tcpProto)...)
	})
	r.want(behind, LbReasonFORWARD_ICMP)
	behind.next, behind.options = nextOptions, options16(icmp6Proto)
	r.want(behind, LbReasonFORWARD_ICMP)
	s.change(real, func(e *LbReal) { e.Forward, e.Mtu = route, 60 })
	r.want(good, LbReasonDROP_ICMP)
}
