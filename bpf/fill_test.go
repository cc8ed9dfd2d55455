package bpf

import (
	"net/netip"
	"testing"
)

func TestSetPlain(t *testing.T) {
	const route, masq, tunnel, local = 3, 0, 2, 1
	whole := LbReal{Forward: route, Ifindex: 2, Mtu: 1500, Flags: uint8(LbRealFlagREAL_LOWER)}
	for _, row := range []struct {
		name   string
		change func(*LbReal)
		plain  LbPlain
		room   uint32
	}{
		{"direct routing", func(*LbReal) {}, LbPlainPLAIN_ROUTE, 1500},
		{"an MTU that is not known", func(r *LbReal) { r.Mtu = 0 }, LbPlainPLAIN_ROUTE, anyLength},
		{"no next hop", func(r *LbReal) { r.Ifindex = 0 }, LbPlainPLAIN_NOT, 0},
		{"a tag", func(r *LbReal) { r.Tci[0] = 5 }, LbPlainPLAIN_NOT, 0},
		{"two tags", func(r *LbReal) { r.Tci = [2]uint16{5, 6} }, LbPlainPLAIN_NOT, 0},
		{"removed", func(r *LbReal) { r.Flags |= uint8(LbRealFlagREAL_GONE) }, LbPlainPLAIN_NOT, 0},
		{"this host", func(r *LbReal) { r.Flags |= uint8(LbRealFlagREAL_LOCAL) }, LbPlainPLAIN_NOT, 0},
		{"another director", func(r *LbReal) { r.Flags |= uint8(LbRealFlagREAL_PEER) }, LbPlainPLAIN_NOT, 0},
		{"Local", func(r *LbReal) { r.Forward = local }, LbPlainPLAIN_NOT, 0},
		{"NAT", func(r *LbReal) { r.Forward = masq }, LbPlainPLAIN_MASQ, 1500},
		{"FULLNAT", func(r *LbReal) { r.Forward, r.Locals = masq, 1 }, LbPlainPLAIN_NOT, 0},
		{"PROXY", func(r *LbReal) { r.Forward, r.Flags = masq, uint8(LbRealFlagREAL_PROXY) }, LbPlainPLAIN_NOT, 0},
		{"ipip", func(r *LbReal) { r.Forward = tunnel }, LbPlainPLAIN_IPIP, 1480},
		{"ipip to IPv6", func(r *LbReal) { r.Forward, r.Flags = tunnel, uint8(LbRealFlagREAL_IPV6) }, LbPlainPLAIN_IPIP_OVER6, 1460},
		{"gue", func(r *LbReal) { r.Forward, r.Tunnel = tunnel, 1 }, LbPlainPLAIN_GUE, 1468},
		{"gue with checksum", func(r *LbReal) { r.Forward, r.Tunnel, r.TunnelFlags = tunnel, 1, 1 }, LbPlainPLAIN_GUE_CHECKED, 1468},
		{"gue with remote checksum offload", func(r *LbReal) { r.Forward, r.Tunnel, r.TunnelFlags = tunnel, 1, 2 }, LbPlainPLAIN_GUE_CHECKED, 1468},
		{"gre", func(r *LbReal) { r.Forward, r.Tunnel = tunnel, 2 }, LbPlainPLAIN_GRE, 1476},
		{"gre with checksum", func(r *LbReal) { r.Forward, r.Tunnel, r.TunnelFlags = tunnel, 2, 1 }, LbPlainPLAIN_GRE_CHECKED, 1472},
		{"gue with checksum to IPv6", func(r *LbReal) {
			r.Forward, r.Flags, r.Tunnel, r.TunnelFlags = tunnel, uint8(LbRealFlagREAL_IPV6), 1, 1
		}, LbPlainPLAIN_GUE_CHECKED_OVER6, 1448},
		{"gre to IPv6", func(r *LbReal) { r.Forward, r.Flags, r.Tunnel = tunnel, uint8(LbRealFlagREAL_IPV6), 2 }, LbPlainPLAIN_GRE_OVER6, 1456},
		{"a tunnel without an MTU", func(r *LbReal) { r.Forward, r.Mtu = tunnel, 0 }, LbPlainPLAIN_IPIP, anyLength},
		{"a way that is too narrow for a tunnel", func(r *LbReal) { r.Forward, r.Mtu = tunnel, 19 }, LbPlainPLAIN_IPIP, 0},
	} {
		r := whole
		row.change(&r)
		r.Plain, r.Room = 9, 9
		r.SetPlain()
		if LbPlain(r.Plain) != row.plain || r.Room != row.room {
			t.Errorf("%s: %d, %d bytes; want %d, %d", row.name, r.Plain, r.Room, row.plain, row.room)
		}
	}
}

