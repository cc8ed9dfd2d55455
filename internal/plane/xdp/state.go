package xdp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// state is what the maps hold, in Go, and which of their indices are free. It is derived: readState makes it of the maps.
type state struct {
	services map[lb.ServiceKey]*service
	hops     map[netip.Addr]Hop // as told
	// The other directors, as told: their addresses and MAC addresses.
	directors map[netip.Addr][6]byte
	// Free indices of the arrays. Members are handed out in blocks.
	serviceSlots, realSlots, blockSlots *slots
	tableSlots                          *slots // of Maglev tables
	// An epoch ends when every packet that ran in it is done. What was taken out of use in an epoch is free after it.
	epoch       int
	flipped     time.Time  // when something was last taken out of use in this epoch
	retired     []extent   // members of pools that packets may still read
	oldTables   []uint32   // Maglev tables that they may
	changed     []*pending // by Apply, not yet written
	dirty       map[*service]*pending
	sampled     time.Time
	filter      bpf.LbFilter // as written
	filterKnown bool
	sources     bpf.LbFilter // as written
	classes     []lb.Class
}

// extent is a pool's place in the members map, in members.
type extent struct{ first, count uint32 }

// service is one entry of the services map. It lives on without being alive while connections refer to its real servers.
type service struct {
	index   uint32
	serial  uint32 // another one each time that the scheduler begins anew
	spec    lb.Service
	alive   bool // wanted
	indexed bool // in service_index
	// directors: as written, whether this host or another director is among its real servers
	directors bool
	pool      uint32 // index into pools, as packets see it
	extent
	maglev int     // its table, or -1
	reals  []*real // in order of addition
	gone   []*real
	rate   plane.Estimator
}

// real is one entry of the reals map.
type real struct {
	index  uint32
	spec   lb.Real
	fresh  bool // not written yet
	judged bool // its thresholds stand as they were when the packet path last looked at them
	serial uint32
	// lastWeight is the last weight that was not 0, or that with which it was added.
	lastWeight int32
	removed    int // epoch in which it went
	rate       plane.Estimator
}

func (s *service) find(addr netip.AddrPort) int { return findReal(s.reals, addr) }

func findReal(reals []*real, addr netip.AddrPort) int {
	return slices.IndexFunc(reals, func(r *real) bool { return r.spec.Addr == addr })
}

// sorted lists the services by index: about the order of addition, and a stable one.
func (s *state) sorted() []*service {
	list := make([]*service, 0, len(s.services))
	for _, one := range s.services {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b *service) int { return cmp.Compare(a.index, b.index) })
	return list
}

// readState writes nothing. What does not fit together is ErrLayout.
func readState(m maps, c clock) (*state, error) {
	s := &state{
		services:     map[lb.ServiceKey]*service{},
		hops:         map[netip.Addr]Hop{},
		serviceSlots: newSlots(m[bpf.LbMapServices].MaxEntries()),
		realSlots:    newSlots(m[bpf.LbMapReals].MaxEntries()),
		blockSlots:   newSlots(m[bpf.LbMapMembers].MaxEntries() / blockSize),
		tableSlots:   newSlots(m[bpf.LbMapMhLines].MaxEntries() / mhLines),
		dirty:        map[*service]*pending{},
	}
	entries, err := allReals(m[bpf.LbMapReals])
	if err != nil {
		return nil, err
	}
	if err := s.readServices(m, c, entries); err != nil {
		return nil, err
	}
	if err := s.readGone(entries); err != nil {
		return nil, err
	}
	return s, s.readClasses(m)
}

// allReals reads the whole array: by one call for many entries where the kernel can.
func allReals(m *ebpf.Map) ([]bpf.LbReal, error) {
	all := make([]bpf.LbReal, m.MaxEntries())
	keys := make([]uint32, len(all))
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, all, nil)
	if (err == nil || errors.Is(err, ebpf.ErrKeyNotExist)) && n == len(all) {
		return all, nil
	}
	for i := range all {
		if err := m.Lookup(uint32(i), &all[i]); err != nil {
			return nil, fmt.Errorf("read reals[%d]: %w", i, err)
		}
	}
	return all, nil
}

