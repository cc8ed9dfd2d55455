package conf

import "fmt"

// follows says how one kind of thing is followed: what it is called, and what keepalived says of mistakes. %[1]s is the
// instance or group, %[2]s the thing, %[3]s the word at fault.
type follows struct {
	list                                   func(t *Track) *[]Tracked
	find                                   func(l *loader, name string) (Tracked, bool)
	missing, twice, option, bare, bad, how string
	limit                                  int64
	clip                                   bool // 254 is taken for 253
	noreverse, strict                      bool // strict: a bad option drops the line
}

var followInterface = follows{list: func(t *Track) *[]Tracked { return &t.Interfaces }, find: findInterface,
	missing: "(%[1]s) tracked interface %[2]s doesn't exist", twice: "(%[1]s) duplicate track_interface %[2]s - ignoring",
	option: "(%[1]s) unknown track_interface %[2]s option %[3]s - ignoring", bare: "(%[1]s) weight without value specified for track_interface %[2]s - ignoring",
	bad: "(%[1]s) weight %[3]s for %[2]s must be between [-253..253] inclusive. Ignoring...", how: "(%[1]s) unknown track_interace %[2]s weight option %[3]s - ignoring",
	limit: 254, clip: true}

var followScript = follows{list: func(t *Track) *[]Tracked { return &t.Scripts }, find: findScript,
	missing: "(%[1]s) track script %[2]s not found, ignoring...", twice: "(%[1]s) duplicate track_script %[2]s - ignoring",
	option: "(%[1]s) unknown track script option %[3]s - ignoring", bare: "(%[1]s) weight without value specified for track script %[2]s - ignoring",
	bad: "(%[1]s) track script %[2]s: weight must be between [-253..253] inclusive, ignoring...", how: "(%[1]s) unknown track_script %[2]s weight option %[3]s - ignoring",
	limit: 254, clip: true, noreverse: true}

var followFile = follows{list: func(t *Track) *[]Tracked { return &t.Files }, find: findFile,
	missing: "(%[1]s) track file %[2]s not found, ignoring...", twice: "(%[1]s) duplicate track_file %[2]s - ignoring",
	option: "(%[1]s) unknown track file option %[3]s - ignoring", bare: "(%[1]s) weight without value specified for track file %[2]s - ignoring",
	bad: "(%[1]s) weight for track file %[2]s must be in [-254..254] inclusive. Ignoring...", how: "(%[1]s) unknown track file %[2]s weight option %[3]s - ignoring",
	limit: 254, noreverse: true, strict: true}

var followProcess = follows{list: func(t *Track) *[]Tracked { return &t.Processes }, find: findProcess,
	missing: "(%[1]s) track process %[2]s not found, ignoring...", twice: "(%[1]s) duplicate track_process %[2]s - ignoring",
	option: "(%[1]s) unknown track process option %[3]s - ignoring", bare: "(%[1]s) weight without value specified for track process %[2]s - ignoring",
	bad: "(%[1]s) weight for track process %[2]s must be in [-254..254] inclusive. Ignoring...", how: "(%[1]s) unknown track_process %[2]s weight option %[3]s - ignoring",
	limit: 254, noreverse: true}

var followBFD = follows{list: func(t *Track) *[]Tracked { return &t.BFDs }, find: findBFD,
	missing: "(%[1]s) track bfd %[2]s not found, ignoring...", twice: "(%[1]s) duplicate track_bfd %[2]s - ignoring",
	option: "(%[1]s) unknown track bfd %[2]s option %[3]s - ignoring", bare: "(%[1]s) weight without value specified for track bfd %[2]s - ignoring",
	bad: "(%[1]s) weight for track bfd %[2]s must be in [-253..253] inclusive. Ignoring...", how: "(%[1]s) unknown track bfd %[2]s weight option %[3]s - ignoring",
	limit: 253, noreverse: true, strict: true}

func findInterface(l *loader, name string) (Tracked, bool) {
	_, ok := l.iface(name)
	return Tracked{Name: name}, ok
}

func findScript(l *loader, name string) (Tracked, bool) {
	for _, v := range l.scripts {
		if v.Name == name {
			return Tracked{name, v.Weight, v.Reverse}, true
		}
	}
	return Tracked{}, false
}

func findFile(l *loader, name string) (Tracked, bool) {
	for _, v := range l.files {
		if v.Name == name {
			return Tracked{name, v.Weight, v.Reverse}, true
		}
	}
	return Tracked{}, false
}

func findProcess(l *loader, name string) (Tracked, bool) {
	for _, v := range l.cfg.TrackProcesses {
		if v.Name == name {
			return Tracked{name, v.Weight, v.Reverse}, true
		}
	}
	return Tracked{}, false
}

func findBFD(l *loader, name string) (Tracked, bool) {
	for _, v := range l.cfg.BFDs {
		if v.Name == name && v.VRRP {
			return Tracked{name, v.Weight, v.Reverse}, true
		}
	}
	return Tracked{}, false
}

// read takes one line: NAME [weight N [reverse]].
func (f *follows) read(l *loader, s *stmt, owner string, t *Track) {
	name := s.text(0)
	say := func(i int, code, format string) {
		d := l.warn(s.arg(i), code, fmt.Sprintf(format, owner, name, s.text(i)))
		d.Expected = "NAME [weight N [reverse]]"
	}
	it, ok := f.find(l, name)
	if !ok {
		say(0, "not-found", f.missing)
		return
	}
	list := f.list(t)
	for _, o := range *list {
		if o.Name == name {
			say(0, "tracked-twice", f.twice)
			return
		}
	}
	if len(s.words) > 1 && s.text(1) != "weight" {
		say(1, "bad-value", f.option)
		return
	}
	if len(s.words) == 2 {
		say(1, "bad-value", f.bare)
		return
	}
	if len(s.words) > 2 && !f.weight(l, s, owner, &it) {
		return
	}
	*list = append(*list, it)
}

// weight takes N [reverse|noreverse].
func (f *follows) weight(l *loader, s *stmt, owner string, it *Tracked) bool {
	if v, ok := l.signed(s, 2, -f.limit, f.limit, fmt.Sprintf(f.bad, owner, it.Name, s.text(2))); ok {
		it.Weight = int(v)
		if f.clip && (v == 254 || v == -254) {
			l.bad(s, 2, "(%s) weight for %s cannot be +/-254. Setting to +/-253", owner, it.Name)
			it.Weight = int(v / 254 * 253)
		}
	}
	if len(s.words) < 4 {
		return true
	}
	switch w := s.text(3); {
	case w == "reverse":
		it.Reverse = true
	case w == "noreverse" && f.noreverse:
		it.Reverse = false
	default:
		l.bad(s, 3, f.how, owner, it.Name, w)
		return !f.strict
	}
	return true
}

// ofInstance and ofGroup make the items of a tracking block.
func (f *follows) ofInstance() setter {
	return func(l *loader, s *stmt) {
		if l.vi.trackedAt == nil {
			l.vi.trackedAt = map[string]place{}
		}
		l.vi.trackedAt[s.text(0)] = place{s.file, s.words[0]}
		f.read(l, s, l.vi.Name, &l.vi.Track)
	}
}

func (f *follows) ofGroup() setter {
	return func(l *loader, s *stmt) { f.read(l, s, l.group.Name, &l.group.Track) }
}
