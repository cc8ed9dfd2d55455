package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"vipd/internal/vrrp"
)

// supervisor is who started this process and wants to know how it is: systemd, or anybody who sets NOTIFY_SOCKET and
// WATCHDOG_USEC as it does (sd_notify(3)). Without the former nothing is sent.
type supervisor struct {
	send  func(state string) // nil: there is none
	alive time.Duration      // a sign of life is wanted at least this often; 0: never
	asked <-chan struct{}    // the loop that was asked last closes it with its answer; nil: none is awaited
}

func newSupervisor() (supervisor, error) {
	s := supervisor{}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return s, nil
	}
	s.send = func(state string) { _, _ = systemd.SdNotify(false, state) } // a supervisor that went away is no fault of ours
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		return s, fmt.Errorf("read WATCHDOG_USEC: %w", err)
	}
	s.alive = limit / 2
	return s, nil
}

func (s supervisor) tell(state string) {
	if s.send != nil {
		s.send(state)
	}
}

// ready asks for the status only if somebody wants it.
func (s supervisor) ready(status func() string) {
	if s.send != nil {
		s.send("READY=1\nSTATUS=" + status())
	}
}

// reloading says since when, as Type=notify-reload wants it.
func (s supervisor) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	s.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=reading the configuration", now.Nano()/1000))
}

func (s supervisor) stopping() { s.tell("STOPPING=1\nSTATUS=handing over") }

// ticks is nil where no sign of life is wanted.
func (s supervisor) ticks() (<-chan time.Time, func()) {
	if s.alive == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(s.alive)
	return t.C, t.Stop
}

// live is a sign of life that is worth something: this goroutine runs, and the one that speaks VRRP has answered it. A loop that
// is stuck ends in a restart, which adopts what goes on forwarding.
func (s *supervisor) live(ctx context.Context, ask func()) {
	if s.asked == nil {
		answered := make(chan struct{})
		go func() { // ends when the loop turns again, or with the process
			ask()
			close(answered)
		}()
		s.asked = answered
	}
	select {
	case <-s.asked:
		s.asked = nil
		s.tell("WATCHDOG=1")
	case <-ctx.Done():
	case <-time.After(s.alive):
	}
}

// standing is one line for whoever asks the supervisor.
func (d *daemon) standing() string {
	masters, all := 0, d.ha.status()
	for _, s := range all {
		if s.State == vrrp.Master {
			masters++
		}
	}
	return fmt.Sprintf("%d VRRP instances, %d of them master", len(all), masters)
}
