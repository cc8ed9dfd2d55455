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
}

// extrasOf takes what the file says beside what internal/vrrp acts on.
func extrasOf(cfg *conf.Config) map[string]extra {
	all := map[string]extra{}
	for _, r := range cfg.Routers {
		x := extra{private: !r.Accept && r.Priority != 255}
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
	for _, r := range a.speaker.Routers() {
		if name := r.Config().Name; r.Status().State == vrrp.Master {
			a.dropExtras(name, old[name].without(extras[name]))
			a.addExtras(name, extras[name].without(old[name]))
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

// assume puts on the host what a new master has: the filter first, then addresses, routes and rules, as keepalived does.
//
// keepalived: it is master with or without its addresses. Here one that cannot be had is a fault, so that the other
// director takes over; after a while it is tried again. One that no kernel would take as it is written is only said: the
// other director has it no more than this one.
func (a *ha) assume(now time.Time, instance string) {
	a.holding[instance] = true
	a.filter()
	r := a.speaker.Router(instance)
	for _, addr := range addresses(r.Config()) {
		if err := a.host.AddAddress(addr); err != nil {
			a.events.Error("("+instance+") "+err.Error(), "vi", instance, "if", addr.Dev)
			if errors.Is(err, syscall.EINVAL) {
				continue
			}
			a.lacking[instance] = now.Add(retryAddress)
			r.Fault(now, causeLacking, true)
			return
		}
	}
	a.addExtras(instance, a.extras[instance])
}

// causeLacking names the fault of an address that the host does not take.
const causeLacking = "a virtual address cannot be set"

// release takes it off again, in the opposite order.
func (a *ha) release(instance string) {
	delete(a.holding, instance)
	a.dropExtras(instance, a.extras[instance])
	a.setAddresses(instance, a.host.DelAddress)
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
	if all = slices.Compact(all); slices.Equal(all, a.private) {
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
func (a *ha) lost(now time.Time, e host.AddressEvent) {
	for _, r := range a.speaker.Routers() {
		name := r.Config().Name
		if !a.holding[name] || r.Status().State != vrrp.Master {
			continue
		}
		for _, addr := range addresses(r.Config()) {
			if addr.Prefix != e.Prefix {
				continue
			}
			if link, err := a.host.Link(addr.Dev); err == nil && link.Index == e.Ifindex && link.Ready() {
				a.putBack(now, name, addr, e.By)
			}
		}
	}
}

// putBack tries once at once, and if that address is taken off more than every hundredth of a second, a second later.
func (a *ha) putBack(now time.Time, instance string, addr host.Address, by host.Port) {
	last := a.restored[addr.Prefix]
	a.restored[addr.Prefix] = now
	if now.Sub(last) < 10*time.Millisecond {
		a.again[instance] = now.Add(retryExtra)
		return
	}
	a.events.Warn("("+instance+") Netlink reflector reports IP "+addr.Prefix.Addr().String()+" removed from "+addr.Dev+by.String()+": it is put back", "vi", instance, "if", addr.Dev)
	if err := a.host.AddAddress(addr); err != nil {
		a.trouble(instance, err)
		a.again[instance] = now.Add(retryExtra)
		return
	}
	a.announce(vrrp.Announce{Instance: instance, Repeat: 1, Targets: []vrrp.Target{{Dev: addr.Dev, Addr: addr.Prefix.Addr()}}})
}

// routesChanged puts back routes of masters that went, be it with an interface that was down.
func (a *ha) routesChanged(now time.Time) {
	for name := range a.holding {
		if len(a.extras[name].routes)+len(a.extras[name].rules) > 0 && a.again[name].IsZero() {
			a.again[name] = now.Add(retryExtra)
		}
	}
}

// Next and Tick make a machine of the speaker and of what is tried again.
func (a *ha) Next() time.Time {
	next := a.speaker.Next()
	for _, due := range slices.Concat(slices.Collect(maps.Values(a.lacking)), slices.Collect(maps.Values(a.again))) {
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// Tick is what a loop.Loop calls when Next is due.
func (a *ha) Tick(now time.Time) {
	a.speaker.Tick(now)
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
		if r := a.speaker.Router(name); r != nil && r.Status().State == vrrp.Master {
			a.assume(now, name)
		}
	}
}
