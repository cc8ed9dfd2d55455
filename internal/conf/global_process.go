package conf

import (
	"fmt"
)

// Tuning of keepalived's processes.

func tuning(g *Global, process string) *Tuning {
	switch process {
	case "vrrp":
		return &g.Process.VRRP
	case "checker":
		return &g.Process.Checker
	}
	return &g.Process.BFD
}

// processRow gives the setter of NAME with the process before it.
func processRow(process, name string) setter {
	at := func(l *loader) *Tuning { return tuning(&l.cfg.Global, process) }
	switch name {
	case "priority":
		return signedNumber(-20, 19, "Invalid "+process+" process priority specified", func(l *loader, v int64) { at(l).Nice, at(l).NiceSet = int8(v), true })
	case "no_swap":
		return flag(func(l *loader) { at(l).NoSwap = true })
	case "rt_priority":
		return func(l *loader, s *stmt) { l.realtime(s, process, at(l)) }
	case "cpu_affinity":
		return func(l *loader, s *stmt) { l.affinity(s, process, at(l)) }
	case "rlimit_rttime", "rlimit_rtime":
		return number(1, 1<<32-1, "Invalid "+process+" real-time limit - {value}", func(l *loader, v int64) { at(l).RTLimit = uint32(max(2, v)) })
	}
	return processName_(func(l *loader) *string { return &at(l).Name })
}

func (l *loader) realtime(s *stmt, process string, t *Tuning) {
	v, ok := l.signed(s, 1, -1<<31, 1<<31-1, process+" process real-time priority '{value}' invalid")
	switch {
	case !ok:
		return
	case v < 1:
		l.bad(s, 1, "%s process real-time priority %d less than minimum 1 - setting to minimum", process, v)
	case v > 99:
		l.bad(s, 1, "%s process real-time priority %d greater than maximum 99 - setting to maximum", process, v)
	}
	t.Realtime = uint8(min(max(v, 1), 99))
}

func (l *loader) affinity(s *stmt, process string, t *Tuning) {
	n := int64(1024)
	if l.host != nil && l.host.CPUs > 0 {
		n = int64(l.host.CPUs)
	}
	var cpus []int
	for i := 1; i < len(s.words); i++ {
		neg, num, _, _ := cutNumber(s.text(i), false)
		shown := int32(num)
		if neg {
			shown = -shown
		}
		v, ok := l.signed(s, i, 0, n-1, fmt.Sprintf("Invalid cpu_id:%d specified for %s process", shown, process))
		if !ok {
			return
		}
		cpus = append(cpus, int(v))
	}
	t.CPUs = cpus
}

// processName_ keeps a name of at most 15 bytes.
func processName_(at func(l *loader) *string) setter {
	return func(l *loader, s *stmt) {
		n := s.text(1)
		if len(n) > 15 {
			l.bad(s, 1, "Process name %s more than 15 characters, truncating", n)
			n = n[:15]
		}
		*at(l) = n
	}
}

func setProcessNames(l *loader, _ *stmt) {
	p := &l.cfg.Global.Process
	p.VRRP.Name, p.Checker.Name, p.BFD.Name = "keepalived_vrrp", "keepalived_lvs", "keepalived_bfd"
}

func setMaxAuto(l *loader, s *stmt) {
	p := &l.cfg.Global.Process
	if len(s.words) < 2 {
		p.MaxAutoPriority = 99
	} else if v, ok := l.signed(s, 1, -1, 99, "max_auto_priority '{value}' must be in [0, 99] (or -1 to disable) - ignoring"); ok {
		p.MaxAutoPriority = int(v)
	}
}

// setBuffer keeps the size of a netlink buffer.
func setBuffer(name string) setter {
	return number(0, 1<<32-1, name+" size ({value}) invalid", func(l *loader, v int64) { l.cfg.Global.Process.Buffers[name] = uint32(v) })
}

func setForce(name string) setter {
	return boolean("Invalid value '{value}' for global "+name+" specified", func(l *loader, v bool) { l.cfg.Global.Process.Force[name] = v })
}

var umaskBits = map[string]uint32{"IRUSR": 0o400, "IWUSR": 0o200, "IXUSR": 0o100, "IRGRP": 0o40, "IWGRP": 0o20, "IXGRP": 0o10,
	"IROTH": 4, "IWOTH": 2, "IXOTH": 1}

// setUmask reads a number in C notation, or bits joined by |.
func setUmask(l *loader, s *stmt) {
	w := s.text(1)
	if w != "" && w[0] >= '0' && w[0] <= '9' {
		neg, v, rest, over := cutNumber(w, true)
		switch {
		case len(s.words) != 2:
			l.bad(s, 2, "Extra parameter(s) to umask option")
		case neg || rest != "" || over || v > 0o777:
			l.bad(s, 1, "invalid umask value %s", w)
		default:
			l.cfg.Global.Process.Umask = uint32(v)
		}
		return
	}
	bits, or := uint32(0), false
	for i := 1; i < len(s.words); i++ {
		for p := s.text(i); p != ""; {
			if or {
				if p[0] != '|' {
					l.bad(s, i, "Invalid umask syntax %s", s.text(i))
					return
				}
				or, p = false, p[1:]
				continue
			}
			b, ok := umaskBits[p[:min(5, len(p))]]
			if !ok {
				l.bad(s, i, "Unknown umask bit %s", p)
				return
			}
			bits, or, p = bits|b, true, p[5:]
		}
	}
	if !or {
		l.bad(s, 1, "umask missing bit value")
		return
	}
	l.cfg.Global.Process.Umask = bits
}

func setNamespaceIPVS(l *loader, s *stmt) {
	p := &l.cfg.Global.Process
	if p.NamespaceIPVS != nil {
		l.bad(s, 1, "Duplicate net_namespace_ipvs definition %s - ignoring", s.text(1))
		return
	}
	name := s.text(1)
	p.NamespaceIPVS = &name
}
