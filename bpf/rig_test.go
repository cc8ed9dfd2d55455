package bpf

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

var (
	client = netip.MustParseAddrPort("10.0.4.102:5244")
	vip    = netip.MustParseAddrPort("10.0.8.9:80")

	client6 = netip.MustParseAddrPort("[2001:db8:4::102]:5244")
	vip6    = netip.MustParseAddrPort("[2001:db8:8::9]:80")
)

const (
	loopback  = 1 // the interface that BPF_PROG_TEST_RUN says frames came in by
	elsewhere = 7

	ticksPerSecond = 8 // of the rig's tuning; the clock itself stands still enough
	tableHZ        = 250
)

// XDP's verdicts, as the kernel numbers them.
const (
	xdpAborted = iota
	xdpDrop
	xdpPass
	xdpTX
	xdpRedirect
)

// Objects are LbObjects with the sections that are maps.
type Objects struct {
	LbObjects
	Sections
}

// Sections have the names that Load gives them.
type Sections struct {
	Tuning        *ebpf.Map `ebpf:"tuning"`
	ServiceFilter *ebpf.Map `ebpf:"service_filter"`
	SourceFilter  *ebpf.Map `ebpf:"source_filter"`
	NearLinks     *ebpf.Map `ebpf:"near_links"`
	ServiceHints  *ebpf.Map `ebpf:"service_hints"`
}

func (s *Sections) maps() []*ebpf.Map {
	return []*ebpf.Map{s.Tuning, s.ServiceFilter, s.SourceFilter, s.NearLinks, s.ServiceHints}
}

// rig is the object in the kernel, with our MAC on the loopback interface and nothing else.
type rig struct {
	testing.TB
	Objects
	regions   int
	shift     uint32
	nextReal  uint32
	nextEntry uint32
	serials   uint32
	oneCPU    bool   // see stillRig
	ingress   uint32 // the interface that frames come in by; 0: loopback
	meta      int    // bytes that stand in front of each frame, as a driver's metadata may: there is less room for headers
}

// newRig has the object with that many regions (a power of two), as it is when it has just been loaded.
func newRig(t testing.TB, regions int) *rig {
	t.Helper()
	return makeRig(t, regions, 0)
}

// stillRig is a rig whose clock moves by travel and advance alone, and whose packets all come to one CPU: for what is counted by
// tick and CPU.
func stillRig(t testing.TB, regions int) *rig {
	t.Helper()
	r := makeRig(t, regions, 40)
	r.oneCPU = true
	return r
}

// onOneCPU calls f on the first CPU that this process may use. A subtest has a goroutine, and so a thread, of its own: it is
// the call that is bound, not the test.
func onOneCPU(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if was.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &was)
	f()
}

// makeRig takes an object whose ticks have that shift; 0: the one that it is made with.
func makeRig(t testing.TB, regions int, shift uint32) *rig {
	t.Helper()
	need.BPF(t)
	r := &rig{TB: t, regions: regions, shift: shift}
	r.Objects = r.borrow()
	r.put(r.Roads, int(LbRoadROAD_IPV4), r.Road4)
	r.put(r.Roads, int(LbRoadROAD_IPV6), r.Road6)
	r.put(r.Roads, int(LbRoadROAD_BACK), r.RoadBack)
	r.put(r.Roads, int(LbRoadROAD_BACK6), r.RoadBack6)
	r.put(r.Roads, int(LbRoadROAD_FULL), r.RoadFull)
	r.put(r.Roads, int(LbRoadROAD_FULL6), r.RoadFull6)
	r.put(r.Links, loopback, LbLink{Mac: ourMAC, Attached: 1})
	r.put(r.Tuning, 0, ipvsTimeouts())
	return r
}

// load verifies every program, which takes most of a second.
func (r *rig) load() (o loaded) {
	r.Helper()
	spec, err := loadSpec()
	if err != nil {
		r.Fatal(err)
	}
	r.configure(spec)
	if spec.Variables[aliveVar] != nil {
		return r.loadAlive(spec)
	}
	if err := spec.LoadAndAssign(&o.Objects, options(spec)); err != nil {
		r.Fatalf("load: %+v", err)
	}
	return o
}

func (r *rig) configure(spec *ebpf.CollectionSpec) {
	for _, name := range []string{LbMapRegions, LbMapRegionHeads} {
		spec.Maps[name].MaxEntries = uint32(r.regions)
	}
	r.set(spec, LbVarRegionMask, uint32(r.regions-1))
	r.set(spec, LbVarHashSeed, uint64(0x5eed))
	r.set(spec, LbVarHashFactor, HashFactor(0x5eed))
	if r.shift != 0 {
		r.set(spec, LbVarTickShift, r.shift)
	}
	r.set(spec, LbVarLockTries, uint32(1<<18)) // the CPUs may be shared with anything
}

func (r *rig) set(spec *ebpf.CollectionSpec, name string, v any) {
	r.Helper()
	if err := spec.Variables[name].Set(v); err != nil {
		r.Fatalf("%s: %v", name, err)
	}
}

