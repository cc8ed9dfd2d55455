package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"vipd/internal/need"
)

// bench is the bench object with one service of four real servers, and a table with that many flows in it.
type bench struct {
	*rig
	object BenchObjects
	flows  uint32
	longer uint32 // bytes that a tunnel puts in front
}

const (
	benchTiny   = 1 << 10 // flows
	benchSmall  = 1 << 16
	benchLarge  = 1 << 20
	benchRounds = 11
)

// row is one thing that is measured: the program, what its frames are, and the time of each round.
type row struct {
	*bench
	name    string
	program *ebpf.Program
	frame   frame
	flows   uint32
	fresh   bool // every packet is a new client's; they are forgotten after each round
	repeat  int
	rounds  []time.Duration
}

// BenchmarkPath measures what the path costs per packet, beside the floor of the same run. The rows take turns, so that
// whatever else the machine does falls on all of them, and the median of the rounds counts. "net" is above the generator.
func BenchmarkPath(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is a whole measurement: use -benchtime 1x")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rows := newBench(b, benchTiny, benchSmall).tiny()
	for _, way := range ways {
		rows = append(rows, newBench(b, benchTiny, benchSmall).by(way.how, way.longer).hit(way.name))
	}
	rows = append(rows, newBench(b, benchSmall, benchSmall).small()...)
	rows = append(rows, newBench(b, benchLarge, benchLarge).large()...)
	for range benchRounds {
		for _, r := range rows {
			r.rounds = append(r.rounds, r.measure(r))
		}
	}
	report(b, rows)
}

// BenchmarkSweep measures a walk over a million connections of which none is due, as the timer makes one every second.
func BenchmarkSweep(b *testing.B) {
	n := newBench(b, benchLarge, benchLarge)
	for b.Loop() {
		n.sweep()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchLarge, "ns/connection")
}

// loadBench has a table of that many lines, and lends the rig the maps of the bench object, which has the same ones.
func loadBench(t testing.TB, lines int) *bench {
	t.Helper()
	need.BPF(t)
	spec, err := LoadBench()
	if err != nil {
		t.Fatal(err)
	}
	n := &bench{rig: &rig{TB: t, regions: lines / int(LbNumberREGION_LINES)}}
	n.configure(spec)
	if err := spec.LoadAndAssign(&n.object, nil); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { n.object.Close() })
	o := &n.object
	n.LbMaps = LbMaps{Links: o.Links, Members: o.Members, Pools: o.Pools, Reals: o.Reals, RealCounts: o.RealCounts,
		Regions: o.Regions, RegionHeads: o.RegionHeads, Services: o.Services, ServiceFilter: o.ServiceFilter,
		ServiceIndex: o.ServiceIndex, ShTables: o.ShTables, SweepTimer: o.SweepTimer, Tuning: o.Tuning, Reasons: o.Reasons}
	n.LbPrograms = LbPrograms{Sweep: o.Sweep, Forget: o.Forget, StartSweep: o.StartSweep, ClockProbe: o.ClockProbe}
	n.put(o.Roads, int(LbRoadROAD_IPV4), o.Road4)
	n.put(o.Roads, int(LbRoadROAD_IPV6), o.Road6)
	n.put(o.Roads, int(LbRoadROAD_BACK), o.RoadBack)
	n.put(o.Roads, int(LbRoadROAD_BACK6), o.RoadBack6)
	n.put(o.Roads, int(LbRoadROAD_FULL), o.RoadFull)
	n.put(n.Links, loopback, LbLink{Mac: ourMAC, Attached: 1})
	n.put(n.Tuning, 0, ipvsTimeouts())
	return n
}

// newBench has a table of twice the lines that it is made for, as user space sizes it, and flows in it.
func newBench(b *testing.B, flows, room int) *bench {
	b.Helper()
	n := loadBench(b, room*2)
	n.flows = uint32(flows)
	tuning := ipvsTimeouts()
	for i := range tuning.Tcp {
		tuning.Tcp[i] = 1 << 30
	}
	tuning.Tcp[closed] = 0
	n.put(n.Tuning, 0, tuning)
	s := n.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	for range 4 {
		s.add(1)
	}
	for _, flags := range []uint8{syn, ack} {
		n.measure(&row{bench: n, program: n.object.BenchPath, frame: frame{flags: flags}, flows: uint32(flows), repeat: flows})
	}
	return n
}

func (n *bench) tiny() []*row {
	path, data := n.object.BenchPath, frame{flags: ack}
	elsewhere := frame{flags: ack, to: netip.MustParseAddrPort("10.0.8.25:22")}
	return []*row{
		{bench: n, name: "empty harness", program: n.object.BenchEmpty, frame: data, flows: 1, repeat: 1 << 20},
		{bench: n, name: "floor: swap MACs, XDP_TX", program: n.object.BenchFloor, frame: data, flows: 1, repeat: 1 << 20},
		{bench: n, name: "pass: not a service", program: path, frame: elsewhere, flows: 1, repeat: 1 << 20},
		{bench: n, name: "hit, 1 flow", program: path, frame: data, flows: 1, repeat: 1 << 20},
		{bench: n, name: "hit, 1 k flows", program: path, frame: data, flows: benchTiny, repeat: 1 << 20},
	}
}

