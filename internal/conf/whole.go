package conf

import (
	"fmt"
	"strings"
	"time"
)

// This file has the checks that need the whole file. keepalived makes them after the parse and prints them without file
// and line; here they stand at the head of the block.

// after reports something about a block that was read before.
func (l *loader) after(sev Severity, code string, p place, text string) *Diagnostic {
	d := l.diags.add(sev, code, p.file, p.tok, text)
	d.Bare = true
	return d
}

func (v *instance) place() place { return place{v.file, v.at} }

// completeInstances settles every instance and keeps those that can run.
func (l *loader) completeInstances() {
	seen := map[string]*instance{}
	for _, v := range l.vis {
		v.settle(l.glob)
		if !l.required(v) {
			continue
		}
		l.consistent(v)
		if o := seen[v.onKey()]; o != nil {
			// keepalived refuses to start with this.
			d := l.after(Error, "duplicate-vrid", v.place(), fmt.Sprintf("%s and %s both use VRID %s", o.Name, v.Name, v.onKey()))
			d.Hint = fmt.Sprintf("give one of them another virtual_router_id, 1..255; %s is at line %d", o.Name, o.at.Line)
			continue
		}
		seen[v.onKey()] = v
		l.cfg.Instances = append(l.cfg.Instances, v.Config)
	}
}

// required reports what an instance cannot be without. One report is enough: keepalived stops at the first.
func (l *loader) required(v *instance) bool {
	say := func(sev Severity, code, text, hint string) bool {
		l.after(sev, code, v.place(), "("+v.Name+") "+text).Hint = hint
		return sev != Error
	}
	switch {
	case v.Interface == "":
		return say(Error, "no-interface", "Unknown interface!", "add: interface IF, the one that adverts use")
	case v.VRID == 0:
		return say(Error, "no-vrid", "the virtual router id must be set", "add: virtual_router_id N, 1..255, the same on all routers of this instance")
	case len(v.VIPs) > 0:
		return true
	case v.Version == 3 || l.glob.strict:
		return say(Error, "no-vip", "No VIP specified; at least one is required", "add: virtual_ipaddress { ADDR }")
	}
	return say(Warning, "no-vip", "No VIP specified; at least one is sensible", "add: virtual_ipaddress { ADDR }")
}

// consistent corrects settings that do not go together.
func (l *loader) consistent(v *instance) {
	if v.Version == 2 && v.AdvertInt%time.Second != 0 {
		l.after(Warning, "advert-int-rounded", v.place(), fmt.Sprintf("(%s) VRRPv2 advertisement interval %.6fs must be an integer. rounding",
			v.Name, v.AdvertInt.Seconds())).Hint = "version 2 carries whole seconds"
	}
	if v.Version == 3 {
		l.after(Warning, "not-yet", v.place(), "("+v.Name+") VRRP version 3 is not spoken by this version")
	}
	if v.authAt.Line != 0 && v.AuthPass == "" {
		l.after(Warning, "no-auth-pass", place{v.file, v.authAt}, "("+v.Name+") Authentication specified but no password given. Ignoring")
		v.AuthType = 0
	}
	version, interval := v.Version, v.AdvertInt
	normal, notes := v.Config.Normal()
	for _, n := range notes {
		l.after(Warning, "settings-conflict", v.place(), n).Hint = "state MASTER without a priority means priority 255"
	}
	if v.Config = normal; version == 3 {
		v.AdvertInt = interval // 10 ms units; vrrp rounds as version 2 does
	}
	l.ownInterface(v)
}

// ownInterface looks at what the instance tracks beside the interface that it is on.
func (l *loader) ownInterface(v *instance) {
	for _, t := range v.tracked {
		if t.tok.Text == v.Interface {
			l.after(Warning, "own-interface", t, fmt.Sprintf("(%s) Ignoring track_interface %s since own interface", v.Name, v.Interface)).
				Hint = "an instance always tracks its own interface"
		} else {
			l.after(Warning, "not-yet", t, "("+v.Name+") track_interface is accepted without effect in this version")
		}
	}
}

// groupAt is a sync group while it is read.
type groupAt struct {
	SyncGroup
	place
}

func beginGroup(l *loader, s *stmt) {
	l.group = &SyncGroup{Name: s.text(1)}
	l.groups = append(l.groups, &groupAt{place: place{s.file, s.arg(1)}})
}

func addMember(l *loader, s *stmt) {
	for i := range s.words {
		l.group.Instances = append(l.group.Instances, s.text(i))
	}
}

func endGroup(l *loader) {
	l.groups[len(l.groups)-1].SyncGroup = *l.group
	l.group = nil
}

// completeGroups drops members that do not exist and keeps the rest.
func (l *loader) completeGroups() {
	names := map[string]bool{}
	for _, v := range l.vis {
		names[v.Name] = true
	}
	for _, g := range l.groups {
		var kept []string
		for _, m := range g.Instances {
			if !names[m] {
				l.after(Warning, "no-such-instance", g.place, fmt.Sprintf("Virtual router %s specified in sync group %s doesn't exist - ignoring", m, g.Name)).
					Hint = "the instances are " + strings.Join(l.instanceNames(), ", ")
				continue
			}
			kept = append(kept, m)
		}
		switch len(kept) {
		case 0:
			l.after(Warning, "small-group", g.place, "Sync group "+g.Name+" has no virtual router(s) - removing")
			continue
		case 1:
			l.after(Warning, "small-group", g.place, "Sync group "+g.Name+" has only 1 virtual router(s) - this probably isn't what you want")
		}
		l.cfg.SyncGroups = append(l.cfg.SyncGroups, SyncGroup{g.Name, kept})
	}
}

func (l *loader) instanceNames() []string {
	var out []string
	for _, v := range l.vis {
		out = append(out, v.Name)
	}
	return out
}
