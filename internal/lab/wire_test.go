package lab

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

func TestAProgramThatALinkHoldsIsWaitedFor(t *testing.T) {
	need.BPF(t)
	name := fmt.Sprintf("vipdwire%d", os.Getpid())
	k, err := createNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	defer removeNamespaces(name)
	defer k.close()
	if err := k.run(func() error { return detachLate(t) }); err != nil {
		t.Fatal(err)
	}
}

// detachLate detaches a program whose link is let go of meanwhile, as the kernel does some time after the last pin.
func detachLate(t *testing.T) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "near"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"}); err != nil {
		return err
	}
	near, err := netlink.LinkByName("near")
	if err != nil {
		return err
	}
	const pass = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()}})
	if err != nil {
		return err
	}
	defer prog.Close()
	held, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: near.Attrs().Index})
	if err != nil {
		return err
	}
	if err := netlink.LinkSetXdpFd(near, -1); err != unix.EBUSY {
		t.Errorf("a program that a link holds can be detached: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { held.Close() })
	if err := detach("near"); err != nil {
		return err
	}
	if near, err = netlink.LinkByName("near"); err == nil && near.Attrs().Xdp.Attached {
		t.Error("the program is still there")
	}
	return err
}
