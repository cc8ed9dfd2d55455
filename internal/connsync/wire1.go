package connsync

import (
	"encoding/binary"
	"net/netip"

	"vipd/internal/lb"
)

// Version 1 (struct ip_vs_sync_mesg): a header of 8 bytes {0, syncid, size, count, version, spare}, then entries that begin at
// multiples of 4. Everything is big-endian.
const (
	header1 = 8
	entry4  = 36
	entry6  = 72
	version = 1

	typeIPv6 = 1

	sizeMask     = 0x0fff
	versionShift = 12

	maxEngine     = 16
	maxEngineData = 255
)

// Options of an entry. One with the bit optional may be skipped by who does not know it.
const (
	optionSeq        = 1
	optionEngineData = 2
	optionEngine     = 3
	optional         = 0x40

	// optionLocal is vipd's own, and in its Stream alone, to who says that it understands it: port (2), Proxy (1), 0 (1), initial
	// sequence number (4), address. Far from the kernel's numbers, and not to be skipped.
	optionLocal = 0x20
	localSize   = 8
)

// Decode reads a datagram for a backup of this syncid (0: every one), calls take for each connection that is good, in order,
// and refuse for the datagram or for each entry that is not. It never keeps a reference to datagram.
func Decode(datagram []byte, id uint8, take func(Conn), refuse func(Reason)) {
	b := datagram
	switch {
	case len(b) < header0:
		refuse(ShortDatagram)
	case int(binary.BigEndian.Uint16(b[2:])) != len(b):
		refuse(WrongSize)
	case id != 0 && b[1] != id:
		refuse(OtherID)
	case len(b) >= header1 && b[0] == 0 && b[5] == version && binary.BigEndian.Uint16(b[6:]) == 0:
		decode1(b, take, refuse)
	default:
		decode0(b, take, refuse)
	}
}

func decode1(b []byte, take func(Conn), refuse func(Reason)) {
	count := int(b[4])
	if count == 0 {
		refuse(Empty)
	}
	rest := b[header1:]
	for range count {
		e, next, why := cutEntry(rest)
		if why != "" {
			refuse(why)
			return
		}
		c, why, sure := conn1(e)
		switch {
		case why == "" && c.Local.IsValid(): // not of this protocol
			refuse(UnknownOption)
		case why == "":
			c.Flags &= kept
			take(c)
		case !sure:
			refuse(why)
			return
		default:
			refuse(why)
		}
		rest = next
	}
}

// cutEntry is the first entry of b, with its options, and what follows it.
func cutEntry(b []byte) (entry, rest []byte, why Reason) {
	if len(b) < entry4 {
		return nil, nil, ShortEntry
	}
	word := binary.BigEndian.Uint16(b[2:])
	size := int(word & sizeMask)
	if size > len(b) {
		return nil, nil, CutEntry
	}
	if word>>versionShift != 0 {
		return nil, nil, EntryVersion
	}
	return b[:size], b[min((size+3)&^3, len(b)):], ""
}

// conn1 reads an entry. sure: what follows it can be read, although it itself is refused.
func conn1(e []byte) (c Conn, why Reason, sure bool) {
	if len(e) < entry4 {
		return c, ShortEntry, false
	}
	at := entry4
	switch {
	case e[0]&typeIPv6 != 0:
		at = entry6
	case e[0] != 0:
		return c, EntryType, false
	}
	if len(e) < at {
		return c, ShortEntry, false
	}
	c = fixed1(e, at == entry6)
	if why, sure = c.options(e[at:]); why != "" {
		return c, why, sure
	}
	return c, c.check(), true
}

