package xdp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vipd/internal/need"
	"vipd/internal/plane/planetest"
)

// cable puts the test into a network namespace of its own, with a pair of virtual interfaces that are up.
func cable(t *testing.T) (string, string) {
	t.Helper()
	need.Root(t)
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		netns.Set(home)
		own.Close()
		home.Close()
		runtime.UnlockOSThread()
	})
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near.1"}, PeerName: "far.1"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"near.1", "far.1"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	return "near.1", "far.1"
}

// programOn is the id of the XDP program at an interface, 0 if there is none.
func programOn(t *testing.T, ifname string) uint32 {
	t.Helper()
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	if l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached {
		return 0
	}
	return l.Attrs().Xdp.ProgId
}

func TestAttachAdoptRemove(t *testing.T) {
	near, far := cable(t)
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	if mode, err := first.Attach(near); err != nil || mode != Native {
		t.Fatalf("mode %q, error %v", mode, err)
	}
	if mode, err := first.Attach(near); err != nil || mode != Native {
		t.Fatalf("a second time: mode %q, error %v", mode, err)
	}
	if mode := first.Mode(near); mode != Native {
		t.Errorf("mode %q", mode)
	}
	if mode := first.Mode(far); mode != "" {
		t.Errorf("mode %q of the other end", mode)
	}
	old := programOn(t, near)
	if old == 0 {
		t.Fatal("nothing is attached")
	}
	kill(first)
	if now := programOn(t, near); now != old {
		t.Fatalf("program %d without a process, want %d", now, old)
	}

	second := opened(t, opts)
	replaced := programOn(t, near)
	if replaced == 0 || replaced == old {
		t.Fatalf("program %d after adoption, was %d", replaced, old)
	}
	if mode := second.Mode(near); mode != Native || len(second.Attached()) != 1 {
		t.Errorf("adopted in mode %q: %v", mode, second.Attached())
	}
	if mode, err := second.Attach(near); err != nil || mode != Native || programOn(t, near) != replaced {
		t.Errorf("attached again: mode %q, error %v, program %d", mode, err, programOn(t, near))
	}
	if err := second.Detach(near); err != nil || programOn(t, near) != 0 {
		t.Errorf("detached: error %v, program %d", err, programOn(t, near))
	}
	if err := second.Detach(near); err != nil {
		t.Error(err)
	}
	if _, err := second.Attach(near); err != nil {
		t.Fatal(err)
	}
	if err := second.Remove(); err != nil {
		t.Fatal(err)
	}
	if now := programOn(t, near); now != 0 {
		t.Errorf("program %d after removal", now)
	}
	if _, err := os.Stat(opts.PinDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", opts.PinDir, err)
	}
}

func TestAnInterfaceThatIsGoneIsNoHindrance(t *testing.T) {
	near, _ := cable(t)
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	if _, err := first.Attach(near); err != nil {
		t.Fatal(err)
	}
	kill(first)
	l, _ := netlink.LinkByName(near)
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	second := opened(t, opts)
	if list := second.Attached(); len(list) != 0 {
		t.Errorf("attached to %v", list)
	}
	if _, err := second.Attach(near); err == nil || !strings.HasPrefix(err.Error(), "attach near.1: ") {
		t.Errorf("error %v", err)
	}
}

func TestAnotherProgramIsNamed(t *testing.T) {
	near, _ := cable(t)
	p := opened(t, small)
	other, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "somebody", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ifi, _ := net.InterfaceByName(near)
	for _, flags := range []link.XDPAttachFlags{link.XDPDriverMode, link.XDPGenericMode} {
		l, err := link.AttachXDP(link.XDPOptions{Program: other, Interface: ifi.Index, Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Attach(near)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), fmt.Sprintf("%q, id %d", "somebody", programOn(t, near))) {
			t.Errorf("error %v", err)
		}
		l.Close()
	}
	if _, err := p.Attach(near); err != nil {
		t.Errorf("when it is gone: %v", err)
	}
}

func TestADriverWithoutXDPGetsGenericMode(t *testing.T) {
	near, _ := cable(t)
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}); err != nil {
		t.Fatal(err)
	}
	p := opened(t, small)
	do(t, p, add(planetest.Web)...)
	if mode, err := p.Attach("lan"); err != nil || mode != Generic {
		t.Errorf("mode %q, error %v", mode, err)
	}
	if mode, err := p.Attach(near); err != nil || mode != Native {
		t.Errorf("mode %q, error %v", mode, err)
	}
	if _, err := p.Attach("lo"); err == nil || !strings.Contains(err.Error(), "no Ethernet address") {
		t.Errorf("error %v", err)
	}
	if list := p.Attached(); len(list) != 2 {
		t.Errorf("attached to %v", list)
	}
}
