package look

import (
	"encoding/binary"
	"net/netip"

	"vipd/internal/doctor"
	"vipd/internal/realserver"
)

const (
	protoICMP, protoIPIP, protoTCP, protoUDP, protoIPv6, protoGRE, protoICMP6 = 1, 4, 6, 17, 41, 47, 58
	etherIPv4, etherIPv6, etherARP                                            = 0x0800, 0x86dd, 0x0806
	flagSYN, flagRST, flagACK                                                 = 2, 4, 16
)

// sum is the Internet checksum (RFC 1071) of parts, each of an even length but the last.
func sum(parts ...[]byte) uint16 {
	s := uint32(0)
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			s += uint32(b[len(b)-1]) << 8
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func pseudo(src, dst netip.Addr, proto uint8, length int) []byte {
	b := append(src.AsSlice(), dst.AsSlice()...)
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, proto), uint32(length)) // in whichever order, the sum is the same
}

// packet is an IP packet around a payload. It may not be fragmented.
func packet(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if dst.Is6() {
		b := make([]byte, 40, 40+len(payload))
		b[0], b[6], b[7] = 6<<4, proto, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
		return append(b, payload...)
	}
	b := make([]byte, 20, 20+len(payload))
	b[0], b[6], b[8], b[9] = 0x45, 0x40, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], sum(b))
	return append(b, payload...)
}

// segment is TCP without data; a SYN says that it takes 1460 bytes.
func segment(src, dst netip.AddrPort, flags uint8, seq, ack uint32) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, seq), ack)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	if flags&flagSYN != 0 {
		b[12] = 6 << 4
		b = append(b, 2, 4, 0x05, 0xb4)
	}
	binary.BigEndian.PutUint16(b[16:], sum(pseudo(src.Addr(), dst.Addr(), protoTCP, len(b)), b))
	return packet(src.Addr(), dst.Addr(), protoTCP, b)
}

// datagram is UDP.
func datagram(src, dst netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	binary.BigEndian.PutUint16(b[6:], sum(pseudo(src.Addr(), dst.Addr(), protoUDP, len(b)), b))
	return packet(src.Addr(), dst.Addr(), protoUDP, b)
}

// echo is a ping, padded to length bytes of IP packet.
func echo(src, dst netip.Addr, id uint16, length int) []byte {
	head := 20
	if dst.Is6() {
		head = 40
	}
	b := make([]byte, max(8, length-head))
	b[0] = 8
	if dst.Is6() {
		b[0] = 128
	}
	binary.BigEndian.PutUint16(b[4:], id)
	if dst.Is6() {
		binary.BigEndian.PutUint16(b[2:], sum(pseudo(src, dst, protoICMP6, len(b)), b))
		return packet(src, dst, protoICMP6, b)
	}
	binary.BigEndian.PutUint16(b[2:], sum(b))
	return packet(src, dst, protoICMP, b)
}

// wrap puts a packet into a tunnel, as the packet path does.
func wrap(src, dst netip.Addr, n realserver.Need, inner []byte) []byte {
	six := inner[0]>>4 == 6
	proto, typ := uint8(protoIPIP), uint16(etherIPv4)
	if six {
		proto, typ = protoIPv6, etherIPv6
	}
	switch n.Tunnel {
	case "gre":
		return packet(src, dst, protoGRE, append(binary.BigEndian.AppendUint16([]byte{0, 0}, typ), inner...))
	case "gue":
		b := binary.BigEndian.AppendUint16([]byte{0xc0, 0x01}, n.TunPort)
		b = binary.BigEndian.AppendUint16(b, uint16(12+len(inner)))
		b = append(append(b, 0, 0, 0, proto, 0, 0), inner...)
		if dst.Is6() { // RFC 8200 8.1: UDP over IPv6 has a checksum
			binary.BigEndian.PutUint16(b[6:], sum(pseudo(src, dst, protoUDP, len(b)), b))
		}
		return packet(src, dst, protoUDP, b)
	}
	return packet(src, dst, proto, inner)
}

func frame(dst, src [6]byte, ip []byte) []byte {
	typ := uint16(etherIPv4)
	if ip[0]>>4 == 6 {
		typ = etherIPv6
	}
	return append(binary.BigEndian.AppendUint16(append(append([]byte{}, dst[:]...), src[:]...), typ), ip...)
}

