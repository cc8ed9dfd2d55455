package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var isn uint32 = 0xfffffff0 // the client's initial sequence number: the numbers run over soon

// scene is FULLNAT of TCP whose real server expects the PROXY protocol.
type scene struct {
	*rig
	client, vip, local, server netip.AddrPort
	real                       uint32
	header                     []byte // of the PROXY protocol
}

// proxied makes the scene up to where the real server has answered the SYN.
func proxied(t *testing.T, v6 bool) scene {
	t.Helper()
	make := func(t *testing.T) (*rig, *service, uint32) { return fullnat(t, tcpProto, 4, 1) }
	s := scene{client: client, vip: vip, header: []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")}
	if v6 {
		make = func(t *testing.T) (*rig, *service, uint32) { return fullnat6(t, tcpProto, 1) }
		s.client, s.vip, s.header = client6, vip6, []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24")
	}
	r, service, real := make(t)
	service.change(real, func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_PROXY); e.Port = port2(8080) })
	s.rig, s.real = r, real
	s.header = append(append(s.header, s.client.Addr().AsSlice()...), s.vip.Addr().AsSlice()...)
	s.header = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(s.header, s.client.Port()), s.vip.Port())
	_, out, why := r.run(s.says(frame{flags: syn}, isn, 0))
	if why != LbReasonFORWARD_NEW {
		t.Fatal(why.name())
	}
	s.local, s.server = localEnd(t, out), netip.AddrPortFrom(realAddr(real), 8080)
	if v6 {
		s.server = netip.AddrPortFrom(realAddr6(real), 8080)
	}
	return s
}

// numbered is the frame with these numbers and a right checksum.
func numbered(f frame, seq, ack uint32) []byte {
	f.summed = false
	b := f.bytes()
	l4 := b[len(b)-len(f.transport()):]
	binary.BigEndian.PutUint32(l4[4:], seq)
	binary.BigEndian.PutUint32(l4[8:], ack)
	ip := b[14 : len(b)-len(l4)]
	pseudo := binary.BigEndian.AppendUint16(append(bytes.Clone(ip[len(ip)-8:]), 0, tcpProto), uint16(len(l4)))
	if f.six() {
		pseudo = pseudo6(ip, tcpProto, len(l4))
	}
	binary.BigEndian.PutUint16(l4[16:], ^sum(append(pseudo, l4...)))
	return b
}

// says is a segment of the client.
func (s scene) says(f frame, seq, ack uint32) []byte {
	f.from, f.to = s.client, s.vip
	return numbered(f, seq, ack)
}

// hears is what the real server gets of it.
func (s scene) hears(f frame, seq, ack uint32) []byte {
	f.from, f.to, f.src, f.dst, f.ttl = s.local, s.server, ourMAC, realMAC(int(s.real)), 63
	return numbered(f, seq, ack)
}

// answers is a segment of the real server, and gets what the client has of it.
func (s scene) answers(f frame, seq, ack uint32) []byte {
	f.from, f.to, f.src = s.server, s.local, realMAC(int(s.real))
	return numbered(f, seq, ack)
}

func (s scene) gets(f frame, seq, ack uint32) []byte {
	f.from, f.to, f.src, f.dst, f.ttl = s.vip, s.client, ourMAC, routerMAC, 63
	return numbered(f, seq, ack)
}

func (s scene) sends(t *testing.T, what string, in, want []byte, reason LbReason) {
	t.Helper()
	if _, out, why := s.run(in); why != reason || !bytes.Equal(out, want) {
		t.Errorf("%s: %s\ngot  % x\nwant % x", what, why.name(), out, want)
	}
}

// behind is a payload with the header in front.
func (s scene) behind(payload string) []byte { return append(bytes.Clone(s.header), payload...) }

func both(t *testing.T, play func(t *testing.T, v6 bool)) {
	t.Run("IPv4", func(t *testing.T) { play(t, false) })
	t.Run("IPv6", func(t *testing.T) { play(t, true) })
}

