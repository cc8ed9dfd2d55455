package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// RealHeader is the response header by which a real server of the lab tells its name.
const RealHeader = "X-Real"

// ClientHeader is that by which it tells for whom it answers, and ProxyHeader that by which a proxy of the lab tells its name.
const (
	ClientHeader = "X-Client"
	ProxyHeader  = "X-Proxy"
)

// linePace is how many bytes a second a real server sends to one client, as a client's line has an end: a hundred downloads that go on at the
// same moment, after nobody answered for seconds, would send all that they missed at once, more than the queue of a veth holds. What is
// lost there is sent again after a pause twice as long, and looks like a director's silence.
const linePace = 128 << 10

// listenPaced listens for connections that are sent to by linePace.
func listenPaced(ctx context.Context, at string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, linePace)
		})
		return errors.Join(ctlErr, err)
	}}
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", at)
}

// Serve is the web server of a real server: every page says who answered and for whom. It returns when ctx ends.
// proxies are the comma-separated addresses of those whose X-Forwarded-For counts.
func Serve(ctx context.Context, listen, name, proxies string, logTo io.Writer) error {
	// A request that was lost while no director was there comes seconds later.
	srv := &http.Server{Addr: listen, Handler: page(name, strings.Split(proxies, ",")), ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(logTo, "", 0)}
	ln, err := listenPaced(ctx, listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listen, err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// client is who asks: who connects, or whom a proxy that is trusted names last.
func client(r *http.Request, proxies []string) string {
	addr, _, _ := net.SplitHostPort(r.RemoteAddr)
	if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 && slices.Contains(proxies, addr) {
		last := all[len(all)-1]
		return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
	}
	return addr
}

func page(name string, proxies []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == streamPath {
			w.Header().Set(RealHeader, name)
			stream(w, r)
			return
		}
		text := fmt.Sprintf("real server %s answers %s %s for %s\n", name, r.Method, r.URL.Path, r.RemoteAddr)
		w.Header().Set(RealHeader, name)
		w.Header().Set(ClientHeader, client(r, proxies))
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if r.Method == http.MethodGet {
			io.WriteString(w, text)
		}
	})
}
