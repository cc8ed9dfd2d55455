package bpf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// Tunnels with IPv6 inside, outside or both.

const ipv6Proto = 41

var (
	source6 = netip.MustParseAddr("2001:db8:8::2")
	far4    = netip.MustParseAddr("10.0.8.12")
	far6    = netip.MustParseAddr("2001:db8:8::12")
)

// over puts the packet into a tunnel to far, by hand. out is the frame that came, for what is free in it.
func over(far netip.Addr, kind, flags uint8, inner, out []byte) []byte {
	proto, etherType, from := uint8(ipipProto), uint16(0x0800), source
	tos, ttl, df := inner[1], inner[8], inner[6]&0x40
	if inner[0]>>4 == 6 {
		proto, etherType = ipv6Proto, 0x86dd
		tos, ttl, df = uint8(binary.BigEndian.Uint16(inner)>>4), inner[7], 0
	}
	if tos&3 == 3 {
		tos = tos&^3 | 2 // RFC 3168 9.1.1
	}
	if far.Is6() {
		from = source6
	}
	at := 14 + map[bool]int{false: 20, true: 40}[far.Is6()]
	front, outerProto := frontOf(from, far, kind, flags, proto, etherType, inner, out[at:])
	var ip []byte
	if far.Is6() {
		ip = binary.BigEndian.AppendUint32(nil, 6<<28|uint32(tos)<<20)
		ip = append(binary.BigEndian.AppendUint16(ip, uint16(len(front)+len(inner))), outerProto, ttl)
		ip = append(append(ip, from.AsSlice()...), far.AsSlice()...)
		return append(append(append(link(0x86dd), ip...), front...), inner...)
	}
	ip = append([]byte{0x45, tos, 0, 0, 0, 0, df, 0, ttl, outerProto, 0, 0}, append(from.AsSlice(), far.AsSlice()...)...)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(front)+len(inner)))
	if df == 0 {
		copy(ip[4:6], out[18:20])
	}
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	return append(append(append(link(0x0800), ip...), front...), inner...)
}

func link(etherType uint16) []byte {
	dst := realMAC(1)
	return binary.BigEndian.AppendUint16(append(append([]byte{}, dst[:]...), ourMAC[:]...), etherType)
}

func frontOf(from, far netip.Addr, kind, flags, proto uint8, etherType uint16, inner, out []byte) ([]byte, uint8) {
	switch kind {
	case 1:
		length := uint16(12 + len(inner))
		b := binary.BigEndian.AppendUint16(append([]byte{}, out[:2]...), guePort)
		b = append(binary.BigEndian.AppendUint16(b, length), 0, 0, 0, proto, 0, 0)
		if flags != 0 {
			pseudo := append(append(from.AsSlice(), far.AsSlice()...), 0, udpProto, byte(length>>8), byte(length))
			binary.BigEndian.PutUint16(b[6:], or(^sum(append(append(pseudo, b...), inner...)), 0xffff))
		}
		return b, udpProto
	case 2:
		b := binary.BigEndian.AppendUint16([]byte{0, 0}, etherType)
		if flags != 0 {
			b = append([]byte{0x80}, append(b[1:], 0, 0, 0, 0)...)
			binary.BigEndian.PutUint16(b[4:], ^sum(append(append([]byte{}, b...), inner...)))
		}
		return b, greProto
	}
	return nil, proto
}

// tunnelTo makes the real server one behind a tunnel to far.
func tunnelTo(far netip.Addr, kind, flags uint8) func(*LbReal) {
	return func(e *LbReal) {
		e.Forward, e.Tunnel, e.TunnelFlags, e.TunnelPort = tunnel, kind, uint16(flags), port2(guePort)
		e.Addr, e.Flags, e.Source = [4]uint32{fold(far)}, 0, [4]uint32{addr4(source)}
		if far.Is6() {
			e.Addr, e.Flags, e.Source = addr6(far), uint8(LbRealFlagREAL_IPV6), addr6(source6)
		}
	}
}

