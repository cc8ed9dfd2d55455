package conf

import (
	"strings"
)

// maxLine is the length in bytes above which a line is not read. keepalived: its buffer is smaller, and what exceeds it
// is taken for further lines.
const maxLine = 8192

// lex cuts one line (without its end) into pieces that cover it. Only a double quote protects # ! { }; a single quote
// does not. With refs, ${NAME} is part of a word, as it is before definitions have been replaced; without, its braces
// are braces, as they are when the name is not defined.
func lex(dst []piece, s string, refs bool) []piece {
	comment, _ := commentAt(s)
	for i := 0; i < len(s); {
		start := i
		kind := wordPiece
		switch c := s[i]; {
		case i == comment:
			i, kind = len(s), commentPiece
		case isBlank(c):
			for i < len(s) && isBlank(s[i]) {
				i++
			}
			kind = blankPiece
		case c == '{':
			i, kind = i+1, openPiece
		case c == '}':
			i, kind = i+1, closePiece
		case c == '"':
			i, kind = quoteEnd(s[:comment], i) // what a comment has is no end
		default:
			i = wordEnd(s[:comment], i, refs)
		}
		dst = append(dst, piece{kind, start, i})
	}
	return dst
}

// quoteEnd finds the end of the quoted token that starts at i. There are no escapes inside.
func quoteEnd(s string, i int) (int, pieceKind) {
	if n := strings.IndexByte(s[i+1:], '"'); n >= 0 {
		return i + n + 2, quotedPiece
	}
	return len(s), brokenPiece
}

// commentAt finds where the comment of a line begins, or its length, and whether the line ends with a backslash, be it in
// the comment. A backslash takes its meaning from the next character, also from a quote, which a word does not know.
func commentAt(s string) (at int, more bool) {
	at = len(s)
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 == len(s):
			return at, true
		case c == '\\':
			i++
		case at < len(s):
		case c == '"':
			quoted = !quoted
		case (c == '#' || c == '!') && !quoted:
			at = i
		}
	}
	return at, false
}

// wordEnd finds the end of the word that starts at i.
func wordEnd(s string, i int, refs bool) int {
	for i < len(s) {
		switch c := s[i]; {
		case refs && c == '$' && i+1 < len(s) && s[i+1] == '{':
			if n := refEnd(s, i); n > 0 {
				i = n - 1
			}
		case isBlank(c) || strings.IndexByte(`{}"`, c) >= 0:
			return i
		}
		i++
	}
	return i
}

// refEnd gives the end of the ${NAME} or ${_NAME args} that starts at i, or 0.
func refEnd(s string, i int) int {
	j := nameEnd(s, i+2)
	if j == i+2 {
		return 0
	}
	for j < len(s) && (isNameByte(s[j]) || s[j] == ' ') {
		j++
	}
	if j < len(s) && s[j] == '}' {
		return j + 1
	}
	return 0
}

// nameEnd gives the end of the name [A-Za-z_][A-Za-z0-9_]* that starts at i, or i.
func nameEnd(s string, i int) int {
	if i < len(s) && s[i] >= '0' && s[i] <= '9' {
		return i
	}
	for i < len(s) && isNameByte(s[i]) {
		i++
	}
	return i
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isBlank tells the bytes that separate words. A carriage return is one, so CRLF files need no care.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }

// unescape removes the backslash that kept a comment mark in a word.
// keepalived: its children read a copy from which the backslash is already gone, so there the word ends at the mark.
func unescape(s string) string {
	if !strings.Contains(s, `\#`) && !strings.Contains(s, `\!`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if s[i+1] != '#' && s[i+1] != '!' {
				b.WriteByte(s[i])
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// splitScript cuts the arguments of a keyword that takes a command, in the manner of a shell: '…' and "…" quote, may be
// joined inside a word, and a backslash keeps the next character (inside single quotes it is itself).
func splitScript(s string) (words []string, ok bool) {
	var b strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			in = true
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && isBlank(c):
			if in {
				words = append(words, b.String())
				b.Reset()
			}
			in = false
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, b.String())
	}
	return words, quote == 0
}

// openQuote is the quote that a command lacks.
func openQuote(s string) string {
	if _, ok := splitScript(s + `"`); ok {
		return `"`
	}
	return "'"
}
