package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// errorAbout is an ICMP error from somebody about a packet, as much of it as is given.
func errorAbout(from, to netip.Addr, typ, code byte, rest uint32, quoted []byte) frame {
	icmp := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest)
	icmp = append(icmp, quoted...)
	binary.BigEndian.PutUint16(icmp[2:], ^sum(icmp))
	return frame{proto: icmpProto, from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(to, 0), body: icmp}
}

var stranger = netip.MustParseAddr("192.0.2.1")

// answered is what a real server sends that is heard by the client: from the virtual address.
func answered(proto uint8) frame {
	return frame{proto: proto, from: vip, to: client, flags: ack, summed: true, payload: []byte("an answer"), ttl: 60}
}

// leavings are how a real server may have left, or be about to, while a connection has it still.
var leavings = []struct {
	name string
	do   func(s *service, real uint32)
}{
	{"it stays", func(*service, uint32) {}},
	{"it has weight 0", func(s *service, real uint32) { s.change(real, func(e *LbReal) { e.Weight = 0 }) }},
	{"it was removed", func(s *service, real uint32) { s.remove(real) }},
}

// TestErrorsReachTheRealServer: an error that comes to the virtual address about a reply goes on to whom the reply is from;
// to a NAT real server with its own address inside and out. Also to one that was removed.
func TestErrorsReachTheRealServer(t *testing.T) {
	for _, proto := range []uint8{tcpProto, udpProto} {
		r, s, real := masqueraded(t, proto)
		r.want(frame{proto: proto, flags: syn}, LbReasonFORWARD_NEW)
		for _, leave := range leavings {
			leave.do(s, real)
			for _, size := range []int{28, 200} {
				quoted := answered(proto).packet()
				in := errorAbout(stranger, vip.Addr(), 3, 4, 1400, quoted[:min(size, len(quoted))])

				s.change(real, func(e *LbReal) { e.Forward = route })
				want := in
				want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
					t.Errorf("%s, direct routing\ngot  % x\nwant % x", leave.name, out, want.bytes())
				}

				s.change(real, func(e *LbReal) { e.Forward, e.Source[0] = tunnel, addr4(source) })
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, tunnels["IP in IP"].bytes(in, out)) {
					t.Errorf("%s, IP in IP: % x", leave.name, out)
				}

				s.change(real, func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) })
				its := answered(proto)
				its.from = netip.AddrPortFrom(realAddr(real), 8080)
				mine := its.packet()
				check := 20 + map[uint8]int{tcpProto: 16, udpProto: 6}[proto]
				copy(mine[check:check+2], quoted[check:check+2]) // ipvs: stays
				want = errorAbout(stranger, realAddr(real), 3, 4, 1400, mine[:min(size, len(quoted))])
				want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
					t.Errorf("%s, NAT\ngot  % x\nwant % x", leave.name, out, want.bytes())
				}
			}
		}
		size := len(frame{proto: proto}.packet()) + 3*3*(28+28+28+len(answered(proto).packet()))
		if n := r.counters(r.RealCounters, real); n.Inpkts != 1+3*2*3 || n.Inbytes != uint64(size) {
			t.Errorf("counted %+v", n)
		}
		r.want(frame{proto: proto, flags: ack}, LbReasonDROP_REAL_GONE)
	}
}

// TestErrorsReachTheClient: what a NAT real server, or a router on the way there, says of a request comes from the virtual
// address and is about the request as the client sent it.
func TestErrorsReachTheClient(t *testing.T) {
	for _, from := range []netip.Addr{realAddr(1), stranger} {
		for _, proto := range []uint8{tcpProto, udpProto} {
			r, s, real := masqueraded(t, proto)
			s.change(real, func(e *LbReal) { e.Port = port2(8080) })
			request := frame{proto: proto, flags: syn, summed: true, payload: []byte("hello")}
			quoted := r.want(request, LbReasonFORWARD_NEW)[14:]
			for _, kind := range [][2]byte{{3, 3}, {11, 0}, {4, 0}} {
				in := errorAbout(from, client.Addr(), kind[0], kind[1], 0, quoted)
				in.src = realMAC(int(real))
				as := request
				as.ttl = 63
				sent := as.packet()
				check := 20 + map[uint8]int{tcpProto: 16, udpProto: 6}[proto]
				copy(sent[check:check+2], quoted[check:check+2]) // ipvs: stays
				want := errorAbout(vip.Addr(), client.Addr(), kind[0], kind[1], 0, sent)
				want.src, want.dst, want.ttl = ourMAC, routerMAC, 63
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
					t.Errorf("got  % x\nwant % x", out, want.bytes())
				}
			}
			if n := r.counters(r.RealCounters, real); n.Outpkts != 3 || n.Inpkts != 1 {
				t.Errorf("counted %+v", n)
			}
		}
	}
}

