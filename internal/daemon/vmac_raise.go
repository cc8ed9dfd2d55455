package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// raised are the VMACs that stand, and what was changed for them.
type raised struct {
	vmacs   []vmac
	wanted  []vmac  // by the configuration that was read last
	tuned   []tuned // sysctls of others than the VMACs, in order
	noIGMP  bool    // disable_local_igmp
	settled bool    // the settings of the whole host are made
}

// tuned is a sysctl that was changed.
type tuned struct{ name, old, new string }

// planned is planVMACs with what the host has.
func (d *daemon) planned(cfg *conf.Config) ([]vmac, error) {
	uses := slices.ContainsFunc(cfg.Routers, func(r *conf.Instance) bool {
		of := func(a conf.Address) bool { return a.VMAC }
		return r.VMAC != nil || r.IPVLAN != nil || r.VMACAddr || slices.ContainsFunc(r.Addresses, of) || slices.ContainsFunc(r.ExcludedAddresses, of)
	})
	if !uses {
		return nil, nil
	}
	have, names, err := d.host.VMACs()
	if err != nil {
		return nil, fail(ExitFatal, "", "use_vmac: %w", err)
	}
	return planVMACs(cfg, have, names), nil
}

// raiseVMACs makes the interfaces of cfg, which its instances then stand on. Those of before stay until lowerVMACs.
func (d *daemon) raiseVMACs(cfg *conf.Config) error {
	d.raised.noIGMP = cfg.Global.NoLocalIGMP
	plan, err := d.planned(cfg)
	if err != nil {
		return err
	}
	d.raised.wanted = plan
	extraAnnouncements(cfg, plan)
	hint := func(v vmac) string {
		if v.IPVLAN != "" {
			return "an ipvlan needs a kernel with ipvlan (modprobe ipvlan), and a parent that carries no macvlan"
		}
		return "a VMAC needs an Ethernet interface and a kernel with macvlan (modprobe macvlan)"
	}
	for _, v := range plan {
		if err := d.raise(v); err != nil {
			return fail(ExitFatal, hint(v), "(%s) %w", v.instance, err)
		}
		i := slices.IndexFunc(d.raised.vmacs, func(o vmac) bool { return o.Name == v.Name })
		if i < 0 {
			d.raised.vmacs = append(d.raised.vmacs, v)
		} else {
			if old := d.raised.vmacs[i]; old.own.IsValid() && old.own != v.own {
				_ = d.host.DelAddress(host.Address{Prefix: old.own, Dev: v.Name}) // it is in nobody's way
			}
			d.raised.vmacs[i] = v
		}
	}
	d.noteVMACs()
	if len(plan) > 0 {
		d.quiet()
	}
	for _, v := range plan {
		if err := d.switchOn(v); err != nil {
			return fail(ExitFatal, hint(v), "(%s) %w", v.instance, err)
		}
	}
	return nil
}

// lowerVMACs removes those but keep, and with the last one gives back what was changed for them.
func (d *daemon) lowerVMACs(keep []vmac) {
	before := len(d.raised.vmacs)
	d.raised.vmacs = slices.DeleteFunc(d.raised.vmacs, func(v vmac) bool {
		if slices.ContainsFunc(keep, func(k vmac) bool { return k.Name == v.Name }) {
			return false
		}
		if err := d.host.RemoveVMAC(v.Name); err != nil {
			d.events.Error("("+v.instance+") "+err.Error(), "vi", v.instance, "if", v.Name)
		} else {
			d.events.Debug("("+v.instance+") Success removing "+v.called()+" interface "+v.Name, "vi", v.instance)
		}
		return true
	})
	d.noteVMACs()
	if before > 0 && len(d.raised.vmacs) < before {
		d.quiet()
	}
	if len(d.raised.vmacs) == 0 {
		d.giveBack()
	}
}

// giveBack makes the sysctls as they were, but those that somebody else has changed since.
//
// keepalived: it leaves arp_ignore and arp_filter of the parent.
func (d *daemon) giveBack() {
	for _, t := range slices.Backward(d.raised.tuned) {
		if now, err := d.host.Sysctl(t.name); err == nil && now == t.new {
			_, err = d.host.SetSysctl(t.name, t.old)
			d.saySysctl(err)
		}
	}
	d.raised.tuned, d.raised.settled = nil, false
}

// quiet keeps the VMACs' reports of group membership off the wire.
func (d *daemon) quiet() {
	parents := map[int]int{}
	for _, v := range d.raised.vmacs {
		if v.IPVLAN != "" {
			continue
		}
		link, err := d.host.Link(v.Name)
		parent, parentErr := d.host.Link(v.Parent)
		if err == nil && parentErr == nil {
			parents[link.Index] = parent.Index
		}
	}
	if err := d.host.Quiet(parents); err != nil {
		d.events.Warn("VMACs may be heard by switches while others are master: " + err.Error())
	}
}

