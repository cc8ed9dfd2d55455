package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/daemon"
)

const writeHelp = `
--write puts it into the configuration file instead, or into the one that it includes, in the real_server's own block: every
other byte of the file stays. It is then read again (vipd reload) and the file alone says it. It is refused while the file has
changes that are not in force.
`

// writeOrder puts an order into the file, has the daemon read it, and takes the hand back, which the file now has.
func writeOrder(ctx context.Context, env Env, c director, status *control.Status, o control.Order, t target) error {
	if o.Percent != 0 {
		return misused("--write wants a number: the file has no parts of weights")
	}
	opts := env.reading(daemon.HostID())
	if err := sameAsInForce(ctx, c, status, opts); err != nil {
		return err
	}
	made, err := conf.Rewrite(os.DirFS("/"), status.Config, opts, conf.RealEdit{Service: t.service.ServiceKey, Real: t.real.Addr, Weight: o.Weight, Disable: o.Do == control.OrderDisable})
	if err != nil {
		return &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("write %s of %s into %s: %w", o.Do, t.real.Addr, status.Config, err),
			Hint: "without --write it is so at once, and kept over restarts"}
	}
	file := string(filepath.Separator) + made.Path
	if now, err := os.ReadFile(file); err != nil || string(now) != made.Old {
		return &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("write %s: it has just been changed by somebody else; nothing is done", file)}
	}
	if err := replaceFile(file, made.New); err != nil {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: err}
	}
	out, err := c.Reload(ctx)
	if err != nil || out.Error != "" {
		back := replaceFile(file, made.Old)
		return errors.Join(&daemon.Failure{Code: max(out.Code, daemon.ExitFatal), Hint: "the file is as it was before", Err: fmt.Errorf("reload: %w", cmpErr(err, out.Error))}, back)
	}
	fmt.Fprintf(env.Stdout, "%s:%d\n", file, made.Line)
	if t.real.Operator == nil {
		return nil
	}
	o.Do, o.Weight = control.OrderReady, 0
	if out, err := c.Operate(ctx, o); err != nil || out.Error != "" {
		return fmt.Errorf("it is in the file, but the hand is still on it: %w", cmpErr(err, out.Error))
	}
	return nil
}

func cmpErr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// sameAsInForce refuses a file that says more than what is in force: a reload would do that too.
func sameAsInForce(ctx context.Context, c director, status *control.Status, opts conf.Options) error {
	if status.Config == "" {
		return &daemon.Failure{Code: daemon.ExitConfig, Err: errors.New("--write: the daemon has no configuration file")}
	}
	raw, err := c.Config(ctx)
	if err != nil {
		return asked(err)
	}
	running := new(conf.Config)
	if err := json.Unmarshal(raw, running); err != nil {
		return fmt.Errorf("read the daemon's configuration: %w", err)
	}
	file, _, diags := conf.Load(os.DirFS("/"), status.Config, opts)
	if worst, any := conf.Worst(diags); any && worst == conf.Error {
		return &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("%s has errors now; nothing is done", status.Config), Hint: "vipd check " + status.Config}
	}
	if changes := compare(running, file, nil, nil); len(changes) > 0 && !onlyLeftOut(changes) {
		return &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("%s is not what is in force (%s); nothing is done", status.Config, countOf(len(changes), "change")),
			Hint: "see them with: vipd plan " + status.Config + "; reload first, or take them back"}
	}
	return nil
}

// onlyLeftOut tells of a plan that lists nothing but what a daemon leaves out anyhow.
func onlyLeftOut(changes []change) bool {
	for _, c := range changes {
		if c.Verb != "refuse" {
			return false
		}
	}
	return true
}
