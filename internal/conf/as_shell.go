package conf

import "strings"

// command cuts the words of a keyword that takes a command. One that cannot be cut is not kept.
func (r *asReader) command(s *stmt) bool {
	words, ok, fault := asShell(s.raw)
	if fault != "" {
		r.say("unterminated-quote", fault)
	}
	s.shell = words
	return ok
}

// asEscapes are the characters after a backslash that stand for another one.
var asEscapes = map[byte]byte{'a': '\a', 'b': '\b', 'E': 0x1b, 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// asShell cuts words as splitScript does, and understands escapes: \n, \x41, \cA, \101. A quote that is the last
// character needs no other. fault is what there is to say when they cannot be cut.
func asShell(s string) (words []string, ok bool, fault string) {
	for i := 0; ; {
		i += len(s[i:]) - len(strings.TrimLeft(s[i:], asBlanks))
		if i == len(s) {
			return words, true, ""
		}
		var w []byte
		quote := byte(0)
		for i < len(s) && (quote != 0 || strings.IndexByte(asBlanks, s[i]) < 0) {
			switch c := s[i]; {
			case c == '\\' && i+1 == len(s):
				return nil, false, ""
			case c == '\\':
				c, n := asEscape(s[i+1:])
				w, i = append(w, c), i+1+n
			case quote != 0 && c == quote:
				quote, i = 0, i+1
			case quote == 0 && (c == '"' || c == '\''):
				quote, i = c, i+1
			case quote != 0 && strings.IndexAny(s[i:], string(quote)+`\`) < 0:
				return nil, false, "String '" + s + "': missing terminating " + string(quote)
			default:
				w, i = append(w, c), i+1
			}
		}
		words = append(words, string(w))
	}
}

// asEscape reads what follows a backslash and tells how long it is.
func asEscape(s string) (c byte, n int) {
	const hex = "0123456789abcdef"
	digit := func(i int) int {
		if i >= len(s) || s[i] < '0' {
			return -1
		}
		return strings.IndexByte(hex, s[i]|0x20)
	}
	octal := func(i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '7' }
	switch {
	case s[0] == 'x' && digit(1) >= 0:
		for n = 1; digit(n) >= 0; n++ {
			c = c<<4 | byte(digit(n))
		}
		return c, n
	case s[0] == 'c' && len(s) > 1:
		return s[1] & 0x1f, 2
	case octal(0):
		for n = 0; n < 3 && octal(n); n++ {
			c = c<<3 | (s[n] - '0')
		}
		return c, n
	case asEscapes[s[0]] != 0:
		return asEscapes[s[0]], 1
	}
	return s[0], 1
}
