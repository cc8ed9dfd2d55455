package conf

import (
	"fmt"
	"net/netip"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// completeServices settles every service and keeps those that have real servers, as keepalived does.
func (l *loader) completeServices() {
	seen := map[lb.ServiceKey]*service{}
	for _, v := range l.vss {
		if len(v.reals) == 0 {
			d := l.after(Warning, "no-real-server", v.place, "Virtual server "+v.String()+" has no real servers - ignoring")
			d.Hint = "add: real_server IP PORT { … }"
			continue
		}
		l.serviceDefaults(v)
		if o := seen[v.key()]; o != nil {
			// keepalived: silent; the second one then fails in the kernel and its real servers join the first.
			d := l.after(Warning, "duplicate-service", v.place, "Virtual server "+v.String()+" is defined twice - ignoring the second")
			d.Hint = fmt.Sprintf("the one at line %d of %s counts", o.tok.Line, o.file.Name)
			continue
		}
		seen[v.key()] = v
		l.cfg.Health.Services = append(l.cfg.Health.Services, l.pool(v))
	}
}

// key is the finished name of the service: a mark's has no protocol, though the file may say one.
func (v *service) key() lb.ServiceKey {
	k := v.ServiceKey
	if k.Mark != 0 {
		k.Protocol = lb.IP
	}
	return k
}

// serviceDefaults says and sets what the block leaves open.
func (l *loader) serviceDefaults(v *service) {
	if v.Mark != 0 {
		v.V6 = v.reals[0].Addr.Addr().Is6() || v.V6
	} else if !v.proto {
		l.after(Warning, "no-protocol", v.place, "Virtual server "+v.String()+": no protocol set - defaulting to UDP").Hint = "add: protocol TCP"
		v.Protocol = lb.UDP
	}
	if v.Scheduler == "" {
		l.after(Warning, "no-scheduler", v.place, "Virtual server "+v.String()+": no scheduler set, setting default 'wlc'").Hint = "add: lb_algo wlc"
		v.Scheduler = "wlc"
	}
	if !v.forward.set {
		l.after(Warning, "no-forwarding", v.place, "Virtual server "+v.String()+": no forwarding method set, setting default NAT").Hint = "add: lb_kind NAT, or DR, or TUN"
	}
	if v.OnePacket && v.Mark == 0 && v.Protocol != lb.UDP {
		l.after(Warning, "ops-not-udp", v.place, "Virtual server "+v.String()+": one packet scheduling requires UDP - resetting")
		v.OnePacket = false
	}
	if v.Mark == 0 && v.Addr.Port() == 0 && v.Persistence == 0 {
		d := l.after(Warning, "zero-port", v.place, "Virtual server "+v.String()+": zero port only valid for persistent services - setting")
		d.Hint = "give the service a port, or set persistence_timeout yourself; now it is 360 s"
		v.Persistence = 360 * time.Second
	}
	if v.interval < 0 {
		v.interval = defaults.interval
	}
	v.DelayLoop = v.interval
}

// pool makes the finished service.
func (l *loader) pool(v *service) health.Service {
	out := v.Service
	out.ServiceKey = v.key()
	total := int64(0)
	seen := map[netip.AddrPort]bool{}
	for _, r := range v.reals {
		configured := r.Addr
		if configured.Port() == 0 {
			configured = netip.AddrPortFrom(configured.Addr(), v.Addr.Port())
		}
		l.fitPort(v, r)
		if seen[r.Addr] {
			l.after(Warning, "duplicate-real", r.place, fmt.Sprintf("VS %s: real server %s is duplicated - removing second rs", v.String(), v.endpointOf(r)))
			continue
		}
		seen[r.Addr] = true
		done := l.real(v, r, configured)
		total += int64(done.Weight)
		out.Reals = append(out.Reals, done)
	}
	l.quorum(v, &out, total)
	l.sorryServer(v, &out)
	return out
}

// fitPort makes the real server's port the service's where packets are not rewritten, as nothing could change it.
func (l *loader) fitPort(v *service, r *realServer) {
	addr, port := r.Addr.Addr(), r.Addr.Port()
	method := v.forward
	if r.forward.set {
		method = r.forward
	}
	switch {
	case v.Mark != 0 && port != 0:
		l.after(Warning, "port-with-mark", r.place, fmt.Sprintf("WARNING - fwmark virtual server %s, real server %s has port specified - clearing",
			v.String(), v.endpointOf(r)))
		r.Addr = netip.AddrPortFrom(addr, 0)
	case v.Mark == 0 && port == 0:
		r.Addr = netip.AddrPortFrom(addr, v.Addr.Port())
	case v.Mark == 0 && method.method != lb.Masq && port != v.Addr.Port():
		l.after(Warning, "port-differs", r.place, fmt.Sprintf("WARNING - virtual server %s and real server %s ports don't match - resetting",
			v.String(), v.endpointOf(r))).Hint = "direct routing and tunnels cannot change the port; only lb_kind NAT can"
		r.Addr = netip.AddrPortFrom(addr, v.Addr.Port())
	}
}

// real makes the finished real server. configured is its address before fitPort.
func (l *loader) real(v *service, r *realServer, configured netip.AddrPort) health.Real {
	out := health.Real{Real: r.Real, InhibitOnFailure: first(v.InhibitOnFailure, r.inhibit), Alpha: first(v.Alpha, r.alpha)}
	if out.Weight < 0 {
		out.Weight = v.weight
	}
	f := v.forward
	if r.forward.set {
		f = r.forward
	}
	out.Forward, out.Tunnel = f.method, f.tunnel
	for _, c := range r.checkers {
		done := c.settle(v, r, configured)
		if done.Target.Port() == 0 {
			l.after(Warning, "check-no-port", c.place, "TCP_CHECK of "+v.endpointOf(r)+" has no port - ignoring the check").Hint = "add: connect_port N"
			continue
		}
		out.Checkers = append(out.Checkers, done)
	}
	return out
}

// quorum lowers what can never be reached.
func (l *loader) quorum(v *service, out *health.Service, total int64) {
	if int64(out.Quorum) > total {
		d := l.after(Warning, "quorum-too-high", v.place, fmt.Sprintf("Warning - quorum %d for %s exceeds total weight of real servers %d, reducing quorum to %d",
			out.Quorum, v.String(), total, total))
		d.Hint = "the quorum is compared with the sum of the weights of the real servers that are up"
		out.Quorum = int(max(1, total)) // keepalived: 0 when all weights are 0, which means that it is always reached
	}
	if out.Hysteresis > 0 && out.Hysteresis >= out.Quorum {
		l.after(Warning, "hysteresis-too-high", v.place, fmt.Sprintf("Virtual server %s: hysteresis %d >= quorum %d; setting hysteresis to %d",
			v.String(), out.Hysteresis, out.Quorum, out.Quorum-1))
		out.Hysteresis = out.Quorum - 1
	}
}

func (l *loader) sorryServer(v *service, out *health.Service) {
	s := v.sorry
	if s == nil {
		return
	}
	addr, port := s.Addr.Addr(), s.Addr.Port()
	switch {
	case v.Mark != 0 && port != 0:
		l.after(Warning, "port-with-mark", s.place, "WARNING - virtual server "+v.String()+", sorry server has port specified - clearing")
		port = 0
	case v.Mark == 0 && v.forward.method != lb.Masq && port != 0 && port != v.Addr.Port():
		l.after(Warning, "port-differs", s.place, "WARNING - virtual server "+v.String()+" and sorry server ports don't match - resetting")
		port = v.Addr.Port()
	case v.Mark == 0 && port == 0:
		port = v.Addr.Port()
	}
	real := s.Real
	real.Addr, real.Forward, real.Tunnel = netip.AddrPortFrom(addr, port), v.forward.method, v.forward.tunnel
	out.Sorry = &real
}
