package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fileEvents: the file was written and closed, moved here or away, or removed. keepalived: the same; a program that
// writes and does not close says nothing yet.
const fileEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE

// FileWatch tells of changes of single files, which need not exist; their directories must.
type FileWatch struct {
	file  *os.File
	paths map[string][]string // by directory: the files' names
	wds   map[int32]string    // directory by watch
}

// WatchFiles begins to watch. A file whose directory does not exist is an error that names it, and keeps nothing else.
func WatchFiles(paths []string) (*FileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &FileWatch{file: os.NewFile(uintptr(fd), "inotify"), paths: map[string][]string{}, wds: map[int32]string{}}
	for _, p := range paths {
		if err := w.add(fd, p); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

func (w *FileWatch) add(fd int, path string) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if w.paths[dir] == nil {
		wd, err := unix.InotifyAddWatch(fd, dir, fileEvents|unix.IN_ONLYDIR)
		if err != nil {
			return fmt.Errorf("watch %s: directory: %w", path, err)
		}
		w.wds[int32(wd)] = dir
	}
	w.paths[dir] = append(w.paths[dir], name)
	return nil
}

// Run hands the path of every file that has changed to fn, from the calling goroutine, until ctx ends. When changes have
// been lost, it is every file.
func (w *FileWatch) Run(ctx context.Context, fn func(path string)) error {
	defer w.file.Close()
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n := 0
		err := pollFile(w.file, syscall.RawConn.Read, func(fd int) (err error) {
			n, err = unix.Read(fd, buf)
			return err
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("watch files: %w", err)
		}
		w.events(buf[:n], fn)
	}
	return nil
}

// Close ends a watch that is not run. After Run it does nothing.
func (w *FileWatch) Close() { _ = w.file.Close() }

func (w *FileWatch) events(b []byte, fn func(string)) {
	for len(b) >= unix.SizeofInotifyEvent {
		size := unix.SizeofInotifyEvent + int(native.Uint32(b[12:]))
		if size > len(b) {
			return
		}
		w.event(int32(native.Uint32(b)), native.Uint32(b[4:]), strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00"), fn)
		b = b[size:]
	}
}

func (w *FileWatch) event(wd int32, mask uint32, name string, fn func(string)) {
	dir := w.wds[wd]
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		for dir, names := range w.paths {
			for _, n := range names {
				fn(filepath.Join(dir, n))
			}
		}
	case mask&unix.IN_ISDIR != 0 || !slices.Contains(w.paths[dir], name):
	default:
		fn(filepath.Join(dir, name))
	}
}

// ReadHead reads the first bytes of a file, as many as limit. It does not wait, also if the file is a FIFO.
func ReadHead(path string, limit int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is no regular file", path)
	}
	buf := make([]byte, limit)
	n, err := f.Read(buf)
	if n == 0 && err != nil {
		return nil, nil // empty
	}
	return buf[:n], nil
}
