package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// TestANamespaceIsNamedByAMount: field 4 of proc_pid_mountinfo(5), and nothing else.
func TestANamespaceIsNamedByAMount(t *testing.T) {
	const mounts = `25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
316 315 0:4 net:[4026532421] /run/netns/a rw master:3 - nsfs nsfs rw
317 315 0:4 mnt:[4026532422] /run/mnt/a rw - nsfs nsfs rw
318 30 0:45 /net:[4026532423] /x rw - tmpfs net:[4026532424] rw
short
`
	for number, want := range map[uint64]bool{4026532421: true, 402653242: false, 4026532422: false, 4026532423: false, 4026532424: false} {
		if got := namesNamespace(mounts, number); got != want {
			t.Errorf("%d: %v", number, got)
		}
	}
}

// TestTheEndOfANameIsHeardOf also while nothing else happens; and waiting for it ends with its context.
func TestTheEndOfANameIsHeardOf(t *testing.T) {
	need.Root(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if _, named, err := NamedNamespace(); named || err != nil {
		t.Fatalf("a new one: %v, %v", named, err)
	}
	name := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/proc/thread-self/ns/net", name, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	number, named, err := NamedNamespace()
	if !named || number == 0 || err != nil {
		t.Errorf("with a mount: %d, %v, %v", number, named, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := AwaitUnnamed(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that ends: %v", err)
	}
	unmounted := make(chan error, 1)
	go func() { unmounted <- unix.Unmount(name, unix.MNT_DETACH) }()
	if err := AwaitUnnamed(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-unmounted; err != nil {
		t.Error(err)
	}
}
