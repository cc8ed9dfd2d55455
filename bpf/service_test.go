package bpf

import (
	"math/bits"
	"net/netip"
	"testing"
)

// service is a virtual service as the rig has written it. It does in the maps what internal/plane/xdp does, by the rules of
// IPVS: newest real server first, wrr's phase kept over changes. Kept apart so that each is a check on the other.
type service struct {
	*rig
	index, pool uint32
	scheduler   LbScheduler
	flags       LbServiceFlag
	port        uint16
	fwmark      uint32
	serial      uint32
	persist     int // seconds
	netmask     uint32
	six         bool
	netmask6    [4]uint32
	owner       LbServiceKey6 // once it can be found
	members     []LbMember    // newest first
	lastWeight  map[uint32]int32
}

// serve adds a service. Change its attributes and call write; or give it real servers.
func (r *rig) serve(at netip.AddrPort, proto uint8, scheduler LbScheduler) *service {
	r.Helper()
	s := &service{rig: r, index: r.nextEntry, pool: 2 * r.nextEntry, scheduler: scheduler, netmask: 0xffffffff, six: at.Addr().Is6(),
		netmask6: [4]uint32{1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1}}
	s.port = at.Port()
	r.nextEntry++
	r.serials++
	s.serial = r.serials
	f := get[LbFilter](r, r.ServiceFilter, 0)
	f.May[FilterIndex(at.Addr())] = 1
	r.put(r.ServiceFilter, 0, f)
	s.write()
	r.tune(func(t *LbTunables) {
		if at.Port() == 21 && proto == tcpProto {
			t.Have |= uint32(LbHaveHAVE_FTP)
		}
		if at.Port() == 0 {
			t.Have |= uint32(LbHaveHAVE_PORT0)
		}
	})
	s.owner = LbServiceKey6{Port: port2(at.Port()), Proto: proto}
	if s.six {
		s.owner.Addr, s.owner.Kind = addr6(at.Addr()), uint8(LbServiceKindSERVICE_IPV6)
		r.put(r.ServiceIndex6, s.owner, s.index)
	} else {
		s.owner.Addr[0] = addr4(at.Addr())
		r.put(r.ServiceIndex, s.owner.four(), s.index)
	}
	s.write()
	return s
}

// four is the key of an IPv4 service in service_index.
func (k LbServiceKey6) four() LbServiceKey {
	return LbServiceKey{Addr: k.Addr[0], Port: k.Port, Proto: k.Proto, Kind: k.Kind}
}

// serveMark adds the service of a firewall mark, with the classes that give it.
func (r *rig) serveMark(mark uint32, scheduler LbScheduler, classes ...LbClass) *service {
	r.Helper()
	s := &service{rig: r, index: r.nextEntry, pool: 2 * r.nextEntry, scheduler: scheduler, netmask: 0xffffffff, fwmark: mark,
		netmask6: [4]uint32{1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1}}
	kind := LbServiceKindSERVICE_MARK
	for i := range classes {
		classes[i].Mark = mark
		if classes[i].Six != 0 {
			s.six, kind = true, LbServiceKindSERVICE_MARK6
		}
	}
	r.nextEntry++
	r.serials++
	s.serial = r.serials
	s.write()
	r.put(r.ServiceIndex, LbServiceKey{Addr: bits.ReverseBytes32(mark), Kind: uint8(kind)}, s.index)
	r.classify(classes...)
	return s
}

// classify adds classes, and lets all addresses pass the filter.
func (r *rig) classify(classes ...LbClass) {
	r.Helper()
	have := get[LbTunables](r, r.Tuning, 0).Classes >> 16
	for i, c := range classes {
		r.put(r.Classes, have+uint32(i), c)
	}
	r.tune(func(t *LbTunables) {
		t.Have |= uint32(LbHaveHAVE_MARKS)
		t.Classes = (have + uint32(len(classes))) << 16
	})
	var all LbFilter
	for i := range all.May {
		all.May[i] = 1
	}
	r.put(r.ServiceFilter, 0, all)
}

// class is packets to a network, to all ports of all protocols from everybody.
func class(to string) LbClass {
	p := netip.MustParsePrefix(to)
	c := LbClass{Last: 65535}
	c.To, c.ToMask, c.Six = network(p)
	return c
}

