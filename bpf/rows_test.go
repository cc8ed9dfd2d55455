package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TestHostKeepsItsPackets has a row for every way in which a packet is the host's: it passes, and no byte of it changes.
func TestHostKeepsItsPackets(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	group := mac{1, 0, 0x5e, 0, 0, 18}
	rows := []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"an ARP request", frame{ethType: 0x0806}, LbReasonPASS_NOT_IP},
		{"an IPv6 header that says IPv4", frame{ethType: 0x86dd}, LbReasonPASS_MALFORMED},
		{"a tag in front of nothing that is IP", frame{ethType: 0x8100}, LbReasonPASS_NOT_IP},
		{"a packet of the service to another station's MAC", frame{flags: syn, dst: mac{2, 0, 0, 0, 0, 9}}, LbReasonPASS_NOT_OURS},
		{"one whose MAC differs in the first four bytes", frame{flags: syn, dst: mac{2, 0, 0, 9, 0, 1}}, LbReasonPASS_NOT_OURS},
		{"a broadcast frame", frame{flags: syn, dst: mac{255, 255, 255, 255, 255, 255}}, LbReasonPASS_NOT_OURS},
		{"an advert to VRRP's group", frame{proto: 112, dst: group, to: at("224.0.0.18:0")}, LbReasonPASS_NOT_OURS},
		{"ssh to the director", frame{flags: syn, to: at("10.0.8.25:22")}, LbReasonPASS_NOT_SERVICE},
		{"an address whose place in the filter is the service's", frame{flags: syn, to: at("172.16.8.9:80")}, LbReasonPASS_NOT_SERVICE},
		{"another port of the service's address", frame{flags: syn, to: at("10.0.8.9:81")}, LbReasonPASS_NOT_SERVICE},
		{"UDP to the port of a TCP service", frame{proto: udpProto}, LbReasonPASS_NOT_SERVICE},
		{"SCTP to the service's port", chunks(1), LbReasonPASS_NOT_SERVICE},
		{"SCTP without a chunk", frame{proto: sctpProto}, LbReasonPASS_MALFORMED},
		{"a total length within the first chunk", frame{proto: sctpProto, payload: []byte{1, 0, 0, 4}, length: 35}, LbReasonPASS_MALFORMED},
		{"a ping of the service's address", frame{proto: icmpProto}, LbReasonPASS_ICMP},
		{"a following fragment to the service's address", frame{frag: 100, payload: make([]byte, 64)}, LbReasonPASS_FRAGMENT},
		{"a last fragment of UDP", frame{frag: 0x2000 | 1, proto: udpProto}, LbReasonPASS_FRAGMENT},
		{"a first fragment to a port without service", frame{frag: 0x2000, to: at("10.0.8.9:81")}, LbReasonPASS_NOT_SERVICE},
		{"a late ACK without connection", frame{flags: ack}, LbReasonPASS_NO_CONNECTION},
		{"a FIN without connection", frame{flags: fin | ack}, LbReasonPASS_NO_CONNECTION},
		{"a RST without connection", frame{flags: rst}, LbReasonPASS_NO_CONNECTION},
		{"a SYN that is also a RST", frame{flags: syn | rst}, LbReasonPASS_NO_CONNECTION},
		{"a segment without any flag", frame{}, LbReasonPASS_NO_CONNECTION},
		{"version 6 in an IPv4 frame", frame{flags: syn, version: 6}, LbReasonPASS_MALFORMED},
		{"a header of 16 bytes", frame{flags: syn, ihl: 4}, LbReasonPASS_MALFORMED},
		{"a header longer than the packet", frame{flags: syn, ihl: 15}, LbReasonPASS_MALFORMED},
		{"a total length beyond the frame", frame{flags: syn, length: 41}, LbReasonPASS_MALFORMED},
		{"a total length within the TCP header", frame{flags: syn, length: 39}, LbReasonPASS_MALFORMED},
		{"a total length within the UDP header", frame{proto: udpProto, length: 27}, LbReasonPASS_MALFORMED},
		{"a total length within the UDP header, and padding", frame{proto: udpProto, length: 27, trailer: make([]byte, 20)}, LbReasonPASS_MALFORMED},
		{"a total length of nothing", frame{flags: syn, length: 1, trailer: make([]byte, 6)}, LbReasonPASS_MALFORMED},
		{"a SYN from 0.0.0.0", frame{flags: syn, from: at("0.0.0.0:1")}, LbReasonPASS_MALFORMED},
		{"a SYN from loopback", frame{flags: syn, from: at("127.0.0.1:1")}, LbReasonPASS_MALFORMED},
		{"a SYN from a group", frame{flags: syn, from: at("224.0.0.1:1")}, LbReasonPASS_MALFORMED},
		{"a SYN from broadcast", frame{flags: syn, from: at("255.255.255.255:1")}, LbReasonPASS_MALFORMED},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(row.in, row.why)
		})
	}
	r.TB = t
	if FilterIndex(vip.Addr()) != FilterIndex(at("172.16.8.9:80").Addr()) {
		t.Error("172.16.8.9 has a place of its own in the filter")
	}
	if n := len(r.conns()); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestRuntFramesOfEveryLengthPass(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	for _, f := range []frame{{flags: syn}, {proto: udpProto}, {flags: syn, options: make([]byte, 40)}} {
		whole := f.bytes()
		for n := 14; n < len(whole); n++ {
			verdict, out, why := r.run(whole[:n])
			if verdict != xdpPass || why != LbReasonPASS_MALFORMED || !bytes.Equal(out, whole[:n]) {
				t.Errorf("the first %d bytes of protocol %d: %s, verdict %d", n, or(f.proto, tcpProto), why.name(), verdict)
			}
			if n < 34 {
				continue
			}
			honest := bytes.Clone(whole[:n])
			binary.BigEndian.PutUint16(honest[16:], uint16(n-14))
			if verdict, out, why := r.run(honest); verdict != xdpPass || why != LbReasonPASS_MALFORMED || !bytes.Equal(out, honest) {
				t.Errorf("the first %d bytes of protocol %d, and no more is said: %s, verdict %d", n, or(f.proto, tcpProto), why.name(), verdict)
			}
		}
	}
}