// TestTunnelsOfIPv6: byte for byte but for what is free, checksums counted by hand.
func TestTunnelsOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	for i, to := range []netip.AddrPort{vip6, vip} {
		for _, proto := range []uint8{tcpProto, udpProto} {
			s := r.serve(to, proto, LbSchedulerSCHED_RR)
			if i == 0 && proto == tcpProto {
				s.add(1)
			}
			s.members = []LbMember{{Real: 1, Weight: 1}}
			s.refill()
		}
	}
	for name, w := range tunnels {
		for _, row := range []struct {
			name string
			to   netip.AddrPort
			far  netip.Addr
		}{{"6in6", vip6, far6}, {"4in6", vip, far6}, {"6in4", vip6, far4}} {
			t.Run(row.name+" "+name, func(t *testing.T) {
				r.TB = t
				r.change(1, tunnelTo(row.far, w.kind, w.flags))
				for _, in := range []frame{
					{flags: syn, summed: true, frag: 0x4000},
					{flags: ack, summed: true, frag: 0x4000, payload: []byte("GET / HTTP/1.1\r\n\r\n"), tags: []uint32{0x8100_0000}},
					{flags: ack, summed: true, tos: 0xb8 | 1, payload: []byte("odd")},
					{flags: ack, summed: true, tos: 3, ttl: 2, payload: bytes.Repeat([]byte{0xff, 0xee}, 700)},
					{proto: udpProto, summed: true, payload: []byte("0123456789")},
					{proto: udpProto, payload: []byte("without a checksum")},
					{proto: udpProto, payload: bytes.Repeat([]byte{1, 2, 3}, 471)},
					{flags: ack, summed: true, next: nextOptions, options: options16(tcpProto), payload: []byte("behind a header")},
				} {
					if in.options != nil && !row.to.Addr().Is6() {
						in.options = bytes.Repeat([]byte{1}, 40)
					}
					in.to = row.to
					_, out, why := r.run(in.bytes())
					in.ttl = or(in.ttl, 64) - 1
					inner := in.packet
					if row.to.Addr().Is6() {
						inner = in.packet6
					}
					if want := over(row.far, w.kind, w.flags, inner(), out); !bytes.Equal(out, want) {
						t.Errorf("%s\ngot  % x\nwant % x", why.name(), out, want)
					}
				}
			})
		}
	}
}

// TestATunnelMakesNothingDamagedGood: of a packet with a checksum of its own a tunnel's takes in what that says and not what there is.
// So a packet that came damaged is wrong by both.
func TestATunnelMakesNothingDamagedGood(t *testing.T) {
	r := newRig(t, 4)
	for _, row := range []struct {
		to  netip.AddrPort
		far netip.Addr
	}{{vip, far4}, {vip, far6}, {vip6, far6}} {
		for _, proto := range []uint8{tcpProto, udpProto} {
			real := r.serve(row.to, proto, LbSchedulerSCHED_RR).add(1)
			for _, kind := range []uint8{1, 2} {
				r.change(real, tunnelTo(row.far, kind, 1))
				for _, in := range []frame{{flags: syn}, {flags: ack}, {flags: ack, payload: []byte("odd")}} {
					in.proto, in.to, in.summed, in.frag = proto, row.to, true, 0x4000
					good := in.bytes()
					damaged, at := bytes.Clone(good), len(good)-len(in.payload)-map[uint8]int{tcpProto: 4, udpProto: 2}[proto]
					damaged[at] ^= 0x55
					_, want, why := r.run(good)
					_, out, whyDamaged := r.run(damaged)
					want[len(want)-len(good)+at] ^= 0x55
					if !bytes.Equal(out, want) || !forwardsWhy(why) || !forwardsWhy(whyDamaged) {
						t.Errorf("%v, protocol %d, to %v by %d: %s, %s\ngot  % x\nwant % x", row.to, proto, row.far, kind, why.name(), whyDamaged.name(), out, want)
					}
				}
			}
		}
	}
}

