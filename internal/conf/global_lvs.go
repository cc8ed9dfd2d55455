package conf

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// setTimeouts reads lvs_timeouts [tcp N] [tcpfin N] [udp N].
func setTimeouts(l *loader, s *stmt) {
	t := &l.cfg.Global.Timeouts
	to := map[string]*time.Duration{"tcp": &t.TCP, "tcpfin": &t.TCPFin, "udp": &t.UDP}
	if len(s.words) < 3 {
		l.warn(s.words[0], "bad-value", "lvs_timeouts requires at least one option").Expected = l.kw.Args
		return
	}
	for i := 1; i < len(s.words); i++ {
		name := s.text(i)
		at := to[name]
		switch {
		case at == nil:
			l.badValue(s, i, "", "Unknown option {value} specified for lvs_timeouts")
		case i == len(s.words)-1:
			l.bad(s, i, "No value specified for lvs_timeout %s - ignoring", name)
		default:
			i++
			if v, ok := l.integer(s, i, 0, 31*24*3600, "Invalid lvs_timeout "+name+" ({value}) - ignoring"); ok {
				*at = time.Duration(v) * time.Second
			}
		}
	}
}

// DataPlanes are the words of data_plane.
var DataPlanes = []string{"xdp", "ipvs", "auto"}

func setDataPlane(l *loader, s *stmt) {
	if !slices.Contains(DataPlanes, s.text(1)) {
		l.bad(s, 1, "Unknown data_plane %s - ignoring", s.text(1)).Expected = strings.Join(DataPlanes, ", ")
		return
	}
	l.cfg.Global.DataPlane = s.text(1)
}

// setSyncDaemon reads lvs_sync_daemon IF [inst VI] [id N] [maxlen N] [port N] [ttl N] [group ADDR].
func setSyncDaemon(l *loader, s *stmt) {
	d := &l.cfg.Global.SyncDaemon
	if d.Interface != "" {
		l.bad(s, 1, "lvs_sync_daemon has already been specified as %s %s - ignoring", d.Interface, d.Instance)
		return
	}
	if len(s.text(1)) >= 16 {
		l.bad(s, 1, "lvs_sync_daemon interface name '%s' too long - ignoring", s.text(1))
		return
	}
	d.Interface, l.syncAt = s.text(1), place{s.file, s.words[0]}
	for i := 2; i < len(s.words); i++ {
		w := s.text(i)
		_, known := syncNumbers[w]
		switch {
		case w == "inst":
			v, ok := l.want(s, i+1)
			if !ok {
				return
			}
			if d.Instance != "" {
				l.bad(s, i, "lvs_sync_daemon vrrp instance has already been specified as %s - ignoring", d.Instance)
			} else {
				d.Instance = v
			}
			i++
		case (known || w == "group") && i == len(s.words)-1:
			if w == "id" {
				l.bad(s, i, "No value specified for lvs_sync_daemon id, defaulting to vrid")
			} else {
				l.bad(s, i, "No value specified for lvs_sync_daemon %s - ignoring", w)
			}
		case known:
			i++
			l.syncNumber(s, i, w, d)
		case w == "group":
			i++
			l.syncGroup(s, i, d)
		case i == 2:
			d.Instance = w
		case i == 3:
			if v, ok := l.integer(s, 3, 0, 255, "Invalid syncid ({value}) - defaulting to vrid"); ok {
				l.bad(s, 3, `Please use keyword "id" before lvs_sync_daemon SYNCID`)
				d.ID = int(v)
			}
		default:
			l.bad(s, i, "Unknown option %s specified for lvs_sync_daemon", w)
		}
	}
}

// syncNumbers are the numbers of lvs_sync_daemon: their bounds and what is said of a bad one.
var syncNumbers = map[string]struct {
	lo, hi int64
	bad    string
}{"id": {0, 255, "Invalid syncid ({value}) - defaulting to vrid"}, "maxlen": {1, 65507, "Invalid lvs_sync_daemon maxlen ({value}) - ignoring"},
	"port": {1, 65535, "Invalid lvs_sync_daemon port ({value}) - ignoring"}, "ttl": {1, 255, "Invalid lvs_sync_daemon ttl ({value}) - ignoring"}}

func (l *loader) syncNumber(s *stmt, i int, w string, d *SyncDaemon) {
	n := syncNumbers[w]
	v, ok := l.integer(s, i, n.lo, n.hi, n.bad)
	if !ok {
		return
	}
	switch w {
	case "id":
		d.ID = int(v)
	case "maxlen":
		d.MaxLen = uint16(v)
	case "port":
		d.Port = uint16(v)
	case "ttl":
		d.TTL = uint8(v)
	}
}

func (l *loader) syncGroup(s *stmt, i int, d *SyncDaemon) {
	a, ok := plain(s.text(i))
	switch {
	case !ok:
		l.bad(s, i, "Invalid lvs_sync_daemon group (%s) - ignoring", s.text(i))
	case !a.IsMulticast():
		l.bad(s, i, "lvs_sync_daemon group address %s is not multicast - ignoring", s.text(i))
	default:
		d.Group = a
	}
}

