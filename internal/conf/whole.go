package conf

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/vrrp"
)

// This file has the checks that need the whole file. keepalived makes them after the parse and prints them without file
// and line; here they stand at the head of the block.

// after reports something about a block that was read before.
func (l *loader) after(sev Severity, code string, p place, text string) *Diagnostic {
	d := l.diags.add(sev, code, p.file, p.tok, text)
	d.Bare, d.said = true, ""
	return d
}

// complete makes the checks over the whole file and fills the Config.
func (l *loader) complete() {
	l.at = nil
	if l.pass == passAll || l.pass == passChecker {
		l.completeServices()
	}
	if l.pass == passAll || l.pass == passVRRP {
		l.completeVRRP()
	}
}

// completeVRRP settles instances and groups. It stops where keepalived does, except when everything is read at once.
func (l *loader) completeVRRP() {
	if l.missingIf {
		l.after(Error, "no-such-interface", place{}, "Non-existent interface specified in configuration").class = classFatal
		return
	}
	for _, f := range l.files {
		l.cfg.TrackFiles = append(l.cfg.TrackFiles, f.TrackFile)
	}
	l.vrrpScripts()
	usable := map[*instance]bool{}
	for _, v := range l.vis {
		if usable[v] = l.required(v); !usable[v] && l.pass != passAll {
			return
		}
	}
	l.completeGroups()
	for _, v := range l.vis {
		if !usable[v] {
			continue
		}
		if usable[v] = l.settle(v); !usable[v] && l.pass != passAll {
			return
		}
	}
	if l.sharedVRIDs(usable) {
		return
	}
	l.groupTracking()
	for _, v := range l.vis {
		if usable[v] {
			l.cfg.Instances = append(l.cfg.Instances, v.Config)
			l.cfg.Routers = append(l.cfg.Routers, &v.Instance)
		}
	}
}

// required reports what an instance cannot be without. One report is enough: keepalived stops at the first.
func (l *loader) required(v *instance) bool {
	switch {
	case v.VRID == 0:
		l.after(Error, "no-vrid", v.place, "("+v.Name+") the virtual router id must be set").
			Hint = "add: virtual_router_id N, 1..255, the same on all routers of this instance"
		return false
	case v.Interface == "" && v.pass(l):
		l.after(Error, "no-interface", v.place, "("+v.Name+") Unknown interface!").Hint = "add: interface IF, the one that adverts use"
		return false
	}
	return true
}

// pass tells whether an instance without an interface is refused.
// keepalived: 2.2.7 asks before it knows that there are peers, so it refuses unicast without an interface too.
func (v *instance) pass(l *loader) bool {
	return l.pass != passAll || len(v.Peers) == 0 || !v.SourceSet
}

// sharedVRIDs reports instances that would hear each other. In one reading of everything the second one is left out.
func (l *loader) sharedVRIDs(usable map[*instance]bool) bool {
	found := false
	near := map[vridKey][]*instance{} // few of many can hear each other at all
	for _, v := range l.vis {
		near[v.vridKey()] = append(near[v.vridKey()], v)
	}
	for _, v := range l.vis {
		key := v.vridKey()
		near[key] = near[key][1:] // v itself
		for _, o := range near[key] {
			if !usable[v] || !usable[o] || v.Unicast && !v.samePeers(o) {
				continue
			}
			text := fmt.Sprintf("(%s) duplicate VRID conflict with %s VRID %d", v.Name, o.Name, v.VRID)
			if !v.Unicast {
				text = fmt.Sprintf("%s and %s both use VRID %s", v.Name, o.Name, v.onKey())
			}
			// keepalived refuses to start with this.
			d := l.after(Error, "duplicate-vrid", o.place, text)
			d.Hint = fmt.Sprintf("give one of them another virtual_router_id, 1..255; %s is at line %d", v.Name, v.tok.Line)
			if found = l.pass != passAll; !found {
				usable[o] = false
			}
		}
	}
	return found
}

// vridKey is what instances have in common that hear each other, with unicast if they have a peer in common too.
type vridKey struct {
	vrid     uint8
	v6       bool
	unicast  bool
	on       string
	mcastDst netip.Addr
}