func network(p netip.Prefix) (addr, mask [4]uint32, six uint8) {
	m := netip.PrefixFrom(p.Addr(), p.Bits()).Masked()
	if p.Addr().Is4() {
		return [4]uint32{addr4(m.Addr())}, [4]uint32{bits.ReverseBytes32(uint32(uint64(1<<32-1) << (32 - p.Bits())))}, 0
	}
	var b [16]byte
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return addr6(m.Addr()), addr6(netip.AddrFrom16(b)), 1
}

// renew is a rig as newRig makes it, without the load.
func (r *rig) renew(t testing.TB) {
	r.TB = t
	r.clear()
	r.put(r.ServiceFilter, 0, LbFilter{})
	offset := get[LbTunables](r, r.Tuning, 0).Offset
	r.put(r.Tuning, 0, ipvsTimeouts())
	r.tune(func(t *LbTunables) { t.Offset = offset })
	r.travel(100)
}

// clear removes all services and connections.
func (r *rig) clear() {
	r.Helper()
	var key LbServiceKey
	var keys []LbServiceKey
	var index uint32
	for all := r.ServiceIndex.Iterate(); all.Next(&key, &index); {
		keys = append(keys, key)
	}
	for _, k := range keys {
		if err := r.ServiceIndex.Delete(k); err != nil {
			r.Fatal(err)
		}
	}
	var key6 LbServiceKey6
	var keys6 []LbServiceKey6
	for all := r.ServiceIndex6.Iterate(); all.Next(&key6, &index); {
		keys6 = append(keys6, key6)
	}
	for _, k := range keys6 {
		if err := r.ServiceIndex6.Delete(k); err != nil {
			r.Fatal(err)
		}
	}
	r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
	for i := range 2 * r.nextEntry {
		r.put(r.Pools, i, LbPool{})
		r.put(r.Services, i/2, LbService{})
	}
	for i := range r.nextReal {
		r.put(r.Reals, i+1, LbReal{}) // caches know its index
	}
	r.nextEntry, r.nextReal = 0, 0
}

// add gives the service one more real server and returns its index, which is also the last byte of its MAC.
func (s *service) add(weight int32) uint32 { s.Helper(); return s.addHost(byte(11+s.nextReal), weight) }

// addHost adds 10.0.8.HOST:80.
func (s *service) addHost(host byte, weight int32) uint32 {
	s.Helper()
	s.nextReal++
	s.serials++
	i := s.nextReal
	addr, flags := [4]uint32{addr4(netip.AddrFrom4([4]byte{10, 0, 8, host}))}, uint8(0)
	if s.six {
		addr = addr6(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 8, 15: host}))
		flags = uint8(LbRealFlagREAL_IPV6)
	}
	s.put(s.Reals, i, LbReal{Addr: addr, Flags: flags, Port: port2(80), Forward: 3, Ifindex: loopback,
		Dst: realMAC(int(i)), Src: ourMAC, Weight: weight, Service: s.index, Serial: s.serials})
	s.put(s.RealCounts, i, LbRealCount{})
	s.members = append([]LbMember{{Real: i, Weight: weight}}, s.members...)
	s.remember(i, weight)
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
	s.remember(real, weight)
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
	r.Flags = r.Flags&uint8(LbRealFlagREAL_IPV6) | uint8(flag)
	s.put(s.Reals, real, r)
}

// limit gives a real server thresholds (-x, -y), and lets the packet path look at them.
func (s *service) limit(real, upper, lower uint32) {
	s.Helper()
	if lower == 0 {
		lower = upper - upper/4
	}
	r := get[LbReal](s.rig, s.Reals, real)
	r.Upper, r.Lower = upper, lower
	s.put(s.Reals, real, r)
	s.order(s.Judge, LbOrder{Real: real})
}

// remember keeps the last weight that was not 0: mh counts with it.
func (s *service) remember(real uint32, weight int32) {
	if s.lastWeight == nil {
		s.lastWeight = map[uint32]int32{}
	}
	if weight != 0 {
		s.lastWeight[real] = weight
	}
}

// overload says that a real server has reached its upper threshold.
func (r *rig) overload(real, overloaded uint32) {
	r.Helper()
	n := get[LbRealCount](r, r.RealCounts, real)
	n.Overloaded = overloaded
	r.put(r.RealCounts, real, n)
}

// reschedule gives the service another scheduler, which begins anew.
func (s *service) reschedule(scheduler LbScheduler) {
	s.Helper()
	s.scheduler = scheduler
	s.serials++
	s.serial = s.serials
	old := get[LbPool](s.rig, s.Pools, s.pool)
	old.Cw, old.Pos = 0, old.Count
	s.put(s.Pools, s.pool, old)
	s.refill()
}

