package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// inVLANs makes three VLANs ours, of which one is the interface elsewhere.
func (r *rig) inVLANs() {
	r.Helper()
	for _, tci := range [][2]uint16{tciOf(7, 0), tciOf(9, 0), tciOf(ad|9, 7)} {
		r.station(tci, ourMAC)
	}
	r.put(r.Links, elsewhere, LbLink{Mac: ourMAC, Lower: loopback, Tci: tciOf(7, 0)})
}

// TestRepliesInVLANsOfIPv6AndFullNAT: as TestRepliesInVLANs, on the other roads back; requests under FULLNAT arrive without tags.
func TestRepliesInVLANsOfIPv6AndFullNAT(t *testing.T) {
	for name, play := range map[string]struct {
		make        func(t *testing.T) (*rig, *service, uint32)
		client, vip netip.AddrPort
		full        bool
		serverOf    func(uint32) netip.Addr
	}{
		"IPv6":            {func(t *testing.T) (*rig, *service, uint32) { return masqueraded6(t, udpProto) }, client6, vip6, false, realAddr6},
		"FULLNAT":         {func(t *testing.T) (*rig, *service, uint32) { return fullnat(t, udpProto, 4, 1) }, client, vip, true, realAddr},
		"FULLNAT of IPv6": {func(t *testing.T) (*rig, *service, uint32) { return fullnat6(t, udpProto, 1) }, client6, vip6, true, realAddr6},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, real := play.make(t)
			r.inVLANs()
			inVLAN := []uint32{tagOf(0x8100, 7)}
			for _, there := range [][]uint32{nil, inVLAN} {
				for _, here := range [][]uint32{nil, inVLAN, {tagOf(0x8100, 9)}, {tagOf(0x88a8, 9), tagOf(0x8100, 7)}} {
					r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
					query := frame{proto: udpProto, from: play.client, to: play.vip, summed: true, payload: []byte("query"), tags: there}
					sent := r.want(query, LbReasonFORWARD_NEW)
					end := play.client
					if play.full {
						end = localEnd(t, sent)
					}
					in := frame{proto: udpProto, summed: true, payload: []byte("answer"), tags: here, from: netip.AddrPortFrom(play.serverOf(real), 80), to: end, src: realMAC(int(real))}
					want := in
					want.from, want.to, want.src, want.dst, want.ttl, want.tags = play.vip, play.client, ourMAC, routerMAC, 63, there
					if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
						t.Errorf("there %x, here %x\ngot  % x\nwant % x", there, here, out, want.bytes())
					}
					if len(here) < len(there) {
						r.meta = 216 // as in TestNoRoomInFront
						r.want(in, LbReasonDROP_NO_ROOM)
						r.meta = 0
					}
				}
			}
		})
	}
}

// TestToldInAVLANOfIPv6: an error about a tunnel's packet reaches a client behind a VLAN with its tag, in its own family's words.
func TestToldInAVLANOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	r.neighbourhood()
	r.inVLANs()
	s := r.serve(vip6, udpProto, LbSchedulerSCHED_RR)
	real := s.add(1)
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_TUNNEL | LbHaveHAVE_TUNNEL6) })
	inVLAN := []uint32{tagOf(0x8100, 7)}
	for _, row := range []struct {
		far   netip.Addr
		about func(outer []byte) frame
	}{
		{far6, func(outer []byte) frame {
			return errorAbout6(netip.MustParseAddr("2001:db8:77::1"), source6, 1, 4, 0, outer)
		}},
		{far4, func(outer []byte) frame { return errorAbout(stranger, source, 3, 3, 0, outer) }},
	} {
		r.change(real, tunnelTo(row.far, 0, 0))
		_, out, why := r.run(frame{proto: udpProto, to: vip6, summed: true, payload: make([]byte, 100), tags: inVLAN}.bytes())
		if !forwardsWhy(why) {
			t.Fatal(why.name())
		}
		told := row.about(out[14:])
		_, out, why = r.run(told.bytes())
		if why != LbReasonFORWARD_ICMP || binary.BigEndian.Uint32(out[12:]) != inVLAN[0] || out[16] != 0x86 || out[18+6] != icmp6Proto {
			t.Errorf("by %v: %s: % x", row.far, why.name(), out)
		}
		r.meta = allRoom // what is cut away is room: IPv4's outer headers are as long as the new ones, and IPv6's longer
		if why = LbReasonFORWARD_ICMP; row.far.Is4() {
			why = LbReasonDROP_NO_ROOM
		}
		r.want(told, why)
		r.meta = 0
	}
}

