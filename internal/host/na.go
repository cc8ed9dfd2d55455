package host

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
)

// NeighbourAdvertLen is the length of an unsolicited neighbour advertisement: Ethernet header 14, IPv6 40, ICMPv6 32.
const NeighbourAdvertLen = 86

// NeighbourAdvert builds the frame that tells a network that vip, an IPv6 address, is at mac: an unsolicited neighbour
// advertisement to all nodes (RFC 4861 §7.2.6). router says that this host forwards IPv6 on the interface.
//
// keepalived: source and target are both the address, with the flag Override, and traffic class and flow label 0.
func NeighbourAdvert(mac MAC, vip netip.Addr, router bool) []byte {
	ip := vip.As16()
	b := make([]byte, 0, NeighbourAdvertLen)
	b = append(b, 0x33, 0x33, 0, 0, 0, 1) // RFC 2464 §7: of ff02::1
	b = append(b, mac[:]...)
	b = append(b, 0x86, 0xdd)
	b = append(b, 0x60, 0, 0, 0, 0, 32, 58, 255) // RFC 4861 §7.1.2: the hop limit is 255
	b = append(b, ip[:]...)
	b = append(b, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	flags := byte(0x20) // Override
	if router {
		flags |= 0x80
	}
	b = append(b, 136, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, ip[:]...)
	b = append(b, 2, 1) // option: target link-layer address
	b = append(b, mac[:]...)
	binary.BigEndian.PutUint16(b[56:], icmpv6Sum(b[14:]))
	return b
}

// icmpv6Sum is the checksum of the ICMPv6 message in an IPv6 packet (RFC 4443 §2.3) whose checksum field is 0.
func icmpv6Sum(packet []byte) uint16 {
	message := packet[40:]
	sum := uint32(len(message)) + 58
	for _, part := range [][]byte{packet[8:40], message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// forwardsIPv6 tells whether the host is a router on an interface, as its neighbours must know (RFC 4861 §6.2.5).
func forwardsIPv6(dev string) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/forwarding")
	return err == nil && strings.TrimSpace(string(text)) == "1"
}
