package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// config is where everything is.
type config struct {
	listen, name           string
	posts, memcached, file string
	proxies                string
}

func main() {
	var c config
	flag.StringVar(&c.listen, "listen", "0.0.0.0:80", "`address:port` of the web server")
	flag.StringVar(&c.name, "name", "", "what this web server calls itself in the header X-Real")
	flag.StringVar(&c.posts, "posts", "", "the PostgreSQL database: postgres://USER@HOST/NAME")
	flag.StringVar(&c.memcached, "memcached", "", "`address:port` of memcached")
	flag.StringVar(&c.file, "ftp", "", "`address:port` of the FTP server")
	flag.StringVar(&c.proxies, "proxies", "", "`addresses` of proxies whose X-Forwarded-For counts, comma-separated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "forum:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. The three servers behind it need not be there yet.
func run(ctx context.Context, c config) error {
	posts, err := openPosts(c.posts)
	if err != nil {
		return err
	}
	defer posts.close()
	f := &forum{name: c.name, proxies: strings.Split(c.proxies, ","), posts: posts, cache: newCache(c.memcached), files: files{addr: c.file}, log: log.New(os.Stderr, "", log.LstdFlags)}
	defer f.cache.close()
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serve(ctx, listener, f.handler())
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
