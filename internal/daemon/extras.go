package daemon

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// extra is what an instance holds as master beside its addresses.
type extra struct {
	routes  []host.NewRoute
	rules   []host.NewRule
	private bool // no_accept: packets to the addresses are dropped by the host

	trackSource bool           // no source address is a fault, also one of the file
	noTrack     []netip.Prefix // addresses that nobody puts back
}

// extrasOf takes what the file says beside what internal/vrrp acts on.
func extrasOf(cfg *conf.Config) map[string]extra {
	all := map[string]extra{}
	for _, r := range cfg.Routers {
		x := extra{private: !r.Accept && r.Priority != 255, trackSource: r.TrackSource}
		for _, addr := range slices.Concat(r.Addresses, r.ExcludedAddresses) {
			if addr.NoTrack {
				x.noTrack = append(x.noTrack, addr.Prefix)
			}
		}
		for _, route := range r.Routes {
			x.routes = append(x.routes, newRoute(route))
		}
		for _, rule := range r.Rules {
			x.rules = append(x.rules, newRule(rule))
		}
		all[r.Name] = x
	}
	return all
}

func newRoute(r conf.Route) host.NewRoute {
	n := host.NewRoute{V6: r.V6, Type: r.Type, To: r.To, Via: r.Via, Dev: r.Dev, Table: r.Table, Source: r.Source, Scope: r.Scope,
		Metric: r.Metric, OnLink: r.OnLink, Options: r.Options}
	for _, h := range r.Nexthops {
		n.Nexthops = append(n.Nexthops, host.NewHop(h))
	}
	return n
}

func newRule(r conf.Rule) host.NewRule {
	return host.NewRule{V6: r.V6, From: r.From, To: r.To, Table: r.Table, Not: r.Not, Priority: r.Priority, Action: r.Action, Goto: r.Goto,
		In: r.In, Out: r.Out, Options: r.Options}
}

// Pauses between tries to get what the host refuses or somebody takes away again and again.
const (
	retryAddress = 5 * time.Second // of an instance that is out for want of an address
	retryExtra   = time.Second
)

// equip makes these the extras of the instances. Of one that is master, what went is removed and what came is set.
func (a *ha) equip(extras map[string]extra) {
	old := a.extras
	a.extras = extras
	a.note()
	for _, r := range a.speaker.Routers() {
		if name := r.Config().Name; a.holding[name] {
			gone, added := old[name].without(extras[name]), extras[name].without(old[name])
			a.hands.do(func() {
				a.dropExtras(name, gone)
				a.addExtras(name, added)
			})
		}
	}
	a.filter()
}

// without is what of x is not in y.
func (x extra) without(y extra) extra {
	return extra{
		routes: slices.DeleteFunc(slices.Clone(x.routes), func(r host.NewRoute) bool { return slices.ContainsFunc(y.routes, r.Equal) }),
		rules:  slices.DeleteFunc(slices.Clone(x.rules), func(r host.NewRule) bool { return slices.ContainsFunc(y.rules, r.Equal) }),
	}
}

// assume has the hands put on the host what a new master has: the filter first, then addresses, routes and rules, as
// keepalived does. The loop is told when the addresses are there.
//
// keepalived: it is master with or without its addresses. Here one that cannot be had is a fault, so that the other
// director takes over; after a while it is tried again. One that no kernel would take as it is written is only said: the
// other director has it no more than this one.
func (a *ha) assume(instance string, term uint64) {
	a.holding[instance] = true
	a.filter()
	all, extras := addresses(a.speaker.Router(instance).Config()), a.extras[instance]
	a.hands.do(func() {
		set := a.setAll(instance, all)
		a.loop.Send(func(now time.Time) { a.assumed(now, instance, term, set) })
		if set {
			a.addExtras(instance, extras)
		}
	})
}

// setAll reports whether the host has all the addresses that it can have.
func (a *ha) setAll(instance string, all []host.Address) bool {
	for _, addr := range all {
		if err := a.host.AddAddress(addr); err != nil {
			a.events.Error("("+instance+") "+err.Error(), "vi", instance, "if", addr.Dev)
			if !errors.Is(err, syscall.EINVAL) {
				return false
			}
		}
	}
	return true
}

// assumed is what the hands tell.
func (a *ha) assumed(now time.Time, instance string, term uint64, set bool) {
	r := a.speaker.Router(instance)
	switch {
	case r == nil:
	case set:
		r.Confirm(now, term)
	case r.Refuse(now, term, causeLacking):
		a.lacking[instance] = now.Add(retryAddress)
	}
}

// causeLacking names the fault of an address that the host does not take.
const causeLacking = "a virtual address cannot be set"

// release takes it off again, in the opposite order.
func (a *ha) release(instance string) {
	delete(a.holding, instance)
	all, extras := addresses(a.speaker.Router(instance).Config()), a.extras[instance]
	a.hands.do(func() {
		a.dropExtras(instance, extras)
		a.vacate(instance, all)
	})
	a.filter()
}

