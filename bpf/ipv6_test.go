package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// port6 is the client's other port.
func port6(n uint16) netip.AddrPort { return netip.AddrPortFrom(client6.Addr(), n) }

// client6Number is a client of its own for each n.
func client6Number(n int) netip.AddrPort {
	a := netip.MustParseAddr("2001:db8:50::").As16()
	binary.BigEndian.PutUint16(a[14:], uint16(n))
	return netip.AddrPortFrom(netip.AddrFrom16(a), 3000)
}

// Extension headers (RFC 8200 4, RFC 4302), each naming the next.
func hopByHop(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
func options16(next byte) []byte {
	return append([]byte{next, 1, 1, 12}, make([]byte, 12)...)
}
func routing(next byte) []byte { return append([]byte{next, 2, 0, 0}, make([]byte, 20)...) }
func auth(next byte) []byte    { return append([]byte{next, 4, 0, 0}, make([]byte, 20)...) } // 24 bytes: length in words, less 2
func fragment6(next byte, offset uint16, more bool, id uint32) []byte {
	word := offset << 3
	if more {
		word |= 1
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{next, 0}, word), id)
}

const (
	nextHopByHop, nextRouting, nextFragment, nextAuth, nextOptions = 0, 43, 44, 51, 60
)

// goes checks that the frame went to a real server with the hop limit one less, and nothing else changed.
func (r *rig) goes(in frame, why LbReason) byte {
	r.Helper()
	out := r.want(in, why)
	want := in
	want.dst, want.src, want.ttl = mac(out[:6]), ourMAC, or(in.ttl, 64)-1
	if !bytes.Equal(out, want.bytes()) {
		r.Errorf("%+v\ngot  % x\nwant % x", in, out, want.bytes())
	}
	return out[5]
}

func TestForwardedFrameOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(vip6, udpProto, LbSchedulerSCHED_RR).add(1)
	bytesIn := uint64(0)
	for _, row := range []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"the first packet", frame{flags: syn}, LbReasonFORWARD_NEW},
		{"a packet with data", frame{flags: ack | psh, payload: []byte("GET / HTTP/1.1\r\n\r\n"), summed: true}, LbReasonFORWARD_HIT},
		{"padded", frame{flags: ack, trailer: make([]byte, 6)}, LbReasonFORWARD_HIT},
		{"the greatest hop limit", frame{flags: ack, ttl: 255}, LbReasonFORWARD_HIT},
		{"the least that may pass", frame{flags: ack, ttl: 2}, LbReasonFORWARD_HIT},
		{"hop-by-hop options", frame{flags: ack, next: nextHopByHop, options: hopByHop(tcpProto)}, LbReasonFORWARD_HIT},
		{"a routing header", frame{flags: ack, next: nextRouting, options: routing(tcpProto)}, LbReasonFORWARD_HIT},
		{"destination options", frame{flags: ack, next: nextOptions, options: options16(tcpProto)}, LbReasonFORWARD_HIT},
		{"an authentication header", frame{flags: ack, next: nextAuth, options: auth(tcpProto)}, LbReasonFORWARD_HIT},
		{"four kinds", frame{flags: ack, options: bytes.Join([][]byte{hopByHop(nextOptions), options16(nextRouting), routing(nextAuth), auth(tcpProto)}, nil)},
			LbReasonFORWARD_HIT},
		{"eight headers", frame{flags: ack, next: nextOptions, options: append(bytes.Repeat(hopByHop(nextOptions), 7), hopByHop(tcpProto)...)}, LbReasonFORWARD_HIT},
		{"a fragment that is the whole", frame{flags: ack, next: nextFragment, options: fragment6(tcpProto, 0, false, 7)}, LbReasonFORWARD_HIT},
		{"larger than a page", frame{flags: ack, payload: make([]byte, 8000)}, LbReasonFORWARD_HIT},
		{"another client", frame{flags: syn, from: client6Number(1)}, LbReasonFORWARD_NEW},
		{"a client that differs in the first word", frame{flags: syn, from: at("[2002:db8:4::102]:5244")}, LbReasonFORWARD_NEW},
		{"in the second", frame{flags: syn, from: at("[2001:db8:4:1::102]:5244")}, LbReasonFORWARD_NEW},
		{"in the third", frame{flags: syn, from: at("[2001:db8:4::1:0:102]:5244")}, LbReasonFORWARD_NEW},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			row.in.to = vip6
			if to := r.goes(row.in, row.why); to != byte(real) {
				t.Errorf("to %d", to)
			}
			bytesIn += uint64(len(row.in.packet6()))
		})
	}
	r.TB = t
	if n := r.counters(r.RealCounters, real); n.Conns != 5 || n.Inpkts != 17 || n.Inbytes != bytesIn {
		t.Errorf("%+v, want 5 connections, 17 packets, %d bytes", n, bytesIn)
	}
	if to := r.goes(frame{proto: udpProto, to: vip6, payload: []byte("query")}, LbReasonFORWARD_NEW); to != 2 {
		t.Errorf("UDP went to %d", to)
	}
	r.goes(frame{proto: udpProto, to: vip6}, LbReasonFORWARD_HIT)
	r.checkTable()
}

func TestLineOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	s := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR)
	s.persist, s.netmask6 = 60, addr6(netip.MustParseAddr("ffff:ffff:ffff:ffff::"))
	a, b := s.add(1), s.add(1)
	first := r.opened(frame{to: vip6})
	c := r.conn()
	addr := append(client6.Addr().AsSlice(), vip6.Addr().AsSlice()...)
	for i := range c.Addr {
		if c.Addr[i] != binary.NativeEndian.Uint32(addr[4*i:]) {
			t.Errorf("word %d is %#x, want % x", i, c.Addr[i], addr[4*i:4*i+4])
		}
	}
	if c.from() != 5244 || c.toPort() != 80 || c.Proto != tcpProto || c.Kind != uint8(LbConnKindKIND_IPV6) || c.Real != b {
		t.Errorf("%+v", c)
	}
	// A client of the same prefix has the same template, of another one it has another.
	if r.opened(frame{to: vip6, from: at("[2001:db8:4::9:9:9]:1")}) != first {
		t.Error("the prefix is not kept together")
	}
	tpl := r.template()
	if want := addr6(netip.MustParseAddr("2001:db8:4::")); [4]uint32(tpl.Addr[:4]) != want || [4]uint32(tpl.Addr[4:]) != addr6(vip6.Addr()) || tpl.Control != 2 ||
		tpl.Kind != uint8(LbConnKindKIND_IPV6|LbConnKindKIND_TEMPLATE) {
		t.Errorf("template %+v", tpl)
	}
	if r.opened(frame{to: vip6, from: at("[2001:db8:4:1::1]:1")}) == first {
		t.Error("another prefix has the same server")
	}
	r.checkTable()
	if r.counts(a) != [3]uint32{1, 0, 1} || r.counts(b) != [3]uint32{2, 0, 1} {
		t.Errorf("counts %v %v", r.counts(a), r.counts(b))
	}
	if freed := r.order(r.Forget, LbOrder{Real: b}); freed != 3 || r.counts(b) != [3]uint32{} {
		t.Errorf("%d lines forgotten, counts %v", freed, r.counts(b))
	}
	// The template goes with its connection where its line is behind that one's, else with the next sweep.
	r.travel(61)
	freed := r.sweep()
	r.travel(61)
	if freed += r.sweep(); freed != 2 {
		t.Errorf("%d lines swept, want the connection and its template", freed)
	}
	r.lines(func(n uint32, c LbConn) {
		if c.phase() != LbPhasePHASE_EMPTY {
			t.Errorf("line %d is in phase %d after all is gone", n, c.phase())
		}
	})
}

// TestTableOfBothFamilies: crowded regions, and every connection is found, through sweeps.
func TestTableOfBothFamilies(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	for i := range 60 {
		r.opened(frame{from: clientNumber(i)})
		r.opened(frame{from: client6Number(i), to: vip6})
	}
	r.checkTable()
	r.travel(30)
	for i := 0; i < 60; i += 2 {
		r.want(frame{flags: ack, from: client6Number(i), to: vip6}, LbReasonFORWARD_HIT)
	}
	r.travel(31)
	if freed := r.sweep(); freed != 90 {
		t.Errorf("%d swept", freed)
	}
	r.checkTable()
	for i := range 60 {
		why := LbReasonFORWARD_HIT
		if i%2 == 1 {
			why = LbReasonPASS_NO_CONNECTION
		}
		r.want(frame{flags: ack, from: client6Number(i), to: vip6}, why)
	}
}

func TestHostKeepsItsPacketsOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	nine := append(bytes.Repeat(hopByHop(nextOptions), 8), hopByHop(tcpProto)...)
	following := append(append(bytes.Repeat(hopByHop(nextOptions), 6), hopByHop(nextFragment)...), fragment6(nextOptions, 100, false, 1)...)
	long := append([]byte{tcpProto, 64}, make([]byte, 518)...)
	for _, row := range []struct {
		name string
		in   frame
		why  LbReason
	}{
		{"another address", frame{flags: syn, to: at("[2001:db8:8::25]:80")}, LbReasonPASS_NOT_SERVICE},
		{"one whose filter bit is the service's", frame{flags: syn, to: at("[2001:db8::8:0:0:9]:80")}, LbReasonPASS_NOT_SERVICE},
		{"another port", frame{flags: syn, to: at("[2001:db8:8::9]:81")}, LbReasonPASS_NOT_SERVICE},
		{"another protocol", frame{proto: udpProto, to: vip6}, LbReasonPASS_NOT_SERVICE},
		{"another station's MAC", frame{flags: syn, to: vip6, dst: mac{2, 0, 0, 0, 0, 9}}, LbReasonPASS_NOT_OURS},
		{"a neighbour solicitation to a group", frame{proto: icmp6Proto, to: vip6, dst: mac{0x33, 0x33, 0xff, 0, 0, 9}}, LbReasonPASS_NOT_OURS},
		{"a ping", frame{proto: icmp6Proto, to: vip6}, LbReasonPASS_ICMP},
		{"no next header", frame{proto: 59, to: vip6}, LbReasonPASS_NOT_SERVICE},
		{"no next header, and nothing behind it", frame{proto: 59, to: vip6, body: []byte{}}, LbReasonPASS_NOT_SERVICE},
		{"nothing behind an extension header", frame{proto: 59, to: vip6, next: nextOptions, options: hopByHop(59), body: []byte{}}, LbReasonPASS_NOT_SERVICE},
		{"a late ACK", frame{flags: ack, to: vip6}, LbReasonPASS_NO_CONNECTION},
		{"version 4 in an IPv6 frame", frame{flags: syn, to: vip6, version: 4}, LbReasonPASS_MALFORMED},
		{"a length beyond the frame", frame{flags: syn, to: vip6, length: 21}, LbReasonPASS_MALFORMED},
		{"a length within the TCP header", frame{flags: syn, to: vip6, length: 19}, LbReasonPASS_MALFORMED},
		{"a length within the UDP header, and padding", frame{proto: udpProto, to: vip6, length: 7, trailer: make([]byte, 20)}, LbReasonPASS_MALFORMED},
		{"a following fragment behind seven other headers", frame{to: vip6, next: nextOptions, options: following}, LbReasonPASS_FRAGMENT},
		{"a jumbogram", frame{flags: syn, to: vip6, next: nextHopByHop, options: hopByHop(tcpProto), length: 4}, LbReasonPASS_MALFORMED},
		{"nine extension headers", frame{flags: syn, to: vip6, next: nextOptions, options: nine}, LbReasonPASS_MALFORMED},
		{"520 bytes of them", frame{flags: syn, to: vip6, next: nextOptions, options: long}, LbReasonPASS_MALFORMED},
		{"headers beyond the length", frame{flags: syn, to: vip6, next: nextRouting, options: routing(tcpProto), length: 20}, LbReasonPASS_MALFORMED},
		{"a first fragment without ports", frame{to: vip6, proto: 59, next: nextFragment, options: fragment6(nextOptions, 0, true, 1)}, LbReasonPASS_MALFORMED},
		{"a SYN from nobody", frame{flags: syn, to: vip6, from: at("[::]:1")}, LbReasonPASS_MALFORMED},
		{"a SYN from loopback", frame{flags: syn, to: vip6, from: at("[::1]:1")}, LbReasonPASS_MALFORMED},
		{"a SYN from a group", frame{flags: syn, to: vip6, from: at("[ff02::1]:1")}, LbReasonPASS_MALFORMED},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.want(row.in, row.why)
		})
	}
	r.TB = t
	whole := frame{flags: syn, to: vip6, next: nextRouting, options: routing(tcpProto)}.bytes()
	for n := 14; n < len(whole); n++ {
		if verdict, out, why := r.run(whole[:n]); verdict != xdpPass || why != LbReasonPASS_MALFORMED || !bytes.Equal(out, whole[:n]) {
			t.Errorf("the first %d bytes: %s, verdict %d", n, why.name(), verdict)
		}
	}
	// It ends within a header, and reads as TCP to port 80 where its own header is taken for what stands behind.
	cut := frame{flags: syn, to: vip6, from: at("[2014:8000:5000::50:200]:1"), next: nextOptions, options: options16(tcpProto), length: 4}.bytes()[:14+44]
	cut[14+1] = tcpProto
	if verdict, out, why := r.run(cut); verdict != xdpPass || why != LbReasonPASS_MALFORMED || !bytes.Equal(out, cut) {
		t.Errorf("cut within a header: %s, verdict %d", why.name(), verdict)
	}
	if n := len(r.conns()); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	r.want(frame{flags: syn, to: vip6, from: at("[::2]:1")}, LbReasonFORWARD_NEW)
	long[1] = 472/8 - 1
	r.want(frame{flags: syn, to: vip6, next: nextOptions, options: long[:472]}, LbReasonFORWARD_NEW) // as many as are read
}

