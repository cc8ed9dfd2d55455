package conf

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
