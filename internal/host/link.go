package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Link is a network interface as it was when it was asked for.
type Link struct {
	Index    int
	Name     string
	MAC      MAC // zero if the interface has none of six bytes
	MTU      int
	Up       bool // switched on (IFF_UP)
	Running  bool // has carrier (IFF_RUNNING)
	Loopback bool
	NoARP    bool
	Ethernet bool
	Master   int    // index of the bridge or bond that it belongs to, or 0
	Kind     string // vlan, macvlan, bridge, veth, …; empty for hardware
	Lower    int    // index of the interface that it stands on, or 0: it stands on none of this namespace
	Tag      uint16 // of a VLAN: its identifier, with TagAD or not
}

// Ready tells that packets can travel: switched on and with carrier. keepalived: the same test for the FAULT state.
func (l Link) Ready() bool { return l.Up && l.Running }

// LinkByName looks up one interface. An unknown name is a *NoInterfaceError.
func LinkByName(name string) (Link, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/\x00") {
		return Link{}, &NoInterfaceError{Name: name}
	}
	body := append(make([]byte, ifinfomsgLen), attrString(unix.IFLA_IFNAME, name)...)
	return oneLink(name, body)
}

// oneLink asks for one link and parses the answer.
func oneLink(name string, body []byte) (Link, error) {
	bodies, err := request(unix.RTM_GETLINK, 0, body)
	if errors.Is(err, unix.ENODEV) {
		return Link{}, &NoInterfaceError{Name: name}
	}
	if err != nil {
		return Link{}, fmt.Errorf("look up interface %s: %w", name, err)
	}
	for _, b := range bodies {
		if l, ok := parseLink(b); ok {
			return l, nil
		}
	}
	return Link{}, &NoInterfaceError{Name: name}
}

// Links lists all interfaces in the order of their index.
func Links() ([]Link, error) {
	bodies, err := dump(unix.RTM_GETLINK, "interfaces", make([]byte, ifinfomsgLen))
	if err != nil {
		return nil, err
	}
	var links []Link
	for _, b := range bodies {
		if l, ok := parseLink(b); ok {
			links = append(links, l)
		}
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links, nil
}

// UpLinks lists the interfaces that are switched on, without loopback.
func UpLinks() ([]Link, error) {
	links, err := Links()
	return slices.DeleteFunc(links, func(l Link) bool { return !l.Up || l.Loopback }), err
}

// parseLink reads an ifinfomsg. Messages of another family than AF_UNSPEC tell of a bridge port or of IPv6 settings,
// not of the link: a RTM_DELLINK of AF_BRIDGE means that a link has left its bridge, and it still exists.
func parseLink(b []byte) (Link, bool) {
	if len(b) < ifinfomsgLen || b[0] != unix.AF_UNSPEC {
		return Link{}, false
	}
	flags := native.Uint32(b[8:])
	l := Link{
		Index:    int(int32(native.Uint32(b[4:]))),
		Up:       flags&unix.IFF_UP != 0,
		Running:  flags&unix.IFF_RUNNING != 0,
		Loopback: flags&unix.IFF_LOOPBACK != 0,
		NoARP:    flags&unix.IFF_NOARP != 0,
		Ethernet: native.Uint16(b[2:]) == unix.ARPHRD_ETHER,
	}
	abroad := false
	eachAttr(b[ifinfomsgLen:], func(typ uint16, val []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = text(val)
		case unix.IFLA_ADDRESS:
			if len(val) == len(l.MAC) {
				copy(l.MAC[:], val)
			}
		case unix.IFLA_MTU:
			l.MTU = int(number(val))
		case unix.IFLA_MASTER:
			l.Master = int(number(val))
		case unix.IFLA_LINK:
			l.Lower = int(number(val))
		case unix.IFLA_LINK_NETNSID:
			abroad = true
		case unix.IFLA_LINKINFO:
			l.Kind, l.Tag = parseLinkInfo(val)
		}
	})
	if abroad || l.Lower == l.Index {
		l.Lower = 0
	}
	return l, l.Index > 0 && l.Name != ""
}

const vrfTableAttr = 1 // IFLA_VRF_TABLE of linux/if_link.h

// vrfTable is the routing table of a VRF device.
func vrfTable(name string) (uint32, error) {
	bodies, err := request(unix.RTM_GETLINK, 0, append(make([]byte, ifinfomsgLen), attrString(unix.IFLA_IFNAME, name)...))
	if err != nil {
		return 0, gone(err, name)
	}
	table := uint32(0)
	for _, b := range bodies {
		if len(b) < ifinfomsgLen {
			continue
		}
		eachAttr(b[ifinfomsgLen:], func(typ uint16, info []byte) {
			if typ != unix.IFLA_LINKINFO {
				return
			}
			eachAttr(info, func(typ uint16, data []byte) {
				if typ == unix.IFLA_INFO_DATA {
					eachAttr(data, func(typ uint16, v []byte) {
						if typ == vrfTableAttr {
							table = number(v)
						}
					})
				}
			})
		})
	}
	if table == 0 {
		return 0, fmt.Errorf("%s is no VRF", name)
	}
	return table, nil
}

// ethQinQ is 802.1ad's type of frame.
const ethQinQ = 0x88a8

// parseLinkInfo reads IFLA_LINKINFO: the kind of a link and, if that is vlan, its tag.
func parseLinkInfo(b []byte) (kind string, tag uint16) {
	var data []byte
	eachAttr(b, func(typ uint16, val []byte) {
		switch typ {
		case unix.IFLA_INFO_KIND:
			kind = text(val)
		case unix.IFLA_INFO_DATA:
			data = val
		}
	})
	if kind != "vlan" {
		return kind, 0
	}
	eachAttr(data, func(typ uint16, val []byte) {
		switch {
		case len(val) < 2:
		case typ == unix.IFLA_VLAN_ID:
			tag |= native.Uint16(val) & 0xfff
		case typ == unix.IFLA_VLAN_PROTOCOL && binary.BigEndian.Uint16(val) == ethQinQ:
			tag |= TagAD
		}
	})
	return kind, tag
}
