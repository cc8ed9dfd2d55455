package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

func newVRRPCommand(env Env) *cobra.Command {
	var instance, output string
	cmd := &cobra.Command{
		Use:   "vrrp",
		Short: "Show the VRRP instances: states, causes, last transitions and why, peers, and what was refused",
		Long: `Show the VRRP instances of a running daemon: how they speak and to whom, what put them where they are, the last
transitions and why, whom they hear, and which adverts they refused: by whom, which field, theirs and ours.

"vipd vrrp scan" listens to a segment, also without a daemon.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			if output != "text" && output != "json" {
				return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("-o %q: want text or json", output)}
			}
			ctx, cancel := context.WithTimeout(context.Background(), statusTime)
			defer cancel()
			s, err := askStatus(ctx, env, instance)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(env.Stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(s.VRRP)
			}
			return printVRRP(env.Stdout, s.VRRP, s.Timing, env.now())
		},
	}
	cmd.Flags().StringVar(&instance, "instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.AddCommand(newScanCommand(env))
	return cmd
}

func printVRRP(w io.Writer, routers []control.Router, timing control.Timing, now time.Time) error {
	out := &screen{now: now}
	out.timing(timing)
	if len(routers) == 0 {
		out.linef("no VRRP instance")
	}
	for i := range routers {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.router(&routers[i])
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (o *screen) since(t time.Time) string {
	return o.now.Sub(t).Round(100*time.Millisecond).String() + " ago"
}

// timing says when this machine did not let the daemon run.
func (o *screen) timing(t control.Timing) {
	if t.Stalls > 0 {
		o.linef("! not scheduled for %s, %s; %d such stalls since the start, the worst %s", t.LastStall.Round(time.Millisecond), o.since(t.LastStallAt), t.Stalls,
			t.WorstStall.Round(time.Millisecond))
	}
}

func claimText(c control.Claim) string {
	return fmt.Sprintf("%s is in use by another host too: %s on %s answers for it (vipd doctor)", c.Address, c.MAC, c.Interface)
}

func (o *screen) router(r *control.Router) {
	o.linef("%s: %s since %s, %s", r.Name, r.State, r.Since.Format(time.DateTime), r.Why)
	kind := map[bool]string{false: "multicast", true: "unicast"}[r.Unicast]
	family := map[bool]string{false: "IPv4", true: "IPv6"}[r.V6]
	o.linef("  VRID %d on %s, version %d over %s, %s from %s, priority %d, every %s, authentication %s, checksum %s",
		r.VRID, cmp.Or(r.Interface, "any interface"), r.Version, family, kind, cmp.Or(r.Source, "no address"), r.Priority, r.AdvertInt, r.Auth, r.Checksum)
	o.linef("  %d adverts sent, %d received, %d late by more than a fifth of the interval, the worst by %s", r.Sent, r.Received, r.Late, r.WorstLate.Round(time.Microsecond))
	for _, v := range r.VIPs {
		o.linef("  address %s", v)
	}
	for _, c := range r.Claims {
		o.linef("  ! %s", claimText(c))
	}
	for _, c := range r.Causes {
		o.linef("  fault: %s", c)
	}
	for _, p := range r.Peers {
		master := ""
		if p.Address == r.Master {
			master = ", the master"
		}
		o.linef("  peer %s%s: priority %d, every %s, checksum %s, %d adverts, the last %s", p.Address, master, p.Priority, p.AdvertInt, p.Checksum, p.Adverts, o.since(p.Last))
	}
	for _, f := range r.Refusals {
		o.linef("  refused %d of %s (%s): %s is %s, ours %s; the last %s", f.Count, cmp.Or(f.Peer, "somebody"), f.Reason, f.Field, f.Theirs, f.Ours, o.since(f.Last))
	}
	for _, t := range slices.Backward(r.Transitions) {
		o.linef("  %s %s to %s: %s", t.At.Format("2006-01-02 15:04:05.000"), t.From, t.To, t.Why)
	}
}