// TestProxyHeader: it stands in front of the client's first byte in each segment that has it, until the real server has
// acknowledged it (PROXY protocol 2.2: "the receiver must not start processing the connection before it receives a complete
// and valid PROXY protocol header"); both sides see numbers that fit.
func TestProxyHeader(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		get := []byte("GET / HTTP/1.1\r\n\r\n") // even
		s.sends(t, "before the answer", s.says(frame{flags: ack}, isn+1, 1), s.hears(frame{flags: ack}, isn+1, 1), LbReasonFORWARD_HIT)
		for range 2 { // it is sent again when nothing of the client came
			s.sends(t, "SYN and ACK", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		}
		for _, row := range []struct {
			what     string
			in, want frame
			seq, as  uint32
		}{
			{"the ACK that ends the handshake", frame{flags: ack}, frame{flags: ack, payload: s.header}, isn + 1, isn + 1},
			{"the first data", frame{flags: ack | psh, payload: get}, frame{flags: ack | psh, payload: s.behind(string(get))}, isn + 1, isn + 1},
			{"an odd byte", frame{flags: ack, payload: []byte("x")}, frame{flags: ack, payload: s.behind("x")}, isn + 1, isn + 1},
			{"an end without data", frame{flags: fin | ack}, frame{flags: fin | ack, payload: s.header}, isn + 1, isn + 1},
			{"data behind it", frame{flags: ack, payload: get}, frame{flags: ack, payload: get}, isn + 1 + 18, isn + 1 + 18 + n},
			{"with TCP options", withOptions(frame{flags: ack, payload: get}, join([]byte{1, 1}, timestamps)),
				withOptions(frame{flags: ack, payload: s.behind(string(get))}, join([]byte{1, 1}, timestamps)), isn + 1, isn + 1},
			{"a number of before the first", frame{flags: ack}, frame{flags: ack}, isn, isn},
		} {
			s.sends(t, row.what, s.says(row.in, row.seq, 7001), s.hears(row.want, row.as, 7001), LbReasonFORWARD_HIT)
		}
		for _, row := range []struct {
			what     string
			ack, got uint32
		}{{"nothing yet", isn + 1, isn + 1}, {"a part", isn + 2, isn + 1}, {"all but a byte", isn + n, isn + 1}, {"the header", isn + 1 + n, isn + 1}, {"and more", isn + 1 + n + 18, isn + 1 + 18}} {
			s.sends(t, "acknowledged: "+row.what, s.answers(frame{flags: ack}, 7001, row.ack), s.gets(frame{flags: ack}, 7001, row.got), LbReasonFORWARD_REPLY)
		}
		s.sends(t, "sent again behind that", s.says(frame{flags: ack, payload: get}, isn+1, 7001), s.hears(frame{flags: ack, payload: get}, isn+1+n, 7001), LbReasonFORWARD_HIT)
		s.sends(t, "a keepalive", s.says(frame{flags: ack}, isn, 7001), s.hears(frame{flags: ack}, isn, 7001), LbReasonFORWARD_HIT)
		s.sends(t, "a late answer to the SYN", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		s.sends(t, "which changes nothing", s.says(frame{flags: ack}, isn+1, 7001), s.hears(frame{flags: ack}, isn+1+n, 7001), LbReasonFORWARD_HIT)
		s.sends(t, "reset", s.says(frame{flags: rst}, isn+1+18, 0), s.hears(frame{flags: rst}, isn+1+18+n, 0), LbReasonFORWARD_HIT)
		s.checkTable()
	})
}

// TestProxyOptions: what is told by sequence numbers in options is told of the client's (RFC 2018 3), the largest segment leaves
// room for the header, and no data comes in a SYN (RFC 7413 2).
func TestProxyOptions(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		edges := func(kind []byte, of ...uint32) []byte {
			b := append(bytes.Clone(kind), 5, byte(2+4*len(of)))
			for _, e := range of {
				b = binary.BigEndian.AppendUint32(b, e)
			}
			for len(b)%4 != 0 {
				b = append(b, 1)
			}
			return b
		}
		s.sends(t, "the largest segment", s.answers(withOptions(frame{flags: syn | ack}, mssOption(1460)), 7000, isn+1),
			s.gets(withOptions(frame{flags: syn | ack}, mssOption(uint16(1460-n))), 7000, isn+1), LbReasonFORWARD_REPLY)
		for _, front := range [][]byte{{1, 1}, {1}, nil} {
			for _, of := range [][]uint32{{isn + 100, isn + 200}, {isn + 100, isn + 200, isn + 0x12345, isn + 0x23456, 5, 6, 0, isn + 1 + n}} {
				back := make([]uint32, len(of))
				for i, e := range of {
					back[i] = e - n
				}
				s.sends(t, "arrived out of order", s.answers(withOptions(frame{flags: ack}, edges(front, of...)), 7001, isn+1+n),
					s.gets(withOptions(frame{flags: ack}, edges(front, back...)), 7001, isn+1), LbReasonFORWARD_REPLY)
			}
		}
		cookie := join([]byte{34, 10}, []byte("12345678"), mssOption(1460))
		for _, front := range [][]byte{{1, 1}, {3, 3, 7, 1, 1, 1}} { // even and odd are the same to a sum of NOPs, so both places
			options := join(front, cookie)
			want := join(front, bytes.Repeat([]byte{1}, 10), mssOption(1460))
			s.sends(t, "a SYN that asks for more", s.says(withOptions(frame{flags: syn}, options), isn, 0), s.hears(withOptions(frame{flags: syn}, want), isn, 0), LbReasonFORWARD_HIT)
		}
		s.sends(t, "a SYN that asks for a cookie, and no more", s.says(withOptions(frame{flags: syn}, []byte{1, 1, 34, 2}), isn, 0),
			s.hears(withOptions(frame{flags: syn}, []byte{1, 1, 1, 1}), isn, 0), LbReasonFORWARD_HIT)
	})
}

