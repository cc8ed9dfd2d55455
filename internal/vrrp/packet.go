package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// Protocol is the IP protocol number of VRRP (RFC 9568 §5.1.1.4).
const Protocol = 112

// Where multicast adverts go (RFC 9568 §5.1.1.2 and §5.1.2.2).
var (
	GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupIPv6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

const (
	ttlOnLink  = 255
	tosControl = 0xc0 // internetwork control
	ipv4Len    = 20
	ipv6Len    = 40
	protocolAH = 51
)

// readIP reads the header of either family and returns the payload, which starts with the VRRP message or an AH header.
func (a *Advert) readIP(packet []byte) ([]byte, error) {
	if len(packet) > 0 && packet[0]>>4 == 6 {
		return a.readIPv6(packet)
	}
	return a.readIPv4(packet)
}

func (a *Advert) readIPv4(packet []byte) ([]byte, error) {
	if len(packet) < ipv4Len {
		return nil, tooShort(len(packet), ipv4Len+headerLen)
	}
	header, total, protocol := int(packet[0]&0xf)*4, int(binary.BigEndian.Uint16(packet[2:])), packet[9]
	switch {
	case packet[0]>>4 != 4 || header < ipv4Len:
		return nil, refuse(ReasonHeader, "not an IPv4 header").versus("IP header", "none that is whole", "a whole one")
	case protocol != Protocol && protocol != protocolAH:
		return nil, refuse(ReasonHeader, "IP protocol %d and expect %d", protocol, Protocol).versus("ip protocol", protocol, Protocol)
	case total < header || total > len(packet):
		return nil, refuse(ReasonLength, "ip_tot_len mismatch against received length. %d and received %d", total, len(packet)).
			versus("length", total, len(packet))
	}
	a.ID, a.TTL = binary.BigEndian.Uint16(packet[4:]), packet[8]
	a.Source = netip.AddrFrom4([4]byte(packet[12:16]))
	a.Dest = netip.AddrFrom4([4]byte(packet[16:20]))
	if protocol == protocolAH {
		return a.readAH(packet[header:total])
	}
	return packet[header:total], nil
}

// readIPv6 reads the fixed header. Extension headers are not expected: no router sends adverts with any.
func (a *Advert) readIPv6(packet []byte) ([]byte, error) {
	if len(packet) < ipv6Len {
		return nil, tooShort(len(packet), ipv6Len+headerLen)
	}
	total := ipv6Len + int(binary.BigEndian.Uint16(packet[4:]))
	switch {
	case packet[6] != Protocol:
		return nil, refuse(ReasonHeader, "next header %d and expect %d", packet[6], Protocol).versus("next header", packet[6], Protocol)
	case total > len(packet):
		return nil, refuse(ReasonLength, "payload length mismatch against received length. %d and received %d", total, len(packet)).
			versus("length", total, len(packet))
	}
	a.TTL = packet[7]
	a.Source = netip.AddrFrom16([16]byte(packet[8:24]))
	a.Dest = netip.AddrFrom16([16]byte(packet[24:40]))
	return packet[ipv6Len:total], nil
}

// appendIP appends the header of the family of a.Source. Its length and, with IPv4, its checksum are filled in later.
func (a *Advert) appendIP(b []byte) []byte {
	if a.Source.Is6() {
		b = append(b, 0x60|tosControl>>4, tosControl<<4&0xff, 0, 0, 0, 0, Protocol, a.TTL)
	} else {
		protocol := byte(Protocol)
		if a.AH != nil {
			protocol = protocolAH
		}
		b = append(b, 0x45, tosControl, 0, 0, byte(a.ID>>8), byte(a.ID), 0, 0, a.TTL, protocol, 0, 0)
	}
	b = append(b, a.Source.AsSlice()...)
	return append(b, a.Dest.AsSlice()...)
}

// finishIP fills in what depends on the whole packet.
func finishIP(packet []byte) {
	if packet[0]>>4 == 6 {
		binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-ipv6Len))
		return
	}
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	binary.BigEndian.PutUint16(packet[10:], ^fold(add(0, packet[:ipv4Len])))
}
