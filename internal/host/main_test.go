package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"vipd/internal/need"
)

const inside = "VIPD_HOST_TEST_NETNS"

// TestMain runs the whole test binary in a network namespace of its own, as the product runs in one: whatever thread a
// goroutine is on, it sees the same host. The other end of a cable is a second namespace, see newCable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stayWord {
		time.Sleep(time.Hour)
	}
	if len(os.Args) > 1 && os.Args[1] == shedWord {
		shedAndTry(os.Args[2:])
	}
	if os.Geteuid() == 0 && os.Getenv(inside) == "" {
		os.Exit(runInside())
	}
	if os.Getenv(inside) != "" {
		if lo, err := netlink.LinkByName("lo"); err == nil {
			_ = netlink.LinkSetUp(lo)
		}
	}
	goleak.VerifyTestMain(m)
}

func runInside() int {
	runtime.LockOSThread() // the parent-death signal comes when this thread ends
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "run the tests in a network namespace:", err)
		return 1
	}
	return max(cmd.ProcessState.ExitCode(), -cmd.ProcessState.ExitCode())
}

// cable is a veth pair: the near end is in the namespace of the tests, the far end in one of its own.
type cable struct {
	t    *testing.T
	near string // 10.9.0.1/24
	far  string // 10.9.0.2/24
	ns   netns.NsHandle
}

var cables int

func newCable(t *testing.T) *cable {
	t.Helper()
	need.Root(t)
	if os.Getenv(inside) == "" {
		t.Fatal("not in a namespace of its own")
	}
	cables++
	c := &cable{t: t, near: fmt.Sprintf("near%d", cables), far: fmt.Sprintf("far%d", cables)}
	onThread(func() {
		home, err := netns.Get()
		check(t, err)
		defer home.Close()
		c.ns, err = netns.New()
		check(t, err)
		check(t, netns.Set(home))
	})
	t.Cleanup(func() { c.ns.Close() })
	attrs := netlink.NewLinkAttrs()
	attrs.Name = c.near
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: c.far, PeerNamespace: netlink.NsFd(c.ns)}))
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(c.near); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
	setUp(t, c.near, "10.9.0.1/24")
	c.do(func() {
		setUp(t, "lo")
		setUp(t, c.far, "10.9.0.2/24")
	})
	waitFor(t, "the cable has carrier", func() bool {
		l, err := LinkByName(c.near)
		return err == nil && l.Ready()
	})
	return c
}

// do runs fn in the far namespace. Sockets opened in it stay there.
func (c *cable) do(fn func()) {
	c.t.Helper()
	onThread(func() {
		home, err := netns.Get()
		check(c.t, err)
		defer home.Close()
		check(c.t, netns.Set(c.ns))
		defer func() { check(c.t, netns.Set(home)) }()
		fn()
	})
}

func onThread(fn func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fn()
}

func setUp(t *testing.T, dev string, prefixes ...string) {
	t.Helper()
	l, err := netlink.LinkByName(dev)
	check(t, err)
	for _, p := range prefixes {
		a, err := netlink.ParseAddr(p)
		check(t, err)
		check(t, netlink.AddrAdd(l, a))
	}
	check(t, netlink.LinkSetUp(l))
}

func setMAC(t *testing.T, dev, mac string) {
	t.Helper()
	l, err := netlink.LinkByName(dev)
	check(t, err)
	hw, err := net.ParseMAC(mac)
	check(t, err)
	check(t, netlink.LinkSetHardwareAddr(l, hw))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls what the kernel brings about by itself.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("after 10 s it is not so that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func vip(dev, prefix string) Address { return Address{Prefix: netip.MustParsePrefix(prefix), Dev: dev} }

// sysctl sets a value in the namespace of the tests. /proc/sys/net shows the namespace of the thread that opens it.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	check(t, os.WriteFile("/proc/sys/"+name, []byte(value), 0))
}
