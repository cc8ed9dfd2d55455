package vm

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/vm"
)

//go:embed testdata/synccost.sh
var syncCostScript string

const (
	syncRate   = 20_000          // connections that begin or change in a second of the machine's clock
	syncFor    = 2               // seconds
	syncSettle = 3 * time.Second // the kernel tells what does not fill a datagram after 2 s
	syncTable  = "262144"        // connections that vipd's table is made for; three quarters of them come
)

// TestWhatTellingAndLearningCostBesideTheKernel has the kernel's daemons tell vipd of connections, and vipd the kernel's, on a clock that
// counts the guest's instructions. It says what a connection costs who tells and who learns: the same connections and datagrams both ways.
//
// Of the kernel a part of telling is in the way of the packets, on account of who sends them here. It is what the whole machine works more
// than without a daemon, less the daemon's thread; with vipd, whose packets do not know of any telling, that is what else the telling costs.
func TestWhatTellingAndLearningCostBesideTheKernel(t *testing.T) {
	inside := os.Getenv(need.InVM) != ""
	if !inside && os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	binary := ""
	if !inside {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ipvsadm", "ethtool"}, Modules: []string{"bridge"}, Script: syncCostScript, CountInstructions: true,
		Memory: 2048, Limit: time.Hour, Files: map[string]string{"/vm/vipd": binary}}) {
		return
	}
	s := newSyncCost(t)
	size, _, _ := strings.Cut(s.list(s.kernel), "\n")
	t.Logf("%s: %s", s.kernel.name, size)
	for _, tells := range []*teller{s.kernel, s.ours} {
		learns := s.kernel
		if tells == s.kernel {
			learns = s.ours
		}
		s.compare(tells, learns)
	}
}

// syncCost is the measurement.
type syncCost struct {
	*testing.T
	kernel, ours *teller
	fd           int
	frame        []byte
	clients      uint32 // those that have come so far
}

// teller is a director.
type teller struct {
	name    string
	mac     mac
	ipvsadm []string
	used    func(part string) time.Duration // by the threads of its sync daemon, or by all of it
}

// work is what a while took: the threads of who tells and of who learns, and all processors.
type work struct{ long, tells, learns, all time.Duration }

// less is what w is beyond o.
func (w work) less(o work) work {
	return work{tells: w.tells - o.tells, learns: w.learns - o.learns, all: w.all - o.all}
}

func newSyncCost(t *testing.T) *syncCost {
	s := &syncCost{T: t}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/vm/vipd", "run", "--no-config", "--interface", "eth0", "--connections", syncTable)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
		if said, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("vipd said:\n%s", said)
		}
	})
	s.kernel = &teller{"kernel IPVS", mac{2, 0, 0, 0, 0, 2}, []string{"ip", "netns", "exec", "k", "ipvsadm"}, s.threads}
	s.ours = &teller{"vipd", mac{2, 0, 0, 0, 0, 3}, []string{"/vm/vipd", "ipvsadm"}, func(string) time.Duration {
		used, _ := costOf(t, cmd.Process.Pid)
		return used
	}}
	for began := time.Now(); exec.Command("/vm/vipd", "status").Run() != nil; time.Sleep(lookAgain) {
		if time.Since(began) > moveBound {
			t.Fatal("vipd does not start")
		}
	}
	must(t, "/vm/vipd", "sysctl", "sync_threshold=0 1")
	for _, d := range []*teller{s.kernel, s.ours} {
		s.ipvsadm(d, "-A -t 10.0.8.9:80 -s rr")
		s.ipvsadm(d, "-a -t 10.0.8.9:80 -r 10.0.8.11:80 -g")
	}
	time.Sleep(5 * time.Second) // a real server's neighbour is looked up meanwhile
	if err := in("s", s.open); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

func (s *syncCost) ipvsadm(d *teller, line string) {
	s.Helper()
	must(s.T, append(d.ipvsadm, strings.Fields(line)...)...)
}

