package daemon

import (
	"slices"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// statics are what is on the host as long as the daemon runs: static_ipaddress, static_routes and static_rules.
type statics struct {
	addresses []host.Address
	routes    []host.NewRoute
	rules     []host.NewRule
	promote   []string // interfaces on which secondary addresses outlive their primary one
}

func staticsOf(cfg *conf.Config) (s statics) {
	for _, a := range cfg.StaticAddresses {
		s.addresses = append(s.addresses, host.Address(a.Address))
	}
	for _, r := range cfg.StaticRoutes {
		s.routes = append(s.routes, newRoute(r))
	}
	for _, r := range cfg.StaticRules {
		s.rules = append(s.rules, newRule(r))
	}
	for _, r := range cfg.Routers {
		if r.PromoteSecondaries && !slices.Contains(s.promote, r.Interface) {
			s.promote = append(s.promote, r.Interface)
		}
	}
	return s
}

// without is what of s is not in o.
func (s statics) without(o statics) statics {
	x := extra{routes: s.routes, rules: s.rules}.without(extra{routes: o.routes, rules: o.rules})
	return statics{
		addresses: slices.DeleteFunc(slices.Clone(s.addresses), func(a host.Address) bool { return slices.Contains(o.addresses, a) }),
		routes:    x.routes,
		rules:     x.rules,
		promote:   slices.DeleteFunc(slices.Clone(s.promote), func(dev string) bool { return slices.Contains(o.promote, dev) }),
	}
}

// settle makes these the statics: what went is removed, what came is set. It belongs to the loop.
func (a *ha) settle(s statics) {
	gone, added := a.statics.without(s), s.without(a.statics)
	a.statics = s
	a.hands.do(func() {
		a.unsettle(gone)
		for _, dev := range added.promote {
			a.promoted[dev] = a.promote(dev, "1")
		}
		for _, addr := range added.addresses {
			a.trouble("static", a.host.AddAddress(addr))
		}
		for _, r := range added.routes {
			a.trouble("static", a.host.AddRoute(r))
		}
		for _, r := range added.rules {
			a.trouble("static", a.host.AddRule(r))
		}
	})
}

// unsettle removes statics, the last first.
func (a *ha) unsettle(gone statics) {
	for _, r := range slices.Backward(gone.rules) {
		a.trouble("static", a.host.DelRule(r))
	}
	for _, r := range slices.Backward(gone.routes) {
		a.trouble("static", a.host.DelRoute(r))
	}
	for _, addr := range slices.Backward(gone.addresses) {
		a.trouble("static", a.host.DelAddress(addr))
	}
	for _, dev := range gone.promote {
		a.promote(dev, a.promoted[dev])
		delete(a.promoted, dev)
	}
}

// promote sets whether the kernel keeps secondary addresses when their primary one goes, and returns how it was.
func (a *ha) promote(dev, value string) (old string) {
	old, err := a.host.SetSysctl("net/ipv4/conf/"+dev+"/promote_secondaries", value)
	a.trouble("promote_secondaries", err)
	return old
}

// lostStatic puts back an address of static_ipaddress that somebody took off.
func (a *ha) lostStatic(e host.AddressEvent) {
	for _, addr := range a.statics.addresses {
		if addr.Prefix != e.Prefix {
			continue
		}
		a.hands.do(func() {
			if link, err := a.host.Link(addr.Dev); err == nil && link.Index == e.Ifindex {
				a.events.Info("Restoring deleted static address "+addr.String()+e.By.String(), "if", addr.Dev)
				a.trouble("static", a.host.AddAddress(addr))
			}
		})
	}
}

// staticsAgain sets what is static once more: addresses, routes and rules that an interface took with it, or somebody.
func (a *ha) staticsAgain() {
	all := a.statics
	a.hands.do(func() {
		for _, addr := range all.addresses {
			a.trouble("static", a.host.AddAddress(addr))
		}
		for _, r := range all.routes {
			a.trouble("static", a.host.AddRoute(r))
		}
		for _, r := range all.rules {
			a.trouble("static", a.host.AddRule(r))
		}
	})
}
