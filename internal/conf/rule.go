package conf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ruleLine is a policy rule while its line is read.
type ruleLine struct {
	Rule
	l        *loader
	s        *stmt
	i        int
	famKnown bool
	ofTable  bool // a word that goes with a table only
	hasTable bool
	proto    int64 // negative: none
	static   bool
}

func (r *ruleLine) family(v6 bool) bool {
	if !r.famKnown {
		r.famKnown, r.V6 = true, v6
	}
	return r.V6 == v6
}

func (r *ruleLine) next() (string, bool) {
	r.i++
	return r.l.want(r.s, r.i)
}

func (r *ruleLine) bad(format string, a ...any) bool {
	r.l.bad(r.s, r.i, format, a...)
	return false
}

func (r *ruleLine) option(w string) {
	r.Options = append(r.Options, [2]string{w, r.s.text(r.i)})
}

// ruleLines makes the item of a block of rules.
func ruleLines(static bool, put func(l *loader, r Rule)) setter {
	return func(l *loader, s *stmt) {
		r := &ruleLine{l: l, s: s, proto: -1, static: static}
		for r.i < len(s.words) {
			stop, ok := r.word(s.text(r.i))
			if !ok {
				return
			}
			if stop {
				break
			}
			r.i++
		}
		if r.finish() {
			put(l, r.Rule)
		}
	}
}

const moreActions = "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable%s for rule"

func (r *ruleLine) word(w string) (stop, ok bool) {
	switch w {
	case "inet", "inet6":
		if !r.family(w == "inet6") {
			return false, r.bad("%s specified for %s rule", w, map[bool]string{true: "IPv6", false: "IPv4"}[r.V6])
		}
		if r.l.pass != passAll {
			r.i++ // keepalived: it steps over the word behind it
		}
	case "from", "to":
		return false, r.address(w)
	case "table", "lookup":
		return false, r.table()
	case "not":
		r.Not = true
	case "preference", "order", "priority":
		v, ok := r.next()
		if !ok {
			return false, false
		}
		n, bad := whole(v, 0, math.MaxUint32, false, true)
		if bad != "" {
			r.l.badValue(r.s, r.i, bad, "Invalid rule preference "+w+" specified")
			return false, false
		}
		r.Priority, r.PrioritySet = uint32(n), true
	case "fwmark":
		return false, r.mark()
	case "dev", "iif":
		return false, r.device(&r.In)
	case "oif":
		return false, r.device(&r.Out)
	case "l3mdev":
		if r.Action != "" {
			return false, r.bad("Cannot specify l3mdev with other action")
		}
		r.Action = w
	case "no_track":
		r.NoTrack = true
	case "track_group":
		if !r.static {
			return false, r.action(w)
		}
		if _, ok := r.next(); !ok {
			return false, false
		}
		return !r.l.trackGroup(r.s, r.i, &r.TrackGroup), true
	default:
		if known, ok := r.valued(w); known {
			return false, ok
		}
		return false, r.action(w)
	}
	return false, true
}

func (r *ruleLine) address(w string) bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if !special[v] {
		p, ok := r.l.prefix(r.s, r.i, true)
		if !ok {
			return r.bad("Invalid rule %s address %s", w, v)
		}
		if !r.family(p.Addr().Is6()) {
			return r.bad("rule specification has mixed IPv4 and IPv6")
		}
	} else if v == "default6" && !r.family(true) || v != "default6" && r.famKnown {
		return r.bad("rule specification has mixed IPv4 and IPv6")
	}
	if w == "from" {
		r.From = v
	} else {
		r.To = v
	}
	return true
}

func (r *ruleLine) table() bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if !r.l.named("rt_tables", v, math.MaxUint32, routeTables) {
		return r.bad("Routing table %s not found for rule", v)
	}
	if _, n, rest, _ := cutNumber(v, true); rest == "" && n == 0 || v == "unspec" {
		return r.bad("Table 0 is not valid")
	}
	r.Table, r.hasTable = v, true
	if r.Action != "" {
		return r.bad(moreActions, "")
	}
	r.Action = "table"
	return true
}

// mark reads N[/MASK].
func (r *ruleLine) mark() bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	text := strings.TrimLeft(v, blanks)
	n, mask, slash := strings.Cut(text, "/")
	good := func(t string) bool {
		neg, u, rest, over := cutNumber(t, true)
		return rest == "" && !neg && !over && u <= math.MaxUint32
	}
	if !good(n) || slash && (mask == "" || !good(mask) || isBlank(mask[0])) {
		return r.bad("Invalid rule fwmark %s specified", text)
	}
	r.option("fwmark")
	return true
}

func (r *ruleLine) device(at *string) bool {
	v, ok := r.next()
	if !ok {
		return false
	}
	if _, ok := r.l.iface(v); !ok {
		return r.bad("WARNING - interface %s for rule doesn't exist", v)
	}
	*at = v
	return true
}