func (a *ha) addExtras(instance string, x extra) {
	if len(x.routes) > 0 {
		a.events.Debug("("+instance+") setting Virtual Routes", "vi", instance)
	}
	for _, r := range x.routes {
		a.trouble(instance, a.host.AddRoute(r))
	}
	if len(x.rules) > 0 {
		a.events.Debug("("+instance+") setting Virtual Rules", "vi", instance)
	}
	for _, r := range x.rules {
		a.trouble(instance, a.host.AddRule(r))
	}
}

func (a *ha) dropExtras(instance string, x extra) {
	if len(x.rules) > 0 {
		a.events.Debug("("+instance+") removing Virtual Rules", "vi", instance)
	}
	for _, r := range slices.Backward(x.rules) {
		a.trouble(instance, a.host.DelRule(r))
	}
	if len(x.routes) > 0 {
		a.events.Debug("("+instance+") removing Virtual Routes", "vi", instance)
	}
	for _, r := range slices.Backward(x.routes) {
		a.trouble(instance, a.host.DelRoute(r))
	}
}

func (a *ha) trouble(instance string, err error) {
	if err != nil {
		a.events.Error("("+instance+") "+err.Error(), "vi", instance)
	}
}

// filter tells the host which addresses take no packets: those that masters hold without accept.
func (a *ha) filter() {
	var all []netip.Addr
	for _, r := range a.speaker.Routers() {
		if cfg := r.Config(); a.holding[cfg.Name] && a.extras[cfg.Name].private {
			for _, addr := range addresses(cfg) {
				all = append(all, addr.Prefix.Addr())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	a.hands.do(func() { a.dropTo(all) })
}

func (a *ha) dropTo(all []netip.Addr) {
	if slices.Equal(all, a.private) {
		return
	}
	if err := a.host.DropTo(all); err != nil {
		a.events.Error("no_accept: " + err.Error())
		return
	}
	a.private = all
}

// lost puts back what somebody took off a master, and says who.
//
// keepalived: it gives up mastership and takes it again, which its peers and clients notice.
func (a *ha) lost(e host.AddressEvent) {
	a.lostStatic(e)
	for _, r := range a.speaker.Routers() {
		name := r.Config().Name
		if !a.holding[name] || r.State() != vrrp.Master || slices.Contains(a.extras[name].noTrack, e.Prefix) {
			continue
		}
		for _, addr := range addresses(r.Config()) {
			if addr.Prefix == e.Prefix {
				a.hands.do(func() { a.putBack(name, addr, e) })
			}
		}
	}
}

// putBack tries once at once, and if that address is taken off more than every hundredth of a second, a second later. It
// belongs to the hands, as restored does.
func (a *ha) putBack(instance string, addr host.Address, e host.AddressEvent) {
	if link, err := a.host.Link(addr.Dev); err != nil || link.Index != e.Ifindex || !link.Ready() {
		return
	}
	now := time.Now()
	last := a.restored[addr.Prefix]
	a.restored[addr.Prefix] = now
	later := func() {
		a.loop.Send(func(now time.Time) { a.again[instance] = now.Add(retryExtra) })
	}
	if now.Sub(last) < 10*time.Millisecond {
		later()
		return
	}
	a.events.Warn("("+instance+") Netlink reflector reports IP "+addr.Prefix.Addr().String()+" removed from "+addr.Dev+e.By.String()+": it is put back", "vi", instance, "if", addr.Dev)
	if err := a.host.AddAddress(addr); err != nil {
		a.trouble(instance, err)
		later()
		return
	}
	a.announcer.Announce(now, instance, []vrrp.Target{{Dev: addr.Dev, Addr: addr.Prefix.Addr()}}, 1)
}

// routesChanged puts back routes and rules that went, be it with an interface that was down.
func (a *ha) routesChanged(now time.Time) {
	if len(a.statics.routes)+len(a.statics.rules) > 0 && a.again[""].IsZero() {
		a.again[""] = now.Add(retryExtra)
	}
	for name := range a.holding {
		if len(a.extras[name].routes)+len(a.extras[name].rules) > 0 && a.again[name].IsZero() {
			a.again[name] = now.Add(retryExtra)
		}
	}
}

// Next and Tick make a machine of the speaker and of what is tried again.
func (a *ha) Next() time.Time {
	next := a.speaker.Next()
	if held := a.delays.Next(); next.IsZero() || !held.IsZero() && held.Before(next) {
		next = held
	}
	for _, due := range slices.Concat(slices.Collect(maps.Values(a.lacking)), slices.Collect(maps.Values(a.again))) {
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// Tick is what a loop.Loop calls when Next is due.
func (a *ha) Tick(now time.Time) {
	if a.speaker.Expecting(now) {
		a.hear(now)
	}
	a.speaker.Tick(now)
	for _, c := range a.delays.Due(now) {
		a.countLink(now, c.Name, c.Up)
	}
	for name, due := range a.lacking {
		if !due.After(now) {
			delete(a.lacking, name)
			if r := a.speaker.Router(name); r != nil {
				r.Fault(now, causeLacking, false)
			}
		}
	}
	for name, due := range a.again {
		if due.After(now) {
			continue
		}
		delete(a.again, name)
		if name == "" {
			a.staticsAgain()
			continue
		}
		if r := a.speaker.Router(name); r != nil && r.State() == vrrp.Master {
			a.assume(name, 0)
		}
	}
}
