package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

const maxClasses = uint32(bpf.LbNumberMAX_CLASSES)

// Classes implements plane.Classifier.
func (p *Plane) Classes() ([]lb.Class, error) { return slices.Clone(p.classes), nil }

// SetClasses implements plane.Classifier. Packets see the old ones or the new ones; existing connections stay.
func (p *Plane) SetClasses(list []lb.Class) error {
	if len(list) > int(maxClasses) {
		return fmt.Errorf("%d classes, of %d: %w", len(list), maxClasses, plane.ErrFull)
	}
	for _, c := range list {
		if err := plane.CheckClass(c); err != nil {
			return err
		}
	}
	if err := p.grace(); err != nil {
		return err
	}
	p.classes = slices.Clone(list)
	return errors.Join(p.writeFilter(true), p.writeClasses(), p.writeHave(), p.writeFilter(false))
}

// writeClasses fills the half that is not in use, and puts it in use.
func (p *Plane) writeClasses() error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	first := maxClasses - t.Classes&0xffff
	for i, c := range p.classes {
		if err := p.maps.put(bpf.LbMapClasses, first+uint32(i), classEntry(c)); err != nil {
			return err
		}
	}
	t.Classes = first | uint32(len(p.classes))<<16
	return p.maps.put(bpf.LbMapTuning, 0, t)
}

// followLinks looks again for the interfaces that classes name: they come and go.
func (p *Plane) followLinks() error {
	if !slices.ContainsFunc(p.classes, func(c lb.Class) bool { return c.Interface != "" }) {
		return nil
	}
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	for i, c := range p.classes {
		var e bpf.LbClass
		if err := p.maps.get(bpf.LbMapClasses, t.Classes&0xffff+uint32(i), &e); err != nil {
			return err
		}
		if e != classEntry(c) {
			return errors.Join(p.grace(), p.writeClasses())
		}
	}
	return nil
}

func classEntry(c lb.Class) bpf.LbClass {
	e := bpf.LbClass{To: words6(c.To.Addr()), ToMask: maskOf(c.To), Mark: c.Mark, First: c.First, Last: c.Last, Proto: uint8(c.Protocol)}
	if c.To.Addr().Is6() {
		e.Six = 1
	}
	if c.From.IsValid() {
		e.From, e.FromMask = words6(c.From.Addr()), maskOf(c.From)
	}
	if c.Interface != "" {
		e.Ifindex, e.Tci = ingress(c.Interface)
		for i := range len(c.Interface) {
			e.Name[i] = int8(c.Interface[i])
		}
	}
	return e
}

func maskOf(network netip.Prefix) [4]uint32 {
	b := make([]byte, network.Addr().BitLen()/8)
	for i := range network.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return words6(a)
}

// ingress is where packets come in that the host would have from an interface: of a VLAN the interface below, and its tags,
// the outer first. An interface that is not there matches nothing.
func ingress(name string) (ifindex uint32, tci [2]uint16) {
	for range len(tci) + 1 {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return noReal, tci
		}
		v, ok := l.(*netlink.Vlan)
		if !ok {
			return uint32(l.Attrs().Index), tci
		}
		tag := uint16(v.VlanId)
		if v.VlanProtocol == netlink.VLAN_PROTOCOL_8021AD {
			tag |= uint16(bpf.LbVlanTagVLAN_AD)
		}
		tci = [2]uint16{be16(tag), tci[0]}
		below, err := netlink.LinkByIndex(v.ParentIndex)
		if err != nil {
			return noReal, tci
		}
		name = below.Attrs().Name
	}
	return noReal, tci
}

// readClasses takes over those of a process before.
func (s *state) readClasses(m maps) error {
	var t bpf.LbTunables
	if err := m.get(bpf.LbMapTuning, 0, &t); err != nil {
		return damaged(err)
	}
	for i := range t.Classes >> 16 {
		var e bpf.LbClass
		if err := m.get(bpf.LbMapClasses, t.Classes&0xffff+i, &e); err != nil {
			return damaged(err)
		}
		s.classes = append(s.classes, classOf(e))
	}
	return nil
}

// classOf is classEntry's way back.
func classOf(e bpf.LbClass) lb.Class {
	six := e.Six != 0
	c := lb.Class{Mark: e.Mark, Protocol: lb.Protocol(e.Proto), First: e.First, Last: e.Last, To: networkOf(e.To, e.ToMask, six)}
	if e.FromMask != [4]uint32{} {
		c.From = networkOf(e.From, e.FromMask, six)
	}
	name := strings.Builder{}
	for _, b := range e.Name {
		if b == 0 {
			break
		}
		name.WriteByte(byte(b))
	}
	c.Interface = name.String()
	return c
}

func networkOf(addr, mask [4]uint32, six bool) netip.Prefix {
	bits := int(wild(mask, six))
	if six {
		bits = 128 - bits
	} else {
		bits, _ = lb.Service{Wild: uint32(bits)}.MaskBits()
	}
	return netip.PrefixFrom(addrOf(addr, six), bits)
}
