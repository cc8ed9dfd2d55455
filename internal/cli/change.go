package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

// commandTime is how long a daemon may take to do what it is told.
const commandTime = 2 * time.Minute

// director is a daemon that can be told something: control.Client, or a test's.
type director interface {
	control.Source
	Config(ctx context.Context) (json.RawMessage, error)
	Reload(ctx context.Context) (control.Outcome, error)
	Apply(ctx context.Context, path string, confirm time.Duration) (control.Outcome, error)
	Confirm(ctx context.Context) (control.Outcome, error)
	Failover(ctx context.Context, instances []string, how control.Leave) (control.Outcome, error)
	Back(ctx context.Context) (control.Outcome, error)
	Maintenance(ctx context.Context, on bool, how control.Leave) (control.Outcome, error)
	Upgrade(ctx context.Context, program string, probe bool) (control.Outcome, error)
	Operate(ctx context.Context, o control.Order) (control.Outcome, error)
}

// director opens the daemon that cmd's --instance names.
func (e Env) director(cmd *cobra.Command) (director, error) {
	name, err := cmd.Flags().GetString("instance")
	if err != nil {
		return nil, err
	}
	src, err := e.dial(name)
	if err != nil {
		return nil, &daemon.Failure{Code: exitUsage, Err: err}
	}
	d, ok := src.(director)
	if !ok {
		return nil, fmt.Errorf("instance %s takes no commands", name)
	}
	return d, nil
}

// newReloadCommand is "vipd reload".
func newReloadCommand(env Env) *cobra.Command {
	return tell(env, "reload", "Make the daemon read its file again; a file with errors changes nothing",
		func(ctx context.Context, c director) (control.Outcome, error) { return c.Reload(ctx) })
}

// newConfirmCommand is "vipd confirm".
func newConfirmCommand(env Env) *cobra.Command {
	return tell(env, "confirm", "Keep what vipd apply --confirm has done",
		func(ctx context.Context, c director) (control.Outcome, error) { return c.Confirm(ctx) })
}

// newApplyCommand is "vipd apply FILE".
func newApplyCommand(env Env) *cobra.Command {
	var confirm time.Duration
	cmd := tell(env, "apply FILE", "Make FILE the configuration in force; going back if it breaks, or if nobody confirms it in time", nil)
	cmd.Long = `Make FILE the configuration in force, as a reload would: what did not change is not touched.

A file with errors changes nothing. If applying it fails half-way, the configuration before is in force again. With
--confirm the daemon goes back to it by itself unless "vipd confirm" comes in time. A restart or a reload of the daemon
reads its own file again: see first with "vipd plan FILE" what would change, and put FILE in that place to keep it.`
	cmd.Flags().DurationVar(&confirm, "confirm", 0, "go back after this time unless confirmed, such as 60s")
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		return carryOut(env, cmd, func(ctx context.Context, c director) (control.Outcome, error) {
			return c.Apply(ctx, path, confirm)
		})
	}
	return cmd
}

// tell makes a command that tells a daemon one thing.
func tell(env Env, use, short string, do func(context.Context, director) (control.Outcome, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return carryOut(env, cmd, do) }}
	cmd.Flags().String("instance", env.instance(), "name of the daemon to tell ($"+instanceVariable+")")
	return cmd
}

// carryOut tells the daemon and reports what came of it.
func carryOut(env Env, cmd *cobra.Command, do func(context.Context, director) (control.Outcome, error)) error {
	c, err := env.director(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	out, err := do(ctx, c)
	if err != nil {
		return asked(err)
	}
	for _, line := range out.Said {
		fmt.Fprintln(env.Stderr, line)
	}
	if out.Error != "" {
		return &daemon.Failure{Code: out.Code, Hint: out.Hint, Err: errors.New(out.Error)}
	}
	if !out.Until.IsZero() {
		fmt.Fprintf(env.Stderr, "in force until %s; keep it with: vipd confirm\n", out.Until.Format("15:04:05"))
	}
	return nil
}
