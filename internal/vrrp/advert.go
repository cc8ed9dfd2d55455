package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Protocol is the IP protocol number of VRRP (RFC 3768 §5.2.4).
const Protocol = 112

// GroupIPv4 is where multicast adverts go (RFC 3768 §5.2.2).
var GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})

// Sizes and fixed values of RFC 3768 §5.1 and §5.2.
const (
	headerLen  = 8 // of the VRRP message, before the addresses
	authLen    = 8 // authentication data, there even when unused
	typeAdvert = 1
	ttlOnLink  = 255
	ipv4Len    = 20
)

// Advert is a VRRP message as it came, with what the IP header says about it. It is what was received, not what is
// right: the checks are Router.Receive's, so that a listener can also show adverts that no router would accept.
type Advert struct {
	Source, Dest netip.Addr
	TTL          uint8
	ID           uint16 // IP identification
	Version      uint8
	Type         uint8
	VRID         uint8
	Priority     uint8
	Count        uint8 // addresses, as the header says

	// The rest is set for version 2 only.
	AuthType   AuthType
	AdvertInt  time.Duration
	VIPs       []netip.Addr
	AuthData   [authLen]byte
	ChecksumOK bool
}

// ParseIPv4 reads a whole IPv4 packet as a raw socket delivers it. What follows the message (Ethernet padding, a
// trailer) is ignored. The error is a *Refusal with ReasonLength or ReasonHeader; the Advert then holds what could be
// read, so that its VRID may still be 0. Of another version than 2 only the fields that all versions share are read.
func ParseIPv4(packet []byte) (Advert, error) {
	var a Advert
	message, err := a.readIPv4(packet)
	if err != nil {
		return a, err
	}
	if len(message) < headerLen {
		return a, tooShort(len(message), headerLen)
	}
	a.Version, a.Type = message[0]>>4, message[0]&0xf
	a.VRID, a.Priority, a.Count = message[1], message[2], message[3]
	if a.Version != 2 {
		return a, nil
	}
	return a, a.readV2(message)
}

// readIPv4 reads the header and returns the payload.
func (a *Advert) readIPv4(packet []byte) ([]byte, error) {
	if len(packet) < ipv4Len {
		return nil, tooShort(len(packet), ipv4Len+headerLen)
	}
	header, total := int(packet[0]&0xf)*4, int(binary.BigEndian.Uint16(packet[2:]))
	switch {
	case packet[0]>>4 != 4 || header < ipv4Len:
		return nil, refuse(ReasonHeader, "not an IPv4 header")
	case packet[9] != Protocol:
		return nil, refuse(ReasonHeader, "IP protocol %d and expect %d", packet[9], Protocol)
	case total < header || total > len(packet):
		return nil, refuse(ReasonLength, "ip_tot_len mismatch against received length. %d and received %d", total, len(packet))
	}
	a.ID, a.TTL = binary.BigEndian.Uint16(packet[4:]), packet[8]
	a.Source = netip.AddrFrom4([4]byte(packet[12:16]))
	a.Dest = netip.AddrFrom4([4]byte(packet[16:20]))
	return packet[header:total], nil
}

func (a *Advert) readV2(message []byte) error {
	// RFC 3768 §7.1: "MUST verify that the received packet contains the complete VRRP packet (including fixed fields,
	// IP Address(es), and Authentication Data)."
	want := headerLen + 4*int(a.Count) + authLen
	if len(message) < want {
		return tooShort(len(message), want)
	}
	message = message[:want]
	a.AuthType = AuthType(message[4])
	a.AdvertInt = time.Duration(message[5]) * time.Second
	a.ChecksumOK = checksum(message) == 0
	if a.Count > 0 {
		a.VIPs = make([]netip.Addr, a.Count)
	}
	for i := range a.VIPs {
		a.VIPs[i] = netip.AddrFrom4([4]byte(message[headerLen+4*i:]))
	}
	copy(a.AuthData[:], message[want-authLen:])
	return nil
}

// AppendIPv4 appends the whole IPv4 packet of a version 2 advert, as it goes on the wire, checksums included. Count,
// Version, Type and ChecksumOK are not read: they follow from the rest. VIPs must be IPv4, at most 255; others are left
// out.
func (a Advert) AppendIPv4(b []byte) []byte {
	start := len(b)
	source, dest := a.Source.As4(), a.Dest.As4()
	b = append(b,
		0x45, 0xc0, 0, 0, // TOS 0xc0: internetwork control
		byte(a.ID>>8), byte(a.ID), 0, 0,
		a.TTL, Protocol, 0, 0)
	b = append(b, source[:]...)
	b = append(b, dest[:]...)
	b = append(b, 2<<4|typeAdvert, a.VRID, a.Priority, 0, byte(a.AuthType), byte(a.AdvertInt/time.Second), 0, 0)
	count := 0
	for _, vip := range a.VIPs {
		if vip.Is4() && count < 255 {
			address := vip.As4()
			b = append(b, address[:]...)
			count++
		}
	}
	b = append(b, a.AuthData[:]...)
	packet := b[start:]
	message := packet[ipv4Len:]
	message[3] = byte(count)
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	binary.BigEndian.PutUint16(packet[10:], checksum(packet[:ipv4Len]))
	binary.BigEndian.PutUint16(message[6:], checksum(message))
	return b
}

// checksum is the Internet checksum (RFC 1071); over a message that holds its own checksum it gives 0. RFC 3768 §5.3.8:
// "The checksum is the 16-bit one's complement of the one's complement sum of the entire VRRP message starting with
// the version field." No pseudo header in version 2.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
