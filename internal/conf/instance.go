package conf

import (
	"fmt"
	"strconv"
	"time"

	"vipd/internal/vrrp"
)

// garp are the announcement settings that an instance takes from global_defs where it has none. Negative: not set.
type garp struct {
	delay, repeat, refresh, refreshRepeat, lowerDelay, lowerRepeat int64
}

func noGarp() garp { return garp{-1, -1, -1, -1, -1, -1} }

// or fills what is not set from o.
func (g garp) or(o garp) garp {
	for _, p := range [][2]*int64{{&g.delay, &o.delay}, {&g.repeat, &o.repeat}, {&g.refresh, &o.refresh},
		{&g.refreshRepeat, &o.refreshRepeat}, {&g.lowerDelay, &o.lowerDelay}, {&g.lowerRepeat, &o.lowerRepeat}} {
		if *p[0] < 0 {
			*p[0] = *p[1]
		}
	}
	return g
}

// instance is a vrrp_instance while it is read.
type instance struct {
	vrrp.Config
	garp
	file     *File
	at       Token // its name
	v6       bool
	famKnown bool
	authAt   Token
	// If nil, as in global_defs.
	lowerNoAdvert, higherSendAdvert *bool
	tracked                         []place // interfaces it tracks
}

// place is a word somewhere in a file.
type place struct {
	file *File
	tok  Token
}

// beginInstance handles vrrp_instance NAME.
func beginInstance(l *loader, s *stmt) {
	name := s.text(1)
	for _, o := range l.vis {
		if o.Name == name {
			d := l.warn(s.words[1], "duplicate-instance", "vrrp instance "+name+" already defined")
			d.Hint = fmt.Sprintf("the one at line %d of %s counts, this block is ignored", o.at.Line, o.file.Name)
			l.skip = true
			return
		}
	}
	l.vi = &instance{Config: vrrp.Config{Name: name}, garp: noGarp(), file: s.file, at: s.words[1]}
	l.vis = append(l.vis, l.vi)
}

func endInstance(l *loader) { l.vi = nil }

func setState(l *loader, s *stmt) {
	switch v := s.text(1); v {
	case "MASTER":
		l.vi.InitialMaster = true
	case "BACKUP":
		l.vi.InitialMaster = false
	default:
		d := l.badValue(s, 1, "", "({vi}) unknown state '{value}', defaulting to BACKUP")
		d.Expected = "MASTER or BACKUP, in capitals"
	}
}

func setAdvertInt(l *loader, s *stmt) {
	if v, ok := l.decimal(s, 1, second/100, 255*second, "({vi}) Advert interval ({value}) not valid! Must be > 0 - ignoring"); ok {
		l.vi.AdvertInt = v
	}
}

func setAuthType(l *loader, s *stmt) {
	switch s.text(1) {
	case "PASS":
		l.vi.AuthType = vrrp.AuthPass
	case "AH":
		l.vi.AuthType = vrrp.AuthAH
		l.warn(s.arg(1), "not-yet", "auth_type AH is accepted without effect in this version").Hint = "PASS works"
	default:
		l.badValue(s, 1, "", "({vi}) unknown authentication type '{value}'").Expected = "PASS or AH, in capitals"
		return
	}
	l.vi.authAt = s.words[0]
}

func setAuthPass(l *loader, s *stmt) {
	pass := s.text(1)
	if len(pass) > 8 {
		d := l.warn(s.arg(1), "auth-pass-cut", "Truncating auth_pass to 8 characters")
		d.Hint = "both routers must have the same first 8 bytes; the rest was never on the wire"
		pass = pass[:8]
	}
	l.vi.AuthPass = pass
}

// addVIP and addExcluded take one line of virtual_ipaddress and virtual_ipaddress_excluded.
func addVIP(l *loader, s *stmt) {
	a, ok := l.vip(s)
	if !ok {
		return
	}
	if v6 := a.Prefix.Addr().Is6(); !l.vi.famKnown {
		l.vi.famKnown, l.vi.v6 = true, v6
	} else if v6 != l.vi.v6 {
		d := l.warn(s.words[0], "mixed-families", fmt.Sprintf("(%s): address family must match VRRP instance [%s] - ignoring", l.vi.Name, s.text(0)))
		d.Hint = "put it into virtual_ipaddress_excluded, or into an instance of its own"
		return
	}
	if l.newVIP(s, a) {
		l.vi.VIPs = append(l.vi.VIPs, a)
	}
}

func addExcluded(l *loader, s *stmt) {
	if a, ok := l.vip(s); ok && l.newVIP(s, a) {
		l.vi.Excluded = append(l.vi.Excluded, a)
	}
}

// newVIP reports an address that the instance has already.
// keepalived: 2.2.7 is silent and adds it twice, 2.4 warns as here.
func (l *loader) newVIP(s *stmt, a vrrp.Address) bool {
	for _, list := range [][]vrrp.Address{l.vi.VIPs, l.vi.Excluded} {
		for _, o := range list {
			if o.Prefix == a.Prefix && o.Dev == a.Dev {
				l.warn(s.words[0], "duplicate-vip", fmt.Sprintf("(%s) VIP duplicates a VIP %s - ignoring", l.vi.Name, s.text(0)))
				return false
			}
		}
	}
	return true
}

func trackInterface(l *loader, s *stmt) {
	l.vi.tracked = append(l.vi.tracked, place{s.file, s.words[0]})
}

func setSource(l *loader, s *stmt) {
	a, ok := address(s.text(1))
	if !ok {
		l.badValue(s, 1, "", "Configuration error: VRRP instance[{vi}] malformed src address[{value}]. Skipping...").Expected = "an address"
		return
	}
	l.vi.Source = a.Unmap()
}

// settle fills what the file leaves open from global_defs; vrrp.Config.Normal knows the rest.
func (v *instance) settle(g globals) {
	own := v.garp.or(g.garp)
	v.GarpMasterDelay, v.GarpMasterRepeat = orNone(own.delay), int(own.repeat)
	v.GarpMasterRefresh, v.GarpRefreshRepeat = time.Duration(own.refresh)*time.Second, int(own.refreshRepeat)
	if own.lowerDelay >= 0 {
		v.GarpLowerPrioDelay = orNone(own.lowerDelay)
	}
	if v.GarpLowerPrioRepeat = int(max(0, own.lowerRepeat)); own.lowerRepeat == 0 {
		v.GarpLowerPrioRepeat = -1
	}
	if v.Version == 0 {
		v.Version = g.version
	}
	if v.v6 {
		v.Version = 3 // keepalived: IPv6 has no version 2
	}
	if v.AdvertInt == 0 {
		v.AdvertInt = time.Second
	}
	v.LowerPrioNoAdvert = first(g.lowerNoAdvert, v.lowerNoAdvert)
	v.HigherPrioSendAdv = first(g.higherSendAdvert, v.higherSendAdvert)
}

// orNone is a delay as vrrp.Config has it: negative says that 0 was written.
func orNone(v int64) time.Duration {
	if v == 0 {
		return -1
	}
	return time.Duration(v) * time.Second
}

// onKey names what two instances must not share: VRID, family and interface.
func (v *instance) onKey() string {
	return strconv.Itoa(int(v.VRID)) + " with " + v.family() + " on interface " + v.Interface
}

func (v *instance) family() string {
	if v.v6 {
		return "IPv6"
	}
	return "IPv4"
}
