package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// callerKey is where the peer of a connection stands in the context of its requests.
type callerKey struct{}

// Caller names who asks: the user at the other end of the socket and, where that is another one, who has logged in
// ("root for alice"). Empty where it is not known.
func Caller(ctx context.Context) string {
	cred, ok := ctx.Value(callerKey{}).(*unix.Ucred)
	if !ok {
		return ""
	}
	name := userName(cred.Uid)
	if login, ok := loginOf(cred.Pid); ok && login != cred.Uid {
		return name + " for " + userName(login)
	}
	return name
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// loginOf is the user who has logged in where a process comes from, be it by way of sudo or su.
func loginOf(pid int32) (uid uint32, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	return uint32(n), err == nil && n != 1<<32-1 // proc(5): -1 where nobody has logged in
}

// known is a listener whose connections tell who is at their other end.
type known struct{ net.Listener }

func (k known) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if u, ok := c.(*net.UnixConn); ok {
		return knownConn{c, peerOf(u)}, nil
	}
	return c, nil
}

// knownConn hands its peer on by its remote address, which what is wrapped around it passes through.
type knownConn struct {
	net.Conn
	peer *unix.Ucred
}

func (c knownConn) RemoteAddr() net.Addr { return knownAddr{c.Conn.RemoteAddr(), c.peer} }

type knownAddr struct {
	net.Addr
	peer *unix.Ucred
}

func peerOf(u *net.UnixConn) (cred *unix.Ucred) {
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) { // an error leaves cred nil: not known
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			cred = c
		}
	})
	return cred
}

// noteCaller puts the peer of a connection into the context of its requests.
func noteCaller(ctx context.Context, c net.Conn) context.Context {
	if a, ok := c.RemoteAddr().(knownAddr); ok && a.peer != nil {
		return context.WithValue(ctx, callerKey{}, a.peer)
	}
	return ctx
}
