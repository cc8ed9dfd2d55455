package conf

import (
	"fmt"
	"time"
)

// settleAdverts settles announcements and answers.
func (l *loader) settleAdverts(v *instance) {
	g := &l.cfg.Global.VRRP
	switch {
	case !v.Unicast && !v.McastDst.IsValid():
		if v.McastDst = g.Group4; v.V6 {
			v.McastDst = g.Group6
		}
	case v.Unicast && v.McastDst.IsValid():
		l.conflict(v, "multicast destination specified with unicast - ignoring")
		v.McastDst = noAddress
	}
	l.settleGarp(v)
	v.LowerPrioNoAdvert = first(g.LowerPrioNoAdvert || v.Strict, v.lowerNoAdvert)
	if v.Strict && !v.LowerPrioNoAdvert {
		l.conflict(v, "Strict mode requires no lower priority advert. resetting")
		v.LowerPrioNoAdvert = true
	}
	v.HigherPrioSendAdv = first(g.HigherPrioSend && !v.Strict, v.higherSendAdvert)
	if v.Strict && v.HigherPrioSendAdv {
		l.conflict(v, "strict mode requires higher_prio_send_advert to be clear. resetting")
		v.HigherPrioSendAdv = false
	}
	v.SMTPAlert = l.alert(v.smtp, l.cfg.Global.SMTPAlertVRRP, false)
	if v.Notify.PriorityChanges == nil {
		on := l.cfg.Global.Scripts.PriorityChanges
		if v.sync != nil && v.sync.Notify.PriorityChanges != nil {
			on = *v.sync.Notify.PriorityChanges
		}
		v.Notify.PriorityChanges = &on
	}
	v.SkipCheckAdvAddr = v.SkipCheckAdvAddr || g.SkipCheckAdvAddr
	v.OwnerIgnores = first(g.OwnerIgnores, v.owner)
	v.V3ChecksumAsV2 = first(g.V3ChecksumAsV2, v.v3sum)
}

func (l *loader) settleGarp(v *instance) {
	g := l.cfg.Global.VRRP.Garp
	out := Garp{Delay: g.Delay, Repeat: g.Repeat, Refresh: g.Refresh, RefreshRepeat: g.RefreshRepeat, LowerDelay: g.Delay, LowerRepeat: int64(g.Repeat)}
	if g.LowerDelay >= 0 {
		out.LowerDelay = g.LowerDelay
	}
	if g.LowerRepeat >= 0 {
		out.LowerRepeat = g.LowerRepeat
	}
	for _, d := range []struct{ own, to *time.Duration }{{v.delay, &out.Delay}, {v.refresh, &out.Refresh}} {
		if d.own != nil {
			*d.to = *d.own
		}
	}
	for _, n := range []struct{ own, to *uint32 }{{v.repeat, &out.Repeat}, {v.refreshRepeat, &out.RefreshRepeat}} {
		if n.own != nil {
			*n.to = *n.own
		}
	}
	if v.Strict {
		out.LowerDelay, out.LowerRepeat = 0, 0
	}
	if v.lowerRepeat != nil {
		if out.LowerRepeat = int64(*v.lowerRepeat); v.Strict && out.LowerRepeat != 0 {
			l.conflict(v, "Strict mode requires no repeat garps. resetting")
			out.LowerRepeat = 0
		}
	}
	if v.lowerDelay != nil {
		if out.LowerDelay = *v.lowerDelay; v.Strict && out.LowerDelay != 0 {
			l.conflict(v, "Strict mode requires no repeat garp delay. resetting")
			out.LowerDelay = 0
		}
	}
	v.Garp = out
	if v.ExtraIf = l.cfg.Global.VRRP.ExtraIf; v.extra != nil {
		v.ExtraIf = *v.extra
	} else {
		v.ExtraAll = v.ExtraAll || l.cfg.Global.VRRP.ExtraAll
	}
}

// settleInterval rounds the advert interval to what the version can carry.
func (l *loader) settleInterval(v *instance) {
	if v.AdvertInt == 0 {
		v.AdvertInt = time.Second
	}
	unit, most := time.Second, 255*time.Second
	if v.Version == 3 {
		unit, most = 10*time.Millisecond, 40950*time.Millisecond
	}
	switch {
	case v.Version == 3 && v.AdvertInt >= most+unit:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv3 advertisement interval %.2fs is out of range. Must be less than 40.96s. Setting to 40.95s",
			v.Name, v.AdvertInt.Seconds()))
		v.AdvertInt = most
	case v.AdvertInt%unit != 0 && v.Version == 2:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv2 advertisement interval %.6fs must be an integer. rounding",
			v.Name, v.AdvertInt.Seconds())).Hint = "version 2 carries whole seconds"
	case v.AdvertInt%unit != 0:
		l.after(Warning, "advert-int-rounded", v.place, fmt.Sprintf("(%s) VRRPv3 advertisement interval %.6fs must be in units of 10ms - rounding",
			v.Name, v.AdvertInt.Seconds()))
	}
	v.AdvertInt = max(unit, (v.AdvertInt+unit/2)/unit*unit)
	v.TrackSource = v.TrackSource && v.SourceSet
}
