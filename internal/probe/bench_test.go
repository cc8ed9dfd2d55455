package probe

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/loop"
	"vipd/internal/need"
)

// stageVar has this binary play a part of BenchmarkChecks in a process of its own: director or servers.
const stageVar = "VIPD_CHECKS_STAGE"

const (
	benchReals = 10_000
	benchTime  = 20 * time.Second
	benchAt    = 8080
)

// BenchmarkChecks makes 10,000 TCP_CHECKs a second: as many real servers, checked each second, by the machine, its loop and the
// runner as the daemon joins them, in a namespace of their own. The real servers are another process. What is told is the
// process's processor time and memory, and how late checks begin.
func BenchmarkChecks(b *testing.B) {
	need.Root(b)
	for range b.N {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStageOfChecks$", "-test.v")
		cmd.Env = append(os.Environ(), stageVar+"=director")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			var name string
			var value float64
			if n, _ := fmt.Sscanf(strings.TrimSpace(line), "FIGURE %s %g", &name, &value); n == 2 {
				b.ReportMetric(value, name)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

func TestStageOfChecks(t *testing.T) {
	switch os.Getenv(stageVar) {
	case "director":
		directChecks(t)
	case "servers":
		serveChecks(t)
	}
}

// serveChecks takes connections to any address until its standard input ends.
func serveChecks(t *testing.T) {
	l, err := net.Listen("tcp4", fmt.Sprintf(":%d", benchAt))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		})
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	l.Close()
	all.Wait()
}

func directChecks(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	servers := exec.Command(os.Args[0], "-test.run=^TestStageOfChecks$")
	servers.Env = append(os.Environ(), stageVar+"=servers")
	servers.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := servers.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := servers.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := servers.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("servers: %q, %v", line, err)
	}
	service := health.Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}}}
	for i := range benchReals {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), benchAt)
		service.Reals = append(service.Reals, health.Real{Real: lb.Real{Addr: addr, Weight: 1}, Checkers: []health.Checker{{Kind: health.TCPCheck,
			Retry: 3, DelayLoop: time.Second, Warmup: time.Second, DelayBeforeRetry: time.Second, ConnectTimeout: 3 * time.Second}}})
	}
	checks(t, service)
	in.Close()
	_ = servers.Wait()
}

// checks runs the checks of a service and prints the figures.
func checks(t *testing.T, service health.Service) {
	pools := health.New(health.Config{Services: []health.Service{service}}, func(limit time.Duration) time.Duration { return rand.N(limit + 1) })
	runner := NewRunner(nil)
	ends := make([]time.Time, benchReals+1) // by CheckID; the loop's
	var mu sync.Mutex
	var late []time.Duration
	failed := 0
	var owner *loop.Loop
	owner = loop.New(pools, func(time.Time) {
		for _, e := range pools.Take() {
			p, ok := e.(health.Probe)
			if !ok {
				continue
			}
			ended := ends[p.ID]
			runner.Start(p.Checker, func(res health.Result) {
				began := time.Now().Add(-res.Took)
				owner.Send(func(now time.Time) {
					ends[p.ID] = now
					pools.Observe(now, p.ID, res)
				})
				mu.Lock()
				defer mu.Unlock()
				if !res.OK {
					failed++
				}
				if !ended.IsZero() {
					late = append(late, began.Sub(ended)-p.Checker.DelayLoop)
				}
			})
		}
	})
	owner.Coarse(time.Millisecond) // as the daemon's
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { owner.Run(ctx) })
	owner.Do(pools.Start)
	time.Sleep(5 * time.Second) // all have run
	mu.Lock()
	late, failed = nil, 0
	mu.Unlock()
	before, began := processorTime(), time.Now()
	time.Sleep(benchTime)
	used, took := processorTime()-before, time.Since(began)
	mu.Lock()
	made, bad, all := len(late), failed, slices.Sorted(slices.Values(late))
	mu.Unlock()
	runner.Close()
	cancel()
	group.Wait()
	over := len(all) - func() int { i, _ := slices.BinarySearch(all, service.Reals[0].Checkers[0].DelayLoop/10); return i }()
	for name, value := range map[string]float64{
		"checks/s":       float64(made) / took.Seconds(),
		"failed":         float64(bad),
		"processors":     used.Seconds() / took.Seconds(),
		"µs-cpu/check":   float64(used.Microseconds()) / float64(max(made, 1)),
		"MiB":            residentMiB(t),
		"late-10%":       float64(over),
		"latest-ms":      float64(all[len(all)-1].Microseconds()) / 1000,
		"p99.9-late-ms":  float64(all[len(all)*999/1000].Microseconds()) / 1000,
		"median-late-ms": float64(all[len(all)/2].Microseconds()) / 1000,
	} {
		fmt.Printf("FIGURE %s %g\n", name, value)
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentMiB(t *testing.T) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident float64
	_, _ = fmt.Sscan(string(text), &size, &resident)
	return resident * float64(os.Getpagesize()) / (1 << 20)
}
