package conf

import (
	"time"
)

// global gives setters for the values of global_defs.
func gBool(also string, at func(g *Global) *bool) setter {
	return boolean(also, func(l *loader, v bool) { *at(&l.cfg.Global) = v })
}

func gFlag(at func(g *Global) *bool) setter {
	return func(l *loader, _ *stmt) { *at(&l.cfg.Global) = true }
}

func gWord(at func(g *Global) *string) setter {
	return func(l *loader, s *stmt) { *at(&l.cfg.Global) = s.text(1) }
}

func gOnce(also string, at func(g *Global) *string) setter {
	return once(also, func(l *loader) *string { return at(&l.cfg.Global) })
}

// gAlert is one of the smtp_alert keywords.
func gAlert(name string, at func(g *Global) **bool) setter {
	return boolean("Invalid value '{value}' for global "+name+" specified", func(l *loader, v bool) { *at(&l.cfg.Global) = &v })
}

func gSeconds(hi int64, also string, put func(g *Garp, d time.Duration)) setter {
	return number(0, hi, also, func(l *loader, v int64) { put(&l.cfg.Global.VRRP.Garp, time.Duration(v)*time.Second) })
}

// gRepeat sets a number of announcements, which is at least 1.
func gRepeat(at func(g *Garp) *uint32) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 0, 1<<32-1, s.text(0)+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		if v == 0 {
			l.bad(s, 1, "%s must be greater than 0, setting to 1", s.text(0))
			v = 1
		}
		*at(&l.cfg.Global.VRRP.Garp) = uint32(v)
	}
}