// ipvsTimeouts are the kernel's, by TCP state: features.md says NONE 2, ESTABLISHED 900, … seconds.
func ipvsTimeouts() LbTunables {
	t := LbTunables{Udp: 300 * ticksPerSecond, Extend: 60 * ticksPerSecond, PmtuDisc: 1, ConnReuseMode: 1,
		LblcExpiration: 86400 * ticksPerSecond, LblcrExpiration: 86400 * ticksPerSecond}
	for state, seconds := range []uint32{2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120} {
		t.Tcp[state] = seconds * ticksPerSecond
	}
	for state, seconds := range []uint32{2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61} {
		t.Sctp[state] = seconds * ticksPerSecond
	}
	return t
}

func (r *rig) put(m *ebpf.Map, key, value any) {
	r.Helper()
	if k, ok := key.(int); ok {
		key = uint32(k)
	}
	if e, ok := value.(LbReal); ok {
		e.SetPlain()
		value = e
	}
	if l, ok := value.(LbLink); ok { // as user space does
		near := get[LbNear](r, r.NearLinks, 0)
		near.Set(key.(uint32), l)
		r.put(r.NearLinks, 0, near)
	}
	if err := m.Put(key, value); err != nil {
		r.Fatalf("%v: %v", m, err)
	}
}

func get[T any](r *rig, m *ebpf.Map, key uint32) T {
	r.Helper()
	var v T
	if err := m.Lookup(key, &v); err != nil {
		r.Fatalf("%v: %v", m, err)
	}
	return v
}

// tune changes the settings.
func (r *rig) tune(change func(*LbTunables)) {
	r.Helper()
	t := get[LbTunables](r, r.Tuning, 0)
	change(&t)
	r.put(r.Tuning, 0, t)
}

// travel moves the table's clock on.
func (r *rig) travel(seconds int) { r.advance(seconds * ticksPerSecond) }

// advance moves it by ticks.
func (r *rig) advance(ticks int) {
	r.tune(func(t *LbTunables) { t.Offset += uint32(ticks) })
}

// reasonCounts sums each reason over the CPUs.
func (r *rig) reasonCounts() (n [LbReasonREASONS]uint64) {
	r.Helper()
	for i, v := range perCPU[uint64](r, r.Reasons, len(n)) {
		n[i/cpus()] += v
	}
	for _, c := range perCPU[LbCounters](r, r.RealCounters, int(r.nextReal)+2) { // rows put some by hand
		n[LbReasonFORWARD_HIT] += c.Hits
	}
	return n
}

// perCPU are the values of an array's first n elements, each CPU's of the first and so on, with one call.
func perCPU[T any](r *rig, m *ebpf.Map, n int) []T {
	r.Helper()
	var from ebpf.MapBatchCursor
	keys, values := make([]uint32, n), make([]T, n*cpus())
	if got, err := m.BatchLookup(&from, keys, values, nil); got != n || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		r.Fatalf("%v: %d of %d elements: %v", m, got, n, err)
	}
	return values
}

// run sends one frame through and returns the verdict, the frame afterwards, and the one reason that was counted.
func (r *rig) run(in []byte) (verdict uint32, out []byte, why LbReason) {
	r.Helper()
	return r.runBy(r.Lb, in)
}

// runBy is run by another of the programs that count.
func (r *rig) runBy(p *ebpf.Program, in []byte) (verdict uint32, out []byte, why LbReason) {
	r.Helper()
	before := r.reasonCounts()
	verdict, out = r.test(p, in)
	total := uint64(0)
	for i, n := range r.reasonCounts() {
		if d := n - before[i]; d != 0 {
			total += d
			why = LbReason(i)
		}
	}
	if total != 1 {
		r.Fatalf("one packet was counted %d times", total)
	}
	return verdict, out, why
}

func (r *rig) test(p *ebpf.Program, in []byte) (uint32, []byte) {
	r.Helper()
	o := ebpf.RunOptions{Data: in, DataOut: make([]byte, len(in)+64)}
	if r.meta != 0 || r.ingress != 0 {
		o.Data, o.DataOut = append(make([]byte, r.meta), in...), make([]byte, r.meta+len(in)+64)
		o.Context = [6]uint32{uint32(r.meta), uint32(len(o.Data)), 0, r.ingress} // struct xdp_md: data, data_end, data_meta, ingress_ifindex, …
	}
	run := func() (verdict uint32, err error) { return p.Run(&o) }
	if r.oneCPU {
		run = func() (verdict uint32, err error) {
			onOneCPU(r, func() { verdict, err = p.Run(&o) })
			return
		}
	}
	verdict, err := run()
	if err != nil {
		r.Fatalf("run %v: %v", p, err)
	}
	return verdict, o.DataOut[r.meta:]
}

// want sends the frame and fails if it is not treated so. It returns the frame afterwards.
func (r *rig) want(f frame, why LbReason) []byte {
	r.Helper()
	in := f.bytes()
	verdict, out, got := r.run(in)
	if got != why || verdict != verdictOf(why) {
		r.Fatalf("%+v: %s, verdict %d; want %s, verdict %d", f, got.name(), verdict, why.name(), verdictOf(why))
	}
	if verdict == xdpPass && string(out) != string(in) {
		r.Fatalf("a passed frame was changed: % x, was % x", out, in)
	}
	return out
}

