package xdp

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/lb"
)

// mapRegions makes the connection table readable as memory: a walk costs no system call.
func mapRegions(m *ebpf.Map) ([]byte, error) {
	return unix.Mmap(m.FD(), 0, int(m.MaxEntries()*m.ValueSize()), unix.PROT_READ, unix.MAP_SHARED)
}

// lineWords is a line of the table as 64-bit words, the size in which it is read.
const lineWords = int(unsafe.Sizeof(conn{}) / 8)

type line [lineWords]uint64

// lines is the table as lines. BPF programs write it at any time.
func (p *Plane) lines() []line {
	return unsafe.Slice((*line)(unsafe.Pointer(&p.table[0])), len(p.table)/(lineWords*8))
}

// live tells whether a line holds a connection, in no time for those that do not, which are most.
func (l *line) live() bool { return atomic.LoadUint64(&l[0])&0xff == uint64(bpf.LbPhasePHASE_LIVE) }

// read copies a line that holds a connection; false if it does not, or changed hands meanwhile. Atomic loads keep their
// order, so what lies between two looks at the same life belongs to it.
func (l *line) read(into *line) bool {
	life := atomic.LoadUint64(&l[0])
	if life&0xff != uint64(bpf.LbPhasePHASE_LIVE) {
		return false
	}
	for i := range l {
		into[i] = atomic.LoadUint64(&l[i])
	}
	again := atomic.LoadUint64(&l[0])
	// State and flags may move on under one generation; what was copied with the line is good then.
	return again>>32 == life>>32 && again&0xff == life&0xff
}

// Conns calls visit for every connection and template that has not expired, until visit returns false. It reads memory;
// the order is that of the table, which a secret decides.
func (p *Plane) Conns(visit func(lb.Conn) bool) error {
	_, err := p.walk(0, len(p.lines()), visit)
	return err
}

// connsPart is how many lines one call of ConnsFrom looks at: a few milliseconds.
const connsPart = 1 << 16

// ConnsFrom implements plane.Pager: at most 65,536 lines of the table at a time.
func (p *Plane) ConnsFrom(cursor int, visit func(lb.Conn)) (next int, err error) {
	return p.connsFrom(cursor, connsPart, visit)
}

func (p *Plane) connsFrom(cursor, most int, visit func(lb.Conn)) (next int, err error) {
	all := len(p.lines())
	if cursor < 0 || cursor >= all {
		return -1, nil
	}
	next, err = p.walk(cursor, min(cursor+most, all), func(c lb.Conn) bool { visit(c); return true })
	if next >= all || err != nil {
		return -1, err
	}
	return next, nil
}

// walk visits the lines from first to before end.
func (p *Plane) walk(first, end int, visit func(lb.Conn) bool) (int, error) {
	now, err := p.tick()
	if err != nil {
		return end, fmt.Errorf("list connections: %w", err)
	}
	reals := p.byIndex()
	table := p.lines()
	var copied line
	for i := first; i < end; i++ {
		if !table[i].read(&copied) {
			continue
		}
		c := (*conn)(unsafe.Pointer(&copied))
		left := int32(c.Expires - now)
		if c.Kind&isReturn != 0 {
			continue // a way back, no connection
		}
		if left <= 0 && (c.Kind&isTemplate == 0 || c.Control == 0) || int(c.Real) >= len(reals) || reals[c.Real].real == nil {
			continue
		}
		if !visit(p.connOf(c, reals[c.Real], max(left, 0))) {
			break
		}
	}
	return end, nil
}

// owned is a real server and its service.
type owned struct {
	*real
	of *service
}

// byIndex is every real server that a connection may refer to, by its index.
func (p *Plane) byIndex() []owned {
	list := make([]owned, len(p.realSlots.used))
	for _, s := range p.services {
		for _, r := range s.reals {
			list[r.index] = owned{r, s}
		}
		for _, r := range s.gone {
			list[r.index] = owned{r, s}
		}
	}
	return list
}

// portOf is the real server's port in a connection to vport. A dead template shows its port that matches nothing on both
// sides; one of several ports shows none; a real server without a port has the packet's, and so have all that is not for the
// service's own port, or is of a mark's persistent one.
func (r owned) portOf(template bool, vport uint16) uint16 {
	port := r.spec.Addr.Port()
	switch {
	case template && (vport == 0 || vport == uint16(bpf.LbNumberDEAD_VPORT)), port == 0:
		return vport
	case !template && r.of.spec.Mark != 0 && r.of.spec.Persistence != 0, !template && r.of.spec.Mark == 0 && vport != r.of.spec.Addr.Port():
		return vport
	}
	return port
}

func (p *Plane) connOf(c *conn, r owned, left int32) lb.Conn {
	flags := bpf.LbConnFlag(c.Life >> 16 & 0xffff)
	vport, v6 := port16(c.Vport), c.Kind&connIPv6 != 0
	virt := [4]uint32{c.Addr[1]}
	if v6 {
		virt = [4]uint32(c.Addr[4:])
	}
	template := flags&bpf.LbConnFlagCONN_TEMPLATE != 0
	one := lb.Conn{
		Protocol: lb.Protocol(c.Proto),
		Client:   netip.AddrPortFrom(addrOf([4]uint32(c.Addr[:4]), v6), port16(c.Cport)),
		Virtual:  netip.AddrPortFrom(addrOf(virt, v6), vport),
		Real:     netip.AddrPortFrom(r.spec.Addr.Addr(), r.portOf(template, vport)),
		Forward:  r.spec.Forward,
		State:    lb.State(c.Life >> 8 & 0xff),
		Template: template,
		Assured:  flags&bpf.LbConnFlagCONN_ASSURED != 0,
		Packets:  c.Packets,
		Expires:  p.clock.duration(left),
	}
	if template {
		// ipvs: shows no port here; of a call ours is part of what the template is found by.
		one.Client, one.Packets = netip.AddrPortFrom(one.Client.Addr(), 0), 0
	}
	if c.Kind&isSIP != 0 {
		one.Engine, one.EngineData = "sip", p.callID(c)
	}
	return one
}

// callID is what a template of the SIP engine recognizes its call by; empty if the template has ended meanwhile.
func (p *Plane) callID(c *conn) string {
	key := bpf.LbCallKey{Line: p.lineHash(c), Number: c.Packets}
	var call bpf.LbCall
	if err := p.maps[bpf.LbMapCalls].Lookup(key, &call); err != nil {
		return ""
	}
	return string(call.Text[:min(int(call.Length), len(call.Text))])
}

// hashMix is hash_mix of conn.h.
func hashMix(h, value uint64) uint64 {
	h = (h ^ value) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// lineHash is key_hash of conn.h, of a template.
func (p *Plane) lineHash(c *conn) uint64 {
	word := func(at int) uint64 { return uint64(c.Addr[2*at]) | uint64(c.Addr[2*at+1])<<32 }
	h := hashMix(p.meta.Seed, word(0))
	if c.Kind&connIPv6 != 0 {
		h = hashMix(hashMix(hashMix(h, word(1)), word(2)), word(3))
	}
	ports := uint64(c.Cport) | uint64(c.Vport)<<16 | uint64(c.Proto)<<32 | uint64(c.Kind)<<40
	return hashMix(h, ports) * 0xd6e8feb86659fd93
}
