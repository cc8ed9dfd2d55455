package host

import (
	"cmp"
	"encoding/binary"
	"errors"
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
	ipv6Header = 40
	// ipv6MulticastAll is IPV6_MULTICAST_ALL of linux/in6.h, Linux 4.20.
	ipv6MulticastAll = 29
)

// Endpoint says where a socket for adverts stands. Two sockets for the same endpoint would hear everything twice.
type Endpoint struct {
	Dev   string // interface. If empty, any, and then Local is set.
	V6    bool
	AH    bool       // adverts in an authentication header: IPv4 protocol 51
	Local netip.Addr // own address that it is bound to. If zero, all.
	VRF   string     // without Dev, the device of the routing domain whose interfaces it stands on. If empty, all outside of such.
}

func (e Endpoint) String() string {
	if e.Dev == "" {
		return e.Local.String()
	}
	return e.Dev
}

// VRRPSocket sends and receives adverts. Send and Recv may be called from different goroutines.
type VRRPSocket struct {
	at      Endpoint
	ifindex int // 0: any
	fd      int
	file    *os.File
	closed  atomic.Bool
}

// ListenVRRP opens a raw socket for adverts. It receives what comes to this host's own addresses, and to the groups
// that it joins.
//
// The binding is to the interface's index: when the interface is deleted and made anew, listen anew.
func ListenVRRP(at Endpoint) (*VRRPSocket, error) {
	var link Link
	if at.Dev != "" {
		var err error
		if link, err = LinkByName(at.Dev); err != nil {
			return nil, fmt.Errorf("listen for VRRP: %w", err)
		}
	}
	domain, protocol := unix.AF_INET, protoVRRP
	if at.V6 {
		domain = unix.AF_INET6
	}
	if at.AH {
		protocol = unix.IPPROTO_AH
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("listen for VRRP on %s: open raw socket: %w", at, err)
	}
	if err := setUpVRRP(fd, at, link); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen for VRRP on %s: %w", at, gone(err, at.Dev))
	}
	return &VRRPSocket{at: at, ifindex: link.Index, fd: fd, file: os.NewFile(uintptr(fd), "vrrp "+at.String())}, nil
}

type step struct {
	what string
	err  func() error
}

// setUpVRRP sets the options in order. IP_TOS changes the priority too, so SO_PRIORITY comes after it.
func setUpVRRP(fd int, at Endpoint, link Link) error {
	steps := options4(fd, link)
	if at.V6 {
		steps = options6(fd, link)
	}
	dev := cmp.Or(at.Dev, at.VRF)
	if dev != "" {
		steps = append([]step{{"bind to device", func() error { return unix.BindToDevice(fd, dev) }}}, steps...)
	}
	steps = append(steps, step{"SO_PRIORITY", func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6) }}) // TC_PRIO_CONTROL
	if at.Local.IsValid() {
		steps = append(steps, step{"bind to " + at.Local.String(), func() error { return unix.Bind(fd, sockaddr(at.Local, link.Index)) }})
	}
	for _, s := range steps {
		if err := s.err(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	setBuffer(fd, vrrpBuffer)
	return discard(fd)
}

func options4(fd int, link Link) []step {
	own := &unix.IPMreqn{Ifindex: int32(link.Index)}
	set := func(name string, opt, value int) step {
		return step{name, func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, opt, value) }}
	}
	return []step{
		set("IP_HDRINCL", unix.IP_HDRINCL, 1),
		set("IP_MULTICAST_ALL", unix.IP_MULTICAST_ALL, 0),
		set("IP_MULTICAST_LOOP", unix.IP_MULTICAST_LOOP, 0),
		{"IP_MULTICAST_IF", func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, own) }},
		set("IP_TOS", unix.IP_TOS, tosControl),
		set("IP_FREEBIND", unix.IP_FREEBIND, 1), // the address may come later
	}
}

// options6: the kernel writes the header of an IPv6 packet, from these and from what Send says with each.
func options6(fd int, link Link) []step {
	set := func(name string, opt, value int) step {
		return step{name, func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, opt, value) }}
	}
	return []step{
		set("IPV6_RECVPKTINFO", unix.IPV6_RECVPKTINFO, 1),
		set("IPV6_RECVHOPLIMIT", unix.IPV6_RECVHOPLIMIT, 1),
		set("IPV6_RECVTCLASS", unix.IPV6_RECVTCLASS, 1),
		set("IPV6_MULTICAST_ALL", ipv6MulticastAll, 0),
		set("IPV6_MULTICAST_LOOP", unix.IPV6_MULTICAST_LOOP, 0),
		set("IPV6_MULTICAST_IF", unix.IPV6_MULTICAST_IF, link.Index),
		set("IPV6_TCLASS", unix.IPV6_TCLASS, tosControl),
		set("IPV6_FREEBIND", unix.IPV6_FREEBIND, 1),
	}
}

func sockaddr(a netip.Addr, ifindex int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	to := &unix.SockaddrInet6{Addr: a.As16()}
	if a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() {
		to.ZoneId = uint32(ifindex)
	}
	return to
}

// Join makes the socket a member of a group on its interface. To join twice is no error.
func (s *VRRPSocket) Join(group netip.Addr) error {
	err := s.poll(syscall.RawConn.Write, func(fd int) error {
		if group.Is4() {
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Ifindex: int32(s.ifindex), Multiaddr: group.As4()})
		}
		return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Interface: uint32(s.ifindex), Multiaddr: group.As16()})
	})
	if err != nil && err != unix.EADDRINUSE {
		return fmt.Errorf("join %s on %s: %w", group, s.at, err)
	}
	return nil
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

