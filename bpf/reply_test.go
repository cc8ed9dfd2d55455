package bpf

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbourhood puts the test into a network of its own, where nothing is routed: a reply goes back by whom the request came.
func (r *rig) neighbourhood() {
	r.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		r.Fatal(err)
	}
}

// realAddr is the address that add gives.
func realAddr(real uint32) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 8, byte(10 + real)}) }

// expectReplies does what user space does for a NAT real server.
func (r *rig) expectReplies(reals ...uint32) {
	r.Helper()
	t := get[LbTunables](r, r.Tuning, 0)
	t.Have |= uint32(LbHaveHAVE_NAT)
	r.put(r.Tuning, 0, t)
	f := get[LbFilter](r, r.SourceFilter, 0)
	for _, real := range reals {
		f.May[FilterIndex(realAddr(real))] = 1
	}
	r.put(r.SourceFilter, 0, f)
}

// replyOf is what a real server sends back to the client.
func replyOf(real uint32, flags uint8) frame {
	return frame{src: realMAC(int(real)), from: netip.AddrPortFrom(realAddr(real), vip.Port()), to: client, flags: flags, summed: true}
}

// masqueraded is a service with one NAT real server.
func masqueraded(t *testing.T, proto uint8) (*rig, *service, uint32) {
	t.Helper()
	r := newRig(t, 4)
	r.neighbourhood()
	s := r.serve(vip, proto, LbSchedulerSCHED_RR)
	real := s.add(1)
	s.change(real, func(e *LbReal) { e.Forward = masq })
	r.expectReplies(real)
	return r, s, real
}

// TestReplyFrame: the source is the virtual address and port again, and the frame goes back to whom the request came from.
func TestReplyFrame(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto} {
		r, s, real := masqueraded(t, proto)
		for _, port := range []uint16{0, 80, 8080} {
			s.change(real, func(e *LbReal) { e.Port = port2(port) })
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			r.want(frame{proto: proto, flags: syn, summed: true}, LbReasonFORWARD_NEW)
			before := r.counters(r.RealCounters, real)
			size := uint64(0)
			for _, in := range []frame{
				{flags: syn | ack},
				{flags: ack, payload: []byte("HTTP/1.1 200 OK\r\n\r\n")},
				{flags: ack, payload: []byte("odd"), options: bytes.Repeat([]byte{1}, 40), ttl: 2},
				{flags: ack, frag: 0x4000, trailer: make([]byte, 6), tos: 0x28},
			} {
				in.proto, in.summed, in.to = proto, true, client
				in.src, in.from = realMAC(int(real)), netip.AddrPortFrom(realAddr(real), or(port, vip.Port()))
				want := in
				want.from, want.src, want.dst, want.ttl = vip, ourMAC, routerMAC, or(in.ttl, 64)-1
				if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
					t.Errorf("protocol %d port %d\ngot  % x\nwant % x", proto, port, out, want.bytes())
				}
				size += uint64(len(in.packet()))
			}
			n := r.counters(r.RealCounters, real)
			if n.Outpkts-before.Outpkts != 4 || n.Outbytes-before.Outbytes != size || n.Inpkts != before.Inpkts {
				t.Errorf("counted %+v, before %+v", n, before)
			}
		}
	}
}

// TestMasqueradedSCTP: both ways the checksum, which is over the whole packet and no pseudo header, is that of a packet whose port was always so.
func TestMasqueradedSCTP(t *testing.T) {
	r, s, real := masqueraded(t, sctpProto)
	for _, port := range []uint16{0, 80, 8080, 0xffff} {
		s.change(real, func(e *LbReal) { e.Port = port2(port) })
		r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
		server, why := netip.AddrPortFrom(realAddr(real), or(port, vip.Port())), LbReasonFORWARD_NEW
		for _, payload := range [][]byte{chunks(1).payload, {3, 0, 0, 8, 1, 2, 3, 4}, append([]byte{3, 0, 0, 8}, make([]byte, 1400)...)} {
			for _, options := range [][]byte{nil, bytes.Repeat([]byte{1}, 40)} {
				in := frame{proto: sctpProto, payload: payload, options: options}
				want := in
				want.to, want.dst, want.src, want.ttl = server, realMAC(int(real)), ourMAC, 63
				if _, out, got := r.run(in.wire()); !bytes.Equal(out, want.wire()) || got != why {
					t.Errorf("%s port %d\ngot  % x\nwant % x", got.name(), port, out, want.wire())
				}
				why = LbReasonFORWARD_HIT

				in.src, in.from, in.to = realMAC(int(real)), server, client
				want = in
				want.from, want.src, want.dst, want.ttl = vip, ourMAC, routerMAC, 63
				if _, out, got := r.run(in.wire()); !bytes.Equal(out, want.wire()) || got != LbReasonFORWARD_REPLY {
					t.Errorf("reply: %s port %d\ngot  % x\nwant % x", got.name(), port, out, want.wire())
				}
			}
		}
	}
	r.checkTable()
}

