package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
)

// program writes an executable file.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sh(text string) Command { return Command{Args: []string{"/bin/sh", "-c", text}, Keep: 4096} }

func TestACommandTellsHowItEnded(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  Command
		want string
		ok   bool
	}{
		{"success", sh("exit 0"), "exited with status 0", true},
		{"status", sh("exit 7"), "exited with status 7", false},
		{"signal", sh("kill -9 $$"), "due to signal 9", false},
		{"TERM by itself", sh("kill -15 $$"), "due to signal 15", false},
		{"missing", Command{Args: []string{"/nonexistent/x"}}, "run /nonexistent/x: no such file or directory", false},
		{"empty", Command{}, "run a command: it is empty", false},
		{"no #!", Command{Args: []string{program(t, "exit 3\n")}}, "exited with status 3", false},
		{"no #!, arguments", Command{Args: []string{program(t, "[ \"$1\" = \"it's a\" ] && [ $# = 2 ]\n"), "it's a", "$HOME"}}, "exited with status 0", true},
		{"a file to open", Command{Args: []string{"</etc/passwd"}}, "exited with status 0", true},
		{"no file to open", Command{Args: []string{"< /nonexistent"}}, "exited with status 2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.cmd.Run(context.Background())
			if e.String() != c.want || e.OK() != c.ok || e.TimedOut || e.Stopped {
				t.Errorf("%+v: %q, want %q", e, e, c.want)
			}
		})
	}
}

func TestTheOutputIsBounded(t *testing.T) {
	c := sh("head -c 1000000 /dev/zero; echo err >&2")
	c.Keep = 100
	if e := c.Run(context.Background()); !e.OK() || len(e.Output) != 100 {
		t.Errorf("%d bytes, %s", len(e.Output), e)
	}
	if e := sh("echo out; echo err >&2").Run(context.Background()); string(e.Output) != "out\nerr\n" {
		t.Errorf("%q", e.Output)
	}
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// numbers are the process numbers that a script has written.
func numbers(t *testing.T, out []byte) (pids []int) {
	t.Helper()
	for _, f := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func vanish(t *testing.T, pids ...int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestATimeoutEndsTheWholeGroup(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		signal syscall.Signal
		least  time.Duration
	}{
		"heeds TERM":              {"sleep 100 & echo $$ $!; wait", syscall.SIGTERM, 0},
		"does not":                {"trap '' TERM; sleep 100 & echo $$ $!; wait", syscall.SIGKILL, Grace},
		"heeds it, its child not": {"(trap '' TERM; while :; do sleep 1; done) & echo $$ $!; wait", syscall.SIGTERM, 0},
		"says success after TERM": {"trap 'exit 0' TERM; sleep 100 & echo $$ $!; wait", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := sh(c.script)
			cmd.Timeout = 300 * time.Millisecond
			start := time.Now()
			e := cmd.Run(context.Background())
			if !e.TimedOut || e.Signal != c.signal || e.String() != "timed out" || e.OK() {
				t.Errorf("%+v", e)
			}
			if took := time.Since(start); took < cmd.Timeout+c.least {
				t.Errorf("ended after %s", took)
			}
			pids := numbers(t, e.Output)
			if len(pids) != 2 {
				t.Fatalf("%q", e.Output)
			}
			vanish(t, pids...)
		})
	}
}

func TestTheEndOfTheContextEndsTheGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	file := filepath.Join(t.TempDir(), "pids")
	cmd := sh("sleep 100 & echo $$ $! > " + file + ".new; mv " + file + ".new " + file + "; wait")
	done := make(chan Exit)
	go func() { done <- cmd.Run(ctx) }()
	var pids []int
	for len(pids) == 0 {
		if text, err := os.ReadFile(file); err == nil {
			pids = numbers(t, text)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if e := <-done; !e.Stopped || e.TimedOut {
		t.Errorf("%+v", e)
	}
	vanish(t, pids...)
}

func TestAChildThatHoldsTheOutputOpenDelaysNobody(t *testing.T) {
	start := time.Now()
	e := sh("sleep 5 & echo $!").Run(context.Background())
	if took := time.Since(start); took > 3*time.Second || e.Code != 0 {
		t.Errorf("%+v after %s", e, took)
	}
	for _, pid := range numbers(t, e.Output) {
		if !alive(pid) {
			t.Error("a child of a program that ended by itself was killed")
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestACommandRunsAsItsUser(t *testing.T) {
	need.Root(t)
	id, err := LookupIdentity("nobody", "")
	if err != nil {
		t.Fatal(err)
	}
	c := sh("id -u; id -g; id -G")
	c.As = id
	want := fmt.Sprintf("%d\n%d\n%d\n", id.UID, id.GID, id.GID)
	if e := c.Run(context.Background()); string(e.Output) != want {
		t.Errorf("%q, want %q (%s)", e.Output, want, e)
	}
	if id, err := LookupIdentity("nobody", "0"); err != nil || id.GID != 0 {
		t.Errorf("%+v %v", id, err)
	}
	for _, bad := range [][2]string{{"nobody-at-all", ""}, {"root", "nobody-at-all"}} {
		if _, err := LookupIdentity(bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), "nobody-at-all") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestAScriptIsLookedAtBeforeItRuns(t *testing.T) {
	need.Root(t)
	root, nobody := Identity{}, Identity{UID: 65534, GID: 65534}
	dir, err := os.MkdirTemp("/var/lib", "vipd-script-") // /tmp is open to all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fine, open, plain, mine := put("fine", 0o755), put("open", 0o777), put("plain", 0o644), put("mine", 0o700)
	if err := os.Mkdir(dir+"/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	closed := put("closed/fine", 0o755)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(fine, link); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(fine, other); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path     string
		as       Identity
		want     string
		insecure bool
		err      error
	}{
		{fine, root, fine, false, nil},
		{open, root, open, true, nil},
		{open, nobody, open, false, nil},
		{plain, root, "", false, ErrScriptRefused},
		{mine, nobody, "", false, ErrScriptRefused},
		{closed, root, closed, false, nil},
		{closed, nobody, "", false, ErrScriptMissing},
		{dir, root, "", false, ErrScriptRefused},
		{dir + "/none", root, "", false, ErrScriptMissing},
		{"no-such-program-anywhere", root, "", false, ErrScriptMissing},
		{link, root, link, false, nil}, // leads to the same file under its own name
		{other, root, fine, false, nil},
		{"</etc/passwd", root, "</etc/passwd", false, nil},
	} {
		s, err := FindScript([]string{c.path, "arg"}, c.as, false)
		if !errors.Is(err, c.err) || err == nil && (s.Args[0] != c.want || s.Args[1] != "arg" || s.Insecure != c.insecure) {
			t.Errorf("%s as %v: %+v %v", c.path, c.as, s, err)
		}
	}
	for _, path := range []string{fine, link, other} {
		if s, err := FindScript([]string{path}, root, true); err != nil || s.Args[0] != path {
			t.Errorf("with links kept, %s is %+v %v", path, s, err)
		}
	}
	if s, err := FindScript([]string{"sh"}, root, false); err != nil || !s.Searched || !filepath.IsAbs(s.Args[0]) {
		t.Errorf("%+v %v", s, err)
	}
}
