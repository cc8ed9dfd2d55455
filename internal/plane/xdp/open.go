package xdp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Options say where a plane lives and how large it is.
type Options struct {
	// PinDir is the directory for the pins, in a BPF file system: /sys/fs/bpf/vipd/NAME. No dots in its last element.
	PinDir string
	// TableSize is the number of lines of the connection table, rounded up to 64 times a power of two. A line takes 64
	// bytes; half full, a million connections need 2 Mi. If zero, that, or the size that the pins have.
	TableSize uint32
	// Services and Reals are how many of each there may be. If zero, 1,024 and 16,384.
	Services, Reals uint32
	// Maglev is how many services may have scheduler mh. Each takes 32 KiB. If zero, 16.
	Maglev uint32
	// GenericVeth attaches to veth interfaces in generic mode. In native mode, what leaves by a veth is lost unless its
	// other end has a program too or GRO on, which cannot be seen from here.
	GenericVeth bool
}

// DefaultTableSize is a million connections at half load: 128 MiB.
const DefaultTableSize = 2 << 20

// Plane is an open packet path.
type Plane struct {
	dir     string
	lock    *os.File
	maps    maps
	progs   map[string]*ebpf.Program
	meta    meta
	clock   clock
	links   map[int]*attachment
	ports   map[int]Port // as told to this process
	owning  bool         // BalanceOwn is on, by this process
	adopted bool
	veth    bool   // Options.GenericVeth
	table   []byte // the regions, mapped for reading
	heads   []byte // and what is in use of each
	lessons lessons
	// syncSettings are those of the sync daemon, which no packet asks for.
	syncSettings map[string]uint32
	moved        *migration // what was taken over from another layout; nil: nothing
	*state
}

var (
	_ plane.Plane = (*Plane)(nil)
	_ plane.Pager = (*Plane)(nil)
	_ plane.Tuner = (*Plane)(nil)

	_ plane.Classifier = (*Plane)(nil)
)

// Open starts a packet path in opts.PinDir, or takes over the one that is pinned there, with its services, connections,
// counts and interfaces; their program is replaced by this binary's in one step, and forwarding never stops.
//
// Errors: ErrLayout (pins that this binary cannot use; they are left as they are), ErrBusy, ErrPermission, ErrKernel,
// ErrNoBPFFS.
func Open(opts Options) (*Plane, error) {
	// Needed before Linux 5.11 only; newer kernels account memory by cgroup.
	_ = rlimit.RemoveMemlock()
	if err := usable(); err != nil {
		return nil, fmt.Errorf("open %s: %w", opts.PinDir, err)
	}
	if err := check(opts.PinDir); err != nil {
		return nil, err
	}
	p, err := open(opts)
	if errors.Is(err, ErrLayout) {
		return nil, fmt.Errorf("open %s: %w; %s", opts.PinDir, err, standing(opts.PinDir))
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", opts.PinDir, err)
	}
	return p, nil
}

