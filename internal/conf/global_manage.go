package conf

import "math/rand/v2"

func setSNMPSocket(l *loader, s *stmt) {
	m := &l.cfg.Global.Manage
	switch {
	case len(s.words) > 2:
		l.bad(s, 2, "Too many parameters specified for snmp_socket - ignoring")
	case m.SNMPSocket != "":
		l.bad(s, 1, "SNMP socket already set to %s - ignoring", m.SNMPSocket)
	default:
		m.SNMPSocket = s.text(1)
	}
}

func setReloadCheck(l *loader, s *stmt) {
	if l.cfg.Global.Manage.CheckReload = "/dev/null"; len(s.words) > 1 {
		l.cfg.Global.Manage.CheckReload = s.text(1)
	}
}

func setReloadTime(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.words[0], "extra-words", "reload_time_file invalid")
		return
	}
	l.cfg.Global.Manage.ReloadTimeFile = s.text(1)
}

func setReloadFile(l *loader, s *stmt) {
	if l.cfg.Global.Manage.ReloadFile = "/run/keepalived.reload"; len(s.words) > 1 {
		l.cfg.Global.Manage.ReloadFile = s.text(1)
	}
}

func setTmpDir(l *loader, s *stmt) {
	if m := &l.cfg.Global.Manage; m.TmpDir != "" {
		l.warn(s.words[0], "repeated", s.text(0)+" already specified - ignoring")
	} else {
		m.TmpDir = s.text(1)
	}
}

// setIncludeCheck changes which faults of includes count: [+|-]read, match, wildcard_match, brace_match; nothing is all.
func setIncludeCheck(l *loader, s *stmt) {
	c := &l.in.check
	if len(s.words) < 2 {
		*c = checkAll
		return
	}
	kinds := map[string]includeCheck{"read": checkRead, "readable": checkRead, "match": checkMatch, "wildcard_match": checkWildcard, "brace_match": checkBrace}
	if l.pass != passAll {
		delete(kinds, "readable")
	}
	for i := 1; i < len(s.words); i++ {
		w := s.text(i)
		sign, name := byte(0), w
		if w != "" && (w[0] == '+' || w[0] == '-') {
			sign, name = w[0], w[1:]
		} else if i == 1 {
			*c = 0
		} else {
			l.bad(s, i, "Duplicate include_check '%s' specified - ignoring", w)
			continue
		}
		k, known := kinds[name]
		switch {
		case !known:
			l.bad(s, i, "Unknown include_check type '%s' - ignoring", name)
		case sign == 0:
			*c = checkRead | k
		case sign == '+':
			*c |= k
		default:
			*c &^= k
		}
	}
}

// setSeed has ${_RANDOM} begin anew from a number: what comes behind it in the file is the same each time.
func setSeed(l *loader, v int64) {
	n := uint32(v)
	l.cfg.Global.Process.Seed = &n
	l.in.random = rand.New(rand.NewPCG(uint64(n), 0))
}
