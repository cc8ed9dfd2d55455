package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where `ip netns` keeps its names.
const netnsDir = "/run/netns"

// keeper is a thread that lives inside one namespace. It does what is sent to it, so that sockets, /proc/sys and child
// processes are that namespace's. It must live as long as the children: a parent-death signal is sent at the end of
// the thread that started the child, not of its process (prctl(2), PR_SET_PDEATHSIG).
type keeper struct {
	jobs chan func()
	done chan struct{}
}

// newKeeper starts a thread and takes it into a namespace by enter. The thread is never given back to the scheduler:
// when the keeper is closed, it ends.
func newKeeper(enter func() error) (*keeper, error) {
	k := &keeper{jobs: make(chan func()), done: make(chan struct{})}
	entered := make(chan error)
	go func() {
		defer close(k.done)
		runtime.LockOSThread()
		err := enter()
		entered <- err
		if err != nil {
			return
		}
		for job := range k.jobs {
			job()
		}
	}()
	return k, <-entered
}

// run executes fn inside the namespace and returns its error.
func (k *keeper) run(fn func() error) error {
	result := make(chan error, 1)
	k.jobs <- func() { result <- fn() }
	return <-result
}

func (k *keeper) close() {
	close(k.jobs)
	<-k.done
}

// createNamespace makes a named namespace and returns a thread inside it.
func createNamespace(name string) (*keeper, error) {
	return newKeeper(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
		return ns.Close()
	})
}

// openNamespace returns a thread inside a namespace that exists.
func openNamespace(name string) (*keeper, error) {
	return newKeeper(func() error { return EnterNamespace(name) })
}

// EnterNamespace takes the calling thread into a named namespace; the caller has locked it (runtime.LockOSThread).
func EnterNamespace(name string) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", name, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter namespace %s: %w", name, err)
	}
	return nil
}

// namespaceExists tells whether name is a namespace and not just a file that a crash left.
func namespaceExists(name string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(filepath.Join(netnsDir, name), &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// removeNamespaces deletes every name that begins with prefix. The namespaces end with their last process.
func removeNamespaces(prefix string) error {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			errs = append(errs, removeNamespace(filepath.Join(netnsDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func removeNamespace(path string) error {
	// EINVAL: nothing is mounted there; the file alone is left over.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
