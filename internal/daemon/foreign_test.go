package daemon

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What was read from a pipe to look at it would be missing from the configuration.
func TestAPipeIsNotLookedAt(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	go func() { done <- foreignKind(pipe) }()
	select {
	case kind := <-done:
		if kind != "" {
			t.Errorf("a pipe is %s", kind)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for somebody who writes")
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("\x7fELF and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if kind := foreignKind(program); kind != "a program" {
		t.Errorf("a program is %q", kind)
	}
}
