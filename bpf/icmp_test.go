package bpf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestNobodyAnswers: the client is told at once, by an ICMP port unreachable from the virtual address.
func TestNobodyAnswers(t *testing.T) {
	rows := []struct {
		name string
		in   frame
		prep func(s *service)
	}{
		{"a SYN to a service without real servers", frame{flags: syn}, nil},
		{"a datagram", frame{proto: udpProto, payload: []byte("query")}, nil},
		{"a datagram without data", frame{proto: udpProto}, nil},
		{"a SYN with data and IP options", frame{flags: syn, options: bytes.Repeat([]byte{1}, 40), payload: make([]byte, 1000)}, nil},
		{"a padded frame", frame{flags: syn, trailer: make([]byte, 6)}, nil},
		{"only a server of weight 0", frame{flags: syn}, func(s *service) { s.add(0) }},
		{"only an overloaded one", frame{flags: syn}, func(s *service) { s.overload(s.add(1), 1) }},
	}
	r := newRig(t, 1)
	for _, row := range rows {
		for name, scheduler := range map[string]LbScheduler{"rr": LbSchedulerSCHED_RR, "wrr": LbSchedulerSCHED_WRR, "sh": LbSchedulerSCHED_SH} {
			t.Run(name+" "+row.name, func(t *testing.T) {
				r.TB = t
				s := r.serve(vip, or(row.in.proto, tcpProto), scheduler)
				if row.prep != nil {
					row.prep(s)
				}
				checkUnreachable(t, row.in, r.want(row.in, LbReasonREPLY_NO_SERVER))
				if n := len(r.conns()); n != 0 {
					t.Errorf("%d entries", n)
				}
			})
		}
	}
}

// checkUnreachable: type 3, code 3.
func checkUnreachable(t *testing.T, in frame, out []byte) {
	t.Helper()
	checkError(t, in, out, 3, 3, 0)
}

// checkError: RFC 792's headers, and of the packet as much as makes 576 bytes (RFC 1812 4.3.2.3).
func checkError(t *testing.T, in frame, out []byte, typ, code byte, rest uint32) {
	t.Helper()
	packet := in.packet()
	quoted := packet[:min(len(packet), 548)]
	if len(out) != 14+20+8+len(quoted) {
		t.Fatalf("%d bytes, want %d", len(out), 14+20+8+len(quoted))
	}
	eth, ip, icmp := out[:14], out[14:34], out[34:]
	if mac(eth) != routerMAC || mac(eth[6:]) != ourMAC || binary.BigEndian.Uint16(eth[12:]) != 0x0800 {
		t.Errorf("Ethernet header % x", eth)
	}
	if ip[0] != 0x45 || ip[1] != 0xc0 || int(binary.BigEndian.Uint16(ip[2:])) != len(out)-14 || ip[8] != 64 || ip[9] != icmpProto || sum(ip) != 0xffff {
		t.Errorf("IP header % x, sums to %#x", ip, sum(ip))
	}
	if !bytes.Equal(ip[12:16], vip.Addr().AsSlice()) || !bytes.Equal(ip[16:20], client.Addr().AsSlice()) {
		t.Errorf("from %v to %v", ip[12:16], ip[16:20])
	}
	if icmp[0] != typ || icmp[1] != code || sum(icmp) != 0xffff || binary.BigEndian.Uint32(icmp[4:]) != rest {
		t.Errorf("ICMP header % x, sums to %#x", icmp[:8], sum(icmp))
	}
	if !bytes.Equal(icmp[8:], quoted) {
		t.Errorf("quoted % x\nwant   % x", icmp[8:], quoted)
	}
}

// TestTooBig: RFC 1191 4: "Destination Unreachable message with a code meaning fragmentation needed and DF set", and the
// next hop's MTU, less what a tunnel adds. As the kernel quotes it, with a TTL that is one less.
func TestTooBig(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, udpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	for _, row := range []struct {
		name   string
		change func(*LbReal)
		fits   int // the largest packet
	}{
		{"direct routing", func(e *LbReal) { e.Mtu = 1400 }, 1400},
		{"NAT", func(e *LbReal) { e.Mtu, e.Forward = 1400, masq }, 1400},
		{"IP in IP", func(e *LbReal) { e.Mtu, e.Forward = 1400, tunnel }, 1380},
		{"GUE", func(e *LbReal) { e.Mtu, e.Forward, e.Tunnel = 1400, tunnel, 1 }, 1368},
		{"GRE", func(e *LbReal) { e.Mtu, e.Forward, e.Tunnel = 1400, tunnel, 2 }, 1376},
		{"GRE with a checksum", func(e *LbReal) { e.Mtu, e.Forward, e.Tunnel, e.TunnelFlags = 1400, tunnel, 2, 1 }, 1372},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			s.change(real, row.change)
			in := frame{proto: udpProto, frag: 0x4000, payload: make([]byte, row.fits-28), summed: true}
			if _, _, why := r.run(in.bytes()); why != LbReasonFORWARD_NEW && why != LbReasonFORWARD_HIT {
				t.Errorf("%d bytes: %s", row.fits, why.name())
			}
			in.payload = append(in.payload, 'x')
			out := r.want(in, LbReasonREPLY_TOO_BIG)
			in.ttl = 63
			checkError(t, in, out, 3, 4, uint32(row.fits))
			in.frag, in.ttl = 0, 64
			r.want(in, LbReasonDROP_TOO_BIG)
			s.change(real, func(e *LbReal) { e.Mtu = 0 })
			r.want(in, LbReasonFORWARD_HIT)
		})
	}
}

// TestTooFar: TTL 1 is answered by each method before anything else is done, the packet quoted as it came.
func TestTooFar(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip, udpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	for _, method := range []uint8{masq, tunnel, route} {
		s.change(real, func(e *LbReal) { e.Forward = method })
		for _, in := range []frame{{proto: udpProto, ttl: 1, summed: true}, {proto: udpProto, ttl: 1, payload: []byte("odd")}} {
			checkError(t, in, r.want(in, LbReasonREPLY_TTL), 11, 0, 0)
		}
	}
}
