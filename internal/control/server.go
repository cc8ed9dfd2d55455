package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/netutil"

	"vipd/internal/lb"
)

// marker is the header by which a client knows a daemon of this kind; its value is the version of the interface.
const (
	marker        = "Vipd-Control"
	markerVersion = "1"
)

const (
	readHeaderTime = 5 * time.Second
	writeTime      = 20 * time.Second // for one chunk: a reader that stands still this long is let go
	chunk          = 64 << 10
	maxClients     = 64 // at once on one listener; more wait
)

// Serve answers on ln, a socket made by Listen, until ctx is done, then closes it. Requests in flight are given a second.
// A src that is a Commander or a Changer is also told what to do.
func Serve(ctx context.Context, ln net.Listener, src Source) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", serveStatus(src))
	mux.HandleFunc("GET /v1/conns", serveConns(src))
	mux.HandleFunc("GET /v1/timeouts", serveTimeouts(src))
	mux.HandleFunc("GET /v1/ipvs", serveTable(src))
	if c, ok := src.(Commander); ok {
		serveCommands(mux, c)
	}
	if c, ok := src.(Changer); ok {
		serveChanges(mux, c)
	}
	if e, ok := src.(Explainer); ok {
		serveExplainer(mux, e)
	}
	if op, ok := src.(Operator); ok {
		serveOperator(mux, op)
	}
	return serve(ctx, ln, mux)
}

// ServeHTTP answers on ln, meant for a TCP address, with what anybody may read and little enough of it to be asked by
// anybody: /status and /metrics.
func ServeHTTP(ctx context.Context, ln net.Listener, src Source) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", serveStatus(src))
	mux.Handle("GET /metrics", metricsHandler(src))
	return serve(ctx, ln, mux)
}

func serve(ctx context.Context, ln net.Listener, mux http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ln = netutil.LimitListener(known{ln}, maxClients)
	srv := &http.Server{
		Handler:           marked(mux),
		ReadHeaderTimeout: readHeaderTime,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       noteCaller,
		ErrorLog:          log.New(io.Discard, "", 0), // what a bad client sends is not this daemon's news
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	}()
	err := srv.Serve(ln)
	cancel()
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// orders are the paths that take a body.
var orders = []string{"/v1/ipvs", "/v1/operator"}

// marked gives every answer the marker, and a deadline for writing it. A question has no body; one that has is not waited
// for. (A ReadTimeout would be shorter to write, but net/http ends the request's context with it while a long
// answer is still being written.)
func marked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(marker, markerVersion)
		if r.ContentLength != 0 && (r.Method != http.MethodPost || !slices.Contains(orders, r.URL.Path)) {
			w.Header().Set("Connection", "close")
			http.Error(w, "a question has no body", http.StatusBadRequest)
			return
		}
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
		next.ServeHTTP(w, r)
	})
}

func serveStatus(src Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := src.Status(r.Context())
		answer(w, s, err)
	}
}

func serveTable(src Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, err := src.Table(r.Context())
		if t.Services == nil {
			t.Services = []Service{}
		}
		answer(w, t, err)
	}
}

func serveTimeouts(src Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, err := src.Timeouts(r.Context())
		answer(w, timeoutsOf(t), err)
	}
}

func answer(w http.ResponseWriter, v any, err error) {
	var body []byte
	if err == nil {
		body, err = json.Marshal(v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// serveConns streams. An error in the middle cuts the answer off, which HTTP lets the client see.
func serveConns(src Source) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := bufio.NewWriterSize(patientWriter{w, http.NewResponseController(w)}, chunk)
		var line []byte
		var werr error
		err := src.Conns(r.Context(), func(c lb.Conn) bool {
			line = appendConn(line[:0], c)
			_, werr = out.Write(line)
			return werr == nil
		})
		if werr == nil && err == nil {
			werr = out.Flush()
		}
		if werr != nil || err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// patientWriter gives every chunk of a long answer its own deadline.
type patientWriter struct {
	io.Writer
	deadline *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	if err := p.deadline.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return p.Writer.Write(b)
}
