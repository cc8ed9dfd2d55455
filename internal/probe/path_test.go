package probe

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/checkpath"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/need"
)

// wired is a director (the test's thread is in it, and it has the virtual addresses too, as a master has) and a real server
// at the other end of a cable.
type wired struct {
	*testing.T
	real string // the real server's namespace, as ip -n takes it
}

func wire(t *testing.T) *wired {
	t.Helper()
	need.BPF(t)
	need.Tool(t, "ip")
	w := &wired{t, "vipd-way-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
	w.sh("ip netns add " + w.real)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", w.real).Run() })
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	w.sh("ip link set lo up; ip link add eth0 type veth peer name eth0 netns " + w.real + "; ip link set eth0 up; ip addr add 10.0.8.25/24 dev eth0")
	w.sh("ip addr add 2001:db8:8::25/64 dev eth0 nodad; ip addr add 10.0.8.9/32 dev eth0; ip addr add 2001:db8:8::9/128 dev eth0 nodad preferred_lft 0")
	w.there("ip link set lo up; ip link set eth0 up; ip addr add 10.0.8.13/24 dev eth0; ip addr add 2001:db8:8::13/64 dev eth0 nodad; " +
		"sysctl -qw net.ipv4.conf.all.arp_ignore=1; sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0")
	return w
}

func (w *wired) sh(line string) {
	w.Helper()
	if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
		w.Fatalf("%s: %v: %s", line, err, out)
	}
}

func (w *wired) there(line string) {
	w.Helper()
	w.sh("ip netns exec " + w.real + " sh -ec '" + line + "'")
}

// listen waits for clients inside the real server.
func (w *wired) listen(at string, serve func(net.Listener, net.PacketConn)) {
	w.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + w.real)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			failed <- err
			return
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			failed <- err
			return
		}
		p, err := net.ListenPacket("udp", at)
		if err == nil {
			w.Cleanup(func() { l.Close(); p.Close() })
			serve(l, p)
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		w.Fatal(err)
	}
}

// pages answers every page by 200, and every datagram by itself.
func pages(l net.Listener, p net.PacketConn) {
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				if n, _ := c.Read(b); n > 0 {
					c.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"))
				}
			}()
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for n, from, err := p.ReadFrom(b); err == nil; n, from, err = p.ReadFrom(b) {
			p.WriteTo(b[:n], from)
		}
	}()
}

func (w *wired) check(paths *checkpath.Paths, c health.Checker) health.Result {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	ctx, end := walking(context.Background(), c, paths)
	defer end()
	return Run(ctx, c)
}

// TestChecksGoTheWayOfTheTraffic: of every kind and both families, to a real server that has the virtual address and to one
// that has not, while its own address answers in both cases.
func TestChecksGoTheWayOfTheTraffic(t *testing.T) {
	w := wire(t)
	w.listen(":80", pages)
	paths := checkpath.New()
	defer paths.Close()
	families := map[string]struct{ real, vip netip.Addr }{
		"IPv4": {netip.MustParseAddr("10.0.8.13"), netip.MustParseAddr("10.0.8.9")},
		"IPv6": {netip.MustParseAddr("2001:db8:8::13"), netip.MustParseAddr("2001:db8:8::9")},
	}
	kinds := map[health.Kind]health.Checker{
		health.TCPCheck:  {},
		health.HTTPGet:   {HTTP: &health.HTTP{URLs: []health.URL{{Path: "/", Codes: [][2]int{{200, 200}}}}}},
		health.UDPCheck:  {UDP: &health.UDP{Payload: []byte("hello"), NeedReply: true}},
		health.PingCheck: {},
	}
	all := func(has bool) {
		for family, f := range families {
			for kind, c := range kinds {
				c.Kind, c.Target = kind, netip.AddrPortFrom(f.real, 80)
				if res := w.check(paths, c); !res.OK {
					t.Errorf("%s %s to its own address: %+v", family, kind, res)
				}
				if !has {
					c.ConnectTimeout = 200 * time.Millisecond
				}
				c.Way = &health.Path{VIP: f.vip, Forward: lb.Route}
				if res := w.check(paths, c); res.OK != has || res.Inconclusive {
					t.Errorf("%s %s to %s: %+v, and it has the address: %v", family, kind, c.Way, res, has)
				}
			}
		}
	}
	all(false)
	w.there("ip addr add 10.0.8.9/32 dev lo; ip addr add 2001:db8:8::9/128 dev lo nodad")
	all(true)
}

