package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

// upgradeTime is how long the program that takes over may take until it answers: most of it is the kernel's verifier's.
const upgradeTime = 90 * time.Second

// newUpgradeCommand is "vipd upgrade".
func newUpgradeCommand(env Env) *cobra.Command {
	var probe bool
	cmd := &cobra.Command{
		Use:   "upgrade [PROGRAM]",
		Short: "Have another vipd, or the same file as it is now, take the daemon's place: no connection and no advert is lost",
		Long: `Have PROGRAM take the place of the running daemon: the same process, with the same arguments. Without PROGRAM it is the path
that the daemon was started by, which a package may have replaced.

First PROGRAM is tried: whether it reads the configuration, finds its interfaces and can take over what is pinned. If not, it
says why and nothing is changed. Then the daemon leaves virtual IPs, connections and the packet path as they are, and PROGRAM
goes on as master at once. The way back is the same: vipd upgrade PROGRAM-BEFORE. An instance that follows a BFD session, or
whose sync group is not master as a whole, is handed to the other director instead.

systemctl restart does the same where the unit is vipd's own.`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&probe, "check", false, "only try whether it could")
	cmd.Flags().String("instance", env.instance(), "name of the daemon to tell ($"+instanceVariable+")")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		program := ""
		if len(args) > 0 {
			var err error
			if program, err = filepath.Abs(args[0]); err != nil {
				return err
			}
		}
		return env.upgrade(cmd, program, probe)
	}
	return cmd
}

func (e Env) upgrade(cmd *cobra.Command, program string, probe bool) error {
	c, err := e.director(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), upgradeTime)
	defer cancel()
	before, err := c.Status(ctx)
	if err != nil {
		return asked(err)
	}
	if err := carryOut(e, cmd, func(ctx context.Context, c director) (control.Outcome, error) { return c.Upgrade(ctx, program, probe) }); err != nil || probe {
		return err
	}
	after, err := e.successor(ctx, cmd, before)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "%s runs in the place of %s: pid %d, master of %d of %d instances\n", after.Version, before.Version, after.PID, masters(after), len(after.VRRP))
	return nil
}

// successor waits until another daemon than before answers.
func (e Env) successor(ctx context.Context, cmd *cobra.Command, before control.Status) (control.Status, error) {
	for {
		select {
		case <-ctx.Done():
			return control.Status{}, &daemon.Failure{Code: daemon.ExitFatal, Hint: "what goes on by itself goes on; see the log of the daemon", Err: errors.New("the program that took over does not answer")}
		case <-time.After(100 * time.Millisecond):
		}
		c, err := e.director(cmd)
		if err != nil {
			continue
		}
		if st, err := c.Status(ctx); err == nil && !st.Started.Equal(before.Started) {
			return st, nil
		}
	}
}

func masters(s control.Status) (n int) {
	for _, r := range s.VRRP {
		if r.State == "MASTER" {
			n++
		}
	}
	return n
}
