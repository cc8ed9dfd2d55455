package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq with its ifr_data pointer, of the kernel's size.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// checksumOff does `ethtool -K IF tx off` inside the calling thread's namespace.
func checksumOff(ifname string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	value := ethtoolValue{cmd: unix.ETHTOOL_STXCSUM}
	req := ifreqData{data: unsafe.Pointer(&value)}
	copy(req.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return fmt.Errorf("switch off checksum offload of %s: %w", ifname, errno)
	}
	return nil
}

// attachPass attaches a two-instruction program that lets every packet pass. The interface itself holds it (not a BPF
// link of ours), so it lives as long as the cable.
func attachPass(link netlink.Link) error {
	const xdpPass = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "lab_pass",
		Type:         ebpf.XDP,
		License:      "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("load the pass program: %w", err)
	}
	defer prog.Close()
	if err := netlink.LinkSetXdpFdWithFlags(link, prog.FD(), unix.XDP_FLAGS_DRV_MODE); err != nil {
		return fmt.Errorf("attach the pass program to %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// setCarrier plugs a cable in or pulls it, at the far end of host's first interface.
func (b *built) setCarrier(host string, on bool) error {
	_, far, ok := b.net.plug(host)
	if !ok {
		return fmt.Errorf("host %s has no cable", host)
	}
	return b.inside(far.Host, func() error {
		link, err := netlink.LinkByName(far.If)
		if err != nil {
			return fmt.Errorf("find %s: %w", far.If, err)
		}
		if on {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// reboot makes host as it is after a loss of power: no pins, no program on its interfaces, no address that is not its
// own. Then its cable is plugged in again.
func (l *Lab) reboot(host string) error {
	if err := l.forget(host); err != nil {
		return err
	}
	for _, e := range l.ends(host) {
		if err := l.built.inside(host, func() error { return blank(e) }); err != nil {
			return fmt.Errorf("reboot %s: %w", host, err)
		}
	}
	return l.built.setCarrier(host, true)
}

// detach takes the program off an interface. One that a BPF link holds goes by itself a moment after the link's last pin:
// the kernel lets go of it later (bpf_link_put), and until then the interface is busy.
func detach(ifname string) error {
	for end := time.Now().Add(grace); ; time.Sleep(10 * time.Millisecond) {
		link, err := netlink.LinkByName(ifname)
		if err != nil {
			return err
		}
		if xdp := link.Attrs().Xdp; xdp == nil || !xdp.Attached {
			return nil
		}
		err = netlink.LinkSetXdpFd(link, -1)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

func blank(e End) error {
	link, err := netlink.LinkByName(e.If)
	if err != nil {
		return err
	}
	if err := detach(e.If); err != nil {
		return fmt.Errorf("detach the program of %s: %w", e.If, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if own := slices.ContainsFunc(e.Addrs, func(p netip.Prefix) bool { return ipNet(p).String() == a.IPNet.String() }); own {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	return nil
}
