package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vipd/internal/lb"
)

type mac [6]byte

var (
	directorMAC = mac{2, 0, 0, 0, 0, 1}
	routerMAC   = mac{2, 0, 0, 0, 0, 2}
	fenceMAC    = mac{2, 0, 0, 0, 0, 3}

	directorAddr  = netip.MustParseAddr("10.0.8.2")
	directorAddr6 = netip.MustParseAddr("fd00:8::2")
	fenceAddr     = netip.MustParseAddr("10.0.8.3")
)

// directorOf is the director's address of the same family.
func directorOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		return directorAddr6
	}
	return directorAddr
}

// lastByte is an address's host part here, of either family.
func lastByte(a netip.Addr) byte {
	b := a.AsSlice()
	return b[len(b)-1]
}

// serverMAC is the neighbour of 10.0.8.N, and of the address of IPv6 that ends with N; hexadecimal digits that read like N.
func serverMAC(a netip.Addr) mac {
	n := lastByte(a)
	return mac{2, 0, 0, 0, 1, n/10<<4 | n%10}
}

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

// segment is a packet as a client or a real server sends it.
type segment struct {
	proto    lb.Protocol
	from, to netip.AddrPort
	event    byte // TCP's flags, or the type of SCTP's first chunk
	call     byte // of SIP; 0: the datagram is none of SIP's
	options  bool // between its headers, which say nothing
	last     bool // hop that it may go: its TTL is 1
}

// frame is the segment on the cable to the director.
func (s segment) frame(src mac) []byte {
	b := s.whole(src)
	switch ip := b[14:]; {
	case !s.last:
	case ip[0]>>4 == 6:
		ip[7] = 1
	default:
		ip[8] = 1
		clear(ip[10:12])
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:ip[0]&15*4]))
	}
	return b
}

func (s segment) whole(src mac) []byte {
	b := append(directorMAC[:len(directorMAC):6], src[:]...)
	if s.from.Addr().Is6() && s.options {
		padding := []byte{byte(s.proto), 0, 1, 4, 0, 0, 0, 0} // destination options (RFC 8200 4.6) that are one PadN
		return append(append(b, 0x86, 0xdd), packetOf6(s.from.Addr(), s.to.Addr(), unix.IPPROTO_DSTOPTS, append(padding, s.transport()...))...)
	}
	if s.from.Addr().Is6() {
		return append(append(b, 0x86, 0xdd), packetOf6(s.from.Addr(), s.to.Addr(), byte(s.proto), s.transport())...)
	}
	ip := packetOf(s.from.Addr(), s.to.Addr(), byte(s.proto), s.transport())
	if s.options {
		ip = slices.Insert(ip, 20, 1, 1, 1, 1) // No Operation (RFC 791 3.1)
		ip[0], ip[3] = 0x46, ip[3]+4
		clear(ip[10:12])
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:24]))
	}
	return append(append(b, 8, 0), ip...)
}

func (s segment) transport() []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.from.Port()), s.to.Port())
	check := 6
	switch s.proto {
	case lb.TCP:
		b, check = append(b, 0, 0, 0, 1, 0, 0, 0, 2, 5<<4, s.event, 0xff, 0xff, 0, 0, 0, 0), 16
	case lb.UDP:
		text := "ping"
		if s.call != 0 {
			text = fmt.Sprintf("OPTIONS sip:a SIP/2.0\r\nCall-ID: %d@b\r\n\r\n", s.call)
		}
		b = append(append(b, 0, byte(8+len(text)), 0, 0), text...)
	default: // SCTP, whose checksum is CRC32c (RFC 9260 6.8)
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, s.event, 0, 0, 4)
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	// The sum of IPv6's pseudo header (RFC 8200 8.1) is that of IPv4's: its other words are zero.
	pseudo := append(append(s.from.Addr().AsSlice(), s.to.Addr().AsSlice()...), 0, byte(s.proto), 0, byte(len(b)))
	binary.BigEndian.PutUint16(b[check:], ^sum16(append(pseudo, b...)))
	return b
}

// failure is an ICMP error about a segment, which the router tells to its sender, or to that of the tunnel that it was in.
type failure struct {
	about   segment
	through netip.Addr // the real server at the end of the tunnel, of IPv4; invalid: there was none
	kind    [2]byte    // type and code
}

var routerAddr, routerAddr6 = netip.MustParseAddr("10.0.8.1"), netip.MustParseAddr("fd00:8::1")

// to is who is told.
func (e failure) to() netip.Addr {
	if e.through.IsValid() {
		return directorAddr
	}
	return e.about.from.Addr()
}

// frame is the error on a cable. It quotes the whole packet, and names a size of 1,400 bytes.
func (e failure) frame(dst, src mac) []byte {
	quoted := e.about.frame(src)[14:]
	if e.through.IsValid() {
		quoted = packetOf(directorAddr, e.through, unix.IPPROTO_IPIP, quoted)
	}
	body := append([]byte{e.kind[0], e.kind[1], 0, 0, 0, 0, 1400 >> 8, 1400 & 0xff}, quoted...)
	b := append(dst[:len(dst):len(dst)], src[:]...)
	if e.to().Is6() {
		pseudo := append(append(routerAddr6.AsSlice(), e.to().AsSlice()...), 0, unix.IPPROTO_ICMPV6, 0, byte(len(body))) // RFC 4443 2.3
		binary.BigEndian.PutUint16(body[2:], ^sum16(append(pseudo, body...)))
		return append(append(b, 0x86, 0xdd), packetOf6(routerAddr6, e.to(), unix.IPPROTO_ICMPV6, body)...)
	}
	binary.BigEndian.PutUint16(body[2:], ^sum16(body))
	return append(append(b, 8, 0), packetOf(routerAddr, e.to(), unix.IPPROTO_ICMP, body)...)
}

