package bpf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// tagOf is a tag of 802.1Q (0x8100) or 802.1ad (0x88a8).
func tagOf(kind, tci uint32) uint32 { return kind<<16 | tci }

// ad says that a tag is 802.1ad's.
const ad = uint16(LbVlanTagVLAN_AD)

// tciOf is real.tci: VLAN identifiers, outer first.
func tciOf(outer, inner uint16) (tci [2]uint16) { return [2]uint16{port2(outer), port2(inner)} }

// station puts an address of ours into a VLAN, or beside the loopback interface's own.
func (r *rig) station(tci [2]uint16, m mac) {
	r.Helper()
	r.put(r.Stations, LbStation{Ifindex: loopback, Tci: tci, Mac: m}, uint32(elsewhere))
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_STATIONS) })
}

// TestFramesInVLANs: which are ours, and with which tags they leave.
func TestFramesInVLANs(t *testing.T) {
	r := newRig(t, 4)
	for tci, m := range map[[2]uint16]mac{
		tciOf(7, 0): ourMAC, tciOf(ad|100, 7): ourMAC, tciOf(5, 6): ourMAC, tciOf(ad|4, 0): ourMAC, tciOf(8, 0): {2, 0, 0, 0, 7, 7},
	} {
		r.station(tci, m)
	}
	real4 := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	real6 := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	q, qinq := uint32(0x8100), uint32(0x88a8)
	for _, row := range []struct {
		name string
		tags []uint32
		tci  [2]uint16 // the real server's
		out  []uint32
		ours bool
	}{
		{"no tag", nil, tciOf(0, 0), nil, true},
		{"ours", []uint32{tagOf(q, 7)}, tciOf(7, 0), []uint32{tagOf(q, 7)}, true},
		{"its priority is kept", []uint32{tagOf(q, 0xa007)}, tciOf(7, 0), []uint32{tagOf(q, 0xa007)}, true},
		{"a priority and no VLAN", []uint32{tagOf(q, 0xa000)}, tciOf(0, 0), []uint32{tagOf(q, 0xa000)}, true},
		{"two tags", []uint32{tagOf(qinq, 100), tagOf(q, 7)}, tciOf(ad|100, 7), []uint32{tagOf(qinq, 100), tagOf(q, 7)}, true},
		{"a priority, and then a VLAN", []uint32{tagOf(q, 0xa000), tagOf(q, 7)}, tciOf(7, 0), []uint32{tagOf(q, 0xa000), tagOf(q, 7)}, true},
		{"another VLAN", []uint32{tagOf(q, 9)}, tciOf(0, 0), nil, false},
		{"a priority, and then another VLAN", []uint32{tagOf(q, 0), tagOf(q, 9)}, tciOf(0, 0), nil, false},
		{"another interface's MAC in it", []uint32{tagOf(q, 8)}, tciOf(0, 0), nil, false},
		{"another inner one", []uint32{tagOf(qinq, 100), tagOf(q, 8)}, tciOf(0, 0), nil, false},
		{"the outer one alone", []uint32{tagOf(qinq, 100)}, tciOf(0, 0), nil, false},
		{"from a VLAN to none", []uint32{tagOf(q, 7)}, tciOf(0, 0), nil, true},
		{"from none to a VLAN", nil, tciOf(9, 0), []uint32{tagOf(q, 9)}, true},
		{"from one to another", []uint32{tagOf(q, 7)}, tciOf(9, 0), []uint32{tagOf(q, 9)}, true},
		{"from one to two", []uint32{tagOf(q, 7)}, tciOf(ad|100, 9), []uint32{tagOf(qinq, 100), tagOf(q, 9)}, true},
		{"from none to two", nil, tciOf(ad|100, 9), []uint32{tagOf(qinq, 100), tagOf(q, 9)}, true},
		{"from two to none", []uint32{tagOf(qinq, 100), tagOf(q, 7)}, tciOf(0, 0), nil, true},
		{"from two to one", []uint32{tagOf(qinq, 100), tagOf(q, 7)}, tciOf(7, 0), []uint32{tagOf(q, 7)}, true},
		{"two tags of 802.1Q", []uint32{tagOf(q, 5), tagOf(q, 6)}, tciOf(5, 6), []uint32{tagOf(q, 5), tagOf(q, 6)}, true},
		{"one of 802.1ad", []uint32{tagOf(qinq, 4)}, tciOf(ad|4, 0), []uint32{tagOf(qinq, 4)}, true},
		{"from 802.1ad to 802.1Q", []uint32{tagOf(qinq, 4)}, tciOf(4, 0), []uint32{tagOf(q, 4)}, true},
		{"from two of 802.1Q to a pair", []uint32{tagOf(q, 5), tagOf(q, 6)}, tciOf(ad|5, ad|6), []uint32{tagOf(qinq, 5), tagOf(qinq, 6)}, true},
		{"the other kind of tag", []uint32{tagOf(q, 4)}, tciOf(0, 0), nil, false},
		{"the other kind of outer tag", []uint32{tagOf(q, 100), tagOf(q, 7)}, tciOf(0, 0), nil, false},
		{"from a priority to a VLAN", []uint32{tagOf(q, 0xa000)}, tciOf(9, 0), []uint32{tagOf(q, 9)}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.TB = t
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			for real, in := range map[uint32]frame{real4: {flags: syn}, real6: {flags: syn, to: vip6}} {
				r.change(real, func(e *LbReal) { e.Tci = row.tci })
				in.tags = row.tags
				if !row.ours {
					r.want(in, LbReasonPASS_NOT_OURS)
					continue
				}
				for _, why := range []LbReason{LbReasonFORWARD_NEW, LbReasonFORWARD_HIT} {
					want := in
					want.dst, want.src, want.ttl, want.tags = realMAC(int(real)), ourMAC, 63, row.out
					if out := r.want(in, why); !bytes.Equal(out, want.bytes()) {
						t.Errorf("got  % x\nwant % x", out, want.bytes())
					}
					in.flags = ack
				}
			}
		})
	}
}

