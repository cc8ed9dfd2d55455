package bpf

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// Masquerading of IPv6, both ways; and of both families what SCTP's checksum and fragments need.

// realAddr6 is the address that add gives a real server of an IPv6 service.
func realAddr6(real uint32) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 8, 15: byte(10 + real)})
}

// masqueraded6 is a service of IPv6 with one NAT real server.
func masqueraded6(t *testing.T, proto uint8) (*rig, *service, uint32) {
	t.Helper()
	r := newRig(t, 4)
	r.neighbourhood()
	s := r.serve(vip6, proto, LbSchedulerSCHED_RR)
	real := s.add(1)
	s.change(real, func(e *LbReal) { e.Forward = masq })
	r.expectReplies6(real)
	return r, s, real
}

// expectReplies6 does what user space does for a NAT real server of IPv6.
func (r *rig) expectReplies6(real uint32) {
	r.Helper()
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_NAT6) })
	f := get[LbFilter](r, r.SourceFilter, 0)
	f.May[FilterIndex(realAddr6(real))] = 1
	r.put(r.SourceFilter, 0, f)
}

// sctpSum fills in an SCTP packet's checksum: RFC 9260 appendix A, lowest byte first.
func sctpSum(f frame) []byte {
	b := f.bytes()
	at := len(b) - len(f.transport())
	binary.LittleEndian.PutUint32(b[at+8:], 0)
	binary.LittleEndian.PutUint32(b[at+8:], crc32.Checksum(b[at:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// wire is the frame with every checksum filled in.
func (f frame) wire() []byte {
	if f.proto == sctpProto {
		return sctpSum(f)
	}
	return f.bytes()
}

var nat6Frames = []frame{
	{flags: ack, payload: []byte("GET / HTTP/1.1\r\n\r\n")},
	{flags: ack, payload: []byte("odd"), ttl: 2},
	{flags: ack, trailer: make([]byte, 6), tos: 0xb8},
	{flags: ack, payload: make([]byte, 1400)},
	{flags: ack, next: nextHopByHop, options: hopByHop(nextOptions), payload: []byte("behind headers")},
}

// variant makes one of the frames of a protocol whole.
func variant(in frame, proto uint8) frame {
	in.proto, in.summed = proto, true
	if in.options != nil {
		in.options = append(bytes.Clone(in.options), options16(proto)...)
	}
	if proto == sctpProto {
		in.payload, in.trailer = append([]byte{3, 0, 0, 8, 1, 2, 3, 4}, in.payload...), nil
	}
	return in
}

// TestEveryWordOfAnIPv6AddressIsSummed: the real server's differs from the virtual one in each, which are terms of the checksum.
func TestEveryWordOfAnIPv6AddressIsSummed(t *testing.T) {
	r, s, real := masqueraded6(t, tcpProto)
	host := netip.MustParseAddr("fd12:3456:789a:bcde:f012:3456:789a:bcde")
	s.change(real, func(e *LbReal) { e.Addr, e.Port = addr6(host), 0 })
	f := get[LbFilter](r, r.SourceFilter, 0)
	f.May[FilterIndex(host)] = 1
	r.put(r.SourceFilter, 0, f)
	server := netip.AddrPortFrom(host, vip6.Port())
	for i, flags := range []uint8{syn, ack, ack} { // by either road
		in := frame{flags: flags, to: vip6, summed: true, payload: []byte("GET")}
		want := in
		want.to, want.from, want.dst, want.src, want.ttl = server, client6, realMAC(int(real)), ourMAC, 63
		if _, out, why := r.run(in.bytes()); !bytes.Equal(out, want.bytes()) {
			t.Errorf("%d: %s\ngot  % x\nwant % x", i, why.name(), out, want.bytes())
		}
		in.src, in.from, in.to, in.flags = realMAC(int(real)), server, client6, ack
		want = in
		want.from, want.src, want.dst, want.ttl = vip6, ourMAC, routerMAC, 63
		if _, out, why := r.run(in.bytes()); !bytes.Equal(out, want.bytes()) {
			t.Errorf("%d, reply: %s\ngot  % x\nwant % x", i, why.name(), out, want.bytes())
		}
	}
}

// TestMasqueradedFrameOfIPv6: the destination is the real server's, the reply's source the virtual one; all checksums are
// those of packets that were always so.
func TestMasqueradedFrameOfIPv6(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto, sctpProto} {
		r, s, real := masqueraded6(t, proto)
		for _, port := range []uint16{0, 80, 8080, 0xffff} {
			s.change(real, func(e *LbReal) { e.Port = port2(port) })
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			server := netip.AddrPortFrom(realAddr6(real), or(port, vip6.Port()))
			opening := frame{proto: proto, flags: syn, to: vip6, summed: true}
			if proto == sctpProto {
				opening.payload = chunks(1).payload
			}
			r.want(opening, LbReasonFORWARD_NEW)
			before := r.counters(r.RealCounters, real)
			for _, one := range nat6Frames {
				in := variant(one, proto)
				in.to = vip6
				want := in
				want.to, want.from, want.dst, want.src, want.ttl = server, client6, realMAC(int(real)), ourMAC, or(in.ttl, 64)-1
				if _, out, why := r.run(in.wire()); !bytes.Equal(out, want.wire()) || why != LbReasonFORWARD_HIT {
					t.Errorf("%s protocol %d port %d\ngot  % x\nwant % x", why.name(), proto, port, out, want.wire())
				}

				in.src, in.from, in.to = realMAC(int(real)), server, client6
				want = in
				want.from, want.src, want.dst, want.ttl = vip6, ourMAC, routerMAC, or(in.ttl, 64)-1
				if _, out, why := r.run(in.wire()); !bytes.Equal(out, want.wire()) || why != LbReasonFORWARD_REPLY {
					t.Errorf("reply: %s protocol %d port %d\ngot  % x\nwant % x", why.name(), proto, port, out, want.wire())
				}
			}
			if n := r.counters(r.RealCounters, real); n.Outpkts-before.Outpkts != 5 || n.Inpkts-before.Inpkts != 5 || n.Outbytes-before.Outbytes != n.Inbytes-before.Inbytes {
				t.Errorf("counted %+v, before %+v", n, before)
			}
		}
		r.checkTable()
	}
}

// TestStatesUnderNATOfIPv6: both sides are heard: the handshake, and a close that the server begins.
func TestStatesUnderNATOfIPv6(t *testing.T) {
	r, _, real := masqueraded6(t, tcpProto)
	server := netip.AddrPortFrom(realAddr6(real), 80)
	for _, step := range []struct {
		reply bool
		flags uint8
		state int
	}{{false, syn, 3}, {true, syn | ack, 3}, {false, ack, 1}, {true, fin | ack, 4}, {false, ack, 4}, {false, fin | ack, 5}, {true, ack, 5}} {
		in, why := frame{flags: step.flags, to: vip6}, LbReasonFORWARD_HIT
		if step.flags == syn {
			why = LbReasonFORWARD_NEW
		}
		if step.reply {
			in.from, in.to, in.src, why = server, client6, realMAC(int(real)), LbReasonFORWARD_REPLY
		}
		r.want(in, why)
		if got := r.conn(); got.state() != step.state || got.flags()&LbConnFlagCONN_NOOUTPUT != 0 {
			t.Errorf("after %+v: state %d, flags %#x", step, got.state(), got.flags())
		}
	}
}

// TestNoReplyOfIPv6: what a NAT real server sends else is the host's, as it came.
func TestNoReplyOfIPv6(t *testing.T) {
	r, s, real := masqueraded6(t, tcpProto)
	r.want(frame{flags: syn, to: vip6}, LbReasonFORWARD_NEW)
	mine := frame{flags: ack, from: netip.AddrPortFrom(realAddr6(real), 80), to: client6, src: realMAC(int(real)), summed: true}
	for _, row := range []struct {
		name   string
		change func(f *frame)
	}{
		{"from another port", func(f *frame) { f.from = netip.AddrPortFrom(f.from.Addr(), 81) }},
		{"to another client", func(f *frame) { f.to = at("[2001:db8:4::103]:5244") }},
		{"to one that differs in the first word", func(f *frame) { f.to = at("[2002:db8:4::102]:5244") }},
		{"to another port of the client", func(f *frame) { f.to = port6(5245) }},
		{"of another protocol", func(f *frame) { f.proto = udpProto }},
		{"of a protocol without ports", func(f *frame) { f.proto = 47 }},
		{"from an address that only shares the filter bit", func(f *frame) { f.from = at("[2001:db8::8:0:0:b]:80") }},
		{"from nobody's address", func(f *frame) { f.from = at("[2001:db8:8::99]:80") }},
		{"of version 4", func(f *frame) { f.version = 4 }},
		{"with a hop limit that ends here: the host says so", func(f *frame) { f.ttl = 1 }},
		{"nine extension headers", func(f *frame) {
			f.next, f.options = nextOptions, append(bytes.Repeat(hopByHop(nextOptions), 8), hopByHop(tcpProto)...)
		}},
		{"a following fragment whose first one was not seen", func(f *frame) { f.next, f.options = nextFragment, fragment6(tcpProto, 5, false, 1) }},
	} {
		in := mine
		row.change(&in)
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(in, or(map[string]LbReason{"of version 4": LbReasonPASS_MALFORMED}[row.name], LbReasonPASS_NOT_SERVICE))
		})
	}
	r.TB = t
	s.change(real, func(e *LbReal) { e.Forward = route })
	r.want(mine, LbReasonPASS_NOT_SERVICE)
	s.change(real, func(e *LbReal) { e.Forward = masq })
	r.want(mine, LbReasonFORWARD_REPLY)
	r.travel(2000)
	r.want(mine, LbReasonPASS_NOT_SERVICE)
	r.travel(-2000)
	r.tune(func(t *LbTunables) { t.Have = 0 })
	r.want(mine, LbReasonPASS_NOT_SERVICE)
}

func TestLocalServerUnderNATOfIPv6(t *testing.T) {
	r, s, real := masqueraded6(t, tcpProto)
	r.want(frame{flags: syn, to: vip6, ttl: 1}, LbReasonREPLY_TTL)
	s.change(real, func(e *LbReal) { e.Ifindex = 0; e.Flags |= uint8(LbRealFlagREAL_LOCAL) })
	r.want(frame{flags: syn, to: vip6, ttl: 1}, LbReasonPASS_LOCAL)
	s.change(real, func(e *LbReal) { e.Port = 0 })
	r.want(frame{flags: ack, to: vip6}, LbReasonPASS_LOCAL)
	s.change(real, func(e *LbReal) { e.Port = port2(8080) })
	r.want(frame{flags: ack, to: vip6}, LbReasonDROP_LOCAL_NAT)
}

// TestFragmentsUnderNAT: of requests and of replies a following one goes where the first went, from or to the same address;
// of either family.
func TestFragmentsUnderNAT(t *testing.T) {
	r := stillRig(t, 4)
	r.neighbourhood()
	four, six := r.serve(vip, udpProto, LbSchedulerSCHED_RR), r.serve(vip6, udpProto, LbSchedulerSCHED_RR)
	for _, row := range []struct {
		s            *service
		vip, client  netip.AddrPort
		serverOf     func(uint32) netip.Addr
		expect       func(uint32)
		bytesOfReply int
	}{
		{four, vip, client, realAddr, func(n uint32) { r.expectReplies(n) }, 60},
		{six, vip6, client6, realAddr6, r.expectReplies6, 88},
	} {
		real := row.s.add(1)
		row.s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, port2(5353) })
		row.expect(real)
		server := netip.AddrPortFrom(row.serverOf(real), 5353)
		piece := func(from, to netip.AddrPort, offset uint16, more bool) frame {
			f := frame{proto: udpProto, from: from, to: to, payload: make([]byte, 32)}
			if f.six() {
				f.next, f.options = nextFragment, fragment6(udpProto, offset, more, 7)
			} else if f.frag = offset; more {
				f.frag |= 0x2000
			}
			return f
		}
		check := func(in frame, why LbReason, from, to netip.AddrPort, dst mac) {
			t.Helper()
			want := in
			want.from, want.to, want.dst, want.src, want.ttl = from, to, dst, ourMAC, 63
			out, expected := r.want(in, why), want.bytes()
			if in.frag&0x1fff != 0 || in.six() && in.options[2]|in.options[3]&^1 != 0 { // what follows has no ports: they stay
				copy(expected[len(expected)-40:], in.bytes()[len(in.bytes())-40:])
			}
			if !bytes.Equal(out, expected) {
				t.Errorf("%s\ngot  % x\nwant % x", why.name(), out, expected)
			}
		}
		request := func(offset uint16, more bool) frame { return piece(row.client, row.vip, offset, more) }
		reply := func(offset uint16, more bool) frame {
			f := piece(server, row.client, offset, more)
			f.src = realMAC(int(real))
			return f
		}
		check(request(0, true), LbReasonFORWARD_NEW, row.client, server, realMAC(int(real)))
		check(request(5, true), LbReasonFORWARD_FRAGMENT, row.client, server, realMAC(int(real)))
		r.want(reply(5, false), LbReasonPASS_NOT_SERVICE)
		check(reply(0, true), LbReasonFORWARD_REPLY, row.vip, row.client, routerMAC)
		check(reply(5, true), LbReasonFORWARD_REPLY, row.vip, row.client, routerMAC)
		check(reply(9, false), LbReasonFORWARD_REPLY, row.vip, row.client, routerMAC)
		if n := r.counters(r.RealCounters, real); n.Outpkts != 3 || n.Outbytes != uint64(3*len(reply(0, true).bytes())-3*14) {
			t.Errorf("counted %+v", n)
		}
		late := reply(9, false)
		late.ttl = 1
		r.want(late, LbReasonPASS_NOT_SERVICE)
		r.travel(30)
		check(reply(9, false), LbReasonFORWARD_REPLY, row.vip, row.client, routerMAC)
		r.advance(1)
		r.want(reply(9, false), LbReasonPASS_NOT_SERVICE)
		r.advance(-30*ticksPerSecond - 1)
	}
}

