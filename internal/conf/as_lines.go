package conf

import (
	"strconv"
	"strings"
)

// asBuffer is the length of keepalived's line buffer, with the zero byte that ends it.
const asBuffer = 1024

// asMade bounds the lines that repetitions and definitions make. keepalived has no bound.
const asMade = 10_000_000

// asReader reads a file as keepalived 2.2.7 does, for Test: the same pieces of lines in the same order, with the same
// place in front of every message. What it reads and reader reads mean the same, except where a file is odd: lines that
// are longer than keepalived's buffer, quotes and backslashes that belong to nothing, definitions within definitions.
//
// keepalived's first process writes what it read to a copy, without comments, which the others read, so some files mean
// something else to them.
type asReader struct {
	of    *reader // whose file system, options and include check are used
	child bool    // reads the copy
	copy  strings.Builder
	dir   string // the working directory: names in includes are relative to it

	files   []*asFile // the innermost last
	opened  int
	residue string // what followed a brace
	repeats []*asRepeat
	free    uint32      // repetitions that were there before the definition being expanded; they wait for its end
	wrong   int         // lists that were not understood, see count
	rest    *string     // further lines of the definition being expanded
	waiting []asWaiting // the same of definitions around it
	defs    map[string]*asDefinition
	open    *asDefinition   // gets the lines that follow
	depth   int             // of braces
	made    int             // lines that are not in a file
	most    int             // of those
	full    bool            // there are more
	read    map[string]bool // files, by their path
	stmt    stmt            // the last one that was given
	tokens  []Token         // its words
	back    bool            // it is to be given again
	given   *File
}

func newAsReader(of *reader) *asReader {
	r := &asReader{of: of, defs: map[string]*asDefinition{}, most: asMade, read: map[string]bool{}}
	r.standard()
	return r
}

// next gives the next statement, or false at the end.
func (r *asReader) next() (*stmt, bool) {
	if r.back {
		r.back = false
		return &r.stmt, true
	}
	for {
		text, ok := r.line()
		if !ok {
			return nil, false
		}
		s := &r.stmt
		*s = stmt{file: r.given, raw: text, words: r.words(text)}
		if len(s.words) == 0 {
			continue
		}
		if len(s.words) == 1 {
			switch s.words[0].Text {
			case "{":
				s.kind = Open
			case "}":
				s.kind = Close
			}
		}
		if text == "{" {
			r.depth++
		} else if text == "}" {
			if s.extra = r.depth < 1; !s.extra {
				r.depth--
			}
		}
		return s, true
	}
}

// finish says how many braces are missing.
func (r *asReader) finish() {
	if r.depth > 0 {
		r.say("missing-close", "There are "+strconv.Itoa(r.depth)+" missing '}'s or extra '{'s").Bare = true
	}
}

// line gives the next piece: up to a brace, or a brace.
func (r *asReader) line() (string, bool) {
	r.open = nil
	for {
		text, ok := r.fetch()
		if !ok {
			return "", false
		}
		if r.open != nil {
			r.extend(text)
			continue
		}
		if text == "" {
			continue
		}
		if text = r.expand(text); text != "" && !r.include(text) {
			return r.cut(text), true
		}
	}
}

// fetch gives the next line from where there is one: behind a brace, a repetition, a definition, a file.
func (r *asReader) fetch() (string, bool) {
	if text := r.residue; text != "" {
		r.residue = ""
		return text, true
	}
	if n := len(r.repeats); n > 0 && r.count() > r.free {
		return r.repeat(r.repeats[n-1])
	}
	if r.rest != nil {
		if !r.makes() {
			return "", false
		}
		return r.further(), true
	}
	return r.physical()
}

// makes counts a line that is not in a file. It gives false for one too many.
// keepalived: goes on, until its memory or the reader's patience ends.
func (r *asReader) makes() bool {
	if r.made++; r.made > r.most && !r.full {
		r.full = true
		r.say("expansion-limit", "Repetitions, definitions and files that are included again make more than "+strconv.Itoa(r.most)+" lines - stopping").class = classFatal
	}
	return r.made <= r.most
}

