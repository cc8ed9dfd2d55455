package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/daemon"
)

func newPlanCommand(env Env) *cobra.Command {
	var from, output string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what FILE would change, before it is done",
		Long: `Show what FILE would change in the running daemon, or against another file with --from: services, real servers,
instances and addresses added, removed and changed, live connections on what goes away, whether mastership could move,
and how many rows of a hash table change. Nothing is changed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			next, err := readConfig(env, args[0])
			if err != nil {
				return err
			}
			var old *conf.Config
			var status *control.Status
			if from != "" {
				old, err = readConfig(env, from)
			} else {
				old, status, err = askConfig(env, cmd)
			}
			if err != nil {
				return err
			}
			return printPlan(env, output, compare(old, next, status))
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "compare with this file instead of the running daemon")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().String("instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	return cmd
}

// readConfig reads a file; one with errors is refused with all of them said.
func readConfig(env Env, path string) (*conf.Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(abs); err != nil {
		return nil, &daemon.Failure{Code: daemon.ExitNoConfig, Err: err}
	} else if info.IsDir() {
		return nil, &daemon.Failure{Code: daemon.ExitNoConfig, Err: fmt.Errorf("%s: it is a directory", path)}
	}
	cfg, _, diags := conf.Load(os.DirFS("/"), abs, conf.Options{Env: env.Getenv})
	if worst, any := conf.Worst(diags); any && worst == conf.Error {
		for _, d := range diags {
			if d.Severity == conf.Error {
				fmt.Fprint(env.Stderr, d.Long())
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
	_, err := fmt.Fprintf(env.Stdout, "%d added, %d removed, %d changed; nothing else is touched\n", counts["add"], counts["remove"], counts["change"])
	return err
}
