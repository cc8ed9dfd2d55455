package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VMAC is an interface that gives a virtual router a MAC address of its own: a macvlan of mode private upon another
// interface, so that it takes frames from a station that has the same address, the other director. Or it is an ipvlan of
// mode L2, which has its parent's MAC address and addresses of its own.
type VMAC struct {
	Name   string
	Parent string
	MAC    MAC        // zero of an ipvlan
	Group  int        // interface group. Negative: the parent's.
	IPVLAN string     // bridge, private or vepa: its kind. If empty, a macvlan.
	Addr   netip.Addr // of an ipvlan that there is: the first. If zero, none.
}

// ipvlanKinds are keepalived's words for an ipvlan's flag.
var ipvlanKinds = map[string]netlink.IPVlanFlag{"bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE, "vepa": netlink.IPVLAN_FLAG_VEPA}

// same tells that both are the same interface, whatever its group and addresses.
func (v VMAC) same(o VMAC) bool {
	return v.Name == o.Name && v.Parent == o.Parent && v.MAC == o.MAC && v.IPVLAN == o.IPVLAN
}

// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local address is made of the MAC, as RFC 9568 §7.4
// has it.
const addrGenNone = 1

// VMACs lists the private macvlans and the ipvlans of mode L2 of this host whose parents are in its namespace too.
func VMACs() ([]VMAC, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var all []VMAC
	for _, l := range links {
		a := l.Attrs()
		v := VMAC{Name: a.Name, Parent: names[a.ParentIndex], Group: int(a.Group)}
		switch m := l.(type) {
		case *netlink.Macvlan:
			if m.Mode != netlink.MACVLAN_MODE_PRIVATE || len(a.HardwareAddr) != len(v.MAC) {
				continue
			}
			v.MAC = MAC(a.HardwareAddr)
		case *netlink.IPVlan:
			if m.Mode != netlink.IPVLAN_MODE_L2 {
				continue
			}
			v.IPVLAN, v.Addr = kindOf(m.Flag), firstAddress(a.Name)
		default:
			continue
		}
		if v.Parent != "" {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b VMAC) int { return linkIndex(links, a.Name) - linkIndex(links, b.Name) })
	return all, nil
}

func kindOf(flag netlink.IPVlanFlag) string {
	for kind, f := range ipvlanKinds {
		if f == flag {
			return kind
		}
	}
	return "bridge"
}

func firstAddress(name string) netip.Addr {
	if all, err := Addresses(name); err == nil && len(all) > 0 {
		return all[0].Prefix.Addr()
	}
	return netip.Addr{}
}

func linkIndex(links []netlink.Link, name string) int {
	return slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name })
}

// MakeVMAC makes the interface, switched off, and reports whether it was not there before. One of that name that is
// another macvlan or ipvlan is replaced. The vmac belongs to the VRF of its parent.
func MakeVMAC(v VMAC) (made bool, err error) {
	have, err := VMACs()
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(have, v.same) {
		return false, nil
	}
	parent, err := netlink.LinkByName(v.Parent)
	if err != nil {
		return false, fmt.Errorf("make interface %s on %s: %w", v.Name, v.Parent, err)
	}
	if old, err := netlink.LinkByName(v.Name); err == nil && (old.Type() == "macvlan" || old.Type() == "ipvlan") {
		if err := netlink.LinkDel(old); err != nil {
			return false, fmt.Errorf("replace interface %s: %w", v.Name, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = v.Name, parent.Attrs().Index
	attrs.Group = parent.Attrs().Group
	if v.Group >= 0 {
		attrs.Group = uint32(v.Group)
	}
	attrs.MasterIndex = vrfOf(parent)
	if v.IPVLAN != "" {
		if err := netlink.LinkAdd(&netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2, Flag: ipvlanKinds[v.IPVLAN]}); err != nil {
			return false, fmt.Errorf("make ipvlan %s on %s: %w", v.Name, v.Parent, err)
		}
		return true, nil
	}
	attrs.HardwareAddr = net.HardwareAddr(v.MAC[:])
	link := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}
	if err := netlink.LinkAdd(link); err != nil {
		return false, fmt.Errorf("make interface %s on %s: %w", v.Name, v.Parent, err)
	}
	// A kernel without IPv6 has no such mode.
	if err := netlink.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return true, fmt.Errorf("keep IPv6 from making an address on %s: %w", v.Name, err)
	}
	return true, nil
}

// vrfOf is the index of the VRF that a link is in, or 0.
func vrfOf(l netlink.Link) int {
	master, err := netlink.LinkByIndex(l.Attrs().MasterIndex)
	if err != nil || master.Type() != "vrf" {
		return 0
	}
	return master.Attrs().Index
}

// SwitchOn sets an interface up.
func SwitchOn(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("switch on %s: %w", name, err)
	}
	return nil
}

// RemoveVMAC removes a macvlan or an ipvlan. That it is not there is no error, and what is neither is left alone.
func RemoveVMAC(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Type() != "macvlan" && link.Type() != "ipvlan" {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