// open makes the socket that frames are sent by.
func (s *syncCost) open() error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64}), 1024)
	s.frame = segment{proto: lb.TCP, from: from, to: netip.MustParseAddrPort("10.0.8.9:80"), event: syn}.frame(mac{2, 0, 0, 0, 0, 1})
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
}

// compare measures one way, and prints it.
func (s *syncCost) compare(tells, learns *teller) {
	s.Helper()
	measure := func(do func()) work { return s.measure(tells, learns, do) }
	kinds := []struct {
		name string
		made int
		play func()
	}{{"a new connection", syncFor * syncRate, func() { s.begin(tells) }}, {"a change of one", 2 * syncFor * syncRate, func() { s.change(tells) }}}
	play := func() (w [2]work) {
		for i, k := range kinds {
			w[i] = measure(k.play)
		}
		return w
	}
	const start = "--start-daemon master --mcast-interface eth0 --syncid 7"
	before := play()
	s.ipvsadm(tells, start)
	time.Sleep(syncSettle)
	alone := play()
	s.ipvsadm(tells, "--stop-daemon master")
	time.Sleep(syncSettle)
	after := play() // tables have grown meanwhile
	s.ipvsadm(tells, start)
	time.Sleep(syncSettle)
	s.ipvsadm(learns, "--start-daemon backup --mcast-interface eth0 --syncid 7")
	time.Sleep(syncSettle)
	idle := measure(func() { time.Sleep(2 * syncSettle) })
	s.Logf("%s tells, %s learns", tells.name, learns.name)
	for i, k := range kinds {
		n, there := -s.counted(tells), -s.conns(learns)
		both := measure(k.play)
		n += s.counted(tells)
		there += s.conns(learns)
		least := k.made * 99 / 100
		if tells == s.ours && i == 1 {
			least = k.made / 2 // of what changes twice between two looks one change is told
		}
		if n < uint64(least) || n > uint64(k.made) || i == 0 && there != int(n) {
			s.Errorf("%s: %d were told or learned of %d, who learns has %d more", k.name, n, k.made, there)
		}
		each := func(d time.Duration) time.Duration { return d / time.Duration(n) }
		without := (before[i].all + after[i].all) / 2
		elsewhere := alone[i].all - without - alone[i].tells + (before[i].tells+after[i].tells)/2
		part := float64(both.long) / float64(idle.long)
		s.Logf("%-16s: who tells %6d ns, %6d of it without changes, %6d (+-%d) more elsewhere; who learns %6d, %6d of it without changes", k.name, each(both.tells),
			each(time.Duration(part*float64(idle.tells))), each(elsewhere), each((after[i].all-before[i].all).Abs()/2), each(both.learns),
			each(time.Duration(part*float64(idle.learns))))
	}
	s.Logf("a look at vipd's table with %d connections takes %s", s.conns(s.ours), time.Duration(s.sync().LookNanos))
	s.ipvsadm(learns, "--stop-daemon backup")
	s.ipvsadm(tells, "--stop-daemon master")
	time.Sleep(syncSettle)
}

func (s *syncCost) list(d *teller) string {
	s.Helper()
	out, err := exec.Command(d.ipvsadm[0], append(slices.Clone(d.ipvsadm[1:]), "-ln")...).Output()
	if err != nil {
		s.Fatal(err)
	}
	return string(out)
}

// conns is how many connections a director counts.
func (s *syncCost) conns(d *teller) (n int) {
	s.Helper()
	for line := range strings.Lines(s.list(d)) {
		if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(f[1], "10.") {
			active, err1 := strconv.Atoi(f[4])
			inactive, err2 := strconv.Atoi(f[5])
			if err := errors.Join(err1, err2); err != nil {
				s.Fatal(err)
			}
			n += active + inactive
		}
	}
	return n
}

// counted is how many connections were told or learned by vipd.
func (s *syncCost) counted(tells *teller) uint64 {
	s.Helper()
	if tells == s.ours {
		return s.sync().Told
	}
	return s.sync().Learned
}