func (v *instance) vridKey() vridKey {
	k := vridKey{vrid: v.VRID, v6: v.V6, unicast: v.Unicast}
	if !v.Unicast {
		k.on, k.mcastDst = v.Interface, v.McastDst
	}
	return k
}

// samePeers tells unicast instances that share interface, source and a peer.
func (v *instance) samePeers(o *instance) bool {
	if v.Interface != "" && o.Interface != "" && v.Interface != o.Interface || v.SourceSet && o.SourceSet && v.Source != o.Source {
		return false
	}
	for _, p := range v.Peers {
		for _, q := range o.Peers {
			if p.Addr == q.Addr {
				return true
			}
		}
	}
	return false
}

// groupAt is a sync group while it is read.
type groupAt struct {
	SyncGroup
	place
	smtp    *bool
	listed  bool
	members []*instance
}

func beginGroup(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.arg(2), "extra-words", "vrrp_sync_group must have a name - skipping")
		l.skip = true
		return
	}
	for _, g := range l.groups {
		if g.Name == s.text(1) {
			l.bad(s, 1, "vrrp sync group %s already defined", g.Name)
			l.skip = true
			return
		}
	}
	l.group = &groupAt{SyncGroup: SyncGroup{Name: s.text(1)}, place: place{s.file, s.arg(1)}}
	l.groups = append(l.groups, l.group)
}

func endGroup(l *loader) { l.group = nil }

func beginMembers(l *loader, s *stmt) {
	if l.group.listed {
		l.warn(s.words[0], "repeated", "Group list already specified for sync group "+l.group.Name)
		l.skip = true
	}
}

func addMember(l *loader, s *stmt) {
	l.group.listed = true
	for i := range s.words {
		l.group.Instances = append(l.group.Instances, s.text(i))
	}
}

func endMembers(l *loader) {
	if !l.group.listed {
		l.warn(l.at.words[0], "empty-block", "Warning - sync group "+l.group.Name+" has empty group block")
	}
}

// completeGroups drops members that do not exist and keeps the rest.
func (l *loader) completeGroups() {
	in := map[string]*instance{}
	for _, v := range l.vis {
		in[v.Name] = v
	}
	taken := map[string]bool{}
	for _, g := range l.groups {
		say := func(code, text string) *Diagnostic { return l.after(Warning, code, g.place, text) }
		if !g.listed {
			say("small-group", "Sync group "+g.Name+" has no virtual router(s). removing")
			continue
		}
		var kept []string
		owners := 0 // 1: all so far own their addresses; 2: one does not
		for _, m := range g.Instances {
			v := in[m]
			switch {
			case v == nil:
				say("no-such-instance", fmt.Sprintf("Virtual router %s specified in sync group %s doesn't exist - ignoring", m, g.Name)).
					Hint = "the instances are " + strings.Join(l.instanceNames(), ", ")
				continue
			case taken[m]:
				say("two-groups", fmt.Sprintf("Virtual router %s cannot exist in more than one sync group; ignoring %s", m, g.Name))
				continue
			}
			taken[m], kept = true, append(kept, m)
			g.members = append(g.members, v)
			if owners == 1 && v.backup {
				say("settings-conflict", fmt.Sprintf("Sync group %s has some member(s) as address owner and some not as address owner. This won't work.", g.Name))
			}
			if owners != 2 {
				if owners = 2; v.InitialMaster && v.Priority == 255 {
					owners = 1
				}
			}
		}
		g.Instances = kept
		switch len(kept) {
		case 0:
			say("small-group", "Sync group "+g.Name+", no matching virtual router found in group declaration - removing")
			continue
		case 1:
			say("small-group", "Sync group "+g.Name+" has only 1 virtual router(s) - this probably isn't what you want")
		}
		g.SMTPAlert = l.alert(g.smtp, l.cfg.Global.SMTPAlertVRRP, false)
		for _, v := range g.members {
			v.sync = g
		}
		l.cfg.SyncGroups = append(l.cfg.SyncGroups, g.SyncGroup)
	}
}

func (l *loader) instanceNames() []string {
	var out []string
	for _, v := range l.vis {
		out = append(out, v.Name)
	}
	return out
}

