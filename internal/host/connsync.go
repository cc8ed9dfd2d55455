package host

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// syncBuffer holds some thousand datagrams: a receiver that was held up for a moment loses none.
const syncBuffer = 4 << 20

// SyncSocket sends datagrams of connection synchronisation to a group, or receives them. Send and Recv may be called from
// different goroutines, each by one at a time.
type SyncSocket struct {
	file    *os.File
	raw     syscall.RawConn
	closed  atomic.Bool
	in, out *batch
}

// SyncEndpoint is where they go, or come from.
type SyncEndpoint struct {
	Dev   string
	Group netip.Addr
	Port  uint16
	TTL   uint8 // of what is sent
	Room  int   // for each datagram that is received; what is longer is cut off
	// Buffer is the size of the socket's. If zero, as large as this program likes it.
	Buffer int
}

// DialSync opens a socket that sends to at's group and port; loop off, as the kernel has it: no socket of this host hears it.
func DialSync(at SyncEndpoint) (*SyncSocket, error) {
	return openSync(at, "send connections", func(fd int, link Link) error { return sendsTo(fd, link, at) })
}

// ListenSync opens a socket that receives what comes to at's group and port by its interface.
func ListenSync(at SyncEndpoint) (*SyncSocket, error) {
	return openSync(at, "receive connections", func(fd int, link Link) error { return hears(fd, link, at) })
}

func openSync(at SyncEndpoint, what string, setUp func(fd int, link Link) error) (*SyncSocket, error) {
	link, err := LinkByName(at.Dev)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	domain := unix.AF_INET
	if at.Group.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: open a socket: %w", what, at.Dev, err)
	}
	if err := setUp(fd, link); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s on %s: %w", what, at.Dev, gone(err, at.Dev))
	}
	s := &SyncSocket{file: os.NewFile(uintptr(fd), "sync "+at.Dev), out: newBatch(batchMost)}
	if at.Room > 0 {
		s.in = receiver(at.Room)
	}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("%s on %s: %w", what, at.Dev, err)
	}
	return s, nil
}

func doSteps(steps []step) error {
	for _, s := range steps {
		if err := s.err(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

func syncAddress(a netip.Addr, port uint16, ifindex int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: int(port), ZoneId: uint32(ifindex)}
}

func sendsTo(fd int, link Link, at SyncEndpoint) error {
	level, loop, ttl := unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, unix.IP_MULTICAST_TTL
	by := func() error {
		return unix.SetsockoptIPMreqn(fd, level, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(link.Index)})
	}
	if at.Group.Is6() {
		level, loop, ttl = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, unix.IPV6_MULTICAST_HOPS
		by = func() error { return unix.SetsockoptInt(fd, level, unix.IPV6_MULTICAST_IF, link.Index) }
	}
	setSendBuffer(fd, cmp.Or(at.Buffer, syncBuffer))
	return doSteps([]step{
		{"bind to device", func() error { return unix.BindToDevice(fd, link.Name) }},
		{"choose the interface of multicast", by},
		{"turn multicast loop off", func() error { return unix.SetsockoptInt(fd, level, loop, 0) }},
		{"set the TTL", func() error { return unix.SetsockoptInt(fd, level, ttl, int(at.TTL)) }},
		{"connect to " + at.Group.String(), func() error { return unix.Connect(fd, syncAddress(at.Group, at.Port, link.Index)) }},
	})
}

func hears(fd int, link Link, at SyncEndpoint) error {
	join := func() error {
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: at.Group.As4(), Ifindex: int32(link.Index)})
	}
	if at.Group.Is6() {
		join = func() error {
			return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: at.Group.As16(), Interface: uint32(link.Index)})
		}
	}
	err := doSteps([]step{
		{"SO_REUSEADDR", func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }},
		{"bind to device", func() error { return unix.BindToDevice(fd, link.Name) }},
		{"bind to " + at.Group.String(), func() error { return unix.Bind(fd, syncAddress(at.Group, at.Port, link.Index)) }},
		{"join " + at.Group.String(), join},
	})
	setBuffer(fd, cmp.Or(at.Buffer, syncBuffer))
	return err
}

// setSendBuffer makes room for what is to be sent; without CAP_NET_ADMIN as much as the host allows.
func setSendBuffer(fd, n int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
	}
}

// sendWait is how long a datagram waits for room; sends never hold their caller up longer.
const sendWait = 50 * time.Millisecond

// Send sends datagrams in their order, and returns how many went. os.ErrDeadlineExceeded: there was no room for the next.
func (s *SyncSocket) Send(datagrams [][]byte) (sent int, err error) {
	if err := s.file.SetWriteDeadline(time.Now().Add(sendWait)); err != nil {
		return 0, s.ended(err)
	}
	sent, err = s.out.send(s.raw, datagrams, nil, 0, true)
	return sent, s.ended(err)
}

// Recv waits for a datagram and hands all that are there to take, which must not keep them. os.ErrClosed after Close.
func (s *SyncSocket) Recv(take func(datagram []byte)) error {
	n, err := s.in.recv(s.raw)
	for i := range n {
		take(s.in.datagram(i))
	}
	return s.ended(err)
}

// Close ends a Recv that waits.
func (s *SyncSocket) Close() error {
	s.closed.Store(true)
	return s.file.Close()
}

// ended gives what package os says in its own words about a file that was closed the name that it has elsewhere.
func (s *SyncSocket) ended(err error) error { return endedFile(&s.closed, err) }

func endedFile(closed *atomic.Bool, err error) error {
	if err != nil && closed.Load() {
		return os.ErrClosed
	}
	return bareError(err)
}

// bareError leaves out the file's name.
func bareError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
