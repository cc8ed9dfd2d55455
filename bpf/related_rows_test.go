package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// Errors of both families: to whom they cannot go, and what they may be about.

// errorSaid is that a port is not reachable, from a stranger about a packet, in the words of the packet's family.
func errorSaid(to netip.Addr, quoted []byte) frame {
	if to.Is6() {
		return errorAbout6(stranger6, to, 1, 4, 0, quoted)
	}
	return errorAbout(stranger, to, 3, 3, 0, quoted)
}

// whole is the packet, of either family.
func (f frame) whole() []byte {
	if f.six() {
		return f.packet6()
	}
	return f.packet()
}

// quotedTo is the sender of a packet that is quoted: to whom an error about it goes.
func quotedTo(packet []byte) netip.Addr {
	if packet[0]>>4 == 6 {
		return netip.AddrFrom16([16]byte(packet[8:]))
	}
	return netip.AddrFrom4([4]byte(packet[12:]))
}

// TestErrorsReachTheRealServerWhereverItIs: about TCP and SCTP, with the virtual port as its own, and into a VLAN.
func TestErrorsReachTheRealServerWhereverItIs(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		for _, proto := range []uint8{tcpProto, sctpProto} {
			start, its, addr := masqueraded, answered(proto), realAddr
			if v6 {
				start, its, addr = masqueraded6, answered6(proto), realAddr6
			}
			r, s, real := start(t, proto)
			opens := frame{proto: proto, flags: syn, from: its.to, to: its.from}
			if proto == sctpProto {
				opens.payload = chunks(1).payload
			}
			r.want(opens, LbReasonFORWARD_NEW)
			quoted := its.whole()
			in := errorSaid(its.from.Addr(), quoted)
			mine := its
			mine.from = netip.AddrPortFrom(addr(real), its.from.Port())
			check := len(quoted) - len(its.transport()) + map[uint8]int{tcpProto: 16, sctpProto: 8}[proto]
			sent := mine.whole()
			copy(sent[check:check+2], quoted[check:check+2]) // ipvs: stays
			want := errorSaid(addr(real), sent)
			want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
			for _, tags := range [][]uint32{nil, {tagOf(0x8100, 7)}} {
				tci := tciOf(0, 0)
				if tags != nil {
					tci = tciOf(7, 0)
				}
				s.change(real, func(e *LbReal) { e.Port, e.Tci = 0, tci })
				want.tags = tags
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
					t.Errorf("protocol %d, tags %x\ngot  % x\nwant % x", proto, tags, out, want.bytes())
				}
			}
			r.meta = allRoom
			r.want(in, LbReasonDROP_NO_ROOM)
			r.meta = 0
			r.edit(r.conn(), func(c *LbConn) { c.Real = uint32(LbNumberNO_REAL) })
			r.want(in, LbReasonDROP_REAL_GONE)
		}
	})
}

// senders are those about whose packets errors come, by what became of the packets.
var senders = map[string]struct {
	start      func(t *testing.T) (*rig, *service, uint32)
	from, to   netip.AddrPort
	masquerade bool
}{
	"NAT":              {func(t *testing.T) (*rig, *service, uint32) { return masqueraded(t, udpProto) }, client, vip, true},
	"NAT of IPv6":      {func(t *testing.T) (*rig, *service, uint32) { return masqueraded6(t, udpProto) }, client6, vip6, true},
	"FULLNAT":          {func(t *testing.T) (*rig, *service, uint32) { return fullnat(t, udpProto, 4, 1) }, client, vip, true},
	"FULLNAT of IPv6":  {func(t *testing.T) (*rig, *service, uint32) { return fullnat6(t, udpProto, 1) }, client6, vip6, true},
	"a tunnel":         {byTunnel(masqueraded, far4), client, vip, false},
	"a tunnel of IPv6": {byTunnel(masqueraded6, far6), client6, vip6, false},
}

func byTunnel(start func(*testing.T, uint8) (*rig, *service, uint32), far netip.Addr) func(t *testing.T) (*rig, *service, uint32) {
	return func(t *testing.T) (*rig, *service, uint32) {
		r, s, real := start(t, udpProto)
		s.change(real, tunnelTo(far, 0, 0))
		r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_TUNNEL | LbHaveHAVE_TUNNEL6) })
		return r, s, real
	}
}

