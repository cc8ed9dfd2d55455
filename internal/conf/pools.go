package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// completeServices settles every service and keeps those that have real servers, in the order of keepalived's checks.
func (l *loader) completeServices() {
	seen := map[lb.ServiceKey]*service{}
	members := map[string]int{}
	for _, v := range l.vss {
		if !l.linkGroup(v, members) {
			continue
		}
		if len(v.reals) == 0 {
			d := l.after(Warning, "no-real-server", v.place, "Virtual server "+v.label()+" has no real servers - ignoring")
			d.Hint = "add: real_server IP PORT { … }"
			continue
		}
		l.serviceDefaults(v)
		l.realServers(v)
		l.settleSorry(v)
		l.quorum(v)
		l.ports(v)
		l.finishReals(v)
		l.finishService(v, seen)
	}
	l.cfg.Health.Share, l.cfg.Health.AdoptPeers = l.cfg.Global.ShareChecks, l.cfg.Global.Peering.Adopt
	l.cfg.Health.InitNotifies, l.cfg.Health.Flush = l.cfg.Global.InitNotifies, l.cfg.Global.FlushStop != ""
	if l.pass != passAll {
		l.scriptSecurity("check scripts", l.serviceScripts())
	}
}

// linkGroup finds the group of a service. keepalived: what is wrong here is only in its log.
func (l *loader) linkGroup(v *service, members map[string]int) bool {
	if !v.named {
		return true
	}
	if l.groupNames == nil {
		l.groupNames = map[string]*ServiceGroup{}
		for i := range l.cfg.ServiceGroups {
			l.groupNames[l.cfg.ServiceGroups[i].Name] = &l.cfg.ServiceGroups[i]
		}
	}
	v.grouped = l.groupNames[v.Group]
	if v.grouped == nil {
		l.after(Warning, "no-such-group", v.place, "Virtual server group "+v.Group+" specified but not configured - ignoring virtual server ["+v.Group+"]:0").class = classOurs
		return false
	}
	v4, v6 := false, false
	for _, m := range v.grouped.Members {
		v4 = v4 || m.Family == "inet" || !m.IsMark && !m.First.Is6()
		v6 = v6 || m.Family == "inet6" || !m.IsMark && m.First.Is6()
	}
	if v.fam != 0 && (v4 && v.fam == 6 || v6 && v.fam == 4) {
		l.after(Warning, "mixed-families", v.place, v.Group+": address family doesn't match virtual server ["+v.Group+"]:0 - ignoring").class = classOurs
		return false
	}
	v.Member = members[v.Group]
	members[v.Group]++
	return true
}

// label is the name of a service in messages.
func (v *service) label() string {
	if v.named {
		return fmt.Sprintf("[%s]:%d", v.Group, v.Member)
	}
	return v.ServiceKey.String()
}

// hasMarks and hasAddrs tell what a service is found by.
func (v *service) hasMarks() bool {
	if v.grouped == nil {
		return !v.named && !v.Addr.IsValid()
	}
	for _, m := range v.grouped.Members {
		if m.IsMark {
			return true
		}
	}
	return false
}

func (v *service) hasAddrs() bool {
	if v.grouped == nil {
		return v.Addr.IsValid()
	}
	for _, m := range v.grouped.Members {
		if !m.IsMark {
			return true
		}
	}
	return false
}

// realKey is the finished name of the service: a mark's has no protocol, though the file may say one.
func (v *service) realKey() lb.ServiceKey {
	k := v.ServiceKey
	if k.Mark != 0 {
		k.Protocol, k.V6 = lb.IP, v.fam == 6
	}
	return k
}

