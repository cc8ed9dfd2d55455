package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// byName is the binary under test called by the name keepalived.
func byName(args ...string) *exec.Cmd {
	cmd := exec.Command(program(), args...)
	cmd.Args[0] = "keepalived"
	return cmd
}

// TestKeepalivedByName: what an init script does with keepalived: started, it comes back when it runs in the background; the pid
// file leads to it; a second start is refused; the signals are keepalived's.
func TestKeepalivedByName(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	dir := t.TempDir()
	file := write(t, dir, "owner.conf", strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1))
	pids := filepath.Join("/run", "keepalived.pid")
	if said, err := byName("-D", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("the start: %v\n%s", err, said)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	// It is in force when the start returns; mastership comes a moment later.
	eventually(t, 20*time.Second, "the address is there", func() bool { return strings.Contains(strings.Join(links(t), "\n"), "10.0.8.9/32") })
	if said, err := byName("-D", "-f", file).CombinedOutput(); err == nil || !strings.Contains(string(said), "already running") {
		t.Errorf("a second start: %v\n%s", err, said)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	nothingNew(t, before)
	for _, args := range [][]string{{"-f", filepath.Join(dir, "none.conf")}, {"-f", write(t, dir, "bad.conf", "vrrp_instance A {\n}\n")}} {
		if said, err := byName(args...).CombinedOutput(); err == nil || !strings.Contains(string(said), filepath.Base(args[1])) {
			t.Errorf("a start with %q: %v\n%s", args[1], err, said)
		}
	}
	nothingNew(t, before)
}

// TestSystemdHearsOfIt: READY=1 when it is in force, signs of life, a reload, and its stop.
func TestSystemdHearsOfIt(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	addCables(t)
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(program(), "run", "-f", write(t, t.TempDir(), "site.conf", siteFile(t, "eth0")))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	hears := func(want string) string {
		t.Helper()
		b := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if said := string(b[:n]); strings.HasPrefix(said, want) {
				return said
			}
		}
	}
	if said := hears("READY=1"); !strings.Contains(said, "STATUS=1 VRRP instances, 0 of them master") {
		t.Errorf("%q", said)
	}
	works(t, "status")
	hears("WATCHDOG=1")
	for range 2 {
		works(t, "reload")
		hears("RELOADING=1")
		hears("READY=1")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
