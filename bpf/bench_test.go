package bpf

import (
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

// bench is the bench object with one service of four real servers and a table of two million lines, half full.
type bench struct {
	*rig
	object BenchObjects
}

const (
	benchRegions = 1 << 15
	benchFlows   = 1 << 20
	benchRounds  = 11
)

// row is one thing that is measured: the program, what its frames are, and the time of each round.
type row struct {
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
	n := newBench(b)
	rows := n.rows()
	for range benchRounds {
		for _, r := range rows {
			r.rounds = append(r.rounds, n.measure(r))
		}
	}
	n.report(b, rows)
}

func newBench(b *testing.B) *bench {
	need.BPF(b)
	spec, err := LoadBench()
	if err != nil {
		b.Fatal(err)
	}
	n := &bench{rig: &rig{TB: b, regions: benchRegions}}
	n.configure(spec)
	if err := spec.LoadAndAssign(&n.object, nil); err != nil {
		b.Fatalf("load: %+v", err)
	}
	b.Cleanup(func() { n.object.Close() })
	n.borrow()
	n.put(n.Links, loopback, LbLink{Mac: ourMAC, Attached: 1})
	tuning := ipvsTimeouts()
	for i := range tuning.Tcp {
		tuning.Tcp[i] = 1 << 30
	}
	n.put(n.Tuning, 0, tuning)
	s := n.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	for range 4 {
		s.add(1)
	}
	for _, flags := range []uint8{syn, ack} {
		n.measure(&row{program: n.object.BenchPath, frame: frame{flags: flags}, flows: benchFlows, repeat: benchFlows})
	}
	return n
}

// borrow lends the rig the maps of the bench object, which has the same ones.
func (n *bench) borrow() {
	o := &n.object
	n.LbMaps = LbMaps{Hops: o.Hops, Links: o.Links, Members: o.Members, Pools: o.Pools, Reals: o.Reals, Regions: o.Regions,
		RegionHeads: o.RegionHeads, Services: o.Services, ServiceFilter: o.ServiceFilter, ServiceIndex: o.ServiceIndex,
		ShTables: o.ShTables, Tuning: o.Tuning}
}

func (n *bench) rows() []*row {
	path, data := n.object.BenchPath, frame{flags: ack}
	elsewhere := frame{flags: ack, to: netip.MustParseAddrPort("10.0.8.25:22")}
	return []*row{
		{name: "empty harness", program: n.object.BenchEmpty, frame: data, flows: 1, repeat: 1 << 20},
		{name: "floor: swap MACs, XDP_TX", program: n.object.BenchFloor, frame: data, flows: 1, repeat: 1 << 20},
		{name: "pass: not a service", program: path, frame: elsewhere, flows: 1, repeat: 1 << 20},
		{name: "hit, 1 flow", program: path, frame: data, flows: 1, repeat: 1 << 20},
		{name: "hit, 1 k flows", program: path, frame: data, flows: 1 << 10, repeat: 1 << 20},
		{name: "hit, 64 k flows", program: path, frame: data, flows: 1 << 16, repeat: 1 << 20},
		{name: "hit, 1 M flows", program: path, frame: data, flows: benchFlows, repeat: 1 << 20},
		{name: "first packet (SYN)", program: path, frame: frame{flags: syn}, flows: 1 << 17, fresh: true, repeat: 1 << 17},
	}
}

// measure is the time of one packet, the mean of one round.
func (n *bench) measure(r *row) time.Duration {
	base := uint32(0)
	if r.fresh {
		base = benchFlows + uint32(len(r.rounds)+1)*r.flows
	}
	for v, x := range map[*ebpf.Variable]uint32{n.object.Turn: 0, n.object.Flows: r.flows, n.object.Base: base} {
		if err := v.Set(x); err != nil {
			n.Fatal(err)
		}
	}
	_, mean, err := r.program.Benchmark(r.frame.bytes(), r.repeat, nil)
	if err != nil {
		n.Fatal(err)
	}
	if r.fresh {
		n.unload(r)
	}
	return mean
}

// unload ends the round's new connections: their time is over, the others' is not.
func (n *bench) unload(r *row) {
	r.frame.flags = rst
	t := get[LbTunables](n.rig, n.Tuning, 0)
	t.Tcp[closed] = 0
	n.put(n.Tuning, 0, t)
	if err := n.object.Turn.Set(uint32(0)); err != nil {
		n.Fatal(err)
	}
	if _, _, err := r.program.Benchmark(r.frame.bytes(), r.repeat, nil); err != nil {
		n.Fatal(err)
	}
	r.frame.flags = ack // from SYN_RECV a reset leads nowhere, from ESTABLISHED it does
	n.order(n.object.Sweep, LbOrder{})
	r.frame.flags = syn
}

func (n *bench) report(b *testing.B, rows []*row) {
	median := func(r *row) float64 {
		s := slices.Sorted(slices.Values(r.rounds))
		return float64(s[len(s)/2].Nanoseconds())
	}
	empty := median(rows[0])
	floor := median(rows[1]) - empty
	var t strings.Builder
	fmt.Fprintf(&t, "\n%-26s %10s %10s %12s\n", "packet", "ns", "net ns", "over floor")
	for i, r := range rows {
		ns := median(r)
		fmt.Fprintf(&t, "%-26s %10.0f %10.0f", r.name, ns, ns-empty)
		if i > 0 {
			fmt.Fprintf(&t, " %11.1fx", ns/(floor+empty))
			b.ReportMetric(ns-empty, strings.NewReplacer(" ", "-", ",", "", ":", "", "(", "", ")", "").Replace(r.name)+"-ns")
		}
		t.WriteByte('\n')
	}
	fmt.Fprintln(os.Stdout, t.String())
}
