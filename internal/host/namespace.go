package host

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaces is where ip-netns(8) keeps named network namespaces.
const namespaces = "/run/netns/"

// ErrNoNamespace is what EnterNamespace's error matches when there is none of that name.
var ErrNoNamespace = errors.New("there is no network namespace of this name")

// NamespacePath is the file of a named network namespace. "" is that of the host's first process.
func NamespacePath(name string) string {
	if name == "" {
		return "/proc/1/ns/net"
	}
	return filepath.Join(namespaces, name)
}

// EnterNamespace moves the program into a named network namespace: it is executed anew, with the same arguments and
// environment and what env adds (NAME=VALUE), as threads that there are stay where they are. It returns if the program is there already, or cannot go.
// Files that are open and not to be closed at an exec stay open.
func EnterNamespace(name string, env ...string) error {
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("network namespace %q: %w", name, ErrNoNamespace)
	}
	f, err := os.Open(NamespacePath(name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network namespace %s: %w", name, ErrNoNamespace)
	}
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer f.Close()
	if there, err := inNamespace(f); err != nil || there {
		return err
	}
	runtime.LockOSThread() // exec(2) makes this thread, and where it is, the whole of the process
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	if err := unix.Exec(ownProgram(), os.Args, append(os.Environ(), env...)); err != nil {
		return fmt.Errorf("begin anew in network namespace %s: %w", name, err) // the thread is not to be used again
	}
	return nil
}

// ownProgram is a path of the program that runs: that which it was called by, as its name in /proc/PID/comm is the path's, or,
// if another program is there by now, one that needs no name.
func ownProgram() string {
	const itself = "/proc/self/exe"
	running, err := os.Stat(itself)
	if err != nil {
		return itself
	}
	called, _ := exec.LookPath(os.Args[0])
	installed, _ := os.Executable()
	for _, path := range []string{called, installed} {
		if found, err := os.Stat(path); err == nil && os.SameFile(found, running) {
			return path
		}
	}
	return itself
}

// NamespaceID tells network namespaces apart for as long as one is there.
func NamespaceID() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", fmt.Errorf("look at the own network namespace: %w", err)
	}
	return namespaceID(st), nil
}

func namespaceID(st unix.Stat_t) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino) }

// InNamespace has fn run in a named network namespace, on a thread that ends with it. If there is another one by that name
// than that of id, fn is not called and the error is ErrNoNamespace.
func InNamespace(name, id string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- func() error {
			f, err := os.Open(NamespacePath(name))
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("network namespace %s: %w", name, ErrNoNamespace)
			}
			if err != nil {
				return fmt.Errorf("network namespace %s: %w", name, err)
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network namespace %s: %w", name, err)
			}
			if now, err := NamespaceID(); err != nil || now != id {
				return cmp.Or(err, fmt.Errorf("network namespace %s was made anew: %w", name, ErrNoNamespace))
			}
			return fn()
		}()
	}()
	return <-done
}

// inNamespace tells whether the calling thread is in that network namespace.
func inNamespace(f *os.File) (bool, error) {
	var theirs unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &theirs); err != nil {
		return false, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	ours, err := NamespaceID()
	return namespaceID(theirs) == ours, err
}