// checkError6: RFC 4443's headers, and of the packet as much as makes 1280 bytes.
func checkError6(t *testing.T, in frame, out []byte, typ, code byte, rest uint32) {
	t.Helper()
	quoted := in.packet6()
	quoted = quoted[:min(len(quoted), 1280-48)]
	want := frame{dst: routerMAC, src: ourMAC, tags: in.tags, from: in.to, to: or(in.from, client6), proto: icmp6Proto}
	head := want.bytes()
	head = head[:len(head)-len(want.transport())]
	icmp := append(binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest), quoted...)
	ip := head[len(head)-40:]
	binary.BigEndian.PutUint16(ip[4:], uint16(len(icmp)))
	binary.BigEndian.PutUint16(icmp[2:], ^sum(append(pseudo6(ip, icmp6Proto, len(icmp)), icmp...)))
	if whole := append(head, icmp...); !bytes.Equal(out, whole) {
		t.Errorf("got  % x\nwant % x", out, whole)
	}
}

func TestAnswersOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	none := r.serve(netip.AddrPortFrom(vip6.Addr(), 81), tcpProto, LbSchedulerSCHED_WRR)
	r.serve(netip.AddrPortFrom(vip6.Addr(), 81), udpProto, LbSchedulerSCHED_RR)
	real := r.serve(vip6, udpProto, LbSchedulerSCHED_RR).add(1)
	nobody := netip.AddrPortFrom(vip6.Addr(), 81)
	for _, in := range []frame{
		{flags: syn}, {flags: syn, payload: []byte("odd")}, {flags: syn, payload: make([]byte, 1400)}, {flags: syn, trailer: make([]byte, 6)},
		{flags: syn, next: nextOptions, options: options16(tcpProto)}, {proto: udpProto}, {proto: udpProto, payload: []byte("query")},
		{flags: syn, tags: []uint32{0x8100_0000}}, {flags: syn, from: at("[fd12:3456:789a:bcde:f012:3456:789a:bcde]:1025")}, // each word is a term of the checksum
	} {
		in.to = nobody
		checkError6(t, in, r.want(in, LbReasonREPLY_NO_SERVER), 1, 4, 0)
	}
	none.add(0)
	r.want(frame{flags: syn, to: nobody}, LbReasonREPLY_NO_SERVER)
	for _, in := range []frame{{ttl: 1}, {ttl: 1, payload: []byte("odd"), summed: true}, {ttl: 1, payload: make([]byte, 1300)}} {
		in.proto, in.to = udpProto, vip6
		checkError6(t, in, r.want(in, LbReasonREPLY_TTL), 3, 0, 0)
	}
	r.change(real, func(e *LbReal) { e.Mtu = 1400 })
	in := frame{proto: udpProto, to: vip6, payload: make([]byte, 1400-48), summed: true}
	r.want(in, LbReasonFORWARD_HIT)
	in.payload = append(in.payload, 'x')
	out := r.want(in, LbReasonREPLY_TOO_BIG)
	in.ttl = 63
	checkError6(t, in, out, 2, 0, 1400)
}