// TestChecksGoThroughTunnels: of each kind, to a real server that unpacks, and to one that does not.
func TestChecksGoThroughTunnels(t *testing.T) {
	w := wire(t)
	w.there("ip addr add 10.0.8.9/32 dev lo; ip addr add 2001:db8:8::9/128 dev lo nodad")
	w.listen(":80", pages)
	paths := checkpath.New()
	defer paths.Close()
	for kind, tunnel := range map[bpf.DecapDecapKind]lb.TunnelOptions{bpf.DecapDecapKindDECAP_IPIP: {Type: lb.IPIP},
		bpf.DecapDecapKindDECAP_GUE: {Type: lb.GUE, Port: 6080}, bpf.DecapDecapKindDECAP_GRE: {Type: lb.GRE}} {
		for real, vip := range map[string]string{"10.0.8.13:80": "10.0.8.9", "[2001:db8:8::13]:80": "2001:db8:8::9"} {
			c := health.Checker{Kind: health.HTTPGet, Target: netip.MustParseAddrPort(real), HTTP: &health.HTTP{URLs: []health.URL{{Path: "/"}}},
				Way: &health.Path{VIP: netip.MustParseAddr(vip), Forward: lb.Tunnel, Tunnel: tunnel}, ConnectTimeout: 300 * time.Millisecond}
			if res := w.check(paths, c); res.OK {
				t.Errorf("%s: a real server that does not unpack is well", c.Way)
			}
			off := w.unpack(kind, netip.MustParseAddr(vip))
			c.ConnectTimeout = 0
			if res := w.check(paths, c); !res.OK {
				t.Errorf("%s: %+v", c.Way, res)
			}
			off()
		}
	}
}

// unpack puts a decapsulator on the real server's interface.
func (w *wired) unpack(kind bpf.DecapDecapKind, vip netip.Addr) (off func()) {
	w.Helper()
	spec, err := bpf.LoadDecap()
	if err != nil {
		w.Fatal(err)
	}
	if err := spec.Variables[bpf.DecapVarDecapTunnel].Set(uint32(kind)); err != nil {
		w.Fatal(err)
	}
	var o bpf.DecapObjects
	if err := spec.LoadAndAssign(&o, nil); err != nil {
		w.Fatal(err)
	}
	key := bpf.DecapDecapAddress{}
	b := vip.AsSlice()
	for i := range len(b) / 4 {
		key.Addr[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	key.V6 = uint32(len(b) / 16)
	if err := o.DecapVips.Put(key, uint8(1)); err != nil {
		w.Fatal(err)
	}
	set := func(fd int) {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			f, err := os.Open("/run/netns/" + w.real)
			if err == nil {
				err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			}
			if err == nil {
				var l netlink.Link
				if l, err = netlink.LinkByName("eth0"); err == nil {
					err = netlink.LinkSetXdpFdWithFlags(l, fd, unix.XDP_FLAGS_SKB_MODE)
				}
			}
			done <- err
		}()
		if err := <-done; err != nil {
			w.Fatal(err)
		}
	}
	set(o.Decap.FD())
	return func() { set(-1); o.Close() }
}

// TestNothingOfACheckIsLeftAtTheRealServer: its connections end in order, though what comes for closed sockets of ours would be
// answered in another's name.
func TestNothingOfACheckIsLeftAtTheRealServer(t *testing.T) {
	w := wire(t)
	w.there("ip addr add 10.0.8.9/32 dev lo")
	w.listen(":80", pages)
	paths := checkpath.New()
	defer paths.Close()
	for range 20 {
		c := health.Checker{Kind: health.TCPCheck, Target: netip.MustParseAddrPort("10.0.8.13:80"), Way: &health.Path{VIP: netip.MustParseAddr("10.0.8.9"), Forward: lb.Route}}
		if res := w.check(paths, c); !res.OK {
			t.Fatalf("%+v", res)
		}
	}
	out, err := exec.Command("ip", "netns", "exec", w.real, "cat", "/proc/net/tcp", "/proc/net/tcp6").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 3 && (f[3] == "09" || f[3] == "08") { // LAST_ACK, CLOSE_WAIT
			t.Errorf("a connection waits for its end: %s", line)
		}
	}
}

// TestAWayThatCannotBeIsNoVerdict: neither good nor bad, with the reason.
func TestAWayThatCannotBeIsNoVerdict(t *testing.T) {
	w := wire(t)
	for target, want := range map[string]string{"10.0.8.25:80": "this host's own address", "192.0.2.1:80": "cannot check 10.0.8.9 through DR"} {
		c := health.Checker{Kind: health.TCPCheck, Target: netip.MustParseAddrPort(target), Way: &health.Path{VIP: netip.MustParseAddr("10.0.8.9"), Forward: lb.Route}}
		paths := checkpath.New()
		if res := w.check(paths, c); !res.Inconclusive || !strings.Contains(res.Why, want) {
			t.Errorf("%s: %+v, want inconclusive: %s", target, res, want)
		}
		paths.Close()
	}
}
