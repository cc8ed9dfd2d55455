package conf

import (
	"fmt"
	"strings"
	"time"
)

// Entry is one value in force: the block that it is in, its name as keepalived's dump has it, and the value.
type Entry struct {
	Block string // "global", "vrrp_instance A", "vrrp_script c", "vrrp_sync_group G", "virtual_server …", "real_server … of …"
	Name  string
	Value string
}

// Effective gives every value in force, defaults included, in the words of keepalived's .data files (SIGUSR1) for what
// they have too. The order is fixed: global_defs, then blocks in the order of the file.
func Effective(c *Config) []Entry {
	e := &entries{}
	e.global(&c.Global)
	for i := range c.Scripts {
		e.script(&c.Scripts[i])
	}
	for i := range c.TrackFiles {
		f := &c.TrackFiles[i]
		e.in("track_file " + f.Name)
		e.add("File", f.Path)
		e.add("Weight", weight(f.Weight, f.Reverse))
	}
	for i := range c.SyncGroups {
		g := &c.SyncGroups[i]
		e.in("vrrp_sync_group " + g.Name)
		e.add("VRRP member instances", strings.Join(g.Instances, " "))
		e.add("Using smtp notification", yesNo(g.SMTPAlert))
	}
	for _, v := range c.Routers {
		e.instance(v)
	}
	for _, v := range c.VirtualServers {
		if v.Member == 0 || v.Group == "" { // all of a group have the same values
			e.service(v)
		}
	}
	return e.list
}

type entries struct {
	block string
	list  []Entry
}

func (e *entries) in(block string) { e.block = block }

func (e *entries) add(name string, value any) {
	e.list = append(e.list, Entry{e.block, name, fmt.Sprint(value)})
}

func yesNo(v bool) string { return pick(v, "yes", "no") }

func pick(v bool, yes, no string) string {
	if v {
		return yes
	}
	return no
}

func onOff(v *bool) string {
	if v == nil {
		return "unset"
	}
	return pick(*v, "on", "off")
}

func fullSeconds(d time.Duration) int64 { return int64(d / time.Second) }

func weight(w int, reverse bool) string { return fmt.Sprintf("%d%s", w, pick(reverse, " reverse", "")) }

func (e *entries) global(g *Global) {
	e.in("global")
	if g.RouterID != "" {
		e.add("Router ID", g.RouterID)
	}
	if g.SMTPServer != "" {
		e.add("Smtp server", g.SMTPServer)
		e.add("Smtp server port", g.SMTPPort)
		timeout := g.SMTPConnectTimeout
		if timeout == 0 {
			timeout = 30 * time.Second
		}
		e.add("Smtp server connection timeout", fullSeconds(timeout))
	}
	e.add("Default smtp_alert", onOff(g.SMTPAlert))
	e.add("Default smtp_alert_vrrp", onOff(g.SMTPAlertVRRP))
	e.add("Default smtp_alert_checker", onOff(g.SMTPAlertChecker))
	e.add("Checkers log all failures", g.LogAllFailures)
	e.add("Dynamic interfaces", g.DynamicInterfaces)
	e.add("LVS flush", g.Flush)
	e.add("LVS flush on stop", pick(g.FlushStop == "", "disabled", g.FlushStop))
	e.globalVRRP(&g.VRRP)
	e.add("FIFO write vrrp states on reload", g.Scripts.StatesOnReload)
	e.add("VRRP notify priority changes", g.Scripts.PriorityChanges)
	e.add("Script security", pick(g.Scripts.Security, "enabled", "disabled"))
	p := &g.Process
	e.add("Max auto priority", pick(p.MaxAutoPriority == -1, "Disabled", fmt.Sprint(p.MaxAutoPriority)))
	e.add("Min auto priority delay", fmt.Sprintf("%d usecs", p.MinAutoDelay.Microseconds()))
	e.add("umask", fmt.Sprintf("0%o", p.Umask))
	for _, t := range []struct {
		name string
		*Tuning
	}{{"VRRP", &p.VRRP}, {"Checker", &p.Checker}, {"BFD", &p.BFD}} {
		e.add(t.name+" process priority", t.Nice)
		e.add(t.name+" don't swap", t.NoSwap)
		e.add(t.name+" realtime priority", t.Realtime)
		e.add(t.name+" realtime limit", t.RTLimit)
	}
}

