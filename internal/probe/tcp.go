package probe

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

// defaultConnectTimeout is what counts where the checker has none.
const defaultConnectTimeout = 5 * time.Second

// tcp makes a TCP_CHECK: a connection that is made within connect_timeout is a success. It is closed at once with FIN;
// resets of earlier days filled the logs of real servers. A Runner makes most of them otherwise, see knocker.
func tcp(ctx context.Context, c health.Checker) health.Result {
	conn, res := connect(ctx, c)
	if conn == nil {
		return res
	}
	farewell(conn, c)
	return health.Result{OK: true}
}

// patienceOf is how long a connection may take.
func patienceOf(c health.Checker) time.Duration {
	if c.ConnectTimeout > 0 {
		return c.ConnectTimeout
	}
	return defaultConnectTimeout
}

// connect opens the connection that every stream checker begins with, or has it from the process that did. Without one the
// result tells why.
func connect(ctx context.Context, c health.Checker) (*net.TCPConn, health.Result) {
	if h := handedOf(ctx); h != nil {
		conn, ok := h.conn.(*net.TCPConn)
		if !ok {
			return nil, health.Result{Inconclusive: true, Why: "what was handed over is no connection of TCP"}
		}
		return conn, health.Result{}
	}
	timeout := patienceOf(c)
	dialer := net.Dialer{Timeout: timeout, KeepAlive: -1, Control: control(ctx, c)}
	dialer.SetMultipathTCP(false) // the options of MPTCP in a SYN are dropped by some firewalls
	if c.Bind.IsValid() || c.Bind.Port() != 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: c.Bind.Addr().AsSlice(), Port: int(c.Bind.Port()), Zone: c.Bind.Addr().Zone()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", c.Target.String())
	if err != nil {
		return nil, failure(ctx, c, err, timeout)
	}
	if c.Bind.Port() != 0 {
		// A fixed source port is in TIME_WAIT for a minute after a FIN, and the next check could not be made. A reset frees
		// it. keepalived: 2.3.2 and later sends FIN here too, and then skips checks.
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	return conn.(*net.TCPConn), health.Result{}
}

// control sets the socket options that must stand before bind(2) and connect(2).
func control(ctx context.Context, c health.Checker) func(network, address string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = options(ctx, int(fd), c) }); e != nil {
			return e
		}
		return err
	}
}

func options(ctx context.Context, fd int, c health.Checker) error {
	if err := walk(ctx, fd, c); err != nil {
		return err
	}
	if c.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.Mark)); err != nil {
			return &setupError{fmt.Sprintf("cannot set mark %d", c.Mark), err}
		}
	}
	if c.BindIf != "" {
		if err := unix.BindToDevice(fd, c.BindIf); err != nil {
			return &setupError{"cannot bind to interface " + c.BindIf, err}
		}
	}
	if c.Bind.Port() != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return &setupError{"cannot reuse the source port", err}
		}
	}
	return nil
}

// setupError is a socket option that could not be set: the check was never made.
type setupError struct {
	what string
	err  error
}

func (e *setupError) Error() string { return fmt.Sprintf("%s: %v", e.what, e.err) }
func (e *setupError) Unwrap() error { return e.err }
