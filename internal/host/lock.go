package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError tells that another process is the instance of this name.
type LockedError struct {
	Name string
	PID  int // 0 if it has not said
	Path string
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("instance %s is already running (%s is locked)", e.Name, e.Path)
	}
	return fmt.Sprintf("instance %s is already running with pid %d", e.Name, e.PID)
}

// Lock makes this process the only instance of its name. The kernel lets go of it when the process dies, however it
// does; the file that is then left says nothing and is taken over by the next one.
type Lock struct {
	file *os.File
	path string
}

// LockInstance takes the lock DIR/NAME.lock and makes dir if it is not there. If another process has it, the error is
// a *LockedError.
func LockInstance(dir, name string) (*Lock, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("lock instance %q: not a usable name", name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lock instance %s: %w", name, err)
	}
	path := filepath.Join(dir, name+".lock")
	for {
		l, err := tryLock(path)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, &LockedError{Name: name, PID: readPID(path), Path: path}
		case err != nil:
			return nil, fmt.Errorf("lock instance %s: %w", name, err)
		case l != nil:
			return l, nil
		}
	}
}

// tryLock returns nil and no error if the holder removed the file while it was being locked: then it is to be tried
// again with the file that has the name now.
func tryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	l := &Lock{file: f, path: path}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !sameFile(f, path) {
		f.Close()
		return nil, nil
	}
	if err := l.writePID(); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func sameFile(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, named)
}

func (l *Lock) writePID() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID is the pid in a lock file, 0 if there is none yet.
func readPID(path string) int {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 32 {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// Release removes the file and lets go of the lock, in this order: nobody can hold the lock of a file that has no name.
func (l *Lock) Release() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.file.Close())
}
