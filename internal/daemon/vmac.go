package daemon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// vmac is an interface that an instance makes for itself: use_vmac, or use_ipvlan.
type vmac struct {
	host.VMAC
	instance  string
	v6        bool         // whose MAC address it has, that of IPv6
	noIPv6    bool         // nothing of IPv6 is on it
	linkLocal bool         // IPv6 adverts leave from it: it needs a link-local address
	source    netip.Addr   // to be that address. If zero, the parent's is.
	own       netip.Prefix // of an ipvlan: its own address. If zero, none.
}

// vmacPlanner gives instances their interfaces, as keepalived names them.
type vmacPlanner struct {
	have  []host.VMAC     // private macvlans and ipvlans that there are
	taken map[string]bool // names of interfaces that there are
	vmacs []vmac
}

// planVMACs finds the interfaces that cfg needs beside those of the host, and lets its instances stand on them: adverts
// leave by them, and addresses that have no other interface are theirs. A file without use_vmac is as it was.
func planVMACs(cfg *conf.Config, have []host.VMAC, names []string) []vmac {
	p := &vmacPlanner{have: have, taken: map[string]bool{}}
	for _, n := range names {
		p.taken[n] = true
	}
	global := &cfg.Global.VRRP
	first := "vrrp"
	if global.VMACPrefix != "" {
		first = global.VMACPrefix
	}
	extra := first
	if global.VMACAddrPrefix != "" {
		extra = global.VMACAddrPrefix
	}
	for i := range cfg.Instances {
		if r := routerNamed(cfg, cfg.Instances[i].Name); r != nil {
			p.instance(&cfg.Instances[i], r, first, extra)
		}
	}
	return p.vmacs
}

// extraAnnouncements are those of garp_extra_if: for one address on each interface that sends no adverts, be it VMACs or,
// with all, any.
func extraAnnouncements(cfg *conf.Config, vmacs []vmac) {
	for i := range cfg.Instances {
		c := &cfg.Instances[i]
		r := routerNamed(cfg, c.Name)
		if r == nil {
			continue
		}
		c.GarpExtra, c.GarpExtraTo = r.ExtraIf, nil
		said := []string{cmp.Or(c.Wire, c.Interface), ""}
		for _, a := range slices.Concat(c.VIPs, c.Excluded) {
			ours := slices.ContainsFunc(vmacs, func(v vmac) bool { return v.Name == a.Dev })
			if (ours || r.ExtraAll) && !slices.Contains(said, a.Dev) {
				said = append(said, a.Dev)
				c.GarpExtraTo = append(c.GarpExtraTo, vrrp.Target{Dev: a.Dev, Addr: a.Prefix.Addr()})
			}
		}
	}
}