// TestReplyOfIPv6FollowsTheRoutes: where the host knows the way to the client, replies take it.
func TestReplyOfIPv6FollowsTheRoutes(t *testing.T) {
	r, _, real := masqueraded6(t, tcpProto)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 7}, MTU: 1400}, PeerName: "far"}))
	link, err := netlink.LinkByName("out")
	must(err)
	for _, name := range []string{"lo", "far", "out"} {
		one, err := netlink.LinkByName(name)
		must(err)
		must(netlink.LinkSetUp(one))
	}
	must(netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("2001:db8:9::1"), Mask: net.CIDRMask(64, 128)}, Flags: 2})) // IFA_F_NODAD
	there := &netlink.Route{Dst: &net.IPNet{IP: net.ParseIP("2001:db8:4::"), Mask: net.CIDRMask(64, 128)}, Gw: net.ParseIP("2001:db8:9::2"), LinkIndex: link.Attrs().Index}
	must(netlink.RouteAdd(there))
	r.put(r.Links, link.Attrs().Index, LbLink{Mac: mac{2, 0, 0, 0, 0, 7}})
	r.want(frame{flags: syn, to: vip6}, LbReasonFORWARD_NEW)
	mine := frame{flags: ack, from: netip.AddrPortFrom(realAddr6(real), 80), to: client6, src: realMAC(int(real)), summed: true}
	from := func(want uint32, dst, src mac) {
		t.Helper()
		verdict, out, why := r.run(mine.bytes())
		if why != LbReasonFORWARD_REPLY || verdict != want || mac(out) != dst || mac(out[6:]) != src {
			t.Errorf("%s, verdict %d, % x; want verdict %d to %v from %v", why.name(), verdict, out[:12], want, dst, src)
		}
	}
	from(xdpTX, routerMAC, ourMAC) // the gateway's MAC is not known
	key := LbClientKey{Addr: addr6(client6.Addr())}
	var known LbClient
	must(r.Clients6.Lookup(key, &known))
	known.Tick = r.tick() + 60*ticksPerSecond // asked a moment ago, however busy the machine is
	must(r.Clients6.Put(key, known))
	must(netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP("2001:db8:9::2"), State: netlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 9, 1}}))
	from(xdpTX, routerMAC, ourMAC)
	r.travel(62)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7})
	r.pushOut(client6.Addr())
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7})
	must(netlink.RouteDel(there))
	r.travel(62)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7}) // no way is known any more: the last one holds
	must(netlink.RouteAdd(there))
	mine.payload = make([]byte, 1400-60)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7})
	mine.payload = make([]byte, 1400-60+1)
	r.want(mine, LbReasonPASS_NOT_SERVICE) // the host tells the real server
	mine.payload = nil
	r.put(r.Links, link.Attrs().Index, LbLink{})
	r.want(mine, LbReasonDROP_NO_NEIGHBOUR)
	must(netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: client6.Addr().AsSlice(), Mask: net.CIDRMask(128, 128)}, LinkIndex: 1, Type: 6})) // RTN_BLACKHOLE
	r.travel(2)
	r.want(mine, LbReasonDROP_NO_NEIGHBOUR)
}