// groupTracking clears weights in groups that own addresses.
func (l *loader) groupTracking() {
	for _, g := range l.groups {
		owner := false
		for _, v := range g.members {
			owner = owner || v.Priority == 255
		}
		if !owner {
			l.trackedTwice(g)
			continue
		}
		for _, k := range []struct {
			what, end string
			list      []Tracked
		}{{"script", "clearing weight", g.Track.Scripts}, {"file", "setting weight 0", g.Track.Files}, {"process", "setting weight 0", g.Track.Processes},
			{"bfd", "setting weight 0", g.Track.BFDs}, {"interface", "clearing weight", g.Track.Interfaces}} {
			for i := range k.list {
				if k.list[i].Weight != 0 {
					l.after(Warning, "weight-of-owner", g.place, fmt.Sprintf("(%s) Cannot have weighted track %s '%s' with member having priority 255 - %s", g.Name, k.what, k.list[i].Name, k.end))
					k.list[i].Weight = 0
				}
			}
		}
		l.trackedTwice(g)
	}
}

// trackedTwice reports interfaces that a group and one of its members both track; a member always tracks its own.
func (l *loader) trackedTwice(g *groupAt) {
	for _, t := range g.Track.Interfaces {
		for _, v := range g.members {
			twice := v.Interface == t.Name && !v.DontTrackOwn
			for _, o := range v.Track.Interfaces {
				twice = twice || o.Name == t.Name
			}
			if twice {
				l.after(Warning, "tracked-twice", g.place, fmt.Sprintf(
					"(%s) track_interface %s is configured on VRRP instance and sync group. Remove vrrp instance or sync group config", v.Name, t.Name))
			}
		}
	}
}

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

// settleAdverts settles announcements and answers.
func (l *loader) settleAdverts(v *instance) {
	g := &l.cfg.Global.VRRP
	switch {
	case !v.Unicast && !v.McastDst.IsValid():
		if v.McastDst = g.Group4; v.V6 {
			v.McastDst = g.Group6
		}
	case v.Unicast && v.McastDst.IsValid():
		l.conflict(v, "multicast destination specified with unicast - ignoring")
		v.McastDst = noAddress
	}
	l.settleGarp(v)
	v.LowerPrioNoAdvert = first(g.LowerPrioNoAdvert || v.Strict, v.lowerNoAdvert)
	if v.Strict && !v.LowerPrioNoAdvert {
		l.conflict(v, "Strict mode requires no lower priority advert. resetting")
		v.LowerPrioNoAdvert = true
	}
	v.HigherPrioSendAdv = first(g.HigherPrioSend && !v.Strict, v.higherSendAdvert)
	if v.Strict && v.HigherPrioSendAdv {
		l.conflict(v, "strict mode requires higher_prio_send_advert to be clear. resetting")
		v.HigherPrioSendAdv = false
	}
	v.SMTPAlert = l.alert(v.smtp, l.cfg.Global.SMTPAlertVRRP, false)
	if v.Notify.PriorityChanges == nil {
		on := l.cfg.Global.Scripts.PriorityChanges
		if v.sync != nil && v.sync.Notify.PriorityChanges != nil {
			on = *v.sync.Notify.PriorityChanges
		}
		v.Notify.PriorityChanges = &on
	}
	v.SkipCheckAdvAddr = v.SkipCheckAdvAddr || g.SkipCheckAdvAddr
	v.OwnerIgnores = first(g.OwnerIgnores, v.owner)
	v.V3ChecksumAsV2 = first(g.V3ChecksumAsV2, v.v3sum)
}

