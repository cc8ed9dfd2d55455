package bpf

import (
	"net/netip"
	"testing"
)

// director makes a station one of the other directors, with its own address or none known.
func (r *rig) director(m mac, own string) {
	r.Helper()
	for v6 := range uint8(2) {
		r.put(r.Peers, LbPeerKey{Mac: m, V6: v6}, uint32(1))
	}
	if own != "" {
		a := netip.MustParseAddr(own)
		key := LbPeerKey{Mac: m}
		if key.Addr[0] = fold(a); a.Is6() {
			key.Addr, key.V6 = addr6(a), 1
		}
		r.put(r.Peers, key, uint32(1))
	}
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_PEERS) })
}

// among says that a director is among the service's real servers.
func (s *service) among() *service {
	s.Helper()
	s.flags |= LbServiceFlagSERVICE_DIRECTORS
	e := get[LbService](s.rig, s.Services, s.index)
	e.Flags |= uint32(LbServiceFlagSERVICE_DIRECTORS)
	s.put(s.Services, int(s.index), e)
	return s
}

// TestOtherDirector: what another director gives us is the host's, in both families; its own traffic is a client's.
func TestOtherDirector(t *testing.T) {
	r := newRig(t, 4)
	web, web6 := r.serve(vip, tcpProto, LbSchedulerSCHED_RR), r.serve(vip6, tcpProto, LbSchedulerSCHED_RR)
	web.add(1)
	web6.add(1)
	dns := r.serve(at("10.0.8.9:53"), udpProto, LbSchedulerSCHED_RR)
	dns.add(1)
	four, six := mac{2, 0, 0, 0, 9, 4}, mac{2, 0, 0, 0, 9, 6}
	web.among()
	web6.among()
	r.want(frame{flags: syn, src: four}, LbReasonFORWARD_NEW) // nobody is known for a director
	r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
	r.director(four, "10.0.8.3")
	r.director(six, "2001:db8:8::3")
	r.director(six, "2001:db8:8::5")
	for _, own := range []string{"[2001:db8:8::3]:4000", "[2001:db8:8::5]:4000"} {
		r.want(frame{flags: syn, src: six, to: vip6, from: at(own)}, LbReasonFORWARD_NEW)
	}
	r.want(frame{flags: syn, src: four}, LbReasonPASS_FROM_DIRECTOR)
	r.want(frame{flags: ack, src: four}, LbReasonPASS_FROM_DIRECTOR)
	r.want(frame{flags: syn, src: four, to: vip6}, LbReasonPASS_FROM_DIRECTOR)
	r.want(frame{flags: syn, src: four, from: at("10.0.8.3:4000")}, LbReasonFORWARD_NEW)
	r.want(frame{flags: syn, src: six, to: vip6}, LbReasonPASS_FROM_DIRECTOR)
	for _, other := range []string{"[2002:db8:8::3]:4000", "[2001:db8:8:1::3]:4000", "[2001:db8:8::1:0:3]:4000", "[2001:db8:8::4]:4000"} {
		r.want(frame{flags: syn, src: six, to: vip6, from: at(other)}, LbReasonPASS_FROM_DIRECTOR)
	}
	r.want(frame{flags: syn, to: vip6}, LbReasonFORWARD_NEW)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	// A service without directors among its real servers: the other one has routed it.
	r.want(frame{proto: udpProto, src: four, to: at("10.0.8.9:53")}, LbReasonFORWARD_NEW)
	r.want(frame{flags: syn, src: four, to: at("10.0.8.9:81")}, LbReasonPASS_NOT_SERVICE)
}

// TestAnOldConnectionToADirectorIsNoLoop: that director is in charge now, and gives us what we once gave it.
func TestAnOldConnectionToADirectorIsNoLoop(t *testing.T) {
	r := newRig(t, 4)
	for _, to := range []netip.AddrPort{vip, vip6} {
		t.Run(to.String(), func(t *testing.T) {
			r.TB = t
			s := r.serve(to, tcpProto, LbSchedulerSCHED_RR)
			real := s.add(1)
			peer := realMAC(int(real))
			r.director(peer, "")
			s.among()
			r.change(real, func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_PEER) })
			r.want(frame{flags: syn, to: to}, LbReasonFORWARD_NEW)
			r.want(frame{flags: ack, to: to}, LbReasonFORWARD_HIT)
			for _, flags := range []uint8{ack, syn} {
				r.want(frame{flags: flags, to: to, src: peer}, LbReasonPASS_FROM_DIRECTOR)
			}
			r.want(frame{flags: ack, to: to}, LbReasonFORWARD_HIT)
			third := peer
			third[0]++
			r.want(frame{flags: ack, to: to, src: third}, LbReasonFORWARD_HIT)
			s.remove(real)
			r.want(frame{flags: ack, to: to, src: peer}, LbReasonDROP_REAL_GONE)
		})
	}
}
