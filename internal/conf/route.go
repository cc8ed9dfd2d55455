package conf

import (
	"math"
	"net/netip"
	"strings"
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

// encapWords are the words of an encapsulation, and that a value follows.
var encapWords = map[string]map[string]bool{
	"ip":  words("id dst src tos dsfield ttl hoplimit flags"),
	"ip6": words("id dst src tc dsfield hoplimit ttl flags"),
}

// encap keeps an encapsulation as it is written.
func (r *routeLine) encap() bool {
	if r.i++; r.i >= len(r.s.words) {
		r.bad("Missing encap type")
		return true
	}
	kind := r.s.text(r.i)
	switch kind {
	case "mpls", "ila":
		v, ok := r.next()
		r.Options = append(r.Options, [2]string{"encap " + kind, v})
		return ok
	case "ip", "ip6":
	default:
		r.bad("Unknown encap type - %s", kind)
		if r.l.pass != passAll {
			r.i++ // keepalived steps over a word
		}
		return true
	}
	for r.i+1 < len(r.s.words) && encapWords[kind][r.s.text(r.i+1)] {
		w := r.s.text(r.i + 1)
		r.i++
		v, ok := r.next()
		if !ok {
			return false
		}
		r.Options = append(r.Options, [2]string{"encap " + kind + " " + w, v})
	}
	return true
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
