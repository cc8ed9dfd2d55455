package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/lab"
)

// continuityOptions are the flags of lab that are about connections which stay open.
type continuityOptions struct {
	play                           bool
	rounds                         int
	sessions, downloads, perSecond int
	program                        string
}

func (o *continuityOptions) flags(cmd *cobra.Command, scene string) {
	f := cmd.Flags()
	f.BoolVar(&o.play, "continuity", false, scene)
	f.IntVar(&o.rounds, "rounds", 1, "of --continuity: how often each of that is done")
	f.IntVar(&o.sessions, "sessions", 40, "of --continuity: connections on which somebody types")
	f.IntVar(&o.downloads, "downloads", 10, "of --continuity: long downloads")
	f.IntVar(&o.perSecond, "per-second", 20, "of --continuity: new short connections")
	f.StringVar(&o.program, "upgrade", "", "of --continuity: a vipd `PROGRAM` that takes the active director's place and is replaced again")
}

// playContinuity plays the scene, prints what came of it and removes the site, whatever happened.
func playContinuity(env Env, opts labOptions) error {
	cfg, err := opts.continuityConfig(1)
	if err != nil {
		return err
	}
	return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
		l.Hold = true
		start := time.Now()
		cfg.Say = func(line string) { fmt.Fprintf(env.Stdout, "%6.1fs  %s\n", time.Since(start).Seconds(), line) }
		report, err := l.PlayContinuity(ctx, cfg)
		err = errors.Join(err, saveLogs(l, opts.logs))
		if !report.OK && ctx.Err() == nil {
			showLogs(env.Stderr, l)
		}
		err = errors.Join(err, l.Down())
		if opts.json != "" {
			err = errors.Join(err, report.WriteJSON(opts.json))
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout)
		if err := report.WriteTable(env.Stdout); err != nil {
			return err
		}
		if !report.OK {
			fmt.Fprintf(env.Stdout, "\nThe scene did NOT hold (%.0f s).\n", report.Seconds)
			return &exitCode{1}
		}
		_, err = fmt.Fprintf(env.Stdout, "\nThe scene held (%.0f s).\n", report.Seconds)
		return err
	})
}

// continuityConfig is what the flags say of the scene, which is played so many rounds at least.
func (o *labOptions) continuityConfig(least int) (cfg lab.ContinuityConfig, err error) {
	if o.site {
		return cfg, &daemon.Failure{Code: daemon.ExitFatal, Err: errors.New("lab: --continuity and --site are two scenes"), Hint: "give one of them"}
	}
	c := &o.continuity
	for name, n := range map[string]int{"--rounds": c.rounds - least, "--sessions": c.sessions, "--downloads": c.downloads, "--per-second": c.perSecond} {
		if from := map[string]int{"--rounds": least}[name]; n < 0 {
			return cfg, &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: %s %d is not possible", name, n+from), Hint: fmt.Sprintf("give a number from %d on", from)}
		}
	}
	cfg = lab.ContinuityConfig{Rounds: c.rounds, Sessions: c.sessions, Downloads: c.downloads, PerSecond: c.perSecond}
	if cfg.Takeover, err = o.takeover(); err != nil || c.program == "" {
		return cfg, err
	}
	cfg.Program, err = filepath.Abs(c.program)
	return cfg, err
}

func newLabCrowd(env Env) *cobra.Command {
	var to, from string
	var cfg lab.CrowdConfig
	cmd := &cobra.Command{Use: "crowd", Short: "Clients with long and short connections, which report as NDJSON", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if cfg.To, err = netip.ParseAddrPort(to); err != nil {
				return fmt.Errorf("lab crowd: --to: %w", err)
			}
			if cfg.From, err = lab.ParseAddrs(from); err != nil {
				return fmt.Errorf("lab crowd: --from: %w", err)
			}
			ctx, stop := hostContext()
			defer stop()
			err = lab.Crowd(ctx, cfg, env.Stdout)
			if errors.Is(err, syscall.EPIPE) {
				return nil
			}
			return err
		}}
	f := cmd.Flags()
	f.StringVar(&to, "to", "10.0.8.9:80", "address and port to connect to")
	f.StringVar(&from, "from", "10.0.4.102", "addresses to connect from, comma-separated")
	f.IntVar(&cfg.Sessions, "sessions", 0, "connections on which somebody types")
	f.IntVar(&cfg.Downloads, "downloads", 0, "long downloads")
	f.IntVar(&cfg.PerSecond, "per-second", 0, "new short connections")
	f.DurationVar(&cfg.Every, "every", time.Second, "between two questions of a session")
	f.DurationVar(&cfg.Patience, "patience", 10*time.Second, "for an answer")
	return cmd
}
