package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// withOptions is a SYN with TCP options, in fours: it stands in for the header's last bytes and the payload.
func withOptions(f frame, options []byte) frame {
	f.payload = append(bytes.Clone(options), f.payload...)
	f.offset = uint8(5 + len(options)/4)
	return f
}

func mssOption(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, n) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var timestamps = []byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 0}

// TestLargestSegment: RFC 9293 3.7.1: what a SYN says of the largest segment becomes at most the real server's number; of
// both directions where both pass us. All checksums are those of a segment that always said so.
func TestLargestSegment(t *testing.T) {
	r := newRig(t, 4)
	r.neighbourhood()
	four, six := r.serve(vip, tcpProto, LbSchedulerSCHED_RR), r.serve(vip6, tcpProto, LbSchedulerSCHED_RR)
	for i, s := range []*service{four, six} {
		to, from, serverOf := vip, client, realAddr
		if i == 1 {
			to, from, serverOf = vip6, client6, realAddr6
		}
		real := s.add(1)
		s.change(real, func(e *LbReal) { e.Forward, e.Mss = masq, 1300 })
		r.expectReplies(real)
		r.expectReplies6(real)
		r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_MSS) })
		server := netip.AddrPortFrom(serverOf(real), 80)
		for _, row := range []struct {
			name     string
			in, want []byte
		}{
			{"more than fits", mssOption(1460), mssOption(1300)},
			{"one more", mssOption(1301), mssOption(1300)},
			{"what fits", mssOption(1300), mssOption(1300)},
			{"less", mssOption(536), mssOption(536)},
			{"no options", nil, nil},
			{"behind others", join([]byte{1, 1}, timestamps, mssOption(9000)), join([]byte{1, 1}, timestamps, mssOption(1300))},
			{"behind one of two bytes", join([]byte{4, 2}, mssOption(9000), []byte{1, 1}), join([]byte{4, 2}, mssOption(1300), []byte{1, 1})},
			{"at an odd place", join([]byte{1}, mssOption(9001), []byte{3, 3, 7}), join([]byte{1}, mssOption(1300), []byte{3, 3, 7})},
			{"behind the end of the list", join([]byte{0, 0, 0, 0}, mssOption(1460)), join([]byte{0, 0, 0, 0}, mssOption(1460))},
			{"with a wrong length", []byte{2, 3, 0xff, 0}, []byte{2, 3, 0xff, 0}},
			{"behind one of no length", join([]byte{8, 0, 0, 0}, mssOption(1460)), join([]byte{8, 0, 0, 0}, mssOption(1460))},
			{"beyond the header", []byte{1, 1, 2, 4}, []byte{1, 1, 2, 4}},
			{"last of forty", join(bytes.Repeat([]byte{1}, 36), mssOption(1460)), join(bytes.Repeat([]byte{1}, 36), mssOption(1300))},
		} {
			t.Run(row.name+" to "+to.String(), func(t *testing.T) {
				r.TB = t
				r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
				for _, why := range []LbReason{LbReasonFORWARD_NEW, LbReasonFORWARD_HIT} { // and again what was lost on the way
					in := withOptions(frame{flags: syn, from: from, to: to, summed: true, payload: []byte("data")}, row.in)
					want := withOptions(frame{flags: syn, from: from, to: server, summed: true, payload: []byte("data"), ttl: 63, src: ourMAC, dst: realMAC(int(real))}, row.want)
					if out := r.want(in, why); !bytes.Equal(out, want.bytes()) {
						t.Errorf("got  % x\nwant % x", out, want.bytes())
					}
				}
				in := withOptions(frame{flags: syn | ack, from: server, to: from, src: realMAC(int(real)), summed: true}, row.in)
				want := withOptions(frame{flags: syn | ack, from: to, to: from, summed: true, ttl: 63, src: ourMAC, dst: routerMAC}, row.want)
				if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
					t.Errorf("reply\ngot  % x\nwant % x", out, want.bytes())
				}
				later := withOptions(frame{flags: ack, from: from, to: to, summed: true}, row.in)
				as := withOptions(frame{flags: ack, from: from, to: server, summed: true, ttl: 63, src: ourMAC, dst: realMAC(int(real))}, row.in)
				if out := r.want(later, LbReasonFORWARD_HIT); !bytes.Equal(out, as.bytes()) {
					t.Errorf("not a SYN, and changed: % x", out)
				}
			})
		}
		r.TB = t
		s.change(real, func(e *LbReal) { e.Mss = 0 })
		in := withOptions(frame{flags: syn, from: from, to: to, summed: true}, mssOption(1460))
		if out := r.want(in, LbReasonFORWARD_HIT); !bytes.Equal(out[len(out)-4:], mssOption(1460)) {
			t.Errorf("without a number: % x", out)
		}
	}
}

// TestLargestSegmentThatIsCut: a header that says that it is longer than the packet, which ends within an option.
func TestLargestSegmentThatIsCut(t *testing.T) {
	r, s, real := masqueraded(t, tcpProto)
	s.change(real, func(e *LbReal) { e.Mss = 1300 })
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_MSS) })
	for _, options := range [][]byte{{1}, {2, 4}, {2, 4, 5}} {
		r.forgetAll()
		in := frame{flags: syn, offset: 15, payload: options, summed: true}
		want := in
		want.to, want.ttl, want.src, want.dst = netip.AddrPortFrom(realAddr(real), 80), 63, ourMAC, realMAC(int(real))
		if out := r.want(in, LbReasonFORWARD_NEW); !bytes.Equal(out, want.bytes()) {
			t.Errorf("got  % x\nwant % x", out, want.bytes())
		}
	}
}

// TestLargestSegmentIsTCPs: what opens an association says nothing of segments, in either direction.
func TestLargestSegmentIsTCPs(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		with, to, from, serverOf := masqueraded, vip, client, realAddr
		if v6 {
			with, to, from, serverOf = masqueraded6, vip6, client6, realAddr6
		}
		r, s, real := with(t, sctpProto)
		s.change(real, func(e *LbReal) { e.Mss = 1300 })
		r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_MSS) })
		server := netip.AddrPortFrom(serverOf(real), 80)
		in := frame{proto: sctpProto, from: from, to: to, payload: chunks(1).payload}
		want := in
		want.to, want.dst, want.src, want.ttl = server, realMAC(int(real)), ourMAC, 63
		if _, out, why := r.run(in.wire()); why != LbReasonFORWARD_NEW || !bytes.Equal(out, want.wire()) {
			t.Errorf("%s\ngot  % x\nwant % x", why.name(), out, want.wire())
		}
		in.from, in.to, in.src = server, from, realMAC(int(real))
		want = in
		want.from, want.dst, want.src, want.ttl = to, routerMAC, ourMAC, 63
		if _, out, why := r.run(in.wire()); why != LbReasonFORWARD_REPLY || !bytes.Equal(out, want.wire()) {
			t.Errorf("reply: %s\ngot  % x\nwant % x", why.name(), out, want.wire())
		}
	})
}
