package host

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerSocket exchanges datagrams with other directors, address by address. Send and Recv may be called from different
// goroutines, each by one at a time.
type PeerSocket struct {
	file    *os.File
	raw     syscall.RawConn
	closed  atomic.Bool
	in, out *batch
}

// ListenPeers opens a socket at a port of an address; at the unspecified address it has them all, and the kernel chooses whom
// it sends from. Of a datagram that is longer than room the rest is cut off.
func ListenPeers(at netip.AddrPort, room int) (*PeerSocket, error) {
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
	s := &PeerSocket{file: os.NewFile(uintptr(fd), "peers "+at.String()), in: receiver(room), out: newBatch(batchMost)}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("listen to peers: %w", err)
	}
	return s, nil
}

// Send sends datagrams in their order without waiting, and returns how many went: unix.EAGAIN where there is no room for the next.
func (s *PeerSocket) Send(datagrams [][]byte, to netip.AddrPort) (sent int, err error) {
	at, length := rawAddr(to)
	sent, err = s.out.send(s.raw, datagrams, at, length, false)
	return sent, s.ended(err)
}

// Recv waits for a datagram and hands all that are there to take, which must not keep them, with where each came from.
// os.ErrClosed after Close.
func (s *PeerSocket) Recv(take func(datagram []byte, from netip.AddrPort)) error {
	n, err := s.in.recv(s.raw)
	for i := range n {
		take(s.in.datagram(i), s.in.sender(i))
	}
	return s.ended(err)
}

// Local is where it listens.
func (s *PeerSocket) Local() (at netip.AddrPort, err error) {
	var own unix.Sockaddr
	if ctlErr := s.raw.Control(func(fd uintptr) { own, err = unix.Getsockname(int(fd)) }); ctlErr != nil {
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

func (s *PeerSocket) ended(err error) error { return endedFile(&s.closed, err) }
