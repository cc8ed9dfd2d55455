package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
)

// frr is FRR's zebra and vrrpd on node b of a pair. FRR puts no addresses anywhere itself: they are on a virtual MAC, a
// macvlan, that it sets up and down.
type frr struct {
	pair *pair
	wire *frrWire
	dir  string
	// begun is the length of vrrpd's log when it was started last.
	begun int
}

// frrPath is where Debian has FRR's daemons.
const frrPath = "/usr/lib/frr/"

// frrWire is a way of speaking that both know.
type frrWire struct {
	wire
	family, mac, addr string // of the macvlan
	line              string // of FRR's configuration: its address
}

var frrWires = []frrWire{
	{wire{name: "v2"}, "4", "00:00:5e:00:01:33", peerVIP.String() + "/24", "ip " + peerVIP.String()},
	{wire{name: "v3", v3: true}, "4", "00:00:5e:00:01:33", peerVIP.String() + "/24", "ip " + peerVIP.String()},
	{wire{name: "v3 IPv6", v3: true, v6: true}, "6", "00:00:5e:00:02:33", "fd00:9::9/64", "ipv6 fd00:9::9"},
}

// prepareFRR makes the macvlan and starts zebra.
func prepareFRR(t *testing.T, p *pair, w *frrWire, priority int) *frr {
	t.Helper()
	f := &frr{pair: p, wire: w, dir: filepath.Join(p.lab.Dir, "frr")}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir := f.dir; dir != "/" && strings.HasPrefix(dir, os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil { // the daemons are user frr
			break
		}
	}
	vmac := "vrrp" + w.family + "-51"
	f.must(t, "ip", "link", "add", vmac, "link", "eth0", "type", "macvlan", "mode", "bridge")
	f.must(t, "ip", "link", "set", vmac, "address", w.mac)
	if w.v6 {
		f.must(t, "sysctl", "-qw", "net.ipv6.conf."+vmac+".disable_ipv6=0", "net.ipv6.conf."+vmac+".accept_dad=0")
	}
	f.must(t, "ip", "addr", "add", w.addr, "dev", vmac)
	f.must(t, "ip", "link", "set", vmac, "up")
	version := map[bool]int{false: 2, true: 3}[w.v3]
	config := fmt.Sprintf("interface eth0\n vrrp 51 version %d\n vrrp 51 priority %d\n vrrp 51 advertisement-interval %d\n vrrp 51 %s\n",
		version, priority, w.interval().Milliseconds(), w.line)
	for name, text := range map[string]string{"zebra": "", "vrrpd": config} {
		if err := os.WriteFile(f.file(name, ".conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.start(t, "zebra")
	t.Cleanup(func() { f.end(t, "vrrpd"); f.end(t, "zebra") })
	return f
}

func (f *frr) file(daemon, suffix string) string { return filepath.Join(f.dir, daemon+suffix) }

func (f *frr) start(t *testing.T, daemon string) {
	t.Helper()
	f.must(t, frrPath+daemon, "-d", "-f", f.file(daemon, ".conf"), "-i", f.file(daemon, ".pid"), "-z", filepath.Join(f.dir, "zserv.api"),
		"--vty_socket", f.dir, "--log", "file:"+f.file(daemon, ".log"))
}

func (f *frr) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out []byte
	inside(t, f.pair.lab.Namespace("b"), func() (err error) {
		if out, err = exec.Command(name, args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
		}
		return err
	})
	return string(out)
}

func (f *frr) signal(t *testing.T, daemon string, sig syscall.Signal) {
	t.Helper()
	pid, err := f.pid(daemon)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Errorf("signal FRR: %v", err)
	}
}

var frrWent = regexp.MustCompile(`\[VRID 51\] \[IPv(\d)\] \w+ -> (\w+)`)

// is tells what FRR said last that it is since it started: Master, Backup or Initialize.
func (f *frr) is(t *testing.T) (state string) {
	t.Helper()
	log, err := os.ReadFile(f.file("vrrpd", ".log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, m := range frrWent.FindAllSubmatch(log[min(f.begun, len(log)):], -1) {
		if string(m[1]) == f.wire.family {
			state = string(m[2])
		}
	}
	return state
}

// end ends a daemon if it runs.
func (f *frr) end(t *testing.T, daemon string) {
	t.Helper()
	if pid, err := f.pid(daemon); err == nil && syscall.Kill(pid, syscall.SIGTERM) == nil {
		eventually(t, 10*time.Second, daemon+" has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	}
}

func (f *frr) pid(daemon string) (pid int, err error) {
	text, err := os.ReadFile(f.file(daemon, ".pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	return pid, err
}

// frrAct is an act of a story with FRR as b. Empty: it does not run, or is not looked at.
type frrAct struct {
	name         string
	do           func(t *testing.T, p *pair, f *frr)
	ours, theirs string
	within       time.Duration
	turns        string // of ours
}

func ourAct(do func(*testing.T, *pair)) func(*testing.T, *pair, *frr) {
	return func(t *testing.T, p *pair, _ *frr) { do(t, p) }
}

func frrStart(t *testing.T, _ *pair, f *frr) {
	log, _ := os.ReadFile(f.file("vrrpd", ".log")) // there is none at the first start
	f.begun = len(log)
	f.start(t, "vrrpd")
}

func frrSignal(sig syscall.Signal) func(*testing.T, *pair, *frr) {
	return func(t *testing.T, _ *pair, f *frr) { f.signal(t, "vrrpd", sig) }
}

// oursHigher has FRR with the lower priority, theirsHigher with the higher one.
func oursHigher(w *wire) []frrAct {
	x := w.bounds()
	return []frrAct{
		{"FRR, alone, becomes master", frrStart, "", "Master", 10 * time.Second, "-"},
		{"ours preempts", ourAct(start(a)), "MASTER", "Backup", x.high, "a:BM"},
		{"ours is paused: FRR takes over", ourAct(pause(a)), "", "Master", x.low, "-"},
		{"ours goes on: FRR yields", ourAct(resume(a)), "MASTER", "Backup", x.next, "-"},
		{"parted, both are master", ourAct(cut), "MASTER", "Master", x.low, "-"},
		{"joined again, ours wins", ourAct(heal), "MASTER", "Backup", x.heals, "-"},
		{"ours is killed: FRR takes over", ourAct(kill(a)), "", "Master", x.low, "-"},
		{"ours is back and preempts", ourAct(start(a)), "MASTER", "Backup", x.high, "a:BM"},
		{"ours stops: FRR takes over", ourAct(stop(a)), "", "Master", x.skew, "-"},
	}
}

func theirsHigher(w *wire) []frrAct {
	x := w.bounds()
	return []frrAct{
		{"ours, alone, becomes master", ourAct(start(a)), "MASTER", "", x.low, "a:BM"},
		{"FRR preempts", frrStart, "BACKUP", "Master", 10 * time.Second, "a:B"},
		{"FRR is paused: ours takes over", frrSignal(syscall.SIGSTOP), "MASTER", "", x.low, "a:M"},
		{"FRR goes on: ours yields", frrSignal(syscall.SIGCONT), "BACKUP", "Master", x.next, "a:B"},
		{"parted, both are master", ourAct(cut), "MASTER", "Master", x.low, "a:M"},
		{"joined again, FRR wins", ourAct(heal), "BACKUP", "Master", x.heals, "a:B"},
		{"FRR is killed: ours takes over", frrSignal(syscall.SIGKILL), "MASTER", "", x.low, "a:M"},
		{"FRR is back and preempts", frrStart, "BACKUP", "Master", 10 * time.Second, "a:B"},
		{"FRR stops: ours takes over", frrSignal(syscall.SIGTERM), "MASTER", "", x.skew, "a:M"},
	}
}

// TestFRRElectsWithUs plays stories with FRR's vrrpd as the other router: it and vipd agree about who is master.
func TestFRRElectsWithUs(t *testing.T) {
	need.Tool(t, "vtysh")
	if !alone(t, 3*time.Minute, "vtysh") {
		return
	}
	if err := os.MkdirAll("/run/frr", 0o755); err != nil { // which FRR makes, and leaves
		t.Fatal(err)
	}
	before := left(t)
	var table results
	t.Run("stories", func(t *testing.T) {
		for n := range frrWires {
			w := &frrWires[n]
			if wholeMatrix == "" && !w.v3 { // it takes twice as long
				continue
			}
			for m, story := range []func(*wire) []frrAct{oursHigher, theirsHigher} {
				who := [...]string{"ours is higher", "FRR is higher"}[m]
				t.Run(w.name+", "+who, func(t *testing.T) {
					t.Parallel()
					p := newPair(t, fmt.Sprintf("frr%d%d", n, m))
					if w.v6 {
						p.enableIPv6(t)
					}
					p.newNode(t, a, ours, w.config(a, 150-50*m))
					f := prepareFRR(t, p, w, 100+100*m)
					p.watch = startWatch(t, p)
					table.add("%-8s %-14s %s", w.name, who, f.play(t, story(&w.wire)))
				})
			}
		}
	})
	slices.Sort(table.rows)
	t.Logf("times in ms until each act had its result:\n%s", strings.Join(table.rows, "\n"))
	nothingNew(t, before)
}

// play performs the acts and gives their times.
func (f *frr) play(t *testing.T, acts []frrAct) string {
	t.Helper()
	p, us := f.pair, f.pair.nodes[a]
	var times []string
	for _, s := range acts {
		read := p.read(t)
		p.begun = time.Now()
		s.do(t, p, f)
		begin := p.begun
		now, right := f.states(t, s)
		for ; !right && time.Since(begin) < s.within; now, right = f.states(t, s) {
			time.Sleep(5 * time.Millisecond)
		}
		times = append(times, fmt.Sprintf("%5d", time.Since(begin).Milliseconds()))
		if right {
			time.Sleep(f.wire.down(100) + 500*time.Millisecond)
			now, right = f.states(t, s)
		}
		went := p.wentThrough(t, read)
		if !right || went != s.turns {
			log, _ := os.ReadFile(f.file("vrrpd", ".log"))
			t.Fatalf("%s: they are %s, want %s and %s within %s, then and a down time later; ours went %s, want %s\n%s\nFRR:\n%s",
				s.name, now, s.ours, s.theirs, s.within, went, s.turns, us.said(t), log)
		}
		if s.ours != "" {
			if r := us.router(t); len(r.Refused) > 0 {
				t.Errorf("%s: refused %v", s.name, r.Refused)
			}
		}
	}
	return strings.Join(times, " ")
}

// states are what both say of themselves, and whether that is what the act wants.
func (f *frr) states(t *testing.T, s frrAct) (string, bool) {
	t.Helper()
	ours, theirs := "", ""
	for _, m := range entering.FindAllStringSubmatch(f.pair.nodes[a].said(t), -1) {
		ours = m[1]
	}
	if s.theirs != "" {
		theirs = f.is(t)
	}
	return ours + " and " + theirs, (s.ours == "" || ours == s.ours) && theirs == s.theirs
}
