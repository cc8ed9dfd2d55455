package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/lab"
)

// routed is a director between its clients and its real server, which are in networks of their own. It does not have the
// virtual address: the client's route leads to it, and what a real server behind a tunnel answers may pass it as it is.
const routed = `set -e
for h in client director real; do ip netns add fwd-$h; ip -n fwd-$h link set lo up; done
ip link add eth0 netns fwd-client type veth peer name eth0 netns fwd-director
ip link add eth0 netns fwd-real type veth peer name eth1 netns fwd-director
ip -n fwd-client addr add 10.0.4.102/24 dev eth0
ip -n fwd-director addr add 10.0.4.1/24 dev eth0
ip -n fwd-director addr add 10.0.8.25/24 dev eth1
ip -n fwd-real addr add 10.0.8.12/24 dev eth0
for e in client/eth0 director/eth0 director/eth1 real/eth0; do
	ip -n fwd-${e%/*} link set ${e#*/} up
	ip netns exec fwd-${e%/*} ethtool -K ${e#*/} tx off gro on >/dev/null
done
# Merged packets cannot be taken out of a tunnel by hand.
ip -n fwd-real link set eth0 gro_max_size 1500
ip -n fwd-client route add default via 10.0.4.1
ip -n fwd-real route add default via 10.0.8.25
for h in client director real; do ip netns exec fwd-$h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.arp_ignore=1 net.ipv4.ip_forward=1; done
`

// in runs fn on a thread of its own in a namespace. Sockets that it opens stay there.
func in(t *testing.T, host string, fn func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		err := lab.EnterNamespace("fwd-" + host)
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// shout answers what it is sent, in capitals, after its own name.
func shout(t *testing.T, host, addr string) {
	t.Helper()
	err := in(t, host, func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b, _ := io.ReadAll(c)
					c.Write(bytes.ToUpper(b))
				}()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// converse sends text over a connection of its own to a service and returns the answer, for which it waits so long.
func converse(t *testing.T, service string, text []byte, wait time.Duration) (answer []byte, err error) {
	t.Helper()
	err = in(t, "client", func() error {
		c, err := net.DialTimeout("tcp", service, 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(wait))
		go func() {
			c.Write(text)
			c.(*net.TCPConn).CloseWrite()
		}()
		answer, err = io.ReadAll(c)
		return err
	})
	return answer, err
}

// direct starts the director, with more options, and a service that has one real server of a method.
func direct(t *testing.T, service, real string, more ...string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "vipd.conf")
	at := netip.MustParseAddrPort(service)
	text := fmt.Sprintf("virtual_server %v %d {\n lb_algo rr\n protocol TCP\n %s\n}\n", at.Addr(), at.Port(), real)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(), append([]string{"run", "--instance", "forward", "--interface", "eth0", "--interface", "eth1", "-f", file}, more...)...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := in(t, "director", cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		err := cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); err != nil || t.Failed() {
			t.Errorf("the director: %v\n%s", err, text)
		}
	})
}

// talks waits until the service answers, and then says a large thing both ways.
func talks(t *testing.T, service string) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var answer []byte
		if answer, err = converse(t, service, []byte("hello"), 5*time.Second); err == nil && string(answer) == "HELLO" {
			break
		}
		err = errors.Join(err, fmt.Errorf("answered %q", answer))
	}
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("abcdefgh"), 1<<15)
	answer, err := converse(t, service, large, 30*time.Second)
	if err != nil || !bytes.Equal(answer, bytes.ToUpper(large)) {
		t.Errorf("of %d bytes %d came back: %v", len(large), len(answer), err)
	}
}

