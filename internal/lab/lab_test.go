package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vipd/internal/need"
)

// TestMain lets the test binary be the program that a lab starts: a web server, a client, or a director that only waits.
func TestMain(m *testing.M) {
	if os.Getenv(MarkVar) != "" {
		os.Exit(standIn(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func standIn(args []string) int {
	var err error
	switch {
	case args[0] == "run":
		time.Sleep(time.Minute)
	case args[1] == "serve":
		err = Serve(context.Background(), args[3], args[5], "", os.Stderr)
	case args[1] == "client":
		cfg := LoadConfig{To: netip.MustParseAddrPort(args[3]), Every: loadEvery, Timeout: loadTimeout, Control: os.Stdin}
		if cfg.From, err = ParseAddrs(args[5]); err == nil {
			err = Load(context.Background(), cfg, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testLab is a lab of its own name, which is gone after the test.
func testLab(t *testing.T) *Lab {
	need.BPF(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("vipdtest%d", os.Getpid())
	l := Named(id, filepath.Join(t.TempDir(), "lab"), id+"-", self, map[string][]byte{"director1": []byte("# 1\n"), "director2": []byte("# 2\n")})
	l.Hold = true
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
		nothingLeft(t, l)
	})
	return l
}

func nothingLeft(t *testing.T, l *Lab) {
	t.Helper()
	if names, _ := filepath.Glob(filepath.Join(netnsDir, l.Name+"*")); len(names) > 0 {
		t.Errorf("namespaces left: %v", names)
	}
	if all, err := members(l.Name); err != nil || len(all) > 0 {
		t.Errorf("processes left: %v (%v)", all, err)
	}
	if _, err := os.Stat(l.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory left: %v", err)
	}
}

// command runs a program inside a host and returns what it said.
func command(t *testing.T, l *Lab, host string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.built.inside(host, cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v: %v\n%s", host, args, err, out.String())
	}
	return out.String()
}

func TestUpBuildsTheSite(t *testing.T) {
	l := testLab(t)
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	ping := need.Tool(t, "ping")
	command(t, l, "client", ping, "-c1", "-W2", "10.0.8.25")
	command(t, l, "director1", ping, "-c1", "-W2", "10.0.8.12")
	command(t, l, "real1", ping, "-c1", "-W2", "10.0.4.111")

	ip := need.Tool(t, "ip")
	for host, want := range map[string]string{
		"real1":  "inet 10.0.8.9/32 scope global lo",
		"client": "inet 10.0.4.111/24",
		"router": "link/ether 02:00:0a:00:04:01",
		"switch": "xdp", // at the port of a director
	} {
		if got := command(t, l, host, ip, "addr"); !strings.Contains(got, want) {
			t.Errorf("%s has no %q:\n%s", host, want, got)
		}
	}
	if got := command(t, l, "real1", ip, "-6", "addr"); got != "" {
		t.Errorf("IPv6 in a real server: %s", got)
	}
	if got := command(t, l, "client", need.Tool(t, "ethtool"), "-k", "eth0"); !strings.Contains(got, "tx-checksumming: off") {
		t.Errorf("checksum offload of the client: %s", got)
	}
}

// Direct routing stands on this: nobody but a director may answer for the virtual IP.
func TestRealServersDoNotAnswerForTheVirtualIP(t *testing.T) {
	l := testLab(t)
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	err := l.built.inside("router", func() error {
		_, err := get(siteInside, l.VIP, time.Now().Add(300*time.Millisecond))
		return err
	})
	if err == nil || reason(err) != "timeout" {
		t.Errorf("a request to the virtual IP without a director: %v", err)
	}
}

func TestSecondUpReplacesTheFirst(t *testing.T) {
	l := testLab(t)
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	first := l.procs["real1"]
	again := Named(l.Name, l.Dir, l.Instances, l.Program, l.Configs)
	if err := again.Up(); err != nil {
		t.Fatal(err)
	}
	if first.alive() {
		t.Error("the first lab's web server lives on")
	}
	if err := again.Down(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, l)
}

func TestDownEndsWhatStandsAfterACrash(t *testing.T) {
	l := testLab(t)
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	// Another process, which knows nothing but the name, opens it and takes it down.
	other := Named(l.Name, l.Dir, l.Instances, l.Program, nil)
	if err := other.Open(); err != nil {
		t.Fatal(err)
	}
	if _, ok := other.running("director2"); !ok {
		t.Error("the director is not found")
	}
	if err := other.Signal("real2", syscall.SIGKILL, grace); err != nil {
		t.Error(err)
	}
	if _, ok := other.running("real2"); ok {
		t.Error("the web server lives on")
	}
	if err := other.Down(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, l)
	if err := other.Open(); !errors.Is(err, ErrNoLab) {
		t.Errorf("open after down: %v", err)
	}
}

func TestOnlyOneMayHoldTheLab(t *testing.T) {
	need.Root(t)
	l := Named("x", filepath.Join(t.TempDir(), "lab"), "x-", "", nil)
	held, err := l.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := l.Acquire(); !errors.As(err, &busy) || busy.PID != fmt.Sprint(os.Getpid()) {
		t.Errorf("second holder: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Dir + ".lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lock file left: %v", err)
	}
	again, err := l.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

func TestTrafficIsMeasured(t *testing.T) {
	l := testLab(t)
	l.VIP = netip.MustParseAddrPort("10.0.8.12:80") // one web server instead of a balanced service
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := l.built.inside("client", func() error {
		for {
			_, err := get(l.Clients[0], l.VIP, time.Now().Add(time.Second))
			if err == nil || sleep(ctx, 20*time.Millisecond) != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := l.startTraffic(l.Clients[:2])
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	if err := sleep(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	middle := time.Now()
	if err := tr.settle(ctx, middle); err != nil {
		t.Fatal(err)
	}
	if f := tr.figures(from, middle); f.Requests < 5 || f.Failed > 0 || f.ByReal["10.0.8.12"] != f.Requests || len(f.ByClient) != 2 {
		t.Errorf("healthy: %+v", f)
	}
	if err := l.Signal("real2", syscall.SIGKILL, grace); err != nil {
		t.Fatal(err)
	}
	if err := tr.use(l.Clients[2:3]); err != nil {
		t.Fatal(err)
	}
	dead := time.Now().Add(50 * time.Millisecond)
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	if err := tr.settle(ctx, end); err != nil {
		t.Fatal(err)
	}
	if f := tr.figures(dead, end); f.Requests == 0 || f.Failed != f.Requests || f.ByError["connection refused"] != f.Failed || f.LongestGap < 250*time.Millisecond {
		t.Errorf("dead: %+v", f)
	}
	if err := tr.stop(); err != nil {
		t.Error(err)
	}
}
