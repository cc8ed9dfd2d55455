package conf

import (
	"fmt"

	"vipd/internal/vrrp"
)

// settle corrects settings of an instance that do not go together, in keepalived's order, and fills what the file
// leaves open. It gives false where keepalived stops.
func (l *loader) settle(v *instance) bool {
	g := &l.cfg.Global.VRRP
	v.Strict = first(g.Strict, v.strict)
	if v.V6 && v.Version == 2 && v.Strict {
		l.conflict(v, "cannot use IPv6 with VRRP version 2; setting version 3")
		v.Version = 3
	}
	if v.Version == 0 {
		v.Version = g.Version
		if v.V6 {
			v.Version = 3 // keepalived: IPv6 has no version 2
		}
	}
	l.settleUnicast(v)
	if !l.settleVIPs(v) {
		return false
	}
	l.settleState(v)
	l.settleAuth(v)
	l.settleHMAC(v)
	if !l.settleNet(v) {
		return false
	}
	l.settlePreempt(v)
	l.settleAdverts(v)
	l.settleInterval(v)
	if !l.settleAddresses(v) {
		return false
	}
	l.settleTracking(v)
	l.toVRRP(v)
	return true
}

func (l *loader) conflict(v *instance, text string) *Diagnostic {
	return l.after(Warning, "settings-conflict", v.place, "("+v.Name+") "+text)
}

func (l *loader) settleUnicast(v *instance) {
	v.CheckUnicastSrc = first(l.cfg.Global.VRRP.CheckUnicastSrc, v.checkSrc)
	v.TTL = -1
	if v.ttl != nil {
		v.TTL = *v.ttl
	} else if !v.V6 {
		v.TTL = 255
	}
}

