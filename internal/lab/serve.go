package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"
)

// RealHeader is the response header by which a real server of the lab tells its name.
const RealHeader = "X-Real"

// Serve is the web server of a real server: every page says who answered and for whom. It returns when ctx ends.
func Serve(ctx context.Context, listen, name string, logTo io.Writer) error {
	srv := &http.Server{Addr: listen, Handler: page(name), ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(logTo, "", 0)}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
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

func page(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf("real server %s answers %s %s for %s\n", name, r.Method, r.URL.Path, r.RemoteAddr)
		w.Header().Set(RealHeader, name)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if r.Method == http.MethodGet {
			io.WriteString(w, text)
		}
	})
}