// TestProxyOfANewConnection: another SYN that the real server accepts begins anew.
func TestProxyOfANewConnection(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		s.sends(t, "acknowledged", s.answers(frame{flags: ack}, 7001, isn+1+n), s.gets(frame{flags: ack}, 7001, isn+1), LbReasonFORWARD_REPLY)
		s.sends(t, "another answer", s.answers(frame{flags: syn | ack}, 9000, 501), s.gets(frame{flags: syn | ack}, 9000, 501), LbReasonFORWARD_REPLY)
		s.sends(t, "its first", s.says(frame{flags: ack}, 501, 9001), s.hears(frame{flags: ack, payload: s.header}, 501, 9001), LbReasonFORWARD_HIT)
	})
}

// TestProxyHeaderThatDoesNotFit: a client that heeds the largest segment never sends that much.
func TestProxyHeaderThatDoesNotFit(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		in := s.says(frame{flags: ack, payload: make([]byte, 40)}, isn+1, 7001)
		room := uint16(len(in) - 14 + len(s.header))
		for mtu, want := range map[uint16]LbReason{room: LbReasonFORWARD_HIT, room - 1: LbReasonDROP_TOO_BIG} {
			e := get[LbReal](s.rig, s.Reals, s.real)
			e.Mtu = mtu
			s.put(s.Reals, int(s.real), e)
			if _, _, why := s.run(in); why != want {
				t.Errorf("MTU %d: %s, want %s", mtu, why.name(), want.name())
			}
		}
	})
}

// TestProxyHeaderBehindNoHeader: of a segment whose header would end within itself the real server hears nothing, and the header is due still.
func TestProxyHeaderBehindNoHeader(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		for offset := uint8(12 + 4); offset < 16+5; offset++ { // four bits of it: 0 to 4
			if _, out, why := s.run(s.says(frame{flags: ack, offset: offset, payload: []byte("data")}, isn+1, 7001)); why != LbReasonDROP_NO_ROOM {
				t.Errorf("offset %d: %s\n% x", offset&15, why.name(), out)
			}
		}
		in := s.says(frame{flags: ack, payload: []byte("data")}, isn+1, 7001)
		if _, out, why := s.run(in); why != LbReasonFORWARD_HIT || len(out) != len(in)+len(s.header) {
			t.Errorf("a whole one: %s\n% x", why.name(), out)
		}
	})
}

// TestProxyLeavesAlone what is not between the answer to a SYN and the connection's end; a reset comes behind the header, too.
func TestProxyLeavesAlone(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		s.sends(t, "acknowledged, and no answer was seen", s.answers(frame{flags: ack}, 7001, isn+19), s.gets(frame{flags: ack}, 7001, isn+19), LbReasonFORWARD_REPLY)
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		s.sends(t, "a reset by the client", s.says(frame{flags: rst}, isn+1, 0), s.hears(frame{flags: rst}, isn+1+n, 0), LbReasonFORWARD_HIT)
		s.sends(t, "one that acknowledges nothing", s.answers(frame{flags: rst}, 7001, isn+19), s.gets(frame{flags: rst}, 7001, isn+19), LbReasonFORWARD_REPLY)
		for _, c := range s.conns() {
			if c.Kind&uint8(LbConnKindKIND_RETURN) != 0 {
				s.edit(c, func(c *LbConn) { c.Life = c.Life&^0xff | uint64(LbPhasePHASE_DEAD) })
			}
		}
		s.sends(t, "no line for replies", s.says(frame{flags: ack}, isn+1, 7001), s.hears(frame{flags: ack}, isn+1, 7001), LbReasonFORWARD_HIT)
	})
}

