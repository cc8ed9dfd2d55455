package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// lb.Forward, and enum forward of direct.h.
const (
	masq = iota
	local
	tunnel
	route
)

const ipipProto, greProto = 4, 47

var source = netip.MustParseAddr("10.0.8.2")

// TestMasqueradedFrame: the destination is the real server's; both checksums are those of a packet that was always so.
func TestMasqueradedFrame(t *testing.T) {
	r := newRig(t, 4)
	for _, proto := range []uint8{tcpProto, udpProto} {
		s := r.serve(vip, proto, LbSchedulerSCHED_RR)
		s.add(1)
		for _, port := range []uint16{0, 80, 8080, 0xffff} {
			s.change(s.members[0].Real, func(e *LbReal) { e.Forward, e.Port = masq, port2(port) })
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(10 + s.members[0].Real)}), or(port, vip.Port()))
			for _, in := range []frame{
				{flags: syn, summed: true},
				{flags: ack, summed: true, payload: []byte("GET / HTTP/1.1\r\n\r\n")},
				{flags: ack, summed: true, options: bytes.Repeat([]byte{1}, 40), payload: []byte("odd")},
				{flags: ack, summed: true, trailer: make([]byte, 6), tos: 0xb8, frag: 0x4000},
				{flags: ack, summed: true, ttl: 2, payload: make([]byte, 1460)},
			} {
				in.proto = proto
				want := in
				want.to, want.dst, want.src, want.ttl = to, realMAC(int(s.members[0].Real)), ourMAC, or(in.ttl, 64)-1
				if _, out, why := r.run(in.bytes()); !bytes.Equal(out, want.bytes()) {
					t.Errorf("%s protocol %d port %d\ngot  % x\nwant % x", why.name(), proto, port, out, want.bytes())
				}
			}
		}
	}
}

// TestMasqueradedChecksums: RFC 768: "If the computed checksum is zero, it is transmitted as all ones"; none stays none.
func TestMasqueradedChecksums(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, udpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, port2(53) })
	to := netip.MustParseAddrPort("10.0.8.11:53")
	in := frame{proto: udpProto}
	out := r.want(in, LbReasonFORWARD_NEW)
	if check := binary.BigEndian.Uint16(out[40:]); check != 0 {
		t.Errorf("a datagram without checksum has %#x", check)
	}
	for n := range 0x10000 {
		in := frame{proto: udpProto, summed: true, payload: []byte{byte(n >> 8), byte(n)}}
		want := in
		want.to = to
		_, out := r.test(r.Lb, in.bytes())
		if !bytes.Equal(out[34:], want.bytes()[34:]) {
			t.Fatalf("payload %#x: got % x, want % x", n, out[34:], want.bytes()[34:])
		}
	}
}

// tunnelled is the frame that a packet must become, the outer headers put together by hand.
type tunnelled struct {
	kind, flags uint8
	front       func(inner []byte, sport uint16) []byte
	proto       uint8
}

var tunnels = map[string]tunnelled{
	"IP in IP":            {0, 0, func([]byte, uint16) []byte { return nil }, ipipProto},
	"GUE":                 {1, 0, func(inner []byte, sport uint16) []byte { return gueFront(inner, sport, false) }, udpProto},
	"GUE with a checksum": {1, 1, func(inner []byte, sport uint16) []byte { return gueFront(inner, sport, true) }, udpProto},
	// ipvs: its option is for checksums that are still to be filled in; those of frames from the wire are complete.
	"GUE with remcsum":    {1, 2, func(inner []byte, sport uint16) []byte { return gueFront(inner, sport, true) }, udpProto},
	"GRE":                 {2, 0, func([]byte, uint16) []byte { return []byte{0, 0, 8, 0} }, greProto},
	"GRE with a checksum": {2, 1, func(inner []byte, _ uint16) []byte { return greFront(inner) }, greProto},
}

const guePort = 6080

func gueFront(inner []byte, sport uint16, check bool) []byte {
	length := uint16(12 + len(inner))
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), guePort)
	b = append(binary.BigEndian.AppendUint16(b, length), 0, 0, 0, 4, 0, 0)
	if check {
		pseudo := append(append(source.AsSlice(), 10, 0, 8, 11, 0, udpProto), byte(length>>8), byte(length))
		binary.BigEndian.PutUint16(b[6:], or(^sum(append(append(pseudo, b...), inner...)), 0xffff))
	}
	return b
}

func greFront(inner []byte) []byte {
	b := []byte{0x80, 0, 8, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], ^sum(append(append([]byte{}, b...), inner...)))
	return b
}