func routerNamed(cfg *conf.Config, name string) *conf.Instance {
	i := slices.IndexFunc(cfg.Routers, func(r *conf.Instance) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return cfg.Routers[i]
}

// instance plans for one. Its own addresses on its own interface move to the VMAC; those elsewhere, or of the other
// family, do so only where use_vmac stands beside them or use_vmac_addr in the instance.
func (p *vmacPlanner) instance(c *vrrp.Config, r *conf.Instance, first, extra string) {
	own := ""
	switch {
	case c.Interface == "":
	case r.IPVLAN != nil:
		own = p.ipvlan(c, r.IPVLAN, r.VMAC, first).Name
		c.Wire = own
		if c.V6 && !r.IPVLAN.Addr.IsValid() {
			c.SourceOn = own
		}
		c.Own, own = own, "" // keepalived: the addresses stay where they would be without it
	case r.VMAC != nil:
		v := p.device(c, r, c.Interface, c.V6, r.VMAC.Name, first)
		v.linkLocal, v.source = c.V6 && !r.XmitBase, c.Source
		v.noIPv6 = withoutIPv6(c)
		own = v.Name
		if !r.XmitBase {
			c.Wire = own
		}
	}
	if own != "" {
		c.Own = own
	}
	c.VIPs = p.addresses(c, r, c.VIPs, r.Addresses, own, extra)
	c.Excluded = p.addresses(c, r, c.Excluded, r.ExcludedAddresses, own, extra)
}

// withoutIPv6 tells that nothing of IPv6 is to be on the interface of an instance's own.
func withoutIPv6(c *vrrp.Config) bool {
	return !c.V6 && !slices.ContainsFunc(c.Excluded, func(a vrrp.Address) bool { return a.Prefix.Addr().Is6() })
}

// ipvlan is the one of use_ipvlan: one that the host has, of the same kind and address, or a new one.
//
// keepalived: for IPv6 without an address and a name it never takes one that there is.
func (p *vmacPlanner) ipvlan(c *vrrp.Config, u *conf.IPVLAN, group *conf.VMAC, prefix string) *vmac {
	v := vmac{VMAC: host.VMAC{Name: u.Name, Parent: c.Interface, Group: groupOf(group), IPVLAN: cmp.Or(u.Kind, "bridge")}, instance: c.Name, v6: c.V6,
		noIPv6: withoutIPv6(c), own: u.Addr}
	found := func(o host.VMAC) bool {
		named, addressed := u.Name != "", u.Addr.IsValid()
		return o.Parent == v.Parent && o.IPVLAN == v.IPVLAN && (named || addressed) && (!named || o.Name == u.Name) && (!addressed || o.Addr == u.Addr.Addr())
	}
	if i := slices.IndexFunc(p.have, found); i >= 0 {
		v.Name = p.have[i].Name
	}
	if v.Name == "" {
		v.Name = p.free(prefix, c.VRID, c.V6)
	}
	p.taken[v.Name] = true
	p.vmacs = append(p.vmacs, v)
	return &p.vmacs[len(p.vmacs)-1]
}

// groupOf is the interface group that use_vmac and use_ipvlan may name. Negative: none.
func groupOf(u *conf.VMAC) int {
	if u != nil && u.Group != "" {
		if n, err := strconv.ParseUint(u.Group, 0, 31); err == nil {
			return int(n)
		}
	}
	return -1
}

func (p *vmacPlanner) addresses(c *vrrp.Config, r *conf.Instance, list []vrrp.Address, lines []conf.Address, own, extra string) []vrrp.Address {
	list = slices.Clone(list)
	for i := range list {
		a := &list[i]
		v6 := a.Prefix.Addr().Is6()
		line := slices.IndexFunc(lines, func(l conf.Address) bool { return l.Address == *a })
		asked := line >= 0 && lines[line].VMAC
		here := a.Dev == "" || a.Dev == c.Interface
		switch {
		case here && own != "" && v6 == c.V6:
			a.Dev = own
		case asked, r.VMACAddr && (!here || v6 != c.V6):
			parent := a.Dev
			if parent == "" {
				parent = c.Interface
			}
			v := p.device(c, r, parent, v6, "", extra)
			v.linkLocal = v6
			v.noIPv6 = !v6
			a.Dev = v.Name
		}
	}
	return list
}

// device is the VMAC of a virtual router upon an interface: the one that is planned already, one that the host has, or a
// new one.
func (p *vmacPlanner) device(c *vrrp.Config, r *conf.Instance, parent string, v6 bool, name, prefix string) *vmac {
	v := vmac{VMAC: host.VMAC{Name: name, Parent: parent, MAC: virtualMAC(r.VMAC, c.VRID, v6), Group: groupOf(r.VMAC)}, instance: c.Name, v6: v6}
	if i := slices.IndexFunc(p.vmacs, func(o vmac) bool { return o.Parent == parent && o.MAC == v.MAC && o.IPVLAN == "" }); i >= 0 && (name == "" || p.vmacs[i].Name == name) {
		return &p.vmacs[i]
	}
	if i := slices.IndexFunc(p.have, func(o host.VMAC) bool { return o.Parent == parent && o.MAC == v.MAC && o.IPVLAN == "" }); i >= 0 {
		v.Name = p.have[i].Name
	}
	if v.Name == "" {
		v.Name = p.free(prefix, c.VRID, v6)
	}
	p.taken[v.Name] = true
	p.vmacs = append(p.vmacs, v)
	return &p.vmacs[len(p.vmacs)-1]
}

// maxName is the longest name of an interface, IFNAMSIZ without its terminator.
const maxName = 15

// free is a name that nobody has: vrrp.51, then for IPv6 vrrp6.51, then vrrp1.51 and so on.
func (p *vmacPlanner) free(prefix string, vrid uint8, v6 bool) string {
	for n := -1; ; n++ {
		number := ""
		switch {
		case n == 0 && v6:
			number = "6"
		case n == 0 || n == 6 && v6:
			continue
		case n > 0:
			number = strconv.Itoa(n)
		}
		tail := fmt.Sprintf("%s.%d", number, vrid)
		if name := prefix[:min(len(prefix), maxName-len(tail))] + tail; !p.taken[name] {
			return name
		}
	}
}

// virtualMAC is the address that use_vmac asks for, and otherwise RFC 9568 §7.3's: "00-00-5E-00-01-{VRID}" for IPv4,
// "00-00-5E-00-02-{VRID}" for IPv6.
func virtualMAC(u *conf.VMAC, vrid uint8, v6 bool) host.MAC {
	mac := host.MAC{0x00, 0x00, 0x5e, 0x00, 0x01, vrid}
	if v6 {
		mac[4] = 0x02
	}
	if u == nil || u.MAC == "" {
		return mac
	}
	octets := strings.Split(strings.TrimSuffix(u.MAC, ":"), ":")
	for i, o := range octets[:min(len(octets), len(mac))] {
		n, _ := strconv.ParseUint(o, 16, 8) // the loader has looked at it
		mac[i] = byte(n)
	}
	return mac
}