// serviceDefaults says and sets what the block leaves open.
func (l *loader) serviceDefaults(v *service) {
	say := func(code, format string) *Diagnostic {
		return l.after(Warning, code, v.place, fmt.Sprintf(format, v.label()))
	}
	if v.HASuspend && v.hasMarks() {
		say("settings-conflict", "Virtual server %s: cannot use ha_suspend with fwmarks - clearing ha_suspend")
		v.HASuspend = false
	}
	if v.hasAddrs() {
		if !v.proto {
			say("no-protocol", "Virtual server %s: no protocol set - defaulting to UDP").Hint = "add: protocol TCP"
			v.Protocol = lb.UDP
		}
		if v.OnePacket && v.Protocol != lb.UDP {
			say("ops-not-udp", "Virtual server %s: one packet scheduling requires UDP - resetting")
			v.OnePacket = false
		}
	}
	if v.Proxy && (v.Locals.Len() == 0 || v.hasAddrs() && v.Protocol != lb.TCP) {
		say("proxy-without-fullnat", "Virtual server %s: send_proxy_v2 without fullnat or TCP - ignoring").Hint = "add: fullnat ADDRESS, one of this host's"
		v.Proxy = false
	}
	if v.Persistence == 0 && v.portless() {
		d := say("zero-port", "Virtual server %s: zero port only valid for persistent services - setting")
		d.Hint = "give the service a port, or set persistence_timeout yourself; now it is 360 s"
		v.Persistence = 360 * time.Second
	}
	if v.proto && v.hasMarks() && !v.hasAddrs() {
		say("protocol-with-mark", "Warning: Virtual server %s: protocol specified for fwmark - protocol will be ignored").Hint = "the mark decides alone; remove the line"
		v.Protocol, v.proto = lb.IP, false
	}
	if v.Scheduler == "" {
		say("no-scheduler", "Virtual server %s: no scheduler set, setting default 'wlc'").Hint = "add: lb_algo wlc"
		v.Scheduler = "wlc"
	}
	if v.CarryOn && (v.Scheduler != "sh" && v.Scheduler != "mh" || v.Persistence > 0 || v.Locals.Len() > 0) {
		say("settings-conflict", "Virtual server %s: carry_on without lb_algo sh or mh, or with persistence or fullnat - ignoring").class = classOurs
		v.CarryOn = false
	}
	v.SMTPAlert = l.alert(v.smtp, l.cfg.Global.SMTPAlertChecker, false)
	if v.interval < 0 {
		v.interval = time.Minute
	}
	if v.connect < 0 {
		v.connect = 5 * time.Second
	}
	v.DelayLoop = v.interval
}

// alert is a smtp_alert with what it takes from global_defs.
func (l *loader) alert(own, of *bool, otherwise bool) bool {
	return first(otherwise, l.cfg.Global.SMTPAlert, of, own)
}

// portless tells a service by address that has no port somewhere.
func (v *service) portless() bool {
	if v.grouped == nil {
		return v.hasAddrs() && v.Addr.Port() == 0
	}
	for _, m := range v.grouped.Members {
		if !m.IsMark && m.Port == 0 {
			return true
		}
	}
	return false
}

// noMethod says once that no forwarding method was given.
func (l *loader) noMethod(v *service) {
	if !v.forward.set {
		l.after(Warning, "no-forwarding", v.place, "Virtual server "+v.label()+": no forwarding method set, setting default NAT").Hint = "add: lb_kind NAT, or DR, or TUN"
		v.forward = forwarding{method: lb.Masq, set: true}
	}
}