// TestReplyToAClientThatNobodyKnows: pushed out of the table, and the routes do not know it.
func TestReplyToAClientThatNobodyKnows(t *testing.T) {
	r, _, real := masqueraded6(t, tcpProto)
	r.want(frame{flags: syn, to: vip6}, LbReasonFORWARD_NEW)
	mine := frame{flags: ack, from: netip.AddrPortFrom(realAddr6(real), 80), to: client6, src: realMAC(int(real)), summed: true}
	r.want(mine, LbReasonFORWARD_REPLY)
	r.pushOut(client6.Addr())
	r.want(mine, LbReasonDROP_NO_NEIGHBOUR)
	mine.next, mine.options = nextFragment, fragment6(tcpProto, 0, true, 7)
	r.want(mine, LbReasonDROP_NO_NEIGHBOUR)
	mine.options = fragment6(tcpProto, 5, false, 7)
	r.want(mine, LbReasonPASS_NOT_SERVICE)
}

// TestAClientThatComesByAnotherWay: its next connection says so, and the routes are asked again.
func TestAClientThatComesByAnotherWay(t *testing.T) {
	r, _, real := masqueraded6(t, tcpProto)
	key, asked := LbClientKey{Addr: addr6(client6.Addr())}, LbClient{Tick: r.tick(), Mtu: 1280}
	known := func() (c LbClient) {
		t.Helper()
		if err := r.Clients6.Lookup(key, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	r.opened(frame{to: vip6})
	asked.Hop = known().Hop
	if got := known(); got != (LbClient{Hop: asked.Hop}) {
		t.Errorf("a new client is %+v", got)
	}
	r.put(r.Clients6, key, asked)
	r.opened(frame{to: vip6, from: port6(2)})
	if got := known(); got != asked {
		t.Errorf("by the same way: %+v, was %+v", got, asked)
	}
	another := mac{2, 0, 0, 0, 0, 9}
	r.opened(frame{to: vip6, from: port6(3), src: another})
	if got := known(); got.Hop == asked.Hop || got != (LbClient{Hop: got.Hop}) {
		t.Errorf("by another way: %+v, was %+v", got, asked)
	}
	out := r.want(frame{flags: ack, from: netip.AddrPortFrom(realAddr6(real), 80), to: port6(3), src: realMAC(int(real))}, LbReasonFORWARD_REPLY)
	if mac(out) != another {
		t.Errorf("the reply went to %v", mac(out))
	}
}