// Send puts a whole packet, header included, on the wire. The kernel fills in an IPv4 header's checksum and length, and
// the identification if it is 0; of an IPv6 header it takes over source, hop limit and traffic class, and chooses the
// flow label. keepalived: multicast is sent with MSG_DONTROUTE, so the routing table plays no part and no router can be
// in between.
func (s *VRRPSocket) Send(packet []byte, to netip.Addr) error {
	if to.Is6() != s.at.V6 || s.at.V6 && len(packet) < ipv6Header {
		return fmt.Errorf("send advert on %s to %s: not of the socket's family", s.at, to)
	}
	flags := unix.MSG_NOSIGNAL
	if to.IsMulticast() {
		flags |= unix.MSG_DONTROUTE
	}
	var control []byte
	if s.at.V6 {
		control, packet = s.control(packet), packet[ipv6Header:]
	}
	err := s.poll(syscall.RawConn.Write, func(fd int) error {
		return unix.Sendmsg(fd, packet, control, sockaddr(to, s.ifindex), flags)
	})
	if err != nil {
		return fmt.Errorf("send advert on %s to %s: %w", s.at, to, err)
	}
	return nil
}

// control says by ancillary data (RFC 3542 §6) what the header of an IPv6 packet says.
func (s *VRRPSocket) control(packet []byte) []byte {
	info := append(packet[8:24:24], native.AppendUint32(nil, uint32(s.ifindex))...)
	b := ancillary(unix.IPV6_PKTINFO, info)
	b = append(b, ancillary(unix.IPV6_HOPLIMIT, native.AppendUint32(nil, uint32(packet[7])))...)
	class := uint32(packet[0]&0xf)<<4 | uint32(packet[1]>>4)
	return append(b, ancillary(unix.IPV6_TCLASS, native.AppendUint32(nil, class))...)
}

// ancillary encodes one control message (cmsg(3)).
func ancillary(typ int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	native.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	native.PutUint32(b[8:], unix.IPPROTO_IPV6)
	native.PutUint32(b[12:], uint32(typ))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// Recv waits for a packet and returns its length, IP header included. A packet longer than buf is cut. After Close the
// error matches os.ErrClosed; unix.ENETDOWN means that the interface went down, and Recv can be called again.
func (s *VRRPSocket) Recv(buf []byte) (n int, err error) {
	err = s.poll(syscall.RawConn.Read, func(fd int) (err error) {
		n, err = s.read(fd, buf)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("receive adverts on %s: %w", s.at, err)
	}
	return n, nil
}

// TryRecv is Recv that does not wait, also not for another goroutine that is in Recv: it gives 0 when nothing is there.
func (s *VRRPSocket) TryRecv(buf []byte) (n int, err error) {
	if s.closed.Load() {
		return 0, os.ErrClosed
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("receive adverts on %s: %w", s.at, err)
	}
	// Control and not Read, whose lock a waiting Recv holds.
	controlled := conn.Control(func(fd uintptr) {
		for n, err = s.read(int(fd), buf); err == unix.EINTR; {
			n, err = s.read(int(fd), buf)
		}
	})
	switch err = errors.Join(controlled, err); {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("receive adverts on %s: %w", s.at, err)
	}
	return n, nil
}

// Interface is the index of the interface that it is bound to. 0: none.
func (s *VRRPSocket) Interface() int { return s.ifindex }

// Descriptor is the socket's, for poll(2), as long as it is open.
func (s *VRRPSocket) Descriptor() int { return s.fd }

func (s *VRRPSocket) read(fd int, buf []byte) (int, error) {
	if !s.at.V6 {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		return n, err
	}
	if len(buf) < ipv6Header {
		return 0, unix.EINVAL
	}
	var control [128]byte
	n, c, _, from, err := unix.Recvmsg(fd, buf[ipv6Header:], control[:], 0)
	if err != nil {
		return 0, err
	}
	writeIPv6Header(buf, n, from, control[:c])
	return ipv6Header + n, nil
}

// writeIPv6Header writes the header that the kernel took off, as far as it told of it.
func writeIPv6Header(b []byte, payload int, from unix.Sockaddr, control []byte) {
	clear(b[:ipv6Header])
	b[0], b[6] = 0x60, protoVRRP
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	if a, ok := from.(*unix.SockaddrInet6); ok {
		copy(b[8:24], a.Addr[:])
	}
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		switch {
		case m.Header.Level != unix.IPPROTO_IPV6:
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			copy(b[24:40], m.Data)
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			b[7] = byte(number(m.Data))
		case m.Header.Type == unix.IPV6_TCLASS && len(m.Data) >= 4:
			class := byte(number(m.Data))
			b[0], b[1] = 0x60|class>>4, class<<4
		}
	}
}

// poll makes a system call, and makes it again when the socket is ready for it.
func (s *VRRPSocket) poll(ready func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) error) error {
	err := pollFile(s.file, ready, call)
	if err != nil && s.closed.Load() {
		return os.ErrClosed // the poller's own error for this is one that cannot be tested for
	}
	return err
}

// Close leaves the groups and ends a waiting Recv.
func (s *VRRPSocket) Close() error {
	s.closed.Store(true)
	return s.file.Close()
}
