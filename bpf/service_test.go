package bpf

import "net/netip"

// service is a virtual service as the rig has written it. It does in the maps what internal/plane/xdp does, by the rules of
// IPVS: newest real server first, wrr's phase kept over changes. Kept apart so that each is a check on the other.
type service struct {
	*rig
	index, pool uint32
	scheduler   LbScheduler
	flags       LbServiceFlag
	persist     int // seconds
	netmask     uint32
	members     []LbMember // newest first
}

// serve adds a service. Change its attributes and call write; or give it real servers.
func (r *rig) serve(at netip.AddrPort, proto uint8, scheduler LbScheduler) *service {
	r.Helper()
	s := &service{rig: r, index: r.nextEntry, pool: 2 * r.nextEntry, scheduler: scheduler, netmask: 0xffffffff}
	r.nextEntry++
	addr := addr4(at.Addr())
	f := get[LbFilter](r, r.ServiceFilter, 0)
	f.Bits[filterBit(addr)>>6] |= 1 << (filterBit(addr) & 63)
	r.put(r.ServiceFilter, 0, f)
	s.write()
	r.put(r.ServiceIndex, LbServiceKey{Addr: addr, Port: port2(at.Port()), Proto: proto}, s.index)
	return s
}

// add gives the service one more real server and returns its index, which is also the last byte of its MAC.
func (s *service) add(weight int32) uint32 {
	s.Helper()
	s.nextReal++
	i := s.nextReal
	s.put(s.Reals, i, LbReal{Addr: [4]uint32{addr4(netip.AddrFrom4([4]byte{10, 0, 8, byte(10 + i)}))}, Forward: 3, Ifindex: loopback,
		Dst: realMAC(int(i)), Src: ourMAC, Weight: weight, Service: s.index})
	s.members = append([]LbMember{{Real: i, Weight: weight}}, s.members...)
	s.refill()
	return i
}

// change writes a real server's entry anew.
func (r *rig) change(real uint32, how func(*LbReal)) {
	r.Helper()
	e := get[LbReal](r, r.Reals, real)
	e.Tunnel, e.TunnelFlags = 0, 0
	how(&e)
	r.put(r.Reals, real, e)
}

// restore brings a removed real server back: at the head, with the connections that it still has.
func (s *service) restore(real uint32, weight int32) {
	s.Helper()
	s.mark(real, 0)
	s.members = append([]LbMember{{Real: real}}, s.members...)
	s.weigh(real, weight)
}

// weigh changes a weight; the real server keeps its place.
func (s *service) weigh(real uint32, weight int32) {
	s.Helper()
	r := get[LbReal](s.rig, s.Reals, real)
	r.Weight = weight
	s.put(s.Reals, real, r)
	for i := range s.members {
		if s.members[i].Real == real {
			s.members[i].Weight = weight
		}
	}
	s.refill()
}

// remove takes a real server away: its connections stay, and it is gone.
func (s *service) remove(real uint32) {
	s.Helper()
	s.mark(real, LbRealFlagREAL_GONE)
	old := s.members
	s.members = nil
	for _, m := range old {
		if m.Real != real {
			s.members = append(s.members, m)
		}
	}
	s.refill()
}

func (s *service) mark(real uint32, flag LbRealFlag) {
	s.Helper()
	r := get[LbReal](s.rig, s.Reals, real)
	r.Flags = uint8(flag)
	s.put(s.Reals, real, r)
}

// overload says that a real server has reached its upper threshold.
func (r *rig) overload(real, overloaded uint32) {
	r.Helper()
	n := get[LbRealCount](r, r.RealCounts, real)
	n.Overloaded = overloaded
	r.put(r.RealCounts, real, n)
}

func (s *service) write() {
	s.Helper()
	s.put(s.Services, s.index, LbService{Scheduler: uint32(s.scheduler), Flags: uint32(s.flags), Pool: s.pool,
		Persist: uint32(s.persist * ticksPerSecond), Netmask: [4]uint32{s.netmask}})
}

// refill writes the pool that is not in use and then the word that puts it in use. The last pick stays the pointer of rr,
// on its predecessor if it was removed; wrr starts from the head after any change.
func (s *service) refill() {
	s.Helper()
	old := get[LbPool](s.rig, s.Pools, s.pool)
	was := make([]LbMember, old.Count)
	for i := range was {
		was[i] = get[LbMember](s.rig, s.Members, old.First+uint32(i))
	}
	s.pool ^= 1
	p := LbPool{First: s.pool * uint32(LbNumberMAX_POOL), Count: uint32(len(s.members)), Table: s.pool, Pos: uint32(len(s.members)), Cw: old.Cw}
	p.Di, p.Mw = wrrSpan(s.members)
	switch s.scheduler {
	case LbSchedulerSCHED_WRR:
		p.Cw = wrrLevel(p.Cw, p.Di, p.Mw)
	case LbSchedulerSCHED_RR:
		p.Pos = s.pointer(was, old.Pos)
	case LbSchedulerSCHED_SH:
		s.put(s.ShTables, s.pool, shTable(s.members))
	}
	for i, m := range s.members {
		s.put(s.Members, p.First+uint32(i), m)
	}
	s.put(s.Pools, s.pool, p)
	s.write()
}

// pointer is where the last pick stands now.
func (s *service) pointer(was []LbMember, pos uint32) uint32 {
	for i := int(pos); i >= 0 && i < len(was); i-- {
		for j, m := range s.members {
			if m.Real == was[i].Real {
				return uint32(j)
			}
		}
	}
	return uint32(len(s.members))
}

func wrrSpan(members []LbMember) (di, mw int32) {
	for _, m := range members {
		for a, b := di, m.Weight; ; a, b = b, a%b {
			if di = a; b <= 0 {
				break
			}
		}
		mw = max(mw, m.Weight)
	}
	di = max(di, 1)
	if mw > 0 {
		mw -= di - 1
	}
	return di, mw
}

func wrrLevel(cw, di, mw int32) int32 {
	if cw > mw || cw == 0 {
		return mw
	}
	if di > 1 {
		return cw/di*di + 1
	}
	return cw
}

func shTable(members []LbMember) (t LbShTable) {
	for i := range t.Real {
		t.Real[i] = uint32(LbNumberNO_REAL)
	}
	for i := 0; i < len(t.Real) && len(members) > 0; {
		for _, m := range members {
			for n := max(m.Weight, 1); n > 0 && i < len(t.Real); n-- {
				t.Real[i] = m.Real
				i++
			}
		}
	}
	return t
}