func check(dir string) error {
	if dir == "" || strings.Contains(filepath.Base(dir), ".") {
		return fmt.Errorf("pin directory %q: the last element must not be empty or have dots, which a BPF file system refuses", dir)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return explain("make the pin directory", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(parent, &s); err != nil {
		return explain("look at "+parent, err)
	}
	if s.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s: %w", parent, ErrNoBPFFS)
	}
	return nil
}

func open(opts Options) (*Plane, error) {
	p := &Plane{dir: opts.PinDir, veth: opts.GenericVeth, links: map[int]*attachment{}, syncSettings: defaultSync()}
	err := p.begin(opts)
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (p *Plane) begin(opts Options) (err error) {
	if p.lock, err = lockDir(p.dir); err == nil {
		p.adopted = true
		err = p.adopt(opts)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = p.create(opts)
	}
	if err != nil {
		return err
	}
	if err := p.readAll(); err != nil {
		return err
	}
	if err := p.readLinks(pinned(p.dir)); err != nil {
		return err
	}
	// All has been read, and can be used. From here on it is written.
	if err := p.pave(); err != nil {
		return err
	}
	if err := p.adoptLinks(); err != nil {
		return err
	}
	if err := p.tidy(); err != nil {
		return err
	}
	if err := p.settleMoved(); err != nil {
		return err
	}
	_ = removeStale(p.dir + "~") // what a process that was killed has left of a change of the layout
	// Wound again by an adopter, the timer runs the new program from then on.
	return p.run(bpf.LbProgStartSweep, make([]byte, 64), nil)
}

// readAll maps the connection table and reads what the maps say.
func (p *Plane) readAll() (err error) {
	if p.state != nil {
		return nil
	}
	if p.table, err = mapRegions(p.maps[bpf.LbMapRegions]); err != nil {
		return explain("map the connection table", err)
	}
	if p.heads, err = mapRegions(p.maps[bpf.LbMapRegionHeads]); err != nil {
		return explain("map the connection table", err)
	}
	p.state, err = readState(p.maps, p.clock)
	return err
}

// create makes everything anew under another name. Nothing of it is live before the rename at its end.
func (p *Plane) create(opts Options) error {
	temp := p.dir + "~"
	if err := removeStale(temp); err != nil {
		return err
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		return explain("make the pin directory", err)
	}
	err := p.fill(temp, opts)
	if err == nil {
		if err = os.Rename(temp, p.dir); err == nil { // from here on it is live
			return nil
		}
	}
	for _, name := range pinned(temp) {
		os.Remove(filepath.Join(temp, name))
	}
	os.Remove(temp)
	return err
}

func (p *Plane) fill(dir string, opts Options) (err error) {
	if p.lock, err = lockDir(dir); err != nil {
		return err
	}
	if p.meta, err = newMeta(opts.TableSize); err != nil {
		return err
	}
	p.clock = clock{p.meta.Hz, p.meta.TickShift}
	spec, err := load(opts, p.meta)
	if err != nil {
		return err
	}
	if err := p.start(spec, nil); err != nil {
		return err
	}
	if err := p.maps.put(metaMap, 0, p.meta); err != nil {
		return err
	}
	if err := p.setDefaults(); err != nil {
		return err
	}
	for name, m := range p.maps {
		if err := m.Pin(filepath.Join(dir, name)); err != nil {
			return explain("pin "+name, err)
		}
	}
	return nil
}

func newMeta(lines uint32) (meta, error) {
	if lines == 0 {
		lines = DefaultTableSize
	}
	hz, err := kernelHZ()
	if err != nil {
		return meta{}, err
	}
	var seed [8]byte
	rand.Read(seed[:])
	return meta{Layout: layout, Since: layoutSince, Regions: regionsFor(lines), Hz: hz, TickShift: tickShift(hz), Seed: binary.NativeEndian.Uint64(seed[:])}, nil
}

// regionsFor is the power of two of regions that holds so many lines.
func regionsFor(lines uint32) uint32 {
	regions := (lines-1)/regionLines + 1
	return 1 << bits.Len32(regions-1)
}

// load reads the object and gives its maps their sizes and its program its constants.
func load(opts Options, m meta) (*ebpf.CollectionSpec, error) {
	spec, err := bpf.Load()
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	sizes := map[string]uint32{bpf.LbMapRegions: m.Regions, bpf.LbMapRegionHeads: m.Regions}
	if n := opts.Services; n != 0 {
		sizes[bpf.LbMapServices], sizes[bpf.LbMapServiceIndex], sizes[bpf.LbMapServiceIndex6] = n, n, n
		sizes[bpf.LbMapPools], sizes[bpf.LbMapShTables] = 2*n, 2*n
	}
	if n := opts.Maglev; n != 0 {
		sizes[bpf.LbMapMhLines] = 2 * n * mhLines
	}
	if n := opts.Reals; n != 0 {
		sizes[bpf.LbMapReals], sizes[bpf.LbMapRealCounts], sizes[bpf.LbMapRealCounters] = n, n, n
		// Every pool has two lists, and a list begins at a block: room for twice that keeps gaps from mattering.
		sizes[bpf.LbMapMembers] = 4*n + 4*blockSize
	}
	for name, n := range sizes {
		spec.Maps[name].MaxEntries = n
	}
	spec.Maps[metaMap] = &ebpf.MapSpec{Name: metaMap, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(meta{})), MaxEntries: 1}
	for name, of := range map[string]string{zeroServicesMap: bpf.LbMapServices, zeroRealsMap: bpf.LbMapReals} {
		spec.Maps[name] = &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(counters{})), MaxEntries: spec.Maps[of].MaxEntries}
	}
	constants := map[string]any{bpf.LbVarRegionMask: m.Regions - 1, bpf.LbVarHashSeed: m.Seed, bpf.LbVarHashFactor: bpf.HashFactor(m.Seed), bpf.LbVarTickShift: m.TickShift}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	return spec, nil
}

