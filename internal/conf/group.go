package conf

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"vipd/internal/lb"
)

func beginServiceGroup(l *loader, s *stmt) {
	if len(s.words) > 2 {
		// keepalived: it stops here, over a word of its own that is missing.
		d := l.diags.add(Error, "extra-words", s.file, s.words[2], "*** Configuration line starting `***MISSING ***` is missing a parameter at word position 1")
		d.class, d.Expected = classStop, "'{'"
	}
	l.cfg.ServiceGroups = append(l.cfg.ServiceGroups, ServiceGroup{Name: s.text(1)})
}

// addGroupLine takes a line of virtual_server_group: ADDR[-END] [PORT], NET/LEN [PORT] or fwmark N [inet|inet6].
func addGroupLine(l *loader, s *stmt) {
	g := &l.cfg.ServiceGroups[len(l.cfg.ServiceGroups)-1]
	if s.text(0) == "fwmark" {
		if _, ok := l.want(s, 1); !ok {
			return
		}
		n, ok := l.integer(s, 1, 0, math.MaxUint32, "("+g.Name+"): fwmark '{value}' must be in [0, 4294967295] - ignoring")
		if !ok {
			return
		}
		m := GroupMember{IsMark: true, Mark: uint32(n), Family: s.text(2)}
		if len(s.words) > 2 && m.Family != "inet" && m.Family != "inet6" {
			l.bad(s, 2, "(%s): fwmark '%d' family %s unknown - ignoring", g.Name, n, m.Family).Expected = "inet or inet6"
			return
		}
		g.Members = append(g.Members, m)
		return
	}
	a, ok := l.endpoint(s, 0)
	if !ok {
		with := ""
		if port := s.text(1); strings.Trim(port, "0") != "" {
			with = "/port/" + port
		}
		l.badEndpoint(s, 0, "Invalid virtual server group IP address "+s.text(0)+" "+with+" - skipping")
		return
	}
	m := GroupMember{First: a.Addr(), Last: a.Addr(), Port: a.Port()}
	if l.groupRange(s, &m) {
		g.Members = append(g.Members, m)
	}
}

// groupRange finds the end of a range of addresses.
func (l *loader) groupRange(s *stmt, m *GroupMember) bool {
	text := s.text(0)
	if _, length, ok := strings.Cut(text, "/"); ok {
		neg, n, rest, _ := cutNumber(length, false)
		if neg || rest != "" || n == 0 || n > uint64(m.First.BitLen()) {
			l.bad(s, 0, "Invalid netmask - %s - skipping", text)
			return false
		}
		p := netip.PrefixFrom(m.First, int(n))
		if p.Masked().Addr() != m.First {
			l.bad(s, 0, "Address mask bits not empty - %s - skipping", text)
			return false
		}
		m.Last = lastIn(p)
		return true
	}
	_, end, ok := strings.Cut(text, "-")
	if !ok {
		return true
	}
	if strings.Contains(end, map[bool]string{true: ":", false: "."}[m.First.Is6()]) {
		last, ok := plain(end)
		switch {
		case !ok:
			l.bad(s, 0, "Invalid range end %s - skipping", text)
		case last.Is6() != m.First.Is6():
			l.bad(s, 0, "Range address families do not match %s - skipping", text)
		case last.Less(m.First):
			l.bad(s, 0, "Address range end is less than address range start - %s - skipping", text)
		default:
			m.Last = last
			return true
		}
		return false
	}
	return l.groupTail(s, m, end)
}

// groupTail reads the end of a range as the last part of an address.
func (l *loader) groupTail(s *stmt, m *GroupMember, end string) bool {
	text := s.text(0)
	if m.First.Is6() {
		end = "0x" + end
	}
	neg, n, rest, over := cutNumber(end, m.First.Is6())
	top := uint64(255)
	if m.First.Is6() {
		top = 0xffff
	}
	_, shown, _ := strings.Cut(text, "-")
	switch {
	case rest != "":
		l.bad(s, 0, "Virtual server group range '%s' has extra characters at end '%s'", text, rest)
		return false
	case neg || over || n > top:
		l.bad(s, 0, "Virtual server group range '%s' end '%s' too large", text, shown)
		return false
	}
	b := m.First.AsSlice()
	start := uint64(b[len(b)-1])
	if m.First.Is6() {
		start |= uint64(b[len(b)-2]) << 8
		b[len(b)-2] = byte(n >> 8)
	}
	b[len(b)-1] = byte(n)
	if start >= n {
		l.bad(s, 0, "Address range end is not greater than address range start - %s - skipping", text)
		return false
	}
	m.Last, _ = netip.AddrFromSlice(b)
	return true
}