// realServers drops what is listed twice and settles what real servers take from their service.
func (l *loader) realServers(v *service) {
	var seen map[netip.AddrPort]bool // of few, looking at each costs less
	if len(v.reals) > 16 {
		seen = make(map[netip.AddrPort]bool, len(v.reals))
	}
	twice := func(kept []*realServer, a netip.AddrPort) bool {
		if seen == nil {
			return slices.ContainsFunc(kept, func(o *realServer) bool { return o.Addr == a })
		}
		was := seen[a]
		seen[a] = true
		return was
	}
	kept := v.reals[:0]
	for _, r := range v.reals {
		if twice(kept, r.Addr) {
			l.after(Warning, "duplicate-real", r.place, "VS "+v.label()+": real server "+v.endpointOf(r)+" is duplicated - removing second rs")
			continue
		}
		if !r.forward.set {
			l.noMethod(v)
			r.forward = v.forward
		}
		if r.Weight < 0 {
			r.Weight = v.Weight
		}
		if r.SlowStart = v.slow; r.slow != nil {
			r.SlowStart = *r.slow
		}
		r.Alpha, r.InhibitOnFailure = first(v.Alpha, r.alpha), first(v.InhibitOnFailure, r.inhibit)
		r.SMTPAlert = l.alert(r.smtp, l.cfg.Global.SMTPAlertChecker, true)
		if s := v.sorry; s != nil && s.Addr == r.Addr && s.InhibitOnFailure != r.InhibitOnFailure {
			l.after(Warning, "settings-conflict", r.place, fmt.Sprintf("Virtual server %s: real server %s matches sorry server, but inhibit setting differs, %sing on sorry server",
				v.label(), v.endpointOf(r), map[bool]string{true: "sett", false: "clear"}[r.InhibitOnFailure]))
			s.InhibitOnFailure = r.InhibitOnFailure
		}
		kept = append(kept, r)
	}
	v.reals = kept
}

func (l *loader) settleSorry(v *service) {
	if s := v.sorry; s != nil && !s.forward.set {
		l.noMethod(v)
		s.forward = v.forward
	}
}

// quorum lowers what can never be reached.
func (l *loader) quorum(v *service) {
	var total int64
	for _, r := range v.reals {
		total += int64(r.Weight)
	}
	total &= 1<<32 - 1
	if int64(v.Quorum) > total {
		d := l.after(Warning, "quorum-too-high", v.place, fmt.Sprintf("Warning - quorum %d for %s exceeds total weight of real servers %d, reducing quorum to %d",
			v.Quorum, v.label(), total, total))
		d.Hint = "the quorum is compared with the sum of the weights of the real servers that are up"
		v.Quorum = int(total)
	}
	if v.Hysteresis >= v.Quorum {
		d := l.after(Warning, "hysteresis-too-high", v.place, fmt.Sprintf("Virtual server %s: hysteresis %d >= quorum %d; setting hysteresis to %d",
			v.label(), v.Hysteresis, v.Quorum, uint32(v.Quorum-1)))
		if v.Hysteresis == 0 && l.pass == passAll {
			l.diags.drop(d)
		}
		v.Hysteresis = max(0, v.Quorum-1)
	}
	v.Quorum = max(1, v.Quorum) // keepalived: 0 when all weights are 0, which means that it is always reached
}

// ports looks at ports that packets could not be sent to.
func (l *loader) ports(v *service) {
	if v.grouped != nil {
		l.groupPorts(v)
		return
	}
	for _, r := range v.reals {
		r.asked = r.Addr
		l.fitPort(v, r, r.forward.method == lb.Masq)
	}
	if s := v.sorry; s != nil {
		l.fitPort(v, s, s.forward.method == lb.Masq)
	}
}

// fitPort gives a real server or the sorry server the port that it can have.
func (l *loader) fitPort(v *service, r *realServer, masq bool) {
	addr, port, of := r.Addr.Addr(), r.Addr.Port(), v.Addr.Port()
	say := func(code, real, sorry string) *Diagnostic {
		if r == v.sorry {
			return l.after(Warning, code, r.place, fmt.Sprintf(sorry, v.label()))
		}
		return l.after(Warning, code, r.place, fmt.Sprintf(real, v.label(), v.endpointOf(r)))
	}
	switch {
	case v.hasMarks():
		if port == 0 || masq {
			return
		}
		say("port-with-mark", "WARNING - fwmark virtual server %s, real server %s has port specified - clearing",
			"WARNING - virtual server %s, sorry server has port specified - clearing")
		port = 0
	case port == 0:
		port = of
	case !masq && port != of:
		say("port-differs", "WARNING - virtual server %s and real server %s ports don't match - resetting",
			"WARNING - virtual server %s and sorry server ports don't match - resetting").Hint = "direct routing and tunnels cannot change the port; only lb_kind NAT can"
		port = of
	}
	r.Addr = netip.AddrPortFrom(addr, port)
}

