package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhichProcessesAreMeant(t *testing.T) {
	line := func(words ...string) []byte { return []byte(strings.Join(words, "\x00") + "\x00") }
	full := func(match string, params ...string) ProcessMatch {
		return ProcessMatch{Name: "/bin/d", FullCommand: true, Params: params, Match: match}
	}
	for _, c := range []struct {
		m       ProcessMatch
		comm    string
		cmdline []byte
		want    bool
	}{
		{ProcessMatch{Name: "haproxy"}, "haproxy", nil, true},
		{ProcessMatch{Name: "haproxy"}, "haproxy2", nil, false},
		{ProcessMatch{Name: "a-very-long-program-name"}, "a-very-long-pro", nil, true},
		{full(""), "d", line("/bin/d", "-x"), true},
		{full(""), "d", line("d", "-x"), false},
		{full(""), "kthreadd", nil, false},
		{full("exact", "-a", "b"), "", line("/bin/d", "-a", "b"), true},
		{full("exact", "-a", "b"), "", line("/bin/d", "-a", "b", "c"), false},
		{full("exact"), "", line("/bin/d"), true},
		{full("exact"), "", line("/bin/d", "-a"), false},
		{full("partial", "-a"), "", line("/bin/d", "-a", "b"), true},
		{full("partial", "-a"), "", line("/bin/d", "-ab"), false},
		{full("initial", "-a"), "", line("/bin/d", "-ab", "c"), true},
		{full("initial", "-a"), "", line("/bin/d", "-b"), false},
		{full("initial"), "", line("/bin/d", "-b"), true},
	} {
		if got := c.m.Matches(c.comm, c.cmdline); got != c.want {
			t.Errorf("%+v with %q %q: %t", c.m, c.comm, c.cmdline, got)
		}
	}
}

// testProcessWatch starts, renames and ends processes, and wants to hear of each.
func testProcessWatch(t *testing.T, w *ProcessWatch, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	counts := make(chan int, 100)
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(c map[string]int) { counts <- c["p"] }) }()
	wait := func(want int) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case n := <-counts:
				if n == want {
					return
				}
			case <-deadline:
				t.Fatalf("never counted %d", want)
			}
		}
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(path, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	a := start()
	wait(1)
	start()
	wait(2)
	_ = a.Process.Kill()
	_ = a.Wait()
	wait(1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// named is sleep(1) under a name of this test's own.
func sleeper(t *testing.T) (path, name string) {
	t.Helper()
	name = fmt.Sprintf("vipd-t%d", os.Getpid()%100000)
	path = filepath.Join(t.TempDir(), name)
	real, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path, name
}

func TestProcessesAreCountedByPolling(t *testing.T) {
	path, name := sleeper(t)
	w := &ProcessWatch{matches: map[string]ProcessMatch{"p": {Name: name}}}
	if err := w.scan(); err != nil {
		t.Fatal(err)
	}
	testProcessWatch(t, w, path)
}

func TestProcessesAreCountedAsTheyComeAndGo(t *testing.T) {
	path, _ := sleeper(t)
	w, err := WatchProcesses(map[string]ProcessMatch{"p": {Name: path, FullCommand: true, Params: []string{"1000"}, Match: "exact"}})
	if err != nil {
		t.Fatal(err)
	}
	if w.Polls != nil {
		t.Log(w.Polls)
	}
	if n := w.Counts()["p"]; n != 0 {
		t.Errorf("%d before the start", n)
	}
	testProcessWatch(t, w, path)
}

// connectorEvent is a message as the kernel's proc connector sends it.
func connectorEvent(what uint32, numbers ...uint32) []byte {
	b := make([]byte, cnMsgLen+procEventHead)
	native.PutUint32(b, cnIdxProc)
	native.PutUint32(b[4:], cnValProc)
	native.PutUint32(b[cnMsgLen:], what)
	for _, n := range numbers {
		b = native.AppendUint32(b, n)
	}
	return b
}

// The connector is not to be had in a container, so its messages are made here.
func TestTheKernelsWordOnProcesses(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	me, gone := uint32(os.Getpid()), uint32(1<<22+1) // beyond the largest process number
	w := &ProcessWatch{matches: map[string]ProcessMatch{"p": {Name: strings.TrimSpace(string(comm))}}, found: map[int][]string{}}
	for _, c := range []struct {
		name    string
		event   []byte
		changed bool
		count   int
	}{
		{"exec", connectorEvent(procEventExec, me, me), true, 1},
		{"the same again", connectorEvent(procEventExec, me, me), false, 1},
		{"comm of a thread", connectorEvent(procEventComm, me+1, me), false, 1},
		{"comm", connectorEvent(procEventComm, me, me), false, 1},
		{"fork", connectorEvent(procEventFork, me, me, gone, gone), true, 2},
		{"a thread", connectorEvent(procEventFork, me, me, gone+1, me), false, 2},
		{"fork of another", connectorEvent(procEventFork, 1, 1, gone+2, gone+2), false, 2},
		{"end of a thread", connectorEvent(procEventExit, gone+1, gone), false, 2},
		{"exec to another name", connectorEvent(procEventExec, gone, gone), true, 1},
		{"end", connectorEvent(procEventExit, me, me), true, 0},
		{"end of another", connectorEvent(procEventExit, 1, 1), false, 0},
		{"too short", connectorEvent(procEventExec), false, 0},
		{"fork, too short", connectorEvent(procEventFork, me, me), false, 0},
		{"nothing", nil, false, 0},
	} {
		if changed := w.event(c.event); changed != c.changed || w.Counts()["p"] != c.count {
			t.Errorf("%s: changed %t, count %d", c.name, changed, w.Counts()["p"])
		}
	}
}

func FuzzConnectorEvent(f *testing.F) {
	f.Add(connectorEvent(procEventExec, 1, 1))
	f.Add(connectorEvent(procEventFork, 1, 1, 2, 2))
	f.Add(connectorEvent(procEventExit, 1, 1))
	f.Fuzz(func(_ *testing.T, b []byte) {
		w := &ProcessWatch{matches: map[string]ProcessMatch{"p": {Name: "x"}}, found: map[int][]string{1: {"p"}}}
		w.event(b)
	})
}

func FuzzFileEvents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00f\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		w := &FileWatch{paths: map[string][]string{"/d": {"f"}}, wds: map[int32]string{1: "/d"}}
		w.events(b, func(string) {})
	})
}