func (l *loader) settleGarp(v *instance) {
	g := l.cfg.Global.VRRP.Garp
	out := Garp{Delay: g.Delay, Repeat: g.Repeat, Refresh: g.Refresh, RefreshRepeat: g.RefreshRepeat, LowerDelay: g.Delay, LowerRepeat: int64(g.Repeat)}
	if g.LowerDelay >= 0 {
		out.LowerDelay = g.LowerDelay
	}
	if g.LowerRepeat >= 0 {
		out.LowerRepeat = g.LowerRepeat
	}
	for _, d := range []struct{ own, to *time.Duration }{{v.delay, &out.Delay}, {v.refresh, &out.Refresh}} {
		if d.own != nil {
			*d.to = *d.own
		}
	}
	for _, n := range []struct{ own, to *uint32 }{{v.repeat, &out.Repeat}, {v.refreshRepeat, &out.RefreshRepeat}} {
		if n.own != nil {
			*n.to = *n.own
		}
	}
	if v.Strict {
		out.LowerDelay, out.LowerRepeat = 0, 0
	}
	if v.lowerRepeat != nil {
		if out.LowerRepeat = int64(*v.lowerRepeat); v.Strict && out.LowerRepeat != 0 {
			l.conflict(v, "Strict mode requires no repeat garps. resetting")
			out.LowerRepeat = 0
		}
	}
	if v.lowerDelay != nil {
		if out.LowerDelay = *v.lowerDelay; v.Strict && out.LowerDelay != 0 {
			l.conflict(v, "Strict mode requires no repeat garp delay. resetting")
			out.LowerDelay = 0
		}
	}
	v.Garp = out
	if v.ExtraIf = l.cfg.Global.VRRP.ExtraIf; v.extra != nil {
		v.ExtraIf = *v.extra
	} else {
		v.ExtraAll = v.ExtraAll || l.cfg.Global.VRRP.ExtraAll
	}
}

// settleInterval rounds the advert interval to what the version can carry.
func (l *loader) settleInterval(v *instance) {
	if v.AdvertInt == 0 {
		v.AdvertInt = time.Second
	}
	unit, most := time.Second, 255*time.Second
	if v.Version == 3 {
		unit, most = 10*time.Millisecond, 40950*time.Millisecond
	}
	switch {
	case v.Version == 3 && v.AdvertInt >= most+unit:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv3 advertisement interval %.2fs is out of range. Must be less than 40.96s. Setting to 40.95s",
			v.Name, v.AdvertInt.Seconds()))
		v.AdvertInt = most
	case v.AdvertInt%unit != 0 && v.Version == 2:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv2 advertisement interval %.6fs must be an integer. rounding",
			v.Name, v.AdvertInt.Seconds())).Hint = "version 2 carries whole seconds"
	case v.AdvertInt%unit != 0:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv3 advertisement interval %.6fs must be in units of 10ms - rounding",
			v.Name, v.AdvertInt.Seconds()))
	}
	v.AdvertInt = max(unit, (v.AdvertInt+unit/2)/unit*unit)
	v.TrackSource = v.TrackSource && v.SourceSet
}

