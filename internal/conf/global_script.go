package conf

func setScriptUser(l *loader, s *stmt) {
	g := &l.cfg.Global.Scripts
	l.users.asked = true
	if !l.userExists(s.text(1), s.text(2)) {
		l.users.fails = true
		l.bad(s, 1, "Error setting global script uid/gid").Hint = "the user or group does not exist here"
		return
	}
	g.User, g.Group = s.text(1), s.text(2)
}

// globalScript keeps startup_script or shutdown_script.
func globalScript(what string, at func(g *GlobalScripts) **Script) setter {
	return func(l *loader, s *stmt) {
		p := at(&l.cfg.Global.Scripts)
		if *p != nil {
			l.warn(s.words[0], "repeated", what+" script already specified")
			return
		}
		if *p = l.commandOf(s); *p == nil {
			l.warn(s.words[0], "bad-value", "Invalid "+what+" script")
		}
	}
}

// fifo and fifoScript keep the three FIFOs; prefix is vrrp_, lvs_ or "".
func fifo(prefix string, at func(g *GlobalScripts) *FIFO) setter {
	return func(l *loader, s *stmt) {
		f := at(&l.cfg.Global.Scripts)
		if f.Path != "" {
			l.bad(s, 1, "%snotify_fifo already specified - ignoring %s", prefix, s.text(1))
			return
		}
		if user := s.text(2); user == "" && l.defaultUserFails() || user != "" && !l.userExists(user, s.text(3)) {
			return
		}
		f.Path, f.User, f.Group = s.text(1), s.text(2), s.text(3)
	}
}

func fifoScript(prefix string, at func(g *GlobalScripts) *FIFO) setter {
	return func(l *loader, s *stmt) {
		f := at(&l.cfg.Global.Scripts)
		if f.Script != nil {
			l.bad(s, 1, "%snotify_fifo_script already specified - ignoring %s", prefix, s.text(1))
			return
		}
		f.Script = l.commandOf(s)
	}
}
