package look

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"vipd/internal/doctor"
)

// whoHas asks the segment who has an address: ARP without a sender's address (RFC 5227 2.1.1), or a neighbour solicitation from
// a link-local address (RFC 4861 7.2.2). One from the unspecified address, as duplicate address detection sends, would have a
// director that is just taking the address take it for a duplicate (RFC 4862 5.4.3); it is for who has no other.
func whoHas(mac [6]byte, from, a netip.Addr) []byte {
	if a.Is4() {
		b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:]...)
		b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
		b = append(append(b, mac[:]...), 0, 0, 0, 0)
		return append(append(b, 0, 0, 0, 0, 0, 0), a.AsSlice()...)
	}
	ip := a.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ip[13], ip[14], ip[15]})
	b := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip[:]...)
	if from.IsValid() {
		b = append(append(b, 1, 1), mac[:]...) // source link-layer address
	} else {
		from = netip.IPv6Unspecified()
	}
	binary.BigEndian.PutUint16(b[2:], sum(pseudo(from, group, protoICMP6, len(b)), b))
	p := packet(from, group, protoICMP6, b)
	p[7] = 255
	return frame([6]byte{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]}, mac, p)
}

// claimed is the address that a frame says its sender has: an ARP packet's sender, a neighbour advertisement's target.
func (a *arrival) claimed() (addr netip.Addr, mac [6]byte, unasked, ok bool) {
	switch b := a.body; {
	case a.typ == etherARP && len(b) >= 28 && binary.BigEndian.Uint16(b[2:]) == etherIPv4:
		addr, mac = netip.AddrFrom4([4]byte(b[14:18])), [6]byte(b[8:14])
		return addr, mac, binary.BigEndian.Uint16(b[6:]) == 1 || addr == netip.AddrFrom4([4]byte(b[24:28])), !addr.IsUnspecified()
	case a.ip != nil && a.ip.icmp == 136 && len(b) >= 64:
		return netip.AddrFrom16([16]byte(b[48:64])), a.src, b[44]&0x40 == 0 && a.ip.dst.IsMulticast() && b[44]&0x20 != 0, true
	}
	return netip.Addr{}, mac, false, false
}

// claims are what was heard about virtual addresses until now.
func (l *looker) claims(vips map[netip.Addr]bool) []doctor.Claim {
	var out []doctor.Claim
	for _, a := range l.wire.claims() {
		addr, mac, unasked, ok := a.claimed()
		if !ok || !vips[addr] {
			continue
		}
		c := doctor.Claim{VIP: addr, MAC: mac, If: l.names[a.ifindex], Watched: unasked, Mine: l.mine[mac], Real: cmp.Or(l.reals[station{mac, addr}], l.reals[station{mac: mac}]),
			Master: !l.master[addr] && (mac == l.masters[addr] || virtual(mac))}
		out = append(out, c)
	}
	return out
}

// virtual tells a virtual router's MAC address (RFC 9568 7.3).
func virtual(mac [6]byte) bool {
	return mac[0] == 0 && mac[1] == 0 && mac[2] == 0x5e && mac[3] == 0 && (mac[4] == 1 || mac[4] == 2)
}