// settleAddresses looks at interfaces and addresses.
func (l *loader) settleAddresses(v *instance) bool {
	if v.VMAC != nil && v.Strict && v.XmitBase {
		l.conflict(v, "xmit_base is incompatible with strict mode - resetting")
		v.XmitBase = false
	}
	if v.PromoteSecondaries && (v.VMAC != nil || v.IPVLAN != nil) {
		l.conflict(v, "promote_secondaries is automatically set for vmacs - ignoring")
		v.PromoteSecondaries = false
	}
	if p := v.IPVLAN; p != nil {
		switch {
		case !v.V6 && !p.Addr.IsValid():
			l.conflict(v, "IPv4 ipvlan requires a source ip address to be configured. setting instance to fault state")
		case p.Addr.IsValid() && p.Addr.Addr().Is6() != v.V6:
			l.conflict(v, "IPv4 ipvlan address family does not match instance. setting instance to fault state")
		}
	}
	kept := v.Track.Interfaces[:0]
	for _, t := range v.Track.Interfaces {
		if t.Name == v.Interface {
			l.after(Warning, "own-interface", v.trackedAt[t.Name], fmt.Sprintf("(%s) Ignoring track_interface %s since own interface", v.Name, v.Interface)).
				Hint = "an instance always tracks its own interface"
			continue
		}
		kept = append(kept, t)
	}
	v.Track.Interfaces = kept
	if v.XmitBase && v.VMAC == nil {
		l.conflict(v, "vmac_xmit_base is only valid with a vmac")
		v.XmitBase = false
	}
	l.addressVMACs(v)
	if len(v.Addresses) == 0 && !(v.NoVIP && l.pass == passAll) {
		if v.V6 {
			l.after(Error, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is required").Hint = "add: virtual_ipaddress { ADDR }"
			return false
		}
		if l.pass != passAll {
			l.after(Warning, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is sensible")
		}
	}
	return true
}

// addressVMACs looks at use_vmac of addresses.
func (l *loader) addressVMACs(v *instance) {
	for _, list := range [][]Address{v.Addresses, v.ExcludedAddresses} {
		for i := range list {
			a := &list[i]
			if !a.VMAC {
				continue
			}
			own := a.Dev == "" || a.Dev == v.Interface
			same := a.Prefix.Addr().Is6() == v.V6
			switch {
			case own && v.VMAC != nil && same:
				l.conflict(v, "use_vmac specified for VIP/eVIP "+a.Text+" and vrrp instance")
				a.VMAC = false
			case (!own || !same) && v.VMACAddr:
				l.conflict(v, "use_vmac_addr specified and use_vmac specified for VIP/eVIP "+a.Text)
				a.VMAC = false
			}
		}
	}
}

// settleTracking drops weights where they can have no effect: in a sync group, and for an owner of the addresses.
func (l *loader) settleTracking(v *instance) {
	grouped := v.sync != nil && !v.sync.TrackingWeight
	if !grouped && v.Priority != 255 {
		return
	}
	because := "address_owner"
	if grouped {
		because = "SYNC group"
	}
	say := func(format string, a ...any) { l.conflict(v, fmt.Sprintf(format, a...)+because) }
	t := &v.Track
	t.Interfaces = filter(t.Interfaces, func(it *Tracked) bool {
		if it.Weight == 0 {
			return true
		}
		if grouped {
			say("ignoring %s tracked interface weight due to ", it.Name)
			it.Weight = 0
			return true
		}
		l.conflict(v, fmt.Sprintf("ignoring %s tracked interface due to address owner", it.Name))
		return false
	})
	t.Scripts = filter(t.Scripts, func(it *Tracked) bool {
		if it.Weight != 0 {
			say("ignoring tracked script %s with weights due to ", it.Name)
		}
		return it.Weight == 0
	})
	t.Files = filter(t.Files, func(it *Tracked) bool {
		switch it.Weight {
		case 0:
		case 1:
			l.conflict(v, fmt.Sprintf("ignoring weight from tracked file %s due to %s. specify weight 0", it.Name, because))
			it.Weight = 0
		default:
			say("ignoring tracked file %s with weight %d due to ", it.Name, it.Weight)
			return false
		}
		return true
	})
	t.BFDs = filter(t.BFDs, func(it *Tracked) bool {
		if it.Weight != 0 {
			say("ignoring tracked bfd %s with weight %d due to ", it.Name, it.Weight)
		}
		return it.Weight == 0
	})
}

// filter keeps what keep says, which may change it.
func filter(list []Tracked, keep func(t *Tracked) bool) []Tracked {
	var out []Tracked
	for i := range list {
		if keep(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}

// toVRRP fills the part that internal/vrrp acts on.
func (l *loader) toVRRP(v *instance) {
	v.GarpMasterDelay, v.GarpMasterRepeat = orNone(v.Garp.Delay), int(v.Garp.Repeat)
	v.GarpMasterRefresh, v.GarpRefreshRepeat = v.Garp.Refresh, int(v.Garp.RefreshRepeat)
	v.GarpLowerPrioDelay = orNone(v.Garp.LowerDelay)
	if v.GarpLowerPrioRepeat = int(v.Garp.LowerRepeat); v.GarpLowerPrioRepeat == 0 {
		v.GarpLowerPrioRepeat = -1
	}
	for _, a := range v.Addresses {
		v.VIPs = append(v.VIPs, a.Address)
	}
	for _, a := range v.ExcludedAddresses {
		v.Excluded = append(v.Excluded, a.Address)
	}
	interval := v.AdvertInt
	normal, _ := v.Config.Normal()
	v.Config = normal
	v.AdvertInt = interval // vrrp rounds as version 2 does
	if err := v.Config.Check(); err != nil && l.pass == passAll {
		d := l.after(Warning, "not-yet", v.place, "("+v.Name+") the whole instance is left out by this version: "+err.Error())
		d.class, d.Hint = classOurs, "nobody holds its addresses here: keep keepalived for it, or change what is named"
	}
}

// orNone is a delay as vrrp.Config has it: negative says that 0 was written.
func orNone(v time.Duration) time.Duration {
	if v == 0 {
		return -1
	}
	return v
}
