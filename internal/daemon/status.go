package daemon

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/vrrp"
)

// Status implements control.Source: a snapshot of everything, each part as its loop knew it.
func (d *daemon) Status(context.Context) (control.Status, error) {
	s := control.Status{Instance: d.opts.Instance, Version: Version(), PID: os.Getpid(), Started: d.started, Config: d.opts.Config, State: d.opts.State}
	for _, r := range d.ha.status() {
		one := routerStatus(r)
		one.Claims = d.claims.of(r.Name)
		s.VRRP = append(s.VRRP, one)
	}
	s.Groups, s.Trackers = d.ha.followedStatus()
	s.Timing, s.Checks = d.ha.timing(), d.checksStatus()
	m := d.servicePool()
	if m == nil {
		return s, nil
	}
	st, err := m.status()
	if err != nil {
		return s, err
	}
	s.TableSize, s.Held = st.size, waiting(st.held)
	s.Services, s.Sync = serviceStatuses(st), st.sync
	d.mu.Lock()
	defer d.mu.Unlock()
	s.DataPlane = d.path
	for _, l := range d.links {
		s.Links = append(s.Links, control.Link{Name: l.name, Mode: l.mode})
	}
	for _, r := range st.reasons {
		s.Verdicts = append(s.Verdicts, control.Reason{Name: r.Name, Verdict: r.Verdict, Packets: r.Packets})
	}
	for _, o := range st.own {
		s.Own = append(s.Own, control.Own(o))
	}
	return s, nil
}

// Conns implements control.Source.
func (d *daemon) Conns(_ context.Context, visit func(lb.Conn) bool) error {
	m := d.servicePool()
	if m == nil {
		return nil
	}
	return m.conns(visit)
}

// Timeouts implements control.Source.
func (d *daemon) Timeouts(context.Context) (lb.Timeouts, error) {
	m := d.servicePool()
	if m == nil {
		return lb.DefaultTimeouts, nil
	}
	return m.timeouts()
}

// servicePool is the pool half, from any goroutine; nil while no service is configured.
func (d *daemon) servicePool() *pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pool
}

func routerStatus(r vrrp.Status) control.Router {
	out := control.Router{Name: r.Name, Interface: r.Interface, VRID: r.VRID, State: r.State.String(), Priority: r.Priority,
		Base: r.Base, Group: r.Group, Waiting: r.Waiting, Since: r.Since, Why: r.Why, Causes: r.Faults, Sent: r.Counters.Sent, Received: r.Counters.Received,
		BecameMaster: r.Counters.BecameMaster, Refused: map[string]uint64{}}
	if r.HoldsBack != "" {
		out.HoldsBack, out.HoldsNanos = r.HoldsBack, int64(max(time.Until(r.HoldsUntil), 0))
	}
	if r.Master.IsValid() {
		out.Master = r.Master.String()
	}
	for _, w := range r.Weights {
		out.Weights = append(out.Weights, control.Weight(w))
	}
	for _, v := range r.VIPs {
		out.VIPs = append(out.VIPs, v.String())
	}
	for reason, n := range r.Counters.Refused {
		out.Refused[string(reason)] = n
	}
	onTheWire(&out, &r)
	return out
}

// onTheWire adds how an instance speaks, to whom, and what it heard.
func onTheWire(out *control.Router, r *vrrp.Status) {
	out.V6, out.Version, out.Unicast, out.AdvertInt, out.MasterInt = r.V6, r.Version, r.Unicast, r.AdvertInt, r.MasterInt
	out.Auth, out.Checksum, out.Late, out.WorstLate = r.Auth, r.Checksum.String(), r.Counters.Late, r.Counters.WorstLate
	if r.Source.IsValid() {
		out.Source = r.Source.String()
	}
	for _, to := range r.To {
		out.To = append(out.To, to.String())
	}
	for _, p := range r.Peers {
		out.Peers = append(out.Peers, control.Peer{Address: p.Addr.String(), Priority: p.Priority, AdvertInt: p.AdvertInt, Checksum: p.Sum.String(), Last: p.Last, Adverts: p.Adverts})
	}
	for _, t := range r.History {
		out.Transitions = append(out.Transitions, control.Transition{At: t.At, From: t.From.String(), To: t.To.String(), Why: t.Why})
	}
	for _, f := range r.Refused {
		one := control.Refusal{Reason: string(f.Reason), Field: f.Field, Theirs: f.Theirs, Ours: f.Ours, Count: f.Count, First: f.First, Last: f.Last}
		if f.Peer.IsValid() {
			one.Peer = f.Peer.String()
		}
		out.Refusals = append(out.Refusals, one)
	}
}