func TestInterfaceThatIsNotAttachedIsTheHosts(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.put(r.Links, loopback, LbLink{Mac: ourMAC})
	r.want(frame{flags: syn}, LbReasonPASS_NOT_OURS)
}

// TestInterfacesOfHighNumbers: those that are not near are looked for in the table, and those that have no place in it are the host's.
func TestInterfacesOfHighNumbers(t *testing.T) {
	r := newRig(t, 4)
	r.neighbourhood()
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for _, row := range []struct {
		ifindex  int
		attached uint8
		why      LbReason
	}{
		{int(LbNumberNEAR) - 1, 1, LbReasonFORWARD_NEW}, {int(LbNumberNEAR), 1, LbReasonFORWARD_NEW}, {int(LbNumberNEAR) + 1, 0, LbReasonPASS_NOT_OURS},
		{1<<16 - 1, 1, LbReasonFORWARD_NEW}, {1 << 16, 0, LbReasonPASS_NOT_OURS},
	} {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("n", row.ifindex), Index: row.ifindex}, PeerName: fmt.Sprint("far", row.ifindex)}
		if err := netlink.LinkAdd(link); err != nil {
			t.Fatal(err)
		}
		if row.ifindex < 1<<16 {
			r.put(r.Links, row.ifindex, LbLink{Mac: ourMAC, Attached: row.attached})
		}
		r.hop(real, LbReal{Ifindex: uint32(row.ifindex), Dst: realMAC(int(real)), Src: ourMAC})
		r.forgetAll()
		r.ingress = uint32(row.ifindex)
		r.want(frame{flags: syn}, row.why)
		r.ingress = 0
	}
}

// TestForwardedFrame: of a packet that goes to a real server the MACs, the TTL and the header's checksum change, no more.
func TestForwardedFrame(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	rows := []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"the first packet", frame{flags: syn}, LbReasonFORWARD_NEW},
		{"a packet with data", frame{flags: ack | psh, payload: []byte("GET / HTTP/1.1\r\n\r\n")}, LbReasonFORWARD_HIT},
		{"a packet with IP options", frame{flags: ack, options: []byte{7, 7, 4, 0, 0, 0, 0, 0}}, LbReasonFORWARD_HIT},
		{"forty bytes of options", frame{flags: ack, options: bytes.Repeat([]byte{1}, 40)}, LbReasonFORWARD_HIT},
		{"a frame padded to 60 bytes", frame{flags: ack, trailer: make([]byte, 6)}, LbReasonFORWARD_HIT},
		{"the greatest TTL", frame{flags: ack, ttl: 255}, LbReasonFORWARD_HIT},
		{"the least TTL that may pass", frame{flags: ack, ttl: 2}, LbReasonFORWARD_HIT},
		{"don't fragment", frame{flags: ack, frag: 0x4000}, LbReasonFORWARD_HIT},
		{"a full frame", frame{flags: ack, payload: make([]byte, 1460)}, LbReasonFORWARD_HIT},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			want := row.in
			want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, or(row.in.ttl, 64)-1
			if out := r.want(row.in, row.why); !bytes.Equal(out, want.bytes()) {
				t.Errorf("got  % x\nwant % x", out, want.bytes())
			}
		})
	}
}

