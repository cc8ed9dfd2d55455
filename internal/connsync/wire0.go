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

func (p *Packer) add0(c *Conn) {
	if c.Is6() {
		return
	}
	size := entry0
	if c.Flags&seqFlags != 0 {
		size += seqSize
	}
	if p.open != nil && (p.open[0] == maxCount || len(p.open)+size > p.MaxLen) {
		p.Flush()
	}
	if p.open == nil {
		p.open = make([]byte, header0, max(p.MaxLen, header0+size))
		p.open[1] = p.ID
	}
	p.open = c.append0(p.open)
	p.open[0]++
}

// append0 writes an entry of version 0.
func (c *Conn) append0(b []byte) []byte {
	be := binary.BigEndian
	b = append(b, 0, byte(c.Protocol))
	for _, port := range [...]uint16{c.Client.Port(), c.Virtual.Port(), c.Real.Port()} {
		b = be.AppendUint16(b, port)
	}
	for _, a := range [...]netip.Addr{c.Client.Addr(), c.Virtual.Addr(), c.Real.Addr()} {
		four := a.As4()
		b = append(b, four[:]...)
	}
	b = be.AppendUint16(b, uint16(c.Flags&^hashed))
	b = be.AppendUint16(b, uint16(c.State))
	if c.Flags&seqFlags != 0 {
		ne := binary.NativeEndian
		for _, s := range [...]Sequence{c.In, c.Out} {
			b = ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(b, s.Init), s.Delta), s.Previous)
		}
	}
	return b
}

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
