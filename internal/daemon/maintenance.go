package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vipd/internal/control"
	"vipd/internal/vrrp"
)

// causeMaintenance is the fault of all instances while an operator has taken the director out.
const causeMaintenance = "maintenance"

// peekEvery is how often it is looked whether another director has taken over.
const peekEvery = 20 * time.Millisecond

// Failover implements control.Commander.
func (d *daemon) Failover(ctx context.Context, instances []string, how control.Leave) control.Outcome {
	d.noteCommand(ctx, "failover")
	var said []string
	err := d.handAway(ctx, instances, how, &said)
	out := outcome(err)
	out.Said = said
	return out
}

// Back implements control.Commander.
func (d *daemon) Back(ctx context.Context) control.Outcome {
	d.noteCommand(ctx, "failover --back")
	d.ha.do(func(time.Time) {
		for _, r := range d.ha.speaker.Routers() {
			r.Return()
		}
	})
	return control.Outcome{Done: true}
}

// handAway has instances, or all that are master, resign when the peers have their connections, and waits for who follows.
func (d *daemon) handAway(ctx context.Context, instances []string, how control.Leave, said *[]string) error {
	if len(instances) == 0 {
		for _, s := range d.ha.status() {
			if s.State == vrrp.Master {
				instances = append(instances, s.Name)
			}
		}
	}
	if len(instances) == 0 {
		return fail(ExitFatal, "see vipd vrrp", "no instance is MASTER here")
	}
	if !how.Now {
		if err := d.awaitPeers(ctx, cmp.Or(how.Wait, control.LeaveWait), said); err != nil && !how.Force {
			return err
		}
	}
	d.tellLast()
	began := time.Now()
	var err error
	var bound time.Duration
	d.ha.do(func(now time.Time) {
		if err = d.ha.speaker.Resign(now, instances...); err != nil {
			return
		}
		for _, r := range d.ha.speaker.Routers() {
			cfg := r.Config()
			bound = max(bound, time.Duration(cfg.DownTimerAdverts+1)*cfg.AdvertInt+2*time.Second)
		}
	})
	if err != nil {
		return fail(ExitFatal, "see vipd vrrp", "%w", err)
	}
	return d.awaitOthers(ctx, began, bound, instances, said)
}

// awaitOthers waits until each of the instances has another master, or is one again.
func (d *daemon) awaitOthers(ctx context.Context, began time.Time, bound time.Duration, instances []string, said *[]string) error {
	open := map[string]bool{}
	for _, name := range instances {
		open[name] = true
	}
	var alone []string
	for len(open) > 0 {
		for _, s := range d.ha.status() {
			switch {
			case !open[s.Name]:
			case s.State == vrrp.Master:
				alone = append(alone, s.Name)
				delete(open, s.Name)
			case s.Master.IsValid() && !s.Holding:
				*said = append(*said, fmt.Sprintf("%s: %s is master, of priority %d, after %s", s.Name, s.Master, s.MasterPriority, time.Since(began).Round(time.Millisecond)))
				delete(open, s.Name)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(peekEvery):
		}
		if time.Since(began) > bound {
			break
		}
	}
	if len(alone) > 0 || len(open) > 0 {
		return fail(ExitFatal, "nothing was interrupted; is the other director running? vipd vrrp scan hears who is on the segment",
			"nobody took over: this director goes on as master of %v", append(alone, keys(open)...))
	}
	return nil
}

func keys(m map[string]bool) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

// Maintenance implements control.Commander.
func (d *daemon) Maintenance(ctx context.Context, on bool, how control.Leave) control.Outcome {
	d.noteCommand(ctx, fmt.Sprintf("maintenance (on: %v, force: %v)", on, how.Force))
	var said []string
	err := d.maintain(ctx, on, how, &said)
	out := outcome(err)
	out.Said = said
	return out
}

func (d *daemon) maintain(ctx context.Context, on bool, how control.Leave, said *[]string) error {
	masters := false
	for _, s := range d.ha.status() {
		masters = masters || s.State == vrrp.Master
	}
	defer d.quiesce(false)
	if on && masters {
		if err := d.handAway(ctx, nil, how, said); err != nil {
			if !how.Force || ctx.Err() != nil {
				return err
			}
			d.drainAll(ctx, how.Drain, said)
			if err := ctx.Err(); err != nil { // whoever asked has gone, and may not want it any more
				return err
			}
		}
	}
	if err := d.keepMaintenance(ctx, on); err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	d.ha.do(func(now time.Time) { d.ha.setMaintenance(now, on) })
	d.events.Info(map[bool]string{true: "Maintenance begins: this director is master of nothing until vipd maintenance off", false: "Maintenance is over"}[on])
	return nil
}

// setMaintenance tells all instances; it is for the loop, or for before it runs.
func (a *ha) setMaintenance(now time.Time, on bool) {
	a.maintenance = on
	for _, r := range a.speaker.Routers() {
		r.Return()
		r.Fault(now, causeMaintenance, on)
	}
}

// maintenanceNote is what is kept of it over restarts.
type maintenanceNote struct {
	Since time.Time `json:"since"`
	By    string    `json:"by,omitempty"`
}

func (d *daemon) maintenancePath() string {
	return filepath.Join(d.opts.State, d.opts.Instance, "maintenance.json")
}

func (d *daemon) keepMaintenance(ctx context.Context, on bool) error {
	path := d.maintenancePath()
	switch {
	case d.opts.State == "":
		return nil
	case !on:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(maintenanceNote{time.Now(), control.Caller(ctx)})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// restoreMaintenance is for the start: that it was said outlives the process, whatever the file is like.
func (d *daemon) restoreMaintenance() {
	if d.opts.State == "" {
		return
	}
	text, err := os.ReadFile(d.maintenancePath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var note maintenanceNote
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		d.events.Warn("read " + d.maintenancePath() + ": " + err.Error() + "; it is there, so maintenance goes on")
	}
	by := note.By
	if by == "" {
		by = "(unknown)"
	}
	d.events.Warn("maintenance since " + note.Since.Format(time.DateTime) + " by " + by + ": this director is master of nothing until vipd maintenance off")
	d.ha.setMaintenance(time.Now(), true)
}
