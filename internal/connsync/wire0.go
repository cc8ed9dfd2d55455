package connsync

import (
	"encoding/binary"
	"net/netip"

	"vipd/internal/lb"
)

// Version 0 (struct ip_vs_sync_conn_v0): a header of 4 bytes {count, syncid, size}, then entries of 24 bytes, or 48 with
// sequence data. IPv4 alone, without timeouts, marks and options.
const (
	header0 = 4
	entry0  = 24
	seqSize = 24
)

func decode0(b []byte, take func(Conn), refuse func(Reason)) {
	count, at := int(b[0]), header0
	if count == 0 {
		refuse(Empty)
	}
	for range count {
		if len(b)-at < entry0 {
			refuse(ShortEntry)
			return
		}
		e := b[at : at+entry0]
		at += entry0
		c := conn0(e)
		if c.Flags&seqFlags != 0 {
			if len(b)-at < seqSize {
				refuse(CutEntry)
				return
			}
			c.In, c.Out = sequences(b[at:at+seqSize], binary.NativeEndian) // as the sender has it in memory
			at += seqSize
		}
		if why := c.check(); why != "" {
			refuse(why)
			continue
		}
		c.Flags &= kept
		take(c)
	}
}

func conn0(e []byte) Conn {
	be := binary.BigEndian
	addr := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(e[at:])) }
	c := Conn{
		Protocol: lb.Protocol(e[1]),
		Client:   netip.AddrPortFrom(addr(8), be.Uint16(e[2:])),
		Virtual:  netip.AddrPortFrom(addr(12), be.Uint16(e[4:])),
		Real:     netip.AddrPortFrom(addr(16), be.Uint16(e[6:])),
		Flags:    Flags(be.Uint16(e[20:])),
	}
	c.setState(be.Uint16(e[22:]))
	return c
}

func sequences(b []byte, order binary.ByteOrder) (in, out Sequence) {
	one := func(b []byte) Sequence {
		return Sequence{order.Uint32(b), order.Uint32(b[4:]), order.Uint32(b[8:])}
	}
	return one(b), one(b[12:])
}
