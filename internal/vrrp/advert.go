package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Sizes and fixed values of RFC 3768 §5.1 and RFC 9568 §5.2.
const (
	headerLen  = 8 // of the VRRP message, before the addresses
	authLen    = 8 // authentication data, there even when unused
	typeAdvert = 1
	// centisecond is the unit of version 3's interval, of which there are 12 bits.
	centisecond    = 10 * time.Millisecond
	maxCentisecond = 4095
)

// Advert is a VRRP message as it came, with what the IP header says about it. It is what was received, not what is
// right: the checks are Router.Receive's, so that a listener can also show adverts that no router would accept.
type Advert struct {
	Source, Dest netip.Addr
	TTL          uint8  // hop limit, with IPv6
	ID           uint16 // IPv4 identification
	Version      uint8
	Type         uint8
	VRID         uint8
	Priority     uint8
	Count        uint8 // addresses, as the header says

	// The rest is set for versions 2 and 3 only.
	AdvertInt time.Duration
	VIPs      []netip.Addr
	Sum       Sums // the ways in which its checksum is right. For Append the one to use; if zero, keepalived's.

	AuthType AuthType      // version 2
	AuthData [authLen]byte // version 2
	AH       *AH           // nil: none
	Trailer  *Trailer      // nil: none
}

// Parse reads a whole IPv4 or IPv6 packet. What follows the message (Ethernet padding, a trailer of unknown length) is
// ignored. The error is a *Refusal with ReasonLength or ReasonHeader; the Advert then holds what could be read, so that
// its VRID may still be 0. Of another version than 2 and 3 only the fields that all versions share are read.
func Parse(packet []byte) (Advert, error) {
	var a Advert
	message, err := a.readIP(packet)
	if err != nil {
		return a, err
	}
	if len(message) < headerLen {
		return a, tooShort(len(message), headerLen)
	}
	a.Version, a.Type = message[0]>>4, message[0]&0xf
	a.VRID, a.Priority, a.Count = message[1], message[2], message[3]
	if a.Version != 2 && a.Version != 3 {
		return a, nil
	}
	return a, a.readMessage(message)
}

// messageLen is how long the message must be.
func (a *Advert) messageLen() int {
	n := headerLen + int(a.Count)*a.Source.BitLen()/8
	if a.Version == 2 {
		n += authLen
	}
	return n
}

func (a *Advert) readMessage(rest []byte) error {
	// RFC 3768 §7.1: "MUST verify that the received packet contains the complete VRRP packet (including fixed fields,
	// IP Address(es), and Authentication Data)."
	want := a.messageLen()
	if len(rest) < want {
		return tooShort(len(rest), want)
	}
	message := rest[:want]
	if a.Version == 2 {
		a.AuthType = AuthType(message[4])
		a.AdvertInt = time.Duration(message[5]) * time.Second
		copy(a.AuthData[:], message[want-authLen:])
	} else {
		a.AdvertInt = time.Duration(binary.BigEndian.Uint16(message[4:])&maxCentisecond) * centisecond
	}
	if a.Count > 0 {
		a.VIPs = make([]netip.Addr, a.Count)
	}
	size := a.Source.BitLen() / 8
	for i := range a.VIPs {
		at := headerLen + size*i
		a.VIPs[i], _ = netip.AddrFromSlice(message[at : at+size])
	}
	// keepalived: the trailer is told by its length, which no padding has.
	if len(rest)-want == trailerLen {
		a.readTrailer(rest[want:])
	}
	a.Sum = a.sums(message, rest)
	return nil
}

// Append appends the whole packet as it goes on the wire, checksums included. Version (2 if zero) says which one; Count
// and Type are not read: they follow from the rest. VIPs must be of the family of Source, at most 255; others are left
// out. AH and Trailer go as they are.
func (a Advert) Append(b []byte) []byte {
	start := len(b)
	b = a.appendIP(b)
	if a.AH != nil {
		b = a.AH.append(b)
	}
	at := len(b)
	b = a.appendMessage(b)
	end := len(b)
	if a.Trailer != nil {
		b = a.Trailer.append(b)
	}
	a.putChecksum(b[at:end], b[at:])
	finishIP(b[start:])
	return b
}

// appendMessage appends the message with a checksum of 0.
func (a *Advert) appendMessage(b []byte) []byte {
	start := len(b)
	if a.Version == 3 {
		interval := min(uint16(a.AdvertInt/centisecond), maxCentisecond)
		b = append(b, 3<<4|typeAdvert, a.VRID, a.Priority, 0, byte(interval>>8), byte(interval), 0, 0)
	} else {
		b = append(b, 2<<4|typeAdvert, a.VRID, a.Priority, 0, byte(a.AuthType), byte(a.AdvertInt/time.Second), 0, 0)
	}
	count := 0
	for _, vip := range a.VIPs {
		if vip.Is4() == a.Source.Is4() && count < maxVIPs {
			b = append(b, vip.AsSlice()...)
			count++
		}
	}
	b[start+3] = byte(count)
	if a.Version != 3 {
		b = append(b, a.AuthData[:]...)
	}
	return b
}

// messageOf is the VRRP message in a packet that a was read from.
func (a *Advert) messageOf(packet []byte) []byte {
	at := ipv6Len
	if a.Source.Is4() {
		at = int(packet[0]&0xf) * 4
	}
	if a.AH != nil {
		at += ahLen
	}
	return packet[at : at+a.messageLen()]
}
