package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// BFDListener receives BFD control packets for all sessions on one port, IPv4 and IPv6.
type BFDListener struct {
	conn *net.UDPConn
	oob  []byte
}

// BFDPacket is one that arrived. TTL is 0 if the kernel did not tell.
type BFDPacket struct {
	From, To netip.Addr
	TTL      int
	Len      int // bytes in the caller's buffer
}

// ListenBFD opens a port. Where there is no IPv6, it is IPv4 alone.
func ListenBFD(port uint16) (*BFDListener, error) {
	l := &BFDListener{oob: make([]byte, 256)}
	var err error
	for _, network := range []string{"udp", "udp4"} {
		if l.conn, err = net.ListenUDP(network, &net.UDPAddr{Port: int(port)}); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for BFD on port %d: %w", port, errnoOf(err))
	}
	if err := l.ask(); err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("listen for BFD on port %d: %w", port, err)
	}
	return l, nil
}

// ask has the kernel tell hop limit and destination of every packet. On a socket of IPv6 the options of IPv4 count for
// packets of IPv4; on one of IPv4 there are no others.
func (l *BFDListener) ask() (err error) {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		four := errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1), unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
		six := errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1), unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
		if domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET {
			six = nil
		}
		err = errors.Join(four, six)
	}), err)
}

// Recv waits for a packet. After Close its error is net.ErrClosed.
func (l *BFDListener) Recv(buf []byte) (BFDPacket, error) {
	n, oobn, _, from, err := l.conn.ReadMsgUDPAddrPort(buf, l.oob)
	if err != nil {
		return BFDPacket{}, err
	}
	p := BFDPacket{From: from.Addr().Unmap(), Len: n}
	p.control(l.oob[:oobn])
	return p, nil
}

// control reads what the kernel tells beside a packet.
func (p *BFDPacket) control(oob []byte) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		level, typ, d := int(m.Header.Level), int(m.Header.Type), m.Data
		switch {
		case level == unix.IPPROTO_IP && typ == unix.IP_TTL, level == unix.IPPROTO_IPV6 && typ == unix.IPV6_HOPLIMIT:
			p.TTL = int(number(d))
		case level == unix.IPPROTO_IP && typ == unix.IP_PKTINFO && len(d) >= unix.SizeofInet4Pktinfo:
			p.To = netip.AddrFrom4([4]byte(d[8:12]))
		case level == unix.IPPROTO_IPV6 && typ == unix.IPV6_PKTINFO && len(d) >= unix.SizeofInet6Pktinfo:
			p.To = netip.AddrFrom16([16]byte(d[:16])).Unmap()
		}
	}
}

// Close ends Recv.
func (l *BFDListener) Close() error { return l.conn.Close() }

// Ports that BFD packets leave from, RFC 5881 §4: "The source port MUST be in the range 49152 through 65535. The same UDP
// source port number MUST be used for all BFD Control packets associated with a particular session."
const (
	bfdFirstPort = 49152
	bfdPorts     = 65536 - bfdFirstPort
	bfdTries     = 100
)

// BFDSender sends the packets of one session.
type BFDSender struct {
	conn *net.UDPConn
	to   netip.AddrPort
}

// DialBFD opens the way to a neighbour: from source, or if that is zero as the kernel chooses, with that hop limit.
func DialBFD(source netip.Addr, to netip.AddrPort, ttl uint8) (*BFDSender, error) {
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	var conn *net.UDPConn
	var err error
	for range bfdTries {
		local := &net.UDPAddr{Port: bfdFirstPort + rand.IntN(bfdPorts)}
		if source.IsValid() {
			local.IP = source.AsSlice()
		}
		if conn, err = net.ListenUDP(network, local); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("send BFD to %s: %w", to.Addr(), errnoOf(err))
	}
	s := &BFDSender{conn: conn, to: to}
	if err := s.mark(ttl, to.Addr().Is6()); err != nil {
		conn.Close()
		return nil, fmt.Errorf("send BFD to %s: %w", to.Addr(), err)
	}
	return s, nil
}

// mark sets the hop limit, and the class of network control.
func (s *BFDSender) mark(ttl uint8, six bool) (err error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		if six {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, int(ttl)),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xc0))
			return
		}
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, int(ttl)),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, 0xc0))
	}), err)
}

// Send sends one packet and does not wait.
func (s *BFDSender) Send(packet []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(packet, s.to)
	if err != nil {
		return fmt.Errorf("send BFD to %s: %w", s.to.Addr(), errnoOf(err))
	}
	return nil
}

// Close closes the socket.
func (s *BFDSender) Close() error { return s.conn.Close() }

// errnoOf is the errno of an error of package net: the words around it name the address again.
func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
