package bpf

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

var (
	benchFlows  = flag.String("flows", "1,1024,65536,1048576,8388608", "BenchmarkPath: numbers of live connections, each a power of two")
	benchRounds = flag.Int("rounds", 25, "BenchmarkPath: rounds that the rows take turns in")
	benchRows   = flag.String("rows", "", "BenchmarkPath: only the rows whose name this regular expression matches, beside the harness and the floor")
	benchJSON   = flag.String("figures", "", "BenchmarkPath: also write the figures to this file")
)

const (
	hitsPerRound   = 1 << 15
	firstsPerRound = 1 << 12
	leastLines     = 1 << 16 // of a table
)

// row is one thing that is measured: what it is, the program, its frames, and the mean time of a packet in each round.
type row struct {
	*bench
	what    what
	program *ebpf.Program
	frame   frame
	way     way
	fresh   bool // every packet is a new client's; they are forgotten after each round
	rounds  []time.Duration
}

// what a row is about. JSON has these words.
type what struct {
	Family string `json:"family"`
	Method string `json:"method"`
	Packet string `json:"packet"`
}

// way is a method: how the real servers get it, and the bytes that it puts in front of an IPv4 or an IPv6 packet.
type way struct {
	name            string
	longer, longer6 uint32
	how             func(*LbReal)
}

var ways = []way{
	{"DR", 0, 0, func(e *LbReal) { e.Forward = route }},
	{"NAT", 0, 0, func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) }},
	{"TUN ipip", 20, 40, func(e *LbReal) { e.Forward = tunnel }},
	{"TUN gue", 32, 52, func(e *LbReal) { e.Forward, e.Tunnel = tunnel, 1 }},
	{"TUN gue csum", 32, 52, func(e *LbReal) { e.Forward, e.Tunnel, e.TunnelFlags = tunnel, 1, 1 }},
	{"TUN gre", 24, 44, func(e *LbReal) { e.Forward, e.Tunnel = tunnel, 2 }},
}

const (
	emptyHarness = "empty harness"
	floorOfAll   = "floor: swap MACs, XDP_TX"
	notAService  = "not for a service"
	hitPacket    = "hit"
	firstPacket  = "first packet"
)

// BenchmarkPath measures what the path costs per packet above the empty harness, beside the floor of the same run: every
// method and family, packets of live connections and first packets, with few and with many connections in the table.
//
// The rows of one table take turns in short rounds, so that whatever else the machine does falls on all of them, and the round
// that was disturbed least counts; the median stands in the JSON beside it. Every round's packets must have been counted under
// the reason that the row is about.
func BenchmarkPath(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is a whole measurement: use -benchtime 1x")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer undisturbed(b)()
	defer alone(b)()
	t := &pathTable{}
	for _, word := range strings.Split(*benchFlows, ",") {
		flows, err := strconv.Atoi(word)
		if err != nil || flows&(flows-1) != 0 || flows < 1 {
			b.Fatalf("-flows: %q is no power of two", word)
		}
		for _, six := range []bool{false, true} {
			t.measure(b, flows, six)
		}
	}
	t.print(os.Stdout)
	t.report(b)
	if err := t.save(*benchJSON); err != nil {
		b.Fatal(err)
	}
}

// undisturbed keeps from this thread the signal by which Go's scheduler takes turns, until the function that it returns is called: a
// signal ends BPF_PROG_TEST_RUN early, and the run is made again, after packets that were counted.
func undisturbed(t testing.TB) (restore func()) {
	t.Helper()
	var urgent, before unix.Sigset_t
	urgent.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &urgent, &before); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
			t.Error(err)
		}
	}
}

