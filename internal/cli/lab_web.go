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

Whoever reaches the first address may press the buttons, which do nothing outside of the lab.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
				l.Hold = true
				return errors.Join(webLab(ctx, env, l, listen, forum), l.Down())
			})
		},
	}
	opts.files(cmd)
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
	srv := &http.Server{Handler: page.Handler(live, port), ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 3)
	go func() { ended <- live.Run(ctx) }()
	go func() { ended <- l.Relay(ctx, back) }()
	go func() { ended <- srv.Serve(front) }()
	fmt.Fprintf(env.Stdout, "watch it at http://%s/, and use the forum at http://%s/ (Ctrl-C removes everything)\n", front.Addr(), back.Addr())
	select {
	case <-ctx.Done():
	case err = <-ended:
		ended <- nil
	}
	cancel()
	srv.Close()
	for range 3 {
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