// TestNoReply: what a NAT real server sends else is the host's, as it came.
func TestNoReply(t *testing.T) {
	r, s, real := masqueraded(t, tcpProto)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	mine := replyOf(real, ack)
	for _, row := range []struct {
		name   string
		change func(f *frame)
	}{
		{"from another port", func(f *frame) { f.from = netip.AddrPortFrom(f.from.Addr(), 81) }},
		{"to another client", func(f *frame) { f.to = at("10.0.4.103:5244") }},
		{"to another port of the client", func(f *frame) { f.to = at("10.0.4.102:5245") }},
		{"of another protocol", func(f *frame) { f.proto = udpProto }},
		{"of a protocol without ports", func(f *frame) { f.proto = 47 }},
		{"from an address that only shares the filter bit", func(f *frame) { f.from = at("11.8.10.0:80") }},
		{"from nobody's address", func(f *frame) { f.from = at("10.0.8.99:80") }},
		{"with a TTL that ends here: the host says so", func(f *frame) { f.ttl = 1 }},
		{"a following fragment", func(f *frame) { f.frag = 5; f.payload = make([]byte, 40) }},
	} {
		in := mine
		row.change(&in)
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(in, LbReasonPASS_NOT_SERVICE)
		})
	}
	r.TB = t
	r.want(frame{flags: ack, from: port(9)}, LbReasonPASS_NO_CONNECTION)
	s.change(real, func(e *LbReal) { e.Forward = route })
	r.want(mine, LbReasonPASS_NOT_SERVICE)
	s.change(real, func(e *LbReal) { e.Forward = masq })
	r.want(mine, LbReasonFORWARD_REPLY)
	r.travel(2000)
	r.want(mine, LbReasonPASS_NOT_SERVICE)
}

// TestReplyOfARemovedServer: its replies pass while connections last, as with IPVS; requests do not.
func TestReplyOfARemovedServer(t *testing.T) {
	r, s, real := masqueraded(t, tcpProto)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	s.remove(real)
	r.want(replyOf(real, ack), LbReasonFORWARD_REPLY)
	r.want(frame{flags: ack}, LbReasonDROP_REAL_GONE)
}

// TestReplyClearsNoOutput: a connection that was learned, or was routed once, is heard on both sides from its first reply on.
func TestReplyClearsNoOutput(t *testing.T) {
	r, s, real := masqueraded(t, tcpProto)
	s.change(real, func(e *LbReal) { e.Forward = route })
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	s.change(real, func(e *LbReal) { e.Forward = masq })
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	if c := r.conn(); c.flags()&LbConnFlagCONN_NOOUTPUT == 0 || c.state() != established {
		t.Errorf("flags %#x, state %d", c.flags(), c.state())
	}
	r.want(replyOf(real, ack), LbReasonFORWARD_REPLY)
	if c := r.conn(); c.flags()&LbConnFlagCONN_NOOUTPUT != 0 || c.state() != established {
		t.Errorf("after a reply: flags %#x, state %d", c.flags(), c.state())
	}
	if n := r.counts(real); n != [3]uint32{1, 0, 0} {
		t.Errorf("counts %v", n)
	}
}

// TestReplyAssuresTheTemplate: a datagram's template is assured by the first reply.
func TestReplyAssuresTheTemplate(t *testing.T) {
	r, s, real := masqueraded(t, udpProto)
	s.persist = 60
	s.write()
	r.want(frame{proto: udpProto}, LbReasonFORWARD_NEW)
	if r.template().flags()&LbConnFlagCONN_ASSURED != 0 {
		t.Error("assured before")
	}
	reply := replyOf(real, 0)
	reply.proto = udpProto
	r.want(reply, LbReasonFORWARD_REPLY)
	if r.template().flags()&LbConnFlagCONN_ASSURED == 0 {
		t.Error("not assured")
	}
}

