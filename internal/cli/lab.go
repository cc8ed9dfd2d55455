package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/lab"
)

// exitInterrupted is what a shell reports of a command that SIGINT ended.
const exitInterrupted = 130

func newLabCommand(env Env) *cobra.Command {
	var opts labOptions
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Build the example site on this machine and play it (root)",
		Long: `Build the example site on this one machine, in network namespaces, and play it: a client behind a router keeps
asking the virtual IP 10.0.8.9 while a web server dies and returns, the active director is killed and returns, and the
active one is stopped. At the end a table says for each step how many requests failed and how long the site was silent,
and everything is removed again. It takes about 80 seconds; q or Ctrl-C ends it earlier. With --site the real servers
run a forum that shares memcached, an FTP server and PostgreSQL, and a user's session and upload must survive all of that.

With --continuity the directors tell each other of their connections (connection_sync), and sessions, downloads and short requests go
on while the active one is stopped, killed, cut off, restarted and replaced, and returns. The table counts the connections that broke,
by cause: none may, but of those that were younger than the announced lag when a director was killed or cut off, one in a thousand.

"lab up" leaves the site standing instead: "lab exec client curl -I http://10.0.8.9/", "lab exec director1 ipvsadm -ln".

Exit codes: 0 the scene held; 1 it did not, or could not be built; 3 another lab is being played; 4 missing permission;
130 interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if opts.continuity.play {
				return playContinuity(env, opts)
			}
			return playLab(env, opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.json, "json", "", "write the figures to this FILE")
	f.StringVar(&opts.logs, "logs", "", "copy the programs' logs to this directory before the lab is removed")
	f.BoolVar(&opts.plain, "plain", false, "print lines instead of the live view")
	f.BoolVar(&opts.powerOff, "power-off", false, "pull the cable of the director that is killed, so that its packet path dies too")
	f.DurationVar(&opts.lasts, "step", 0, "how long each step is measured (default 8s)")
	opts.continuity.flags(cmd, "play another scene: connections stay open while directors are stopped, killed, cut off, restarted and return")
	opts.files(cmd)
	cmd.AddCommand(newLabUp(env), newLabDown(env), newLabStatus(env), newLabExec(env), newLabWeb(env), newLabServe(env), newLabClient(env), newLabCrowd(env))
	cmd.AddCommand(newLabVerbs(env)...)
	return cmd
}

// labOptions are the flags of lab and lab up.
type labOptions struct {
	config1, config2 string
	without          []string
	json, logs       string
	method, forum    string
	site             bool
	plain, powerOff  bool
	lasts            time.Duration
	continuity       continuityOptions
}

func (o *labOptions) files(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.site, "site", o.site, "with the third tier: a forum on the real servers, and memcached, an FTP server, PostgreSQL and a mail server behind them")
	f.StringVar(&o.forum, "forum", "", "the forum's `PROGRAM` (default: forum, beside this program)")
	f.StringVar(&o.method, "method", lab.DR, "how directors forward: "+strings.Join(lab.Methods, ", "))
	cmd.Flags().StringVar(&o.config1, "config1", "", "configuration of director1 (default: the example site's)")
	cmd.Flags().StringVar(&o.config2, "config2", "", "configuration of director2 (default: the example site's)")
}

func newLabUp(env Env) *cobra.Command {
	var opts labOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build the site and leave it standing",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
				if err := l.Up(); err != nil {
					return err
				}
				if err := l.Ready(ctx); err != nil {
					return errors.Join(err, l.Down())
				}
				if isTerminal(env.Stdout) {
					fmt.Fprint(env.Stdout, labWords)
				}
				l.Close()
				return nil
			})
		},
	}
	opts.files(cmd)
	cmd.Flags().StringSliceVar(&opts.without, "without", nil, "do not start the program of these hosts")
	return cmd
}

const labWords = `The site stands. Try:
  vipd lab status
  vipd lab exec client curl -I http://10.0.8.9/
  vipd lab exec director1 ipvsadm -lcn
  vipd lab kill real1
  vipd lab down
`

func newLabDown(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the site and everything that belongs to it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withLab(env, labOptions{method: lab.DR}, func(_ context.Context, l *lab.Lab) error { return l.Down() })
		},
	}
}

// newLabVerbs are the ways to break the site by hand.
func newLabVerbs(env Env) []*cobra.Command {
	verb := func(use, short string, do func(*lab.Lab, string) error) *cobra.Command {
		return &cobra.Command{Use: use + " HOST", Short: short, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return withStanding(env, func(l *lab.Lab) error { return do(l, args[0]) })
		}}
	}
	return []*cobra.Command{
		verb("start", "Start the program of a host", (*lab.Lab).Start),
		verb("stop", "Stop it in order (SIGTERM)", func(l *lab.Lab, host string) error { return l.Signal(host, syscall.SIGTERM, labPatience) }),
		verb("kill", "Kill it (SIGKILL)", func(l *lab.Lab, host string) error { return l.Signal(host, syscall.SIGKILL, labPatience) }),
	}
}

// labRoot refuses to go on without the rights that namespaces need.
func labRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &daemon.Failure{Code: daemon.ExitPermission, Err: errors.New("lab: network namespaces need root"), Hint: "run it with sudo"}
}

// labContext ends with the signals that people and systems stop a command with. SIGPIPE is one of them: whoever reads
// our lines may go away, and the site must be removed all the same.
func labContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
}

// hostContext is the same for a program in a host of the lab: there SIGPIPE is about one connection, which the other end has reset.
func hostContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// withLab runs fn holding the lab's lock.
func withLab(env Env, opts labOptions, fn func(context.Context, *lab.Lab) error) (err error) {
	if err := labRoot(); err != nil {
		return err
	}
	l, err := opts.lab()
	if err != nil {
		return err
	}
	lock, err := l.Acquire()
	var busy *lab.BusyError
	if errors.As(err, &busy) {
		return &daemon.Failure{Code: daemon.ExitRunning, Err: fmt.Errorf("lab: %w", err), Hint: "end it first: kill -INT " + busy.PID}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	ctx, stop := labContext()
	defer stop()
	if err = fn(ctx, l); err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(env.Stderr, "vipd: lab: interrupted; the site is removed")
		return &exitCode{exitInterrupted}
	}
	return err
}

// withStanding runs fn on the lab that stands.
func withStanding(env Env, fn func(*lab.Lab) error) error {
	if err := labRoot(); err != nil {
		return err
	}
	l, err := standing()
	if err != nil {
		return err
	}
	if err := l.Open(); errors.Is(err, lab.ErrNoLab) {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: %w", err), Hint: "vipd lab up builds one and leaves it standing"}
	} else if err != nil {
		return err
	}
	defer l.Close()
	return fn(l)
}

// hostNames lists the hosts that a person may name.
func hostNames(l *lab.Lab) []string {
	var out []string
	for _, h := range l.Hosts {
		out = append(out, h.Name)
	}
	return out
}

func noHost(l *lab.Lab, name string) error {
	return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: no host %q", name), Hint: "the hosts are " + strings.Join(hostNames(l), ", ")}
}

func knownHost(l *lab.Lab, name string) bool { return slices.Contains(hostNames(l), name) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal(f)
}
