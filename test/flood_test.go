package test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The flood: as fast as one thread can, until either is reached.
const (
	floodFrames = 1_000_000
	floodTime   = 10 * time.Second
	population  = 50
	floodTable  = 10_000 // connections, which the flood exceeds many times over
)

// TestSYNFloodLosesNoEstablishedConnection: clients who talk go on talking while SYNs from hundreds of thousands of addresses
// fill the table, which then has room for nobody new. Their lines are not given away.
func TestSYNFloodLosesNoEstablishedConnection(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed)
	shell(t, "ip -n fwd-real addr add 10.0.8.9/32 dev lo")
	repeatLines(t)
	direct(t, virtual, "lb_kind DR\n real_server 10.0.8.12 80 {\n }", "--connections", fmt.Sprint(floodTable))
	clients := make([]net.Conn, population)
	for i := range clients {
		clients[i] = patient(t)
	}
	over := make(chan struct{})
	var talking sync.WaitGroup
	turns := make([]int, population)
	for i, c := range clients {
		talking.Go(func() {
			for in := bufio.NewReader(c); ; turns[i]++ {
				if err := turn(c, in, turns[i]); err != nil {
					t.Errorf("client %d after %d turns: %v", i, turns[i], err)
					return
				}
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	sent, took := flood(t)
	close(over)
	talking.Wait()
	all := 0
	for _, n := range turns {
		all += n
	}
	t.Logf("%d SYNs in %v, %.0f a second; %d clients had %d answers meanwhile", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds(), population, all)
	list := works(t, "ipvsadm", "--instance", "forward", "-lcn")
	if n := strings.Count(list, " ESTABLISHED 10.0.4.102:"); n != population {
		t.Errorf("%d established connections are listed, want %d", n, population)
	}
	if n := strings.Count(list, " SYN_RECV "); n < floodTable {
		t.Errorf("the flood has %d connections, too few to fill the table", n)
	}
	if n := strings.Count(list, "\n"); n > floodTable*2 {
		t.Errorf("%d lines", n)
	}
}

// repeatLines serves on the real server: a line comes back as it is.
func repeatLines(t *testing.T) {
	t.Helper()
	err := in(t, "real", func() error {
		l, err := net.Listen("tcp4", virtual)
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
					_, _ = io.Copy(c, c)
				}()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// patient opens a connection of a client, and says a first line on it.
func patient(t *testing.T) (c net.Conn) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err = in(t, "client", func() (err error) { c, err = net.DialTimeout("tcp4", virtual, 2*time.Second); return err })
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
	}
	t.Fatal(err)
	return nil
}

// turn says a line and waits for it to come back. TCP sends again what the busy wire lost, for as long as this waits.
func turn(c net.Conn, in *bufio.Reader, n int) error {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	line := fmt.Sprintf("turn %d\n", n)
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got, err := in.ReadString('\n')
	if err == nil && got != line {
		err = fmt.Errorf("said %q, got %q", line, got)
	}
	return err
}

// flood sends SYNs from 10.64.0.0/10.
func flood(t *testing.T) (sent int, took time.Duration) {
	t.Helper()
	err := in(t, "client", func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		to, err := neighbour("10.0.4.1")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index}); err != nil {
			return err
		}
		frame := synFrame(to, ifi.HardwareAddr)
		start := time.Now()
		for took < floodTime && sent < floodFrames {
			binary.BigEndian.PutUint32(frame[26:], 10<<24|64<<16|rand.Uint32()&0x3fffff)
			binary.BigEndian.PutUint16(frame[34:], uint16(1024+rand.IntN(60000)))
			checksums(frame)
			if _, err := unix.Write(fd, frame); err == unix.ENOBUFS {
				continue
			} else if err != nil {
				return err
			}
			sent++
			took = time.Since(start)
		}
		return nil
	})
	if err != nil || sent < 10*floodTable && took < floodTime {
		t.Errorf("%d SYNs were sent: %v", sent, err)
	}
	return sent, took
}

// neighbour is the MAC address that a host of this network namespace has answered with.
func neighbour(addr string) (net.HardwareAddr, error) {
	list, err := netlink.NeighList(0, netlink.FAMILY_V4)
	for _, n := range list {
		if n.IP.String() == addr {
			return n.HardwareAddr, nil
		}
	}
	return nil, fmt.Errorf("no neighbour %s: %v", addr, err)
}

// checksums makes both right, so that the real server has its share of the flood.
func checksums(frame []byte) {
	ip, tcp := frame[14:34], frame[34:54]
	clear(ip[10:12])
	clear(tcp[16:18])
	binary.BigEndian.PutUint16(ip[10:], onesSum(0, ip))
	binary.BigEndian.PutUint16(tcp[16:], onesSum(unix.IPPROTO_TCP+20, ip[12:20], tcp))
}

// onesSum is the complement of RFC 1071's sum.
func onesSum(s uint32, parts ...[]byte) uint16 {
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func synFrame(to, from net.HardwareAddr) []byte {
	b := append(append(append([]byte{}, to...), from...), 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 64, 0, 0, 10, 0, 8, 9)
	return append(b, 0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 2, 0xff, 0xff, 0, 0, 0, 0)
}