// TestErrorsThatCannotReachTheClient: the interface by which it came is no more, or nobody knows the way. The host has those that
// have come far enough, and those about a protocol without ports.
func TestErrorsThatCannotReachTheClient(t *testing.T) {
	for name, row := range senders {
		t.Run(name, func(t *testing.T) {
			r, _, _ := row.start(t)
			r.inVLANs()
			request := frame{proto: udpProto, from: row.from, to: row.to, summed: true, payload: []byte("hello"), tags: []uint32{tagOf(0x8100, 7)}}
			sent := r.want(request, LbReasonFORWARD_NEW)[14:]
			in := errorSaid(quotedTo(sent), sent)
			if row.masquerade {
				late := in
				late.ttl = 1
				r.want(late, LbReasonPASS_NOT_SERVICE)
				other := bytes.Clone(sent)
				other[map[bool]int{false: 9, true: 6}[request.six()]] = 50
				r.want(errorSaid(quotedTo(sent), other), LbReasonPASS_NOT_SERVICE)
			}
			r.want(in, LbReasonFORWARD_ICMP)
			known := get[LbLink](r, r.Links, elsewhere)
			r.put(r.Links, elsewhere, LbLink{})
			r.want(in, LbReasonDROP_NO_NEIGHBOUR)
			r.put(r.Links, elsewhere, known)
			r.want(in, LbReasonFORWARD_ICMP)
			if !request.six() {
				return
			}
			r.pushOut(row.from.Addr())
			r.want(in, LbReasonDROP_NO_NEIGHBOUR)
		})
	}
}

// TestErrorsAboutWhatHasExpired are the host's, whichever way they would have gone.
func TestErrorsAboutWhatHasExpired(t *testing.T) {
	for name, row := range senders {
		t.Run(name, func(t *testing.T) {
			r, _, _ := row.start(t)
			sent := r.want(frame{proto: udpProto, from: row.from, to: row.to, summed: true}, LbReasonFORWARD_NEW)[14:]
			answer := frame{proto: udpProto, from: row.to, to: row.from, summed: true}
			errors := map[LbReason]frame{LbReasonPASS_NOT_SERVICE: errorSaid(quotedTo(sent), sent), LbReasonPASS_ICMP: errorSaid(row.to.Addr(), answer.whole())}
			for _, in := range errors {
				r.want(in, LbReasonFORWARD_ICMP)
			}
			r.travel(301)
			for why, in := range errors {
				r.want(in, why)
			}
		})
	}
}

// TestErrorsAboutAServiceThatIsGone: those about replies reach the real server, and count there, as long as the connection lasts.
func TestErrorsAboutAServiceThatIsGone(t *testing.T) {
	for name, row := range senders {
		if !row.masquerade {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r, s, real := row.start(t)
			r.want(frame{proto: udpProto, from: row.from, to: row.to, summed: true}, LbReasonFORWARD_NEW)
			s.remove(real)
			r.put(r.ServiceFilter, 0, LbFilter{})
			answer := frame{proto: udpProto, from: row.to, to: row.from, summed: true, payload: []byte("an answer")}
			in := errorSaid(row.to.Addr(), answer.whole())
			before := r.counters(r.RealCounters, real)
			r.want(in, LbReasonFORWARD_ICMP)
			if n := r.counters(r.RealCounters, real); n.Inpkts != before.Inpkts+1 || n.Inbytes != before.Inbytes+uint64(len(in.whole())) {
				t.Errorf("counted %+v, before %+v", n, before)
			}
			r.travel(301)
			r.want(in, LbReasonPASS_NOT_SERVICE)
		})
	}
}

// TestOthersBesideFULLNAT: a director that has real servers of FULLNAT treats what comes back to the others as one that has none.
func TestOthersBesideFULLNAT(t *testing.T) {
	for name, row := range senders {
		t.Run(name, func(t *testing.T) {
			r, _, real := row.start(t)
			r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_FULL) })
			sent := r.want(frame{proto: udpProto, from: row.from, to: row.to, summed: true}, LbReasonFORWARD_NEW)[14:]
			answer := frame{proto: udpProto, from: row.to, to: row.from, summed: true}
			r.want(errorSaid(quotedTo(sent), sent), LbReasonFORWARD_ICMP)
			r.want(errorSaid(row.to.Addr(), answer.whole()), LbReasonFORWARD_ICMP)
			if !row.masquerade || get[LbReal](r, r.Reals, real).Locals != 0 {
				return
			}
			if answer.from = netip.AddrPortFrom(realAddr(real), row.to.Port()); answer.six() {
				answer.from = netip.AddrPortFrom(realAddr6(real), row.to.Port())
			}
			r.want(answer, LbReasonFORWARD_REPLY)
		})
	}
}

