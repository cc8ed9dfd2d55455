package xdp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// ownNetwork is a namespace whose host is its own real servers, each of which says its address to TCP and UDP.
func ownNetwork(t *testing.T, servers ...string) {
	t.Helper()
	cable(t)
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.8.9/32", "10.0.8.12/32", "10.0.8.13/32", "2001:db8:8::9/128", "2001:db8:8::12/128"} {
		addr, err := netlink.ParseAddr(a)
		if err == nil {
			addr.Flags = syscall.IFA_F_NODAD
			err = netlink.AddrAdd(lo, addr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	for _, at := range servers {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, at)
				c.Close()
			}
		})
		serving.Go(func() {
			for buf := make([]byte, 64); ; {
				_, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				u.WriteTo([]byte(at), from)
			}
		})
	}
}

// dialed is who answers a new connection, and what the socket says its peer is.
func dialed(t *testing.T, network, to string) (answer, peer string) {
	t.Helper()
	c, err := net.DialTimeout(network, to, 5*time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused", ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if network[:3] == "udp" {
		c.Write([]byte("who?"))
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return err.Error(), ""
	}
	return string(buf[:n]), peerOf(t, c)
}

// peerOf asks the kernel, as c may remember.
func peerOf(t *testing.T, c net.Conn) (peer string) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		sa, err := syscall.Getpeername(int(fd))
		switch sa := sa.(type) {
		case *syscall.SockaddrInet4:
			peer = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
		case *syscall.SockaddrInet6:
			peer = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
		default:
			peer = fmt.Sprint(err) // it has hung up already
		}
	})
	return peer
}