// lastIn is the last address of a network.
func lastIn(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func endServiceGroup(l *loader) {
	n := len(l.cfg.ServiceGroups) - 1
	g := l.cfg.ServiceGroups[n]
	v4, v6, none := false, false, false
	for _, m := range g.Members {
		is6 := m.Family == "inet6" || !m.IsMark && m.First.Is6()
		none = none || m.IsMark && m.Family == ""
		v6 = v6 || is6
		v4 = v4 || !is6 && (!m.IsMark || m.Family == "inet")
	}
	switch {
	case len(g.Members) == 0:
		l.warn(l.at.arg(0), "empty-block", "virtual server group "+g.Name+" has no entries - removing").Expected = "IP PORT, a range, or fwmark N"
	case v4 && v6 && none:
		l.warn(l.at.arg(0), "mixed-families", "virtual server group "+g.Name+" cannot have IPv4, IPv6 and fwmark without family - removing")
	default:
		return
	}
	l.cfg.ServiceGroups = l.cfg.ServiceGroups[:n]
}

// String is the member as keepalived writes it.
func (m GroupMember) String() string {
	switch {
	case m.IsMark:
		return fmt.Sprintf("FWM %d", m.Mark)
	case m.First != m.Last:
		return fmt.Sprintf("%s-%s,%d", m.First, m.Last, m.Port)
	}
	return fmt.Sprintf("%s,%d", m.First, m.Port)
}

// maxGroup is how many services a group may make: with more, a prefix of IPv6 was meant as something else.
const maxGroup = 65536

// keys are the services that a group makes, in its order; of marks without a family those of v's.
func (g *ServiceGroup) keys(v *service) (keys []lb.ServiceKey) {
	for _, m := range g.Members {
		if m.IsMark {
			if m.Mark != 0 {
				keys = append(keys, lb.ServiceKey{Mark: m.Mark, V6: m.Family == "inet6" || m.Family == "" && v.fam == 6})
			}
			continue
		}
		for a := m.First; a.IsValid() && !m.Last.Less(a); a = a.Next() {
			if len(keys) >= maxGroup {
				return keys
			}
			keys = append(keys, lb.ServiceKey{Protocol: v.Protocol, Addr: netip.AddrPortFrom(a, m.Port)})
		}
	}
	return keys
}

// finishGroup keeps a service that is found by what its group lists. keepalived: of two services with the same address and
// port the second fails in the kernel.
func (l *loader) finishGroup(v *service, seen map[lb.ServiceKey]*service) {
	if v.fam == 0 {
		v.settleFamily()
	}
	keys := v.grouped.keys(v)
	if len(keys) >= maxGroup {
		d := l.after(Warning, "group-too-large", v.place, fmt.Sprintf("Virtual server %s: its group has %d addresses or more - ignoring", v.label(), maxGroup))
		d.class, d.Hint = classOurs, "each address is a service of its own; a fwmark member with a fwmark_class is one for a whole network"
		return
	}
	var own []lb.ServiceKey
	for _, k := range keys {
		if o := seen[k]; o != nil {
			d := l.after(Warning, "duplicate-service", v.place, "Virtual server "+v.label()+": "+k.String()+" is defined twice - ignoring the second")
			d.class, d.Hint = classOurs, fmt.Sprintf("the one at line %d of %s counts", o.tok.Line, o.file.Name)
			continue
		}
		seen[k] = v
		own = append(own, k)
	}
	if len(own) == 0 {
		return
	}
	v.members = own
	made := v.Service
	made.ServiceKey, made.Members, made.Name = own[0], own, v.label()
	l.cfg.Health.Services = append(l.cfg.Health.Services, made)
}