// TestErrorsInVLANs: an error may come in any VLAN of ours, and reaches whom it is for as one without tags does.
func TestErrorsInVLANs(t *testing.T) {
	for name, row := range senders {
		t.Run(name, func(t *testing.T) {
			r, _, _ := row.start(t)
			r.inVLANs()
			sent := r.want(frame{proto: udpProto, from: row.from, to: row.to, summed: true, payload: []byte("hello")}, LbReasonFORWARD_NEW)[14:]
			errors := map[string]frame{"about a request": errorSaid(quotedTo(sent), sent)}
			if row.masquerade {
				answer := frame{proto: udpProto, from: row.to, to: row.from, summed: true, payload: []byte("an answer")}
				errors["about a reply"] = errorSaid(row.to.Addr(), answer.whole())
			}
			for what, in := range errors {
				want := r.want(in, LbReasonFORWARD_ICMP)
				for _, tags := range [][]uint32{{tagOf(0x8100, 7)}, {tagOf(0x88a8, 9), tagOf(0x8100, 7)}} {
					in.tags = tags
					if out := r.want(in, LbReasonFORWARD_ICMP); !bytes.Equal(out, want) {
						t.Errorf("%s, tags %x\ngot  % x\nwant % x", what, tags, out, want)
					}
				}
			}
		})
	}
}

// TestAnswersInTwoVLANs: who is told that there is no real server, or that its packet has come far enough, is told behind both tags.
func TestAnswersInTwoVLANs(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		for name, row := range map[string]struct {
			why       LbReason
			typ, code byte // IPv4's, and IPv6's
			typ6      byte
			code6     byte
		}{"no real server": {LbReasonREPLY_NO_SERVER, 3, 3, 1, 4}, "far enough": {LbReasonREPLY_TTL, 11, 0, 3, 0}} {
			r := newRig(t, 4)
			r.inVLANs()
			in := frame{proto: udpProto, from: client, to: vip, summed: true, payload: []byte("query"), tags: []uint32{tagOf(0x88a8, 9), tagOf(0x8100, 7)}}
			if v6 {
				in.from, in.to = client6, vip6
			}
			s := r.serve(in.to, udpProto, LbSchedulerSCHED_RR)
			if row.why == LbReasonREPLY_TTL {
				s.add(1)
				in.ttl = 1
			}
			out := r.want(in, row.why)
			if tags := in.bytes()[12:20]; !bytes.Equal(out[12:20], tags) {
				t.Errorf("%s: tags % x, want % x", name, out[12:20], tags)
			}
			in.tags = nil
			if out = append(out[:12:12], out[20:]...); v6 {
				checkError6(t, in, out, row.typ6, row.code6, 0)
			} else {
				checkError(t, in, out, row.typ, row.code, 0)
			}
		}
	})
}

// TestFragmentsOfRepliesInVLANs: a following one too may come in any VLAN of ours.
func TestFragmentsOfRepliesInVLANs(t *testing.T) {
	for name, row := range senders {
		if !row.masquerade {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r, _, real := row.start(t)
			r.inVLANs()
			local := localEndOrClient(r, frame{proto: udpProto, from: row.from, to: row.to, summed: true})
			server := netip.AddrPortFrom(realAddr(real), row.to.Port())
			if row.to.Addr().Is6() {
				server = netip.AddrPortFrom(realAddr6(real), row.to.Port())
			}
			for _, offset := range []uint16{0, 5} {
				in := frame{proto: udpProto, from: server, to: local, src: realMAC(int(real)), payload: make([]byte, 32)}
				if in.six() {
					in.next, in.options = nextFragment, fragment6(udpProto, offset, true, 7)
				} else {
					in.frag = offset | 0x2000
				}
				want := r.want(in, LbReasonFORWARD_REPLY)
				for _, tags := range [][]uint32{{tagOf(0x8100, 7)}, {tagOf(0x88a8, 9), tagOf(0x8100, 7)}} {
					in.tags = tags
					if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want) {
						t.Errorf("offset %d, tags %x\ngot  % x\nwant % x", offset, tags, out, want)
					}
				}
			}
		})
	}
}

// localEndOrClient sends a request and says from where its real server has it.
func localEndOrClient(r *rig, request frame) netip.AddrPort {
	r.Helper()
	out := r.want(request, LbReasonFORWARD_NEW)
	if request.six() {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(out[14+8:])), binary.BigEndian.Uint16(out[14+40:]))
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(out[14+12:])), binary.BigEndian.Uint16(out[14+20:]))
}
