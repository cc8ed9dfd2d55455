package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/lb"
)

// source is what is pinned in another layout, read and never written: copies of its maps in this layout, and its connection table,
// which goes on changing.
type source struct {
	*Plane
	pins     map[string]*ebpf.Map // as they are there
	lines    []byte               // its connection table
	lineSize uint32
	life     uint32 // where a line has it
	conn     shape
	counters shape
	each     uint32 // bytes of one CPU's counters
}

// copied are the maps that a copy is made of: all that user space has written.
var copied = []string{bpf.LbMapServices, bpf.LbMapServiceIndex, bpf.LbMapServiceIndex6, bpf.LbMapPools, bpf.LbMapMembers, bpf.LbMapReals, bpf.LbMapClasses,
	bpf.LbMapTuning, bpf.LbMapLinks, bpf.LbMapStations, bpf.LbMapPeers, bpf.LbMapCalls, zeroServicesMap, zeroRealsMap}

// openSource reads what is pinned in dir, whose meta is m.
func openSource(dir string, m meta) (*source, error) {
	s := &source{Plane: &Plane{dir: dir, maps: maps{}, meta: m, clock: clock{m.Hz, m.TickShift}}, pins: map[string]*ebpf.Map{}}
	if err := s.read(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *source) read() error {
	spec, err := load(Options{}, s.meta)
	if err != nil {
		return err
	}
	for _, name := range copied {
		if err := s.copy(spec.Maps[name]); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	if err := s.openTable(spec); err != nil {
		return err
	}
	s.maps[bpf.LbMapMhLines], err = s.pin(bpf.LbMapMhLines) // of which the size is asked for alone
	if err == nil {
		s.maps[bpf.LbMapMhLines], err = s.maps[bpf.LbMapMhLines].Clone()
	}
	if err != nil {
		return err
	}
	if s.state, err = readState(s.maps, s.clock); err != nil {
		return err
	}
	return nil
}

func (s *source) close() {
	if s.lines != nil {
		unix.Munmap(s.lines)
		s.lines = nil
	}
	s.maps.close()
	for _, m := range s.pins {
		m.Close()
	}
}

func (s *source) pin(name string) (*ebpf.Map, error) {
	if m := s.pins[name]; m != nil {
		return m, nil
	}
	// A map that was opened for reading alone cannot be mapped as shared memory.
	m, err := ebpf.LoadPinnedMap(filepath.Join(s.dir, name), &ebpf.LoadPinOptions{ReadOnly: name != bpf.LbMapRegions})
	if err == nil {
		s.pins[name] = m
	}
	return m, err
}

// types are those that a pinned map's BTF has; nil: it has none.
func types(m *ebpf.Map) (*btf.Spec, error) {
	info, err := m.Info()
	if err != nil {
		return nil, err
	}
	id, ok := info.BTFID()
	if !ok || id == 0 {
		return nil, nil
	}
	h, err := btf.NewHandleFromID(id)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return h.Spec(nil)
}

// shapeIn compares a type of ours with that of the same name in a map's BTF. What has no name, or no BTF, must have the same size.
func shapeIn(all *btf.Spec, ours btf.Type, have, want uint32) (shape, error) {
	number := false
	if ours != nil {
		_, number = btf.UnderlyingType(ours).(*btf.Int)
	}
	if ours == nil || number || ours.TypeName() == "" || all == nil {
		if have != want {
			return shape{}, fmt.Errorf("%d bytes are %d there", want, have)
		}
		return shape{[]move{{0, 0, want}}, want}, nil
	}
	theirs, err := all.AnyTypeByName(ours.TypeName())
	if err != nil {
		return shape{}, err
	}
	s, err := shapeOf(theirs, ours)
	if size, e := btf.Sizeof(theirs); err == nil && e == nil && uint32(size) != have {
		err = fmt.Errorf("%s has %d bytes there by its BTF and %d by its map", ours.TypeName(), size, have)
	}
	return s, err
}

// copy makes a map of this layout that holds what the pinned one does.
func (s *source) copy(spec *ebpf.MapSpec) error {
	from, err := s.pin(spec.Name)
	if err != nil {
		return err
	}
	all, err := types(from)
	if err != nil {
		return err
	}
	key, err := shapeIn(all, spec.Key, from.KeySize(), spec.KeySize)
	if err != nil {
		return err
	}
	value, err := shapeIn(all, spec.Value, from.ValueSize(), spec.ValueSize)
	if err != nil {
		return err
	}
	own := spec.Copy()
	own.MaxEntries, own.Pinning = from.MaxEntries(), ebpf.PinNone
	to, err := ebpf.NewMap(own)
	if err != nil {
		return explain("copy", err)
	}
	s.maps[spec.Name] = to
	return each(from, func(k, v []byte) error { return to.Put(key.of(k), value.of(v)) })
}

// each visits the entries of an array or a hash. Those of an array that are all zero are left out.
func each(m *ebpf.Map, visit func(key, value []byte) error) error {
	for key, err := m.NextKeyBytes(nil); key != nil; key, err = m.NextKeyBytes(key) {
		if err != nil {
			return err
		}
		value, err := m.LookupBytes(key)
		if err != nil {
			return err
		}
		if value == nil || m.Type() == ebpf.Array && zero(value) {
			continue
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

func zero(b []byte) bool {
	for _, one := range b {
		if one != 0 {
			return false
		}
	}
	return true
}

// openTable maps the connection table, and finds out how its lines look.
func (s *source) openTable(spec *ebpf.CollectionSpec) error {
	m, err := s.pin(bpf.LbMapRegions)
	if err != nil {
		return err
	}
	all, err := types(m)
	if err != nil {
		return err
	}
	if all == nil {
		return errors.New("the connection table has no BTF")
	}
	var theirs, ours *btf.Struct
	if err := errors.Join(all.TypeByName("conn", &theirs), spec.Types.TypeByName("conn", &ours)); err != nil {
		return err
	}
	if name := lacks(theirs, ours); name != "" {
		return fmt.Errorf("a connection has no %s there", name)
	}
	if s.conn, err = shapeOf(theirs, ours); err != nil {
		return err
	}
	for _, member := range theirs.Members {
		if member.Name == "life" {
			s.life = member.Offset.Bytes()
		}
	}
	s.lineSize = theirs.Size
	if m.ValueSize()%s.lineSize != 0 || s.lineSize%8 != 0 || s.life%8 != 0 {
		return fmt.Errorf("regions of %d bytes have lines of %d", m.ValueSize(), s.lineSize)
	}
	if s.lines, err = mapRegions(m); err != nil {
		return explain("map the connection table", err)
	}
	return s.openCounters(spec)
}

func (s *source) openCounters(spec *ebpf.CollectionSpec) error {
	m, err := s.pin(bpf.LbMapRealCounters)
	if err != nil {
		return err
	}
	all, err := types(m)
	if err != nil {
		return err
	}
	of := spec.Maps[bpf.LbMapRealCounters]
	s.each = (m.ValueSize() + 7) / 8 * 8
	s.counters, err = shapeIn(all, of.Value, m.ValueSize(), of.ValueSize)
	return err
}

// counted is what a real server counted: the sum over the CPUs.
func (s *source) counted(index uint32) (sum lb.Counters, err error) {
	raw, err := s.pins[bpf.LbMapRealCounters].LookupBytes(index)
	if err != nil {
		return sum, err
	}
	for ; uint32(len(raw)) >= s.each; raw = raw[s.each:] {
		var c counters
		if _, err := binary.Decode(s.counters.of(raw[:s.each]), binary.NativeEndian, &c); err != nil {
			return sum, err
		}
		sum = sum.Add(lbCounters(c))
	}
	return sum, nil
}

func (s *source) count() int { return len(s.lines) / int(s.lineSize) }

// line copies a line that holds a connection, as line.read does.
func (s *source) line(i int, into *line) bool {
	if i < 0 || i >= s.count() {
		return false
	}
	raw := s.lines[i*int(s.lineSize) : (i+1)*int(s.lineSize)]
	life := (*uint64)(unsafe.Pointer(&raw[s.life]))
	was := atomic.LoadUint64(life)
	if was&0xff != uint64(bpf.LbPhasePHASE_LIVE) {
		return false
	}
	own := unsafe.Slice((*byte)(unsafe.Pointer(into)), lineWords*8)
	clear(own)
	s.conn.into(own, raw)
	again := atomic.LoadUint64(life)
	return again>>32 == was>>32 && again&0xff == was&0xff
}
