package host

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSecondInstanceIsRefusedWithThePidOfTheFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "vipd")
	first, err := LockInstance(dir, "default")
	check(t, err)
	_, err = LockInstance(dir, "default")
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Name != "default" {
		t.Fatalf("got %v", err)
	}
	other, err := LockInstance(dir, "other")
	check(t, err)
	check(t, other.Release())
	check(t, first.Release())
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
	again, err := LockInstance(dir, "default")
	check(t, err)
	check(t, again.Release())
}

// A lock of a process that is killed is free, and the file that it left is taken over.
func TestLockEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("VIPD_HOST_LOCK_DIR") != "" {
		_, err := LockInstance(os.Getenv("VIPD_HOST_LOCK_DIR"), "default")
		check(t, err)
		os.Stdout.WriteString("locked\n")
		bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	child.Env = append(os.Environ(), "VIPD_HOST_LOCK_DIR="+dir, inside+"=1")
	in, err := child.StdinPipe()
	check(t, err)
	defer in.Close()
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	var locked *LockedError
	if _, err := LockInstance(dir, "default"); !errors.As(err, &locked) || locked.PID != child.Process.Pid {
		t.Fatalf("while the child lives: %v", err)
	}
	check(t, child.Process.Kill())
	_ = child.Wait()
	lock, err := LockInstance(dir, "default")
	check(t, err)
	check(t, lock.Release())
}

func TestLockErrorsNameTheThing(t *testing.T) {
	for _, name := range []string{"", "..", "a/b"} {
		if _, err := LockInstance(t.TempDir(), name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := LockInstance(file, "default"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	if got := (&LockedError{Name: "blue", PID: 7}).Error(); got != "instance blue is already running with pid 7" {
		t.Errorf("got %q", got)
	}
}

func TestMissingPrivilegesAreNamed(t *testing.T) {
	tests := []struct {
		name string
		caps uint64
		want []string
	}{
		{"root lacks nothing", 1<<41 - 1, nil},
		{"nobody lacks all three", 0, []string{"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF (or CAP_SYS_ADMIN)"}},
		{"CAP_BPF is enough without CAP_SYS_ADMIN", 1<<12 | 1<<13 | 1<<39, nil},
		{"CAP_SYS_ADMIN is enough without CAP_BPF", 1<<12 | 1<<13 | 1<<21, nil},
		{"one is missing", 1<<12 | 1<<39, []string{"CAP_NET_RAW"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := missingPrivileges(tt.caps); !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
		})
	}
	if os.Geteuid() == 0 {
		check(t, CheckPrivileges())
	}
}