// fixed1 is the part of an entry that all have.
func fixed1(e []byte, v6 bool) Conn {
	be := binary.BigEndian
	addr := func(n int) netip.Addr {
		if v6 {
			return netip.AddrFrom16([16]byte(e[24+16*n:]))
		}
		return netip.AddrFrom4([4]byte(e[24+4*n:]))
	}
	c := Conn{
		Protocol: lb.Protocol(e[1]),
		Flags:    Flags(be.Uint32(e[4:])),
		Client:   netip.AddrPortFrom(addr(0), be.Uint16(e[10:])),
		Virtual:  netip.AddrPortFrom(addr(1), be.Uint16(e[12:])),
		Real:     netip.AddrPortFrom(addr(2), be.Uint16(e[14:])),
		Mark:     be.Uint32(e[16:]),
		Timeout:  be.Uint32(e[20:]),
	}
	c.setState(be.Uint16(e[8:]))
	return c
}

// options reads what follows the fixed part: {type, length, data}, back to back. An unknown one that must be understood ends
// the reading of this entry; the kernel does not look at the others either.
func (c *Conn) options(b []byte) (why Reason, sure bool) {
	seen := uint64(0)
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || int(b[1]) > len(b)-2 {
			return CutOption, false
		}
		kind, data := b[0]&^optional, b[2:2+int(b[1])]
		if kind >= optionSeq && kind <= optionEngine || kind == optionLocal {
			if seen&(1<<kind) != 0 {
				return RepeatedOption, false
			}
			seen |= 1 << kind
		}
		switch kind {
		case optionSeq:
			if len(data) != seqSize {
				return OptionSize, false
			}
			c.In, c.Out = sequences(data, binary.BigEndian)
		case optionEngineData:
			c.EngineData = string(data)
		case optionEngine:
			if len(data) > maxEngine {
				return OptionSize, false
			}
			c.Engine = string(data)
		case optionLocal:
			if why := c.local(data); why != "" {
				return why, false
			}
		default:
			if b[0]&optional == 0 {
				return UnknownOption, true
			}
		}
		b = b[2+len(data):]
	}
	if c.Flags&seqFlags == 0 {
		c.In, c.Out = Sequence{}, Sequence{}
	}
	return "", true
}

// local reads the option of that name.
func (c *Conn) local(data []byte) Reason {
	if len(data) != localSize+c.Client.Addr().BitLen()/8 {
		return OptionSize
	}
	addr, _ := netip.AddrFromSlice(data[localSize:])
	c.Local = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(data))
	c.Begun = Begun{Proxy(data[2]), binary.BigEndian.Uint32(data[4:])}
	return ""
}

// setState keeps a number that no table has, for check to refuse.
func (c *Conn) setState(n uint16) { c.State = lb.State(min(n, 255)) }

// states are how many a protocol has (ip_vs.h).
var states = map[lb.Protocol]lb.State{lb.TCP: 11, lb.UDP: 1, lb.SCTP: 14}

// templateStates are NONE and ASSURED.
const templateStates = 2

// check is why the receiver does not take the entry, as far as it can be seen from it alone.
func (c *Conn) check() Reason {
	if c.Flags&OnePacket != 0 || c.Flags&Template != 0 && c.Flags&NoClientPort != 0 {
		return BadFlags
	}
	if c.EngineData != "" && c.Engine == "" {
		return EngineData
	}
	if c.EngineData == "" {
		c.Engine = "" // says nothing without
	}
	if c.Local.IsValid() && !c.localEnd() {
		return LocalEnd
	}
	if c.Flags&Template != 0 {
		// ipvs: the protocol of a template decides nothing.
		if c.State >= templateStates {
			return BadState
		}
		return ""
	}
	n, known := states[c.Protocol]
	switch {
	case !known:
		return BadProtocol
	case c.State >= n:
		return BadState
	}
	return ""
}

// localEnd: can this be the local end of a connection of FULLNAT, with what is said of the PROXY protocol?
func (c *Conn) localEnd() bool {
	return c.Flags&Template == 0 && c.Local.Port() != 0 && c.Begun.State < proxies && (c.Begun == Begun{} || c.Protocol == lb.TCP)
}
