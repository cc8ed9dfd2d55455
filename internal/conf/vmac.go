package conf

import (
	"net/netip"
	"strconv"
	"strings"
)

// setVMAC reads use_vmac [NAME] [MAC].
func setVMAC(l *loader, s *stmt) {
	v := l.vi
	if v.VMAC == nil {
		v.VMAC = &VMAC{}
	}
	for i := 1; i < len(s.words) && (i <= 2 || l.pass == passAll); i++ {
		w := s.text(i)
		switch {
		case strings.Contains(w, ":"):
			l.vmacAddress(s, i)
		case l.pass == passAll && w == "netlink_notify_msg":
			v.VMAC.Msg = true
		case l.pass == passAll && w == "group" && i+1 < len(s.words):
			i++
			v.VMAC.Group = s.text(i)
		default:
			l.vmacName(s, i)
		}
	}
}

// vmacAddress reads five or six octets in hex; with five the last one is the VRID.
func (l *loader) vmacAddress(s *stmt, i int) {
	t, v := s.text(i), l.vi
	if v.VMAC.MAC != "" {
		l.bad(s, i, "VMAC interface address already specified")
		return
	}
	if strings.Trim(t, "0123456789ABCDEFabcdef:") != "" {
		l.bad(s, i, "VMAC invalid MAC address %s", t)
		return
	}
	octets, good := strings.Split(t, ":"), true
	if len(octets) == 6 && octets[5] == "" {
		octets = octets[:5]
	}
	var b []uint64
	for _, o := range octets {
		n, err := strconv.ParseUint(o, 16, 8)
		good = good && err == nil && len(o) <= 2
		b = append(b, n)
	}
	switch {
	case !good || len(b) != 5 && len(b) != 6:
		l.bad(s, i, "VMAC invalid MAC address %s - ignored", t).Expected = "5 or 6 octets in hex, with colons"
	case b[0]&1 != 0:
		l.bad(s, i, "VMAC MAC address is multicast %s - ignoring", t)
	case b[0] == 0 && b[1] == 0 && b[2] == 0x5e && b[3] == 0 && (b[4] == 1 || b[4] == 2):
		l.bad(s, i, "VMAC MAC address not allowed to be RFC5798 address (%s) - ignoring", t)
	default:
		v.VMAC.MAC = t
	}
}

// validDev tells a name that an interface may have.
func validDev(n string) bool {
	return n != "" && len(n) <= 15 && n != "." && n != ".." && !strings.ContainsAny(n, "/: \t\n\v\f\r")
}

func (l *loader) vmacName(s *stmt, i int) {
	name, v := s.text(i), l.vi
	if v.VMAC.Name != "" || v.IPVLAN != nil && v.IPVLAN.Name != "" {
		l.bad(s, i, "VMAC interface name already specified")
		return
	}
	if !validDev(name) {
		l.bad(s, i, "VMAC interface name '%s' too long or invalid characters - ignoring", name)
		return
	}
	if l.nameTaken(s, i) {
		return
	}
	v.VMAC.Name = name
	if l.hostHas(name) {
		l.bad(s, i, "(%s) interface %s already exists and is not a private macvlan; ignoring vmac if_name", v.Name, name)
		v.VMAC.Name = ""
	}
}

// nameTaken reports an interface name that another instance makes.
func (l *loader) nameTaken(s *stmt, i int) bool {
	name := s.text(i)
	for _, o := range l.vis {
		if o == l.vi {
			continue
		}
		if o.VMAC != nil && o.VMAC.Name == name || o.IPVLAN != nil && o.IPVLAN.Name == name {
			l.bad(s, i, "(%s) VRRP instance %s is already using %s - ignoring name", l.vi.Name, o.Name, name)
			return true
		}
	}
	return false
}

// hostHas tells whether the machine has an interface of that name.
func (l *loader) hostHas(name string) bool {
	if l.host == nil || l.host.Interfaces == nil {
		return false
	}
	_, ok := l.host.Interfaces(name)
	return ok
}

// setIPVLAN reads use_ipvlan [NAME] [ADDR] [bridge|private|vepa].
func setIPVLAN(l *loader, s *stmt) {
	v := l.vi
	if v.IPVLAN != nil {
		l.warn(s.words[0], "repeated", "("+v.Name+") use_ipvlan already specified")
		return
	}
	v.IPVLAN = &IPVLAN{}
	for i := 1; i < len(s.words); i++ {
		w := s.text(i)
		addr, isAddr := netip.Addr{}, false
		if host, _, _ := strings.Cut(w, "/"); host != "" {
			addr, isAddr = address(host)
		}
		switch {
		case w == "bridge" || w == "private" || w == "vepa":
			if v.IPVLAN.Kind != "" {
				l.bad(s, i, "(%s) ipvlan type already specified - ignoring '%s'", v.Name, w)
			} else {
				v.IPVLAN.Kind = w
			}
		case isAddr:
			l.ipvlanAddress(s, i, addr)
		case v.IPVLAN.Name != "" || v.VMAC != nil && v.VMAC.Name != "":
			l.bad(s, i, "(%s) IPVLAN interface already specified - ignoring '%s'", v.Name, w)
		case len(w) > 15:
			l.bad(s, i, "(%s) IPVLAN interface name '%s' too long - ignoring", v.Name, w)
		case l.nameTaken(s, i):
		case l.hostHas(w):
			l.bad(s, i, "(%s) interface %s already exists and is not an l2 ipvlan; ignoring ipvlan if_name", v.Name, w)
		default:
			v.IPVLAN.Name = w
		}
	}
}

func (l *loader) ipvlanAddress(s *stmt, i int, addr netip.Addr) {
	v := l.vi
	switch {
	case v.IPVLAN.Addr.IsValid():
		l.bad(s, i, "(%s) ipvlan address already specified - ignoring '%s'", v.Name, s.text(i))
	case !v.family(addr):
		l.bad(s, i, "(%s) ipvlan address[%s] MUST match vrrp instance family !!! Skipping...", v.Name, s.text(i))
	default:
		v.IPVLAN.Addr = netip.PrefixFrom(addr, addr.BitLen())
		if p, err := netip.ParsePrefix(s.text(i)); err == nil {
			v.IPVLAN.Addr = p
		}
		if !v.SourceSet {
			v.Source, v.SourceSet = addr, true
		}
	}
}
