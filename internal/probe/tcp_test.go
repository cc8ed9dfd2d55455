package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

func check(target string) health.Checker {
	return health.Checker{Kind: health.TCPCheck, Target: netip.MustParseAddrPort(target), ConnectTimeout: 5 * time.Second}
}

// listen opens a server that reports how each connection ended for it: io.EOF for a FIN.
func listen(t *testing.T, addr string) (string, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error, 16)
	go func() {
		defer close(ends)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
			ends <- err
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for range ends { // until the server's goroutine has ended
		}
	})
	return l.Addr().String(), ends
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// blackhole is a listener whose backlog is full: the kernel drops every further SYN.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port)).String()
	for {
		conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestAnOpenPortIsASuccessAndIsClosedWithFIN(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		target, ends := listen(t, addr)
		if res := Run(t.Context(), check(target)); !res.OK || res.Took <= 0 {
			t.Errorf("%s: %+v, want a success that took some time", target, res)
		}
		if err := <-ends; err != io.EOF {
			t.Errorf("%s: the server saw %v, want the end of the stream", target, err)
		}
	}
}

func TestAClosedPortIsRefused(t *testing.T) {
	res := Run(t.Context(), check(closedPort(t)))
	if res.OK || res.Why != "connection refused" || res.Inconclusive || res.Timeout {
		t.Errorf("%+v, want: connection refused", res)
	}
}

func TestSilenceIsATimeoutAfterConnectTimeout(t *testing.T) {
	c := check(blackhole(t))
	c.ConnectTimeout = 150 * time.Millisecond
	res := Run(t.Context(), c)
	if res.OK || !res.Timeout || res.Inconclusive || res.Why != "timed out after 150ms" {
		t.Errorf("%+v, want a timeout after 150ms", res)
	}
	if res.Took < c.ConnectTimeout || res.Took > 20*c.ConnectTimeout {
		t.Errorf("took %v, want %v", res.Took, c.ConnectTimeout)
	}
}

func TestACancelledCheckEndsAtOnceAndIsNoVerdict(t *testing.T) {
	c := check(blackhole(t))
	c.ConnectTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if res := Run(ctx, c); !res.Inconclusive || res.OK || res.Why != "cancelled" {
		t.Errorf("%+v, want inconclusive: cancelled", res)
	}
}

func TestAFixedSourcePortCanBeUsedByOneCheckAfterTheOther(t *testing.T) {
	target, ends := listen(t, "127.0.0.1:0")
	c := check(target)
	c.Bind = netip.MustParseAddrPort(closedPort(t))
	for i := range 3 {
		if res := Run(t.Context(), c); !res.OK {
			t.Fatalf("check %d: %+v", i, res)
		}
		<-ends
	}
}

func TestBindingChoosesTheSource(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := check(l.Addr().String())
	c.Bind = netip.MustParseAddrPort("127.0.0.77:0")
	c.BindIf = "lo"
	if res := Run(t.Context(), c); !res.OK {
		t.Fatalf("%+v, want a success", res)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); from != c.Bind.Addr() {
		t.Errorf("the check came from %v, want %v", from, c.Bind.Addr())
	}
}

func TestWhatIsWrongOnOurSideIsNoVerdict(t *testing.T) {
	target := closedPort(t)
	for _, row := range []struct {
		name string
		set  func(*health.Checker)
		why  string
	}{
		{"an address that is not ours", func(c *health.Checker) { c.Bind = netip.MustParseAddrPort("192.0.2.1:0") },
			"cannot bind to 192.0.2.1: address not available on this host"},
		{"an interface that does not exist", func(c *health.Checker) { c.BindIf = "nosuch0" },
			"cannot bind to interface nosuch0: no such interface"},
		{"a kind that is not known", func(c *health.Checker) { c.Kind = "NO_CHECK" }, "NO_CHECK is not supported"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := check(target)
			row.set(&c)
			if res := Run(t.Context(), c); res.OK || !res.Inconclusive || res.Why != row.why {
				t.Errorf("%+v, want inconclusive: %s", res, row.why)
			}
		})
	}
}
