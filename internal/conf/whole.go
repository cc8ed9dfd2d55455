package conf

import (
	"slices"
	"time"
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
	if l.pass == passAll {
		l.unsafeMail()
	}
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
	l.syncInstance()
	for _, v := range l.vis {
		if usable[v] {
			l.cfg.Instances = append(l.cfg.Instances, v.Config)
			l.cfg.Routers = append(l.cfg.Routers, &v.Instance)
		}
	}
}

// syncInstance clears an lvs_sync_daemon that follows an instance that there is not.
func (l *loader) syncInstance() {
	d := &l.cfg.Global.SyncDaemon
	if d.Instance == "" || slices.ContainsFunc(l.vis, func(v *instance) bool { return v.Name == d.Instance }) {
		return
	}
	l.after(Warning, "unknown-instance", l.syncAt, "Unable to find vrrp instance "+d.Instance+" for lvs_syncd - clearing lvs_syncd config")
	*d = SyncDaemon{ID: -1}
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
	v.Config, _ = v.Config.Normal()
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