// TestReplyOfSCTPAssuresNothing: its template is assured when the association is, as TCP's.
func TestReplyOfSCTPAssuresNothing(t *testing.T) {
	r, s, real := masqueraded(t, sctpProto)
	s.persist = 60
	s.write()
	r.want(chunks(1), LbReasonFORWARD_NEW)
	for _, step := range []struct {
		chunk   uint8
		assured bool
	}{{2, false}, {11, true}} { // INIT ACK, COOKIE ACK
		reply := replyOf(real, 0)
		reply.proto, reply.payload = sctpProto, chunks(step.chunk).payload
		r.want(reply, LbReasonFORWARD_REPLY)
		if got := r.template().flags()&LbConnFlagCONN_ASSURED != 0; got != step.assured {
			t.Errorf("after chunk %d: assured %v", step.chunk, got)
		}
	}
}

// TestReplyFollowsTheRoutes: where the host knows the way to the client, replies take it, and learn of a change within a
// second or so.
func TestReplyFollowsTheRoutes(t *testing.T) {
	r, _, real := masqueraded(t, tcpProto)
	for _, path := range []string{"all/forwarding", "lo/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+path, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	out := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 7}, MTU: 1400}, PeerName: "far"}
	must(netlink.LinkAdd(out))
	link, err := netlink.LinkByName("out")
	must(err)
	must(netlink.LinkSetUp(link))
	far, err := netlink.LinkByName("far")
	must(err)
	must(netlink.LinkSetUp(far))
	lo, err := netlink.LinkByName("lo")
	must(err)
	must(netlink.LinkSetUp(lo))
	must(netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IP{10, 0, 9, 1}, Mask: net.CIDRMask(24, 32)}}))
	must(netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IP{10, 0, 4, 0}, Mask: net.CIDRMask(24, 32)}, Gw: net.IP{10, 0, 9, 2}}))
	neighbour := func(last byte) {
		t.Helper()
		must(netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.IP{10, 0, 9, 2}, State: netlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 9, last}}))
	}
	r.put(r.Links, link.Attrs().Index, LbLink{Mac: mac{2, 0, 0, 0, 0, 7}})
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	from := func(want uint32, dst, src mac) {
		t.Helper()
		verdict, out, why := r.run(replyOf(real, ack).bytes())
		if why != LbReasonFORWARD_REPLY || verdict != want || mac(out) != dst || mac(out[6:]) != src {
			t.Errorf("%s, verdict %d, % x; want verdict %d to %v from %v", why.name(), verdict, out[:12], want, dst, src)
		}
	}
	// asked says that the routes were asked a moment ago, however busy the machine is.
	asked := func() {
		r.edit(r.conn(), func(c *LbConn) { c.Addr[LbSpareSPARE_HOP_TICK] = r.tick() + 60*ticksPerSecond })
	}
	from(xdpTX, routerMAC, ourMAC) // the gateway's MAC is not known
	neighbour(1)
	asked()
	from(xdpTX, routerMAC, ourMAC)
	r.travel(62)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7})
	neighbour(2)
	asked()
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 1}, mac{2, 0, 0, 0, 0, 7})
	r.travel(62)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 2}, mac{2, 0, 0, 0, 0, 7})
	neighbour(3)
	own := &netlink.Route{Dst: &net.IPNet{IP: client.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}, LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
	must(netlink.RouteAdd(own))
	r.travel(62)
	from(xdpRedirect, mac{2, 0, 0, 0, 9, 2}, mac{2, 0, 0, 0, 0, 7}) // an address of the host's own tells no way: the last one holds
	must(netlink.RouteDel(own))

	large := replyOf(real, ack)
	large.payload, large.frag = make([]byte, 1400-40), 0x4000
	if _, _, why := r.run(large.bytes()); why != LbReasonFORWARD_REPLY {
		t.Errorf("what just fits: %s", why.name())
	}
	large.payload = make([]byte, 1400-40+1)
	r.want(large, LbReasonPASS_NOT_SERVICE) // the host tells the real server
	large.frag = 0
	r.want(large, LbReasonDROP_TOO_BIG)
	r.put(r.Links, link.Attrs().Index, LbLink{})
	r.want(replyOf(real, ack), LbReasonDROP_NO_NEIGHBOUR)
	must(netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: client.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}, Type: unix.RTN_BLACKHOLE}))
	r.travel(2)
	r.want(replyOf(real, ack), LbReasonDROP_NO_NEIGHBOUR)
}