// TestOtherRoadsSumUpWhatHasNoChecksum: the fast one is for packets of which nothing need be read for a tunnel's checksum.
func TestOtherRoadsSumUpWhatHasNoChecksum(t *testing.T) {
	r := newRig(t, 4)
	rows := []netip.AddrPort{vip, vip6}
	for _, to := range rows {
		for _, proto := range []uint8{tcpProto, udpProto} {
			real := r.serve(to, proto, LbSchedulerSCHED_RR).add(1)
			r.change(real, tunnelTo(far6, 1, 1))
			r.opened(frame{to: to, proto: proto})
			r.want(frame{to: to, proto: proto, flags: ack}, LbReasonFORWARD_HIT)
		}
	}
	for _, road := range []LbRoad{LbRoadROAD_IPV4, LbRoadROAD_IPV6} {
		if err := r.Roads.Delete(uint32(road)); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range rows {
		r.want(frame{to: to, flags: ack, payload: []byte("hello")}, LbReasonFORWARD_HIT)
		r.want(frame{to: to, proto: udpProto, summed: true, payload: []byte("a longer datagram")}, LbReasonFORWARD_HIT)
		r.want(frame{to: to, proto: udpProto, payload: []byte("a longer datagram")}, LbReasonPASS_NO_ROAD)
	}
}

// kernels are packets that Linux 6.1's IPVS put into tunnels, captured on the wire behind it: the outer packet, whole.
var kernels = []struct {
	name  string
	kind  uint8
	flags uint8
	far   netip.Addr
	outer string
}{
	{"IPv4 in IPv6", 0, 0, far6, `6000000000 26 04 3e 20010db8000800000000000000000009 20010db8000800000000000000000012
		45000026d7e440003e1144740a0004660a000809cf78003500122092 30313233343536373839`},
	{"IPv6 in IPv6, GRE", 2, 0, far6, `60000000003e2f3e 20010db8000800000000000000000009 20010db8000800000000000000000012 000086dd
		600b62ff0012113e 20010db8000400000000000000000102 20010db8000800000000000000000009 cf79003500125cac 30313233343536373839`},
	{"IPv6 in IPv4", 0, 0, far4, `4500004e288b00003e292fef0a0008020a00080c
		6004c4d80012113e 20010db8000400000000000000000102 20010db8000800000000000000000009 cf77003500125cac 30313233343536373839`},
	{"IPv4 in IPv4, GUE", 1, 0, far4, `45000046000040003e11189a0a0008020a00080c bbee17c0003200000004 0000
		45000026d54b40003e11470d0a0004660a000809cf6d003500122092 30313233343536373839`},
	{"IPv4 in IPv4, GRE with a checksum", 2, 1, far4, `45000042000040003e2f18800a0008020a00080c 8000080098910000
		45000026d7b040003e1144a80a0004660a000809cf6d003500122092 30313233343536373839`},
}

// TestTunnelsAsTheKernelHasThem: the same packets come out of us. Free are IPv4's identification where nothing may depend on
// it, and GUE's source port. The kernel left the inner checksum to the card when it summed GRE up (its payload's sum holds
// the pseudo header's alone), which comes to the same: what is inside is summed as it stands.
func TestTunnelsAsTheKernelHasThem(t *testing.T) {
	r := newRig(t, 4)
	four, six := netip.MustParseAddrPort("10.0.8.9:53"), netip.MustParseAddrPort("[2001:db8:8::9]:53")
	r.serve(four, udpProto, LbSchedulerSCHED_RR).add(1)
	s := r.serve(six, udpProto, LbSchedulerSCHED_RR)
	s.members = []LbMember{{Real: 1, Weight: 1}}
	s.refill()
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			r.TB = t
			outer, err := hex.DecodeString(strings.Join(strings.Fields(k.outer), ""))
			if err != nil {
				t.Fatal(err)
			}
			r.change(1, tunnelTo(k.far, k.kind, k.flags))
			if k.far == far6 {
				r.change(1, func(e *LbReal) { // the director had one address there, the virtual one
					e.Source, e.Tunnel, e.TunnelFlags = addr6(six.Addr()), k.kind, uint16(k.flags)
				})
			}
			inner := bytes.Clone(outer[innerOf(outer):])
			in := append(append(append([]byte{}, ourMAC[:]...), routerMAC[:]...), 0x08, 0x00)
			if inner[0]>>4 == 6 {
				in[12], in[13] = 0x86, 0xdd
				inner[7]++
			} else {
				inner[8]++
				copy(inner[10:], []byte{0, 0})
				binary.BigEndian.PutUint16(inner[10:], ^sum(inner[:20]))
			}
			_, out, why := r.run(append(in, inner...))
			out = out[14:]
			if k.far == far4 && outer[6]&0x40 == 0 {
				copy(outer[4:], out[4:6])
				copy(outer[10:12], []byte{0, 0})
				binary.BigEndian.PutUint16(outer[10:], ^sum(outer[:20]))
			}
			if k.kind == 1 {
				copy(outer[20:], out[20:22])
			}
			if !bytes.Equal(out, outer) {
				t.Errorf("%s\ngot  % x\nwant % x", why.name(), out, outer)
			}
		})
	}
}

