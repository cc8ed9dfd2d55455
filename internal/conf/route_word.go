package conf

import (
	"math"
	"net/netip"
	"strings"
)

// familyWord is what follows inet or inet6. keepalived: it steps over the word behind it, which Test does too.
func (r *routeLine) familyWord() bool {
	if r.l.pass != passAll {
		r.i++
	}
	return true
}

func (r *routeLine) number(w string, hi int64, lock bool, bad string) bool {
	v, ok := r.next()
	if ok && lock && v == "lock" {
		_, ok = r.next()
		r.Options = append(r.Options, [2]string{"lock", w})
	}
	if !ok {
		return false
	}
	n, ok := r.l.integer(r.s, r.i, 0, hi, bad)
	if w == "metric" || w == "priority" || w == "preference" {
		r.Metric = uint32(n)
	} else {
		r.Options = append(r.Options, [2]string{w, r.s.text(r.i)})
	}
	return ok
}

// literal reads an address without a length.
func (r *routeLine) literal() (netip.Addr, bool) {
	p, ok := r.l.prefix(r.s, r.i, false)
	return p.Addr(), ok
}

func (r *routeLine) addressWord(w string) bool {
	if w == "gw" {
		r.l.warn(r.s.words[r.i], "deprecated", `"gw" for routes is deprecated. Please use "via"`)
	}
	v, ok := r.next()
	if !ok {
		return false
	}
	const mixed = "Cannot mix IPv4 and IPv6 addresses for route"
	if w == "from" {
		return r.from(v)
	}
	if w != "src" && (v == "inet" || v == "inet6") {
		if !r.family(v == "inet6") {
			return r.bad(mixed)
		}
		if _, ok = r.next(); !ok {
			return false
		}
	}
	a, ok := r.literal()
	if !ok {
		return r.bad("invalid route %s address %s", map[bool]string{true: "src", false: "via"}[w == "src"], r.s.text(r.i))
	}
	if !r.family(a.Is6()) {
		return r.bad(mixed)
	}
	if w == "src" {
		r.Source = a
	} else {
		r.Via = a
	}
	return true
}

// special are the destinations that are words.
var special = words("default any all default6")

func (r *routeLine) from(v string) bool {
	v6 := v == "default6"
	if !special[v] {
		p, ok := r.l.prefix(r.s, r.i, true)
		if !ok {
			return r.bad("invalid route from address %s", v)
		}
		v6 = p.Addr().Is6()
	}
	if !v6 {
		return r.bad("route from address only supported with IPv6 (%s)", v)
	}
	if !r.family(true) {
		return r.bad("Cannot mix IPv4 and IPv6 addresses for route")
	}
	r.Options = append(r.Options, [2]string{"from", v})
	return true
}

// nameWord handles the words that a name or a time follows.
func (r *routeLine) nameWord(w string) bool {
	v, ok := r.next()
	if ok && v == "lock" && (w == "rtt" || w == "rttvar" || w == "rto_min" || w == "congctl") {
		v, ok = r.next()
		r.Options = append(r.Options, [2]string{"lock", w})
	}
	if !ok {
		return false
	}
	switch w {
	case "tos", "dsfield":
		if !r.l.named("rt_dsfield", v, 255, dsfields) {
			return r.bad("TOS value %s is invalid", v)
		}
	case "table":
		if !r.l.named("rt_tables", v, math.MaxUint32, routeTables) {
			return r.bad("Routing table %s not found for route", v)
		}
		r.Table = v
		return true
	case "protocol":
		if !r.l.named("rt_protos", v, 255, routeProtos) {
			return r.bad("Protocol %s not found or invalid for route", v)
		}
		r.proto = v
	case "scope":
		if !isScope(v) {
			return r.bad("Scope %s not found or invalid for route", v)
		}
		r.Scope = v
		return true
	case "realms":
		if !r.l.realms(v) {
			return r.bad("Invalid realms %s for route", v)
		}
		if r.famKnown && r.V6 {
			return r.bad("realms are only valid for IPv4")
		}
		r.family(false)
	case "rtt", "rttvar", "rto_min":
		if !r.time(w, v) {
			return false
		}
	case "pref":
		if r.famKnown && !r.V6 {
			return r.bad("pref is only valid for IPv6")
		}
		r.famKnown, r.V6 = true, true
		if v != "low" && v != "medium" && v != "high" {
			if _, ok := r.l.integer(r.s, r.i, 0, 255, "Invalid pref value {value} specified for route"); !ok {
				return false
			}
		}
	case "features":
		if v != "ecn" {
			r.bad("feature %s not supported", v)
		}
	case "ttl-propagate":
		if v != "enabled" && v != "disabled" {
			r.bad("ttl-propagate value %s not recognised", v)
		}
	}
	r.Options = append(r.Options, [2]string{w, v})
	return true
}

// time reads a round trip time: a number, or one with s, ms, sec and the like.
func (r *routeLine) time(w, v string) bool {
	also := "Invalid " + w + " {value} for route"
	if w == "rto_min" {
		also = "Invalid rto_min value {value} specified for route"
	}
	t, places, unit := strings.TrimLeft(v, blanks), 0, int64(map[string]int{"rtt": 8, "rttvar": 4, "rto_min": 1}[w])
	if i := strings.IndexAny(t, "sS"); i >= 0 {
		switch strings.ToLower(t[i:]) {
		case "s", "sec", "secs":
		default:
			r.l.badValue(r.s, r.i, "", also)
			return false
		}
		if t, places = t[:i], 3; strings.HasSuffix(strings.ToLower(t), "m") {
			t, places = t[:len(t)-1], 0
		}
	}
	if t == "" || strings.ContainsAny(t, "eE") {
		r.l.badValue(r.s, r.i, "", also)
		return false
	}
	cut := stmt{words: []Token{r.s.words[r.i]}, file: r.s.file}
	cut.words[0].Text = t
	full := also
	also = strings.ReplaceAll(full, "{value}", v)
	_, ok := r.l.fraction(&cut, 0, 0, uint64(120000*unit), places, false, also)
	return ok
}

func (r *routeLine) device(at *string) bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if _, ok := r.l.iface(v); !ok {
		return r.bad("WARNING - interface %s for VROUTE nexthop doesn't exist", v)
	}
	*at = v
	return true
}

func (r *routeLine) vrf() bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if r.l.host != nil && r.l.host.Interfaces != nil {
		i, ok := r.l.host.Interfaces(v)
		if !ok {
			return r.bad("VRF %s not found for route", v)
		}
		if !i.VRF {
			return r.bad("Route specified VRF %s is not a VRF", v)
		}
	}
	r.Options = append(r.Options, [2]string{"vrf", v})
	return true
}

func (r *routeLine) expires() bool {
	v, ok := r.next()
	if !ok && r.i > len(r.s.words) {
		return false
	}
	if r.famKnown && !r.V6 {
		return r.bad("expires is only valid for IPv6")
	}
	if !ok {
		return false
	}
	r.famKnown, r.V6 = true, true
	r.Options = append(r.Options, [2]string{"expires", v})
	_, ok = r.l.integer(r.s, r.i, 0, math.MaxUint32, "Invalid expires time {value} specified for route")
	return ok
}
