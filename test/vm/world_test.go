package vm

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/lab"
)

//go:embed testdata/network.sh
var networkScript string

// patience is far more than any answer takes: nothing is decided by it but that nobody answered.
const patience = 10 * time.Second

// nobody is who answers when there is no server: the director refused.
const nobody = "-"

// world is the network of network.sh with servers that say who they are, and one who connects from the client's
// namespace. It plays the same history against whatever forwards on the director.
type world struct {
	testing.TB
	mu       sync.Mutex
	accepted []net.Conn
}

var realServers = []string{"11", "12", "13", "14", "15"}

// newWorld starts the real servers, which answer on port 80 of their own address and of the VIP with the last byte of
// their address.
func newWorld(t testing.TB) *world {
	w := &world{TB: t}
	for _, name := range realServers {
		for _, at := range []string{"10.0.8." + name + ":80", "10.0.8.9:80"} {
			if err := in("rs"+name, func() error { return w.serve(name, at) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// in does something in a namespace: sockets that are made there stay there.
func in(namespace string, do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never given back: the thread ends with the goroutine
		err := lab.EnterNamespace(namespace)
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

func (w *world) serve(name, at string) error {
	listener, err := net.Listen("tcp4", at)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp4", at)
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	w.Cleanup(func() {
		listener.Close()
		packets.Close()
		serving.Wait()
		w.hangUp()
	})
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			w.keep(c)
			fmt.Fprintln(c, name) // a client that is gone does not read it
		}
	})
	serving.Go(func() {
		for buf := make([]byte, 64); ; {
			_, from, err := packets.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, err = packets.WriteTo([]byte(name+"\n"), from)
			}
			if err != nil {
				w.Logf("server %s: %v", name, err) // a late ICMP error
			}
		}
	})
	return nil
}

func (w *world) keep(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accepted = append(w.accepted, c)
}

// hangUp ends what the servers hold, without a word on the wire but a reset.
func (w *world) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.accepted {
		reset(c)
	}
	w.accepted = nil
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0) // fails on a closed one only
	}
	c.Close()
}

// call makes a new client and returns who answered it. A TCP connection is established on the director by then, and
// comes back open.
func (w *world) call(proto string, from, to netip.AddrPort) (answer string, held net.Conn) {
	w.Helper()
	ask := map[string]func(from, to netip.AddrPort) (string, net.Conn, error){"tcp": askTCP, "udp": askUDP}[proto]
	err := in("client", func() (err error) {
		answer, held, err = ask(from, to)
		return err
	})
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nobody, nil
	}
	if err != nil {
		w.Fatalf("%s from %v to %v: %v", proto, from, to, err)
	}
	return strings.TrimSpace(answer), held
}

func askTCP(from, to netip.AddrPort) (string, net.Conn, error) {
	c, err := (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}).Dial("tcp4", to.String())
	if err != nil {
		return "", nil, err
	}
	var buf [16]byte
	n := 0
	if err = c.SetReadDeadline(time.Now().Add(patience)); err == nil {
		n, err = c.Read(buf[:])
	}
	if err != nil {
		c.Close()
		return "", nil, err
	}
	return string(buf[:n]), c, nil
}

// askUDP takes an answer from any address: IPVS keeps no entry of a one-packet service, so that behind NAT the answer
// comes from the real server's own.
func askUDP(from, to netip.AddrPort) (string, net.Conn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(from))
	if err != nil {
		return "", nil, err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return "", nil, err
	}
	var errOption error // a refusal is told to a socket that is not connected only if it asks for it
	if err := raw.Control(func(fd uintptr) {
		errOption = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}); err != nil || errOption != nil {
		return "", nil, errors.Join(err, errOption)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", nil, err
	}
	if _, err := c.WriteToUDPAddrPort([]byte("who?"), to); err != nil {
		return "", nil, err
	}
	var buf [16]byte
	n, _, err := c.ReadFromUDPAddrPort(buf[:])
	return string(buf[:n]), nil, err
}

// command runs a line on the director, where PATH decides which ipvsadm it is.
func (w *world) command(line string) string {
	w.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}