func (w tunnelled) bytes(in frame, out []byte) []byte {
	in.ttl = or(in.ttl, 64) - 1
	inner := in.packet()
	front := w.front(inner, binary.BigEndian.Uint16(out[34:]))
	ip := make([]byte, 20)
	ip[0], ip[1], ip[8], ip[9] = 0x45, in.tos, in.ttl, w.proto
	if in.tos&3 == 3 {
		ip[1] = in.tos&^3 | 2
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(front)+len(inner)))
	binary.BigEndian.PutUint16(ip[6:], in.frag&0x4000)
	if in.frag&0x4000 == 0 {
		copy(ip[4:6], out[18:20]) // free
	}
	copy(ip[12:], source.AsSlice())
	copy(ip[16:], []byte{10, 0, 8, 11})
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	dst := realMAC(1)
	b := append(append(append([]byte{}, dst[:]...), ourMAC[:]...), 8, 0)
	return append(append(append(append(b, ip...), front...), inner...), in.trailer...)
}

// TestTunnelledFrame: outer headers as the kernel's, byte for byte but for what is free: GUE's source port and, without
// "don't fragment", the identification.
func TestTunnelledFrame(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	s.add(1)
	for _, proto := range []uint8{udpProto, sctpProto} {
		other := r.serve(vip, proto, LbSchedulerSCHED_RR)
		other.members = s.members
		other.refill()
	}
	for name, w := range tunnels {
		t.Run(name, func(t *testing.T) {
			r.TB = t
			r.change(1, func(e *LbReal) {
				e.Forward, e.Source[0], e.Tunnel, e.TunnelFlags, e.TunnelPort = tunnel, addr4(source), w.kind, uint16(w.flags), port2(guePort)
			})
			for _, in := range []frame{
				{flags: syn, summed: true, frag: 0x4000},
				{flags: ack, summed: true, frag: 0x4000, payload: []byte("GET / HTTP/1.1\r\n\r\n")},
				{flags: ack, summed: true, payload: []byte("odd"), options: bytes.Repeat([]byte{1}, 40)},
				{flags: ack, summed: true, tos: 0xb8 | 1, frag: 0x4000},
				{flags: ack, summed: true, tos: 3, ttl: 2, payload: bytes.Repeat([]byte{0xff, 0xee}, 700)},
				{proto: udpProto, summed: true, frag: 0x4000, payload: []byte("0123456789")},
				{proto: udpProto, frag: 0x4000, payload: []byte("without a checksum")},
				{proto: udpProto, frag: 0x4000, payload: bytes.Repeat([]byte{1, 2, 3}, 471)},
				{proto: udpProto, summed: true, frag: 0x2000, payload: []byte("a first fragment")},
				{flags: ack, frag: 0x2000, payload: []byte("another")}, // its checksum covers the others too: it is not this one's sum
				{proto: sctpProto, frag: 0x4000, payload: chunks(1).payload},
			} {
				_, out, why := r.run(in.bytes())
				if want := w.bytes(in, out); !bytes.Equal(out, want) {
					t.Errorf("%s\ngot  % x\nwant % x", why.name(), out, want)
				}
				if w.kind == 1 && binary.BigEndian.Uint16(out[34:]) < 0xc000 {
					t.Errorf("source port %d", binary.BigEndian.Uint16(out[34:]))
				}
			}
		})
	}
}

// TestChecksumOfGUEIsNeverZero: RFC 768: "If the computed checksum is zero, it is transmitted as all ones". The payload makes it so:
// it is the checksum of the same packet with a payload of zero.
func TestChecksumOfGUEIsNeverZero(t *testing.T) {
	r := newRig(t, 4)
	for _, row := range []struct {
		to  netip.AddrPort
		far netip.Addr
		at  int // of the checksum in the frame
	}{{vip, far4, 14 + 20 + 6}, {vip6, far6, 14 + 40 + 6}} {
		real := r.serve(row.to, udpProto, LbSchedulerSCHED_RR).add(1)
		r.change(real, tunnelTo(row.far, 1, 1))
		in := frame{proto: udpProto, to: row.to, payload: []byte{0, 0}}
		if row.to.Addr().Is4() {
			in.frag = 0x4000
		}
		_, out, _ := r.run(in.bytes())
		copy(in.payload, out[row.at:row.at+2])
		if _, out, why := r.run(in.bytes()); !forwardsWhy(why) || binary.BigEndian.Uint16(out[row.at:]) != 0xffff {
			t.Errorf("to %v: %s, the checksum is % x", row.far, why.name(), out[row.at:row.at+2])
		}
	}
}

