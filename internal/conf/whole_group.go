package conf

import (
	"fmt"
	"strings"
)

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
		l.warn(l.at.arg(0), "empty-block", "Warning - sync group "+l.group.Name+" has empty group block")
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
