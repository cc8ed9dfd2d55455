package daemon

import (
	"os"

	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/probe"
)

// checkUsers are who reads the answers to checks: the first that this host has. The package makes the first one.
var checkUsers = []string{"vipd-checks", "nobody"}

// nobody is the user who has no rights where no list of users says so: a container with this program alone.
const nobody = 65534

// checkUser is who makes the checks. Who is not root can only be who he is.
func checkUser() host.Identity {
	if os.Geteuid() != 0 {
		own, _ := host.LookupIdentity("", "")
		return own
	}
	for _, name := range checkUsers {
		if id, err := host.LookupIdentity(name, ""); err == nil && id.UID != 0 && id.GID != 0 {
			return id
		}
	}
	return host.Identity{UID: nobody, GID: nobody}
}

// newCell makes the process of the checks, which begins when there is something for it.
func (d *daemon) newCell() *probe.Cell {
	ev := d.events.of("check")
	return probe.NewCell(checkUser(), func(warn bool, text string) {
		switch {
		case warn:
			ev.Warn(text)
		case os.Geteuid() != 0:
			ev.Info(text + ", the daemon's own: only root can have it done by another")
		default:
			ev.Debug(text)
		}
	})
}

// endCell ends it before another program takes this one's place: it would be a child that nobody knows of.
func (d *daemon) endCell() {
	if cell := d.cell.Load(); cell != nil {
		cell.Close()
	}
}

// checksStatus is nil while no check needs the process.
func (d *daemon) checksStatus() *control.Checks {
	cell := d.cell.Load()
	if cell == nil {
		return nil
	}
	s := cell.State()
	if s.Starts == 0 && s.Why == "" {
		return nil
	}
	out := &control.Checks{PID: s.PID, UID: s.UID, Starts: s.Starts, Inside: s.Inside, Lacks: s.Lacks, Why: s.Why}
	if s.PID != 0 {
		out.Since = s.Since
	}
	return out
}
