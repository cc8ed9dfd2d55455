package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
)

// idle are loaded objects that no test has now, by their number of regions, with every map as the load left it.
var idle = struct {
	sync.Mutex
	objects map[made][]loaded
}{objects: map[made][]loaded{}}

// made is what an object is loaded with.
type made struct {
	regions int
	shift   uint32
}

func (r *rig) made() made { return made{r.regions, r.shift} }

// loaded is an object in the kernel.
type loaded struct {
	Objects
	alive // of one that has many mutants
}

// borrow takes an idle object, or a new one, until the test is over.
func (r *rig) borrow() Objects {
	r.Helper()
	o, found := takeIdle(r.made())
	if !found {
		o = r.load()
	}
	t := r.TB
	t.Cleanup(func() {
		if err := wipe(&o.Objects); err != nil {
			t.Errorf("wipe the maps: %v", err)
			o.Close()
			return
		}
		idle.Lock()
		defer idle.Unlock()
		idle.objects[r.made()] = append(idle.objects[r.made()], o)
	})
	r.liven(&o)
	return o.Objects
}

func takeIdle(as made) (o loaded, found bool) {
	idle.Lock()
	defer idle.Unlock()
	have := idle.objects[as]
	if len(have) == 0 {
		return o, false
	}
	last := len(have) - 1 // which is the one that has the mutant of now
	idle.objects[as] = have[:last]
	return have[last], true
}

// wipe gives every map the content of a new one. An array's element that is written loses its timer.
func wipe(o *Objects) error {
	for _, m := range each(o) {
		var err error
		switch m.Type() {
		case ebpf.Array:
			err = zero(m, 1)
		case ebpf.PerCPUArray:
			err = zero(m, ebpf.MustPossibleCPU())
		case ebpf.Hash, ebpf.LRUHash:
			err = drain(m)
		case ebpf.ProgramArray:
			for i := range m.MaxEntries() {
				if e := m.Delete(i); !errors.Is(e, ebpf.ErrKeyNotExist) {
					err = errors.Join(err, e)
				}
			}
		default:
			err = fmt.Errorf("no rule for a %v", m.Type())
		}
		if err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
	}
	return nobodyRecent(&o.LbVariables)
}

// nobodyRecent forgets whom clients6 knew a moment ago.
func nobodyRecent(v *LbVariables) error {
	return v.RecentClients.Set(make([]uint64, v.RecentClients.Size()/8))
}

// pushOut does to a client of IPv6 what others do who come between.
func (r *rig) pushOut(client netip.Addr) {
	r.Helper()
	if err := errors.Join(r.Clients6.Delete(LbClientKey{Addr: addr6(client)}), nobodyRecent(&r.LbVariables)); err != nil {
		r.Fatal(err)
	}
}

func each(o *Objects) (all []*ebpf.Map) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[LbMaps]()) {
		all = append(all, reflect.ValueOf(&o.LbMaps).Elem().FieldByIndex(f.Index).Interface().(*ebpf.Map))
	}
	return append(all, o.Sections.maps()...)
}

// zero writes all elements of an array, many with one call.
func zero(m *ebpf.Map, cpus int) error {
	value := reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]())
	if m.MaxEntries() == 1 && m.Type() == ebpf.Array { // with one CPU too the elements of the other kind are lists
		return m.Put(uint32(0), reflect.Zero(value).Interface())
	}
	keys := make([]uint32, m.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
	}
	values := reflect.MakeSlice(reflect.SliceOf(value), len(keys)*cpus, len(keys)*cpus)
	_, err := m.BatchUpdate(keys, values.Interface(), nil)
	return err
}

// drain deletes all entries.
func drain(m *ebpf.Map) error {
	for {
		key, err := m.NextKeyBytes(nil)
		if key == nil || err != nil {
			return err
		}
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
}

// TestWipedMapsAreLikeNewOnes dirties every map, wipes, and looks at all that user space can read.
func TestWipedMapsAreLikeNewOnes(t *testing.T) {
	r := newRig(t, 1)
	r.test(r.StartSweep, make([]byte, 14))
	for _, m := range each(&r.Objects) {
		dirty(t, m)
	}
	if err := wipe(&r.Objects); err != nil {
		t.Fatal(err)
	}
	for _, m := range each(&r.Objects) {
		if n := used(t, m); n != 0 {
			t.Errorf("%v: %d entries are not those of a new map", m, n)
		}
	}
	r.test(r.StartSweep, make([]byte, 14)) // the timer is none that was wound before: it can be made anew
}

// dirty fills the first and the last entry of an array, and makes one of a table.
func dirty(t *testing.T, m *ebpf.Map) {
	t.Helper()
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for i := range value {
		value[i] = 0xff
	}
	switch m.Type() {
	case ebpf.ProgramArray:
		return // newRig has filled it
	case ebpf.PerCPUArray:
		all := make([][]byte, ebpf.MustPossibleCPU())
		for i := range all {
			all[i] = value
		}
		if err := errors.Join(m.Put(uint32(0), all), m.Put(m.MaxEntries()-1, all)); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
	case ebpf.Array:
		if err := errors.Join(m.Put(uint32(0), value), m.Put(m.MaxEntries()-1, value)); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
	default:
		if err := m.Put(key, value); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
	}
}

// used counts the entries of a table, and those of an array that are not zero.
func used(t *testing.T, m *ebpf.Map) (n int) {
	t.Helper()
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	perCPU := make([][]byte, ebpf.MustPossibleCPU())
	if m.Type() == ebpf.ProgramArray {
		for i := range m.MaxEntries() {
			if m.Lookup(i, &value) == nil {
				n++
			}
		}
		return n
	}
	all := m.Iterate()
	next := func() bool { return all.Next(&key, &value) }
	if m.Type() == ebpf.PerCPUArray {
		next = func() bool { return all.Next(&key, &perCPU) }
	}
	for next() {
		if dirt := len(value) > 0 && anyByte(append(perCPU, value)...); dirt || m.Type() != ebpf.Array && m.Type() != ebpf.PerCPUArray {
			n++
		}
	}
	if err := all.Err(); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return n
}

func anyByte(all ...[]byte) bool {
	for _, b := range all {
		for _, c := range b {
			if c != 0 {
				return true
			}
		}
	}
	return false
}