func (e *entries) globalVRRP(g *GlobalVRRP) {
	e.add("VRRP IPv4 mcast group", g.Group4)
	e.add("VRRP IPv6 mcast group", g.Group6)
	lower, repeat := g.Garp.Delay, int64(g.Garp.Repeat)
	if g.Garp.LowerDelay >= 0 {
		lower = g.Garp.LowerDelay
	}
	if g.Garp.LowerRepeat >= 0 {
		repeat = g.Garp.LowerRepeat
	}
	e.add("Gratuitous ARP delay", fullSeconds(g.Garp.Delay))
	e.add("Gratuitous ARP repeat", g.Garp.Repeat)
	e.add("Gratuitous ARP refresh timer", fullSeconds(g.Garp.Refresh))
	e.add("Gratuitous ARP refresh repeat", g.Garp.RefreshRepeat)
	e.add("Gratuitous ARP lower priority delay", fullSeconds(lower))
	e.add("Gratuitous ARP lower priority repeat", repeat)
	e.add("Num adverts before down", g.DownTimerAdverts)
	e.add("Send advert after receive lower priority advert", !g.LowerPrioNoAdvert)
	e.add("Send advert after receive higher priority advert", g.HigherPrioSend)
	e.add("Gratuitous ARP interval", fmt.Sprintf("%f", g.GarpInterval.Seconds()))
	e.add("Gratuitous NA interval", fmt.Sprintf("%f", g.GnaInterval.Seconds()))
	e.add("VRRP default protocol version", g.Version)
	e.add("VRRP check unicast_src", g.CheckUnicastSrc)
	e.add("VRRP skip check advert addresses", g.SkipCheckAdvAddr)
	e.add("VRRP strict mode", g.Strict)
	e.add("rx_bufs_multiples", g.RxMultiplier)
}

func (e *entries) script(s *VRRPScript) {
	e.in("vrrp_script " + s.Name)
	e.add("Command", strings.Join(quoteArgs(s.Script.Args), " "))
	e.add("Interval", fmt.Sprintf("%d sec", fullSeconds(s.Interval)))
	e.add("Timeout", fmt.Sprintf("%d sec", fullSeconds(s.Timeout)))
	e.add("Weight", weight(s.Weight, s.Reverse))
	e.add("Rise", s.Rise)
	e.add("Fall", s.Fall)
}

func (e *entries) instance(v *Instance) {
	e.in("vrrp_instance " + v.Name)
	e.add("VRRP Version", v.Version)
	e.add("Wantstate", pick(v.InitialMaster, "MASTER", "BACKUP"))
	e.add("Interface", pick(v.Interface == "", "not configured", v.Interface))
	if v.SourceSet {
		e.add("Using src_ip", v.Source.String()+" (from configuration)")
	}
	if !v.Unicast && !v.V6 {
		e.add("Multicast address", v.McastDst)
	}
	e.add("Gratuitous ARP delay", fullSeconds(v.Garp.Delay))
	e.add("Gratuitous ARP repeat", v.Garp.Repeat)
	e.add("Gratuitous ARP refresh", fullSeconds(v.Garp.Refresh))
	e.add("Gratuitous ARP refresh repeat", v.Garp.RefreshRepeat)
	e.add("Gratuitous ARP lower priority delay", fullSeconds(v.Garp.LowerDelay))
	e.add("Gratuitous ARP lower priority repeat", v.Garp.LowerRepeat)
	e.add("Down timer adverts", v.DownTimerAdverts)
	e.add("Send advert after receive lower priority advert", !v.LowerPrioNoAdvert)
	e.add("Send advert after receive higher priority advert", v.HigherPrioSendAdv)
	e.add("Virtual Router ID", v.VRID)
	e.add("Priority", v.Priority)
	e.add("Advert interval", pick(v.Version == 2, fmt.Sprintf("%d sec", fullSeconds(v.AdvertInt)), fmt.Sprintf("%d milli-sec", v.AdvertInt.Milliseconds())))
	e.add("Accept", pick(v.Accept, "enabled", "disabled"))
	e.add("Preempt", pick(v.NoPreempt, "disabled", "enabled"))
	if v.PreemptDelay != 0 {
		e.add("Preempt delay", fmt.Sprintf("%g secs", v.PreemptDelay.Seconds()))
	}
	e.add("Promote_secondaries", pick(v.PromoteSecondaries, "enabled", "disabled"))
	switch {
	case v.AuthType == 2:
		e.add("Authentication type", "IPSEC_AH")
	case v.AuthType == 1:
		e.add("Authentication type", "SIMPLE_PASSWORD")
		e.add("Password", v.AuthPass)
	case v.Version == 2:
		e.add("Authentication type", "none")
	}
	if v.Unicast {
		if v.TTL >= 0 {
			e.add("Unicast TTL", v.TTL)
		}
		e.add("Check unicast src", yesNo(v.CheckUnicastSrc))
	}
	e.add("Using smtp notification", yesNo(v.SMTPAlert))
	e.add("Notify deleted", pick(v.Notify.OnDelete, "Deleted", "Fault"))
	e.add("Notify priority changes", *v.Notify.PriorityChanges)
}
