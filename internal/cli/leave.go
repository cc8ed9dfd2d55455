package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
)

// newFailoverCommand is "vipd failover".
func newFailoverCommand(env Env) *cobra.Command {
	var back bool
	var how control.Leave
	cmd := tell(env, "failover [VRRP_INSTANCE…]", "Hand mastership to the other director on purpose", nil)
	cmd.Long = `Hand the mastership of these instances, or of all, to another director: by a priority-0 advert, as a stop does. The virtual
IPs stay here until the other one is heard. If nobody takes over within the down time this director goes on and the command
fails; nothing was interrupted. Members of a sync group go together.

With connection_sync it waits first until the peers have every connection that is open now, and fails if they have not in time.

This director then leaves the other one alone, whatever the priorities, until that is gone, or until "vipd failover --back".`
	cmd.Args = cobra.ArbitraryArgs
	leaveFlags(cmd, &how)
	cmd.Flags().BoolVar(&back, "back", false, "let priorities count again, so that the stronger director takes over")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return carryOut(env, cmd, func(ctx context.Context, c director) (control.Outcome, error) {
			if back {
				return c.Back(ctx)
			}
			return c.Failover(ctx, args, how)
		})
	}
	return cmd
}

// newMaintenanceCommand is "vipd maintenance".
func newMaintenanceCommand(env Env) *cobra.Command {
	how := control.Leave{Drain: drainFor}
	cmd := tell(env, "maintenance {on|off}", "Take this director out of service until further notice, or put it in again", nil)
	cmd.Long = `on hands every mastership over, as "vipd failover" does, and then keeps all instances in FAULT (maintenance), also over
restarts and reloads, until off. If no other director takes over nothing is done and the command fails, unless --force: then no
new connections are taken, and the virtual IPs go when those that are open have ended, or after --drain.
Notify scripts and mails tell of FAULT. Connections that are still forwarded here go on.`
	cmd.Args = cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)
	cmd.ValidArgs = []string{"on", "off"}
	leaveFlags(cmd, &how)
	cmd.Flags().DurationVar(&how.Drain, "drain", drainFor, "with --force and nobody who takes over: for how long at most open connections may go on")
	cmd.Flags().BoolVar(&how.Force, "force", false, "also if no other director takes over: the virtual IPs are then nowhere")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return carryOut(env, cmd, func(ctx context.Context, c director) (control.Outcome, error) {
			return c.Maintenance(ctx, args[0] == "on", how)
		})
	}
	return cmd
}

// drainFor is how long connections may take to end before maintenance without another director begins.
const drainFor = 30 * time.Second

func leaveFlags(cmd *cobra.Command, how *control.Leave) {
	cmd.Flags().BoolVar(&how.Now, "now", false, "do not wait until the peers of connection_sync have all connections")
	cmd.Flags().DurationVar(&how.Wait, "wait", control.LeaveWait, "for how long at most the peers are waited for")
}