func (s *service) write() {
	s.Helper()
	netmask := [4]uint32{s.netmask}
	if s.six {
		netmask = s.netmask6
	}
	s.put(s.Services, s.index, LbService{Scheduler: uint32(s.scheduler), Flags: uint32(s.flags), Pool: s.pool,
		Persist: uint32(s.persist * ticksPerSecond), Netmask: netmask, Port: port2(s.port), Mark: s.fwmark, Serial: s.serial,
		Owner: s.owner})
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
	case LbSchedulerSCHED_SH, LbSchedulerSCHED_DH:
		s.put(s.ShTables, s.pool, shTable(s.members, s.scheduler == LbSchedulerSCHED_SH))
	case LbSchedulerSCHED_MH:
		p.Table = s.pool % 32 * uint32(LbNumberMH_LINES)
		s.fillMaglev(p.Table)
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

func shTable(members []LbMember, weighted bool) (t LbShTable) {
	for i := range t.Real {
		t.Real[i] = uint32(LbNumberNO_REAL)
	}
	for i := 0; i < len(t.Real) && len(members) > 0; {
		for _, m := range members {
			n := int32(1)
			if weighted {
				n = max(m.Weight, 1)
			}
			for ; n > 0 && i < len(t.Real); n-- {
				t.Real[i] = m.Real
				i++
			}
		}
	}
	return t
}

// fillMaglev makes a Maglev table by the rules of IPVS, with the SipHash of the Linux kernel.
func (s *service) fillMaglev(first uint32) {
	s.Helper()
	const size = int(LbNumberMH_SLOTS)
	type candidate struct{ real, at, skip, turns int }
	var all []candidate
	di, top := int32(0), int32(0)
	for _, m := range s.members {
		w := s.lastWeight[m.Real]
		for a, b := di, w; ; a, b = b, a%b {
			if di = a; b <= 0 {
				break
			}
		}
		top = max(top, w)
	}
	shift := max(0, bits.Len32(uint32(top/max(di, 1)))-6)
	for _, m := range s.members {
		r := get[LbReal](s.rig, s.Reals, m.Real)
		value := bits.ReverseBytes32(r.Addr[0]^r.Addr[1]^r.Addr[2]^r.Addr[3]) + uint32(port2(r.Port))
		w := s.lastWeight[m.Real]
		c := candidate{real: int(m.Real), at: int(sip13(value, 2654435761)) % size, skip: int(sip13(value, 2654446892))%(size-1) + 1}
		if w > 0 {
			c.turns = max(1, int(w/max(di, 1))>>shift)
		}
		if c.turns > 0 {
			all = append(all, c)
		}
	}
	table := make([]uint32, int(LbNumberMH_LINES*LbNumberMH_LINE))
	for i := range table {
		table[i] = uint32(LbNumberNO_REAL)
	}
	for left := size; left > 0 && len(all) > 0; {
		for i := range all {
			for range all[i].turns {
				if left == 0 {
					break
				}
				for table[all[i].at] != uint32(LbNumberNO_REAL) {
					all[i].at = (all[i].at + all[i].skip) % size
				}
				table[all[i].at] = uint32(all[i].real)
				left--
			}
		}
	}
	for i := range uint32(LbNumberMH_LINES) {
		s.put(s.MhLines, first+i, LbMhLine{Real: [64]uint32(table[i*64:])})
	}
}

// sip13 is SipHash-1-3 of a four-byte message, truncated to 32 bits.
func sip13(message uint32, key uint64) uint32 {
	v := [4]uint64{key ^ 0x736f6d6570736575, key ^ 0x646f72616e646f6d, key ^ 0x6c7967656e657261, key ^ 0x7465646279746573}
	round := func(times int) {
		for range times {
			v[0], v[2] = v[0]+v[1], v[2]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 13)^v[0], bits.RotateLeft64(v[3], 16)^v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2], v[0] = v[2]+v[1], v[0]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 17)^v[2], bits.RotateLeft64(v[3], 21)^v[0]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
	}
	block := uint64(4)<<56 | uint64(message)
	v[3] ^= block
	round(1)
	v[0] ^= block
	v[2] ^= 0xff
	round(3)
	return uint32(v[0] ^ v[1] ^ v[2] ^ v[3])
}
