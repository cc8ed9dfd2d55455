package conf

import (
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Bounds on what a file may ask of us. A configuration that passes them is a mistake or an attack.
const (
	maxFiles   = 100000
	maxGlobs   = 200000    // patterns of includes
	maxText    = 512 << 20 // bytes in all files together
	maxRounds  = 200       // replacements within one line
	maxWaiting = 1000      // definitions of several lines and repetitions within each other
	maxDepth   = 10000     // blocks within each other that are told apart

	defaultExpansion = 256 << 20 // see Options.MaxExpansion
)

// stmt is one statement as keepalived reads it: words up to a brace or the end of the line, or a brace.
type stmt struct {
	kind  Kind // Word, Open or Close
	words []Token
	raw   string // the words as written, for keywords that take a command
	file  *File
	extra bool     // a closing brace that nothing opened
	open  bool     // a double quote was not closed; that word is missing from words
	shell []string // the words cut in the manner of a shell, for keywords that take a command
}

// arg gives word i, or an empty token placed at the end of the statement.
func (s *stmt) arg(i int) Token {
	if i < len(s.words) {
		return s.words[i]
	}
	if len(s.words) == 0 {
		return Token{}
	}
	last := s.words[len(s.words)-1]
	return Token{Line: last.Line, Col: last.Col + len(last.Raw)}
}

// text is the text of word i, or "".
func (s *stmt) text(i int) string {
	if i < len(s.words) {
		return s.words[i].Text
	}
	return ""
}

// reader gives the statements of a file and of all that it includes, definitions and conditions replaced.
type reader struct {
	fsys      fs.FS
	opts      Options
	diags     *diagnostics
	tree      *Tree
	texts     texts
	abs       bool     // the main file's name starts with a slash, so the names of included ones do
	sources   []source // the last one is read first
	queue     []stmt   // statements of the line being read
	handed    int      // of them, those that next has given
	tap       func(*stmt)
	defs      map[string]string
	random    *rand.Rand
	globs     int   // patterns of includes so far
	bytes     int   // of all files so far
	made      int   // bytes made by definitions and repetitions
	waiting   int   // sources that make more
	exhausted bool  // they have made too much
	at        *File // where the reading is; the line is in diags
	mark      mark
	pieces    []piece
	ends      []int32
	tokens    []Token // those of the statements in queue
	depth     []opened
	check     includeCheck // include_check of the file
	as        *asReader    // if not nil, what reads instead: as keepalived does
	ended     bool
}

type opened struct {
	file *File
	tok  Token
}

// source is where lines come from: the lines of file behind n or, without a file, what more gives: a definition of
// several lines, a repetition. It gives false at its end.
type source struct {
	file *File
	n    int
	more func() (line, bool)
}

func newReader(fsys fs.FS, opts Options, d *diagnostics) *reader {
	return &reader{fsys: fsys, opts: opts, diags: d, tree: &Tree{}, texts: texts{}, defs: map[string]string{},
		random: rand.New(rand.NewPCG(opts.Seed, 0))}
}

// next gives the next statement, or false at the end of everything. The statement and its words stay as they are until
// the next call.
func (r *reader) next() (*stmt, bool) {
	if r.as != nil {
		return r.as.next()
	}
	for r.handed == len(r.queue) {
		r.queue, r.handed = r.queue[:0], 0
		if !r.fill() {
			r.diags.line = 0
			return nil, false
		}
		if r.tap != nil {
			for i := range r.queue {
				r.tap(&r.queue[i])
			}
		}
	}
	s := &r.queue[r.handed]
	r.handed++
	r.diags.line = s.words[0].Line
	return s, true
}

// back lets the last statement be read again.
func (r *reader) back() {
	if r.as != nil {
		r.as.back = true
		return
	}
	r.handed--
}

// fill reads one line into the queue. It gives false at the end of everything.
func (r *reader) fill() bool {
	if n := len(r.sources); n > 0 {
		if top := &r.sources[n-1]; top.file != nil && top.n < top.file.Lines() {
			r.at, r.diags.line = top.file, top.n+1
			if r.plain(top.file, top.n+1, top.file.Line(top.n+1)) {
				top.n++
				return true
			}
		}
	}
	l, ok := r.line()
	if !ok {
		return false
	}
	r.at, r.diags.line = l.file, l.n
	r.process(l)
	return true
}

// line gives the next line to look at.
func (r *reader) line() (line, bool) {
	for len(r.sources) > 0 {
		top := len(r.sources) - 1
		if s := &r.sources[top]; s.file != nil {
			if s.n < s.file.Lines() {
				s.n++
				return r.fileLine(s.file, s.n), true
			}
		} else if l, ok := s.more(); ok {
			return l, true
		}
		r.sources = append(r.sources[:top], r.sources[top+1:]...) // it may have put others above itself
	}
	return line{}, false
}

func (r *reader) fileLine(f *File, n int) line {
	return line{text: f.Line(n), file: f, n: n}
}

// read lets a file be read before everything else.
func (r *reader) read(f *File) {
	r.tree.Files = append(r.tree.Files, f)
	r.bytes += len(f.text)
	r.sources = append(r.sources, source{file: f})
}

// finish says which braces are missing, once.
func (r *reader) finish() {
	if r.as != nil {
		r.as.finish()
		return
	}
	if r.ended || len(r.depth) == 0 {
		return
	}
	r.ended = true
	last := r.depth[len(r.depth)-1]
	d := r.diags.add(Warning, "missing-close", last.file, last.tok,
		"There are "+strconv.Itoa(len(r.depth))+" missing '}'s or extra '{'s")
	d.Bare = true
	d.Expected = "a '}' for the block opened here"
}

// process brings a line to statements: conditions, definitions, repetition, replacement, include, in turn until nothing
// changes.
func (r *reader) process(l line) {
	if unreadable(l.text) {
		r.unread(l)
		return
	}
	for range maxRounds {
		if r.exhausted && l.made != nil {
			return
		}
		l = l.cut(len(l.text) - len(strings.TrimLeft(l.text, blanks)))
		l.text = strings.TrimRight(l.text, blanks)
		if l.text == "" || l.text[0] == '#' || l.text[0] == '!' {
			return
		}
		if l.text[0] == '@' {
			var keep bool
			if l, keep = r.condition(l); !keep {
				return
			}
			continue
		}
		if isDefinition(l.text) {
			r.define(l)
			return
		}
		if l.text[0] == '~' {
			if r.repeat(l) {
				return
			}
		}
		next, changed := r.replace(l)
		if !changed {
			r.emit(l)
			return
		}
		if l = next; len(l.text) > maxLine {
			r.unread(l)
			return
		}
	}
	r.diags.add(Warning, "endless-definition", l.file, Token{Line: l.n, Col: 1},
		"definitions on this line refer to each other without end - ignoring the line")
}

// unread says that a line is not looked at.
func (r *reader) unread(l line) {
	what := "a NUL byte"
	if len(l.text) > maxLine {
		what = "more than " + strconv.Itoa(maxLine) + " bytes"
	}
	r.diags.add(Warning, "unreadable-line", l.file, Token{Line: l.n, Col: 1}, "line has "+what+" in it - ignoring")
}

// condition looks at @ID or @^ID in front of a line.
func (r *reader) condition(l line) (line, bool) {
	id, rest, found := strings.Cut(l.text[1:], " ")
	if tab, r2, ok := strings.Cut(l.text[1:], "\t"); ok && len(tab) < len(id) {
		id, rest, found = tab, r2, true
	}
	if !found {
		return l, false
	}
	name, not := strings.CutPrefix(id, "^")
	if (name == r.opts.ID) == not {
		return l, false
	}
	return l.cut(len(l.text) - len(rest)), true
}