// TestErrorsSayNothingOfTheClientsWay: least of all that another client's packet came by, also when the service is gone.
func TestErrorsSayNothingOfTheClientsWay(t *testing.T) {
	r, _ := quotable(t, vip6, far6)
	r.oneCPU = true
	way := func() (c LbClient) {
		t.Helper()
		if err := r.Clients6.Lookup(LbClientKey{Addr: addr6(client6.Addr())}, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	known := way()
	r.put(r.ServiceFilter, 0, LbFilter{})
	other := at("[2001:db8:8::10]:80")
	r.serve(other, tcpProto, LbSchedulerSCHED_RR).add(1)
	if FilterIndex(other.Addr()) == FilterIndex(vip6.Addr()) {
		t.Fatal("the other service lets packets to this one pass")
	}
	r.opened(frame{from: client6Number(1), to: other, src: mac{2, 0, 0, 0, 0, 99}})
	r.want(errorSaid(vip6.Addr(), answered6(udpProto).packet6()), LbReasonFORWARD_ICMP)
	if now := way(); now != known {
		t.Errorf("its way is %+v, was %+v", now, known)
	}
}

// TestErrorsAboutWhatMayBeATunnel: of a connection that goes by a tunnel now, between the addresses that it has now, and with enough
// of the packet inside that the client knows it again.
func TestErrorsAboutWhatMayBeATunnel(t *testing.T) {
	long := append([]byte{ipv6Proto, 448/8 - 1}, make([]byte, 446)...)
	for _, row := range []struct {
		name string
		to   netip.AddrPort
		far  netip.Addr
		said func(outer []byte) []byte // what is quoted; nil: all
		now  func(*LbReal)
		why  LbReason
	}{
		{"ours", vip, far4, nil, nil, LbReasonFORWARD_ICMP},
		{"ours, IPv6", vip6, far6, nil, nil, LbReasonFORWARD_ICMP},
		{"not by a tunnel now", vip, far4, nil, func(e *LbReal) { e.Forward = route }, LbReasonPASS_NOT_SERVICE},
		{"by IPv6 now", vip, far4, nil, tunnelTo(far6, 0, 0), LbReasonPASS_NOT_SERVICE},
		{"by IPv4 now", vip6, far6, nil, tunnelTo(far4, 0, 0), LbReasonPASS_NOT_SERVICE},
		{"from another address now", vip, far4, nil, func(e *LbReal) { e.Source[0] = addr4(stranger) }, LbReasonPASS_NOT_SERVICE},
		{"from another address now, IPv6", vip6, far6, nil, func(e *LbReal) { e.Source = addr6(stranger6) }, LbReasonPASS_NOT_SERVICE},
		{"of neither family", vip, far4, changed(20, 0x55), nil, LbReasonPASS_NOT_SERVICE},
		{"about a following fragment", vip, far4, changed(20+7, 1), nil, LbReasonPASS_NOT_SERVICE},
		{"about a protocol without ports", vip, far4, changed(20+9, 50), nil, LbReasonPASS_NOT_SERVICE},
		{"with half a header", vip6, far6, func(outer []byte) []byte { return outer[:40+30] }, nil, LbReasonPASS_NOT_SERVICE},
		{"with half the ports' header", vip6, far6, func(outer []byte) []byte { return outer[:40+40+4] }, nil, LbReasonPASS_NOT_SERVICE},
		{"with half an extension header", vip6, far6, func(outer []byte) []byte {
			return append(outer[:40:40], frame{proto: udpProto, to: vip6, next: nextOptions, options: options16(udpProto)}.packet6()[:44]...)
		}, nil, LbReasonPASS_NOT_SERVICE},
		{"behind an extension header", vip6, far6, func(outer []byte) []byte {
			return append(outer[:40:40], frame{proto: udpProto, to: vip6, next: nextOptions, options: options16(udpProto)}.packet6()...)
		}, nil, LbReasonFORWARD_ICMP},
		{"about a following fragment of IPv6", vip6, far6, func(outer []byte) []byte {
			return append(outer[:40:40], frame{proto: udpProto, to: vip6, next: nextFragment, options: fragment6(udpProto, 7, false, 1)}.packet6()...)
		}, nil, LbReasonPASS_NOT_SERVICE},
		{"behind a header outside", vip6, far6, func(outer []byte) []byte { return behind(outer, options16(ipv6Proto)) }, nil, LbReasonFORWARD_ICMP},
		{"behind 448 bytes of them", vip6, far6, func(outer []byte) []byte { return behind(outer, long) }, nil, LbReasonPASS_NOT_SERVICE},
		{"that has no length", vip, far4, func(outer []byte) []byte { return changed(20+3, 0)(outer) }, nil, LbReasonDROP_NO_ROOM},
		{"that is shorter than its header", vip, far4, changed(20+3, 12), nil, LbReasonDROP_NO_ROOM},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, outer := quotable(t, row.to, row.far)
			if row.now != nil {
				r.change(1, row.now)
			}
			if row.said != nil {
				outer = row.said(outer)
			}
			r.want(errorSaid(quotedTo(outer), outer), row.why)
		})
	}
}

