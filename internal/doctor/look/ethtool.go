package look

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// txChecksum is ETHTOOL_GTXCSUM (linux/ethtool.h).
func txChecksum(fd int, ifname string) bool {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GTXCSUM}
	req := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(req.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return errno == 0 && value.data != 0
}