// TestReplyOfTwoConnectionsWithTheSameEnds: two services send one client's port to one port of a real server. A reply belongs to
// the connection that was heard last, wherever they lie in the table; of the same moment to the one that is not closed.
func TestReplyOfTwoConnectionsWithTheSameEnds(t *testing.T) {
	r := newRig(t, 4)
	r.neighbourhood()
	other := netip.AddrPortFrom(vip.Addr(), 443)
	for _, to := range []netip.AddrPort{vip, other} {
		s := r.serve(to, tcpProto, LbSchedulerSCHED_RR)
		real := s.add(1)
		s.change(real, func(e *LbReal) { e.Forward, e.Port, e.Addr[0] = masq, port2(8080), addr4(realAddr(1)) })
		r.expectReplies(real)
	}
	f := get[LbFilter](r, r.SourceFilter, 0)
	f.May[FilterIndex(realAddr(1))] = 1
	r.put(r.SourceFilter, 0, f)
	from := func(out []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(out[26:])), binary.BigEndian.Uint16(out[34:]))
	}
	answer := frame{from: netip.AddrPortFrom(realAddr(1), 8080), to: client, src: realMAC(1)}
	for _, row := range []struct {
		first, last netip.AddrPort
		seconds     int
		end         uint8
	}{{vip, other, 1, 0}, {other, vip, 1, 0}, {vip, other, 0, rst}, {other, vip, 0, rst}} {
		r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
		r.want(frame{flags: syn, to: row.first}, LbReasonFORWARD_NEW)
		r.want(frame{flags: ack, to: row.first}, LbReasonFORWARD_HIT)
		if row.end != 0 {
			r.want(frame{flags: row.end, to: row.first}, LbReasonFORWARD_HIT)
		}
		r.travel(row.seconds)
		r.want(frame{flags: syn, to: row.last}, LbReasonFORWARD_NEW)
		answer.flags = syn | ack
		if got := from(r.want(answer, LbReasonFORWARD_REPLY)); got != row.last {
			t.Errorf("%+v: it comes from %v", row, got)
		}
		if row.end != 0 {
			continue
		}
		r.travel(1)
		r.want(frame{flags: ack, to: row.first}, LbReasonFORWARD_HIT)
		if got := from(r.want(answer, LbReasonFORWARD_REPLY)); got != row.first {
			t.Errorf("%+v: when the first was heard again it comes from %v", row, got)
		}
	}
}

// TestReplyInAFullRegion: each is found behind others of its client, of its port and of nobody any more, and what is not there is
// not.
func TestReplyInAFullRegion(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r := newRig(t, 1)
		r.neighbourhood()
		to, serverOf, number, of := vip, realAddr, clientNumber, port
		if v6 {
			to, serverOf, number, of = vip6, realAddr6, client6Number, port6
		}
		s := r.serve(to, tcpProto, LbSchedulerSCHED_RR)
		real := s.add(1)
		s.change(real, func(e *LbReal) { e.Forward = masq })
		r.expectReplies(real)
		r.expectReplies6(real)
		reply := func(to netip.AddrPort, why LbReason) {
			t.Helper()
			r.want(frame{flags: ack, from: netip.AddrPortFrom(serverOf(real), 80), to: to, src: realMAC(int(real))}, why)
		}
		all := []netip.AddrPort(nil)
		for i := range int(LbNumberREGION_LINES) {
			all = append(all, number(i))
			if i%2 == 1 {
				all[i] = of(uint16(i))
			}
			r.want(frame{flags: syn, from: all[i], to: to}, LbReasonFORWARD_NEW)
		}
		for _, one := range all {
			reply(one, LbReasonFORWARD_REPLY)
		}
		reply(of(0x4000), LbReasonPASS_NOT_SERVICE)
		reply(number(1), LbReasonPASS_NOT_SERVICE)
		last := all[len(all)-1]
		for _, one := range all[:len(all)-1] {
			r.want(frame{flags: rst, from: one, to: to}, LbReasonFORWARD_HIT)
		}
		r.travel(11)
		r.sweep()
		if n := len(r.conns()); n != 1 {
			t.Fatalf("%d are left", n)
		}
		reply(last, LbReasonFORWARD_REPLY)
		reply(all[0], LbReasonPASS_NOT_SERVICE)
	})
}

