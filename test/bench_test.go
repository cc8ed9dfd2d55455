package test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/lab"
	"vipd/internal/need"
)

var (
	benchRequests = flag.Int("requests", 6000, "BenchmarkEndToEnd: requests in a round")
	benchRounds   = flag.Int("rounds", 5, "BenchmarkEndToEnd: rounds that the balancers take turns in")
	benchJSON     = flag.String("figures", "", "BenchmarkEndToEnd: also write the figures to this file")
)

const (
	benchClients = 32 // at a time
	benchVirtual = "10.0.8.9:80"
	benchReal    = "10.0.8.12:80"
	benchAnswer  = 1024 // bytes

	benchPatience = 20 * time.Second // on a machine that is busy; what waits costs no processor time
)

// benchNetwork is as the network of the forwarding tests, with a second cable by which a real server answers its client
// itself, as it does behind direct routing. The virtual address is on the director for the proxies, and on the real server.
const benchNetwork = `set -e
for h in client director real; do ip netns add e2e-$h; ip -n e2e-$h link set lo up; done
ip link add eth0 netns e2e-client type veth peer name eth0 netns e2e-director
ip link add eth0 netns e2e-real type veth peer name eth1 netns e2e-director
ip link add eth1 netns e2e-client type veth peer name eth1 netns e2e-real
ip -n e2e-client addr add 10.0.4.102/24 dev eth0
ip -n e2e-client addr add 10.0.9.102/24 dev eth1
ip -n e2e-director addr add 10.0.4.1/24 dev eth0
ip -n e2e-director addr add 10.0.8.25/24 dev eth1
ip -n e2e-real addr add 10.0.8.12/24 dev eth0
ip -n e2e-real addr add 10.0.9.12/24 dev eth1
ip -n e2e-real addr add 10.0.8.9/32 dev lo
ip -n e2e-director addr add 10.0.8.9/32 dev lo
for h in client director real; do
	ip netns exec e2e-$h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1 net.ipv4.ip_local_port_range='1024 65000'
	for e in eth0 eth1; do
		ip netns exec e2e-$h sysctl -qw net.ipv4.conf.$e.rp_filter=0
		ip -n e2e-$h link set $e up
		ip netns exec e2e-$h ethtool -K $e tx off gro on >/dev/null
	done
done
ip netns exec e2e-real sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip -n e2e-client route add 10.0.8.0/24 via 10.0.4.1
ip -n e2e-real route add 10.0.4.0/24 via 10.0.8.25 # behind NAT; direct routing answers by the other cable
`

// balancer is one way from the client to the real server. Its command runs on the director.
type balancer struct {
	name     string
	at       string // what the client asks
	config   string
	command  func(file string) []string
	direct   bool // the real server answers by its own cable
	process  *exec.Cmd
	requests map[string]rate
}

// rate is what a second of processor time answers.
type rate struct {
	PerSecond float64 `json:"requests_per_cpu_second"`
	CPU       float64 `json:"cpu_us_per_request"`
	Above     float64 `json:"cpu_us_per_request_above_no_balancer"`
}

func benchVipd(file string) []string {
	return []string{os.Getenv("VIPD"), "run", "--instance", "e2e", "--interface", "eth0", "--interface", "eth1", "-f", file}
}