// TestTCPThroughNAT: real TCP to another port, the replies by the director, which finds the client by its routes.
func TestTCPThroughNAT(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed)
	shout(t, "real", "10.0.8.12:8080")
	direct(t, virtual, "lb_kind NAT\n real_server 10.0.8.12 8080 {\n }")
	talks(t, virtual)
	list := works(t, "ipvsadm", "--instance", "forward", "-ln", "--stats")
	if !strings.Contains(list, "10.0.8.12:8080") {
		t.Errorf("no real server in\n%s", list)
	}
	if list := works(t, "ipvsadm", "--instance", "forward", "-lcn"); !strings.Contains(list, "TIME_WAIT   10.0.4.102:") {
		t.Errorf("no connection that both sides have closed in\n%s", list)
	}
	if list := works(t, "ipvsadm", "--instance", "forward", "-ln"); !strings.Contains(strings.Join(strings.Fields(list), " "), "-> 10.0.8.12:8080 Masq 1 ") {
		t.Errorf("not by masquerading:\n%s", list)
	}
}

// TestTCPThroughFullNAT: a real server that has no way back to the clients, and another port. The handshake says what fits.
func TestTCPThroughFullNAT(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed)
	shell(t, "ip -n fwd-real route del default")
	shout(t, "real", "10.0.8.12:8080")
	direct(t, virtual, "lb_kind NAT\n fullnat 10.0.8.25\n mss_clamp 1000\n real_server 10.0.8.12 8080 {\n }")
	talks(t, virtual)
	if list := works(t, "ipvsadm", "--instance", "forward", "-lcn"); !strings.Contains(list, "TIME_WAIT   10.0.4.102:") || strings.Contains(list, "10.0.8.25:") {
		t.Errorf("not the one connection that both sides have closed in\n%s", list)
	}
	err := in(t, "client", func() error {
		c, err := net.DialTimeout("tcp", virtual, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) {
			if n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG); err != nil || n < 900 || n > 1000 {
				t.Errorf("the largest segment is %d, error %v; want 1000, time stamps taken off", n, err)
			}
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTCPThroughTunnels: real TCP to a real server that takes packets out of IP in IP, GUE and GRE; it answers by itself.
func TestTCPThroughTunnels(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed)
	shell(t, "ip -n fwd-real addr add 10.0.8.9/32 dev lo")
	shout(t, "real", "10.0.8.9:80")
	for name, m := range map[string]struct {
		kind     string
		protocol int
		skip     int // bytes between the outer header and the packet
	}{
		"IP in IP":         {"TUN", unix.IPPROTO_IPIP, 0},
		"GUE":              {"TUN type gue port 6080", unix.IPPROTO_UDP, 12},
		"GUE, checksummed": {"TUN type gue port 6080 csum", unix.IPPROTO_UDP, 12},
		"GRE":              {"TUN type gre", unix.IPPROTO_GRE, 4},
		"GRE, checksummed": {"TUN type gre csum", unix.IPPROTO_GRE, 8},
	} {
		t.Run(name, func(t *testing.T) {
			unwrap(t, m.protocol, m.skip)
			direct(t, virtual, "lb_kind "+m.kind+"\n real_server 10.0.8.12 80 {\n }")
			talks(t, virtual)
		})
	}
}

// unwrap is the far end of a tunnel: this kernel may have none. What it takes out is sent on to the host itself. A kernel
// that checks outer checksums drops what is wrong before it comes here; of GUE that is so.
func unwrap(t *testing.T, protocol, skip int) {
	t.Helper()
	err := in(t, "real", func() error {
		if protocol == unix.IPPROTO_UDP {
			c, err := net.ListenPacket("udp4", "10.0.8.12:6080") // so that the port is not unreachable
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
		}
		from, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		to, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		// What comes while the processors are busy elsewhere waits here: a lost segment costs TCP its time, not the path.
		if err := unix.SetsockoptInt(from, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(from, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return err
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		t.Cleanup(func() { close(stop); <-ended; unix.Close(from); unix.Close(to) })
		go func() {
			defer close(ended)
			b := make([]byte, 2048)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n, _, err := unix.Recvfrom(from, b, 0); err == nil && n > 20+skip+20 {
					_ = unix.Sendto(to, b[20+skip:n], 0, &unix.SockaddrInet4{Addr: [4]byte{10, 0, 8, 9}})
				}
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
