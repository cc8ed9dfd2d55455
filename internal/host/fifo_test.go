package host

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openTestFIFO(t *testing.T, path string) *FIFO {
	t.Helper()
	f, err := OpenFIFO(path, Identity{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAFIFOKeepsLinesUntilAReaderComes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	f := openTestFIFO(t, path)
	for _, l := range []string{"one\n", "two\n"} {
		if err := f.Write([]byte(l), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := bufio.NewReader(r)
	for _, want := range []string{"one\n", "two\n"} {
		if got, err := in.ReadString('\n'); err != nil || got != want {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeNamedPipe|0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFullFIFOIsAnErrorAndNotAWait(t *testing.T) {
	f := openTestFIFO(t, filepath.Join(t.TempDir(), "fifo"))
	line := make([]byte, 4000)
	var err error
	for range 100 {
		if err = f.Write(line, time.Millisecond); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAFIFOThatWasReplacedIsNoticedAndNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	f := openTestFIFO(t, path)
	if !f.Current() {
		t.Fatal("it does not know itself")
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if f.Current() {
		t.Error("a file was taken for it")
	}
	f.Close()
	if _, err := os.Stat(path); err != nil {
		t.Error("somebody else's file was removed")
	}
}

func TestOnlyAFIFOIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	openTestFIFO(t, filepath.Join(dir, "fifo"))
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o600), os.Symlink("fifo", link)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFIFO(file, Identity{}, 0o600); !errors.Is(err, ErrNotFIFO) {
		t.Errorf("a file: %v", err)
	}
	if _, err := OpenFIFO(link, Identity{}, 0o600); err == nil {
		t.Error("a link was followed")
	}
}

func TestAFIFOThatWasThereStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	openTestFIFO(t, path)
	second, err := OpenFIFO(path, Identity{}, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := os.Stat(path); err != nil {
		t.Error("somebody else's FIFO was removed")
	}
}