// TestRepliesOfEveryLengthPass: what a real server sends that ends within its headers is the host's.
func TestRepliesOfEveryLengthPass(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto, sctpProto} {
		r, _, real := masqueraded(t, proto)
		in := replyOf(real, ack)
		in.proto, in.options = proto, make([]byte, 40)
		if proto == sctpProto {
			in.payload = []byte{0, 0, 0, 4}
		}
		whole := in.bytes()
		for n := 14; n < len(whole); n++ {
			if verdict, out, why := r.run(whole[:n]); verdict != xdpPass || !bytes.Equal(out, whole[:n]) {
				t.Errorf("the first %d bytes of protocol %d: %s, verdict %d", n, proto, why.name(), verdict)
			}
		}
	}
}

// TestFollowingFragmentOfAReplyWhoseWayIsGone: the interface that its first one left by is nobody's any more.
func TestFollowingFragmentOfAReplyWhoseWayIsGone(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		with, to, from, serverOf := masqueraded, vip, client, realAddr
		if v6 {
			with, to, from, serverOf = masqueraded6, vip6, client6, realAddr6
		}
		r, _, real := with(t, udpProto)
		r.inVLANs()
		r.want(frame{proto: udpProto, from: from, to: to, tags: []uint32{tagOf(0x8100, 7)}}, LbReasonFORWARD_NEW)
		piece := func(offset uint16, more bool) frame {
			f := frame{proto: udpProto, from: netip.AddrPortFrom(serverOf(real), 80), to: from, src: realMAC(int(real)), payload: make([]byte, 32)}
			if v6 {
				f.next, f.options = nextFragment, fragment6(udpProto, offset, more, 7)
			} else if f.frag = offset; more {
				f.frag |= 0x2000
			}
			return f
		}
		r.want(piece(0, true), LbReasonFORWARD_REPLY)
		r.want(piece(5, true), LbReasonFORWARD_REPLY)
		r.put(r.Links, elsewhere, LbLink{})
		r.want(piece(5, false), LbReasonDROP_NO_NEIGHBOUR)
	})
}

// TestFragmentsToAClientThatMayBeAService: the filter takes some clients' addresses for a service's, and a class for a large network
// makes it take all of them. What follows the first fragment of a reply goes to the client all the same, and not back to the real server.
func TestFragmentsToAClientThatMayBeAService(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		with, to, from, serverOf := masqueraded, vip, client, realAddr
		if v6 {
			with, to, from, serverOf = masqueraded6, vip6, client6, realAddr6
		}
		r, _, real := with(t, udpProto)
		r.want(frame{proto: udpProto, from: from, to: to}, LbReasonFORWARD_NEW)
		f := get[LbFilter](r, r.ServiceFilter, 0)
		f.May[FilterIndex(from.Addr())] = 1
		r.put(r.ServiceFilter, 0, f)
		piece := func(offset uint16, more bool) frame {
			f := frame{proto: udpProto, from: netip.AddrPortFrom(serverOf(real), 80), to: from, src: realMAC(int(real)), payload: make([]byte, 32)}
			if v6 {
				f.next, f.options = nextFragment, fragment6(udpProto, offset, more, 7)
			} else if f.frag = offset; more {
				f.frag |= 0x2000
			}
			return f
		}
		r.want(piece(5, true), LbReasonPASS_FRAGMENT)
		for _, in := range []frame{piece(0, true), piece(5, true), piece(9, false)} {
			out, want := r.want(in, LbReasonFORWARD_REPLY), in
			want.from, want.dst, want.src, want.ttl = to, routerMAC, ourMAC, 63
			at := 14 + map[bool]int{false: 20, true: 40}[v6]
			if !bytes.Equal(out[:at], want.bytes()[:at]) {
				t.Errorf("got  % x\nwant % x", out, want.bytes())
			}
		}
		if n := r.counters(r.RealCounters, real); n.Inpkts+n.Hits != 1 || n.Outpkts != 3 {
			t.Errorf("counted %+v", n)
		}
	})
}

// TestFragmentsOfAServersOwnRequest: a real server that asks the service itself sends no replies, though the service be gone.
func TestFragmentsOfAServersOwnRequest(t *testing.T) {
	r, _, real := masqueraded(t, udpProto)
	in := frame{proto: udpProto, from: netip.AddrPortFrom(realAddr(real), 1000), frag: 0x2000, payload: make([]byte, 56)}
	r.want(in, LbReasonFORWARD_NEW)
	in.frag = 8
	r.want(in, LbReasonFORWARD_FRAGMENT)
	r.put(r.ServiceFilter, 0, LbFilter{})
	r.want(in, LbReasonPASS_NOT_SERVICE)
}
