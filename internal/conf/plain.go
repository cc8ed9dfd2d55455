package conf

import "strings"

// Most lines of most files are words and braces and nothing else. They are cut here in one go; any other line takes the
// long way of process, which would do the same with these.

// role is what a byte means to plain.
type role uint8

const (
	roleWord role = iota
	roleBlank
	roleBrace
	roleComment
	roleOther // from here on a closer look is needed: definitions, conditions, repetitions, columns that are not bytes
	roleQuote
	roleEscape
)

var roles = func() (t [256]role) {
	for _, c := range "$@~\x00" {
		t[c] = roleOther
	}
	t['"'], t['\\'] = roleQuote, roleEscape
	for c := 0x80; c < len(t); c++ {
		t[c] = roleOther
	}
	for c := range t {
		if isBlank(byte(c)) {
			t[c] = roleBlank
		}
	}
	t['{'], t['}'], t['#'], t['!'] = roleBrace, roleBrace, roleComment, roleComment
	return t
}()

// plain puts the statements of line n of f into the queue, or gives false when the line needs a closer look.
func (r *reader) plain(f *File, n int, s string) bool {
	if len(s) > maxLine {
		return false
	}
	i := 0
	for i < len(s) && roles[s[i]] == roleBlank {
		i++
	}
	if i == len(s) {
		return true
	}
	if roles[s[i]] == roleComment {
		return strings.IndexByte(s[i:], 0) < 0
	}
	if strings.HasPrefix(s[i:], "include") {
		return false
	}
	ends, ok := cutPlain(r.ends[:0], s, i)
	if r.ends = ends; !ok {
		return false
	}
	r.emitPlain(f, n, s, ends)
	return true
}

// cutPlain appends start and end of every word and brace from i on.
func cutPlain(dst []int32, s string, i int) ([]int32, bool) {
	start := -1
	for ; i < len(s); i++ {
		c := roles[s[i]]
		if c == roleWord {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			dst = append(dst, int32(start), int32(i))
			start = -1
		}
		switch c {
		case roleBlank:
		case roleBrace:
			dst = append(dst, int32(i), int32(i+1))
			if strings.HasPrefix(strings.TrimLeft(s[i+1:], blanks), "include") {
				return dst, false
			}
		case roleComment:
			return dst, !hasRole(s[i:], 1<<roleOther|1<<roleQuote|1<<roleEscape)
		default:
			return dst, false
		}
	}
	if start >= 0 {
		dst = append(dst, int32(start), int32(len(s)))
	}
	return dst, true
}

// hasRole tells whether a text has a byte with one of these roles (1<<role).
func hasRole(s string, any uint) bool {
	for i := range len(s) {
		if any>>roles[s[i]]&1 != 0 {
			return true
		}
	}
	return false
}

// emitPlain makes statements of the pieces between ends.
func (r *reader) emitPlain(f *File, n int, s string, ends []int32) {
	store := r.room(len(ends) / 2)
	words := 0 // of the statement that is being gathered; they are the last ones in store
	flush := func(end int32) {
		if words > 0 {
			at := len(store) - words
			first := store[at].Col - 1
			r.queue = append(r.queue, stmt{words: store[at:len(store):len(store)], raw: s[first:end], file: f})
			words = 0
		}
	}
	for k := 0; k < len(ends); k += 2 {
		a, b := ends[k], ends[k+1]
		text := s[a:b]
		t := Token{Text: text, Raw: text, Line: n, Col: int(a) + 1}
		if roles[text[0]] != roleBrace {
			store = append(store, t)
			words++
			continue
		}
		if t.Kind = Open; text[0] == '}' {
			t.Kind = Close
		}
		if k > 0 {
			flush(ends[k-1])
		}
		store = append(store, t)
		r.queue = append(r.queue, stmt{kind: t.Kind, words: store[len(store)-1 : len(store) : len(store)], file: f, extra: r.nest(f, t)})
	}
	flush(ends[len(ends)-1])
}
