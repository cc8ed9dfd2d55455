package conf

import (
	"fmt"
	"time"
)

func beginTrackGroup(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.arg(2), "extra-words", "track_group must have a name - skipping")
		l.skip = true
		return
	}
	for _, g := range l.cfg.TrackGroups {
		if g.Name == s.text(1) {
			l.bad(s, 1, "track_group %s already defined", g.Name)
			l.skip = true
			return
		}
	}
	l.cfg.TrackGroups = append(l.cfg.TrackGroups, TrackGroup{Name: s.text(1)})
	l.tg = &l.cfg.TrackGroups[len(l.cfg.TrackGroups)-1]
}

func beginTrackGroupMembers(l *loader, s *stmt) {
	if len(l.tg.Instances) > 0 {
		l.warn(s.words[0], "repeated", "Group list already specified for sync group "+l.tg.Name)
		l.skip = true
	}
}

func addTrackGroupMember(l *loader, s *stmt) {
	for i := range s.words {
		l.tg.Instances = append(l.tg.Instances, s.text(i))
	}
}

func endTrackGroupMembers(l *loader) {
	if len(l.tg.Instances) == 0 {
		l.warn(l.at.arg(0), "empty-block", "Warning - track group "+l.tg.Name+" has empty group block")
	}
}

func addStaticAddress(l *loader, s *stmt) {
	if a, ok := l.addressLine(s, true); ok {
		l.cfg.StaticAddresses = append(l.cfg.StaticAddresses, a)
	}
}

func addLinkbeat(l *loader, s *stmt) {
	name := s.text(0)
	if !l.fatalInterface(s, "linkbeat interface") {
		return
	}
	b := Linkbeat{Interface: name}
	if len(s.words) > 1 {
		switch k := s.text(1); k {
		case "MII", "ETHTOOL", "IOCTL":
			b.Kind = k
		}
		if b.Kind == "" || len(s.words) > 2 {
			l.bad(s, 1, "extra characters %s in linkbeat interface", s.text(1)).Expected = "MII, ETHTOOL or IOCTL"
		}
	}
	l.cfg.Linkbeats = append(l.cfg.Linkbeats, b)
}

// fatalInterface asks for an interface without which keepalived counts the file as one that it cannot run.
func (l *loader) fatalInterface(s *stmt, what string) bool {
	name := s.text(0)
	if l.host != nil && l.host.Interfaces != nil {
		if _, ok := l.host.Interfaces(name); !ok && !l.cfg.Global.DynamicInterfaces {
			d := l.warn(s.words[0], "no-such-interface", "unknown interface "+name+" specified for "+what)
			d.class = classFatal
			return false
		}
	}
	return true
}

func addDelay(l *loader, s *stmt) {
	if !l.fatalInterface(s, "up/down delay") {
		return
	}
	if len(s.words) < 2 {
		l.own(s.words[0], "bad-value", "No timeouts specified for "+s.text(0)+" up/down delays").Expected = "IF DOWN [UP]"
		return
	}
	d := Delay{Interface: s.text(0)}
	var ok bool
	if d.Down, ok = l.decimal(s, 1, 0, 255*second, ""); !ok {
		return
	}
	if len(s.words) > 2 {
		if d.Up, ok = l.decimal(s, 2, 0, 255*second, ""); !ok {
			return
		}
	}
	l.cfg.Delays = append(l.cfg.Delays, d)
}

func beginGarpGroup(l *loader, _ *stmt) { l.gg, l.garpShared = &GarpGroup{Garp: -1, Gna: -1}, 0 }

// garpGroupTime reads one of the two intervals of a garp_group.
func garpGroupTime(at func(g *GarpGroup) *time.Duration) setter {
	return func(l *loader, s *stmt) {
		if v, ok := l.decimal(s, 1, 0, 1<<31-1, "garp_group "+s.text(0)+" '{value}' invalid"); ok {
			*at(l.gg) = v
		}
	}
}

func garpGroupInterface(l *loader, s *stmt) { l.garpGroupName(s.arg(1)) }

// garpGroupInterfaces gathers the names; they are looked at when the block ends.
func garpGroupInterfaces(l *loader, s *stmt) { l.garpNames = append(l.garpNames, s.words...) }

func endGarpGroupInterfaces(l *loader) {
	names := l.garpNames
	l.garpNames = nil
	if len(names) == 0 {
		l.warn(l.at.arg(0), "empty-block", "Warning - empty garp_group interfaces block")
		return
	}
	l.garpShared++
	for _, t := range names {
		l.garpGroupName(t)
	}
}

func (l *loader) garpGroupName(t Token) {
	name := t.Text
	if _, ok := l.iface(name); !ok {
		l.warn(t, "no-such-interface", "WARNING - interface "+name+" specified for garp_group doesn't exist")
		return
	}
	for _, g := range append(l.cfg.GarpGroups, *l.gg) {
		for _, o := range g.Interfaces {
			if o == name {
				l.warn(t, "repeated", "garp_group already specified for "+name+" - ignoring")
				return
			}
		}
	}
	l.gg.Interfaces = append(l.gg.Interfaces, name)
}

func endGarpGroup(l *loader) {
	g := l.gg
	l.gg = nil
	if g.Garp < 0 && g.Gna < 0 {
		l.warn(l.at.arg(0), "empty-block", fmt.Sprintf("garp group %d does not have any delay set - removing", l.garpShared))
		return
	}
	g.Garp, g.Gna = max(g.Garp, 0), max(g.Gna, 0)
	l.cfg.GarpGroups = append(l.cfg.GarpGroups, *g)
}
