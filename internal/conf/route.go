package conf

import (
	"math"
	"net/netip"
)

// routeLine is a route while its line is read.
type routeLine struct {
	Route
	l        *loader
	s        *stmt
	i        int // the word being looked at
	famKnown bool
	typed    bool
	proto    string
}

// family takes the family of a word of the route; the first one decides.
func (r *routeLine) family(v6 bool) bool {
	if !r.famKnown {
		r.famKnown, r.V6 = true, v6
	}
	return r.V6 == v6
}

// next gives the following word.
func (r *routeLine) next() (string, bool) {
	r.i++
	return r.l.want(r.s, r.i)
}

func (r *routeLine) bad(format string, a ...any) bool {
	r.l.bad(r.s, r.i, format, a...)
	return false
}

// routeNumbers are the words that a number follows: the largest one, whether lock may stand before it, and what is said
// of a bad one.
var routeNumbers = map[string]struct {
	hi   int64
	lock bool
	bad  string
}{
	"metric": {math.MaxUint32, false, "Invalid metric {value} specified for route"}, "priority": {math.MaxUint32, false, "Invalid metric {value} specified for route"},
	"preference": {math.MaxUint32, false, "Invalid metric {value} specified for route"}, "mtu": {math.MaxUint32, true, "Invalid MTU {value} specified for route"},
	"hoplimit": {255, false, "Invalid hoplimit {value} specified for route"}, "advmss": {math.MaxUint32, true, "Invalid advmss {value} specified for route"},
	"reordering": {math.MaxUint32, true, "Invalid reordering value {value} specified for route"}, "window": {math.MaxUint32, false, "Invalid window value {value} specified for route"},
	"cwnd": {math.MaxUint32, true, "Invalid cwnd value {value} specified for route"}, "ssthresh": {math.MaxUint32, true, "Invalid ssthresh value {value} specified for route"},
	"initcwnd": {math.MaxUint32, false, "Invalid initcwnd value {value} specified for route"}, "initrwnd": {math.MaxUint32, false, "Invalid initrwnd value {value} specified for route"},
	"quickack":           {1, false, "Invalid quickack value {value} specified for route"},
	"fastopen_no_cookie": {1, false, "Invalid fastopen_no_cookie value {value} specified for route"},
}

// routeLines makes the item of a block of routes.
func routeLines(static bool, put func(l *loader, r Route)) setter {
	return func(l *loader, s *stmt) {
		r := &routeLine{l: l, s: s}
		if r.read(static) {
			put(l, r.Route)
		}
	}
}

func (r *routeLine) read(static bool) bool {
	nexthops := false
	for r.i < len(r.s.words) {
		w := r.s.text(r.i)
		if w == "nexthop" {
			if len(r.Nexthops) > 0 {
				r.bad("Cannot specify nexthops with \"or\" route")
			} else {
				nexthops = true
			}
			break
		}
		if stop, ok := r.word(w, static); !ok {
			return false
		} else if stop {
			break
		}
		r.i++
	}
	switch {
	case nexthops:
		if !r.nexthops() {
			return false
		}
	case r.i < len(r.s.words):
		return r.bad("Route has trailing nonsense - %s", r.s.text(r.i))
	}
	return r.finish()
}

// word handles one word with what belongs to it. stop ends the reading of words.
func (r *routeLine) word(w string, static bool) (stop, ok bool) {
	if n, is := routeNumbers[w]; is {
		return false, r.number(w, n.hi, n.lock, n.bad)
	}
	switch w {
	case "inet", "inet6":
		if !r.family(w == "inet6") {
			return false, r.bad("%s specified for %s route", w, map[bool]string{true: "IPv6", false: "IPv4"}[r.V6])
		}
		return false, r.familyWord()
	case "onlink":
		r.OnLink = true
	case "no_track":
		r.NoTrack = true
	case "add", "prepend", "append":
		r.Options = append(r.Options, [2]string{"order", w})
	case "track_group":
		if !static {
			return false, r.destination(w)
		}
		if _, ok := r.next(); !ok {
			return false, false
		}
		return !r.l.trackGroup(r.s, r.i, &r.TrackGroup), true
	case "src", "via", "gw", "from":
		return false, r.addressWord(w)
	case "tos", "dsfield", "table", "protocol", "scope", "realms", "rtt", "rttvar", "rto_min", "pref", "features", "ttl-propagate", "congctl":
		return false, r.nameWord(w)
	case "dev", "oif":
		return false, r.device(&r.Dev)
	case "vrf":
		return false, r.vrf()
	case "encap":
		return false, r.encap()
	case "expires":
		return false, r.expires()
	case "as":
		v, ok := r.next()
		if v == "to" {
			_, ok = r.next()
		}
		r.bad("\"as to\" for MPLS only - ignoring")
		return false, ok
	case "or":
		return false, r.second()
	default:
		return false, r.destination(w)
	}
	return false, true
}

// second is "or ADDR", out of use.
func (r *routeLine) second() bool {
	r.l.warn(r.s.words[r.i], "deprecated", `"or" for routes is deprecated. Please use "nexthop"`)
	if len(r.Nexthops) > 0 {
		r.bad(`"or" route already specified - ignoring subsequent`)
		r.i++
		return true
	}
	v, ok := r.next()
	if !ok {
		return false
	}
	a, ok := r.literal()
	if !ok {
		return r.bad(`Invalid "or" address %s`, v)
	}
	r.Nexthops = []Nexthop{{Via: r.Via}, {Via: a}}
	r.Via = netip.Addr{}
	return true
}

// destination reads [to] [TYPE] DST.
func (r *routeLine) destination(w string) bool {
	ok := true
	if w == "to" {
		if w, ok = r.next(); !ok {
			return false
		}
	}
	if neg, v, rest, _ := cutNumber(w, true); routeTypes[w] || rest == "" && !neg && v <= 255 {
		r.Type = w
		if w, ok = r.next(); !ok {
			return false
		}
	}
	if special[w] {
		if w == "default6" && !r.family(true) {
			return r.bad("Cannot mix IPv4 and IPv6 addresses for route (%s)", w)
		}
		r.To = w
		return true
	}
	p, ok := r.l.prefix(r.s, r.i, true)
	if !ok {
		return r.bad("unknown route keyword %s", w)
	}
	if !r.family(p.Addr().Is6()) {
		return r.bad("Cannot mix IPv4 and IPv6 addresses for route (%s)", w)
	}
	r.To = w
	return true
}

// finish makes the checks over the whole line.
func (r *routeLine) finish() bool {
	r.i = 0
	if r.To == "" {
		return r.bad("Route must have a destination")
	}
	if !r.NoTrack {
		if r.proto != "" && r.proto != "18" && r.proto != "keepalived" {
			r.bad("Route cannot be tracked if protocol is not RTPROT_KEEPALIVED(18), resetting protocol")
		}
		if r.Dev == "" {
			r.bad("Warning - cannot track route %s with no interface specified, not tracking", r.To)
			r.NoTrack = true
		}
	}
	if r.TrackGroup != "" && r.Dev == "" {
		r.bad("Static route cannot have track group if no oif specified")
		r.TrackGroup = ""
	}
	return true
}
