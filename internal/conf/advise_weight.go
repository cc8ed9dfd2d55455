package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// trackerDefinitions are the blocks that define what the blocks of an instance follow.
var trackerDefinitions = []struct{ track, definition string }{
	{"track_script", "vrrp_script"}, {"track_file", "track_file"}, {"track_process", "vrrp_track_process"},
	{"track_bfd", "bfd_instance"}, {"track_interface", ""},
}

// trackerKind is the usual name of a definition's keyword.
func trackerKind(keyword string) string {
	if keyword == "vrrp_track_file" {
		return "track_file"
	}
	return keyword
}

// trackers gives what an instance follows with a weight that is not zero, by itself or with its sync group. The content of
// a file is a factor, so a file's weight says nothing by itself.
func (a *adviser) trackers(r *router) []tracker {
	out := a.trackersOf(r.at)
	if r.Priority == 255 {
		return out // said to change nothing
	}
	if g := groupOf(a.cfg, r.Name); g != nil {
		if !g.TrackingWeight {
			out = nil // keepalived: a member's weights count for nothing then, which it says
		}
		for _, s := range a.groups {
			if s.Text(1) == g.Name {
				out = append(out, a.trackersOf(s)...)
			}
		}
	}
	return out
}

// trackersOf gives those of one instance or one group.
func (a *adviser) trackersOf(vi *Statement) []tracker {
	var out []tracker
	for _, kind := range trackerDefinitions {
		for _, b := range vi.Body {
			if b.Text(0) != kind.track || kind.track == "track_file" {
				continue
			}
			for _, item := range b.Body {
				weight := 0
				if def := a.defined[kind.definition+" "+item.Text(0)]; def != nil {
					weight, _ = def.number("weight")
					weight = reversed(weight, def.child("weight"))
				}
				if i := slices.IndexFunc(item.Words, func(t Token) bool { return t.Text == "weight" }); i > 0 {
					weight, _ = strconv.Atoi(item.Text(i + 1))
					weight = reversed(weight, item)
				}
				if weight != 0 && weight >= -253 && weight <= 253 {
					out = append(out, tracker{item, item.Text(0), weight})
				}
			}
		}
	}
	return out
}

// reversed turns the sign if the statement says so.
func reversed(weight int, s *Statement) int {
	if s != nil && slices.ContainsFunc(s.Words, func(t Token) bool { return t.Text == "reverse" }) {
		return -weight
	}
	return weight
}

// lowest and highest bound the priority. keepalived: 1..254 once there is a weight; 255 stays.
func (r *router) lowest() int  { return r.bound(func(w int) bool { return w < 0 }) }
func (r *router) highest() int { return r.bound(func(w int) bool { return w > 0 }) }

func (r *router) bound(counts func(int) bool) int {
	p := int(r.Priority)
	if p == 255 || len(r.weighted) == 0 {
		return p
	}
	for _, t := range r.weighted {
		if counts(t.weight) {
			p += t.weight
		}
	}
	return min(max(p, 1), 254)
}

// weights looks for weights that cannot do what they are there for.
func (a *adviser) weights(r *router) {
	for _, t := range r.weighted {
		text, hint := "", ""
		what := fmt.Sprintf("weight %d of %s", t.weight, t.name)
		switch p := int(r.Priority); {
		case p == 255:
			text = what + " changes nothing: priority 255 is fixed"
			hint = "give the instance a priority of 254 or less"
		case p == 1 && t.weight < 0, p == 254 && t.weight > 0:
			text = fmt.Sprintf("%s changes nothing: the priority is %d already, and weights move it between 1 and 254", what, p)
			hint = "choose a priority that leaves room for the weight, such as 100"
		case r.NoPreempt:
			text = what + " never moves the addresses: with nopreempt a backup does not take over from a master, however low its priority is"
			hint = "leave the weight out, so that a failure is a fault and releases the addresses, or remove nopreempt"
		default:
			a.reach(r, t, what)
			continue
		}
		a.say(Warning, "weight-no-switch", t.at, 0, text, hint)
	}
}

// reachedAt is a tracker as an instance of some priority follows it.
type reachedAt struct {
	line     *Statement
	priority int
}

// reach says what the other director must have for a weight to matter; only its file can tell.
func (a *adviser) reach(r *router, t tracker, what string) {
	p := int(r.Priority)
	if a.reached[reachedAt{t.at, p}] {
		return // said for another member of the group
	}
	a.reached[reachedAt{t.at, p}] = true
	bad, good := p, p
	if t.weight < 0 {
		bad = max(1, p+t.weight)
	} else {
		good = min(254, p+t.weight)
	}
	a.say(Notice, "weight-reach", t.at, 0,
		fmt.Sprintf("%s: priority %d while all is well and %d when it fails, so a failure moves the addresses only if the other director has %s",
			what, good, bad, between(bad, good)),
		"check both files together: vipd check FILE1 FILE2")
}

// between names the priorities that lose against good and win against bad. A backup with the priority that it hears stays
// backup, so at bad itself nothing moves; at good itself the addresses decide who begins.
func between(bad, good int) string {
	switch good - bad {
	case 1:
		return strconv.Itoa(good) + " too, and the lower IP address"
	case 2:
		return strconv.Itoa(bad + 1)
	}
	return fmt.Sprintf("%d to %d", bad+1, good-1)
}

// serviceName is a service or a real server as the file names it.
func serviceName(s *Statement) string {
	words := make([]string, 0, 2)
	for i := 1; i < len(s.Words) && i < 3; i++ {
		words = append(words, s.Text(i))
	}
	return strings.Join(words, " ")
}
