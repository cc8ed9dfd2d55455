package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Relay lets somebody at this machine use the site: connections that listener takes go on to the virtual IP, from one of the
// user's addresses in the client's host. It returns when ctx ends, and closes the listener.
func (l *Lab) Relay(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	for {
		near, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		group.Go(func() { l.relay(ctx, near) })
	}
}

func (l *Lab) relay(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := l.dialVIP()
	if err != nil {
		return // the browser shows that there is no answer
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	// When one direction ends in order, so does it at the other side; when it breaks, so do both.
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		if _, err := io.Copy(to, from); err != nil {
			near.Close()
			far.Close()
		} else if c, ok := to.(*net.TCPConn); ok {
			c.CloseWrite()
		}
	}
	both.Go(func() { pass(far, near) })
	both.Go(func() { pass(near, far) })
	both.Wait()
}

// dialVIP connects to the virtual IP as the user does.
func (l *Lab) dialVIP() (conn net.Conn, err error) {
	if l.built == nil {
		return nil, errors.New("the lab does not stand")
	}
	err = l.built.inside("client", func() error {
		d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: l.Users[0].AsSlice()}, Control: latePort}
		conn, err = d.Dial("tcp", l.VIP.String())
		return err
	})
	return conn, err
}
