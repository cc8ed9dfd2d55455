package host

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// PeerSocket exchanges datagrams with other directors, address by address. Its methods may be called from different
// goroutines.
type PeerSocket struct {
	file   *os.File
	closed atomic.Bool
}

// ListenPeers opens a socket at a port of an address; at the unspecified address it has them all, and the kernel chooses whom
// it sends from.
func ListenPeers(at netip.AddrPort) (*PeerSocket, error) {
	domain := unix.AF_INET
	if at.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("open a socket for peers: %w", err)
	}
	steps := []step{{"bind to " + at.String(), func() error { return unix.Bind(fd, syncAddress(at.Addr(), at.Port(), 0)) }}}
	if domain == unix.AF_INET6 {
		steps = append([]step{{"IPV6_V6ONLY", func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) }}}, steps...)
	}
	if err := doSteps(steps); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to peers: %w", err)
	}
	setBuffer(fd, syncBuffer)
	setSendBuffer(fd, syncBuffer)
	return &PeerSocket{file: os.NewFile(uintptr(fd), "peers "+at.String())}, nil
}

// Send sends one datagram without waiting: unix.EAGAIN where there is no room for it.
func (s *PeerSocket) Send(b []byte, to netip.AddrPort) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, syncAddress(to.Addr(), to.Port(), 0))
		return true
	})
	if err != nil {
		return bareError(err)
	}
	return sent
}

// Recv waits for a datagram and returns its length and where it came from; what does not fit into buf is cut off.
// os.ErrClosed after Close.
func (s *PeerSocket) Recv(buf []byte) (n int, from netip.AddrPort, err error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, from, s.ended(err)
	}
	var sender unix.Sockaddr
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, sender, got = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		return got != unix.EAGAIN && got != unix.EINTR
	})
	if err != nil {
		return 0, from, s.ended(err)
	}
	return n, addrPortOf(sender), got
}

// Local is where it listens.
func (s *PeerSocket) Local() (at netip.AddrPort, err error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return at, err
	}
	var own unix.Sockaddr
	if ctlErr := raw.Control(func(fd uintptr) { own, err = unix.Getsockname(int(fd)) }); ctlErr != nil {
		return at, ctlErr
	}
	return addrPortOf(own), err
}

func addrPortOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// Close ends a Recv that waits.
func (s *PeerSocket) Close() error {
	s.closed.Store(true)
	return s.file.Close()
}

// ended gives what package os says in its own words about a file that was closed the name that it has elsewhere.
func (s *PeerSocket) ended(err error) error {
	if s.closed.Load() {
		return os.ErrClosed
	}
	return bareError(err)
}
