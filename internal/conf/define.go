package conf

import (
	"path"
	"strconv"
	"strings"
)

// replace puts values in place of the first reference that has one: $NAME before a blank, a slash, a comma, a
// closing parenthesis or the end, ${NAME} anywhere. Values are put in as they are, so what they refer to is looked up then.
func (r *reader) replace(l line) (line, bool) {
	for i := strings.IndexByte(l.text, '$'); i >= 0 && i < len(l.text); i++ {
		if l.text[i] != '$' {
			continue
		}
		name, args, end := reference(l.text, i)
		if end == 0 {
			continue
		}
		value, ok := r.value(l.file, name, args)
		if !ok {
			continue
		}
		first, rest, multi := strings.Cut(value, "\n")
		if multi {
			// A definition of several lines counts only at the end of a line.
			if strings.Trim(l.text[end:], blanks) != "" {
				continue
			}
			r.later(l, i, rest)
		}
		l = l.splice(i, end, first, r.col(l, i))
		r.spend(len(l.text))
		return l, true
	}
	return l, false
}

// reference reads the reference at i, where a $ is: its name, the arguments of a built-in, and its end, or 0.
func reference(s string, i int) (name, args string, end int) {
	if i+1 < len(s) && s[i+1] == '{' {
		if end = refEnd(s, i); end == 0 {
			return "", "", 0
		}
		name, args, _ = strings.Cut(s[i+2:end-1], " ")
		return name, args, end
	}
	end = nameEnd(s, i+1)
	if end == i+1 || end < len(s) && !isBlank(s[end]) && strings.IndexByte("/),", s[end]) < 0 {
		return "", "", 0
	}
	return s[i+1 : end], "", end
}

// value looks a name up: the file's own definitions first, then the built-in ones.
func (r *reader) value(f *File, name, args string) (string, bool) {
	if v, ok := r.defs[name]; ok && args == "" {
		return v, true
	}
	switch name {
	case "_PWD":
		return r.shown(path.Dir(f.path)), true
	case "_INSTANCE":
		return r.opts.ID, true
	case "_HASH":
		return "#", true
	case "_BANG":
		return "!", true
	case "_RANDOM":
		return r.randomNumber(args), true
	case "_ENV":
		if r.opts.Env == nil {
			return "", true
		}
		return r.opts.Env(strings.TrimSpace(args)), true
	}
	return "", false
}

// randomNumber is ${_RANDOM [MIN [MAX]]}, by default 0..32767.
func (r *reader) randomNumber(args string) string {
	lo, hi := int64(0), int64(32767)
	f := strings.Fields(args)
	if len(f) > 0 {
		lo, _ = strconv.ParseInt(f[0], 10, 32)
	}
	if len(f) > 1 {
		hi, _ = strconv.ParseInt(f[1], 10, 32)
	}
	if hi < lo {
		hi = lo
	}
	return strconv.FormatInt(lo+r.random.Int64N(hi-lo+1), 10)
}

// later lets the further lines of a definition wait.
func (r *reader) later(l line, i int, rest string) {
	at := r.col(l, i)
	r.wait(func() (line, bool) {
		if rest == "" {
			return line{}, false
		}
		var text string
		text, rest, _ = strings.Cut(rest, "\n")
		return l.with(text, at), true
	})
}

// wait puts a source in front of everything else, unless definitions and repetitions have made too much by now.
func (r *reader) wait(more func() (line, bool)) {
	if r.waiting++; r.waiting > maxWaiting {
		r.exhaust("definitions refer to each other more than " + strconv.Itoa(maxWaiting) + " deep")
	}
	r.sources = append(r.sources, source{more: func() (line, bool) {
		if !r.exhausted {
			if l, ok := more(); ok {
				r.spend(len(l.text))
				return l, true
			}
		}
		r.waiting--
		return line{}, false
	}})
}

// spend counts a line of n bytes that a definition or a repetition made.
func (r *reader) spend(n int) {
	most := r.opts.MaxExpansion
	if most <= 0 {
		most = defaultExpansion
	}
	if r.made += n + 16; r.made > most {
		r.exhaust("definitions, repetitions and files that are included again make more than " + bytesText(most) + " of text")
	}
}

// exhaust ends all repetition: what it would still make is not read.
func (r *reader) exhaust(why string) {
	if r.exhausted {
		return
	}
	r.exhausted = true
	d := r.diags.add(Error, "expansion-limit", r.at, Token{Line: r.diags.line, Col: 1}, why+" - ignoring the rest of it")
	d.class, d.Hint = classFatal, "look for a definition that has itself in it, a ~SEQ with too large an end, or an include that is repeated"
}

// bytesText is a size for a person.
func bytesText(n int) string {
	if n < 1<<20 {
		return strconv.Itoa(n) + " bytes"
	}
	return strconv.Itoa(n>>20) + " MiB"
}