func balancers() []*balancer {
	service := func(kind string) string {
		return "virtual_server 10.0.8.9 80 {\n lb_algo rr\n lb_kind " + kind + "\n protocol TCP\n real_server 10.0.8.12 80 {\n }\n}\n"
	}
	return []*balancer{
		{name: "none", at: benchReal},
		{name: "vipd DR", at: benchVirtual, direct: true, config: service("DR"), command: benchVipd},
		{name: "vipd NAT", at: benchVirtual, config: service("NAT"), command: benchVipd},
		{name: "HAProxy, TCP", at: benchVirtual, config: `global
 nbthread 1
 maxconn 4000
defaults
 mode tcp
 timeout connect 5s
 timeout client 30s
 timeout server 30s
listen web
 bind 10.0.8.9:80
 server one 10.0.8.12:80
`, command: func(file string) []string { return []string{"haproxy", "-db", "-f", file} }},
		{name: "nginx stream", at: benchVirtual, config: `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid PIDFILE;
error_log stderr;
events { worker_connections 4000; }
stream {
 upstream web { server 10.0.8.12:80; }
 server { listen 10.0.8.9:80; proxy_pass web; }
}
`, command: func(file string) []string { return []string{"nginx", "-e", "stderr", "-c", file} }},
	}
}

// BenchmarkEndToEnd asks a real server through each balancer in turn, over cables of namespaces, and says how many requests
// a second of processor time answers: the client's, the server's and the balancer's together, which is where the packets of a
// balancer in the kernel are worked on too. The round that cost least counts.
func BenchmarkEndToEnd(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is a whole measurement: use -benchtime 1x")
	}
	need.BPF(b)
	if os.Getenv("VIPD") == "" {
		b.Fatal("VIPD must be the path of the program")
	}
	for _, tool := range []string{"ip", "ethtool", "haproxy", "nginx"} {
		need.Tool(b, tool)
	}
	benchShell(b, benchNetwork)
	b.Cleanup(func() { benchShell(b, "for h in client director real; do ip netns del e2e-$h; done") })
	serveBench(b)
	all := balancers()
	kinds := []struct {
		name          string
		perConnection int
	}{{"a connection for each request", 1}, {"100 requests on a connection", 100}}
	for range *benchRounds {
		for _, one := range all {
			one.run(b, func() {
				for _, kind := range kinds {
					one.measure(b, kind.name, kind.perConnection)
				}
			})
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	figures := map[string]map[string]rate{}
	for _, kind := range kinds {
		fmt.Fprintf(t, "\n%s\trequests per CPU second\tCPU µs each\tabove none\t\n", kind.name)
		none := all[0].requests[kind.name]
		figures[kind.name] = map[string]rate{}
		for _, one := range all {
			r := one.requests[kind.name]
			r.Above = r.CPU - none.CPU
			figures[kind.name][one.name] = r
			fmt.Fprintf(t, "%s\t%.0f\t%.1f\t%.1f\t\n", one.name, r.PerSecond, r.CPU, r.Above)
			b.ReportMetric(r.PerSecond, strings.Join(strings.FieldsFunc(one.name+" "+strconv.Itoa(kind.perConnection), func(r rune) bool { return r == ' ' || r == ',' }), "-")+"-req/cpu-s")
		}
	}
	t.Flush()
	if *benchJSON == "" {
		return
	}
	text, err := json.MarshalIndent(figures, "", "\t")
	if err == nil {
		err = os.WriteFile(*benchJSON, append(text, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchShell(b *testing.B, script string) {
	b.Helper()
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}

// benchIn runs do on a thread in a namespace, which ends with it. Sockets that it opens stay there.
func benchIn(host string, do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := lab.EnterNamespace("e2e-" + host)
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

// serveBench answers every line with as many bytes as it says, until the client has enough.
func serveBench(b *testing.B) {
	b.Helper()
	err := benchIn("real", func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:80")
		if err != nil {
			return err
		}
		var serving sync.WaitGroup
		b.Cleanup(func() { l.Close(); serving.Wait() })
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { answerBench(c) })
			}
		})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func answerBench(c net.Conn) {
	defer c.Close()
	answer, question := make([]byte, benchAnswer), make([]byte, 64)
	for {
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// run starts the balancer, waits until it works, and ends it after do.
func (w *balancer) run(b *testing.B, do func()) {
	b.Helper()
	w.route(b)
	if w.command != nil {
		dir := b.TempDir()
		file := filepath.Join(dir, "config")
		config := strings.ReplaceAll(w.config, "PIDFILE", filepath.Join(dir, "pid")) // nginx removes it at its end
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			b.Fatal(err)
		}
		args := w.command(file)
		w.process = exec.Command(args[0], args[1:]...)
		log := &strings.Builder{}
		w.process.Stdout, w.process.Stderr = log, log
		if err := benchIn("director", w.process.Start); err != nil {
			b.Fatalf("start %s: %v", w.name, err)
		}
		defer func() {
			w.process.Process.Signal(unix.SIGTERM)
			if err := w.process.Wait(); err != nil && w.process.ProcessState.ExitCode() > 0 && w.process.ProcessState.ExitCode() != 143 {
				b.Errorf("%s: %v\n%s", w.name, err, log)
			}
			w.process = nil
		}()
	}
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = benchIn("client", func() error { return w.ask(1) }); err == nil {
			do()
			return
		}
	}
	b.Fatalf("%s does not answer: %v", w.name, err)
}

// route lets the real server's answers go the way that this balancer has for them.
func (w *balancer) route(b *testing.B) {
	b.Helper()
	via := "via 10.0.8.25 dev eth0"
	if w.direct || w.at == benchReal {
		via = "via 10.0.9.102 dev eth1"
	}
	client := "via 10.0.4.1"
	if w.at == benchReal {
		client = "via 10.0.9.12 dev eth1"
	}
	benchShell(b, "ip -n e2e-real route replace 10.0.4.0/24 "+via+"; ip -n e2e-client route replace 10.0.8.12/32 "+client+" src 10.0.4.102")
}

// ask makes one connection and that many requests on it. The server is the one that closes last, so that no port waits.
func (w *balancer) ask(requests int) error {
	c, err := net.DialTimeout("tcp4", w.at, benchPatience)
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(benchPatience))
	question, answer := make([]byte, 64), make([]byte, benchAnswer)
	for range requests {
		if _, err = c.Write(question); err == nil {
			_, err = io.ReadFull(c, answer)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, c.Close())
}

// measure sends a round of requests, and keeps the rate if it is the best so far.
func (w *balancer) measure(b *testing.B, kind string, perConnection int) {
	b.Helper()
	before := w.processorTime(b)
	var left atomic.Int64
	left.Store(int64(*benchRequests / perConnection))
	errs := make([]error, benchClients)
	var clients sync.WaitGroup
	for i := range errs {
		clients.Go(func() {
			errs[i] = benchIn("client", func() error {
				for left.Add(-1) >= 0 {
					if err := w.ask(perConnection); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	clients.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatalf("%s: %v", w.name, err)
	}
	spent := (w.processorTime(b) - before).Seconds()
	requests := float64(*benchRequests / perConnection * perConnection)
	if w.requests == nil {
		w.requests = map[string]rate{}
	}
	if r := (rate{PerSecond: requests / spent, CPU: spent / requests * 1e6}); r.PerSecond > w.requests[kind].PerSecond {
		w.requests[kind] = r
	}
}

// processorTime is what this process (client and server), the balancer, and the threads have used that work on packets nobody
// has time for.
func (w *balancer) processorTime(b *testing.B) time.Duration {
	b.Helper()
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	pids, err := os.ReadDir("/proc")
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range pids {
		text, err := os.ReadFile("/proc/" + p.Name() + "/stat")
		if err != nil {
			continue // no process, or gone
		}
		name, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // from the third field on; proc_pid_stat(5)
		ours := w.process != nil && slices.Contains([]string{strings.Fields(name)[0], f[1], f[2]}, strconv.Itoa(w.process.Process.Pid))
		if len(f) < 13 || !ours && !strings.Contains(name, "(ksoftirqd/") {
			continue
		}
		user, err1 := strconv.Atoi(f[11])
		system, err2 := strconv.Atoi(f[12])
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		total += time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
	}
	return total
}