// heard is what a frame that came in says, as far as an answer can say it.
type heard struct {
	src, dst    netip.Addr
	proto       uint8
	sport       uint16
	dport       uint16
	flags       uint8
	ack, seq    uint32
	mss         int
	icmp, code  uint8
	id          uint16
	about       *heard // of an ICMP error: the packet that it is about, as far as it is quoted
	inside      *heard // of a tunnel packet that is quoted
	payloadIPIP bool
}

// parse reads an IP packet; nil if it is none, or a fragment.
func parse(b []byte, depth int) *heard {
	if len(b) < 1 || depth > 3 {
		return nil
	}
	h := &heard{}
	switch b[0] >> 4 {
	case 4:
		ihl := int(b[0]&15) * 4
		if len(b) < 20 || ihl < 20 || len(b) < ihl || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return nil
		}
		h.src, h.dst, h.proto = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]
		if n := int(binary.BigEndian.Uint16(b[2:])); n >= ihl && n < len(b) {
			b = b[:n]
		}
		b = b[ihl:]
	case 6:
		if len(b) < 40 {
			return nil
		}
		h.src, h.dst, h.proto = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6]
		b = b[40:]
	default:
		return nil
	}
	h.transport(b, depth)
	return h
}

func (h *heard) transport(b []byte, depth int) {
	switch {
	case h.proto == protoTCP && len(b) >= 4:
		h.sport, h.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if len(b) >= 20 {
			h.seq, h.ack, h.flags = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]
			h.mss = segmentSize(b[20:min(len(b), max(20, int(b[12]>>4)*4))])
		}
	case h.proto == protoUDP && len(b) >= 4:
		h.sport, h.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if len(b) > 12 {
			h.inside = parse(b[12:], depth+1)
		}
	case (h.proto == protoICMP || h.proto == protoICMP6) && len(b) >= 8:
		h.icmp, h.code, h.id = b[0], b[1], binary.BigEndian.Uint16(b[4:])
		if h.isError() {
			h.about = parse(b[8:], depth+1)
		}
	case h.proto == protoIPIP || h.proto == protoIPv6:
		h.inside = parse(b, depth+1)
	case h.proto == protoGRE && len(b) > 4:
		h.inside = parse(b[4:], depth+1)
	}
}

func (h *heard) isError() bool {
	if h.proto == protoICMP6 {
		return h.icmp < 128
	}
	return h.icmp == 3 || h.icmp == 11 || h.icmp == 12
}

// segmentSize finds the largest segment among TCP's options (RFC 9293 3.1).
func segmentSize(b []byte) int {
	for len(b) > 0 && b[0] != 0 {
		switch {
		case b[0] == 1:
			b = b[1:]
		case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
			return 0
		case b[0] == 2 && b[1] == 4:
			return int(binary.BigEndian.Uint16(b[2:]))
		default:
			b = b[b[1]:]
		}
	}
	return 0
}

// errorWords are an ICMP error for a person, and what doctor needs to know of it.
func (h *heard) answer() doctor.Answer {
	a := doctor.Answer{Verdict: doctor.Refused, Note: "an ICMP error of " + h.src.String()}
	words := map[uint8]string{0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "packet too big",
		9: "prohibited", 10: "prohibited", 13: "prohibited by a firewall"}
	switch {
	case h.proto == protoICMP && h.icmp == 3:
		if w := words[h.code]; w != "" {
			a.Note = w + ", says " + h.src.String()
		}
		a.NoProtocol, a.Filtered = h.code == 2 || h.code == 3, h.code == 9 || h.code == 10 || h.code == 13
	case h.proto == protoICMP6 && h.icmp == 1:
		a.Note = map[uint8]string{0: "no route", 1: "prohibited", 3: "address unreachable", 4: "port unreachable", 5: "prohibited", 6: "prohibited"}[h.code] + ", says " + h.src.String()
		a.NoProtocol, a.Filtered = h.code == 4, h.code == 1 || h.code == 5 || h.code == 6
	case h.proto == protoICMP6 && h.icmp == 4:
		a.Note, a.NoProtocol = "unknown next header, says "+h.src.String(), true
	}
	return a
}
