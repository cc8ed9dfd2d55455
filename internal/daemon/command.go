package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
)

// pending is a change that is taken back unless somebody confirms it.
type pending struct {
	old     *conf.Config
	oldFile string
	timer   *time.Timer
	until   time.Time
}

// order runs fn in the goroutine that serves, where the configuration in force lives, and waits for it.
func (d *daemon) order(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	select {
	case d.orders <- func() { defer close(done); fn() }:
	case <-ctx.Done():
		return errors.New("the daemon is busy or stopping")
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done: // it was carried out, whatever came after
		return nil
	default:
		return errors.New("the daemon is stopping")
	}
}

// ordered is order for a command that has an Outcome.
func (d *daemon) ordered(ctx context.Context, fn func() error) (out control.Outcome) {
	if err := d.order(ctx, func() {
		d.said = nil
		out = outcome(fn())
		out.Said = d.said
		if d.pending != nil {
			out.Until = d.pending.until
		}
	}); err != nil {
		return outcome(err)
	}
	return out
}

func outcome(err error) control.Outcome {
	if err == nil {
		return control.Outcome{Done: true}
	}
	out := control.Outcome{Error: err.Error(), Code: ExitFatal}
	var part *partly
	out.Done = errors.As(err, &part)
	var f *Failure
	if errors.As(err, &f) {
		out.Code, out.Hint = f.Code, f.Hint
	}
	return out
}

// Config implements control.Commander.
func (d *daemon) Config(ctx context.Context) (raw json.RawMessage, err error) {
	orderErr := d.order(ctx, func() { raw, err = json.Marshal(d.cfg) })
	return raw, errors.Join(orderErr, err)
}

// Reload implements control.Commander.
func (d *daemon) Reload(ctx context.Context) control.Outcome {
	d.noteCommand(ctx, "reload")
	return d.ordered(ctx, d.reread)
}

// noteCommand puts into the journal who has asked for what.
func (d *daemon) noteCommand(ctx context.Context, what string) {
	by := cmp.Or(control.Caller(ctx), "(unknown)")
	d.events.of("config").note(what+" was asked for by "+by, byKey, by)
}

// Apply implements control.Commander. What breaks while it is applied is taken back at once.
func (d *daemon) Apply(ctx context.Context, path string, confirm time.Duration) control.Outcome {
	d.noteCommand(ctx, "apply "+path)
	return d.ordered(ctx, func() error { return d.apply(path, confirm) })
}

func (d *daemon) apply(path string, confirm time.Duration) error {
	if d.opts.NoConfig {
		return fail(ExitNoConfig, "services are changed with ipvsadm; start vipd with -f FILE for a configuration", "started with --no-config")
	}
	if !filepath.IsAbs(path) {
		return fail(ExitNoConfig, "", "apply %q: the path must be absolute", path)
	}
	cfg, err := d.read(path)
	if err != nil {
		return err
	}
	old, oldFile := d.cfg, d.inForce
	if d.pending != nil { // a second try: what was there before the first is what is gone back to
		old, oldFile = d.pending.old, d.pending.oldFile
	}
	before := d.cfg
	if err := d.reload(cfg); err != nil {
		return d.takeApplyBack(before, err)
	}
	d.settlePending()
	d.inForce = path
	d.events.of("config").Info("Applied " + path)
	if confirm > 0 {
		d.pending = &pending{old: old, oldFile: oldFile, until: time.Now().Add(confirm), timer: time.AfterFunc(confirm, d.expire)}
		d.events.of("config").Warn(fmt.Sprintf("this is taken back in %s unless it is confirmed with: vipd confirm", confirm))
	}
	return nil
}

// takeApplyBack undoes a change that broke half-way.
func (d *daemon) takeApplyBack(old *conf.Config, why error) error {
	d.events.of("config").Error("Apply failed, going back: " + why.Error())
	if err := d.reload(old); err != nil {
		d.events.of("config").Error("going back: " + err.Error())
		return errors.Join(why, err)
	}
	return fail(ExitFatal, "the configuration before is in force again", "%w", errors.New(why.Error()))
}

// expire takes an unconfirmed change back.
func (d *daemon) expire() {
	_ = d.order(d.ctx, func() {
		p := d.pending
		if p == nil || time.Now().Before(p.until) {
			return
		}
		d.settlePending()
		d.events.of("config").Warn("Apply was not confirmed, going back to " + p.oldFile)
		if err := d.reload(p.old); err != nil {
			d.events.of("config").Error("going back: " + err.Error())
			return
		}
		d.inForce = p.oldFile
	})
}

// settlePending ends the wait for a confirmation.
func (d *daemon) settlePending() {
	if d.pending != nil {
		d.pending.timer.Stop()
		d.pending = nil
	}
}

// Confirm implements control.Commander.
func (d *daemon) Confirm(ctx context.Context) control.Outcome {
	d.noteCommand(ctx, "confirm")
	return d.ordered(ctx, func() error {
		if d.pending == nil {
			return fail(ExitConfig, "", "nothing waits for a confirmation")
		}
		d.settlePending()
		d.events.of("config").Info("Confirmed " + d.inForce)
		return nil
	})
}
