package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock is held by whoever builds, plays or removes a lab. It ends with its process, so it is never stale.
type Lock struct{ file *os.File }

// BusyError says that another process holds the lab.
type BusyError struct{ PID string }

func (e *BusyError) Error() string { return "a lab is being played by process " + e.PID }

// Acquire takes the lab's lock, or returns a BusyError. The file lies beside the lab's directory, which comes and goes.
func (l *Lab) Acquire() (*Lock, error) {
	path := l.Dir + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			pid := make([]byte, 16)
			n, _ := f.Read(pid)
			return nil, &BusyError{PID: strings.TrimSpace(string(pid[:n]))}
		}
		// Release removes the file; a lock on a file that is gone is held by nobody else's path.
		if same(f, path) {
			return &Lock{file: f}, writePID(f)
		}
		f.Close()
	}
}

func same(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}

// Release gives the lock back and leaves no file.
func (k *Lock) Release() error {
	defer k.file.Close()
	return os.Remove(k.file.Name())
}