// TestChecksumOfEveryTTL walks the incremental checksum through its carries.
func TestChecksumOfEveryTTL(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	for ttl := 2; ttl < 256; ttl++ {
		for _, length := range []int{0, 1, 255, 256, 1024} {
			_, out := r.test(r.Lb, frame{proto: udpProto, ttl: uint8(ttl), payload: make([]byte, length)}.bytes())
			if got := sum(out[14:34]); got != 0xffff || out[22] != uint8(ttl-1) {
				t.Fatalf("TTL %d, %d bytes: header sums to %#x, TTL is now %d", ttl, length, got, out[22])
			}
		}
	}
}

// TestChecksumOfZero: of the two zeros of ones' complement a header has 0x0000, never 0xffff.
func TestChecksumOfZero(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for n := range 1 << 16 {
		in := frame{flags: syn, from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 60, byte(n >> 8), byte(n)}), 1)}
		after := in
		after.ttl = 63
		if check := after.packet()[10:12]; check[0] != 0 || check[1] != 0 {
			continue
		}
		if out := r.want(in, LbReasonFORWARD_NEW); out[24] != 0 || out[25] != 0 {
			t.Errorf("from %v: checksum % x", in.from, out[24:26])
		}
		return
	}
	t.Error("no such address")
}

func TestWhatCannotBeForwarded(t *testing.T) {
	rows := []struct {
		name string
		in   frame
		prep func(s *service)
		why  LbReason
	}{
		{"TTL 1", frame{flags: syn, ttl: 1}, nil, LbReasonREPLY_TTL},
		{"a real server without hop", frame{flags: syn}, func(s *service) { s.put(s.Reals, 1, LbReal{Weight: 1}) }, LbReasonDROP_NO_NEIGHBOUR},
		{"a neighbour that is not resolved", frame{flags: syn}, func(s *service) { s.hop(1, LbReal{}) }, LbReasonDROP_NO_NEIGHBOUR},
	}
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	s.add(1)
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			s.hop(1, LbReal{Ifindex: loopback, Dst: realMAC(1), Src: ourMAC})
			if row.prep != nil {
				row.prep(s)
			}
			row.in.from = at(fmt.Sprintf("10.0.4.102:%d", 1000+i))
			r.want(row.in, row.why)
		})
	}
}

// hop tells how frames reach a real server.
func (r *rig) hop(real uint32, to LbReal) {
	r.Helper()
	e := get[LbReal](r, r.Reals, real)
	e.Ifindex, e.Dst, e.Src = to.Ifindex, to.Dst, to.Src
	r.put(r.Reals, real, e)
}

func TestFrameLeavesByTheInterfaceOfItsRealServer(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.hop(real, LbReal{Ifindex: elsewhere, Dst: realMAC(int(real)), Src: mac{2, 0, 0, 0, 0, 7}})
	verdict, out, why := r.run(frame{flags: syn}.bytes())
	want := frame{flags: syn, dst: realMAC(int(real)), src: mac{2, 0, 0, 0, 0, 7}, ttl: 63}.bytes()
	if verdict != xdpRedirect || why != LbReasonFORWARD_NEW || !bytes.Equal(out, want) {
		t.Errorf("%s, verdict %d: % x", why.name(), verdict, out)
	}
	r.run(frame{flags: ack}.bytes()) // which changes the state; the next leaves it
	verdict, out, why = r.run(frame{flags: ack}.bytes())
	want = frame{flags: ack, dst: realMAC(int(real)), src: mac{2, 0, 0, 0, 0, 7}, ttl: 63}.bytes()
	if verdict != xdpRedirect || why != LbReasonFORWARD_HIT || !bytes.Equal(out, want) {
		t.Errorf("of its connection: %s, verdict %d: % x", why.name(), verdict, out)
	}
}

func TestChangedNeighbourReachesLiveConnections(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	r.hop(real, LbReal{Ifindex: loopback, Dst: realMAC(99), Src: ourMAC})
	if out := r.want(frame{flags: ack}, LbReasonFORWARD_HIT); mac(out[:6]) != realMAC(99) {
		t.Errorf("sent to %x", out[:6])
	}
}

