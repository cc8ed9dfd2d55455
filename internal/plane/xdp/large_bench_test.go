package xdp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// BenchmarkTenMillion fills a table with ten million connections and does with them what a daemon does: list them in
// parts, sweep when nothing is due, drain the half of one real server, and sweep when all is due. What is printed beside the times: the
// table's bytes per connection, and by how much the process itself grew (RssAnon: the table is not its own).
func BenchmarkTenMillion(b *testing.B) {
	const flows = 10_000_000
	p := largePlane(b, flows)
	for b.Loop() {
		before := anonymous(b)
		kernel, made := measure(b, flows), p.fill(b, flows)
		kernel("fill-ns/conn")
		if made < flows*999/1000 {
			b.Fatalf("%d of %d connections were made", made, flows)
		}
		most := p.list(b, made, measure(b, made))
		p.ends(b, "sweep-ns/conn", 0, made, p.Sweep)
		p.ends(b, "drain-ns/conn", made/2, made, func() (int, error) { return p.forgetReal() })
		if err := p.Travel(time.Hour); err != nil {
			b.Fatal(err)
		}
		p.expire(b, made-made/2)
		b.ReportMetric(float64(len(p.table)+8*len(p.table)/4096)/float64(made), "B/conn")
		b.ReportMetric(float64(max(most, anonymous(b))-before)/1e6, "MB-grown")
		if grown := max(most, anonymous(b)) - before; grown > 32e6 {
			b.Errorf("the process grew by %d bytes", grown)
		}
	}
}

// large is a plane with one UDP service of two real servers.
type large struct{ *Plane }

func largePlane(b *testing.B, flows int) large {
	b.Helper()
	dir := "/sys/fs/bpf/large" + strconv.Itoa(os.Getpid()) + "/one"
	p, err := Open(Options{PinDir: dir, TableSize: uint32(flows) * 3 / 2})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Remove(); err != nil {
			b.Error(err)
		}
		os.Remove("/sys/fs/bpf/large" + strconv.Itoa(os.Getpid()))
	})
	if err := p.Apply([]plane.Op{{Verb: plane.AddService, Service: planetest.DNS}, {Verb: plane.AddReal, Service: planetest.DNS, Real: planetest.Server(12, 1)},
		{Verb: plane.AddReal, Service: planetest.DNS, Real: planetest.Server(13, 1)}}); err != nil {
		b.Fatal(err)
	}
	if err := p.SetLink(1, ourMAC, true); err != nil {
		b.Fatal(err)
	}
	for _, a := range p.Hops() {
		if err := p.SetHop(a, Hop{Ifindex: 1, Src: ourMAC, Dst: realMAC}); err != nil {
			b.Fatal(err)
		}
	}
	return large{p}
}

// measure says how long something took for each of n.
func measure(b *testing.B, n int) func(unit string) {
	start := time.Now()
	return func(unit string) { b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n), unit) }
}

// fill sends a datagram of each client, on every CPU, and says how many connections there are.
func (p large) fill(b *testing.B, flows int) (made int) {
	b.Helper()
	datagram := udpFrame()
	var wg sync.WaitGroup
	cpus := runtime.NumCPU()
	for c := range cpus {
		wg.Go(func() {
			f := bytes.Clone(datagram)
			o := ebpf.RunOptions{Data: f}
			for i := c; i < flows; i += cpus {
				binary.BigEndian.PutUint32(f[26:], 0x0b000000+uint32(i))
				if _, err := p.progs[bpf.LbProgLb].Run(&o); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return p.live(b)
}

func (p large) live(b *testing.B) (n int) {
	b.Helper()
	pools, err := p.Read()
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range pools[0].Reals {
		n += int(r.Active + r.Inactive)
	}
	return n
}

// udpFrame is a datagram without data to planetest.DNS. Nobody here looks at a header's checksum.
func udpFrame() []byte {
	to := planetest.DNS.Addr
	b := append(append(append([]byte{}, ourMAC[:]...), routerMAC[:]...), 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 11, 0, 0, 0)
	b = append(b, to.Addr().AsSlice()...)
	return append(b, 0x20, 0, byte(to.Port()>>8), byte(to.Port()), 0, 8, 0, 0)
}

// list visits all, part by part, and returns the most memory that it saw.
func (p large) list(b *testing.B, made int, done func(string)) (most int64) {
	b.Helper()
	var first netip.AddrPort
	n, parts, err := 0, 0, error(nil)
	for cursor := 0; cursor >= 0 && err == nil; parts++ {
		cursor, err = p.ConnsFrom(cursor, func(c lb.Conn) {
			if n++; n == 1 {
				first = c.Client
			}
		})
		if parts%16 == 0 {
			most = max(most, anonymous(b))
		}
	}
	done("list-ns/conn")
	if n != made || err != nil || !first.IsValid() {
		b.Errorf("%d connections are listed, %d are counted: %v", n, made, err)
	}
	return most
}

// ends ends connections and compares their number.
func (p large) ends(b *testing.B, unit string, want, of int, how func() (int, error)) {
	b.Helper()
	done := measure(b, of)
	n, err := how()
	done(unit)
	if err != nil || n != want {
		b.Errorf("%s: %d connections ended, want %d: %v", unit, n, want, err)
	}
}

// expire sweeps when all is due. The timer does the same meanwhile, so that not every one is for this sweep to end.
func (p large) expire(b *testing.B, of int) {
	b.Helper()
	start := time.Now()
	n, err := p.Sweep()
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(max(n, 1)), "expiry-ns/conn")
	if left := p.live(b); err != nil || n > of || left != 0 {
		b.Errorf("%d of %d connections ended, %d live on: %v", n, of, left, err)
	}
}

// forgetReal ends the connections of the first real server, as the daemon does when nothing may wait for them.
func (p large) forgetReal() (int, error) {
	o := bpf.LbOrder{Real: p.services[planetest.DNS.ServiceKey].reals[0].index}
	frame, err := binary.Append(nil, binary.NativeEndian, o)
	if err != nil {
		return 0, err
	}
	err = p.run(bpf.LbProgForget, frame, &o)
	return int(o.Done), err
}

// anonymous is the memory that is this process's alone, in bytes.
func anonymous(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte("RssAnon:"))
	if _, err := fmt.Sscanf(string(rest), "%d kB", &n); err != nil {
		b.Fatalf("RssAnon: %v", err)
	}
	return n * 1024
}
