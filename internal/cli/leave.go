package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vipd/internal/control"
)

// newFailoverCommand is "vipd failover".
func newFailoverCommand(env Env) *cobra.Command {
	var back bool
	cmd := tell(env, "failover [VRRP_INSTANCE…]", "Hand mastership to the other director on purpose", nil)
	cmd.Long = `Hand the mastership of these instances, or of all, to another director: by a priority-0 advert, as a stop does. The virtual
IPs stay here until the other one is heard. If nobody takes over within the down time this director goes on and the command
fails; nothing was interrupted. Members of a sync group go together.

This director then leaves the other one alone, whatever the priorities, until that is gone, or until "vipd failover --back".`
	cmd.Args = cobra.ArbitraryArgs
	cmd.Flags().BoolVar(&back, "back", false, "let priorities count again, so that the stronger director takes over")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return carryOut(env, cmd, func(ctx context.Context, c director) (control.Outcome, error) {
			if back {
				return c.Back(ctx)
			}
			return c.Failover(ctx, args)
		})
	}
	return cmd
}

// newMaintenanceCommand is "vipd maintenance".
func newMaintenanceCommand(env Env) *cobra.Command {
	var force bool
	cmd := tell(env, "maintenance {on|off}", "Take this director out of service until further notice, or put it in again", nil)
	cmd.Long = `on hands every mastership over, as "vipd failover" does, and then keeps all instances in FAULT (maintenance), also over
restarts and reloads, until off. If no other director takes over nothing is done and the command fails, unless --force.
Notify scripts and mails tell of FAULT. Connections that are still forwarded here go on.`
	cmd.Args = cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)
	cmd.ValidArgs = []string{"on", "off"}
	cmd.Flags().BoolVar(&force, "force", false, "also if no other director takes over: the virtual IPs are then nowhere")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return carryOut(env, cmd, func(ctx context.Context, c director) (control.Outcome, error) {
			return c.Maintenance(ctx, args[0] == "on", force)
		})
	}
	return cmd
}