// TestProxyOptionsThatAreWrong: a header that says that it is longer than the packet, and lengths that no such option has.
func TestProxyOptionsThatAreWrong(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		cut := func(flags uint8, options []byte) frame { return frame{flags: flags, offset: 15, payload: options} }
		nops := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
		for _, row := range []struct {
			what     string
			in, want frame
		}{
			{"a cookie that is cut", cut(syn, []byte{34, 18, 'x', 'x'}), cut(syn, nops(4))},
			{"a cookie that is longer than any", withOptions(frame{flags: syn}, join([]byte{34, 20}, bytes.Repeat([]byte{3}, 18))),
				withOptions(frame{flags: syn}, join(nops(18), []byte{3, 3}))},
		} {
			s.sends(t, row.what, s.says(row.in, isn, 0), s.hears(row.want, isn, 0), LbReasonFORWARD_HIT)
		}
		for what, in := range map[string]frame{
			"no more than a byte":                           cut(syn|ack, nops(1)),
			"the largest segment, of which no number is":    cut(syn|ack, []byte{2, 4}),
			"a largest segment that is no larger than this": withOptions(frame{flags: syn | ack}, mssOption(uint16(n))),
		} {
			s.sends(t, what, s.answers(in, 7000, isn+1), s.gets(in, 7000, isn+1), LbReasonFORWARD_REPLY)
		}
		edges := func(of ...uint32) []byte {
			b := []byte{5, 34}
			for _, e := range of {
				b = binary.BigEndian.AppendUint32(b, e)
			}
			return append(b, 7, 7)
		}
		s.sends(t, "the third edge is cut", s.answers(cut(ack, edges(isn+100, isn+200)), 7001, isn+1+n),
			s.gets(cut(ack, edges(isn+100-n, isn+200-n)), 7001, isn+1), LbReasonFORWARD_REPLY)
	})
}

// TestProxyHeaderHasNoRoom: in front of the frame, or for all that stands in front of the payload.
func TestProxyHeaderHasNoRoom(t *testing.T) {
	const all = 216 // as TestNoRoomInFront has it
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		has := func(what string, in frame, want LbReason) {
			t.Helper()
			if _, _, why := s.run(s.says(in, isn+1, 7001)); why != want {
				t.Errorf("%s: %s, want %s", what, why.name(), want.name())
			}
		}
		s.meta = all
		has("metadata", frame{flags: ack}, LbReasonDROP_NO_ROOM)
		s.meta = 0
		has("a header that says that it is longer than the packet", frame{flags: ack, offset: 15}, LbReasonDROP_NO_ROOM)
		if v6 {
			behind := func(size byte) frame {
				return frame{flags: ack, next: nextOptions, options: append([]byte{tcpProto, size/8 - 1, 1, size - 4}, make([]byte, size-4)...)}
			}
			has("192 bytes less six", behind(112), LbReasonFORWARD_HIT)
			has("192 bytes and two", behind(120), LbReasonDROP_NO_ROOM)
		}
		has("what has room", frame{flags: ack}, LbReasonFORWARD_HIT)
	})
}

// TestFragmentsBehindTheProxyHeader: the first one has the number that is moved, and what follows has none.
func TestFragmentsBehindTheProxyHeader(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := proxied(t, v6)
		n := uint32(len(s.header))
		s.sends(t, "the answer", s.answers(frame{flags: syn | ack}, 7000, isn+1), s.gets(frame{flags: syn | ack}, 7000, isn+1), LbReasonFORWARD_REPLY)
		s.sends(t, "acknowledged", s.answers(frame{flags: ack}, 7001, isn+1+n), s.gets(frame{flags: ack}, 7001, isn+1), LbReasonFORWARD_REPLY)
		piece := func(offset uint16, more bool) frame {
			f := frame{flags: ack, payload: make([]byte, 28)}
			if v6 {
				f.next, f.options = nextFragment, fragment6(tcpProto, offset, more, 7)
			} else if f.frag = offset; more {
				f.frag |= 0x2000
			}
			return f
		}
		s.sends(t, "the first", s.says(piece(0, true), isn+1, 7001), s.hears(piece(0, true), isn+1+n, 7001), LbReasonFORWARD_HIT)
		in, want := s.says(piece(6, false), isn+1, 7001), s.hears(piece(6, false), isn+1, 7001)
		copy(want[len(want)-48:], in[len(in)-48:]) // it has no header of TCP
		s.sends(t, "the last", in, want, LbReasonFORWARD_FRAGMENT)
	})
}

// TestProxyIsForTCP: a datagram has no header in front.
func TestProxyIsForTCP(t *testing.T) {
	r, s, real := fullnat(t, udpProto, 4, 1)
	s.change(real, func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_PROXY) })
	in := frame{proto: udpProto, payload: []byte("hello")}
	if out := r.want(in, LbReasonFORWARD_NEW); len(out) != len(in.bytes()) {
		t.Errorf("% x", out)
	}
}
