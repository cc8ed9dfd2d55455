package probe

import (
	"context"
	"net"
	"sync"

	"vipd/internal/health"
)

// What a check sends and gets is noted beside it: whoever makes the check hands it a context that has a witness, and the
// connections of all kinds tell it. Without one nothing is noted.

type witnessKey struct{}

// witness takes notes of one check.
type witness struct {
	mu   sync.Mutex
	seen health.Seen
	top  *watched // the connection whose bytes count: of TLS the inner one
}

// witnessed gives a check's context its witness.
func witnessed(ctx context.Context) (context.Context, *witness) {
	w := &witness{}
	return context.WithValue(ctx, witnessKey{}, w), w
}

func witnessOf(ctx context.Context) *witness {
	w, _ := ctx.Value(witnessKey{}).(*witness)
	return w
}

// note changes what was seen. w may be nil.
func (w *witness) note(change func(s *health.Seen)) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.seen)
}

// received notes an answer, or a part of one.
func (w *witness) received(b []byte) {
	w.note(func(s *health.Seen) {
		s.Received += len(b)
		s.First = append(s.First, b[:min(len(b), health.SeenFirst-len(s.First))]...)
	})
}

// report is what was seen, or nil if there was nothing.
func (w *witness) report() *health.Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.seen; s.Sent != 0 || s.Received != 0 || s.Status != 0 || len(s.First) > 0 {
		return &s
	}
	return nil
}

// watched is a connection whose bytes a witness sees.
type watched struct {
	net.Conn
	by *witness
}

// watch puts a witness beside a connection, from now on in place of one that lies below.
func watch(ctx context.Context, conn net.Conn) net.Conn {
	w := witnessOf(ctx)
	if w == nil {
		return conn
	}
	c := &watched{conn, w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.top, w.seen = c, health.Seen{}
	return c
}

func (c *watched) counts() bool {
	c.by.mu.Lock()
	defer c.by.mu.Unlock()
	return c.by.top == c
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.counts() {
		c.by.received(b[:n])
	}
	return n, err
}

func (c *watched) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.counts() {
		c.by.note(func(s *health.Seen) { s.Sent += n })
	}
	return n, err
}
