package connsync

import (
	"encoding/binary"
	"net/netip"
)

// maxCount is what a datagram's count can say.
const maxCount = 255

// Packer makes datagrams of version 1. An entry that does not fit begins a new one; one that is larger than MaxLen goes alone.
type Packer struct {
	ID     uint8
	MaxLen int
	// Version0 has it make those of version 0, which has no word for IPv6, timeouts, marks and engines: connections of IPv6 are left out.
	Version0 bool

	open []byte   // the datagram that is being filled
	full [][]byte // in order
}

// Add puts a connection into the datagram that is being filled.
func (p *Packer) Add(c *Conn) {
	if p.Version0 {
		p.add0(c)
		return
	}
	if p.open != nil && (p.open[4] == maxCount || len(p.open)+pad(len(p.open))+c.size() > p.MaxLen) {
		p.Flush()
	}
	if p.open == nil {
		p.open = make([]byte, header1, max(p.MaxLen, header1+c.size()))
		p.open[1], p.open[5] = p.ID, version
	}
	p.open = append(p.open, make([]byte, pad(len(p.open)))...)
	p.open = c.append(p.open)
	p.open[4]++
}

// Holds is how many connections of IPv4 a datagram holds, at least one.
func (p *Packer) Holds() int { return max((p.MaxLen-header1)/entry4, 1) }

// Flush ends the datagram that is being filled.
func (p *Packer) Flush() {
	if p.open == nil {
		return
	}
	binary.BigEndian.PutUint16(p.open[2:], uint16(len(p.open)))
	p.full, p.open = append(p.full, p.open), nil
}

// Take hands out the datagrams that are full or flushed, in order.
func (p *Packer) Take() [][]byte {
	full := p.full
	p.full = nil
	return full
}

// pad is how many bytes bring a length to a multiple of 4.
func pad(n int) int { return -n & 3 }

func (c *Conn) size() int {
	n := entry4
	if c.Is6() {
		n = entry6
	}
	if c.Flags&seqFlags != 0 {
		n += 2 + seqSize
	}
	if c.EngineData != "" {
		n += 2 + min(len(c.EngineData), maxEngineData)
		if c.Engine != "" {
			n += 2 + min(len(c.Engine), maxEngine)
		}
	}
	if c.Local.IsValid() {
		n += 2 + localSize + c.Local.Addr().BitLen()/8
	}
	return n
}

// append writes the entry behind b, whose length is a multiple of 4.
func (c *Conn) append(b []byte) []byte {
	be := binary.BigEndian
	kind := byte(0)
	if c.Is6() {
		kind = typeIPv6
	}
	b = append(b, kind, byte(c.Protocol))
	b = be.AppendUint16(b, uint16(c.size())&sizeMask)
	b = be.AppendUint32(b, uint32(c.Flags&^hashed))
	b = be.AppendUint16(b, uint16(c.State))
	b = be.AppendUint16(b, c.Client.Port())
	b = be.AppendUint16(b, c.Virtual.Port())
	b = be.AppendUint16(b, c.Real.Port())
	b = be.AppendUint32(b, c.Mark)
	b = be.AppendUint32(b, c.Timeout)
	for _, a := range [...]netip.Addr{c.Client.Addr(), c.Virtual.Addr(), c.Real.Addr()} {
		b = append(b, a.AsSlice()...)
	}
	if c.Flags&seqFlags != 0 {
		b = append(b, optionSeq, seqSize)
		for _, s := range [...]Sequence{c.In, c.Out} {
			b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, s.Init), s.Delta), s.Previous)
		}
	}
	return c.appendLocal(c.appendEngine(b))
}

func (c *Conn) appendLocal(b []byte) []byte {
	if !c.Local.IsValid() {
		return b
	}
	addr := c.Local.Addr().AsSlice()
	b = append(b, optionLocal, byte(localSize+len(addr)))
	b = binary.BigEndian.AppendUint16(b, c.Local.Port())
	b = append(b, byte(c.Begun.State), 0)
	return append(binary.BigEndian.AppendUint32(b, c.Begun.Initial), addr...)
}

func (c *Conn) appendEngine(b []byte) []byte {
	if c.EngineData == "" {
		return b
	}
	data := c.EngineData[:min(len(c.EngineData), maxEngineData)]
	b = append(append(b, optionEngineData, byte(len(data))), data...)
	if c.Engine == "" {
		return b
	}
	name := c.Engine[:min(len(c.Engine), maxEngine)]
	return append(append(b, optionEngine, byte(len(name))), name...)
}
