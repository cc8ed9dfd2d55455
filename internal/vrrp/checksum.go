package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// Sums is a set of ways to compute the checksum of an advert. Routers disagree about version 3 over IPv4; every other
// kind of advert has one way only.
type Sums uint8

// Ways to compute the checksum.
const (
	// SumMessage covers the message alone: version 2, and version 3 over IPv4 as RFC 9568 §5.2.8, Cisco and Juniper
	// have it.
	SumMessage Sums = 1 << iota
	// SumPseudo covers a pseudo header with the packet's own addresses too: version 3 as keepalived sends it, and IPv6.
	SumPseudo
	// SumGroup is SumPseudo with 224.0.0.18 whatever the destination: keepalived before 1.3.7 with unicast.
	SumGroup
)

func (s Sums) String() string {
	switch {
	case s&SumPseudo != 0:
		return "with pseudo header"
	case s&SumMessage != 0:
		return "message only"
	case s&SumGroup != 0:
		return "with pseudo header of 224.0.0.18"
	}
	return "wrong"
}

// add goes on with a one's complement sum (RFC 1071). Only the last part of a sum may have an odd length.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// pseudo is the sum of the pseudo header (RFC 5798 §5.2.8 for IPv4, RFC 8200 §8.1 for IPv6).
func pseudo(source, dest netip.Addr, length int) uint32 {
	return add(add(uint32(Protocol+length), source.AsSlice()), dest.AsSlice())
}

// sums are all ways in which the checksum of message is right. IPv6 is summed over rest, which is message with what
// follows it.
func (a *Advert) sums(message, rest []byte) (right Sums) {
	ok := func(sum uint32, b []byte) bool { return fold(add(sum, b)) == 0xffff }
	if a.Source.Is6() {
		// keepalived: the kernel computes it over all that is sent, a trailer included.
		if ok(pseudo(a.Source, a.Dest, len(rest)), rest) || ok(pseudo(a.Source, a.Dest, len(message)), message) {
			right |= SumPseudo
		}
		return right
	}
	if ok(0, message) {
		right |= SumMessage
	}
	if a.Version == 3 && ok(pseudo(a.Source, a.Dest, len(message)), message) {
		right |= SumPseudo
	}
	if a.Version == 3 && ok(pseudo(a.Source, GroupIPv4, len(message)), message) {
		right |= SumGroup
	}
	return right
}

// putChecksum computes the checksum of message in the way that a.Sum says, else in keepalived's.
func (a *Advert) putChecksum(message, rest []byte) {
	var sum uint32
	covered := message
	switch {
	case a.Source.Is6():
		covered = rest
		sum = pseudo(a.Source, a.Dest, len(rest))
	case a.Version != 3 || a.Sum&(SumPseudo|SumGroup) == 0 && a.Sum&SumMessage != 0:
	case a.Sum&SumPseudo == 0 && a.Sum&SumGroup != 0:
		sum = pseudo(a.Source, GroupIPv4, len(message))
	default:
		sum = pseudo(a.Source, a.Dest, len(message))
	}
	binary.BigEndian.PutUint16(message[6:], 0)
	binary.BigEndian.PutUint16(message[6:], ^fold(add(sum, covered)))
}
