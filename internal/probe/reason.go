package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

// ours are the errors of connect(2) that tell of this host and not of the real server: no free port, a local firewall,
// no memory. They are no verdict.
var ours = []syscall.Errno{unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN, unix.EPERM, unix.EACCES, unix.EINVAL,
	unix.EAFNOSUPPORT, unix.ENOBUFS, unix.ENOMEM, unix.ENODEV}

// wording has the errors whose usual text is longer or says less than an operator wants.
var wording = map[syscall.Errno]string{
	unix.ENETUNREACH:   "network unreachable",
	unix.EADDRNOTAVAIL: "address not available on this host",
	unix.ENODEV:        "no such interface",
	unix.ECONNRESET:    "connection reset",
	unix.EMFILE:        "too many open files in this process",
	unix.ENFILE:        "too many open files on this host",
}

// failure puts an error of dialling into words and tells a failure of the real server from one on our side.
func failure(ctx context.Context, c health.Checker, err error, timeout time.Duration) health.Result {
	var setup *setupError
	var call *os.SyscallError
	var network net.Error
	switch {
	case ended(ctx):
		return health.Result{Inconclusive: true, Why: "cancelled"}
	case errors.As(err, &setup):
		return health.Result{Inconclusive: true, Why: setup.what + ": " + reason(setup.err)}
	case errors.Is(err, unix.ETIMEDOUT): // the kernel gave up before we did
		return health.Result{Why: "timed out", Timeout: true}
	case errors.As(err, &call) && call.Syscall == "bind":
		return health.Result{Inconclusive: true, Why: fmt.Sprintf("cannot bind to %s: %s", source(c), reason(err))}
	case errors.As(err, &call) && call.Syscall == "connect":
		return health.Result{Why: reason(err), Inconclusive: slices.ContainsFunc(ours, func(e syscall.Errno) bool { return errors.Is(err, e) })}
	case errors.As(err, &network) && network.Timeout():
		return health.Result{Why: "timed out after " + timeout.String(), Timeout: true}
	}
	return health.Result{Inconclusive: true, Why: reason(err)}
}

// ended tells whether ctx is over. Its deadline may end the dialling a moment before it ends ctx itself.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// reason is an error in a few words, without addresses: who reads it knows which check it was.
func reason(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	if text, ok := wording[errno]; ok {
		return text
	}
	return errno.Error()
}

// source names where the check should have come from.
func source(c health.Checker) string {
	if !c.Bind.Addr().IsValid() {
		return fmt.Sprintf("port %d", c.Bind.Port())
	}
	if c.Bind.Port() == 0 {
		return c.Bind.Addr().String()
	}
	return c.Bind.String()
}
