package conf

// nexthops reads nexthop via ADDR [dev IF] [weight N] …, several times.
func (r *routeLine) nexthops() bool {
	for r.i < len(r.s.words) && r.s.text(r.i) == "nexthop" {
		r.i++
		var n Nexthop
		for more := true; more && r.i < len(r.s.words); {
			ok := true
			if more, ok = r.hopWord(&n); !ok {
				return true // keepalived: the route stays without this one
			}
			if more {
				r.i++
			}
		}
		r.Nexthops = append(r.Nexthops, n)
	}
	if r.i < len(r.s.words) {
		r.bad("Route has trailing nonsense after nexthops - %s", r.s.text(r.i))
	}
	return true
}

func (r *routeLine) hopWord(n *Nexthop) (more, ok bool) {
	switch w := r.s.text(r.i); w {
	case "via":
		return true, r.hopVia(n)
	case "dev":
		return true, r.device(&n.Dev)
	case "weight":
		if _, ok := r.next(); !ok {
			return true, false
		}
		v, ok := r.l.integer(r.s, r.i, 0, 256, "Invalid weight {value} specified for route")
		if ok && v == 0 {
			return true, r.bad("Invalid weight 0 specified for route")
		}
		n.Weight = int(v)
		return true, ok
	case "onlink":
		n.OnLink = true
	case "encap":
		return true, r.encap()
	case "realms":
		v, ok := r.next()
		if !ok {
			return true, false
		}
		if !r.l.realms(v) {
			return true, r.bad("Invalid realms %s for route", v)
		}
		if !r.family(false) {
			return true, r.bad("realms are only supported for IPv4")
		}
		n.Options = append(n.Options, [2]string{"realms", v})
	case "as":
		v, ok := r.next()
		if v == "to" {
			_, ok = r.next()
		}
		if ok {
			r.bad("'as [to]' (nat) not supported")
		}
		return true, false
	default:
		return false, true
	}
	return true, true
}

func (r *routeLine) hopVia(n *Nexthop) bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if v == "inet" || v == "inet6" {
		if !r.family(v == "inet6") {
			return r.bad("IPv4/6 mismatch for nexthop")
		}
		if _, ok = r.next(); !ok {
			return false
		}
	}
	a, ok := r.literal()
	if !ok {
		return r.bad("invalid nexthop address %s", r.s.text(r.i))
	}
	if !r.family(a.Is6()) {
		return r.bad("Address family mismatch for next hop")
	}
	n.Via = a
	return true
}