// raise makes one interface, switched off, with what keepalived sets of it.
func (d *daemon) raise(v vmac) error {
	made, err := d.host.MakeVMAC(v.VMAC)
	if err != nil {
		return err
	}
	if made {
		d.events.Debug("("+v.instance+"): Success creating "+v.called()+" interface "+v.Name, "vi", v.instance)
	} else {
		d.events.Info("("+v.instance+") Found matching interface "+v.Name, "vi", v.instance)
	}
	off := "0"
	if v.noIPv6 {
		off = "1"
	}
	if _, err := d.host.SetSysctl("net/ipv6/conf/"+v.Name+"/disable_ipv6", off); err != nil && !v.noIPv6 {
		return fmt.Errorf("let IPv6 onto %s: %w", v.Name, err)
	}
	if !v.v6 && v.IPVLAN == "" {
		d.tuneVMAC(v)
	}
	return nil
}

// switchOn lets a VMAC take part, once it is quiet.
func (d *daemon) switchOn(v vmac) error {
	if err := d.host.SwitchOn(v.Name); err != nil {
		return err
	}
	switch {
	case v.own.IsValid():
		// keepalived: an IPv6 one is deprecated, as a virtual address that is its own network is.
		if err := d.host.AddAddress(host.Address{Prefix: v.own, Dev: v.Name, PreferredSet: v.v6}); err != nil {
			return fmt.Errorf("give %s its address: %w", v.Name, err)
		}
	case v.linkLocal:
		return d.addLinkLocal(v)
	}
	return nil
}

// tuneVMAC lets a station of IPv4 answer ARP for what stands on it alone, and take packets that other interfaces of
// this host would be expected to send.
func (d *daemon) tuneVMAC(v vmac) {
	d.settleHost()
	own := "net/ipv4/conf/" + v.Name + "/"
	for _, s := range [][2]string{{"arp_ignore", "1"}, {"accept_local", "1"}, {"rp_filter", "0"}, {"promote_secondaries", "1"}} {
		_, err := d.host.SetSysctl(own+s[0], s[1])
		d.saySysctl(err)
	}
	d.tuneOther("net/ipv4/conf/"+v.Parent+"/arp_ignore", "1")
	d.tuneOther("net/ipv4/conf/"+v.Parent+"/arp_filter", "1")
}

// tuneOther sets a sysctl that giveBack makes as it was.
func (d *daemon) tuneOther(name, value string) {
	old, err := d.host.SetSysctl(name, value)
	d.saySysctl(err)
	if err == nil && old != value {
		d.raised.tuned = append(d.raised.tuned, tuned{name, old, value})
	}
}

func (d *daemon) saySysctl(err error) {
	if err != nil {
		d.events.Warn("use_vmac: " + err.Error())
	}
}

// settleHost makes room for rp_filter 0 on a VMAC: the kernel takes the larger of an interface's and that of "all". The
// value of "all" moves to the interfaces, and to those that come, so that nothing else changes.
func (d *daemon) settleHost() {
	if d.raised.settled {
		return
	}
	d.raised.settled = true
	if d.raised.noIGMP {
		d.tuneOther("net/ipv4/igmp_link_local_mcast_reports", "0")
	}
	const conf, filter = "net/ipv4/conf/", "/rp_filter"
	all, err := d.host.Sysctl(conf + "all" + filter)
	if err != nil || all == "0" {
		return
	}
	_, names, err := d.host.VMACs()
	if err != nil {
		return
	}
	for _, name := range append([]string{"default"}, names...) {
		if slices.ContainsFunc(d.raised.vmacs, func(v vmac) bool { return v.Name == name }) {
			continue
		}
		if own, err := d.host.Sysctl(conf + name + filter); err == nil && own < all {
			d.tuneOther(conf+name+filter, all)
		}
	}
	d.events.Info("NOTICE: setting sysctl net.ipv4.conf.all.rp_filter from " + all + " to 0")
	d.tuneOther(conf+"all"+filter, "0")
}

// addLinkLocal gives a VMAC the address that IPv6 adverts leave from: the parent's, so that a director has one address
// whichever MAC it speaks with.
func (d *daemon) addLinkLocal(v vmac) error {
	addr := v.source
	if !addr.IsValid() {
		var err error
		if addr, err = d.host.Source(v.Parent, true, nil); err != nil {
			addr = linkLocalOf(d.host, v.Parent)
		}
	}
	a := host.Address{Prefix: netip.PrefixFrom(addr, 64), Dev: v.Name, PreferredSet: true}
	if err := d.host.AddAddress(a); err != nil {
		return fmt.Errorf("give %s a link-local address: %w", v.Name, err)
	}
	return nil
}

// linkLocalOf makes the address of an interface's MAC, RFC 4291 appendix A.
func linkLocalOf(h Host, dev string) netip.Addr {
	link, _ := h.Link(dev)
	m := link.MAC
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// called is how keepalived calls it.
func (v vmac) called() string {
	if v.IPVLAN != "" {
		return "ipvlan"
	}
	return "VMAC"
}
