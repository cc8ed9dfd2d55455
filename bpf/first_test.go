package bpf

import (
	"bytes"
	"testing"
)

// TestFirstDatagramWithoutAChecksum: of it all is read for the checksum of a tunnel, as of those that follow it.
func TestFirstDatagramWithoutAChecksum(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, udpProto, LbSchedulerSCHED_RR).add(1)
	r.change(real, tunnelTo(far6, 1, 1))
	in := frame{proto: udpProto, frag: 0x4000, payload: []byte("without a checksum")}
	before := r.counters(r.RealCounters, real)
	out := r.want(in, LbReasonFORWARD_NEW)
	in.ttl = 63
	if want := over(far6, 1, 1, in.packet(), out); !bytes.Equal(out, want) {
		t.Errorf("got  % x\nwant % x", out, want)
	}
	if n := r.counters(r.RealCounters, real); n.Inpkts != before.Inpkts+1 || n.Conns != before.Conns+1 {
		t.Errorf("%+v before, %+v now", before, n)
	}
}

// TestANumberOfAnEarlierVersion: what the fast road does not know is another road's, whether the connection is new or not.
func TestANumberOfAnEarlierVersion(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		r := newRig(t, 4)
		to, inner := vip, frame.packet
		if v6 {
			to, inner = vip6, frame.packet6
		}
		real := r.serve(to, tcpProto, LbSchedulerSCHED_RR).add(1)
		r.change(real, tunnelTo(far6, 0, 0))
		e := get[LbReal](r, r.Reals, real)
		e.Plain, e.Ends = 3, 0
		if err := r.Reals.Put(real, e); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			flags uint8
			why   LbReason
		}{{syn, LbReasonFORWARD_NEW}, {ack, LbReasonFORWARD_HIT}, {ack, LbReasonFORWARD_HIT}} {
			in := frame{flags: step.flags, to: to, summed: true, frag: 0x4000}
			out := r.want(in, step.why)
			in.ttl = 63
			if want := over(far6, 0, 0, inner(in), out); !bytes.Equal(out, want) {
				t.Errorf("got  % x\nwant % x", out, want)
			}
		}
	})
}

// TestAClientOfAMomentAgo: who came by the same hop within two seconds is not looked for again, whoever was meanwhile pushed out; after
// that he is.
func TestAClientOfAMomentAgo(t *testing.T) {
	r := stillRig(t, 4) // else the two seconds may end between any two packets
	r.change(r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1), func(e *LbReal) { e.Forward = masq })
	key := LbClientKey{Addr: addr6(client6.Addr())}
	known := func() (c LbClient) {
		t.Helper()
		if err := r.Clients6.Lookup(key, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	came := uint16(1)
	comes := func(src mac) LbClient {
		t.Helper()
		came++
		r.want(frame{flags: syn, to: vip6, from: port6(came), src: src}, LbReasonFORWARD_NEW)
		return known()
	}
	one, two := mac{2, 0, 0, 0, 0, 8}, mac{2, 0, 0, 0, 0, 9}
	first := comes(one)
	other := first
	other.Hop++
	r.put(r.Clients6, key, other)
	if now := comes(one); now != other {
		t.Errorf("%+v, want %+v: nobody looks for him", now, other)
	}
	if now := comes(two); now.Hop == other.Hop || now.Hop == first.Hop {
		t.Errorf("%+v by another hop", now)
	}
	if now := comes(one); now != first {
		t.Errorf("%+v, want %+v: by the first again", now, first)
	}
	r.put(r.Clients6, key, other)
	r.travel(2)
	if now := comes(one); now != first {
		t.Errorf("%+v, want %+v: two seconds later", now, first)
	}
}

// TestAPacketWindsItsTimer: each that leaves its connection's state as it is, too, and by what the state's timeout is then.
func TestAPacketWindsItsTimer(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		for proto, flags := range map[uint8]uint8{udpProto: 0, tcpProto: ack} {
			r := newRig(t, 4)
			to := vip
			if v6 {
				to = vip6
			}
			r.serve(to, proto, LbSchedulerSCHED_RR).add(1)
			r.opened(frame{proto: proto, to: to, summed: true})
			r.want(frame{proto: proto, to: to, flags: ack, summed: true}, LbReasonFORWARD_HIT)
			r.travel(50)
			r.tune(func(t *LbTunables) { t.Udp, t.Tcp[established] = 70*ticksPerSecond, 80*ticksPerSecond })
			r.want(frame{proto: proto, to: to, flags: flags, summed: true, payload: []byte("for the fast road")}, LbReasonFORWARD_HIT)
			if got, want := r.secondsLeft(r.conn()), map[uint8]int{udpProto: 70, tcpProto: 80}[proto]; got != want {
				t.Errorf("protocol %d: %d s are left, want %d", proto, got, want)
			}
		}
	})
}

// TestLengthThatHoldsNoTransportHeader: what is behind a packet's end is none of it, whatever connection it names.
func TestLengthThatHoldsNoTransportHeader(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		for proto, header := range map[uint8]uint16{udpProto: 8, tcpProto: 20} {
			r := newRig(t, 4)
			to := vip
			if v6 {
				to = vip6
			}
			r.serve(to, proto, LbSchedulerSCHED_RR).add(1)
			r.opened(frame{proto: proto, to: to, summed: true})
			in := frame{proto: proto, to: to, flags: ack, summed: true, payload: []byte("for the fast road")}
			r.want(in, LbReasonFORWARD_HIT)
			in.length = header
			if !v6 {
				in.length += 20
			}
			r.want(in, LbReasonFORWARD_HIT)
			in.length--
			r.want(in, LbReasonPASS_MALFORMED)
		}
	})
}
