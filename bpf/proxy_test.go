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

// TestProxyIsForTCP: a datagram has no header in front.
func TestProxyIsForTCP(t *testing.T) {
	r, s, real := fullnat(t, udpProto, 4, 1)
	s.change(real, func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_PROXY) })
	in := frame{proto: udpProto, payload: []byte("hello")}
	if out := r.want(in, LbReasonFORWARD_NEW); len(out) != len(in.bytes()) {
		t.Errorf("% x", out)
	}
}
