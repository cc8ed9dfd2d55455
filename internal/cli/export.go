package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/haproxy"
)

// exporting is what "vipd export haproxy" is asked to do.
type exporting struct {
	haproxy.Options
	instance, id string
	services     []string
	watch        string
	reload       string
	sockets      []string
	whileMaster  bool
}

func newExportCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Write the pools for another program",
		RunE: func(*cobra.Command, []string) error { return misused("export for which program? haproxy") }}
	cmd.AddCommand(newExportHAProxy(env))
	return cmd
}

func newExportHAProxy(env Env) *cobra.Command {
	var o exporting
	cmd := &cobra.Command{
		Use:   "haproxy [FILE]",
		Short: "Write the pools as a configuration of HAProxy, once or kept in step with them",
		Long: `Write the pools of the running daemon, or of the configuration FILE, as a configuration of HAProxy (2.6 or newer): a backend a
service or virtual_server_group, with scheduler, persistence, weights, checks and sorry server. Of a running daemon, real servers
that are down or disabled are marked so, drained ones have the weight 0. What HAProxy has no equivalent for is a comment; services
of UDP and SCTP are left out, which is said.

With --backends frontends, global and defaults are yours: haproxy -f yours.cfg -f FILE. Without it the file stands alone, with a
frontend at the address of every service.

--watch keeps FILE as the pools are until it is ended. --reload runs a command when HAProxy must read it anew. With --socket
weights and states go to the running HAProxy by its runtime API, and the command runs only for what that cannot do. --socket
without --watch tells it once.

Exit codes: 0 done; 1 nothing to write, or the daemon or HAProxy does not answer; 2 FILE has errors, or a usage error; 6 FILE cannot
be read.`,
		Args: mistaken(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			return export(env, cmd, o, args)
		},
	}
	cmd.SetFlagErrorFunc(mistakenFlag)
	f := cmd.Flags()
	f.StringVar(&o.instance, "instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	f.StringVarP(&o.id, "config-id", "i", daemon.HostID(), "read FILE as the director of this name does (lines with @NAME)")
	f.StringVar(&o.Mode, "mode", haproxy.TCP, "tcp, or http for backends that your frontends choose by path and host")
	f.BoolVar(&o.Backends, "backends", false, "write backends alone")
	f.BoolVar(&o.NoChecks, "no-checks", false, "write no checks: vipd's verdicts alone count, by --watch")
	f.StringArrayVar(&o.services, "service", nil, "this `SERVICE` alone ("+control.ServiceWords+"); may be repeated")
	f.StringVar(&o.watch, "watch", "", "keep this `FILE` in step with the daemon's pools")
	f.StringVar(&o.reload, "reload", "", "with --watch: the `COMMAND` that makes HAProxy read FILE anew, for sh -c")
	f.StringArrayVar(&o.sockets, "socket", nil, "HAProxy's runtime API: the `PATH` of a socket of level admin, or ADDRESS:PORT; may be repeated")
	f.BoolVar(&o.whileMaster, "while-master", false, "with --watch: only while the daemon is master of a VRRP instance")
	return cmd
}

// check refuses options that mean nothing together.
func (o *exporting) check(args []string) error {
	for _, bad := range []struct {
		is   bool
		what string
	}{
		{o.Mode != haproxy.TCP && o.Mode != haproxy.HTTP, fmt.Sprintf("--mode %.20q: want tcp or http", o.Mode)},
		{len(args) > 0 && (o.watch != "" || len(o.sockets) > 0), "--watch and --socket follow a running daemon; FILE has no states"},
		{o.watch == "" && o.reload != "", "--reload needs --watch"},
		{o.watch == "" && o.whileMaster, "--while-master needs --watch"},
		{slices.Contains(o.sockets, ""), "--socket: want a path or ADDRESS:PORT"},
	} {
		if bad.is {
			return misused("%s", bad.what)
		}
	}
	return nil
}

func export(env Env, cmd *cobra.Command, o exporting, args []string) error {
	if len(args) == 1 {
		cfg, err := readConfig(env, args[0], o.id)
		if err != nil {
			return err
		}
		o.From = args[0]
		f, err := o.file(poolsOfFile(cfg))
		if err != nil {
			return err
		}
		return printExport(env, f)
	}
	asker := &configAsker{}
	src := func(ctx context.Context) (haproxy.File, bool, error) { return o.ask(ctx, env, cmd, asker) }
	if o.watch != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		w := watcher{exporting: o, env: env, ask: src}
		w.run(ctx)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	f, _, err := src(ctx)
	if err != nil {
		return err
	}
	if len(o.sockets) == 0 {
		return printExport(env, f)
	}
	var errs []error
	for _, socket := range o.sockets {
		if missing, err := tellHAProxy(ctx, socket, f.Backends); err != nil {
			errs = append(errs, err)
		} else if len(missing) > 0 {
			errs = append(errs, lacks(socket, missing))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: err}
	}
	return nil
}

func lacks(socket string, missing []string) error {
	return fmt.Errorf("HAProxy at %s has no server %s, and %s: its configuration is another; write it anew and reload", socket, missing[0], countOf(len(missing)-1, "other"))
}

// ask makes the file of what the daemon has, and tells whether it is master of anything.
func (o exporting) ask(ctx context.Context, env Env, cmd *cobra.Command, a *configAsker) (f haproxy.File, master bool, err error) {
	d, err := env.director(cmd)
	if err != nil {
		return f, false, err
	}
	status, err := d.Status(ctx)
	if err != nil {
		return f, false, asked(err)
	}
	cfg, err := a.config(ctx, d, &status, env.now())
	if err != nil {
		return f, false, err
	}
	o.From, o.Live = "the daemon "+status.Instance, true
	f, err = o.file(poolsOfDaemon(cfg, &status))
	return f, slices.ContainsFunc(status.VRRP, func(r control.Router) bool { return r.State == "MASTER" }), err
}

// file writes the pools that are asked for.
func (o exporting) file(pools []haproxy.Pool) (haproxy.File, error) {
	pools, err := o.chosen(pools)
	if err != nil {
		return haproxy.File{}, err
	}
	f := haproxy.Export(pools, o.Options)
	switch {
	case len(pools) == 0:
		return f, &daemon.Failure{Code: daemon.ExitFatal, Err: errors.New("export: there is no virtual server")}
	case len(f.Backends) == 0:
		return f, &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("export: HAProxy can have none of the services: %s", f.LeftOut[0])}
	case !o.Backends && f.Frontends == 0:
		return f, &daemon.Failure{Code: daemon.ExitFatal, Err: errors.New("export: no service has an address and port that HAProxy could listen at"),
			Hint: "--backends writes the backends alone, for use beside frontends of your own"}
	}
	return f, nil
}

// chosen are the pools that --service names; all without it.
func (o exporting) chosen(pools []haproxy.Pool) (out []haproxy.Pool, err error) {
	if len(o.services) == 0 {
		return pools, nil
	}
	taken := make([]bool, len(pools))
	for _, word := range o.services {
		found := false
		for i, p := range pools {
			if meant(p, word) {
				found, taken[i] = true, true
			}
		}
		if !found {
			return nil, misused("no service %.80q", word)
		}
	}
	for i, p := range pools {
		if taken[i] {
			out = append(out, p)
		}
	}
	return out, nil
}

func printExport(env Env, f haproxy.File) error {
	for _, why := range f.LeftOut {
		fmt.Fprintf(env.Stderr, "vipd: left out: %s\n", clean(why))
	}
	_, err := fmt.Fprint(env.Stdout, f.Text)
	return err
}

// exportEvery is how often "vipd export haproxy --watch" looks.
const exportEvery = time.Second