func (s *state) readServices(m maps, c clock, entries []bpf.LbReal) error {
	var key serviceKey
	var key6 serviceKey6
	var index uint32
	for all := m[bpf.LbMapServiceIndex].Iterate(); all.Next(&key, &index); {
		if err := s.readService(m, c, keyFrom(key), index, entries); err != nil {
			return err
		}
	}
	for all := m[bpf.LbMapServiceIndex6].Iterate(); all.Next(&key6, &index); {
		if err := s.readService(m, c, key6From(key6), index, entries); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) readService(m maps, c clock, key lb.ServiceKey, index uint32, entries []bpf.LbReal) error {
	if !s.serviceSlots.claim(index) {
		return damaged(fmt.Errorf("two services have index %d", index))
	}
	one := &service{index: index, alive: true, indexed: true}
	if err := one.read(m, c, key); err != nil {
		return err
	}
	for b := range blocks(int(one.count)) {
		if !s.blockSlots.claim(one.first/blockSize + uint32(b)) {
			return damaged(fmt.Errorf("pool %d has members of another", one.pool))
		}
	}
	if one.maglev >= 0 && !s.tableSlots.claim(uint32(one.maglev)) {
		return damaged(fmt.Errorf("pool %d has the table of another", one.pool))
	}
	s.services[one.spec.ServiceKey] = one
	return s.readMembers(m, one, entries)
}

// read fills in what services and pools hold of it.
func (s *service) read(m maps, c clock, key lb.ServiceKey) error {
	var entry bpf.LbService
	var pool bpf.LbPool
	if err := m.get(bpf.LbMapServices, s.index, &entry); err != nil {
		return damaged(err)
	}
	if err := m.get(bpf.LbMapPools, entry.Pool, &pool); err != nil {
		return damaged(err)
	}
	if entry.Pool/2 != s.index || pool.First%blockSize != 0 {
		return damaged(fmt.Errorf("service %d has pool %d at member %d", s.index, entry.Pool, pool.First))
	}
	s.serial = entry.Serial
	s.pool, s.extent = entry.Pool, extent{pool.First, pool.Count}
	s.directors = entry.Flags&uint32(bpf.LbServiceFlagSERVICE_DIRECTORS) != 0
	s.spec, s.maglev = serviceOf(key, entry, c), -1
	if s.spec.Scheduler == "mh" {
		s.maglev = int(pool.Table / mhLines)
	}
	return nil
}

func (s *state) readMembers(m maps, one *service, entries []bpf.LbReal) error {
	for i := range one.count {
		var member bpf.LbMember
		if err := m.get(bpf.LbMapMembers, one.first+i, &member); err != nil {
			return damaged(err)
		}
		if !s.realSlots.claim(member.Real) {
			return damaged(fmt.Errorf("real server %d is in two pools", member.Real))
		}
		// A killed writer may have come to the pool and not to the entry's flag, never the other way round.
		r := adopted(member.Real, entries[member.Real])
		s.adoptHop(r, entries[member.Real])
		one.reals = append(one.reals, r)
	}
	slices.Reverse(one.reals) // the map has the newest first
	return nil
}

func adopted(index uint32, e bpf.LbReal) *real {
	return &real{index: index, spec: realOf(e), judged: true, serial: e.Serial, lastWeight: e.LastWeight}
}

// readGone finds the written entries of reals that are in no pool: those that were removed while connections referred to
// them, and what a killed writer had not finished or not cleared away, which are treated alike.
func (s *state) readGone(entries []bpf.LbReal) error {
	for i, e := range entries {
		if e.Addr == [4]uint32{} || !s.realSlots.claim(uint32(i)) {
			continue
		}
		key := ownerOf(e)
		one := s.services[key]
		if one == nil {
			one = &service{index: e.Service, pool: 2 * e.Service, maglev: -1, spec: lb.Service{ServiceKey: key}}
			if checkKey(key) != nil || !s.serviceSlots.claim(e.Service) {
				return damaged(fmt.Errorf("real server %d has service %d", i, e.Service))
			}
			s.services[key] = one
		}
		r := adopted(uint32(i), e)
		s.adoptHop(r, e)
		one.gone = append(one.gone, r)
	}
	return nil
}

// adoptHop takes over what an earlier process was told. A killed writer may have left two words for one address; the next
// SetHop writes all of them.
func (s *state) adoptHop(r *real, e bpf.LbReal) {
	if e.Ifindex == 0 && e.Flags&isLocal == 0 {
		return
	}
	hop := Hop{Ifindex: int(e.Ifindex), Tags: [2]uint16{port16(e.Tci[0]), port16(e.Tci[1])}, Src: e.Src, Dst: e.Dst, MTU: int(e.Mtu), Local: e.Flags&isLocal != 0}
	if e.Source != [4]uint32{} {
		hop.Source = addrOf(e.Source, e.Flags&isIPv6 != 0)
	}
	s.hops[r.spec.Addr.Addr()] = hop
}