// quotable is a client that has sent a datagram of 100 bytes into a tunnel to far, and the packet that went there.
func quotable(t *testing.T, to netip.AddrPort, far netip.Addr) (r *rig, outer []byte) {
	t.Helper()
	r = newRig(t, 4)
	r.neighbourhood()
	r.change(r.serve(to, udpProto, LbSchedulerSCHED_RR).add(1), tunnelTo(far, 0, 0))
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_TUNNEL | LbHaveHAVE_TUNNEL6) })
	return r, r.want(frame{proto: udpProto, to: to, summed: true, payload: make([]byte, 100)}, LbReasonFORWARD_NEW)[14:]
}

// changed is a packet with another byte.
func changed(at int, to byte) func(packet []byte) []byte {
	return func(packet []byte) []byte {
		packet = bytes.Clone(packet)
		packet[at] = to
		return packet
	}
}

// behind is a packet of IPv6 in IPv6 with extension headers between the two.
func behind(outer, headers []byte) []byte {
	return frame{proto: ipv6Proto, from: netip.AddrPortFrom(source6, 0), to: netip.AddrPortFrom(far6, 0), next: nextOptions, options: headers, body: outer[40:]}.packet6()
}

// TestWhatTheOtherFamilyHasNoWordFor is told to nobody (RFC 7915 4.2, 5.2).
func TestWhatTheOtherFamilyHasNoWordFor(t *testing.T) {
	r, outer := quotable(t, vip6, far4)
	r.want(errorAbout(stranger, source, 4, 0, 0, outer), LbReasonDROP_ICMP) // a source quench
	r, outer = quotable(t, vip, far6)
	r.want(errorAbout6(stranger6, source6, 4, 0, 0, outer), LbReasonDROP_ICMP) // an erroneous header field
}

// TestASizeThatLeavesNoRoom: no router has such, and the way's own is not known: none is told.
func TestASizeThatLeavesNoRoom(t *testing.T) {
	r, outer := quotable(t, vip, far4)
	out := r.want(errorAbout(stranger, source, 3, 4, 20, outer), LbReasonFORWARD_ICMP)
	in := frame{proto: udpProto, summed: true, payload: make([]byte, 100), ttl: 63}
	checkError(t, in, out, 3, 4, 0)
}

// errorWithoutALocalEnd6 sends an error about a reply to the one client, which goes on about a packet to the client itself.
func (r *rig) errorWithoutALocalEnd6(real uint32) {
	r.Helper()
	its := answered6(udpProto)
	mine := its
	mine.from = netip.AddrPortFrom(realAddr6(real), its.from.Port())
	want := errorSaid(realAddr6(real), withCheckOf(mine.packet6(), its.packet6(), udpProto))
	want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
	if out := r.want(errorSaid(vip6.Addr(), its.packet6()), LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
		r.Errorf("got  % x\nwant % x", out, want.bytes())
	}
}

// TestAnErrorOfBeforeFULLNAT: a connection from before its real server became FULLNAT has no local end that the quote could name.
func TestAnErrorOfBeforeFULLNAT(t *testing.T) {
	r, s, real := masqueraded(t, udpProto)
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	s.change(real, func(e *LbReal) { e.Source[0], e.Locals = addr4(local0), 1 })
	out := r.want(errorSaid(vip.Addr(), answered(udpProto).packet()), LbReasonFORWARD_ICMP)
	quote := out[14+28:]
	if got, ok := netip.AddrFromSlice(quote[16:20]); !ok || got != client.Addr() || binary.BigEndian.Uint16(quote[22:]) != client.Port() {
		t.Errorf("% x", quote)
	}
}
