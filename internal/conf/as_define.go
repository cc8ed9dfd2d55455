package conf

import "strings"

// asDefinition is a $NAME=VALUE. The lines of a value are separated by line ends.
type asDefinition struct {
	value  string
	lines  bool                     // of several lines
	make   func(args string) string // a built-in one
	params bool                     // may have arguments
}

// asWaiting is a definition of several lines that was left for another one.
type asWaiting struct {
	rest string
	free uint32
}

// standard makes the built-in definitions.
func (r *asReader) standard() {
	r.defs["_PWD"] = &asDefinition{make: func(string) string { return r.pwd() }}
	r.defs["_INSTANCE"] = &asDefinition{make: func(string) string { return r.of.opts.ID }}
	r.defs["_RANDOM"] = &asDefinition{make: r.of.randomNumber, params: true}
	r.defs["_HASH"] = &asDefinition{value: "#"}
	r.defs["_BANG"] = &asDefinition{value: "!"}
}

func (r *asReader) pwd() string {
	if r.dir == "" {
		return "."
	}
	return r.dir
}

// define takes a line that is a definition.
func (r *asReader) define(s string) bool {
	end := nameEnd(s, 1)
	if end == 1 || end == len(s) || s[end] != '=' {
		return false
	}
	value := strings.TrimLeft(s[end+1:], " \t")
	d := r.defs[s[1:end]]
	if d == nil {
		d = &asDefinition{}
		r.defs[s[1:end]] = d
	}
	d.make, d.lines = nil, strings.HasSuffix(value, `\`)
	if d.lines {
		r.open = d
		if value = strings.TrimRight(value[:len(value)-1], " \t"); value != "" {
			value += "\n"
		}
	}
	d.value = value
	return true
}

// extend adds a line to the definition that is open.
func (r *asReader) extend(s string) {
	d := r.open
	if text, more := strings.CutSuffix(s, `\`); more {
		if text = strings.TrimRight(text, " \t"); text != "" {
			d.value += text + "\n"
		}
		return
	}
	r.closeDefinition()
	d.value += s
}

// closeDefinition ends the definition that is open, if there is one.
func (r *asReader) closeDefinition() {
	if r.open != nil && r.open.value == "" {
		r.open.lines = false
	}
	r.open = nil
}

// further gives the next line of the definition that is being expanded.
func (r *asReader) further() string {
	text, rest, more := strings.Cut(*r.rest, "\n")
	if more {
		r.rest = &rest
		return text
	}
	n := len(r.waiting)
	if n == 0 {
		r.rest, r.free = nil, 0
		return text
	}
	r.rest, r.free, r.waiting = &r.waiting[n-1].rest, r.waiting[n-1].free, r.waiting[:n-1]
	return text
}

// set gives a variable of a repetition its value. keepalived: one that was a definition of several lines stays one.
func (r *asReader) set(name, value string) {
	if d := r.defs[name]; d != nil {
		d.value, d.make = value, nil
	} else {
		r.defs[name] = &asDefinition{value: value}
	}
}

// asReference is a $NAME or ${NAME} in a line.
type asReference struct {
	*asDefinition
	args   string
	length int
}

// reference looks a name up whose $ is at the front of s.
func (r *asReader) reference(s string) (ref asReference, ok bool) {
	at := 1
	braced := s[1] == '{'
	if braced {
		at = 2
	}
	end := nameEnd(s, at)
	if end == at {
		return ref, false
	}
	ref.length = end
	after := end
	if braced {
		for after < len(s) && (s[after] == ' ' || s[after] >= '0' && s[after] <= '9') {
			after++
		}
		ref.args = strings.TrimLeft(s[end:after], " ")
		if after == len(s) || s[after] != '}' || strings.HasSuffix(ref.args, " ") {
			return ref, false
		}
		if ref.length = end + 1; ref.args != "" {
			ref.length = after + 1
		}
	} else if end < len(s) && strings.IndexByte(" \t,)", s[end]) < 0 {
		return ref, false
	}
	last := end == len(s) || braced && end+1 == len(s)
	if ref.asDefinition = r.defs[s[at:end]]; ref.asDefinition == nil || ref.lines && !last || ref.args != "" && !ref.params {
		return ref, false
	}
	return ref, true
}

// replace puts values in place of references, also of those in values. rest gets the further lines of a definition.
func (r *asReader) replace(s string, most int, rest **string) (string, bool) {
	found, next, inside := false, *rest, *rest
	for i, rounds := 0, 0; ; {
		n := strings.IndexByte(s[i:], '$')
		if n < 0 || i+n+1 == len(s) {
			break
		}
		i += n
		ref, ok := r.reference(s[i:])
		if !ok {
			i++
			continue
		}
		if rounds++; rounds > asBuffer {
			return "", true // keepalived: goes on for ever
		}
		found, next = true, inside
		if ref.make != nil {
			ref.value = ref.make(ref.args)
		}
		value := ref.value
		if ref.lines {
			if inside != nil {
				r.waiting = append(r.waiting, asWaiting{*inside, r.free})
			}
			r.free = r.count()
			var more string
			value, more, _ = strings.Cut(value, "\n")
			next, inside = &more, &more
		}
		if len(s)+len(value)-ref.length >= most {
			return s, false // keepalived: what was replaced so far stays
		}
		tail := s[i+ref.length:]
		if ref.args != "" && len(value) < ref.length && tail != "" {
			// keepalived: moves but one byte of what follows, so that some of the reference stays.
			tail = tail[:1] + s[i+len(value)+1:]
		}
		s = s[:i] + value + tail
		if strings.HasPrefix(strings.TrimLeft(ref.value, " \t"), "~") {
			break
		}
	}
	if found {
		*rest = next
	}
	return s, found
}
