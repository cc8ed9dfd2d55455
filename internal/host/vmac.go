package host

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VMAC is an interface that gives a virtual router a MAC address of its own: a macvlan of mode private upon another
// interface, so that it takes frames from a station that has the same address, the other director.
type VMAC struct {
	Name   string
	Parent string
	MAC    MAC
	Group  int // interface group. Negative: the parent's.
}

// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local address is made of the MAC, as RFC 9568 §7.4
// has it.
const addrGenNone = 1

// VMACs lists the private macvlans of this host whose parents are in its namespace too.
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
		if m, ok := l.(*netlink.Macvlan); ok && m.Mode == netlink.MACVLAN_MODE_PRIVATE && len(m.HardwareAddr) == len(MAC{}) && names[m.ParentIndex] != "" {
			all = append(all, VMAC{Name: m.Name, Parent: names[m.ParentIndex], MAC: MAC(m.HardwareAddr), Group: int(m.Group)})
		}
	}
	slices.SortFunc(all, func(a, b VMAC) int { return linkIndex(links, a.Name) - linkIndex(links, b.Name) })
	return all, nil
}

func linkIndex(links []netlink.Link, name string) int {
	return slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name })
}

// MakeVMAC makes the interface, switched off, and reports whether it was not there before. One of that name that is
// another macvlan is replaced. The vmac belongs to the VRF of its parent.
func MakeVMAC(v VMAC) (made bool, err error) {
	have, err := VMACs()
	if err != nil {
		return false, err
	}
	same := func(h VMAC) bool { return h.Name == v.Name && h.Parent == v.Parent && h.MAC == v.MAC }
	if slices.ContainsFunc(have, same) {
		return false, nil
	}
	parent, err := netlink.LinkByName(v.Parent)
	if err != nil {
		return false, fmt.Errorf("make interface %s on %s: %w", v.Name, v.Parent, err)
	}
	if old, err := netlink.LinkByName(v.Name); err == nil && old.Type() == "macvlan" {
		if err := netlink.LinkDel(old); err != nil {
			return false, fmt.Errorf("replace interface %s: %w", v.Name, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = v.Name, parent.Attrs().Index, net.HardwareAddr(v.MAC[:])
	attrs.Group = parent.Attrs().Group
	if v.Group >= 0 {
		attrs.Group = uint32(v.Group)
	}
	attrs.MasterIndex = vrfOf(parent)
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

// RemoveVMAC removes a macvlan. That it is not there is no error, and what is no macvlan is left alone.
func RemoveVMAC(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Type() != "macvlan" {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