// ways are the methods beside direct routing.
var ways = []struct {
	name   string
	longer uint32
	how    func(*LbReal)
}{
	{"NAT", 0, func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) }},
	{"IP in IP", 20, func(e *LbReal) { e.Forward, e.Source[0] = tunnel, addr4(source) }},
	{"GUE", 32, func(e *LbReal) { e.Forward, e.Source[0], e.Tunnel = tunnel, addr4(source), 1 }},
	{"GUE csum", 32, func(e *LbReal) { e.Forward, e.Source[0], e.Tunnel, e.TunnelFlags = tunnel, addr4(source), 1, 1 }},
	{"GRE", 24, func(e *LbReal) { e.Forward, e.Source[0], e.Tunnel = tunnel, addr4(source), 2 }},
}

// by changes the real servers' method.
func (n *bench) by(how func(*LbReal), longer uint32) *bench {
	n.longer = longer
	for i := range n.nextReal {
		n.change(i+1, how)
	}
	return n
}

func (n *bench) hit(name string) *row {
	return &row{bench: n, name: name + " hit, 1 k flows", program: n.object.BenchPath, frame: frame{flags: ack, summed: true}, flows: benchTiny, repeat: 1 << 20}
}

func (n *bench) small() []*row {
	path := n.object.BenchPath
	return []*row{
		{bench: n, name: "hit, 64 k flows", program: path, frame: frame{flags: ack}, flows: benchSmall, repeat: 1 << 20},
		{bench: n, name: "first packet, 64 k flows", program: path, frame: frame{flags: syn}, flows: 1 << 13, fresh: true, repeat: 1 << 13},
	}
}

func (n *bench) large() []*row {
	path := n.object.BenchPath
	return []*row{
		{bench: n, name: "hit, 1 M flows", program: path, frame: frame{flags: ack}, flows: benchLarge, repeat: 1 << 20},
		{bench: n, name: "first packet, 1 M flows", program: path, frame: frame{flags: syn}, flows: 1 << 17, fresh: true, repeat: 1 << 17},
	}
}

// measure is the time of one packet, the mean of one round.
func (n *bench) measure(r *row) time.Duration {
	base := uint32(0)
	if r.fresh {
		base = n.flows + uint32(len(r.rounds)+1)*r.flows
	}
	n.aim(r.frame)
	n.assign(map[*ebpf.Variable]uint32{n.object.Turn: 0, n.object.Flows: r.flows, n.object.Base: base, n.object.Longer: n.longer})
	_, mean, err := r.program.Benchmark(r.frame.bytes(), r.repeat, nil)
	if err != nil {
		n.Fatal(err)
	}
	if r.fresh {
		n.unload(r)
	}
	return mean
}

// aim tells the generator where its frames go: the path may have rewritten it in the last one.
func (n *bench) aim(f frame) {
	n.Helper()
	to := or(f.to, vip)
	if err := errors.Join(n.object.To.Set(addr4(to.Addr())), n.object.ToPort.Set(port2(to.Port()))); err != nil {
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

// unload ends the round's new connections. A client resets what it has opened after an ACK; a reset has no time left then.
func (n *bench) unload(r *row) {
	for _, flags := range []uint8{ack, rst} {
		f := frame{flags: flags}
		n.aim(f)
		n.assign(map[*ebpf.Variable]uint32{n.object.Turn: 0})
		if _, _, err := r.program.Benchmark(f.bytes(), r.repeat, nil); err != nil {
			n.Fatal(err)
		}
	}
	n.sweep()
}

// report prints the table. A row's net is the median over the rounds of what it took above the empty harness in the same
// round; least is the round that was disturbed least.
func report(b *testing.B, rows []*row) {
	ns := func(d []time.Duration) float64 {
		return float64(slices.Sorted(slices.Values(d))[len(d)/2].Nanoseconds())
	}
	over := func(r *row) []time.Duration {
		net := make([]time.Duration, len(r.rounds))
		for i := range net {
			net[i] = r.rounds[i] - rows[0].rounds[i]
		}
		return net
	}
	floor := ns(rows[1].rounds)
	var t strings.Builder
	fmt.Fprintf(&t, "\n%-26s %8s %8s %8s %12s\n", "packet", "ns", "least", "net ns", "over floor")
	for _, r := range rows {
		net := ns(over(r))
		fmt.Fprintf(&t, "%-26s %8.0f %8d %8.0f %11.1fx\n", r.name, ns(r.rounds), slices.Min(r.rounds).Nanoseconds(), net, ns(r.rounds)/floor)
		b.ReportMetric(net, strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(r.name)+"-ns")
	}
	fmt.Fprintln(os.Stdout, t.String())
}