// TestErrorsAboutTunnels: the client is told about its own packet; where a size is told, the tunnel's headers are taken off.
func TestErrorsAboutTunnels(t *testing.T) {
	for name, w := range tunnels {
		t.Run(name, func(t *testing.T) {
			r, s, real := masqueraded(t, udpProto)
			r.TB = t
			tuning := get[LbTunables](r, r.Tuning, 0)
			tuning.Have = uint32(LbHaveHAVE_TUNNEL)
			r.put(r.Tuning, 0, tuning)
			s.change(real, func(e *LbReal) {
				e.Forward, e.Source[0], e.Tunnel, e.TunnelFlags, e.TunnelPort = tunnel, addr4(source), w.kind, uint16(w.flags), port2(guePort)
			})
			request := frame{proto: udpProto, frag: 0x4000, summed: true, payload: make([]byte, 1200)}
			outer := r.want(request, LbReasonFORWARD_NEW)[14:]
			request.ttl = 63
			inner := request.packet()
			more := len(outer) - len(inner)
			for _, row := range []struct {
				typ, code  byte
				rest, told uint32
				quoted     int
			}{
				{3, 4, 1400, uint32(1400 - more), 548},
				{3, 3, 0, 0, 548},
				{3, 2, 0, 0, more + 28},
				{11, 0, 0, 0, len(outer)},
			} {
				in := errorAbout(stranger, source, row.typ, row.code, row.rest, outer[:row.quoted])
				in.src = realMAC(int(real))
				want := errorAbout(vip.Addr(), client.Addr(), row.typ, row.code, row.told, inner[:min(row.quoted-more, 548)])
				want.src, want.dst, want.tos = ourMAC, routerMAC, 0xc0
				if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want.bytes()) {
					t.Errorf("type %d code %d\ngot  % x\nwant % x", row.typ, row.code, out, want.bytes())
				}
			}
			elsewhere := errorAbout(stranger, source, 3, 3, 0, outer)
			s.change(real, func(e *LbReal) { e.Forward, e.Addr[0] = tunnel, addr4(stranger) })
			r.want(elsewhere, LbReasonPASS_NOT_SERVICE)
		})
	}
}

// TestErrorsOfNobody: what belongs to no connection is the host's, untouched.
func TestErrorsOfNobody(t *testing.T) {
	r, s, _ := masqueraded(t, tcpProto)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	reply := answered(tcpProto)
	good := func() frame { return errorAbout(stranger, vip.Addr(), 3, 3, 0, reply.packet()) }
	other := func(change func(f *frame)) []byte { f := reply; change(&f); return f.packet() }
	for _, row := range []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"a ping", frame{proto: icmpProto}, LbReasonPASS_ICMP},
		{"a redirect", errorAbout(stranger, vip.Addr(), 5, 0, 0, reply.packet()), LbReasonPASS_ICMP},
		{"about another client", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.to = at("10.0.4.103:5244") })), LbReasonPASS_ICMP},
		{"about another port", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.from = at("10.0.8.9:81") })), LbReasonPASS_ICMP},
		{"about another protocol", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.proto = udpProto })), LbReasonPASS_ICMP},
		{"about a protocol without ports", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.proto = 50 })), LbReasonPASS_ICMP},
		{"about a following fragment", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.frag = 7 })), LbReasonPASS_ICMP},
		{"about IPv6", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.version = 6 })), LbReasonPASS_ICMP},
		{"about a packet that another sent", errorAbout(stranger, vip.Addr(), 3, 3, 0, other(func(f *frame) { f.from = at("10.0.8.10:80") })), LbReasonPASS_ICMP},
		{"what reads like one", func() frame { f := good(); f.proto = 50; return f }(), LbReasonPASS_NOT_SERVICE},
		{"with less than is quoted always", errorAbout(stranger, vip.Addr(), 3, 3, 0, reply.packet()[:27]), LbReasonPASS_ICMP},
		{"to another address", errorAbout(stranger, source, 3, 3, 0, reply.packet()), LbReasonPASS_NOT_SERVICE},
		{"in the first of some fragments", func() frame { f := good(); f.frag = 0x2000; return f }(), LbReasonPASS_ICMP},
		{"that has come far enough", func() frame { f := good(); f.ttl = 1; return f }(), LbReasonDROP_ICMP},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(row.in, row.why)
		})
	}
	r.TB = t
	r.want(good(), LbReasonFORWARD_ICMP)
	s.change(s.members[0].Real, func(e *LbReal) { e.Forward, e.Mtu = route, 50 })
	r.want(good(), LbReasonDROP_TOO_BIG)
}
