package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/lab"
)

// left is everything on the test's machine that vipd could have left there, one thing a line, sorted: files of /run,
// pins, links with their addresses and XDP programs, processes.
func left(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, root := range []string{"/run", "/sys/fs/bpf"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && path != root && !emptyHome(path) {
				out = append(out, "file "+path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	out = append(append(out, links(t)...), processes(t)...)
	slices.Sort(out)
	return out
}

// emptyHome names the directories that are places, not leftovers.
func emptyHome(path string) bool {
	return slices.Contains([]string{"/run/vipd", "/run/netns"}, path)
}

func links(t *testing.T) []string {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range all {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		line := "link " + l.Attrs().Name
		if x := l.Attrs().Xdp; x != nil && x.Attached {
			line += fmt.Sprintf(" xdp %d", x.ProgId)
		}
		for _, a := range addrs {
			line += " " + a.IPNet.String()
		}
		out = append(out, line)
	}
	return out
}

// processes are all that run on this machine but its first process and the test.
func processes(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		// A process that has ended and is not yet waited for has no command line.
		if line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && len(line) > 0 {
			out = append(out, fmt.Sprintf("process %d %s", pid, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")))
		}
	}
	return out
}

// nothingNew wants the machine to be as it was before.
func nothingNew(t *testing.T, before []string) {
	t.Helper()
	if now := left(t); !slices.Equal(before, now) {
		t.Errorf("on the machine before:\n  %s\nand after:\n  %s", strings.Join(before, "\n  "), strings.Join(now, "\n  "))
	}
}

// inside runs fn in a network namespace that has a name, on a thread that ends with it. Sockets that fn opens and
// processes that it starts stay there.
func inside(t *testing.T, namespace string, fn func() error) {
	t.Helper()
	if err := insideErr(namespace, fn); err != nil {
		t.Fatal(err)
	}
}

func insideErr(namespace string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends, nobody else gets into the namespace with it
		err := lab.EnterNamespace(namespace)
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// eventually polls what others bring about.
func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s it is not so that %s", limit, what)
		}
	}
}