// TestSumOfTheAddressesOutside: as checksums have it, of IPv6 tunnels alone.
func TestSumOfTheAddressesOutside(t *testing.T) {
	r := LbReal{Forward: 2, Ifindex: 2, Flags: uint8(LbRealFlagREAL_IPV6), Tunnel: 1, Source: addr6(netip.MustParseAddr("2001:db8::1")),
		Addr: addr6(netip.MustParseAddr("2001:db8:ffff::fffe"))}
	r.SetPlain()
	const want = (0x2001+0x0db8)*2 + 1 + 0xffff + 0xfffe // in the packet's order: 0x2001, 0x0db8, …
	if folded := uint16(want>>16 + want&0xffff); r.Ends != port2(folded) {
		t.Errorf("%#x, want %#x turned round", r.Ends, folded)
	}
	r.Flags = 0
	r.SetPlain()
	if r.Ends != 0 {
		t.Errorf("%#x of IPv4's", r.Ends)
	}
}

func TestFilterIndex(t *testing.T) {
	for addr, want := range map[string]uint16{
		"10.1.2.3": 0x0302, "192.0.2.3": 0x0302, "10.1.3.2": 0x0203,
		"2001:db8::1": 0x0120 ^ 0xb80d ^ 0x0100, "::2:1": 0x0200 ^ 0x0100,
	} {
		if got := FilterIndex(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %#x, want %#x", addr, got, want)
		}
	}
}

// TestPacketWithoutRoomIsCountedOnce: the benchmark's generator makes each packet anew in front of what the path has put in front of
// the last one, until there is no room for another header.
func TestPacketWithoutRoomIsCountedOnce(t *testing.T) {
	n := loadBench(t, 1<<10)
	s := n.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	n.flows = 1
	defer undisturbed(t)()
	n.send(n.object.BenchPath, n.frame(syn), 0, 1, 1)
	n.send(n.object.BenchPath, n.frame(ack), 0, 1, 1)
	s.change(real, func(e *LbReal) { e.Forward, e.Source = tunnel, [4]uint32{addr4(source)} })
	before := n.reasonCounts()
	const packets = 32
	n.send(n.object.BenchPath, n.frame(ack), 0, 1, packets)
	after := n.reasonCounts()
	hits, none := after[LbReasonFORWARD_HIT]-before[LbReasonFORWARD_HIT], after[LbReasonDROP_NO_ROOM]-before[LbReasonDROP_NO_ROOM]
	if hits == 0 || none == 0 || hits+none != packets {
		t.Errorf("%d packets forwarded, %d without room, of %d", hits, none, packets)
	}
	if in := n.counters(n.RealCounters, real).Inpkts; in != packets+2 {
		t.Errorf("the real server was counted %d packets, want %d", in, packets+2)
	}
}

// TestNearLinks: a word is what shared.h has in front of struct link; an interface that is not near is left to the links.
func TestNearLinks(t *testing.T) {
	var n LbNear
	n.Set(3, LbLink{Attached: 1, Mac: mac{1, 2, 3, 4, 5, 6}, Lower: 9})
	n.Set(uint32(len(n.Word)), LbLink{Attached: 1})
	n.Set(1<<31, LbLink{Attached: 1})
	if n.Word[3] != 0x0605040302010001 {
		t.Errorf("%#x", n.Word[3])
	}
	n.Set(3, LbLink{Mac: mac{1, 2, 3, 4, 5, 6}})
	if n.Word[3] != 0x0605040302010000 {
		t.Errorf("%#x", n.Word[3])
	}
	n.Set(3, LbLink{})
	if n != (LbNear{}) {
		t.Error("something stays")
	}
}