// groupPorts compares the ports of a group with those of its real servers; nothing is changed.
func (l *loader) groupPorts(v *service) {
	s := v.sorry
	sorry := s != nil && s.forward.method != lb.Masq && s.Addr.Port() != 0
	if v.hasMarks() {
		for _, r := range v.reals {
			if r.forward.method != lb.Masq && r.Addr.Port() != 0 {
				l.after(Warning, "port-with-mark", r.place, fmt.Sprintf("WARNING - fwmark virtual server %s, real server %s has port specified - port will be ignored", v.label(), v.endpointOf(r)))
			}
		}
		if sorry {
			l.after(Warning, "port-with-mark", s.place, "WARNING - fwmark virtual server "+v.label()+", sorry server has port specified - port will be ignored")
		}
	}
	for _, m := range v.grouped.Members {
		if m.IsMark {
			continue
		}
		for _, r := range v.reals {
			if r.forward.method != lb.Masq && r.Addr.Port() != 0 && r.Addr.Port() != m.Port {
				l.after(Warning, "port-differs", r.place, fmt.Sprintf("virtual server %s:[%s] and real server %s ports don't match", v.label(), m, v.endpointOf(r)))
			}
		}
		if sorry && s.Addr.Port() != m.Port {
			l.after(Warning, "port-differs", s.place, "WARNING - virtual server "+v.label()+", sorry server has port specified - port will be ignored")
		}
	}
}

// finishReals makes the finished real servers with their checks.
func (l *loader) finishReals(v *service) {
	v.Servers, v.Reals = make([]RealServer, 0, len(v.reals)), make([]health.Real, 0, len(v.reals))
	n := 0
	for _, r := range v.reals {
		for _, c := range r.checkers {
			n += 1 + len(c.hosts)
		}
	}
	checks, checkers := make([]HealthCheck, 0, n), make([]health.Checker, 0, n) // shared: a large file has very many
	for _, r := range v.reals {
		r.Checks, r.Checkers = checks[len(checks):], checkers[len(checkers):]
		to := r.asked
		if !to.IsValid() {
			to = r.Addr
		}
		r.Forward, r.Tunnel = r.forward.method, r.forward.tunnel
		r.Timing = r.timing.or(v.timing).settled()
		for _, c := range r.checkers {
			l.finishCheck(v, r, c, c, to)
			for _, host := range c.hosts {
				l.finishCheck(v, r, host, c, to)
			}
		}
		checks, checkers = checks[:len(checks)+len(r.Checks)], checkers[:len(checkers)+len(r.Checkers)]
		r.Checks, r.Checkers = clipped(r.Checks), clipped(r.Checkers)
		l.checkPaths(v, r)
		v.Servers = append(v.Servers, r.RealServer)
		v.Reals = append(v.Reals, r.Real)
	}
}

// clipped is a part of a shared slice as if it stood alone.
func clipped[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clip(s)
}

// finishCheck settles one check; of is the block around it, itself but for a host block.
func (l *loader) finishCheck(v *service, r *realServer, c, of *checker, to netip.AddrPort) {
	if c != of {
		host := *of
		host.ip, host.port, host.bind, host.bport, host.BindIf, host.Mark = c.ip, c.port, c.bind, c.bport, c.BindIf, c.Mark
		host.timing = c.timing.or(of.timing)
		c = &host
	}
	done := c.settle(v, r, to)
	r.Checks = append(r.Checks, done)
	switch {
	case done.Path && done.Target.Port() == 0 && c.Kind != health.PingCheck:
		d := l.after(Warning, "check-no-port", c.place, string(c.Kind)+" of "+v.endpointOf(r)+" has no port - ignoring the check")
		d.class, d.Hint = classOurs, "add: connect_port N"
	default:
		l.particulars(v, r, &done)
		r.Checkers = append(r.Checkers, done.Checker)
	}
}