func setFlushStop(l *loader, s *stmt) {
	switch {
	case len(s.words) == 1:
		l.cfg.Global.FlushStop = "full"
	case s.text(1) == "VS":
		l.cfg.Global.FlushStop = "VS"
	default:
		l.bad(s, 1, "Unknown lvs_flush_on_stop type %s", s.text(1)).Expected = "VS, or nothing"
	}
}

// addClass reads fwmark_class MARK …: see lb.ClassGrammar.
func addClass(l *loader, s *stmt) {
	words := make([]string, 0, len(s.words)-1)
	for i := 1; i < len(s.words); i++ {
		words = append(words, s.text(i))
	}
	c, at, err := lb.ParseClass(words)
	if err != nil {
		l.bad(s, min(1+at, len(s.words)-1), "fwmark_class: %s - ignoring", err).Expected = lb.ClassGrammar
		return
	}
	l.cfg.Global.Classes = append(l.cfg.Global.Classes, c)
}

// setSysctl reads lvs_sysctl NAME VALUE, with IPVS's names and values.
func setSysctl(l *loader, s *stmt) {
	name := strings.TrimPrefix(s.text(1), "net.ipv4.vs.")
	setting, err := plane.FindSetting(name)
	switch {
	case err != nil:
		d := l.bad(s, 1, "Unknown lvs_sysctl %s - ignoring", name)
		d.Expected = strings.Join(settingNames(), ", ")
		return
	case name == "sync_threshold" || name == "sync_period":
		l.setThreshold(s, name)
		return
	}
	n, bad := whole(s.text(2), 0, math.MaxUint32, false, false)
	if bad == "" {
		_, err = plane.CheckSetting(name, uint32(n))
	}
	if bad != "" || err != nil {
		l.bad(s, 2, "Invalid lvs_sysctl %s (%s) - ignoring", name, s.text(2)).Expected = setting.Bounds()
		return
	}
	l.setting(s, name, uint32(n))
}

// setThreshold reads the two numbers of sync_threshold, as the kernel has them in one file.
func (l *loader) setThreshold(s *stmt, name string) {
	words := strings.Fields(s.text(2) + " " + s.text(3))
	var pair []uint32
	for _, w := range words {
		if n, bad := whole(w, 0, math.MaxUint16, false, false); bad == "" {
			pair = append(pair, uint32(n))
		}
	}
	if name != "sync_threshold" || len(words) != 2 || len(pair) != 2 || plane.CheckThreshold(pair[0], pair[1]) != nil {
		l.bad(s, 2, "Invalid lvs_sysctl %s (%s) - ignoring", name, strings.Join(words, " ")).Expected = "lvs_sysctl sync_threshold THRESHOLD PERIOD, with THRESHOLD below PERIOD, or PERIOD 0"
		return
	}
	l.setting(s, "sync_threshold", pair[0])
	l.setting(s, "sync_period", pair[1])
}

func (l *loader) setting(s *stmt, name string, value uint32) {
	g := &l.cfg.Global
	if g.Sysctls == nil {
		g.Sysctls = map[string]uint32{}
	}
	g.Sysctls[name] = value
	if l.sysctls == nil {
		l.sysctls = map[string]place{}
	}
	l.sysctls[name] = place{s.file, s.words[1]}
}

func settingNames() (names []string) {
	for _, s := range plane.Settings {
		names = append(names, s.Name)
	}
	return names
}

// refusedSettings says which settings are not carried by this version.
func (l *loader) refusedSettings(why func(string, uint32) error) {
	if why == nil || l.cfg.Global.DataPlane == "ipvs" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.sysctls)) {
		if err := why(name, l.cfg.Global.Sysctls[name]); err != nil {
			d := l.after(Warning, "not-yet", l.sysctls[name], "lvs_sysctl has no effect in this version: "+err.Error())
			d.class, d.Hint = classOurs, "use data_plane ipvs (the kernel's), or leave it out"
		}
	}
}

// classless says which marks no packet can have, as XDP does not see netfilter's.
func (l *loader) classless() {
	if l.cfg.Global.DataPlane == "ipvs" {
		return
	}
	has := func(mark uint32, v6 bool) bool {
		return slices.ContainsFunc(l.cfg.Global.Classes, func(c lb.Class) bool { return c.Mark == mark && c.To.Addr().Is6() == v6 })
	}
	say := func(v *service, mark uint32, v6 bool) {
		if mark == 0 || has(mark, v6) {
			return
		}
		d := l.after(Warning, "mark-without-class", v.place, fmt.Sprintf("Virtual server %s: no fwmark_class gives packets the mark %d", v.label(), mark))
		d.class, d.Hint = classOurs, fmt.Sprintf("add to global_defs: fwmark_class %d tcp ADDRESS PORT; with data_plane ipvs netfilter's marks count", mark)
	}
	for _, v := range l.vss {
		switch {
		case len(v.Reals) == 0:
		case v.grouped == nil:
			say(v, v.Mark, v.V6)
		default:
			for _, k := range v.grouped.keys(v) {
				say(v, k.Mark, k.V6)
			}
		}
	}
}