// asked is who answers datagrams of one socket that is not connected, and from which address it hears that.
func asked(t *testing.T, to string, n int) (answers, from []string) {
	t.Helper()
	c, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range n {
		c.WriteTo([]byte("who?"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		c.SetDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 64)
		n, a, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		answers, from = append(answers, string(buf[:n])), append(from, a.String())
	}
	return answers, from
}

func ownService(proto lb.Protocol, at string, forward lb.Forward, reals ...string) []plane.Op {
	s := lb.Service{ServiceKey: lb.ServiceKey{Protocol: proto, Addr: netip.MustParseAddrPort(at)}, Scheduler: "rr"}
	var list []lb.Real
	for _, r := range reals {
		list = append(list, lb.Real{Addr: netip.MustParseAddrPort(r), Forward: forward, Weight: 1})
	}
	return add(s, list...)
}

func TestThisHostsOwnConnections(t *testing.T) {
	const vip, vip6 = "10.0.8.9:80", "[2001:db8:8::9]:80"
	ownNetwork(t, "10.0.8.12:80", "10.0.8.13:80", "10.0.8.12:8080", "[2001:db8:8::12]:80", "10.0.8.9:53")
	opts := small
	opts.PinDir = pinDir(t)
	p := opened(t, opts)
	do(t, p, ownService(lb.TCP, vip, lb.Route, "10.0.8.12:80", "10.0.8.13:80")...)
	do(t, p, ownService(lb.UDP, vip, lb.Route, "10.0.8.12:80", "10.0.8.13:80")...)
	do(t, p, ownService(lb.TCP, vip6, lb.Route, "[2001:db8:8::12]:80")...)
	do(t, p, ownService(lb.TCP, "10.0.8.9:81", lb.Masq, "10.0.8.12:8080")...)
	do(t, p, ownService(lb.TCP, "10.0.8.9:82", lb.Route)...)
	do(t, p, ownService(lb.TCP, "10.0.8.9:53", lb.Local, "127.0.0.1:53")...)

	if answer, _ := dialed(t, "tcp", vip); answer != "refused" {
		t.Errorf("without it, %s answers", answer)
	}
	if err := p.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	turns := []string{}
	for range 4 {
		answer, peer := dialed(t, "tcp4", vip)
		if turns = append(turns, answer); peer != vip {
			t.Errorf("the peer is %s", peer)
		}
	}
	slices.Sort(turns)
	if !slices.Equal(turns, []string{"10.0.8.12:80", "10.0.8.12:80", "10.0.8.13:80", "10.0.8.13:80"}) {
		t.Errorf("four connections went to %v", turns)
	}
	for _, row := range []struct{ network, to, answer, peer string }{
		{"tcp", vip6, "[2001:db8:8::12]:80", vip6},
		{"tcp", "10.0.8.9:81", "10.0.8.12:8080", "10.0.8.9:81"},
		{"tcp", "10.0.8.9:82", "refused", ""},
		{"tcp", "10.0.8.9:53", "10.0.8.9:53", "10.0.8.9:53"},
		{"tcp", "10.0.8.12:8080", "10.0.8.12:8080", "10.0.8.12:8080"},
	} {
		if answer, peer := dialed(t, row.network, row.to); answer != row.answer || peer != row.peer {
			t.Errorf("%s %s: %s answers as %s, want %s as %s", row.network, row.to, answer, peer, row.answer, row.peer)
		}
	}
	// The socket is one of IPv6 that speaks IPv4.
	answers, from := asked(t, vip, 3)
	if answers[0] != answers[1] || answers[1] != answers[2] || slices.Contains(from, answers[0]) {
		t.Errorf("three datagrams of one socket were answered by %v, from %v", answers, from)
	}
	if other, _ := asked(t, vip, 1); other[0] == answers[0] {
		t.Errorf("the next socket's by %v too", other)
	}
	outcomes := func(p *Plane) string { return outcomesOf(t, p) }
	if got := outcomes(p); got != "sent 8 here 1 refused 1 family 0 " {
		t.Errorf("counted: %s", got)
	}
	pools, _ := p.Read()
	for _, pool := range pools {
		if pool.Service.Addr.String() == vip && pool.Service.Protocol == lb.TCP && pool.Total.Conns != 4 {
			t.Errorf("the service counts %d connections", pool.Total.Conns)
		}
	}
	// It goes on without a process, and the next one takes it over.
	kill(p)
	if answer, _ := dialed(t, "tcp", "10.0.8.9:81"); answer != "10.0.8.12:8080" {
		t.Errorf("without a process %s answers", answer)
	}
	later := opened(t, opts)
	if err := later.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(later); got != "sent 9 here 1 refused 1 family 0 " {
		t.Errorf("adopted: %s", got)
	}
	if err := later.BalanceOwn(false); err != nil {
		t.Fatal(err)
	}
	if answer, _ := dialed(t, "tcp", vip); answer != "refused" || outcomes(later) != "" {
		t.Errorf("switched off, %s answers; %s", answer, outcomes(later))
	}
	if err := errors.Join(later.BalanceOwn(true), later.Remove()); err != nil {
		t.Fatal(err)
	}
	if answer, _ := dialed(t, "tcp", vip); answer != "refused" {
		t.Errorf("removed, %s answers", answer)
	}
}

// TestOthersConnectionsAreLeftAlone: a socket of another network namespace.
func TestOthersConnectionsAreLeftAlone(t *testing.T) {
	ownNetwork(t, "10.0.8.12:80")
	p := opened(t, small)
	do(t, p, ownService(lb.TCP, "10.0.8.9:80", lb.Route, "10.0.8.12:80")...)
	if err := p.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	ownNetwork(t, "10.0.8.9:80")
	if answer, _ := dialed(t, "tcp", "10.0.8.9:80"); answer != "10.0.8.9:80" {
		t.Errorf("%s answers", answer)
	}
}

// TestThisHostStaysWithAPersistentServer: it is one client.
func TestThisHostStaysWithAPersistentServer(t *testing.T) {
	ownNetwork(t, "10.0.8.12:80", "10.0.8.13:80")
	p := opened(t, small)
	ops := ownService(lb.TCP, "10.0.8.9:80", lb.Route, "10.0.8.12:80", "10.0.8.13:80")
	ops[0].Service.Persistence = time.Minute
	do(t, p, ops...)
	if err := p.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	first, _ := dialed(t, "tcp", "10.0.8.9:80")
	for range 3 {
		if again, _ := dialed(t, "tcp", "10.0.8.9:80"); again != first {
			t.Errorf("first %s, then %s", first, again)
		}
	}
	if err := p.Travel(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if later, _ := dialed(t, "tcp", "10.0.8.9:80"); later == first {
		t.Errorf("after its time still %s", later)
	}
	gone := ops[1:]
	for _, op := range gone {
		op.Verb = plane.DelReal
		do(t, p, op)
	}
	if answer, _ := dialed(t, "tcp", "10.0.8.9:80"); answer != "refused" {
		t.Errorf("without servers %s answers", answer)
	}
}

// outcomesOf are what became of this host's own connections, in words.
func outcomesOf(t *testing.T, p *Plane) (text string) {
	t.Helper()
	list, err := p.OwnConnections()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		text += fmt.Sprint(r.Name, " ", r.Count, " ")
	}
	return text
}

// TestOwnDatagrams: whom each datagram of a socket goes to.
func TestOwnDatagrams(t *testing.T) {
	const vip, vip6 = "10.0.8.9:80", "[2001:db8:8::9]:80"
	ownNetwork(t, "10.0.8.12:80", "10.0.8.13:80", "[2001:db8:8::12]:80")
	p := opened(t, small)
	both := ownService(lb.UDP, vip, lb.Route, "10.0.8.12:80", "10.0.8.13:80")
	do(t, p, both...)
	do(t, p, ownService(lb.UDP, vip6, lb.Route, "[2001:db8:8::12]:80")...)
	if err := p.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	if answers, from := asked(t, vip6, 2); answers[0] != "[2001:db8:8::12]:80" || from[0] != vip6 || answers[1] != answers[0] {
		t.Errorf("%v, from %v", answers, from)
	}
	if got := outcomesOf(t, p); got != "sent 1 here 0 refused 0 family 0 " {
		t.Errorf("two datagrams of one socket are counted: %s", got)
	}
	// A socket that is connected asks once.
	if answer, peer := dialed(t, "udp4", vip); answer != "10.0.8.13:80" || peer != vip {
		t.Errorf("%s answers as %s", answer, peer)
	}
	// The socket's server goes: the next datagram is the other's.
	c, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() string {
		t.Helper()
		c.WriteTo([]byte("who?"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(vip)))
		c.SetDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 64)
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if first := ask(); first != "10.0.8.12:80" || ask() != first {
		t.Errorf("%s answers first, or the second is another's", first)
	}
	gone := both[1]
	gone.Verb = plane.DelReal
	do(t, p, gone)
	if next := ask(); next != "10.0.8.13:80" {
		t.Errorf("its server is removed, and %s answers", next)
	}
	do(t, p, both[1])
	if next := ask(); next != "10.0.8.13:80" {
		t.Errorf("another is there again, and %s answers", next)
	}
	// Of a service of one packet each has its turn.
	alone := both[0]
	alone.Verb, alone.Service.OnePacket = plane.EditService, true
	do(t, p, alone)
	if one, two := ask(), ask(); one == two {
		t.Errorf("one packet each: both of %s", one)
	}
}

// TestOwnConnectionsThatGoNowhereElse: to this host as a real server, and to real servers of another family.
func TestOwnConnectionsThatGoNowhereElse(t *testing.T) {
	ownNetwork(t, "10.0.8.9:80", "10.0.8.9:81", "10.0.8.9:82", "10.0.8.12:8080")
	p := opened(t, small)
	do(t, p, ownService(lb.TCP, "10.0.8.9:80", lb.Route, "10.0.8.13:80")...)
	do(t, p, ownService(lb.TCP, "10.0.8.9:81", lb.Tunnel, "[2001:db8:8::12]:81")...)
	do(t, p, ownService(lb.TCP, "10.0.8.9:82", lb.Masq, "10.0.8.12:8080")...)
	for _, a := range p.Hops() {
		if err := p.SetHop(a, Hop{Local: a.Is4()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.BalanceOwn(true); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ to, answer, counted string }{
		{"10.0.8.9:80", "10.0.8.9:80", "sent 0 here 1 refused 0 family 0 "},
		{"10.0.8.9:81", "10.0.8.9:81", "sent 0 here 1 refused 0 family 1 "},
		{"10.0.8.9:82", "10.0.8.12:8080", "sent 1 here 1 refused 0 family 1 "}, // this host by another port, which has to be translated
	} {
		if answer, peer := dialed(t, "tcp4", row.to); answer != row.answer || peer != row.to {
			t.Errorf("%s: %s answers as %s", row.to, answer, peer)
		}
		if got := outcomesOf(t, p); got != row.counted {
			t.Errorf("%s is counted: %s", row.to, got)
		}
	}
}

// TestOwnConnectionsByLocality: lblc and lblcr have no memory for them, and take the least loaded.
func TestOwnConnectionsByLocality(t *testing.T) {
	ownNetwork(t, "10.0.8.12:80", "10.0.8.13:80")
	p := opened(t, small)
	for i, scheduler := range []string{"lblc", "lblcr"} {
		ops := ownService(lb.TCP, "10.0.8.9:80", lb.Route, "10.0.8.12:80", "10.0.8.13:80")
		ops[0].Service.Scheduler = scheduler
		for n := range ops[1:] {
			ops[1+n].Service.Scheduler = scheduler
		}
		if i > 0 {
			ops = []plane.Op{{Verb: plane.EditService, Service: ops[0].Service}}
		}
		do(t, p, ops...)
		if err := p.BalanceOwn(true); err != nil {
			t.Fatal(err)
		}
		for range 2 { // nobody has any that are counted: the newest
			if answer, _ := dialed(t, "tcp4", "10.0.8.9:80"); answer != "10.0.8.13:80" {
				t.Errorf("%s: %s answers", scheduler, answer)
			}
		}
	}
}