// innerOf is where the packet inside begins.
func innerOf(outer []byte) int {
	at, proto := 20, outer[9]
	if outer[0]>>4 == 6 {
		at, proto = 40, outer[6]
	}
	switch {
	case proto == udpProto:
		return at + 12
	case proto == greProto && outer[at] != 0:
		return at + 8
	case proto == greProto:
		return at + 4
	}
	return at
}

// TestTunnelsTellTheRoomThatIsLeft: by ICMP of the client's family, with all headers in front taken off.
func TestTunnelsTellTheRoomThatIsLeft(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	s := r.serve(vip6, udpProto, LbSchedulerSCHED_RR)
	s.members = []LbMember{{Real: 1, Weight: 1}}
	s.refill()
	for _, row := range []struct {
		to   netip.AddrPort
		far  netip.Addr
		kind uint8
		room int
	}{{vip, far6, 0, 1460}, {vip, far6, 1, 1448}, {vip6, far6, 0, 1460}, {vip6, far6, 2, 1456}, {vip6, far4, 0, 1480}, {vip6, far4, 1, 1468}} {
		r.change(1, tunnelTo(row.far, row.kind, 0))
		r.change(1, func(e *LbReal) { e.Mtu, e.Tunnel, e.TunnelPort = 1500, row.kind, port2(guePort) })
		header := 28
		if row.to.Addr().Is6() {
			header = 48
		}
		in := frame{proto: udpProto, to: row.to, frag: 0x4000, payload: make([]byte, row.room-header), summed: true}
		if _, _, why := r.run(in.bytes()); !forwardsWhy(why) {
			t.Errorf("%v by %d to %v, the largest that fits: %s", row.to, row.kind, row.far, why.name())
		}
		in.payload = append(in.payload, 0)
		out := r.want(in, LbReasonREPLY_TOO_BIG)
		in.ttl = 63
		if row.to.Addr().Is6() {
			checkError6(t, in, out, 2, 0, uint32(row.room))
		} else {
			checkError(t, in, out, 3, 4, uint32(row.room))
		}
	}
}

func forwardsWhy(why LbReason) bool {
	return why >= LbReasonFORWARD_HIT && why < LbReasonREPLY_NO_SERVER
}

// TestNobodyIsToldOfFollowingFragments: RFC 1812 4.3.2.7: "An ICMP error message MUST NOT be sent as the result of receiving
// ... A packet fragment other than the first fragment". IPVS tells an IPv6 sender of first fragments that are too big alone.
func TestNobodyIsToldOfFollowingFragments(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	s := r.serve(vip6, udpProto, LbSchedulerSCHED_RR)
	s.members = []LbMember{{Real: 1, Weight: 1}}
	s.refill()
	first := frame{proto: udpProto, frag: 0x2000, payload: make([]byte, 64)}
	r.want(first, LbReasonFORWARD_NEW)
	next := frame{proto: udpProto, frag: 9, payload: make([]byte, 64), ttl: 1}
	r.want(next, LbReasonDROP_TTL)
	first.ttl = 1
	r.want(first, LbReasonREPLY_TTL)
	next.ttl = 64
	r.want(next, LbReasonFORWARD_FRAGMENT)
	r.change(1, func(e *LbReal) { e.Mtu = 90 })
	next.frag |= 0x4000
	r.want(next, LbReasonDROP_TOO_BIG)
	r.change(1, func(e *LbReal) { e.Mtu = 0 })

	first6 := frame{proto: udpProto, to: vip6, next: nextFragment, options: fragment6(udpProto, 0, true, 5), payload: make([]byte, 64)}
	next6 := frame{proto: udpProto, to: vip6, next: nextFragment, options: fragment6(udpProto, 9, false, 5), payload: make([]byte, 64)}
	r.want(first6, LbReasonFORWARD_NEW)
	r.want(next6, LbReasonFORWARD_FRAGMENT)
	r.change(1, func(e *LbReal) { e.Mtu = 100 })
	r.want(first6, LbReasonREPLY_TOO_BIG)
	r.want(next6, LbReasonDROP_TOO_BIG)
	next6.ttl = 1
	r.want(next6, LbReasonREPLY_TTL)
}