// TestTunnelWithoutPathMTUDiscovery: sysctl pmtu_disc 0: the outer packet may be fragmented whatever the inner one says.
func TestTunnelWithoutPathMTUDiscovery(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	s.change(s.add(1), func(e *LbReal) { e.Forward, e.Source[0] = tunnel, addr4(source) })
	tuning := ipvsTimeouts()
	tuning.PmtuDisc = 0
	r.put(r.Tuning, 0, tuning)
	out := r.want(frame{flags: syn, frag: 0x4000}, LbReasonFORWARD_NEW)
	if out[20] != 0 || binary.BigEndian.Uint16(out[18:]) == 0 || sum(out[14:34]) != 0xffff {
		t.Errorf("outer header % x", out[14:34])
	}
}

// TestLocalRealServer: its packets are the host's, as they came.
func TestLocalRealServer(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	for _, method := range []uint8{masq, local, tunnel, route} {
		s.change(real, func(e *LbReal) {
			e.Forward, e.Ifindex, e.Flags = method, 0, uint8(LbRealFlagREAL_LOCAL)
		})
		r.want(frame{flags: syn, ttl: 1}, LbReasonPASS_LOCAL)
	}
	s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, 0 })
	r.want(frame{flags: ack}, LbReasonPASS_LOCAL)
	s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) })
	r.want(frame{flags: ack}, LbReasonDROP_LOCAL_NAT)
}

// allRoom is bytes of metadata that leave nothing of a test run's 256, of which the kernel keeps 40 for itself.
const allRoom = 216

// TestNoRoomInFront: what wants another header is dropped where a driver has left no room for it, and counted as received.
func TestNoRoomInFront(t *testing.T) {
	into := func(kind, flags uint8) func(*LbReal) {
		return func(e *LbReal) {
			e.Forward, e.Source, e.Tunnel, e.TunnelFlags = tunnel, [4]uint32{addr4(source)}, kind, uint16(flags)
			e.Flags &^= uint8(LbRealFlagREAL_IPV6)
		}
	}
	into6 := func(kind, flags uint8) func(*LbReal) {
		return func(e *LbReal) {
			into(kind, flags)(e)
			e.Source, e.Addr, e.Flags = addr6(local6), addr6(realAddr6(1)), e.Flags|uint8(LbRealFlagREAL_IPV6)
		}
	}
	local := func(e *LbReal) {
		e.Forward, e.Locals, e.Source = masq, 1, [4]uint32{addr4(local0)}
		if e.Flags&uint8(LbRealFlagREAL_IPV6) != 0 {
			e.Source = addr6(local6)
		}
	}
	another := netip.MustParseAddrPort("10.9.0.77:1077")
	rows := []struct {
		name string
		way  func(*LbReal)
		in   frame
	}{
		{"IP in IP", into(0, 0), frame{flags: ack}},
		{"IP in IPv6", into6(0, 0), frame{flags: ack}},
		{"GUE", into(1, 0), frame{flags: ack}},
		{"GUE with a checksum", into(1, 1), frame{flags: ack}},
		{"GRE", into(2, 0), frame{flags: ack}},
		{"GRE with a checksum in IPv6", into6(2, 1), frame{flags: ack}},
		{"a first packet", into(0, 0), frame{flags: syn, from: another}},
		{"a first packet, in IPv6", into6(1, 1), frame{flags: syn, from: another}},
		{"a state that changes", into(0, 0), frame{flags: fin | ack}},
		{"a state that changes, in IPv6", into6(0, 0), frame{flags: fin | ack}},
		{"an answer", func(*LbReal) {}, frame{flags: ack, ttl: 1}},
		{"a tag under FULLNAT", func(e *LbReal) { local(e); e.Tci = tciOf(7, 0) }, frame{flags: ack}},
		{"a tag", func(e *LbReal) { e.Tci = tciOf(7, 0) }, frame{flags: ack}},
	}
	both(t, func(t *testing.T, v6 bool) {
		r := newRig(t, 4)
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				r.TB, r.meta = t, 0
				r.clear()
				in, opens := row.in, frame{flags: syn}
				if v6 {
					in.to, opens.from, opens.to = vip6, client6, vip6
					if in.from.IsValid() {
						in.from = client6Number(77)
					} else {
						in.from = client6
					}
				}
				s := r.serve(or(in.to, vip), tcpProto, LbSchedulerSCHED_RR)
				real := s.add(1)
				s.change(real, row.way)
				r.run(opens.bytes())
				r.want(frame{flags: ack, from: opens.from, to: in.to}, LbReasonFORWARD_HIT)
				before := r.counters(r.RealCounters, real)
				r.meta = allRoom
				r.want(in, LbReasonDROP_NO_ROOM)
				if n := r.counters(r.RealCounters, real); n.Inpkts != before.Inpkts+1 {
					t.Errorf("%+v before, %+v now: want one packet more", before, n)
				}
			})
		}
		r.TB, r.meta = t, 0
	})
}