// alone gives this thread a processor that it leaves to nobody of its own accord (SCHED_FIFO, sched(7)), until the function that it
// returns is called: what else the machine runs is not what is measured. Where that is not allowed the figures are worse.
func alone(t testing.TB) (restore func()) {
	t.Helper()
	var before, one unix.CPUSet
	attr, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedGetaffinity(0, &before)
	}
	if err != nil {
		t.Fatal(err)
	}
	for cpu := range len(before) * 64 {
		if before.IsSet(cpu) { // the last: interrupts go to the first
			one.Zero()
			one.Set(cpu)
		}
	}
	first := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}
	if err := errors.Join(unix.SchedSetaffinity(0, &one), unix.SchedSetAttr(0, first, 0)); err != nil {
		t.Logf("others may run in between: %v", err)
	}
	return func() {
		if err := errors.Join(unix.SchedSetAttr(0, attr, 0), unix.SchedSetaffinity(0, &before)); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkSweep measures a walk over a million connections of which none is due, as the timer makes one every second.
func BenchmarkSweep(b *testing.B) {
	const flows = 1 << 20
	n := newBench(b, flows, false)
	for b.Loop() {
		n.sweep()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/connection")
}

// bench is the bench object with one service of four real servers, and a table with that many flows in it.
type bench struct {
	*rig
	object benchObjects
	flows  uint32
	six    bool
	turn   uint32        // where the hits of all rows go on
	fresh  uint32        // the next new client
	lb     *ebpf.Program // as it is shipped, where it is wanted: the generator's path begins with a frame of its own
}

// benchObjects are BenchObjects with the sections that are maps.
type benchObjects struct {
	BenchObjects
	Sections
}

// loadBench has a table of that many lines, and lends the rig the maps of the bench object, which has the same ones.
func loadBench(t testing.TB, lines int) *bench {
	t.Helper()
	return loadBenchBy(t, lines, func(_ *bench, spec *ebpf.CollectionSpec, o *benchObjects) error { return spec.LoadAndAssign(o, nil) })
}

// loadBenchBy is loadBench with some of the programs.
func loadBenchBy(t testing.TB, lines int, load func(*bench, *ebpf.CollectionSpec, *benchObjects) error) *bench {
	t.Helper()
	need.BPF(t)
	spec, err := LoadBench()
	if err != nil {
		t.Fatal(err)
	}
	Named(spec)
	n := &bench{rig: &rig{TB: t, regions: lines / int(LbNumberREGION_LINES)}}
	n.configure(spec)
	if err := load(n, spec, &n.object); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { n.object.Close() })
	o := &n.object
	n.LbMaps = LbMaps{Links: o.Links, Members: o.Members, Pools: o.Pools, Reals: o.Reals, RealCounts: o.RealCounts,
		Regions: o.Regions, RegionHeads: o.RegionHeads, Services: o.Services,
		ServiceIndex: o.ServiceIndex, ServiceIndex6: o.ServiceIndex6, ShTables: o.ShTables, SweepTimer: o.SweepTimer,
		RealCounters: o.RealCounters, Reasons: o.Reasons}
	n.Sections = o.Sections
	n.LbPrograms = LbPrograms{Sweep: o.Sweep, Forget: o.Forget, StartSweep: o.StartSweep, ClockProbe: o.ClockProbe}
	n.put(o.Roads, int(LbRoadROAD_IPV4), o.Road4)
	n.put(o.Roads, int(LbRoadROAD_IPV6), o.Road6)
	n.put(o.Roads, int(LbRoadROAD_BACK), o.RoadBack)
	n.put(o.Roads, int(LbRoadROAD_BACK6), o.RoadBack6)
	n.put(o.Roads, int(LbRoadROAD_FULL), o.RoadFull)
	n.put(o.Roads, int(LbRoadROAD_FULL6), o.RoadFull6)
	n.put(n.Links, loopback, LbLink{Mac: ourMAC, Attached: 1})
	n.put(n.Tuning, 0, ipvsTimeouts())
	return n
}

// newBench has a table of at least twice the lines that it is made for, as user space sizes it, and flows in it. All
// features are on: there are replies to look for, tunnels, and other directors.
func newBench(b *testing.B, flows int, six bool) *bench {
	b.Helper()
	n := loadBench(b, max(2*flows, leastLines))
	n.flows, n.six, n.fresh = uint32(flows), six, uint32(flows)
	tuning := ipvsTimeouts()
	for i := range tuning.Tcp {
		tuning.Tcp[i] = 1 << 30
	}
	tuning.Tcp[closed] = 0
	tuning.Have = uint32(LbHaveHAVE_NAT | LbHaveHAVE_TUNNEL | LbHaveHAVE_PEERS)
	n.put(n.Tuning, 0, tuning)
	s := n.serve(n.vip(), tcpProto, LbSchedulerSCHED_WRR)
	for range 4 {
		s.add(1)
	}
	for _, flags := range []uint8{syn, ack} {
		n.send(n.object.BenchPath, n.frame(flags), 0, n.flows, flows)
	}
	return n
}

func (n *bench) vip() netip.AddrPort {
	if n.six {
		return vip6
	}
	return vip
}

// frame is a client's; the generator writes the client's number into it.
func (n *bench) frame(flags uint8) frame {
	f := frame{flags: flags, to: n.vip(), summed: true}
	if n.six {
		f.from = netip.MustParseAddrPort("[2001:db8:4::]:1024")
	}
	return f
}

// send runs so many packets, of the clients from base on in turn, and says what one took.
func (n *bench) send(program *ebpf.Program, f frame, base, clients uint32, packets int) time.Duration {
	n.Helper()
	n.aim(f)
	n.assign(map[*ebpf.Variable]uint32{n.object.Turn: n.turn, n.object.Base: base, n.object.Flows: clients})
	in := f.bytes()
	n.assign(map[*ebpf.Variable]uint32{n.object.Size: uint32(len(in))})
	n.begin(in)
	_, mean, err := program.Benchmark(in, packets, nil)
	if err != nil {
		n.Fatal(err)
	}
	n.turn += uint32(packets)
	return mean
}

// aim tells the generator where its frames go: the path may have rewritten it in the last one.
func (n *bench) aim(f frame) {
	n.Helper()
	to, six := or(f.to, vip), uint32(0)
	addr := [4]uint32{fold(to.Addr())}
	if f.six() {
		addr, six = addr6(to.Addr()), 1
	}
	if err := errors.Join(n.object.To.Set(addr), n.object.Six.Set(six), n.object.ToPort.Set(port2(to.Port()))); err != nil {
		n.Fatal(err)
	}
}

// begin tells the generator what its frames have in common with this one.
func (n *bench) begin(in []byte) {
	n.Helper()
	ip := in[14:]
	tcp := ip[20:]
	if n.six {
		tcp = ip[40:]
	}
	front := [2]uint64{binary.NativeEndian.Uint64(ip), binary.NativeEndian.Uint64(ip[8:])}
	if err := errors.Join(n.object.Begins.Set(front), n.object.OffsetFlags.Set(binary.NativeEndian.Uint32(tcp[12:]))); err != nil {
		n.Fatal(err)
	}
}

func (n *bench) assign(values map[*ebpf.Variable]uint32) {
	n.Helper()
	for v, x := range values {
		if err := v.Set(x); err != nil {
			n.Fatal(err)
		}
	}
}

// longerBy is what the method puts in front.
func (n *bench) longerBy(w way) uint32 {
	if n.six {
		return w.longer6
	}
	return w.longer
}

// atOnce is of how many packets the generator takes off at once what the method puts in front: more do not fit into the 256 bytes that
// are in front of a frame, less what the kernel wants of them for itself.
func (n *bench) atOnce(w way) uint32 { return 208 / max(n.longerBy(w), 1) }

// by gives the real servers a method.
func (n *bench) by(w way) {
	for i := range n.nextReal {
		n.change(i+1, func(e *LbReal) {
			e.Source = [4]uint32{addr4(source)}
			if n.six {
				e.Source = addr6(vip6.Addr())
			}
			w.how(e)
		})
	}
}

// ready gives the real servers the row's method, and tells the generator.
func (r *row) ready() {
	r.Helper()
	r.by(r.way)
	longer := r.longerBy(r.way)
	r.assign(map[*ebpf.Variable]uint32{r.object.Longer: longer, r.object.Grown: r.atOnce(r.way) * longer})
}

// measure adds a round.
func (r *row) measure() {
	r.Helper()
	r.ready()
	if !r.fresh {
		r.rounds = append(r.rounds, r.send(r.program, r.frame, 0, r.flows, hitsPerRound))
		return
	}
	r.sweep()  // else a row would find the table fuller than the one before it,
	readMuch() // and in the cache what happens to be there after that
	r.rounds = append(r.rounds, r.send(r.program, r.frame, r.bench.fresh, firstsPerRound, firstsPerRound))
	// A client resets what it has opened after an ACK; a reset has no time left then.
	for _, flags := range []uint8{ack, rst} {
		r.send(r.program, r.bench.frame(flags), r.bench.fresh, firstsPerRound, firstsPerRound)
	}
	r.bench.fresh += firstsPerRound
}

// readMuch leaves in the processor's own caches nothing of what was there before: it reads more than fits into them. What they have in
// common has room for both.
func readMuch() {
	for i := 0; i < len(much); i += 64 {
		much[i]++
	}
}

var much [8 << 20]byte

// works sends one packet and tells whether that is counted as the row wants it.
func (r *row) works() (LbReason, bool) {
	r.Helper()
	before := r.reasonCounts()
	r.ready()
	base, clients := uint32(0), r.flows
	if r.fresh {
		base, clients = r.bench.fresh, 1
		r.bench.fresh++
	}
	r.send(r.program, r.frame, base, clients, 1)
	for why, count := range r.reasonCounts() {
		if count != before[why] {
			return LbReason(why), LbReason(why) == r.reason()
		}
	}
	return 0, r.reason() == LbReasonREASONS
}

// reason is what the row's packets must be counted under; REASONS: nothing.
func (r *row) reason() LbReason {
	switch r.what.Packet {
	case hitPacket:
		return LbReasonFORWARD_HIT
	case firstPacket:
		return LbReasonFORWARD_NEW
	case notAService:
		return LbReasonPASS_NOT_SERVICE
	}
	return LbReasonREASONS
}

// rows are all that is measured of a table; the empty harness is first.
func (n *bench) rows() []*row {
	family := "IPv4"
	elsewhere := n.frame(ack)
	elsewhere.to = netip.MustParseAddrPort("10.0.8.25:22")
	if n.six {
		family, elsewhere.to = "IPv6", netip.MustParseAddrPort("[2001:db8:8::25]:22")
	}
	hit, first, path := n.frame(ack), n.frame(syn), n.object.BenchPath
	rows := []*row{
		{what: what{family, "", emptyHarness}, program: n.object.BenchEmpty, frame: hit},
		{what: what{family, "", floorOfAll}, program: n.object.BenchFloor, frame: hit},
		{what: what{family, "", notAService}, program: path, frame: elsewhere},
	}
	for _, w := range ways {
		if w.longer != 0 { // what there and back costs
			rows = append(rows, &row{what: what{family, w.name, emptyHarness}, program: n.object.BenchEmpty, frame: hit, way: w})
		}
		rows = append(rows, &row{what: what{family, w.name, hitPacket}, program: path, frame: hit, way: w},
			&row{what: what{family, w.name, firstPacket}, program: path, frame: first, way: w, fresh: true})
	}
	for _, r := range rows {
		r.bench = n
		if r.way.how == nil {
			r.way = ways[0]
		}
	}
	return rows
}

// least is the round that was disturbed least.
func (r *row) least() float64 { return float64(slices.Min(r.rounds).Nanoseconds()) }

func (r *row) median() float64 {
	return float64(slices.Sorted(slices.Values(r.rounds))[len(r.rounds)/2].Nanoseconds())
}

func (r *row) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", r.what.Family, r.what.Method, r.what.Packet))
}