// serviceStatuses joins what the machine wants with what the plane has counted.
func serviceStatuses(st poolStatus) []control.Service {
	have := map[lb.ServiceKey]plane.Pool{}
	for _, p := range st.plane {
		have[p.Service.ServiceKey] = p
	}
	var all []control.Service
	for _, s := range st.services {
		p := have[s.Service.ServiceKey]
		out := control.Service{Service: s.Service, Name: s.Service.ServiceKey.String(), Group: s.Group, Total: p.Total, Rate: p.Rate, Quorum: s.QuorumUp}
		counted := map[netip.AddrPort]plane.Real{}
		for _, r := range p.Reals {
			counted[r.Addr] = r
		}
		for _, r := range s.Reals {
			out.Reals = append(out.Reals, realStatus(s.Service.Protocol, r, counted, st.hops))
		}
		out.Reals = append(out.Reals, unknownReals(p, s, st.hops)...)
		if s.Sorry != nil && s.SorryUp {
			sorry := health.RealStatus{Real: *s.Sorry, Healthy: true, InPool: true, Listed: true, Why: "sorry server", Since: s.Since}
			out.Reals = append(out.Reals, realStatus(s.Service.Protocol, sorry, counted, st.hops))
		}
		all = append(all, out)
		delete(have, s.Service.ServiceKey)
	}
	for _, p := range st.plane { // in the plane's order
		if _, left := have[p.Service.ServiceKey]; left {
			all = append(all, unknownService(p, st.hops))
		}
	}
	return all
}

// madeByHand is why a real server that nobody configured is up.
const madeByHand = "made by hand"

// unknownService is one that nobody configured.
func unknownService(p plane.Pool, hops map[netip.Addr]host.Hop) control.Service {
	s := control.Service{Service: p.Service, Name: p.Service.ServiceKey.String(), Total: p.Total, Rate: p.Rate, Quorum: true}
	for _, r := range p.Reals {
		s.Reals = append(s.Reals, unknownReal(p.Service.Protocol, r, hops))
	}
	return s
}

// unknownReals are those of p that are not configured.
func unknownReals(p plane.Pool, s health.ServiceStatus, hops map[netip.Addr]host.Hop) (all []control.Real) {
	for _, r := range p.Reals {
		configured := slices.ContainsFunc(s.Reals, func(c health.RealStatus) bool { return c.Real.Addr == r.Addr })
		if !configured && (s.Sorry == nil || s.Sorry.Addr != r.Addr) {
			all = append(all, unknownReal(p.Service.Protocol, r, hops))
		}
	}
	return all
}

func unknownReal(p lb.Protocol, r plane.Real, hops map[netip.Addr]host.Hop) control.Real {
	out := realOf(p, r)
	out.Why, out.Hop = madeByHand, hopText(hops, r.Addr.Addr())
	return out
}

func hopText(hops map[netip.Addr]host.Hop, a netip.Addr) string {
	switch h, ok := hops[a]; {
	case !ok:
		return ""
	case h.OK:
		return h.Dst.String() + " on " + h.IfName
	default:
		return h.Why
	}
}

func realStatus(p lb.Protocol, r health.RealStatus, counted map[netip.AddrPort]plane.Real, hops map[netip.Addr]host.Hop) control.Real {
	out := control.Real{Real: r.Real, Name: lb.EndpointName(p, r.Real.Addr), InPool: r.Listed, Healthy: r.Healthy, Why: r.Why, Since: r.Since, Operator: handStatus(r.Hand)}
	if c, ok := counted[r.Real.Addr]; ok {
		out.Weight = c.Weight // what packets see: 0 while inhibited
		out.Active, out.Inactive, out.Persist, out.Total, out.Rate = c.Active, c.Inactive, c.Persist, c.Total, c.Rate
	}
	out.Hop = hopText(hops, r.Real.Addr.Addr())
	out.Ways, out.Peers = waysOf(r.Checks), peersSay(r.Peers)
	for _, c := range r.Checks {
		if !c.Ends.IsZero() && (out.Certificate == nil || c.Ends.Before(out.Certificate.Ends)) {
			out.Certificate = &control.Certificate{Ends: c.Ends, Warning: c.Warning}
		}
	}
	return out
}

// waysOf puts the verdicts by the way that checks take beside each other. Nothing if all go to real servers' own addresses.
func waysOf(checks []health.CheckStatus) []control.Way {
	var out []control.Way
	special := false
	for _, c := range checks {
		to := "its own address"
		if c.Checker.Way != nil {
			to, special = c.Checker.Way.String(), true
		}
		i := slices.IndexFunc(out, func(w control.Way) bool { return w.To == to })
		if i < 0 {
			i, out = len(out), append(out, control.Way{To: to, Up: true})
		}
		if n := len(c.Last); !c.Up {
			out[i].Up = false
			if n > 0 {
				out[i].Why = c.Last[n-1].Why
			}
		}
	}
	if !special {
		return nil
	}
	return out
}
