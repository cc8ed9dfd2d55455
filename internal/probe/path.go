package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"vipd/internal/checkpath"
	"vipd/internal/health"
)

// walker is what a check by another way needs; its sockets are forgotten at its end.
type walker struct {
	paths   *checkpath.Paths
	cookies []uint64
}

type walkerKey struct{}

// walking makes a context for one check. end forgets its sockets.
func walking(ctx context.Context, c health.Checker, paths *checkpath.Paths) (_ context.Context, end func()) {
	if c.Way == nil {
		return ctx, func() {}
	}
	w := &walker{paths: paths}
	return context.WithValue(ctx, walkerKey{}, w), func() {
		for _, cookie := range w.cookies {
			paths.Forget(cookie)
		}
	}
}

var errNoPath = errors.New("there is nobody to do so")

// walk notes a socket that is to go the way of the traffic. Where that cannot be, the check was not made: it must not pass
// for what it is not.
func walk(ctx context.Context, fd int, c health.Checker) error {
	if c.Way == nil {
		return nil
	}
	what := "cannot check " + c.Way.String()
	w, _ := ctx.Value(walkerKey{}).(*walker)
	if w == nil || w.paths == nil {
		return &setupError{what, errNoPath}
	}
	cookie, err := w.paths.Note(fd, checkpath.Way{VIP: c.Way.VIP, Real: c.Target.Addr(), Forward: c.Way.Forward, Tunnel: c.Way.Tunnel})
	if err != nil {
		return &setupError{what, err}
	}
	w.cookies = append(w.cookies, cookie)
	return nil
}

const farewells = time.Second // that the other side has to close too

// farewell closes a connection. One by another way stays open until the other side has closed too, or is reset: of what comes
// for a closed socket the kernel answers by itself, in no socket's name, and the real server would wait for its last word.
func farewell(conn *net.TCPConn, c health.Checker) {
	defer conn.Close()
	if c.Way == nil {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(farewells))
	if conn.CloseWrite() != nil {
		return
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20)); err != nil {
		_ = conn.SetLinger(0)
	}
}