// TestNothingIsServedBeforeTheMapsSaySo: each word that user space may not have written yet.
func TestNothingIsServedBeforeTheMapsSaySo(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	owner := s.owner
	s.owner = LbServiceKey6{}
	s.write()
	r.put(r.ServiceIndex, owner.four(), uint32(1<<20))
	r.want(frame{flags: syn}, LbReasonPASS_NOT_SERVICE)
	r.put(r.ServiceIndex, owner.four(), s.index)
	s.pool = 1 << 20
	s.write()
	r.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
	s.pool, s.scheduler = 0, LbSchedulerSCHED_NONE
	s.write()
	r.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
	s.scheduler = LbSchedulerSCHED_SH
	r.put(r.Pools, 0, LbPool{Table: 1 << 20})
	s.write()
	r.want(frame{flags: syn}, LbReasonREPLY_NO_SERVER)
}

// TestWhatIsOfNoRealServer: lines and fragments that name none of the table.
func TestWhatIsOfNoRealServer(t *testing.T) {
	const none = 1 << 20
	both(t, func(t *testing.T, v6 bool) {
		with, to, from, serverOf := masqueraded, vip, client, realAddr
		if v6 {
			with, to, from, serverOf = masqueraded6, vip6, client6, realAddr6
		}
		r, _, real := with(t, udpProto)
		first := frame{proto: udpProto, from: from, to: to, payload: bytes.Repeat([]byte{1}, 32), frag: 0x2000}
		later := frame{proto: udpProto, from: from, to: to, payload: bytes.Repeat([]byte{1}, 32), frag: 5}
		if v6 {
			first.next, first.options = nextFragment, fragment6(udpProto, 0, true, 7)
			later.next, later.options = nextFragment, fragment6(udpProto, 5, false, 7)
		}
		reply := frame{proto: udpProto, from: netip.AddrPortFrom(serverOf(real), 80), to: from, src: realMAC(int(real))}
		r.want(first, LbReasonFORWARD_NEW)
		r.want(later, LbReasonFORWARD_FRAGMENT)
		r.want(reply, LbReasonFORWARD_REPLY)
		var key LbFragmentKey
		var value LbFragment
		for all := r.Fragments.Iterate(); all.Next(&key, &value); {
			value.Real = none
			r.put(r.Fragments, key, value)
		}
		r.edit(r.conn(), func(c *LbConn) { c.Real = none })
		r.want(frame{proto: udpProto, from: from, to: to, payload: []byte("0123456789ab")}, LbReasonDROP_REAL_GONE)
		r.want(first, LbReasonDROP_REAL_GONE)
		r.want(later, LbReasonDROP_REAL_GONE)
		r.want(reply, LbReasonPASS_NOT_SERVICE)
	})
}

// TestCounters: conns at creation, packets and IP bytes as received, per real server, drops at the real
// server's door included.
func TestCounters(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	a, b := s.add(1), s.add(1)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW) // to b, the newest
	r.want(frame{flags: ack, payload: make([]byte, 100)}, LbReasonFORWARD_HIT)
	r.want(frame{flags: ack, ttl: 1}, LbReasonREPLY_TTL)
	r.want(frame{flags: syn, from: at("10.0.4.103:1")}, LbReasonFORWARD_NEW) // to a
	r.want(frame{flags: ack, from: at("10.0.4.104:1")}, LbReasonPASS_NO_CONNECTION)
	for _, row := range []struct {
		name string
		got  LbCounters
		want LbCounters
	}{
		{"the first pick", r.counters(r.RealCounters, b), LbCounters{Conns: 1, Inpkts: 3, Inbytes: 40 + 140 + 40}},
		{"the second pick", r.counters(r.RealCounters, a), LbCounters{Conns: 1, Inpkts: 1, Inbytes: 40}},
	} {
		if row.got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, row.got, row.want)
		}
	}
	if c := r.conns(); len(c) != 2 {
		t.Errorf("%d connections", len(c))
	}
}

func TestPacketsOfAConnectionAreCountedInIt(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	for i := range 5 {
		want := LbReasonFORWARD_HIT
		if i == 0 {
			want = LbReasonFORWARD_NEW
		}
		r.want(frame{proto: udpProto}, want)
	}
	if c := r.conn(); c.Packets != 5 {
		t.Errorf("%d packets, want 5", c.Packets)
	}
}
