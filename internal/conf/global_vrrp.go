package conf

import (
	"net/netip"
	"strings"
	"time"
)

// interval reads the pacing of announcements. 0, which many files have, is out of range for keepalived too.
func interval(at func(g *GlobalVRRP) *time.Duration) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.decimal(s, 1, 1, micros32, s.text(0)+" '{value}' is invalid")
		if !ok {
			if d := l.diags.list[len(l.diags.list)-1]; s.text(1) == "0" {
				d.Hint = "leave the line out: announcements are not spaced by default"
			}
			return
		}
		*at(&l.cfg.Global.VRRP) = v
	}
}

// setMcastGroup reads vrrp_mcast_group4 and vrrp_mcast_group6.
func setMcastGroup(v6 bool, at func(g *GlobalVRRP) *netip.Addr) setter {
	return func(l *loader, s *stmt) {
		name := s.text(0)
		a, ok := plain(s.text(1))
		switch {
		case !ok:
			l.bad(s, 1, "Can't parse %s [%s]. Skipping", name, s.text(1))
		case a.Is6() != v6:
			l.bad(s, 1, "%s [%s] is not IPv%s. Skipping", name, s.text(1), map[bool]string{true: "6", false: "4"}[v6])
		case !a.IsMulticast():
			l.bad(s, 1, "%s [%s] is not multicast. Skipping", name, s.text(1))
		default:
			if v6 && !a.IsLinkLocalMulticast() {
				l.bad(s, 1, "%s [%s] should be link-local multicast.", name, s.text(1))
			}
			*at(&l.cfg.Global.VRRP) = a
		}
	}
}

func setMinGarp(l *loader, s *stmt) {
	on := true
	if len(s.words) > 1 {
		var ok bool
		if on, ok = l.yes(s, "Invalid value for vrrp_min_garp specified"); !ok {
			return
		}
	}
	// keepalived: the word alone does nothing in 2.2.7, a defect.
	if g := &l.cfg.Global.VRRP.Garp; on && (l.pass == passAll || len(s.words) > 1) {
		if g.Repeat == 5 {
			g.Repeat = 1
		}
		if g.Delay == 5*time.Second {
			g.Delay = 0
		}
		if g.RefreshRepeat == 1 {
			g.RefreshRepeat = 0
		}
	}
}

// setGlobalExtraIf reads [all] SECS.
func setGlobalExtraIf(l *loader, s *stmt) {
	g, name := &l.cfg.Global.VRRP, s.text(0)
	if name == "vrrp_vmac_garp_intvl" {
		l.warn(s.words[0], "deprecated", `Keyword "vrrp_vmac_garp_intvl" is deprecated - please use "vrrp_garp_extra_if"`)
	}
	set := false
	for i := 1; i < len(s.words); i++ {
		if s.text(i) == "all" {
			g.ExtraAll = true
			continue
		}
		n, ok := l.integer(s, i, 1, 86400, name+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		g.ExtraIf, set = time.Duration(n)*time.Second, true
	}
	if !set {
		l.warn(s.words[0], "bad-value", name+" specified without time - ignoring")
	}
}

func setDynamic(l *loader, s *stmt) {
	g := &l.cfg.Global
	g.DynamicInterfaces = true
	if len(s.words) > 1 {
		if g.AllowIfChanges = s.text(1) == "allow_if_changes"; !g.AllowIfChanges {
			l.bad(s, 1, "Unknown dynamic_interfaces option '%s'", s.text(1)).Expected = "allow_if_changes, or nothing"
		}
	}
}

func setRxPolicy(l *loader, s *stmt) {
	g := &l.cfg.Global.VRRP
	mtu, advert, size := false, false, false
	for i := 1; i < len(s.words); i++ {
		switch strings.ToUpper(s.text(i)) {
		case "MTU":
			mtu = true
		case "ADVERT":
			advert = true
		default: // keepalived: it looks at the first word again
			if v, ok := l.integer(s, 1, 0, 1<<32-1, "Invalid vrrp_rx_bufs_policy "+s.text(i)); ok {
				g.RxSize, size = uint32(v), true
			}
		}
	}
	switch {
	case size && (mtu || advert):
		l.warn(s.words[0], "settings-conflict", "Cannot set vrrp_rx_bufs_policy size and policy, ignoring policy")
	case mtu && advert:
		l.warn(s.words[0], "settings-conflict", "Cannot set both vrrp_rx_bufs_policy MTU and ADVERT, ignoring ADVERT")
		g.RxPolicy = "MTU"
	case mtu:
		g.RxPolicy = "MTU"
	case advert:
		g.RxPolicy = "ADVERT"
	}
}

func setRxMultiplier(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.words[0], "extra-words", "Invalid vrrp_rx_bufs_multiplier")
		return
	}
	if v, ok := l.integer(s, 1, 1, 1<<32-1, "Invalid vrrp_rx_bufs_multiplier {value}"); ok {
		l.cfg.Global.VRRP.RxMultiplier = uint32(v)
	}
}

// setTable reads nftables and nftables_ipvs.
func setTable(prefix, def string, at func(g *GlobalVRRP) *string) setter {
	return func(l *loader, s *stmt) {
		p := at(&l.cfg.Global.VRRP)
		switch {
		case *p != "":
			l.warn(s.words[0], "repeated", prefix+"nftables already specified - ignoring")
		case len(s.words) < 2:
			*p = def
		case len(s.text(1)) >= 256:
			l.bad(s, 1, "%snftables table name too long - ignoring", prefix)
		default:
			*p = s.text(1)
		}
	}
}

func setIptables(l *loader, s *stmt) {
	g := &l.cfg.Global.VRRP
	l.warn(s.words[0], "iptables", "iptables not supported, using nftables instead. Please replace 'vrrp_iptables and 'vrrp_ipsets' with 'nftables' config option")
	g.IptablesAskedFor = true
	if g.Table == "" {
		g.Table = "keepalived"
	}
}

func setIpsets(l *loader, s *stmt) {
	l.own(s.words[0], "iptables", "vrrp_ipsets is accepted without effect: nftables is used")
}
