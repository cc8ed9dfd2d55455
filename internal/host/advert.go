package host

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// VRRPGroup is the multicast group of VRRP over IPv4, RFC 3768 §5.2.2.
var VRRPGroup = netip.AddrFrom4([4]byte{224, 0, 0, 18})

const (
	protoVRRP  = 112
	tosControl = 0xc0    // keepalived: internetwork control, also as the socket's type of service
	vrrpBuffer = 1 << 20 // some thousand adverts: a loop that was held up for a second loses none
)

// VRRPSocket sends and receives adverts on one interface. Send and Recv may be called from different goroutines.
type VRRPSocket struct {
	dev    string
	file   *os.File
	closed atomic.Bool
}

// ListenVRRP opens a raw socket for IP protocol 112 that is bound to the interface and is a member of 224.0.0.18
// there. It also receives adverts that are sent to one of this host's own addresses by the interface.
//
// The binding is to the interface's index: when the interface is deleted and made anew, listen anew.
func ListenVRRP(dev string) (*VRRPSocket, error) {
	link, err := LinkByName(dev)
	if err != nil {
		return nil, fmt.Errorf("listen for VRRP: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protoVRRP)
	if err != nil {
		return nil, fmt.Errorf("listen for VRRP on %s: open raw socket: %w", dev, err)
	}
	if err := setUpVRRP(fd, link); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen for VRRP on %s: %w", dev, gone(err, dev))
	}
	return &VRRPSocket{dev: dev, file: os.NewFile(uintptr(fd), "vrrp "+dev)}, nil
}

// setUpVRRP sets the options in order. IP_TOS changes the priority too, so SO_PRIORITY comes after it.
func setUpVRRP(fd int, link Link) error {
	group := &unix.IPMreqn{Ifindex: int32(link.Index), Multiaddr: VRRPGroup.As4()}
	own := &unix.IPMreqn{Ifindex: int32(link.Index)}
	steps := []struct {
		what string
		err  func() error
	}{
		{"bind to device", func() error { return unix.BindToDevice(fd, link.Name) }},
		{"IP_HDRINCL", func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1) }},
		{"IP_MULTICAST_ALL", func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0) }},
		{"IP_MULTICAST_LOOP", func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0) }},
		{"IP_MULTICAST_IF", func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, own) }},
		{"IP_TOS", func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, tosControl) }},
		{"SO_PRIORITY", func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6) }}, // TC_PRIO_CONTROL
		{"join 224.0.0.18", func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, group) }},
	}
	for _, s := range steps {
		if err := s.err(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	setBuffer(fd, vrrpBuffer)
	return discard(fd)
}

// discard drops what came from other interfaces before the socket was bound to its own.
func discard(fd int) error {
	var buf [1]byte
	for {
		switch _, _, err := unix.Recvfrom(fd, buf[:], 0); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("empty the socket: %w", err)
		}
	}
}

// Send puts a whole IPv4 packet, header included, on the wire. The kernel fills in the header's checksum and length,
// and the identification if it is 0. keepalived: multicast is sent with MSG_DONTROUTE, so the routing table plays no
// part and no router can be in between.
func (s *VRRPSocket) Send(packet []byte, to netip.Addr) error {
	if !to.Is4() {
		return fmt.Errorf("send advert on %s to %s: not an IPv4 address", s.dev, to)
	}
	flags := unix.MSG_NOSIGNAL
	if to.IsMulticast() {
		flags |= unix.MSG_DONTROUTE
	}
	err := s.poll(syscall.RawConn.Write, func(fd int) error {
		return unix.Sendto(fd, packet, flags, &unix.SockaddrInet4{Addr: to.As4()})
	})
	if err != nil {
		return fmt.Errorf("send advert on %s to %s: %w", s.dev, to, err)
	}
	return nil
}

// Recv waits for a packet and returns its length, IPv4 header included. A packet longer than buf is cut. After Close
// the error matches os.ErrClosed; unix.ENETDOWN means that the interface went down, and Recv can be called again.
func (s *VRRPSocket) Recv(buf []byte) (n int, err error) {
	err = s.poll(syscall.RawConn.Read, func(fd int) (err error) {
		n, _, err = unix.Recvfrom(fd, buf, 0)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("receive adverts on %s: %w", s.dev, err)
	}
	return n, nil
}

// poll makes a system call, and makes it again when the socket is ready for it.
func (s *VRRPSocket) poll(ready func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) error) error {
	err := pollFile(s.file, ready, call)
	if err != nil && s.closed.Load() {
		return os.ErrClosed // the poller's own error for this is one that cannot be tested for
	}
	return err
}

// Close leaves the group and ends a waiting Recv.
func (s *VRRPSocket) Close() error {
	s.closed.Store(true)
	return s.file.Close()
}
