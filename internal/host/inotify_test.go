package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChangesOfFilesAreHeard(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "other")
	w, err := WatchFiles([]string{path, filepath.Join(dir, "g")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	heard, done := make(chan string, 100), make(chan error, 1)
	go func() { done <- w.Run(ctx, func(p string) { heard <- p }) }()
	for _, step := range []struct {
		what string
		do   func() error
		news bool
	}{
		{"another file", func() error { return os.WriteFile(other, []byte("1"), 0o644) }, false},
		{"create", func() error { return os.WriteFile(path, []byte("1"), 0o644) }, true},
		{"write", func() error { return os.WriteFile(path, []byte("2"), 0o644) }, true},
		{"move away", func() error { return os.Rename(path, other) }, true},
		{"move here", func() error { return os.Rename(other, path) }, true},
		{"remove", func() error { return os.Remove(path) }, true},
		{"a directory", func() error { return os.Mkdir(path, 0o755) }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if !step.news {
			continue
		}
		select {
		case p := <-heard:
			if p != path {
				t.Errorf("%s: heard of %s", step.what, p)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: heard nothing", step.what)
		}
		for len(heard) > 0 { // a file that is made and written is news twice
			<-heard
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := WatchFiles([]string{path, "/nonexistent/dir/f"}); err == nil || !strings.Contains(err.Error(), "/nonexistent/dir/f") {
		t.Errorf("%v", err)
	}
}

func TestAHeadIsReadWithoutWaiting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadHead(path, 3); err != nil || string(b) != "123" {
		t.Errorf("%q %v", b, err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadHead(path, 3); err != nil || len(b) != 0 {
		t.Errorf("%q %v", b, err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := ReadHead(bad, 3); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