// TestAnotherAddressOfOurs: a virtual one at the same interface, and what is nobody's.
func TestAnotherAddressOfOurs(t *testing.T) {
	r := newRig(t, 4)
	virtual := mac{0, 0, 0x5e, 0, 1, 51}
	real4 := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	real6 := r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	for real, in := range map[uint32]frame{real4: {flags: syn}, real6: {flags: syn, to: vip6}} {
		in.dst = virtual
		r.want(in, LbReasonPASS_NOT_OURS)
		r.station(tciOf(0, 0), virtual)
		for _, why := range []LbReason{LbReasonFORWARD_NEW, LbReasonFORWARD_HIT} {
			want := in
			want.dst, want.src, want.ttl = realMAC(int(real)), ourMAC, 63
			if out := r.want(in, why); !bytes.Equal(out, want.bytes()) {
				t.Errorf("got  % x\nwant % x", out, want.bytes())
			}
			in.flags = ack
		}
		for _, other := range []mac{{0, 0, 0x5e, 0, 1, 52}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
			in.dst = other
			r.want(in, LbReasonPASS_NOT_OURS)
		}
		if err := r.Stations.Delete(LbStation{Ifindex: loopback, Mac: virtual}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepliesInVLANs: a client behind a VLAN gets its answers with the tags that are there, wherever they come from.
func TestRepliesInVLANs(t *testing.T) {
	r, _, real := masqueraded(t, udpProto)
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_TUNNEL) })
	for _, tci := range [][2]uint16{tciOf(7, 0), tciOf(9, 0), tciOf(ad|9, 7)} {
		r.station(tci, ourMAC)
	}
	r.put(r.Links, elsewhere, LbLink{Mac: ourMAC, Lower: loopback, Tci: tciOf(7, 0)})
	query := frame{proto: udpProto, summed: true, payload: []byte("query")}
	inVLAN := []uint32{tagOf(0x8100, 7)}
	for _, there := range [][]uint32{nil, inVLAN} {
		for _, here := range [][]uint32{nil, inVLAN, {tagOf(0x8100, 9)}, {tagOf(0x88a8, 9), tagOf(0x8100, 7)}} {
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			query.tags = there
			r.run(query.bytes())
			in := replyOf(real, 0)
			in.proto, in.tags = udpProto, here
			want := in
			want.from, want.src, want.dst, want.ttl, want.tags = vip, ourMAC, routerMAC, 63, there
			if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
				t.Errorf("got  % x\nwant % x", out, want.bytes())
			}
		}
	}
	// Told about a packet in a tunnel, the client hears of its own.
	r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
	r.change(real, func(e *LbReal) { e.Forward, e.Source[0] = tunnel, addr4(source) })
	_, out, why := r.run(query.bytes())
	if why != LbReasonFORWARD_NEW {
		t.Fatal(why.name())
	}
	told := errorAbout(stranger, source, 3, 1, 0, out[14:])
	_, out, why = r.run(told.bytes())
	if why != LbReasonFORWARD_ICMP || binary.BigEndian.Uint32(out[12:]) != inVLAN[0] {
		t.Errorf("%s: % x", why.name(), out)
	}
}

