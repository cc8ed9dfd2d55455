package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"

	"vipd/internal/need"
)

const (
	besideFlows = 1 << 13
	besideTurns = 4 // packets of each established connection

	testLiveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18
)

// cost is what one packet takes above its source, in ns: instructions where the clock counts them.
type cost struct {
	Method  string             `json:"method"`
	Packet  string             `json:"packet"`
	PerWord map[string]float64 `json:"per_packet"` // by who forwards
	Ratio   float64            `json:"ratio"`      // kernel IPVS / vipd
}

const (
	kernelIPVS = "kernel IPVS"
	packetPath = "vipd"
)

// BenchmarkBesideIPVS sends the same frames through the kernel's IPVS and through the packet path, over a veth pair at whose
// far end the sender is and what is forwarded is dropped. Where the clock counts instructions (test/vm) the figures are counts
// that repeat exactly.
func BenchmarkBesideIPVS(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is a whole measurement: use -benchtime 1x")
	}
	need.IPVS(b)
	d := newDirector(b)
	var costs []cost
	for _, w := range []struct {
		method, option string
		way            way
	}{{"DR", "-g", ways[0]}, {"NAT", "-m", ways[1]}, {"TUN", "-i", ways[2]}} {
		first := cost{Method: w.method, Packet: firstPacket, PerWord: map[string]float64{}}
		hit := cost{Method: w.method, Packet: hitPacket, PerWord: map[string]float64{}}
		first.PerWord[kernelIPVS], hit.PerWord[kernelIPVS] = d.kernel(w.option)
		first.PerWord[packetPath], hit.PerWord[packetPath] = d.path(w.way)
		for _, c := range []*cost{&hit, &first} {
			c.Ratio = c.PerWord[kernelIPVS] / c.PerWord[packetPath]
			b.ReportMetric(c.Ratio, strings.ReplaceAll(c.Method+"-"+c.Packet, " ", "-")+"-ratio")
			costs = append(costs, *c)
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nper packet above its source\t%s\t%s\tratio\t\n", kernelIPVS, packetPath)
	for _, c := range costs {
		fmt.Fprintf(t, "%s %s\t%.0f\t%.0f\t%.1f\t\n", c.Method, c.Packet, c.PerWord[kernelIPVS], c.PerWord[packetPath], c.Ratio)
	}
	t.Flush()
	if *benchJSON == "" {
		return
	}
	text, err := json.MarshalIndent(costs, "", "\t")
	if err == nil {
		err = os.WriteFile(*benchJSON, append(text, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// director is this machine with a cable: far is where frames come from and go to.
type director struct {
	*bench
	near, far int
	clients   uint32 // those who have come so far: others come next, as IPVS keeps its entries when a service goes
}

func newDirector(b *testing.B) *director {
	b.Helper()
	d := &director{bench: loadBenchBy(b, leastLines, loadDirector)}
	d.shell(`ip link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
		ip addr add 10.0.8.2/24 dev near
		ip addr add 10.0.8.9/32 dev lo
		ip link set lo up; ip link set near up; ip link set far up
		ethtool -K near gro on >/dev/null # else frames of XDP are not taken in
		ip route add 10.50.0.0/16 via 10.0.8.1
		for n in 1 11 12 13 14; do ip neigh replace 10.0.8.$n lladdr 02:00:00:00:01:$n dev near nud permanent; done
		sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.near.rp_filter=0`)
	b.Cleanup(func() { d.shell("ip link del near; ip addr del 10.0.8.9/32 dev lo; ipvsadm -C") })
	for name, to := range map[string]*int{"near": &d.near, "far": &d.far} {
		i, err := net.InterfaceByName(name)
		if err != nil {
			b.Fatal(err)
		}
		*to = i.Index
	}
	d.attach(d.object.BenchSink, d.far)
	d.put(d.Links, d.near, LbLink{Mac: ourMAC, Attached: 1})
	s := d.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
	for range 4 {
		d.change(s.add(1), func(e *LbReal) { e.Ifindex = uint32(d.near) })
	}
	return d
}

// loadDirector loads what makes frames, and what forwards as it is shipped: an older verifier needs a minute of emulation for the rest.
func loadDirector(n *bench, spec *ebpf.CollectionSpec, o *benchObjects) error {
	keep(spec, "bench_source", "bench_sink")
	made, err := ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	defer made.Close()
	path, err := LoadLb()
	if err != nil {
		return err
	}
	n.configure(Named(path))
	keep(path, "lb", "road4", "road6", "road_back", "road_back6", "road_full", "road_full6")
	shared := maps.Clone(made.Maps)
	maps.DeleteFunc(shared, func(name string, _ *ebpf.Map) bool { return strings.HasPrefix(name, ".") || path.Maps[name] == nil })
	paths, err := ebpf.NewCollectionWithOptions(path, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		return err
	}
	defer paths.Close()
	var ways struct {
		Lb        *ebpf.Program `ebpf:"lb"`
		Road4     *ebpf.Program `ebpf:"road4"`
		Road6     *ebpf.Program `ebpf:"road6"`
		RoadBack  *ebpf.Program `ebpf:"road_back"`
		RoadBack6 *ebpf.Program `ebpf:"road_back6"`
		RoadFull  *ebpf.Program `ebpf:"road_full"`
		RoadFull6 *ebpf.Program `ebpf:"road_full6"`
	}
	var frames struct {
		BenchMaps
		BenchVariables
		Sections
		BenchSource *ebpf.Program `ebpf:"bench_source"`
		BenchSink   *ebpf.Program `ebpf:"bench_sink"`
	}
	if err := errors.Join(made.Assign(&frames), paths.Assign(&ways)); err != nil {
		return err
	}
	o.BenchMaps, o.BenchVariables, o.Sections = frames.BenchMaps, frames.BenchVariables, frames.Sections
	o.BenchSource, o.BenchSink = frames.BenchSource, frames.BenchSink
	n.Cleanup(func() { ways.Lb.Close() })
	n.lb = ways.Lb
	o.Road4, o.Road6, o.RoadBack = ways.Road4, ways.Road6, ways.RoadBack
	o.RoadBack6, o.RoadFull, o.RoadFull6 = ways.RoadBack6, ways.RoadFull, ways.RoadFull6
	return nil
}

// keep leaves these programs alone in an object.
func keep(spec *ebpf.CollectionSpec, programs ...string) {
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !slices.Contains(programs, name) })
}

func (d *director) attach(p *ebpf.Program, ifindex int) ebpflink.Link {
	d.Helper()
	l, err := ebpflink.AttachXDP(ebpflink.XDPOptions{Program: p, Interface: ifindex, Flags: ebpflink.XDPDriverMode})
	if err != nil {
		d.Fatalf("attach: %v", err)
	}
	d.Cleanup(func() { l.Close() })
	return l
}

func (d *director) shell(script string) string {
	d.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		d.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// kernel measures the kernel's IPVS.
func (d *director) kernel(method string) (first, hit float64) {
	d.Helper()
	script := "ipvsadm -C; ipvsadm -A -t 10.0.8.9:80 -s wrr"
	for _, n := range []string{"11", "12", "13", "14"} {
		script += "; ipvsadm -a -t 10.0.8.9:80 -r 10.0.8." + n + ":80 " + method
	}
	d.shell(script)
	first, hit = d.play()
	time.Sleep(3 * time.Second) // its counters lag by 2 s
	stats := strings.Fields(d.shell("ipvsadm -ln --stats --exact | grep '^TCP'"))
	if packets, err := strconv.Atoi(stats[3]); err != nil || packets != (2+besideTurns)*besideFlows {
		d.Errorf("IPVS has seen %v, %d packets were sent", stats, (2+besideTurns)*besideFlows)
	}
	d.shell("ipvsadm -C")
	return first, hit
}

// path measures the packet path.
func (d *director) path(w way) (first, hit float64) {
	d.Helper()
	l := d.attach(d.lb, d.near)
	defer l.Close()
	d.by(w)
	before := d.reasonCounts()
	first, hit = d.play()
	after := d.reasonCounts()
	if n := after[LbReasonFORWARD_NEW] - before[LbReasonFORWARD_NEW]; n != besideFlows {
		d.Errorf("%d first packets were counted", n)
	}
	if n := after[LbReasonFORWARD_HIT] - before[LbReasonFORWARD_HIT]; n != (1+besideTurns)*besideFlows {
		d.Errorf("%d packets were counted as hits", n)
	}
	return first, hit
}

// play opens and establishes the connections, and then sends what such connections send.
func (d *director) play() (first, hit float64) {
	d.Helper()
	d.clients += besideFlows
	first = d.burst(syn, besideFlows)
	d.burst(ack, besideFlows)
	return first, d.burst(ack, besideTurns*besideFlows)
}

// burst sends so many packets and says what one took more than making it.
func (d *director) burst(flags uint8, packets int) float64 {
	d.Helper()
	return d.live(flags, packets, d.far) - d.live(flags, packets, 0)
}

func (d *director) live(flags uint8, packets, out int) float64 {
	d.Helper()
	f := frame{flags: flags, summed: true, trailer: make([]byte, 6), from: netip.MustParseAddrPort("10.50.0.0:1024")}
	in := f.bytes()
	d.aim(f)
	d.assign(map[*ebpf.Variable]uint32{d.object.Turn: 0, d.object.Base: d.clients, d.object.Flows: besideFlows, d.object.Size: uint32(len(in)),
		d.object.Out: uint32(out)})
	before := d.busy()
	_, err := d.object.BenchSource.Run(&ebpf.RunOptions{Data: in, Repeat: uint32(packets), Flags: testLiveFrames})
	if err != nil {
		d.Fatalf("send: %v", err)
	}
	return float64(d.busy()-before) / float64(packets)
}

// busy is the time that the processors have worked, in ns: a test run waits for other things too, and what it left behind is
// worked on after it.
func (d *director) busy() (total int) {
	d.Helper()
	time.Sleep(20 * time.Millisecond) // all is worked on, and whoever runs is accounted when he is put aside
	text, err := os.ReadFile("/proc/schedstat")
	if err != nil {
		d.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "cpu") && len(f) > 7 { // Documentation/scheduler/sched-stats.rst
			n, err := strconv.Atoi(f[7])
			if err != nil {
				d.Fatal(err)
			}
			total += n
		}
	}
	return total
}
