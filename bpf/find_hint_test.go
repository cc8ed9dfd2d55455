package bpf

import (
	"net/netip"
	"testing"
)

// TestHints: what a packet's key led to last is asked whether it is still that, and nobody else's word is taken.
func TestHints(t *testing.T) {
	r := newRig(t, 4)
	for _, six := range []bool{false, true} {
		at, from := vip, netip.MustParseAddrPort("10.0.9.1:5000")
		if six {
			at, from = vip6, client6
		}
		s := r.serve(at, tcpProto, LbSchedulerSCHED_RR)
		s.add(1)
		port := from.Port()
		next := func(f frame) frame {
			port++
			f.from, f.to, f.flags = netip.AddrPortFrom(from.Addr(), port), at, syn
			return f
		}
		r.want(next(frame{}), LbReasonFORWARD_NEW)
		if !r.hinted(s.index) {
			t.Errorf("%v: no hint was written", at)
		}

		// With a hint the maps are not asked, whatever they say; with a wrong one they are. Each part of the key counts.
		right, wrong := s.owner, []LbServiceKey6{{}, s.owner, s.owner, s.owner, s.owner}
		wrong[1].Addr[0]++
		wrong[2].Port++
		wrong[3].Proto = 17
		wrong[4].Kind = uint8(LbServiceKindSERVICE_MARK)
		if six {
			wrong = append(wrong, s.owner, s.owner, s.owner)
			for i := 1; i < 4; i++ {
				wrong[4+i].Addr[i]++
			}
		}
		for _, k := range wrong {
			r.index(right, 1<<20)
			r.want(next(frame{}), LbReasonFORWARD_NEW)
			s.owner = k
			s.write()
			r.want(next(frame{}), LbReasonPASS_NOT_SERVICE)
			s.owner = right
			s.write()
			r.index(right, s.index)
			r.want(next(frame{}), LbReasonFORWARD_NEW)
		}

		// A service that is withdrawn, and has a successor.
		s.owner = LbServiceKey6{}
		s.write()
		other := r.serve(at, tcpProto, LbSchedulerSCHED_RR)
		real := other.add(1)
		out := r.want(next(frame{}), LbReasonFORWARD_NEW)
		if mac(out[:6]) != realMAC(int(real)) {
			t.Errorf("%v: sent to %x, not to the successor's real server %d", at, out[:6], real)
		}
	}
}

// hinted says whether some hint names the service.
func (r *rig) hinted(service uint32) bool {
	r.Helper()
	all := get[LbHints](r, r.ServiceHints, 0)
	for _, s := range all.Service {
		if s == service && service != 0 {
			return true
		}
	}
	return service == 0 // which all hints name at first
}

// index writes which service a key leads to.
func (r *rig) index(key LbServiceKey6, service uint32) {
	r.Helper()
	if LbServiceKind(key.Kind) == LbServiceKindSERVICE_IPV6 {
		r.put(r.ServiceIndex6, key, service)
		return
	}
	r.put(r.ServiceIndex, key.four(), service)
}

// TestALineHasNothingOfThePacketBefore: what an IPv4 key leaves of a line says nothing yet, whoever came before on this CPU.
func TestALineHasNothingOfThePacketBefore(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip6, tcpProto, LbSchedulerSCHED_RR).add(1)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.want(frame{flags: syn, from: client6, to: vip6}, LbReasonFORWARD_NEW)
	r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
	found := false
	for _, c := range r.conns() {
		if c.Real != real {
			continue
		}
		found = true
		if spare := c.Addr[LbSpareSPARE_HOP_TICK:]; spare[0]|spare[1]|spare[2]|spare[3] != 0 {
			t.Errorf("the line's spare words are %x", spare)
		}
	}
	if !found {
		t.Error("no connection of IPv4")
	}
}
