package test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// What this test binary is: the one that `go test` started (neither is set), the first process of a test's own
// machine, or that machine's test.
const (
	stageVar  = "VIPD_TEST_STAGE" // first, or inside
	binaryVar = "VIPD_TEST_BINARY"
)

func TestMain(m *testing.M) {
	switch os.Getenv(stageVar) {
	case "first":
		os.Exit(firstProcess())
	case "inside":
		os.Exit(withState(m))
	}
	flag.Parse()
	if !given("test.parallel") {
		if err := flag.Set("test.parallel", "4"); err != nil { // they mostly wait, on any number of processors
			panic(err)
		}
	}
	code := withState(m)
	if dir := built.dir; dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// given says whether a flag is on the command line.
func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

// withState runs the tests with a folder of their own for what their daemons keep over restarts.
func withState(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vipd-state-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("VIPD_STATE", dir)
	return m.Run()
}

// alone makes a machine of its own for the calling test and runs the test there. It returns true inside it. Outside it
// returns false when everything is over:
//
//	if !alone(t, time.Minute, "ping") {
//		return
//	}
func alone(t *testing.T, limit time.Duration, tools ...string) bool {
	t.Helper()
	if os.Getenv(stageVar) == "inside" {
		return true
	}
	need.BPF(t)
	for _, name := range tools {
		need.Tool(t, name)
	}
	build(t)
	t.Parallel()
	for attempt := 1; ; attempt++ {
		out, err, loaded := runOnStage(t, limit, attempt > 1)
		switch {
		case err != nil && loaded.tooMuch() && attempt < attempts:
			t.Logf("it failed while %s; again, with nothing of this package beside it\n%v\n%s", loaded, err, out)
			continue
		case err != nil:
			t.Errorf("%v (%s)\n%s", err, loaded, out)
		default:
			t.Logf("%s", out)
		}
		return false
	}
}

// runOnStage runs the calling test beside others, or by itself once the machine is calm.
func runOnStage(t *testing.T, limit time.Duration, byItself bool) ([]byte, error, pressure) {
	t.Helper()
	if byItself {
		stage.Lock()
		defer stage.Unlock()
		calm(60 * time.Second)
	} else {
		stage.RLock()
		defer stage.RUnlock()
	}
	loaded := watchLoad()
	out, err := run(t, limit)
	return out, err, loaded()
}

// run runs the calling test on a new machine and returns what it said.
func run(t *testing.T, limit time.Duration) ([]byte, error) {
	t.Helper()
	runtime.LockOSThread() // the parent-death signal is sent when this thread ends
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self(t), "-test.run=^"+t.Name()+"$", "-test.v=true", "-test.parallel=64", "-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), stageVar+"=first", binaryVar+"="+build(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("still running after %s", limit)
	case err == nil && !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		err = errors.New("the test did not run")
	}
	return out, err
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// built is the program under test, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// build makes the binary as the Makefile does and returns its path, which everybody may read and run.
func build(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "vipd-test-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built.dir+"/vipd", ".")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "vipd")
}

// firstProcess prepares a test's machine, starts the test in it and waits for every process that ends, as init does.
// When it returns the kernel ends what is left.
func firstProcess() int {
	runtime.LockOSThread()
	if err := prepareMachine(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare a machine for the test:", err)
		return 1
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), stageVar+"=inside")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "wait for the test:", err)
			return 1
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		case pid == cmd.Process.Pid && status.Signaled():
			fmt.Fprintln(os.Stderr, "the test was ended by", status.Signal())
			return 1
		}
	}
}

// prepareMachine gives the calling process's new namespaces what a machine has: /proc, an empty /run, a BPF file
// system, and lo. Nothing of it is seen outside.
func prepareMachine() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ kind, at, data string }{{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=755"}, {"bpf", "/sys/fs/bpf", "mode=0700"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// outcome is what a command said and how it ended.
type outcome struct {
	stdout, stderr string
	code           int // -1: a signal ended it
}

func (o outcome) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", o.code, o.stdout, o.stderr)
}

// program is the binary under test, in a test's own machine.
func program() string { return os.Getenv(binaryVar) }

// vipd runs the binary under test, for 20 seconds at most.
func vipd(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, exec.Command(program(), args...))
}

// works is vipd for what must succeed; it returns the standard output.
func works(t *testing.T, args ...string) string {
	t.Helper()
	o := vipd(t, args...)
	if o.code != 0 {
		t.Fatalf("vipd %s: %s", strings.Join(args, " "), o)
	}
	return o.stdout
}

// finish runs cmd to its end.
func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	most := 20 * time.Second
	if slices.Contains(cmd.Args, "upgrade") { // it waits for a packet path to be loaded, maybe twice: seconds of a processor each, and more of a busy one
		most = 2 * time.Minute
	}
	late := time.AfterFunc(most, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		t.Errorf("%s did not end within %s", strings.Join(cmd.Args, " "), most)
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