// valued handles the words that a value follows and that are kept as they are.
func (r *ruleLine) valued(w string) (known, ok bool) {
	switch w {
	case "tos", "dsfield", "realms", "suppress_prefixlength", "sup_pl", "suppress_ifgroup", "sup_group", "tunnel-id", "uidrange", "protocol",
		"ipproto", "sport", "dport":
	default:
		return false, true
	}
	v, ok := r.next()
	if !ok {
		return true, false
	}
	switch w {
	case "tos", "dsfield":
		if !r.l.named("rt_dsfield", v, 255, dsfields) {
			return true, r.bad("TOS value %s is invalid", v)
		}
	case "realms":
		if !r.l.realms(v) {
			return true, r.bad("invalid realms %s for rule", v)
		}
		r.ofTable = true
		if !r.family(false) {
			return true, r.bad("realms is only valid for IPv4")
		}
	case "suppress_prefixlength", "sup_pl":
		r.ofTable = true
		if _, ok := r.l.integer(r.s, r.i, 0, math.MaxInt32, "Invalid suppress_prefixlength "+w+" specified"); !ok {
			return true, false
		}
	case "suppress_ifgroup", "sup_group":
		r.ofTable = true
		if !r.l.named("group", v, math.MaxInt32, ifGroups) {
			return true, r.bad("suppress_group %s is invalid", v)
		}
	case "tunnel-id":
		if bad := wide(v); bad != "" {
			r.l.badValue(r.s, r.i, bad, "Invalid tunnel-id "+w+" specified")
			return true, false
		}
	case "uidrange":
		if !ranged(v, math.MaxUint32, true) {
			return true, r.bad("Invalid uidrange %s specified", w)
		}
	case "protocol":
		n, ok := r.l.integer(r.s, r.i, 0, 255, "Invalid protocol {value}")
		if ok {
			r.proto = n
		}
	case "ipproto":
		if !r.l.named("protocols", v, 255, ipProtos) {
			r.bad("Invalid ipproto %s", v)
			return true, true
		}
	case "sport", "dport":
		// keepalived: 2.2.7 refuses a single port, although it means to take it.
		if !ranged(v, math.MaxUint64, r.l.pass != passAll) {
			r.bad("invalid %s range %s", w, v)
			return true, true
		}
	}
	r.option(w)
	return true, true
}

// wide reads a number of 64 bits.
func wide(t string) string {
	neg, _, rest, over := cutNumber(t, false)
	switch {
	case neg:
		return "negative number '" + t + "'"
	case rest != "":
		return "invalid number '" + t + "'"
	case over:
		return "number '" + t + "' outside unsigned 64 bit range"
	}
	return ""
}

// ranged tells A-B, or A alone unless both is asked for. What follows is not looked at.
func ranged(t string, hi uint64, both bool) bool {
	_, v, rest, _ := cutNumber(t, false)
	if rest == t || v > hi {
		return false
	}
	if !strings.HasPrefix(rest, "-") {
		return !both
	}
	_, v, end, _ := cutNumber(rest[1:], false)
	return end != rest[1:] && v <= hi
}

// action handles goto, nop and the types that a rule may have.
func (r *ruleLine) action(w string) bool {
	ok := true
	if w == "type" {
		if w, ok = r.next(); !ok {
			return false
		}
	}
	name := ""
	switch w {
	case "goto":
		if _, ok := r.next(); !ok {
			return false
		}
		n, ok := r.l.integer(r.s, r.i, 0, math.MaxUint32, "Invalid target "+w+" specified")
		if !ok {
			return false
		}
		r.Goto, name = uint32(n), w
	case "nop", "blackhole", "unreachable", "prohibit":
		name = w
	default:
		neg, v, rest, _ := cutNumber(w, true)
		if !routeTypes[w] && (rest != "" || neg || v > 255) {
			return r.bad("Unknown rule option %s", w)
		}
		if name = map[uint64]string{6: "blackhole", 7: "unreachable", 8: "prohibit"}[v]; routeTypes[w] || name == "" {
			return r.bad("Invalid rule action %s", w)
		}
	}
	if r.Action != "" {
		return r.bad(moreActions, "/l3mdev")
	}
	r.Action = name
	return true
}

// finish makes the checks over the whole line.
func (r *ruleLine) finish() bool {
	r.i = 0
	switch {
	case r.Action == "goto" && !r.PrioritySet:
		return r.bad("Invalid rule - goto target %d specified without preference", r.Goto)
	case r.Action == "goto" && r.Priority >= r.Goto:
		return r.bad("Invalid rule - preference %d >= goto target %d", r.Priority, r.Goto)
	case r.Action == "":
		return r.bad("No action specified for rule - ignoring")
	case r.Action != "table" && r.Action != "l3mdev" && r.ofTable:
		return r.bad("suppressor/realm specified for non table action - skipping")
	case r.hasTable && r.Action == "l3mdev":
		return r.bad("table cannot be specified for l3mdev rules")
	}
	if !r.NoTrack && r.proto >= 0 && r.proto != 18 {
		r.bad("Rule cannot be tracked if protocol is not RTPROT_KEEPALIVED(18), resetting protocol")
	}
	if r.TrackGroup != "" && r.In == "" {
		r.bad("Static rule cannot have track_group if dev/iif not specified")
		r.TrackGroup = ""
	}
	if !r.PrioritySet {
		at := &r.l.rules4
		if r.V6 {
			at = &r.l.rules6
		}
		r.Priority = 16384 - *at
		*at++
		d := r.l.warn(r.s.words[0], "no-preference", fmt.Sprintf("Rule has no preference specified - setting to %d. This is probably not what you want.", r.Priority))
		d.Hint = "add: preference " + strconv.Itoa(int(r.Priority))
	}
	return true
}