func (why LbReason) name() string {
	return strings.ToUpper(Reasons()[why])
}

// verdictOf is what a reason's first word promises, for hops out of the interface that the frame came in by.
func verdictOf(why LbReason) uint32 {
	switch kind, _, _ := strings.Cut(why.name(), "_"); kind {
	case "PASS":
		return xdpPass
	case "DROP":
		return xdpDrop
	}
	return xdpTX
}

// order runs sweep or forget over the whole table and says how many lines were freed.
func (r *rig) order(p *ebpf.Program, o LbOrder) uint32 {
	r.Helper()
	in := make([]byte, 16)
	for i, v := range []uint32{o.First, o.Count, o.Real} {
		binary.NativeEndian.PutUint32(in[4*i:], v)
	}
	verdict, out := r.test(p, in)
	if verdict != xdpPass {
		r.Fatalf("%v: verdict %d", p, verdict)
	}
	return binary.NativeEndian.Uint32(out[12:])
}

func (r *rig) sweep() uint32 { r.Helper(); return r.order(r.Sweep, LbOrder{}) }

// lines calls visit for every line of the table with its number.
func (r *rig) lines(visit func(n uint32, c LbConn)) {
	r.Helper()
	for i := range uint32(r.regions) {
		region := get[LbRegion](r, r.Regions, i)
		for j, c := range region.Line {
			visit(i*uint32(LbNumberREGION_LINES)+uint32(j), c)
		}
	}
}

// conns are the live lines by number.
func (r *rig) conns() map[uint32]LbConn {
	r.Helper()
	all := map[uint32]LbConn{}
	r.lines(func(n uint32, c LbConn) {
		if c.phase() == LbPhasePHASE_LIVE {
			all[n] = c
		}
	})
	return all
}

// conn is the one connection (not template) in the table, and template the one template.
func (r *rig) conn() LbConn     { r.Helper(); return r.only(false) }
func (r *rig) template() LbConn { r.Helper(); return r.only(true) }

func (r *rig) only(template bool) LbConn {
	r.Helper()
	var found []LbConn
	for _, c := range r.conns() {
		if (c.flags()&LbConnFlagCONN_TEMPLATE != 0) == template {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		r.Fatalf("%d entries (template: %v), want 1", len(found), template)
	}
	return found[0]
}

// edit changes the line that holds c.
func (r *rig) edit(c LbConn, change func(*LbConn)) {
	r.Helper()
	for n, have := range r.conns() {
		if have == c {
			region := get[LbRegion](r, r.Regions, n/uint32(LbNumberREGION_LINES))
			change(&region.Line[n%uint32(LbNumberREGION_LINES)])
			r.put(r.Regions, n/uint32(LbNumberREGION_LINES), region)
			return
		}
	}
	r.Fatal("no such line")
}

func (c LbConn) template() bool    { return c.Kind&uint8(LbConnKindKIND_TEMPLATE) != 0 }
func (c LbConn) phase() LbPhase    { return LbPhase(c.Life & 0xff) }
func (c LbConn) state() int        { return int(c.Life >> 8 & 0xff) }
func (c LbConn) flags() LbConnFlag { return LbConnFlag(c.Life >> 16 & 0xffff) }

func addr4(a netip.Addr) uint32 { b := a.As4(); return binary.NativeEndian.Uint32(b[:]) }
func addr6(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// fold is four bytes of an IPv6 address, or the four of an IPv4 address.
func fold(a netip.Addr) uint32 {
	if a.Is4() {
		return addr4(a)
	}
	w := addr6(a)
	return w[0] ^ w[1] ^ w[2] ^ w[3]
}

func port2(p uint16) uint16     { return bits.ReverseBytes16(p) }
func (c LbConn) from() uint16   { return port2(c.Cport) }
func (c LbConn) toPort() uint16 { return port2(c.Vport) }

// counters sums a per-CPU entry.
func (r *rig) counters(m *ebpf.Map, index uint32) (n LbCounters) {
	r.Helper()
	var perCPU []LbCounters
	if err := m.Lookup(index, &perCPU); err != nil {
		r.Fatal(err)
	}
	for _, c := range perCPU {
		n.Conns, n.Inpkts, n.Inbytes = n.Conns+c.Conns, n.Inpkts+c.Inpkts+c.Hits, n.Inbytes+c.Inbytes
		n.Outpkts, n.Outbytes = n.Outpkts+c.Outpkts, n.Outbytes+c.Outbytes
	}
	return n
}

// counts are active, inactive and persist of a real server.
func (r *rig) counts(real uint32) [3]uint32 {
	r.Helper()
	n := get[LbRealCount](r, r.RealCounts, real)
	return [3]uint32{n.Active, n.Inactive, n.Persist}
}

// cpus is the length of a per-CPU entry.
func cpus() int { return ebpf.MustPossibleCPU() }
