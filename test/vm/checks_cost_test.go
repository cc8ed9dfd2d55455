package vm

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
	"vipd/internal/vm"
)

const (
	costReals = 1000
	costTime  = 20 * time.Second
)

// TestChecksCostBesideKeepalived has keepalived and vipd check the same 1,000 real servers each second with TCP_CHECK, one after
// the other, on a clock that counts the guest's instructions, and tells what a check costs each and how much memory they have.
func TestChecksCostBesideKeepalived(t *testing.T) {
	inside := os.Getenv(need.InVM) != ""
	if !inside && os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	binary := ""
	if !inside {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "keepalived"}, Script: "modprobe ip_vs", CountInstructions: true, Limit: 20 * time.Minute,
		Files: map[string]string{"/vm/vipd": binary}}) {
		return
	}
	for name, command := range map[string]string{"keepalived": "keepalived -n -l -C -f", "vipd": "/vm/vipd run --data-plane ipvs -f"} {
		must(t, "ip", "netns", "add", name)
		must(t, "ip", "-n", name, "link", "set", "lo", "up")
		var made atomic.Int64
		if err := in(name, func() error { return acceptAll(t, &made) }); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(costConfig()), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"netns", "exec", name}, strings.Fields(command)...)
		cmd := exec.Command("ip", append(args, file)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // all have run
		before, _ := costOf(t, cmd.Process.Pid)
		first := made.Load()
		time.Sleep(costTime)
		after, memory := costOf(t, cmd.Process.Pid)
		checks := made.Load() - first
		if wanted := int64(costReals * costTime / time.Second); checks < wanted*9/10 || checks > wanted*11/10 {
			t.Errorf("%s made %d checks, of %d", name, checks, wanted)
		}
		t.Logf("%-10s %5.1f µs of processor time a check, %d checks, %3d MiB", name, float64((after-before).Microseconds())/float64(checks), checks, memory>>20)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

func must(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", command, err, out)
	}
}

// acceptAll takes every connection, and counts them.
func acceptAll(t *testing.T, made *atomic.Int64) error {
	ln, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			made.Add(1)
			c.Close()
		}
	}()
	return nil
}

func costConfig() string {
	var b strings.Builder
	b.WriteString("virtual_server 10.9.9.1 80 {\n\tlb_algo rr\n\tlb_kind NAT\n\tprotocol TCP\n\tdelay_loop 1\n\twarmup 1\n")
	for i := range costReals {
		fmt.Fprintf(&b, "\treal_server 127.1.%d.%d 8080 {\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n", i>>8, i&255)
	}
	return b.String() + "}\n"
}

// costOf is what the threads of a process and of its children have used, and the memory that they have.
func costOf(t *testing.T, pid int) (used time.Duration, memory int64) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		_, rest, ok := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		of := strings.Split(name, "/")[2]
		if err != nil || !ok || of != strconv.Itoa(pid) && f[1] != strconv.Itoa(pid) {
			continue // it has ended, or is another's
		}
		threads, err := filepath.Glob("/proc/" + of + "/task/*/schedstat")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			var nanoseconds time.Duration
			if text, err := os.ReadFile(thread); err == nil {
				if _, err := fmt.Sscan(string(text), &nanoseconds); err != nil {
					t.Fatal(err)
				}
			}
			used += nanoseconds
		}
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		memory += pages * int64(os.Getpagesize())
	}
	return used, memory
}
