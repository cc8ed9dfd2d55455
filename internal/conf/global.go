package conf

import (
	"time"
)

// globals are what global_defs gives to instances.
type globals struct {
	garp                            garp
	version                         uint8
	strict                          bool
	lowerNoAdvert, higherSendAdvert bool
}

// newGlobals has keepalived's defaults.
func newGlobals() globals {
	g := noGarp()
	g.delay, g.repeat, g.refresh, g.refreshRepeat = 5, 5, 0, 1
	return globals{garp: g, version: 2}
}

// mail says once that there is none.
func mail(l *loader, s *stmt) {
	if len(s.words) > 1 {
		l.warn(s.words[1], "extra-words", "Block notification_email has extra parameters "+s.text(1)+" ...").Expected = "'{'"
	}
	if !l.mailed {
		l.notice(s.words[0], "no-mail", "notification_email is accepted without effect: "+mailWhy)
	}
	l.mailed = true
}

func addEmail(l *loader, s *stmt) {
	if s.kind == Word {
		l.cfg.Global.NotificationEmail = append(l.cfg.Global.NotificationEmail, s.text(0))
	}
}

func setSMTP(l *loader, s *stmt) {
	l.cfg.Global.SMTPServer, l.cfg.Global.SMTPPort = s.text(1), 25
	if len(s.words) < 3 {
		return
	}
	if v, ok := l.integer(s, 2, 1, 65535, "Invalid smtp server "+s.text(1)+" {value}"); ok {
		l.cfg.Global.SMTPPort = uint16(v)
	}
}

// garpNumber sets one announcement setting.
func garpNumber(also string, at func(l *loader) *int64) setter {
	return number(0, 1<<32-1, also, func(l *loader, v int64) { *at(l) = v })
}

// garpRepeat sets a number of announcements, which is at least 1. who stands before the keyword in the message.
func garpRepeat(who, also string, at func(l *loader) *int64) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 0, 1<<32-1, also)
		if ok && v == 0 {
			l.badValue(s, 1, "", who+s.text(0)+" must be greater than 0, setting to 1")
			v = 1
		}
		if ok {
			*at(l) = v
		}
	}
}

// interval reads the pacing of announcements. 0, which many files have, is out of range for keepalived too.
func interval(l *loader, s *stmt) {
	if _, ok := l.decimal(s, 1, 1, micros32, s.text(0)+" '{value}' is invalid"); !ok {
		d := l.diags.list[len(l.diags.list)-1]
		if s.text(1) == "0" {
			d.Hint = "leave the line out: announcements are not spaced by default"
		}
		return
	}
	l.warn(s.words[0], "not-yet", s.text(0)+" is accepted without effect in this version")
}

// setTimeouts reads lvs_timeouts [tcp N] [tcpfin N] [udp N].
func setTimeouts(l *loader, s *stmt) {
	t := &l.cfg.Global.Timeouts
	to := map[string]*time.Duration{"tcp": &t.TCP, "tcpfin": &t.TCPFin, "udp": &t.UDP}
	if len(s.words) < 2 {
		l.warn(s.words[0], "bad-value", "lvs_timeouts requires at least one option").Expected = l.kw.Args
	}
	for i := 1; i < len(s.words); i += 2 {
		at := to[s.text(i)]
		if at == nil {
			l.badValue(s, i, "", "Unknown option {value} specified for lvs_timeouts")
			i--
			continue
		}
		if v, ok := l.integer(s, i+1, 1, 31*24*3600, "Invalid lvs_timeout "+s.text(i)+" ({value}) - ignoring"); ok {
			*at = time.Duration(v) * time.Second
		}
	}
}
