package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lb"
)

func newPlanCommand(env Env) *cobra.Command {
	var from, output, id string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what FILE would change, before it is done",
		Long: `Show what FILE would change in the running daemon, or against another file with --from: services, real servers,
instances and addresses added, removed and changed, live connections on what goes away, whether mastership could move,
and how many rows of a hash table change. Nothing is changed. "-" reads the standard input.

A line begins with + (added), - (removed), ~ (changed) or ! (in FILE, and not done by this version). Exit codes: 0 the
plan is printed; 2 a file has errors; 6 a file cannot be read; others: the daemon does not answer.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			next, err := readConfig(env, args[0], id)
			if err != nil {
				return err
			}
			var old *conf.Config
			var status *control.Status
			if from != "" {
				old, err = readConfig(env, from, id)
			} else {
				old, status, err = askConfig(env, cmd)
			}
			if err != nil {
				return err
			}
			return printPlan(env, output, compare(old, next, status, planRefuses(env, next, status)))
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "compare with this file instead of the running daemon")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVarP(&id, "config-id", "i", daemon.HostID(), "read the file as the director of this name does (lines with @NAME)")
	cmd.Flags().String("instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	return cmd
}

// planRefuses asks the XDP plane, if that is what forwards.
func planRefuses(env Env, next *conf.Config, status *control.Status) func(lb.Service, []lb.Real) error {
	name := next.Global.DataPlane
	if status != nil && status.DataPlane.Name != "" {
		name = status.DataPlane.Name
	}
	if name != "" && name != "xdp" {
		return nil
	}
	return env.refuses()
}

// readConfig reads a file; one with errors is refused with all of them said.
func readConfig(env Env, path, id string) (*conf.Config, error) {
	s, err := openSource(env, path)
	if err != nil {
		return nil, &daemon.Failure{Code: daemon.ExitNoConfig, Err: err}
	}
	cfg, _, diags := conf.Load(s, s.name, env.reading(id))
	if worst, any := conf.Worst(diags); any && worst == conf.Error {
		for _, d := range diags {
			if d.Severity == conf.Error {
				fmt.Fprint(env.Stderr, placed(s.relative(d)))
			}
		}
		return nil, &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("%s is refused: a director would not start with it", path)}
	}
	return cfg, nil
}

// askConfig asks the daemon what is in force and how it stands.
func askConfig(env Env, cmd *cobra.Command) (*conf.Config, *control.Status, error) {
	d, err := env.director(cmd)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	raw, err := d.Config(ctx)
	if err != nil {
		return nil, nil, asked(err)
	}
	cfg := new(conf.Config)
	if err := json.Unmarshal(raw, cfg); err != nil {
		return nil, nil, fmt.Errorf("read the daemon's configuration: %w", err)
	}
	status, err := d.Status(ctx)
	return cfg, &status, asked(err)
}

func printPlan(env Env, output string, changes []change) error {
	switch output {
	case "json":
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		if changes == nil {
			changes = []change{}
		}
		return enc.Encode(changes)
	case "text":
	default:
		return &daemon.Failure{Code: exitUsage, Err: errors.New("-o " + output + ": want text or json")}
	}
	counts := map[string]int{}
	for _, c := range changes {
		counts[c.Verb]++
		fmt.Fprintln(env.Stdout, c.line())
		for _, e := range c.Effects {
			fmt.Fprintln(env.Stdout, "    "+e)
		}
	}
	if len(changes) == 0 {
		fmt.Fprintln(env.Stdout, "no change")
		return nil
	}
	left := ""
	if n := counts["refuse"]; n > 0 {
		left = fmt.Sprintf(", %d left out", n)
	}
	_, err := fmt.Fprintf(env.Stdout, "%d added, %d removed, %d changed%s; nothing else is touched\n", counts["add"], counts["remove"], counts["change"], left)
	return err
}
