package test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/connsync"
	"vipd/internal/control"
	"vipd/internal/lb"
)

// told is a connection of the site's service as another director would tell of it: the i-th of many clients.
func toldConn(i int, real string) connsync.Conn {
	return connsync.Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(64 + i>>16), byte(i >> 8), byte(i)}), 1024),
		Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort(real), State: lb.Established, Timeout: 900}
}

// groupAt sends to a director's sync daemon from a namespace at its segment.
type groupAt struct{ net.Conn }

const syncID = 51

func groupFrom(t *testing.T, namespace string) groupAt {
	t.Helper()
	var g groupAt
	inside(t, namespace, func() (err error) {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			ctl := c.Control(func(fd uintptr) {
				err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(iface.Index)})
			})
			return errors.Join(ctl, err)
		}}
		g.Conn, err = dialer.Dial("udp4", netip.AddrPortFrom(lb.SyncGroup, lb.SyncPort).String())
		return err
	})
	t.Cleanup(func() { g.Close() })
	return g
}

// tell sends n connections, no faster than any receiver takes them.
func (g groupAt) tell(t *testing.T, id uint8, n int, conn func(i int) connsync.Conn) {
	t.Helper()
	p := connsync.Packer{ID: id, MaxLen: 1472}
	for i := range n {
		c := conn(i)
		p.Add(&c)
		if i%1000 == 999 || i == n-1 {
			p.Flush()
			for _, d := range p.Take() {
				if _, err := g.Write(d); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// syncOf is what a director says of its synchronisation.
func syncOf(t *testing.T, director string) control.Sync {
	t.Helper()
	var st control.Status
	if err := json.Unmarshal([]byte(works(t, "status", "-o", "json", "--instance", director)), &st); err != nil {
		t.Fatal(err)
	}
	if st.Sync == nil {
		t.Fatalf("%s has no synchronisation", director)
	}
	return *st.Sync
}

// linesOf is how many connections a director has in its table.
func linesOf(t *testing.T, director string) (n int) {
	t.Helper()
	for line := range strings.Lines(works(t, "ipvsadm", "--instance", director, "-ln")) {
		if f := strings.Fields(line); len(f) == 6 && f[0] == "->" {
			active, _ := strconv.Atoi(f[4])
			inactive, _ := strconv.Atoi(f[5])
			n += active + inactive
		}
	}
	return n
}

// TestAPeerThatLiesIsBounded: somebody at the segment, with a director's address, sends a running director datagrams of wrong
// lengths, of another syncid, of services and real servers that there are not, a million connections, and what it recorded. The
// director goes on, clients are served, and no connection goes where no configured real server is.
func TestAPeerThatLiesIsBounded(t *testing.T) {
	if !alone(t, 10*time.Minute) {
		return
	}
	before := left(t)
	const connections, table = 1 << 15, 1 << 16 // which has twice as many lines
	pairOf(t, fmt.Sprintf("    lvs_sync_daemon eth0 id %d\n    lvs_connections %d\n", syncID, connections))
	c := &continuity{T: t}
	c.becomes(stronger, "MASTER")
	c.caughtUp()
	heard := recorded(t, "vipd-lab-director2", 20)
	works(t, "lab", "stop", "director2")

	conn, err := dialFrom("10.0.4.102")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	serves := func() {
		t.Helper()
		for _, open := range []net.Conn{conn, fresh(t)} {
			if err := asks(open); err != nil {
				t.Errorf("a client is not served: %v", err)
			}
		}
	}
	serves()
	liar := groupFrom(t, "vipd-lab-director2")
	peer := peerFrom(t, "vipd-lab-director2")
	r := rand.New(rand.NewPCG(8, 8))

	// Wrong lengths: noise, datagrams cut anywhere, lengths that lie.
	good := connsync.Packer{ID: syncID, MaxLen: 1472}
	for i := range 30 {
		one := toldConn(i, "10.0.8.12:80")
		good.Add(&one)
	}
	good.Flush()
	whole := good.Take()[0]
	for i := range 2000 {
		d := append([]byte(nil), whole[:r.IntN(len(whole))]...)
		if i%2 == 0 {
			d = append([]byte(nil), whole...)
			d[r.IntN(len(d))] ^= byte(1 + r.IntN(255))
			d[2], d[3] = byte(r.Uint32()), byte(r.Uint32())
		}
		for _, to := range []net.Conn{liar, peer} {
			if _, err := to.Write(d); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	eventually(t, 30*time.Second, "wrong lengths are counted", func() bool { return syncOf(t, stronger).Refused["wrong-size"] > 100 })
	serves()

	// What it recorded of the peer: the key cannot be had, and the session is over or the numbers are.
	for range 3 {
		for _, d := range heard {
			if _, err := peer.Write(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, 30*time.Second, "replays are refused", func() bool {
		p := syncOf(t, stronger).Peers[0]
		return p.Refused["replayed"] >= 20
	})
	if n := linesOf(t, stronger); n > 100 {
		t.Errorf("%d connections are in the table", n)
	}

	// Another syncid; services and real servers that are not configured.
	learned := syncOf(t, stronger).Learned
	liar.tell(t, syncID+1, 1000, func(i int) connsync.Conn { return toldConn(i, "10.0.8.12:80") })
	liar.tell(t, syncID, 100_000, func(i int) connsync.Conn {
		c := toldConn(i, "10.0.8.66:80")
		if i%2 == 0 {
			c.Virtual = netip.MustParseAddrPort("10.0.8.99:443")
		}
		return c
	})
	eventually(t, time.Minute, "unknown servers are refused", func() bool {
		s := syncOf(t, stronger)
		return s.Waiting == connsync.MostWaiting && s.Refused["unknown-server"] > 1000 && s.Refused["other-syncid"] > 0
	})
	if now := syncOf(t, stronger).Learned; now != learned {
		t.Errorf("%d connections were learned", now-learned)
	}

	// The client's own connection, told to be of a server that is not configured: it stays where it is.
	own := toldConn(0, "10.0.8.66:80")
	own.Client = netip.MustParseAddrPort(conn.LocalAddr().String())
	liar.tell(t, syncID, 10, func(int) connsync.Conn { return own })
	serves()

	// A million connections of a configured real server.
	many := 200_000
	if text := os.Getenv("VIPD_CATCH_UP"); text != "" {
		many, _ = strconv.Atoi(text)
	}
	liar.tell(t, syncID, many, func(i int) connsync.Conn { return toldConn(i, "10.0.8.12:80") })
	eventually(t, 4*time.Minute, "the rest is refused", func() bool { return syncOf(t, stronger).Refused["table-full"] > 1000 })
	if n := linesOf(t, stronger); n > table*3/4+100 {
		t.Errorf("%d lines of %d are taken by what was told", n, table)
	}
	serves()
	if said := logOf(t, "director1"); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
		t.Error("it panicked")
	}
	t.Logf("%d connections told, %+v", many, syncOf(t, stronger).Refused)
	works(t, "lab", "down")
	nothingNew(t, before)
}

// fresh is a new connection of a client.
func fresh(t *testing.T) net.Conn {
	t.Helper()
	c, err := dialFrom("10.0.4.103")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// asks sends a request over an open connection and takes the whole answer.
func asks(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := ask(c, bufio.NewReader(c))
	return err
}

// peerFrom sends to the director's connection_sync from the peer's address.
func peerFrom(t *testing.T, namespace string) (c net.Conn) {
	t.Helper()
	inside(t, namespace, func() (err error) {
		c, err = (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(10, 0, 8, 55)}}).Dial("udp4", "10.0.8.25:8849")
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// recorded are so many datagrams that the peer sends, from a namespace's own interface.
func recorded(t *testing.T, namespace string, n int) (all [][]byte) {
	t.Helper()
	inside(t, namespace, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
			return err
		}
		buf := make([]byte, 9000)
		for len(all) < n {
			k, _, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EINTR) { // Go's own signals; a socket with a timeout is not waited for again
				continue
			}
			if err != nil {
				return err
			}
			// IPv4 without options, UDP to port 8849, from the peer.
			if b := buf[:k]; k > 28 && b[0] == 0x45 && b[9] == unix.IPPROTO_UDP && b[15] == 55 && b[22] == 8849>>8 && b[23] == 8849&0xff {
				all = append(all, append([]byte(nil), b[28:]...))
			}
		}
		return nil
	})
	return all
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// TestTheAddressIsTakenOnlyWithAllConnections: the stronger director of a pair returns while the weaker one is master of many connections.
// VIPD_CATCH_UP=1000000 is the long run.
func TestTheAddressIsTakenOnlyWithAllConnections(t *testing.T) {
	many := 30_000
	if text := os.Getenv("VIPD_CATCH_UP"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if !alone(t, 10*time.Minute) {
		return
	}
	before := left(t)
	room := fmt.Sprintf("    lvs_connections %d\n", 4*many)
	pairOf(t, room, room+fmt.Sprintf("    lvs_sync_daemon eth0 id %d\n", syncID))
	c := &continuity{T: t}
	c.becomes(stronger, "MASTER")
	works(t, "lab", "stop", "director1")
	c.becomes(weaker, "MASTER")
	teller := groupFrom(t, "vipd-lab-director1")
	for end := time.Now().Add(5 * time.Minute); ; { // datagrams may be lost
		teller.tell(t, syncID, many, func(i int) connsync.Conn { return toldConn(i, "10.0.8.12:80") })
		time.Sleep(time.Second)
		if n := linesOf(t, weaker); n >= many {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d of %d are there", n, many)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	least := make(chan int, 1)
	go func() { // who is master of an address that it has not all connections of?
		defer close(least)
		for ctx.Err() == nil {
			if strings.Contains(vipd(t, "vrrp", "--instance", stronger).stdout, "VI_1: MASTER") {
				least <- linesOf(t, stronger)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	took := c.returns()
	n, seen := <-least
	if !seen || n < many {
		t.Errorf("it took the address with %d of %d connections", n, many)
	}
	said := logOf(t, "director1")
	if !strings.Contains(said, "olds back") {
		t.Errorf("it did not hold back:\n%s", said)
	}
	t.Logf("%d connections: master with all of them %s after its start", many, took.Round(10*time.Millisecond))
	works(t, "lab", "down")
	nothingNew(t, before)
}
