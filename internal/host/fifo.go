package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FIFO is a named pipe that this process writes to. It is open for reading too, as with keepalived, so that lines wait
// in the pipe (64 KiB) until a reader comes and a reader that leaves breaks nothing.
type FIFO struct {
	path string
	file *os.File
	made bool // by us, so it goes when we close it
}

// ErrNotFIFO says that the path is taken by something else.
var ErrNotFIFO = errors.New("it is there and is no FIFO")

// OpenFIFO makes the FIFO with this owner and mode if it is not there, and opens it. One that is there keeps its owner
// and mode, as with keepalived.
func OpenFIFO(path string, owner Identity, mode fs.FileMode) (*FIFO, error) {
	err := unix.Mkfifo(path, 0o600)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	f, err := openFIFO(path, made, owner, mode)
	if err != nil {
		if made {
			_ = os.Remove(path)
		}
		return nil, err
	}
	return f, nil
}

func openFIFO(path string, made bool, owner Identity, mode fs.FileMode) (*FIFO, error) {
	// keepalived: opens whatever is there, also a plain file, and writes over its beginning.
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s: %w", path, cause(err))
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.Mode()&fs.ModeNamedPipe == 0:
		err = ErrNotFIFO
	case made:
		// In this order: the mode of somebody else's file takes CAP_FOWNER to change, which a unit need not give.
		err = errors.Join(file.Chmod(mode), file.Chown(int(owner.UID), int(owner.GID)))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	return &FIFO{path: path, file: file, made: made}, nil
}

// Write writes a line whole or, when nobody has read for wait and the pipe is full, not at all: then the error matches
// os.ErrDeadlineExceeded. Lines are shorter than PIPE_BUF. pipe(7): "POSIX.1 says that writes of less than PIPE_BUF bytes
// must be atomic".
func (f *FIFO) Write(line []byte, wait time.Duration) error {
	_ = f.file.SetWriteDeadline(time.Now().Add(wait))
	_, err := f.file.Write(line)
	return err
}

// Current tells whether the path still leads to this FIFO.
func (f *FIFO) Current() bool {
	var there, ours unix.Stat_t
	raw, err := f.file.SyscallConn()
	if err != nil || unix.Lstat(f.path, &there) != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		if unix.Fstat(int(fd), &ours) != nil {
			ours.Ino = 0
		}
	})
	return err == nil && there.Ino == ours.Ino && there.Dev == ours.Dev && there.Mode&syscall.S_IFMT == syscall.S_IFIFO
}

// Close removes the FIFO if it was made here, and closes it. keepalived: in this order, so that a reader that opens it
// again at its end does not find it.
func (f *FIFO) Close() error {
	if f.made && f.Current() {
		_ = os.Remove(f.path)
	}
	return f.file.Close()
}