func (s *syncCost) sync() *control.Sync {
	s.Helper()
	out, err := exec.Command("/vm/vipd", "status", "-o", "json").Output()
	var st control.Status
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err != nil || st.Sync == nil {
		s.Fatalf("status: %v, %+v", err, st.Sync)
	}
	return st.Sync
}

func (s *syncCost) measure(tells, learns *teller, do func()) work {
	s.Helper()
	now := func() work {
		time.Sleep(20 * time.Millisecond) // who runs is accounted when he is put aside
		return work{tells: tells.used("m"), learns: learns.used("b"), all: s.busy()}
	}
	began, before := time.Now(), now()
	do()
	w := now().less(before)
	w.long = time.Since(began)
	return w
}

// threads is what the kernel's sync daemons of a part have used ("ipvs-m:0:0" tells, "ipvs-b:0:0" learns).
func (s *syncCost) threads(part string) (used time.Duration) {
	s.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range all {
		if name, _ := os.ReadFile(file); !strings.HasPrefix(string(name), "ipvs-"+part+":") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "schedstat"))
		if err != nil {
			s.Fatal(err)
		}
		var nanoseconds time.Duration
		if _, err := fmt.Sscan(string(text), &nanoseconds); err != nil {
			s.Fatal(err)
		}
		used += nanoseconds
	}
	return used
}

// busy is the time that all processors have worked.
func (s *syncCost) busy() (total time.Duration) {
	s.Helper()
	text, err := os.ReadFile("/proc/schedstat")
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "cpu") && len(f) > 7 { // Documentation/scheduler/sched-stats.rst
			n, err := strconv.Atoi(f[7])
			if err != nil {
				s.Fatal(err)
			}
			total += time.Duration(n)
		}
	}
	return total
}

// begin opens connections of clients that have none.
func (s *syncCost) begin(at *teller) {
	s.Helper()
	const n = syncFor * syncRate
	s.send(at, s.clients, n, syncFor*time.Second, syn, ack)
	s.clients += n
	time.Sleep(syncSettle)
}

// change closes and opens the last ones, as long each as it takes vipd to look at its table.
func (s *syncCost) change(at *teller) {
	s.Helper()
	const n = syncFor * syncRate
	for _, flags := range [][]byte{{fin}, {syn, ack}} {
		s.send(at, s.clients-n, n, syncFor*time.Second, flags...)
	}
	time.Sleep(syncSettle)
}

// send sends packets with those flags of each of n clients, and takes that long for it.
func (s *syncCost) send(at *teller, first, n uint32, long time.Duration, flags ...byte) {
	s.Helper()
	const ip, tcp = 14, 14 + 20
	began := time.Now()
	copy(s.frame, at.mac[:])
	for i := range n {
		binary.BigEndian.PutUint32(s.frame[ip+12:], 100<<24|64<<16+first+i)
		for _, f := range flags {
			s.frame[tcp+13] = f
			sums(s.frame[ip:])
			if _, err := unix.Write(s.fd, s.frame); err != nil {
				s.Fatal(err)
			}
		}
		if i%100 == 99 {
			time.Sleep(time.Until(began.Add(long * time.Duration(i+1) / time.Duration(n))))
		}
	}
}

// sums writes both checksums of a TCP packet of IPv4 without options.
func sums(b []byte) {
	clear(b[10:12])
	binary.BigEndian.PutUint16(b[10:], ^sum16(b[:20]))
	clear(b[20+16 : 20+18])
	// RFC 9293 3.1: the pseudo header's addresses, protocol and length.
	pseudo := uint32(sum16(b[12:20])) + unix.IPPROTO_TCP + uint32(len(b)-20) + uint32(sum16(b[20:]))
	for pseudo > 0xffff {
		pseudo = pseudo&0xffff + pseudo>>16
	}
	binary.BigEndian.PutUint16(b[20+16:], ^uint16(pseudo))
}
