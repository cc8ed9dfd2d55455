package host

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linkbeat is a way to ask a driver whether there is a link.
type Linkbeat string

const (
	LinkbeatMII     Linkbeat = "MII"     // the registers of the transceiver
	LinkbeatEthtool Linkbeat = "ETHTOOL" // ETHTOOL_GLINK
	LinkbeatIOCTL   Linkbeat = "IOCTL"   // nothing but the interface's flags
)

// ifreq is struct ifreq of linux/if.h, with what these calls read and write.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte // struct mii_ioctl_data, or a pointer
}

// IEEE 802.3 22.2.4.2: the status register, and its bit of a link, which a register of a link that was away shows as 0 once.
const (
	miiStatus     = 1
	miiLinkStatus = 1 << 2
)

// FindLinkbeat finds out which way an interface's driver knows: the wanted one ("": any), or else what keepalived takes then.
func FindLinkbeat(dev string, wanted Linkbeat) (Linkbeat, error) {
	fd, err := controlSocket()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	order := []Linkbeat{LinkbeatMII, LinkbeatEthtool}
	switch wanted {
	case LinkbeatIOCTL:
		order = nil
	case LinkbeatEthtool:
		order = []Linkbeat{LinkbeatEthtool, LinkbeatMII}
	}
	for _, way := range order {
		if _, err := way.ask(fd, dev); err == nil {
			return way, nil
		}
	}
	return LinkbeatIOCTL, nil
}

// Up asks. A driver that does not answer any more is taken to have a link, as with keepalived: the interface's flags decide then.
func (way Linkbeat) Up(dev string) (bool, error) {
	fd, err := controlSocket()
	if err != nil {
		return true, err
	}
	defer unix.Close(fd)
	up, err := way.ask(fd, dev)
	return up || err != nil, err
}

func (way Linkbeat) ask(fd int, dev string) (bool, error) {
	switch way {
	case LinkbeatMII:
		return askMII(fd, dev)
	case LinkbeatEthtool:
		return askEthtool(fd, dev)
	}
	return true, nil
}

func controlSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("ask a driver for its link: %w", err)
	}
	return fd, nil
}

func (r *ifreq) call(fd int, request uintptr, what, dev string) error {
	copy(r.name[:unix.IFNAMSIZ-1], dev)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(r))); errno != 0 {
		return fmt.Errorf("%s on %s: %w", what, dev, errno)
	}
	return nil
}

// askMII reads the status register twice, as its bit is one that stays down until it is read.
func askMII(fd int, dev string) (bool, error) {
	var r ifreq
	if err := r.call(fd, unix.SIOCGMIIPHY, "SIOCGMIIPHY", dev); err != nil { // and it says which transceiver
		return false, err
	}
	up := false
	for range 2 {
		native.PutUint16(r.data[2:], miiStatus)
		if err := r.call(fd, unix.SIOCGMIIREG, "SIOCGMIIREG", dev); err != nil {
			return false, err
		}
		status := native.Uint16(r.data[6:])
		if status == 0 {
			return false, fmt.Errorf("no MII transceiver present for %s", dev)
		}
		up = up || status&miiLinkStatus != 0
	}
	return up, nil
}

func askEthtool(fd int, dev string) (bool, error) {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GLINK}
	var r struct {
		name  [unix.IFNAMSIZ]byte
		value unsafe.Pointer
		_     [16]byte
	}
	copy(r.name[:unix.IFNAMSIZ-1], dev)
	r.value = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return false, fmt.Errorf("ETHTOOL_GLINK on %s: %w", dev, errno)
	}
	return value.data != 0, nil
}