// start loads the programs, with the maps that are given and new ones for the others. The programs are loaded side by
// side: most of it is the verifier's time, seconds of one processor.
func (p *Plane) start(spec *ebpf.CollectionSpec, have maps) error {
	bare := spec.Copy()
	clear(bare.Programs)
	made, err := ebpf.NewCollectionWithOptions(bare, ebpf.CollectionOptions{MapReplacements: have})
	if err != nil {
		return explain("load the packet path", err)
	}
	p.progs, p.maps = map[string]*ebpf.Program{}, maps{}
	for name, m := range made.Maps {
		if strings.HasPrefix(name, ".") {
			defer m.Close() // constants belong to the programs, not to what is pinned
			continue
		}
		p.maps[name] = m
	}
	var loading sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for name := range spec.Programs {
		loading.Go(func() {
			prog, err := loadOne(spec, name, made.Maps)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			p.progs[name] = prog
		})
	}
	loading.Wait()
	if len(errs) > 0 {
		return explain("load the packet path", errs[0])
	}
	return nil
}

// loadOne loads one program of a collection whose maps are all there.
func loadOne(spec *ebpf.CollectionSpec, name string, have map[string]*ebpf.Map) (*ebpf.Program, error) {
	one := spec.Copy()
	one.Programs = map[string]*ebpf.ProgramSpec{name: one.Programs[name]}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: have})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// pave gives the first program the others that it goes on to. They are replaced one by one while packets come: all of one
// layout do the same.
func (p *Plane) pave() error {
	for road, name := range map[bpf.LbRoad]string{bpf.LbRoadROAD_IPV4: bpf.LbProgRoad4, bpf.LbRoadROAD_IPV6: bpf.LbProgRoad6, bpf.LbRoadROAD_BACK: bpf.LbProgRoadBack, bpf.LbRoadROAD_BACK6: bpf.LbProgRoadBack6,
		bpf.LbRoadROAD_FULL: bpf.LbProgRoadFull, bpf.LbRoadROAD_FULL6: bpf.LbProgRoadFull6} {
		if err := p.maps.put(bpf.LbMapRoads, uint32(road), p.progs[name]); err != nil {
			return err
		}
	}
	return nil
}

// setDefaults writes IPVS's timeouts.
func (p *Plane) setDefaults() error {
	t := bpf.LbTunables{Extend: p.clock.ticks(time.Minute)}
	p.setDefaultsOf(&t)
	for state, seconds := range tcpTimeouts {
		t.Tcp[state] = p.clock.ticks(time.Duration(seconds) * time.Second)
	}
	for state, seconds := range sctpTimeouts {
		t.Sctp[state] = p.clock.ticks(time.Duration(seconds) * time.Second)
	}
	t.Udp = p.clock.ticks(lb.DefaultTimeouts.UDP)
	return p.maps.put(bpf.LbMapTuning, 0, t)
}

// tcpTimeouts are the seconds of each state in IPVS.
var tcpTimeouts = [...]int{lb.None: 2, lb.Established: 900, lb.SynSent: 120, lb.SynRecv: 60, lb.FinWait: 120,
	lb.TimeWait: 120, lb.Close: 10, lb.CloseWait: 60, lb.LastAck: 30, lb.Listen: 120, lb.SynAck: 120}

// sctpTimeouts are the same for SCTP, in the order of ip_vs.h: NONE, INIT1, INIT, C-SENT, C-REPLIED, C-WAIT, COOKIE,
// C-ECHOED, ESTABLISHED, S-SENT, S-RECEIVED, S-ACK-SENT, REJECTED, CLOSED.
var sctpTimeouts = [...]int{2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61}

// Adopted reports whether Open took over what was pinned.
func (p *Plane) Adopted() bool { return p.adopted }

// TableSize is the number of lines of the connection table.
func (p *Plane) TableSize() int { return int(p.meta.Regions * regionLines) }

// Close lets go: the pins stay, and forwarding goes on.
func (p *Plane) Close() error {
	p.release()
	return nil
}

func (p *Plane) release() {
	for _, m := range []*[]byte{&p.table, &p.heads} {
		if *m != nil {
			unix.Munmap(*m)
			*m = nil
		}
	}
	if p.moved != nil {
		p.moved.end()
	}
	for _, l := range p.links {
		l.link.Close() // pinned: this closes a descriptor and no more
	}
	p.maps.close()
	for _, prog := range p.progs {
		prog.Close()
	}
	if p.lock != nil {
		p.lock.Close()
	}
	p.links, p.maps, p.progs, p.lock = nil, nil, nil, nil
}
