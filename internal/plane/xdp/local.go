package xdp

import (
	"net/netip"
	"unsafe"

	"vipd/bpf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
)

// The local ends of FULLNAT's connections, as bpf/fullnat.h chooses them and finds them again.

// lineReader copies a line that holds a connection; false if it does not.
type lineReader func(i int, into *line) bool

func (p *Plane) readLine(i int, into *line) bool {
	all := p.lines()
	return i >= 0 && i < len(all) && all[i].read(into)
}

// localNumber is which of a real server's local addresses a local end has; -1: none, or its port is none that is given.
func localNumber(r owned, local netip.AddrPort) int {
	if !rewritten(r) || local.Port() < firstLocal || local.Port() >= firstLocal+localPorts {
		return -1
	}
	return r.of.spec.Locals.Index(local.Addr())
}

const (
	firstLocal = uint16(bpf.LbNumberLOCAL_FIRST_PORT)
	localPorts = uint16(bpf.LbNumberLOCAL_PORTS)
)

// localOf is the local end of the connection c in line i, and what the line for its replies knows of the PROXY protocol; false if it
// has none.
func (p *Plane) localOf(read lineReader, i int, c *conn, r owned) (local netip.AddrPort, begun connsync.Begun, ok bool) {
	key, ok := p.localKey(read, i, c, r)
	if !ok {
		return local, begun, false
	}
	v6 := c.Kind&connIPv6 != 0
	local = netip.AddrPortFrom(addrOf([4]uint32(key.Addr[:4]), v6), port16(key.Cport))
	if !r.of.spec.Proxy || lb.Protocol(c.Proto) != lb.TCP {
		return local, begun, true
	}
	var back conn
	if !p.returnOf(read, &key, i, c, &back) {
		return local, begun, false
	}
	if begun.State = connsync.Proxy(back.Life >> 8 & 0xff); begun.State != connsync.ProxyNone {
		begun.Initial = back.Real
	}
	return local, begun, true
}

// localKey is the key of the line for replies to the connection c in line i.
func (p *Plane) localKey(read lineReader, i int, c *conn, r owned) (key conn, ok bool) {
	if c.Kind&connIPv6 == 0 {
		addr, rest := c.Addr[bpf.LbSpareSPARE_LOCAL], c.Addr[bpf.LbSpareSPARE_LOCAL+1]
		key = returnKey(c, r, [4]uint32{addr}, uint16(rest))
		return key, addr != 0 && uint16(rest>>16) == uint16(c.Life>>32) // of this generation
	}
	if bpf.LbConnFlag(c.Life>>16&0xffff)&bpf.LbConnFlagCONN_LOCAL != 0 {
		var copied line
		back := (*conn)(unsafe.Pointer(&copied))
		ok = read(int(c.Control)-1, &copied) && leadsTo(back, i, c)
		return *back, ok
	}
	hash, locals := p.hash6(c), max(uint32(r.of.spec.Locals.Len()), 1)
	for try := range uint64(bpf.LbNumberLOCAL_TRIES) {
		chance := uint32(hashMix(hash, try) >> 32)
		port := firstLocal + uint16((chance&0xffff)%uint32(localPorts))
		key = returnKey(c, r, words6(r.of.spec.Locals.At(int(chance>>16%locals))), be16(port))
		if p.returnOf(read, &key, i, c, new(conn)) {
			return key, true
		}
	}
	return key, false
}

// returnKey is return_key: the local end as client, the real server's as virtual address. port is as it stands in a map.
func returnKey(c *conn, r owned, local [4]uint32, port uint16) conn {
	key := conn{Cport: port, Vport: be16(portOf(r.of.spec, r.spec)), Proto: c.Proto, Kind: isReturn | c.Kind&connIPv6}
	if key.Vport == 0 {
		key.Vport = c.Vport
	}
	server := words6(r.spec.Addr.Addr())
	if c.Kind&connIPv6 == 0 {
		key.Addr[0], key.Addr[1] = local[0], server[0]
		return key
	}
	copy(key.Addr[:4], local[:])
	copy(key.Addr[4:], server[:])
	return key
}

// leadsTo tells whether a line for replies is that of the connection c in line i.
func leadsTo(back *conn, i int, c *conn) bool {
	return back.Kind&isReturn != 0 && int(back.Control) == i && back.Packets == uint32(c.Life>>32)
}

// returnOf finds the line of a key, if it leads to the connection c in line i.
func (p *Plane) returnOf(read lineReader, key *conn, i int, c, back *conn) bool {
	hash := p.hash4(key)
	if key.Kind&connIPv6 != 0 {
		hash = p.hash6(key)
	}
	region, first := uint32(hash>>32)&(p.meta.Regions-1), uint32(hash>>26)
	var copied line
	seen := (*conn)(unsafe.Pointer(&copied))
	for n := range regionLines {
		if !read(int(region*regionLines+(first+n)%regionLines), &copied) || !leadsTo(seen, i, c) {
			continue
		}
		if seen.Cport == key.Cport && seen.Vport == key.Vport && seen.Proto == key.Proto && seen.Kind == key.Kind && seen.Addr == key.Addr {
			*back = *seen
			return true
		}
	}
	return false
}

// hash4 is conn_hash of conn.h, and hash6 conn_hash6: of a connection, or of a line for replies.
func (p *Plane) hash4(c *conn) uint64 {
	return (p.hashPorts(c) ^ uint64(c.Addr[0])) * bpf.HashFactor(p.meta.Seed)
}

func (p *Plane) hash6(c *conn) uint64 {
	h := hashMix(p.hashPorts(c), uint64(c.Addr[0])|uint64(c.Addr[1])<<32)
	return hashMix(h, uint64(c.Addr[2])|uint64(c.Addr[3])<<32) * bpf.HashFactor(p.meta.Seed)
}

func (p *Plane) hashPorts(c *conn) uint64 {
	return hashMix(p.meta.Seed, uint64(c.Cport)|uint64(c.Proto)<<32|uint64(c.Kind)<<40)
}
