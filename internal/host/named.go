package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountTable is the mounts that this process sees (proc_pid_mountinfo(5)). poll(2) tells of its changes.
const mountTable = "/proc/self/mountinfo"

// NamedNamespace is the number of the own network namespace, and whether it has a name that this process sees: a mount, as
// ip-netns(8) makes one below /run/netns.
func NamedNamespace() (number uint64, named bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, false, fmt.Errorf("look at the own network namespace: %w", err)
	}
	mounts, err := os.ReadFile(mountTable)
	if err != nil {
		return 0, false, fmt.Errorf("look for names of the own network namespace: %w", err)
	}
	return st.Ino, namesNamespace(string(mounts), st.Ino), nil
}

// namesNamespace tells whether one of the mounts is of that network namespace: its root is then "net:[NUMBER]".
func namesNamespace(mounts string, number uint64) bool {
	root := fmt.Sprintf("net:[%d]", number)
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == root {
			return true
		}
	}
	return false
}

// AwaitUnnamed returns when the own network namespace has no name any more, or with ctx's error when that ends.
func AwaitUnnamed(ctx context.Context) error {
	table, err := unix.Open(mountTable, unix.O_RDONLY|unix.O_CLOEXEC, 0) // a change is told once: an os.File would have the poller of Go hear of it
	if err != nil {
		return fmt.Errorf("watch the mounts: %w", err)
	}
	defer unix.Close(table)
	ended, end, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("watch the mounts: %w", err)
	}
	defer ended.Close()
	defer context.AfterFunc(ctx, func() { end.Close() })()
	for ctx.Err() == nil {
		if _, named, err := NamedNamespace(); err != nil || !named {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(table), Events: unix.POLLPRI}, {Fd: int32(ended.Fd())}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch the mounts: %w", err)
		}
	}
	return ctx.Err()
}
