package conf

import (
	"path"
	"strconv"
	"strings"
)

// replace puts values in place of the first reference that has one: $NAME before a blank, a slash, a closing
// parenthesis or the end, ${NAME} anywhere. Values are put in as they are, so what they refer to is looked up then.
func (r *reader) replace(l line) (line, bool) {
	for i := strings.IndexByte(l.text, '$'); i >= 0 && i < len(l.text); i++ {
		if l.text[i] != '$' {
			continue
		}
		name, args, end := reference(l.text, i)
		if end == 0 {
			continue
		}
		value, ok := r.value(l.file, name, args, strings.Count(l.text[:i], `"`)%2 == 1)
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
		return l.splice(i, end, first), true
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
	if end == i+1 || end < len(s) && !isBlank(s[end]) && s[end] != '/' && s[end] != ')' {
		return "", "", 0
	}
	return s[i+1 : end], "", end
}

// value looks a name up: the file's own definitions first, then the built-in ones.
func (r *reader) value(f *File, name, args string, quoted bool) (string, bool) {
	if v, ok := r.defs[name]; ok && args == "" {
		return v, true
	}
	escape := `\`
	if quoted {
		escape = ""
	}
	switch name {
	case "_PWD":
		return r.shown(path.Dir(f.path)), true
	case "_INSTANCE":
		return r.opts.ID, true
	case "_HASH":
		return escape + "#", true
	case "_BANG":
		return escape + "!", true
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

// splice replaces bytes [i, end) by value, which then stands at the column of the reference.
func (l line) splice(i, end int, value string) line {
	cols := make([]int32, 0, len(l.text)-(end-i)+len(value))
	at := int32(l.col(i))
	for k := range i {
		cols = append(cols, int32(l.col(k)))
	}
	for range len(value) {
		cols = append(cols, at)
	}
	for k := end; k < len(l.text); k++ {
		cols = append(cols, int32(l.col(k)))
	}
	l.text, l.cols, l.off = l.text[:i]+value+l.text[end:], cols, 0
	return l
}

// later lets the further lines of a definition wait.
func (r *reader) later(l line, i int, rest string) {
	at := int32(l.col(i))
	r.wait(func() (line, bool) {
		if rest == "" {
			return line{}, false
		}
		var text string
		text, rest, _ = strings.Cut(rest, "\n")
		return l.with(text, at), true
	})
}

// wait puts a source in front of everything else, unless there are too many lines by now.
func (r *reader) wait(more func() (line, bool)) {
	r.sources = append(r.sources, source{more: func() (line, bool) {
		if r.made++; r.made > maxRepeated {
			return line{}, false
		}
		return more()
	}})
}

// with gives a line that says something else, all of it at one column.
func (l line) with(text string, col int32) line {
	l.text, l.off = text, 0
	l.cols = make([]int32, len(text))
	for k := range l.cols {
		l.cols[k] = col
	}
	return l
}
