package probe

import (
	"context"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

// knock makes a connection and closes it: what a TCP_CHECK needs and no more. Of a thousand checks a second the dialer of
// package net is what costs most: it asks the kernel for both addresses, sets options that nobody uses, and makes a connection
// to talk on.
//
// Errors are those of net.Dialer: an *os.SyscallError, a setup error, or os.ErrDeadlineExceeded.
func knock(ctx context.Context, c health.Checker, timeout time.Duration) error {
	fd, err := unix.Socket(familyOf(c.Target.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := prepare(ctx, fd, c); err != nil {
		unix.Close(fd)
		return err
	}
	// The first call most often says that the connection is under way. The runtime's poller comes in only then.
	to := sockaddr(c.Target)
	if over, err := connected(fd, to); over {
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	if err := f.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) (over bool) {
		over, result = connected(int(fd), to)
		if over && result == nil && isOwn(int(fd), c.Target) {
			result = os.NewSyscallError("connect", unix.ECONNREFUSED)
		}
		return over
	})
	if err != nil {
		return err
	}
	return result
}

// prepare is what must stand before connect(2).
func prepare(ctx context.Context, fd int, c health.Checker) error {
	if err := options(ctx, fd, c); err != nil {
		return err
	}
	if !c.Bind.Addr().IsValid() {
		return nil
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(c.Bind)))
}

// connected tells whether connecting is over, and how it went. It may be asked again and again.
func connected(fd int, to unix.Sockaddr) (over bool, err error) {
	for {
		switch err := unix.Connect(fd, to); err {
		case nil, unix.EISCONN:
			return true, nil
		case unix.EINPROGRESS, unix.EALREADY:
			return false, nil
		case unix.EINTR:
		default:
			return true, os.NewSyscallError("connect", err)
		}
	}
}

// isOwn tells of a socket that met itself: on this host, where nobody listens, the port that the kernel chose for this end
// may be the very one that is checked (RFC 9293 3.5, a simultaneous open).
func isOwn(fd int, target netip.AddrPort) bool {
	if target.Port() < 1024 {
		return false
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return target == netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return target == netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return false
}

func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
