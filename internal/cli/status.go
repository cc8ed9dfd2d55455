package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

// statusTime is how long "vipd status" waits for the daemon.
const statusTime = 10 * time.Second

func newStatusCommand(env Env) *cobra.Command {
	var instance, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is master, which real servers are in the pools and what becomes of packets",
		Long: `Show a running daemon at one moment: VRRP instances, services with their real servers, interfaces, and every reason
by which packets were dropped, forwarded or passed on.

-o json prints the same and more for programs; the names of its fields stay.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
				return enc.Encode(s)
			}
			return printStatus(env.Stdout, &s, env.now())
		},
	}
	cmd.Flags().StringVar(&instance, "instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func askStatus(ctx context.Context, env Env, instance string) (control.Status, error) {
	src, err := env.dial(instance)
	if err != nil {
		return control.Status{}, &daemon.Failure{Code: exitUsage, Err: err}
	}
	s, err := src.Status(ctx)
	return s, asked(err)
}

// asked gives the error of a question its exit code and the next step.
func asked(err error) error {
	var u *control.Unreachable
	switch {
	case err == nil:
		return nil
	case errors.As(err, &u):
		code := daemon.ExitFatal
		if errors.Is(err, control.ErrPermission) {
			code = daemon.ExitPermission
		}
		return &daemon.Failure{Code: code, Err: err, Hint: u.Hint()}
	}
	return &daemon.Failure{Code: daemon.ExitFatal, Err: err}
}