func (l *loader) settleVIPs(v *instance) bool {
	if len(v.Addresses) > 0 {
		return true
	}
	if v.NoVIP && l.pass == passAll {
		return true
	}
	const hint = "add: virtual_ipaddress { ADDR }"
	if v.Version == 3 || v.Strict {
		l.after(Error, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is required").Hint = hint
		return false
	}
	l.after(Warning, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is sensible").Hint = hint
	return true
}

func (l *loader) settleState(v *instance) {
	if v.Priority == 0 {
		if v.Priority = 100; v.InitialMaster {
			v.Priority = 255
		}
	}
	if !v.InitialMaster && !v.backup && v.Priority == 255 {
		v.InitialMaster = true
	} else if v.Strict && (v.InitialMaster || v.backup) && v.InitialMaster != (v.Priority == 255) {
		l.conflict(v, "State MASTER must match being address owner")
		v.InitialMaster = v.Priority == 255
	}
}

func (l *loader) settleAuth(v *instance) {
	at := place{v.file, v.authAt}
	if v.authAt.Line == 0 {
		at = v.place
	}
	none := func(code, text string) {
		l.after(Warning, code, at, "("+v.Name+") "+text)
		v.AuthType = vrrp.AuthNone
	}
	switch {
	case v.AuthType == vrrp.AuthNone:
	case v.Strict:
		none("settings-conflict", "Strict mode does not support authentication. Ignoring.")
	case v.Version == 3:
		none("settings-conflict", "VRRP version 3 does not support authentication. Ignoring.")
	case v.AuthPass == "":
		none("no-auth-pass", "Authentication specified but no password given. Ignoring")
	case v.V6 && v.AuthType == vrrp.AuthAH:
		none("settings-conflict", "Cannot use AH authentication with IPv6. ignoring")
	case v.AuthType == vrrp.AuthAH && v.InitialMaster && v.Priority != 255:
		l.conflict(v, "Initial state master is incompatible with AH authentication - clearing")
		v.InitialMaster = false
	}
}

// settleNet looks at how adverts are sent.
func (l *loader) settleNet(v *instance) bool {
	host := Interface{}
	if v.Interface != "" && l.host != nil && l.host.Interfaces != nil {
		host, _ = l.host.Interfaces(v.Interface)
	}
	if v.unicastSet {
		switch {
		case len(v.Peers) > 0:
			v.Unicast = true
		case v.FaultNoPeer:
		default:
			l.after(Warning, "unicast-no-peers", v.place, "("+v.Name+") A unicast keyword has been specified without any unicast peers. Defaulting to multicast. This usage is deprecated - please update your configuration.").
				Hint = "add: unicast_peer { ADDR }"
		}
	}
	if v.Strict && v.VMAC != nil && v.VMAC.MAC != "" {
		l.after(Warning, "settings-conflict", v.place, "("+v.Name+"): cannot specify MAC address with strict mode - clearing")
		v.VMAC.MAC = ""
	}
	if host.NoMulticast && !v.Unicast {
		l.conflict(v, "interface "+v.Interface+" does not support multicast, specify unicast peers - disabling")
	}
	if v.V6 && !v.Unicast && len(v.Addresses) > 0 && !v.Addresses[0].Prefix.Addr().IsLinkLocalUnicast() && v.Strict {
		l.conflict(v, "the first IPv6 VIP address must be link local")
	}
	if v.VRF != "" && (v.Interface != "" || !v.Unicast) {
		l.conflict(v, "vrf can only be specified with"+map[bool]string{true: "out interface", false: " unicast"}[v.Interface != ""]+" - clearing")
		v.VRF = ""
	}
	mtu := host.MTU
	if mtu == 0 {
		mtu = 1500
	}
	head, each := 14+20+8, 4
	switch {
	case v.V6:
		head, each = 14+40+8, 16
	case v.Version == 2 && v.AuthType == vrrp.AuthAH:
		head += 8 + 24
	case v.Version == 2:
		head += 8
	}
	if v.HMAC.On() && v.HMAC.Mode != vrrp.HMACReceiveOnly {
		head += 28
	}
	if most := min(255, (mtu-head)/each); len(v.Addresses) > most {
		l.conflict(v, fmt.Sprintf("Number of VIPs (%d) exceeds maximum/space available in packet (max %d addresses) - excess moved to eVIPs", len(v.Addresses), most))
		v.ExcludedAddresses = append(v.ExcludedAddresses, v.Addresses[most:]...)
		v.Addresses = v.Addresses[:most]
	}
	return true
}

func (l *loader) settlePreempt(v *instance) {
	const hint = "state MASTER without a priority means priority 255"
	if v.Priority == 255 && v.NoPreempt {
		l.conflict(v, "nopreempt is incompatible with priority 255. resetting nopreempt").Hint = hint
		v.NoPreempt = false
	}
	if v.InitialMaster {
		if v.NoPreempt {
			l.conflict(v, "Warning - nopreempt will not work with initial state MASTER - clearing").Hint = hint
			v.NoPreempt = false
		}
		if v.PreemptDelay != 0 {
			l.conflict(v, "Warning - preempt delay will not work with initial state MASTER - clearing").Hint = hint
			v.PreemptDelay = 0
		}
	}
	if v.PreemptDelay != 0 {
		if v.Strict {
			l.conflict(v, "preempt_delay is incompatible with strict mode - resetting")
		}
		if v.NoPreempt {
			l.conflict(v, "preempt_delay is incompatible with nopreempt mode - resetting")
		}
		if v.Strict || v.NoPreempt {
			v.PreemptDelay = 0
		}
	}
	if v.DownTimerAdverts = l.cfg.Global.VRRP.DownTimerAdverts; v.downAdverts != nil {
		v.DownTimerAdverts = *v.downAdverts
	}
	if v.DownTimerAdverts != 3 && v.Strict {
		l.conflict(v, "down_timer_adverts is incompatible with strict mode - resetting")
		v.DownTimerAdverts = 3
	}
	v.Accept = first(v.Priority == 255 || !v.Strict, v.accept)
	if v.Accept && v.Priority != 255 && v.Strict && v.Version == 2 {
		l.conflict(v, "warning - accept mode for VRRP version 2 does not comply with RFC3768 - resetting")
		v.Accept = false
	}
}