// cut keeps what follows the first brace for later.
func (r *asReader) cut(text string) string {
	at := 0
	if text[0] == '{' || text[0] == '}' {
		r.residue = trimmed(text[1:])
		return text[:1]
	}
	if !hasRole(text, 1<<roleBrace|1<<roleQuote) {
		return trimmedRight(text)
	}
	for {
		n := strings.IndexAny(text[at:], `{}"`)
		if n < 0 {
			return strings.TrimRight(text, " \t")
		}
		if at += n; text[at] != '"' {
			break
		}
		n = strings.IndexByte(text[at+1:], '"')
		if n < 0 {
			return strings.TrimRight(text, " \t")
		}
		at += n + 2
	}
	r.residue = strings.TrimRight(text[at:], " \t")
	return strings.TrimRight(text[:at], " \t")
}

// expand brings a line to what is read: conditions, definitions, repetitions, replacement, until nothing changes. It
// gives "" for a line that is done with.
func (r *asReader) expand(text string) string {
	for range maxRounds {
		if text[0] == '@' {
			if text = r.condition(text); text == "" {
				return ""
			}
		}
		if text[0] == '$' && r.define(text) || r.repetition(text) {
			return ""
		}
		if text[0] == '~' || strings.IndexByte(text, '$') < 0 {
			return text
		}
		changed := false
		if text, changed = r.replace(text, asBuffer, &r.rest); !changed {
			return text
		}
		if text = r.decomment(text); text == "" {
			return ""
		}
		if text[0] != '@' && strings.IndexByte(text, '$') < 0 {
			return text
		}
	}
	r.of.diags.add(Warning, "endless-definition", r.given, Token{}, "definitions on this line refer to each other without end - ignoring the line").class = classFault
	return ""
}

// condition looks at @ID or @^ID in front of a line and gives what follows, or "".
func (r *asReader) condition(text string) string {
	id := text[1:]
	not := strings.HasPrefix(id, "^")
	if not {
		id = id[1:]
	}
	end := strings.IndexAny(id, " \t")
	own := r.of.opts.ID
	if end < 0 || (own != "" && id[:end] == own) == not {
		return ""
	}
	return strings.TrimLeft(id[end:], " \t")
}

// decomment takes away a comment, the backslashes in front of comment marks, and blanks at the ends and in front of a
// backslash at the end.
func (r *asReader) decomment(s string) string {
	if !hasRole(s, 1<<roleComment|1<<roleQuote|1<<roleEscape) {
		return trimmed(s)
	}
	s = strings.TrimLeft(s, " \t")
	b := make([]byte, 0, len(s))
	quoted, joined, comment := false, false, -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = quoted != (comment < 0)
		case c == '\\' && i+1 == len(s):
			joined = true
			continue
		case c == '\\':
			if i++; quoted || s[i] != '#' && s[i] != '!' {
				b = append(b, c)
			}
		case (c == '#' || c == '!') && !quoted && comment < 0:
			comment = len(b)
		}
		b = append(b, s[i])
	}
	if quoted {
		r.say("unterminated-quote", "Unterminated quote '"+string(b)+"'")
	}
	if comment >= 0 {
		b = b[:comment]
	}
	out := strings.TrimRight(string(b), " \t")
	if joined {
		out += `\`
	}
	return out
}

// words cuts a piece at blanks and quotes.
func (r *asReader) words(s string) []Token {
	r.tokens = r.tokens[:0]
	for rest := s; ; {
		for rest != "" && (isBlank(rest[0]) || rest[0] == '\n') {
			rest = rest[1:]
		}
		if rest == "" {
			return r.tokens
		}
		t := Token{Line: 1, Raw: rest}
		if rest[0] == '"' {
			n := strings.IndexByte(rest[1:], '"')
			if n < 0 {
				r.say("unterminated-quote", "Unmatched quote: '"+s+"'")
				return r.tokens
			}
			t.Kind, t.Text, rest = Quoted, rest[1:n+1], rest[n+2:]
		} else {
			n := 0
			for n < len(rest) && !isBlank(rest[n]) && rest[n] != '\n' && rest[n] != '"' {
				n++
			}
			t.Text, rest = rest[:n], rest[n:]
		}
		r.tokens = append(r.tokens, t)
	}
}

// trimmed takes blanks and tabs away at both ends, trimmedRight at the right one.
func trimmed(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return trimmedRight(s)
}

func trimmedRight(s string) string {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

const asBlanks = " \t\f\n\r\v"

// say reports something where the reading is.
func (r *asReader) say(code, text string) *Diagnostic {
	return r.of.diags.add(Warning, code, r.given, Token{}, text)
}
