package daemon

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSupervisorHears: what sd_notify(3) wants, by its socket.
func TestSupervisorHears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	s, err := newSupervisor()
	if err != nil || s.alive != 0 {
		t.Fatalf("%v, a sign of life every %v", err, s.alive)
	}
	for _, row := range []struct {
		say  func()
		want []string
	}{
		{func() { s.ready(func() string { return "2 VRRP instances" }) }, []string{"READY=1", "STATUS=2 VRRP instances"}},
		{s.reloading, []string{"RELOADING=1", "MONOTONIC_USEC=", "STATUS="}},
		{s.stopping, []string{"STOPPING=1", "STATUS="}},
	} {
		row.say()
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b[:n]), "\n")
		if len(lines) != len(row.want) || !slices.EqualFunc(lines, row.want, strings.HasPrefix) {
			t.Errorf("%q, want %q", lines, row.want)
		}
	}
}

// TestWatchdogOfSystemd: WATCHDOG_USEC is for the process that WATCHDOG_PID names, and signs come twice in that time.
func TestWatchdogOfSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "30000000")
	if s, err := newSupervisor(); err != nil || s.alive != 15*time.Second {
		t.Errorf("%v, %v", s.alive, err)
	}
	t.Setenv("WATCHDOG_PID", "1")
	if s, err := newSupervisor(); err != nil || s.alive != 0 {
		t.Errorf("of another process: %v, %v", s.alive, err)
	}
	t.Setenv("WATCHDOG_USEC", "often")
	if _, err := newSupervisor(); err == nil {
		t.Error("a time that is none was taken")
	}
}

// TestNoSignOfLifeFromAStuckLoop: and one again when it turns.
func TestNoSignOfLifeFromAStuckLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		s := supervisor{send: func(state string) { said = append(said, state) }, alive: time.Second}
		stuck := make(chan struct{})
		var asked atomic.Int32
		ask := func() { asked.Add(1); <-stuck }
		for range 3 {
			s.live(context.Background(), ask)
		}
		if len(said) != 0 || asked.Load() != 1 {
			t.Fatalf("%q was said, the loop was asked %d times", said, asked.Load())
		}
		close(stuck)
		s.live(context.Background(), ask)
		s.live(context.Background(), ask)
		if len(said) != 2 || said[0] != "WATCHDOG=1" {
			t.Errorf("%q was said", said)
		}
	})
}
