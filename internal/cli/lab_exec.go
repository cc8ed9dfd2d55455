package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/lab"
)

func newLabExec(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec HOST COMMAND…",
		Short: "Run a command inside a host of the site",
		Long: `Run a command inside a host of the site: client, router, switch, director1, director2, real1, real2, of the method
content real3, real4, proxy1 and proxy2, and of a lab with its third tier cache, files, posts and mail. Standard input, output and the exit code are the command's own. vipd and ipvsadm are in its PATH and talk to that host's director.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return labExec(args[0], args[1:]) },
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// labExec becomes the command: there is no process between the caller and it.
func labExec(host string, args []string) error {
	if err := labRoot(); err != nil {
		return err
	}
	l, err := standing()
	if err != nil {
		return err
	}
	if !knownHost(l, host) {
		return noHost(l, host)
	}
	if !l.Stands() {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: %w", lab.ErrNoLab), Hint: "vipd lab up builds one and leaves it standing"}
	}
	// exec replaces the whole process and keeps the namespace of the thread that calls it.
	runtime.LockOSThread()
	if err := lab.EnterNamespace(l.Namespace(host)); err != nil {
		return err
	}
	environ := l.ExecEnv(os.Environ(), host)
	for _, v := range environ {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return &daemon.Failure{Code: 127, Err: fmt.Errorf("lab exec: %w", err)}
	}
	return fmt.Errorf("lab exec: run %s: %w", path, syscall.Exec(path, args, environ))
}

func newLabStatus(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the hosts of the site, what runs on them, who is master and the pools",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStanding(env, func(l *lab.Lab) error {
				all := l.Status(cmd.Context())
				if output == "json" {
					enc := json.NewEncoder(env.Stdout)
					enc.SetIndent("", "  ")
					return enc.Encode(all)
				}
				return printLabStatus(env, all)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json: for programs")
	return cmd
}

func printLabStatus(env Env, all []lab.HostStatus) error {
	var err error
	for _, h := range all {
		line := fmt.Sprintf("%-10s %-22s %s", h.Host, strings.Join(h.Addresses, " "), runs(h))
		_, err = fmt.Fprintln(env.Stdout, strings.TrimRight(line, " "))
		for _, r := range h.Pool {
			fmt.Fprintf(env.Stdout, "           %-22s %s\n", r.Real, poolWords(r))
		}
	}
	return err
}

func runs(h lab.HostStatus) string {
	what := h.Is()
	switch {
	case what == "":
		return ""
	case h.PID == 0:
		what += " does not run"
	default:
		what += fmt.Sprintf(" runs (pid %d)", h.PID)
	}
	if h.State != "" && h.PID != 0 {
		what += ", " + h.State
	}
	if h.VIP {
		what += ", has the virtual IP"
	}
	return what
}

func poolWords(r lab.PoolStatus) string {
	if !r.InPool {
		return "out of the pool: " + r.Why
	}
	return fmt.Sprintf("in the pool, weight %d, %d active, %d inactive connections", r.Weight, r.Active, r.Inactive)
}

func newLabServe(env Env) *cobra.Command {
	var listen, name, proxies string
	cmd := &cobra.Command{Use: "serve", Short: "The web server of a real server", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := hostContext()
			defer stop()
			return lab.Serve(ctx, listen, name, proxies, env.Stderr)
		}}
	cmd.Flags().StringVar(&listen, "listen", "0.0.0.0:80", "address and port")
	cmd.Flags().StringVar(&name, "name", "", "what it calls itself")
	cmd.Flags().StringVar(&proxies, "proxies", "", "addresses of proxies whose X-Forwarded-For counts, comma-separated")
	return cmd
}

func newLabClient(env Env) *cobra.Command {
	var to, from string
	var cfg lab.LoadConfig
	var control bool
	cmd := &cobra.Command{Use: "client", Short: "A client that asks at a steady pace and reports as NDJSON", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if cfg.To, err = netip.ParseAddrPort(to); err != nil {
				return fmt.Errorf("lab client: --to: %w", err)
			}
			if cfg.From, err = lab.ParseAddrs(from); err != nil {
				return fmt.Errorf("lab client: --from: %w", err)
			}
			if control {
				cfg.Control = env.Stdin
			}
			ctx, stop := labContext()
			defer stop()
			err = lab.Load(ctx, cfg, env.Stdout)
			if errors.Is(err, syscall.EPIPE) {
				return nil
			}
			return err
		}}
	f := cmd.Flags()
	f.StringVar(&to, "to", "10.0.8.9:80", "address and port to ask")
	f.StringVar(&from, "from", "10.0.4.102", "addresses to ask from, comma-separated")
	f.DurationVar(&cfg.Every, "every", 20*time.Millisecond, "time between two requests")
	f.DurationVar(&cfg.Timeout, "timeout", time.Second, "of one request")
	f.DurationVar(&cfg.For, "for", 0, "end after this (default 10m)")
	f.BoolVar(&control, "control", false, "read new lists of addresses from standard input, and end with it")
	return cmd
}