func packetOf(from, to netip.Addr, proto byte, body []byte) []byte {
	b := []byte{0x45, 0, 0, byte(20 + len(body)), 0x12, 0x34, 0, 0, 64, proto, 0, 0}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ^sum16(b))
	return append(b, body...)
}

func packetOf6(from, to netip.Addr, next byte, body []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, byte(len(body)), next, 64}
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), body...)
}

// sum16 is RFC 1071's.
func sum16(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// wire is the far end of the director's cable.
type wire struct {
	fd  int
	seq uint16
	buf [2048]byte
}

// openWire opens it in the namespace where it lies.
func openWire(t testing.TB, namespace string) *wire {
	t.Helper()
	w := &wire{}
	err := in(namespace, func() (err error) {
		ifi, err := net.InterfaceByName("wire")
		if err != nil {
			return err
		}
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return errors.Join(unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: ifi.Index}),
			unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}),
			unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	})
	if err != nil {
		t.Fatalf("open the wire: %v", err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// exchange sends frames, and then a ping of the director itself: what it has to say to the frames comes before the pong.
func (w *wire) exchange(t testing.TB, frames ...[]byte) (answers [][]byte) {
	t.Helper()
	w.seq++
	echo := []byte{8, 0, 0, 0, 0, 7, byte(w.seq >> 8), byte(w.seq)}
	binary.BigEndian.PutUint16(echo[2:], ^sum16(echo))
	ping := append(append(append(directorMAC[:len(directorMAC):6], fenceMAC[:]...), 8, 0), packetOf(fenceAddr, directorAddr, unix.IPPROTO_ICMP, echo)...)
	for _, b := range append(frames[:len(frames):len(frames)], ping) {
		if _, err := unix.Write(w.fd, b); err != nil {
			t.Fatalf("write a frame: %v", err)
		}
	}
	for {
		n, err := unix.Read(w.fd, w.buf[:])
		if err != nil {
			t.Fatalf("the director is silent: %v", err)
		}
		b := append([]byte{}, w.buf[:n]...)
		if n < 34 || b[12] != 8 && b[12] != 0x86 || b[12] == 8 && b[13] != 0 {
			continue // its ARP
		}
		if b[12] == 0x86 && (n < 62 || b[0] == 0x33) {
			continue // its MLD and router solicitations, to all that listen
		}
		if mac(b[:6]) != fenceMAC {
			answers = append(answers, b)
		} else if binary.BigEndian.Uint16(b[40:]) == w.seq {
			return answers
		}
	}
}

// told is what came of a packet, in words: who gets which bytes, or the error that the sender gets. The host is what the
// packet path leaves to the network stack.
func told(frame []byte) string {
	ip := frame[14:]
	if frame[12] == 0x86 {
		return told6(frame[:6], ip)
	}
	if ip[9] == unix.IPPROTO_ICMP && mac(frame[:6]) == routerMAC {
		return fmt.Sprintf("ICMP %d/%d from %v about % x", ip[20], ip[21], netip.AddrFrom4([4]byte(ip[12:16])), ip[28:min(len(ip), 28+28)])
	}
	ip = append([]byte{}, ip[:binary.BigEndian.Uint16(ip[2:])]...)
	checked := ""
	if netip.AddrFrom4([4]byte(ip[12:16])) == directorAddr && ip[9] != unix.IPPROTO_ICMP { // a tunnel's: identification and what hangs on it are the director's own
		clear(ip[4:6])
		clear(ip[10:12])
		checked = outerUDP(ip[9], ip[12:20], ip[20:])
	}
	return fmt.Sprintf("to %x: % x%s", frame[:6], ip, checked)
}

// outerUDP makes GUE's own source port 0, and tells in words of the checksum, which hangs on it. ends are both addresses.
func outerUDP(proto byte, ends, b []byte) (checked string) {
	if proto != unix.IPPROTO_UDP {
		return ""
	}
	if sum := binary.BigEndian.Uint16(b[6:]); sum != 0 {
		pseudo := append(append([]byte{}, ends...), 0, proto, b[4], b[5])
		checked = fmt.Sprintf(", checksum right: %v", sum16(append(pseudo, b...)) == 0xffff)
	}
	clear(b[:2])
	clear(b[6:8])
	return checked
}

func told6(to, ip []byte) string {
	if ip[6] == unix.IPPROTO_ICMPV6 && mac(to) == routerMAC {
		if manyVIPs6.Contains(netip.AddrFrom16([16]byte(ip[48+24 : 48+40]))) { // no address of the host: IPVS says it from another one (docs/ipvsadm.md)
			ip = slices.Concat(ip[:8], directorAddr6.AsSlice(), ip[24:])
		}
		return fmt.Sprintf("ICMPv6 %d/%d from %v about % x", ip[40], ip[41], netip.AddrFrom16([16]byte(ip[8:24])), ip[48:min(len(ip), 48+48)])
	}
	ip = append([]byte{}, ip[:40+int(binary.BigEndian.Uint16(ip[4:]))]...)
	checked := ""
	if netip.AddrFrom16([16]byte(ip[8:24])) == directorAddr6 {
		checked = outerUDP(ip[6], ip[8:40], ip[40:])
	}
	return fmt.Sprintf("to %x: % x%s", to, ip, checked)
}
