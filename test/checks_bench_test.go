package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	checkedReals = 10_000
	checkedTime  = 20 * time.Second
)

// noIPVS are the functions of libnl by which keepalived speaks to the kernel's IPVS, which most kernels of test machines do not
// have: each call is acknowledged and does nothing. All else is keepalived's own, and once its services are set up it calls none
// of them as long as every check succeeds.
const noIPVS = `typedef int (*call)(void *msg, void *arg);
static call on[16];
static void *with[16];
int nl_socket_modify_cb(void *s, unsigned type, int kind, call fn, void *arg)
{
	if (type < 16) {
		on[type] = fn;
		with[type] = arg;
	}
	return 0;
}
int genl_connect(void *s) { return 0; }
int genl_ctrl_resolve(void *s, const char *name) { return 32; }
int nl_send_auto(void *s, void *m) { return 1; }
int nl_recvmsgs_default(void *s)
{
	if (on[1]) /* NL_CB_FINISH */
		on[1](0, with[1]);
	if (on[4]) /* NL_CB_ACK */
		on[4](0, with[4]);
	return 0;
}
`

// TestChecksBesideKeepalived has keepalived and vipd, one after the other, check the same 10,000 real servers each second with
// TCP_CHECK, and tells what a check costs each, how much memory they have, and how late their checks come. The latter the real
// servers see: from one connection to the next it should be an interval.
func TestChecksBesideKeepalived(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 5*time.Minute, "keepalived", "gcc") {
		return
	}
	dir := t.TempDir()
	source, shim := filepath.Join(dir, "shim.c"), filepath.Join(dir, "shim.so")
	file := filepath.Join(dir, "checks.conf")
	for name, text := range map[string]string{source: noIPVS, file: checkedConfig()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", shim, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for n, k := range []kind{theirs, ours} {
		args := []string{program(), "run", "--instance", "checks", "-f", file}
		if k == theirs {
			args = []string{"keepalived", "-n", "-l", "-C", "-f", file, "-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "cpid")}
		}
		beChecked(t, k, fmt.Sprintf("checks%d", n), exec.Command(args[0], args[1:]...), "LD_PRELOAD="+map[kind]string{theirs: shim}[k])
	}
}

// beChecked runs a program in a host of its own, and tells the figures.
func beChecked(t *testing.T, k kind, host string, cmd *exec.Cmd, env string) {
	if out, err := exec.Command("sh", "-c", fmt.Sprintf("ip netns add fwd-%s && ip -n fwd-%[1]s link set lo up", host)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &checked{last: make([]time.Time, checkedReals)}
	if err := in(t, host, s.listen); err != nil {
		t.Fatal(err)
	}
	defer s.end()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), env)
	if err := in(t, host, cmd.Start); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	defer func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }()
	for s.seen() < checkedReals {
		if time.Since(began) > 90*time.Second {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s has checked %d of %d\n%.2000s", k, s.seen(), checkedReals, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	n := &node{cmd: cmd}
	s.reset()
	before, from := ranFor(t, n), time.Now()
	time.Sleep(checkedTime)
	used, took := ranFor(t, n)-before, time.Since(from)
	all := s.reset()
	text, err := os.ReadFile(log.Name())
	if err != nil || strings.Contains(string(text), "failed") || strings.Contains(string(text), "ERROR") {
		t.Errorf("%v\n%.2000s", err, text)
	}
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() }
	over := len(all) - func() int { i, _ := slices.BinarySearch(all, time.Second/10); return i }()
	t.Logf("%-10s %5.0f checks/s, %4.1f µs of processor time each, %3d MiB of its own; late by %.1f %% of the interval (median), %.1f %% (99 of 100), %.1f %% (worst); by more than 10 %%: %d of %d",
		k, float64(len(all))/took.Seconds(), float64(used.Microseconds())/float64(len(all)), ownMemory(t, n)>>10,
		percent(all[len(all)/2]), percent(all[len(all)*99/100]), percent(all[len(all)-1]), over, len(all))
}

// ranFor is what the threads of a node's processes have been on a processor for (proc(5), schedstat).
func ranFor(t *testing.T, n *node) (sum time.Duration) {
	t.Helper()
	for _, pid := range pidsOf(n) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range threads {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			on, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(on)
		}
	}
	return sum
}

// ownMemory is what the node's processes have in memory and share with nobody, in KiB: neither libraries nor the kernel's tables,
// which vipd maps.
func ownMemory(t *testing.T, n *node) (sum int) {
	t.Helper()
	for _, pid := range pidsOf(n) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), "RssAnon:")
		kib, err := strconv.Atoi(strings.Fields(rest + " -")[0])
		if !ok || err != nil {
			t.Fatalf("no RssAnon: %v", err)
		}
		sum += kib
	}
	return sum
}

// checkedConfig has services of 500 real servers.
func checkedConfig() string {
	var b strings.Builder
	for i := range checkedReals {
		if i%500 == 0 {
			fmt.Fprintf(&b, "virtual_server 10.9.9.%d 80 {\n\tlb_algo rr\n\tlb_kind NAT\n\tprotocol TCP\n\tdelay_loop 1\n\twarmup 1\n", 1+i/500)
		}
		fmt.Fprintf(&b, "\treal_server 127.1.%d.%d 8080 {\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n", i>>8, i&255)
		if i%500 == 499 {
			b.WriteString("}\n")
		}
	}
	return b.String()
}

// checked are the real servers: one socket for all of their addresses.
type checked struct {
	fd   int
	both sync.WaitGroup

	mu   sync.Mutex
	last []time.Time // by real server
	had  int         // of them
	late []time.Duration
}

func (s *checked) listen() (err error) {
	if s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Port: 8080}); err != nil {
		return err
	}
	if err := unix.Listen(s.fd, 4096); err != nil {
		return err
	}
	for range 2 {
		s.both.Go(s.accept)
	}
	return nil
}

func (s *checked) accept() {
	for {
		fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		now := time.Now()
		name, _ := unix.Getsockname(fd)
		unix.Close(fd)
		if at, ok := name.(*unix.SockaddrInet4); ok {
			s.note(now, int(at.Addr[2])<<8|int(at.Addr[3]))
		}
	}
}

func (s *checked) note(now time.Time, real int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.last[real]; !was.IsZero() {
		s.late = append(s.late, now.Sub(was)-time.Second)
	} else {
		s.had++
	}
	s.last[real] = now
}

func (s *checked) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.had
}

// reset returns how late the checks since the last reset were, in order.
func (s *checked) reset() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(slices.Values(s.late))
	s.late = nil
	return all
}

func (s *checked) end() {
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	s.both.Wait()
	unix.Close(s.fd)
}