// TestMethodsOfIPv6: what is not direct routing says so.
func TestMethodsOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip6, udpProto, LbSchedulerSCHED_RR).add(1)
	for _, row := range []struct {
		how func(*LbReal)
		why LbReason
	}{
		{func(e *LbReal) { e.Forward = local }, LbReasonPASS_LOCAL},
		{func(e *LbReal) { e.Forward, e.Ifindex = route, 0 }, LbReasonDROP_NO_NEIGHBOUR},
		{func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_LOCAL) }, LbReasonPASS_LOCAL},
		{func(e *LbReal) { e.Flags = uint8(LbRealFlagREAL_GONE) }, LbReasonDROP_REAL_GONE},
	} {
		r.change(real, row.how)
		r.want(frame{proto: udpProto, to: vip6}, row.why)
	}
}

func TestHashSchedulersOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	for _, scheduler := range []LbScheduler{LbSchedulerSCHED_SH, LbSchedulerSCHED_MH} {
		s := r.serve(vip6, tcpProto, scheduler)
		for range 3 {
			s.add(1)
		}
		for i := range 40 {
			from := client6Number(i)
			value := uint32(0)
			for b := from.Addr().AsSlice(); len(b) > 0; b = b[4:] {
				value ^= binary.BigEndian.Uint32(b)
			}
			want := uint32(0)
			if scheduler == LbSchedulerSCHED_SH {
				want = get[LbShTable](r, r.ShTables, s.pool).Real[value*0x61c88647>>24]
			} else {
				slot := sip13(value, 2654435761) % uint32(LbNumberMH_SLOTS)
				first := get[LbPool](r, r.Pools, s.pool).Table
				want = get[LbMhLine](r, r.MhLines, first+slot/64).Real[slot%64]
			}
			if got := r.opened(frame{to: vip6, from: from}); uint32(got) != want {
				t.Errorf("scheduler %d, client %v: %d, want %d", scheduler, from, got, want)
			}
		}
		r.clear()
	}
}

func TestNoRoadIsTheHosts(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.opened(frame{})
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	for _, road := range []LbRoad{LbRoadROAD_IPV4, LbRoadROAD_IPV6} {
		if err := r.Roads.Delete(uint32(road)); err != nil {
			t.Fatal(err)
		}
	}
	r.want(frame{flags: ack}, LbReasonFORWARD_HIT)
	r.want(frame{flags: syn, from: port(2)}, LbReasonPASS_NO_ROAD)
	r.want(frame{flags: syn, to: vip6}, LbReasonPASS_NO_ROAD)
	r.want(frame{flags: ack, tags: []uint32{0x8100_0000}}, LbReasonPASS_NO_ROAD)
}

// TestAssociationBehindMoreHeadersThanAreRead: an INIT behind 256 bytes of them begins nothing.
func TestAssociationBehindMoreHeadersThanAreRead(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip6, sctpProto, LbSchedulerSCHED_RR).add(1)
	for _, row := range []struct {
		bytes int
		why   LbReason
	}{{200, LbReasonFORWARD_NEW}, {256, LbReasonPASS_NO_CONNECTION}} {
		pad := append([]byte{sctpProto, byte(row.bytes/8 - 1), 1, byte(row.bytes - 4)}, make([]byte, row.bytes-4)...)
		r.forgetAll()
		r.want(frame{proto: sctpProto, to: vip6, next: nextHopByHop, options: pad, payload: chunks(1).payload}, row.why)
	}
}
