package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/lab"
	"vipd/internal/lab/page"
)

func newLabWeb(env Env) *cobra.Command {
	opts := labOptions{site: true}
	var listen, forum string
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Build the whole site and watch it in a browser, with buttons that kill and revive each part",
		Long: `Build the whole site, put it under load, and serve a page that shows it: who holds the virtual IP, what runs, the pools, the
requests of each real server, what happened, and the mails to the operator; with buttons that kill and revive each part. The
forum can be used at the second address, over the virtual IP. Ctrl-C removes everything.

With --continuity it is the scene of "lab --continuity" that is shown, without the forum: the connections that are open, what broke and by which cause,
the step that is played, the lag that the directors announce; with buttons that play a round, and that stop, kill, cut off, plug in, start
and restart each director. --rounds are played at once (0: none). At the end the table of all steps is printed.

Whoever reaches the first address may press the buttons, which do nothing outside of the lab.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.continuity.play {
				opts.site = cmd.Flags().Changed("site") && opts.site
				return webContinuity(env, opts, listen)
			}
			return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
				l.Hold = true
				return errors.Join(webLab(ctx, env, l, listen, forum), l.Down())
			})
		},
	}
	opts.files(cmd)
	opts.continuity.flags(cmd, "show the other scene: connections stay open while directors are stopped, killed, cut off, restarted and return")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "`address:port` of the page")
	cmd.Flags().StringVar(&forum, "forum-listen", "127.0.0.1:8091", "`address:port` where the forum can be used")
	return cmd
}

// webLab serves until ctx ends. Addresses are taken before anything is built: one that is in use shows at once.
func webLab(ctx context.Context, env Env, l *lab.Lab, listen, forum string) error {
	front, err := listenAt("--listen", listen)
	if err != nil {
		return err
	}
	defer front.Close()
	back, err := listenAt("--forum-listen", forum)
	if err != nil {
		return err
	}
	defer back.Close()
	fmt.Fprintln(env.Stdout, "building the site …")
	if err := l.Up(); err != nil {
		return err
	}
	if err := l.Ready(ctx); err != nil {
		return err
	}
	live, err := l.Live()
	if err != nil {
		return err
	}
	port := strconv.Itoa(back.Addr().(*net.TCPAddr).Port)
	said := fmt.Sprintf("watch it at http://%s/, and use the forum at http://%s/ (Ctrl-C removes everything)", front.Addr(), back.Addr())
	return serveUntil(ctx, env, front, page.Handler(live, port), said, live.Run, func(ctx context.Context) error { return l.Relay(ctx, back) })
}

// webContinuity serves the scene of open connections until it is interrupted, which is its end and no failure.
func webContinuity(env Env, opts labOptions, listen string) error {
	cfg, err := opts.continuityConfig(0)
	if err != nil {
		return err
	}
	return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
		l.Hold = true
		report, err := serveContinuity(ctx, env, l, cfg, listen)
		if err = errors.Join(err, l.Down()); err != nil || len(report.Steps) == 0 {
			return err
		}
		fmt.Fprintln(env.Stdout)
		return report.WriteTable(env.Stdout)
	})
}

func serveContinuity(ctx context.Context, env Env, l *lab.Lab, cfg lab.ContinuityConfig, listen string) (report lab.ContinuityReport, err error) {
	front, err := listenAt("--listen", listen)
	if err != nil {
		return report, err
	}
	defer front.Close()
	start := time.Now()
	cfg.Say = func(line string) { fmt.Fprintf(env.Stdout, "%6.1fs  %s\n", time.Since(start).Seconds(), line) }
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live, err := l.LiveContinuity(ctx, cfg)
	if err != nil {
		return report, err
	}
	if cfg.Rounds > 0 {
		if err := live.Play(cfg.Rounds); err != nil {
			return report, err
		}
	}
	said := fmt.Sprintf("watch it at http://%s/ (Ctrl-C removes everything)", front.Addr())
	err = serveUntil(ctx, env, front, page.ContinuityHandler(live), said, func(serving context.Context) (err error) {
		defer context.AfterFunc(serving, cancel)()
		report, err = live.Run()
		return err
	})
	return report, err
}

// serveUntil serves a page, and what belongs to it, until ctx ends or one of them does.
func serveUntil(ctx context.Context, env Env, front net.Listener, handler http.Handler, said string, beside ...func(context.Context) error) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(beside)+1)
	for _, run := range beside {
		go func() { ended <- run(ctx) }()
	}
	go func() { ended <- srv.Serve(front) }()
	fmt.Fprintln(env.Stdout, said)
	var err error
	left := len(beside) + 1
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	cancel()
	srv.Close()
	for range left {
		if e := <-ended; err == nil && !errors.Is(e, http.ErrServerClosed) {
			err = e
		}
	}
	return err
}

func listenAt(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab web: %s: %w", flag, err), Hint: flag + " chooses another address and port"}
	}
	return l, nil
}
