package conf

import (
	"slices"
	"strings"
	"time"
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
	d.Interface = s.text(1)
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