// TestWhatIsNotForAServiceInAVLAN is looked at for a connection the other way, and then the host's.
func TestWhatIsNotForAServiceInAVLAN(t *testing.T) {
	r := newRig(t, 4)
	r.station(tciOf(7, 0), ourMAC)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	tags := []uint32{tagOf(0x8100, 7)}
	r.want(frame{proto: icmpProto, tags: tags}, LbReasonPASS_ICMP)
	r.want(frame{flags: ack, tags: tags}, LbReasonPASS_NO_CONNECTION)
}

func TestTaggedRuntsPass(t *testing.T) {
	r := newRig(t, 4)
	r.station(tciOf(7, 0), ourMAC)
	r.station(tciOf(ad|7, 7), ourMAC)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	for _, f := range []frame{{flags: syn}, {flags: syn, to: vip6}} {
		for _, tags := range [][]uint32{{tagOf(0x8100, 7)}, {tagOf(0x88a8, 7), tagOf(0x8100, 7)}} {
			f.tags = tags
			whole := f.bytes()
			for n := 14; n < len(whole)-20; n++ {
				want := LbReasonPASS_MALFORMED
				if n < 14+4*len(tags) {
					want = LbReasonPASS_NOT_IP // it ends in its tags
				}
				if verdict, out, why := r.run(whole[:n]); verdict != xdpPass || why != want || !bytes.Equal(out, whole[:n]) {
					t.Errorf("the first %d bytes: %s, verdict %d", n, why.name(), verdict)
				}
			}
		}
	}
}

