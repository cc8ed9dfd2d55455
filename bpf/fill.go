package bpf

import (
	"encoding/binary"
	"net/netip"
)

// What user space works out beforehand, so that no packet has to.

// HashFactor is what LbVarHashFactor has to be for the secret of the connection hash: odd, and as secret.
func HashFactor(seed uint64) uint64 { return (seed ^ 0xd6e8feb86659fd93) | 1 }

// SetPlain fills in what the fast road asks of a real server, out of everything else that the entry says. Whoever writes one calls
// it last.
func (r *LbReal) SetPlain() {
	r.Plain, r.Room, r.Ends = uint8(LbPlainPLAIN_NOT), 0, 0
	if r.Flags&^uint8(LbRealFlagREAL_LOWER|LbRealFlagREAL_IPV6) != 0 || r.Ifindex == 0 || r.Tci != [2]uint16{} {
		return
	}
	before := uint32(0)
	switch LbForward(r.Forward) {
	case LbForwardFORWARD_ROUTE:
		r.Plain = uint8(LbPlainPLAIN_ROUTE)
	case LbForwardFORWARD_MASQ:
		if r.Locals != 0 {
			return
		}
		r.Plain = uint8(LbPlainPLAIN_MASQ)
	case LbForwardFORWARD_TUNNEL:
		r.Plain, before = uint8(r.plainTunnel()), r.outer()
		if r.Flags&uint8(LbRealFlagREAL_IPV6) != 0 {
			r.Plain += uint8(LbPlainPLAIN_IPIP_OVER6 - LbPlainPLAIN_IPIP)
			r.Ends = foldAll(r.Source, r.Addr)
		}
	default:
		return
	}
	r.Room = anyLength
	if r.Mtu != 0 {
		r.Room = uint32(max(int(r.Mtu)-int(before), 0))
	}
}

// foldAll is the sum of addresses as checksums have it (RFC 1071), in the order of their bytes in a packet.
func foldAll(addrs ...[4]uint32) uint16 {
	sum := uint64(0)
	for _, a := range addrs {
		for _, word := range a {
			sum += uint64(word)
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// plainTunnel is a tunnel's number on the fast road, with IPv4 outside. Of GUE either option fills the checksum in, as front_write in tunnel.h.
func (r *LbReal) plainTunnel() LbPlain {
	const gueChecks = uint16(LbTunnelFlagTUNNEL_CSUM | LbTunnelFlagTUNNEL_REMCSUM)
	switch {
	case LbTunnel(r.Tunnel) == LbTunnelTUNNEL_IPIP:
		return LbPlainPLAIN_IPIP
	case LbTunnel(r.Tunnel) != LbTunnelTUNNEL_GRE && r.TunnelFlags&gueChecks != 0:
		return LbPlainPLAIN_GUE_CHECKED
	case LbTunnel(r.Tunnel) != LbTunnelTUNNEL_GRE:
		return LbPlainPLAIN_GUE
	case r.TunnelFlags&uint16(LbTunnelFlagTUNNEL_CSUM) != 0:
		return LbPlainPLAIN_GRE_CHECKED
	}
	return LbPlainPLAIN_GRE
}

// anyLength is more than a packet has, whose length is a number of 16 bits and for IPv6 says what is behind the header.
const anyLength = 1 << 17

// outer is how many bytes a tunnel puts in front of a packet, as outer_header and tunnel_front in tunnel.h.
func (r *LbReal) outer() uint32 {
	n := uint32(20)
	if r.Flags&uint8(LbRealFlagREAL_IPV6) != 0 {
		n = 40
	}
	switch {
	case LbTunnel(r.Tunnel) == LbTunnelTUNNEL_IPIP:
		return n
	case LbTunnel(r.Tunnel) != LbTunnelTUNNEL_GRE:
		return n + 12
	case r.TunnelFlags&uint16(LbTunnelFlagTUNNEL_CSUM) != 0:
		return n + 8
	}
	return n + 4
}

// Set notes an interface's link, if its index is low enough to be near. Whoever writes an LbLink calls it too.
func (n *LbNear) Set(ifindex uint32, l LbLink) {
	if int(ifindex) >= len(n.Word) {
		return
	}
	b := append([]byte{l.Attached, 0}, l.Mac[:]...)
	n.Word[ifindex] = binary.NativeEndian.Uint64(b)
}

// FilterIndex is where an address stands in an LbFilter: an IPv4 address's last two bytes; of an IPv6 address the exclusive or of
// its eight pairs. As filter_has and filter_has6 in packet.h.
func FilterIndex(a netip.Addr) uint16 {
	b := a.AsSlice()
	if a.Is4() {
		return binary.LittleEndian.Uint16(b[2:])
	}
	n := uint16(0)
	for ; len(b) > 0; b = b[2:] {
		n ^= binary.LittleEndian.Uint16(b)
	}
	return n
}
