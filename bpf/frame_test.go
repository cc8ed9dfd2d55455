package bpf

import (
	"encoding/binary"
	"net/netip"
)

type mac [6]byte

var (
	ourMAC    = mac{2, 0, 0, 0, 0, 1}
	routerMAC = mac{2, 0, 0, 0, 0, 2}
)

// realMAC is the neighbour of the n-th real server.
func realMAC(n int) mac { return mac{2, 0, 0, 0, byte(1 + n>>8), byte(n)} }

const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10

	icmpProto, tcpProto, udpProto, sctpProto, icmp6Proto = 1, 6, 17, 132, 58
)

// frame is a packet in words. What is left zero is what an ordinary packet of a client has.
type frame struct {
	dst, src mac            // ourMAC, routerMAC
	tags     []uint32       // type << 16 | TCI, outer first
	ethType  uint16         // 0x0800, 0x86dd of IPv6
	proto    uint8          // TCP
	from, to netip.AddrPort // client, vip
	flags    uint8          // of TCP
	offset   uint8          // of TCP: 5
	ttl      uint8          // 64
	options  []byte         // of IP, in fours. IPv6: extension headers, the last of which names proto
	next     uint8          // IPv6: the first of them
	frag     uint16         // flags and offset, as in the header
	payload  []byte
	body     []byte // of ICMP and ICMPv6: all of it. Of ICMP a ping if there is none
	trailer  []byte // behind the packet: Ethernet's padding
	version  uint8  // 4
	ihl      uint8  // what there is
	length   uint16 // what there is
	tos      uint8
	summed   bool // the transport checksum is filled in. If false it is 0, of no meaning in TCP and "none" in UDP
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// bytes is the frame on the wire, checksums right.
func (f frame) bytes() []byte {
	dst, src := or(f.dst, ourMAC), or(f.src, routerMAC)
	b := append(append([]byte{}, dst[:]...), src[:]...)
	for _, tag := range f.tags {
		b = binary.BigEndian.AppendUint32(b, tag>>16<<16|tag&0xffff)
	}
	if f.six() {
		b = binary.BigEndian.AppendUint16(b, or(f.ethType, 0x86dd))
		return append(append(b, f.packet6()...), f.trailer...)
	}
	b = binary.BigEndian.AppendUint16(b, or(f.ethType, 0x0800))
	return append(append(b, f.packet()...), f.trailer...)
}

func (f frame) packet() []byte {
	l4 := f.transport()
	header := 20 + len(f.options)
	b := make([]byte, 20, header+len(l4))
	b[0] = or(f.version, 4)<<4 | or(f.ihl, uint8(header/4))
	binary.BigEndian.PutUint16(b[2:], or(f.length, uint16(header+len(l4))))
	binary.BigEndian.PutUint16(b[4:], 0x1234)
	binary.BigEndian.PutUint16(b[6:], f.frag)
	b[8], b[9] = or(f.ttl, 64), or(f.proto, tcpProto)
	b[1] = f.tos
	copy(b[12:], or(f.from, client).Addr().AsSlice())
	copy(b[16:], or(f.to, vip).Addr().AsSlice())
	b = append(b, f.options...)
	binary.BigEndian.PutUint16(b[10:], ^sum(b))
	if at := map[uint8]int{tcpProto: 16, udpProto: 6}[b[9]]; f.summed && at != 0 {
		pseudo := binary.BigEndian.AppendUint16(append(append([]byte{}, b[12:20]...), 0, b[9]), uint16(len(l4)))
		binary.BigEndian.PutUint16(l4[at:], or(^sum(append(pseudo, l4...)), 0xffff))
	}
	return append(b, l4...)
}

// six tells that it is IPv6's.
func (f frame) six() bool { return f.to.Addr().Is6() }

// packet6 has zero for "what there is" of ihl, id and flags.
func (f frame) packet6() []byte {
	f.from = or(f.from, client6)
	l4, proto := f.transport(), or(f.proto, tcpProto)
	b := make([]byte, 40, 40+len(f.options)+len(l4))
	b[0], b[1] = or(f.version, 6)<<4|f.tos>>4, f.tos<<4
	binary.BigEndian.PutUint16(b[4:], or(f.length, uint16(len(f.options)+len(l4))))
	b[6], b[7] = proto, or(f.ttl, 64)
	if f.options != nil {
		b[6] = f.next
	}
	copy(b[8:], f.from.Addr().AsSlice())
	copy(b[24:], f.to.Addr().AsSlice())
	if at := map[uint8]int{tcpProto: 16, udpProto: 6}[proto]; f.summed && at != 0 {
		binary.BigEndian.PutUint16(l4[at:], or(^sum(append(pseudo6(b, proto, len(l4)), l4...)), 0xffff))
	}
	return append(append(b, f.options...), l4...)
}

// pseudo6 is RFC 8200 8.1's pseudo-header of a packet.
func pseudo6(ip []byte, proto uint8, length int) []byte {
	b := binary.BigEndian.AppendUint32(append([]byte{}, ip[8:40]...), uint32(length))
	return append(b, 0, 0, 0, proto)
}

func (f frame) transport() []byte {
	var b []byte
	from, to := or(f.from, client), or(f.to, vip)
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	switch or(f.proto, tcpProto) {
	case tcpProto:
		b = append(ports, 0, 0, 0, 1, 0, 0, 0, 2, or(f.offset, 5)<<4, f.flags, 0xff, 0xff, 0, 0, 0, 0)
	case udpProto:
		b = append(binary.BigEndian.AppendUint16(ports, uint16(8+len(f.payload))), 0, 0)
	case icmpProto:
		if b = f.body; b == nil {
			b = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
		}
	default:
		if b = f.body; b == nil {
			b = append(ports, make([]byte, 8)...)
		}
	}
	return append(b, f.payload...)
}

// sum is the ones' complement sum of RFC 1071; of a whole header with its checksum it is 0xffff.
func sum(b []byte) uint16 {
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