// finishService keeps the service, and for the packet path if it is found by an address or a mark of its own.
func (l *loader) finishService(v *service, seen map[lb.ServiceKey]*service) {
	l.orphans = append(l.orphans, v.orphans...)
	v.ServiceKey = v.realKey()
	v.Timing = v.timing.settled()
	if s := v.sorry; s != nil {
		s.Forward, s.Tunnel = s.forward.method, s.forward.tunnel
		v.Service.Sorry, v.VirtualServer.Sorry, v.SorryInhibit = &s.Real.Real, &s.RealServer, s.InhibitOnFailure
	}
	l.cfg.VirtualServers = append(l.cfg.VirtualServers, &v.VirtualServer)
	if v.grouped != nil {
		l.finishGroup(v, seen)
		return
	}
	if v.hasMarks() && v.Mark == 0 {
		return
	}
	if o := seen[v.ServiceKey]; o != nil {
		// keepalived: silent; the second one then fails in the kernel and its real servers join the first.
		d := l.after(Warning, "duplicate-service", v.place, "Virtual server "+v.label()+" is defined twice - ignoring the second")
		d.class, d.Hint = classOurs, fmt.Sprintf("the one at line %d of %s counts", o.tok.Line, o.file.Name)
		return
	}
	seen[v.ServiceKey] = v
	l.cfg.Health.Services = append(l.cfg.Health.Services, v.Service)
}

// serviceScripts are all commands of services, in keepalived's order.
func (l *loader) serviceScripts() []*Script {
	var out []*Script
	if len(l.cfg.VirtualServers) == 0 {
		return nil
	}
	out = append(out, l.orphans...)
	for _, v := range l.cfg.VirtualServers {
		for i := range v.Servers {
			r := &v.Servers[i]
			for i := range r.Checks {
				if c := &r.Checks[i]; c.Command != nil {
					out = append(out, c.Command)
				}
			}
		}
	}
	for _, v := range l.cfg.VirtualServers {
		out = append(out, v.QuorumUp, v.QuorumDown)
		for i := range v.Servers {
			if r := &v.Servers[i]; r.NotifyUp != nil || r.NotifyDown != nil {
				out = append(out, r.NotifyUp, r.NotifyDown)
			}
		}
	}
	return append(out, l.cfg.Global.Scripts.Notify.Script, l.cfg.Global.Scripts.NotifyLVS.Script)
}

// refusedMember is why a service, or the first such member of a group, is refused.
func refusedMember(s health.Service, why func(lb.Service, []lb.Real) error) error {
	if len(s.Reals) == 0 {
		return nil
	}
	for _, one := range s.Each() {
		reals := make([]lb.Real, len(one.Reals))
		for i := range one.Reals {
			reals[i] = one.Reals[i].Real
		}
		if err := why(one.Service, reals); err != nil {
			return err
		}
	}
	return nil
}

// refused says which services are not forwarded by this version.
func (l *loader) refused(why func(lb.Service, []lb.Real) error) {
	if why == nil || l.cfg.Global.DataPlane == "ipvs" { // the kernel can have all, and says itself what it cannot
		return
	}
	for _, v := range l.vss {
		s := v.Service
		if s.Members = v.members; v.grouped != nil && len(s.Members) == 0 {
			continue
		}
		if err := refusedMember(s, why); err != nil {
			d := l.after(Warning, "not-yet", v.place, "Virtual server "+v.label()+" is not forwarded by this version: "+err.Error())
			d.class, d.Hint = classOurs, "the other services of the file run; use data_plane ipvs (the kernel's), or change what is named"
		}
	}
}