func TestMethodsInVLANs(t *testing.T) {
	r := newRig(t, 4)
	r.station(tciOf(7, 0), ourMAC)
	real := r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	in := frame{proto: udpProto, summed: true, payload: []byte("query"), tags: []uint32{tagOf(0x8100, 7)}}
	for _, tags := range [][]uint32{nil, {tagOf(0x8100, 7)}, {tagOf(0x8100, 9)}} {
		tci := tciOf(0, 0)
		if tags != nil {
			tci[0] = port2(uint16(tags[0]))
		}
		r.change(real, func(e *LbReal) { e.Forward, e.Port, e.Tci = masq, port2(8080), tci })
		want := in
		want.to, want.dst, want.src, want.ttl, want.tags = at("10.0.8.11:8080"), realMAC(int(real)), ourMAC, 63, tags
		if _, out, why := r.run(in.bytes()); !bytes.Equal(out, want.bytes()) {
			t.Errorf("NAT %s\ngot  % x\nwant % x", why.name(), out, want.bytes())
		}
		r.change(real, func(e *LbReal) { e.Forward, e.Source[0], e.Tci = tunnel, addr4(source), tci })
		_, out, why := r.run(in.bytes())
		link := frame{dst: realMAC(int(real)), src: ourMAC, tags: tags}.bytes()[:14+4*len(tags)]
		inner := in
		inner.ttl = 63
		if len(out) < len(link)+20 || !bytes.Equal(out[:len(link)], link) || !bytes.Equal(out[len(link)+20:], inner.packet()) {
			t.Errorf("tunnel %s: % x", why.name(), out)
		}
		r.change(real, func(e *LbReal) { e.Forward, e.Tci = local, tci })
		r.want(in, LbReasonPASS_LOCAL)
	}
	in.ttl = 1
	r.change(real, func(e *LbReal) { e.Forward, e.Tci = route, tciOf(0, 0) })
	out := r.want(in, LbReasonREPLY_TTL)
	if binary.BigEndian.Uint32(out[12:]) != tagOf(0x8100, 7) {
		t.Errorf("the answer has the link header % x", out[:18])
	}
	checkError(t, in, append(out[:12:12], out[16:]...), 11, 0, 0)
}

// TestFragments: a following one goes where the first went, whatever the scheduler would say.
func TestFragments(t *testing.T) {
	r := stillRig(t, 4)
	for _, to := range []string{"10.0.8.9:53", "[2001:db8:8::9]:53"} {
		t.Run(to, func(t *testing.T) {
			r.TB = t
			s := r.serve(at(to), udpProto, LbSchedulerSCHED_RR)
			s.add(1)
			s.add(1)
			piece := func(offset uint16, more bool, id uint32) frame {
				f := frame{proto: udpProto, to: at(to), payload: make([]byte, 32)}
				if f.six() {
					f.next, f.options = nextFragment, fragment6(udpProto, offset, more, id)
				} else if f.frag = offset; more {
					f.frag |= 0x2000
				}
				return f
			}
			r.want(piece(5, true, 7), LbReasonPASS_FRAGMENT)
			for i := range 4 {
				first := piece(0, true, 7)
				first.from = port(uint16(i + 1))
				if first.six() {
					first.from = port6(uint16(i + 1))
				}
				real := r.goes(first, LbReasonFORWARD_NEW)
				for range 2 {
					if r.goes(piece(5, true, 7), LbReasonFORWARD_FRAGMENT) != real || r.goes(piece(10, false, 7), LbReasonFORWARD_FRAGMENT) != real {
						t.Error("a following fragment went elsewhere")
					}
				}
				first.ttl = 2
				if r.goes(first, LbReasonFORWARD_HIT) != real {
					t.Error("again the first went elsewhere")
				}
			}
			last := piece(10, false, 7)
			if last.six() {
				last.options = fragment6(nextOptions, 10, false, 7) // its next header is nobody's concern
				r.goes(last, LbReasonFORWARD_FRAGMENT)
				r.want(piece(5, true, 8), LbReasonPASS_FRAGMENT)
			} else {
				last.proto = tcpProto
				r.want(last, LbReasonPASS_FRAGMENT)
			}
			other := piece(10, false, 7) // numbers are each sender's own
			if other.from = clientNumber(1); other.six() {
				other.from = client6Number(1)
			}
			r.want(other, LbReasonPASS_FRAGMENT)
			r.travel(30)
			r.goes(piece(10, false, 7), LbReasonFORWARD_FRAGMENT)
			r.advance(1)
			r.want(piece(10, false, 7), LbReasonPASS_FRAGMENT)
			r.goes(piece(0, true, 7), LbReasonFORWARD_NEW)
			for _, m := range s.members {
				s.remove(m.Real)
			}
			r.want(piece(10, false, 7), LbReasonDROP_REAL_GONE)
		})
	}
}
