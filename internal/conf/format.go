package conf

import (
	"slices"
	"strings"
)

// Format gives the canonical layout of a configuration: one statement or brace's end per line, four blanks for each
// block, comments behind code in a column, at most one empty line. Comments and definitions stay, and so does the
// meaning: the daemon reads the same statements from both texts. Formatting twice changes nothing more.
//
// keepalived gives some lines their meaning as a whole (@id, ~SEQ, include, and every line with a $, which may turn into
// anything), so such lines are only moved, never cut or joined.
func Format(text string) string {
	f := formatter{file: newFile("", text)}
	for n := 1; n <= f.file.Lines(); n++ {
		n = f.line(n)
	}
	return f.print()
}

const (
	indentWidth = 4
	maxIndent   = 25   // levels; deeper ones are not a configuration
	maxFree     = 4000 // bytes; longer lines are left alone, lest they grow beyond what is read
	maxAlign    = 60   // columns; comments behind longer code are not aligned
)

// outLine is a line of the result.
type outLine struct {
	depth   int
	code    string
	comment string
	raw     bool // code stands at the left edge, as it was
	joins   bool // a brace may be put behind it
}

type formatter struct {
	file  *File
	out   []outLine
	depth int
	blank bool // an empty line is due before the next one
	buf   []piece
}

// line handles line n and gives the last line that it used: a definition has several.
func (f *formatter) line(n int) int {
	raw := f.file.Line(n)
	s := strings.Trim(raw, blanks)
	switch {
	case unreadable(raw):
		f.put(outLine{code: unread(raw), raw: true})
	case s == "":
		f.blank = true
	case s[0] == '#' || s[0] == '!':
		f.put(outLine{comment: s})
	case isDefinition(s):
		f.put(outLine{code: s, raw: len(s) > maxFree})
		return f.continuation(n, s)
	case f.rigid(s):
		f.whole(s)
		if s[0] == '@' || s[0] == '~' || strings.ContainsRune(s, '$') {
			return f.continuation(n, s) // there may be a definition in it
		}
	default:
		f.free(s)
	}
	return n
}

// unread is a line that is not read, so that it is not read the next time either.
func unread(raw string) string {
	s := strings.TrimRight(raw, blanks)
	if !unreadable(s) {
		s += strings.Repeat(" ", len(raw)-len(s))
	}
	return s
}

// continuation takes the further lines of a definition as they stand.
func (f *formatter) continuation(n int, s string) int {
	lines := f.file.Lines()
	if f.file.Line(lines) == "" {
		lines-- // what follows the last line end
	}
	for _, more := continued(s); more && n < lines; {
		n++
		s = f.file.Line(n)
		code := strings.TrimRight(s, blanks)
		if code == "" && s != "" {
			code = " " // a line of blanks does not end a definition, an empty one does
		}
		f.put(outLine{code: code, raw: true})
		if !onlyComment(s) {
			_, more = continued(s)
		}
	}
	return n
}

// rigid tells the lines that keep their shape.
func (f *formatter) rigid(s string) bool {
	if s[0] == '@' || s[0] == '~' || len(s) > maxFree {
		return true
	}
	f.buf = lex(f.buf[:0], s, true)
	first := true // of a statement
	for i, p := range f.buf {
		word := s[p.start:p.end]
		switch p.kind {
		case brokenPiece:
			return true
		case openPiece, closePiece:
			first = true
		case wordPiece, quotedPiece:
			if first && remarks(f.buf[i:], s) {
				return true // a quote before a brace keeps a comment behind it off
			}
			if strings.ContainsRune(word, '$') || first && startsLine(word) {
				return true
			}
			first = false
		case commentPiece:
			if strings.ContainsRune(word, '$') {
				return true // a $ is looked for before comments are
			}
		}
	}
	return false
}

// remarks tells whether there is a comment in the statement that begins a list of pieces, once it has a line of its own.
func remarks(pieces []piece, s string) bool {
	end := pieces[0].end
	for _, p := range pieces {
		if p.kind != wordPiece && p.kind != quotedPiece {
			break
		}
		end = p.end
	}
	code := s[pieces[0].start:end]
	at, _ := commentAt(code)
	return at < len(code)
}

// startsLine tells words that mean something else at the start of a line than after a brace.
func startsLine(word string) bool {
	_, include := includes[word]
	return include || word[0] == '@' || word[0] == '~'
}

// whole takes a line as it is. Only its braces count.
func (f *formatter) whole(s string) {
	after := f.depth
	for _, p := range lex(f.buf[:0], s, true) {
		switch p.kind {
		case openPiece:
			after++
		case closePiece:
			after = max(0, after-1)
		}
	}
	f.depth = min(f.depth, after)
	f.put(outLine{code: s, raw: len(s) > maxFree})
	f.depth = after
}

// free cuts a line into statements and braces.
func (f *formatter) free(s string) {
	pieces := lex(f.buf[:0], s, true)
	start := 0 // of the statement, in pieces
	for i, p := range pieces {
		switch p.kind {
		case openPiece, closePiece, commentPiece:
		default:
			continue
		}
		f.statement(s, pieces[start:i])
		start = i + 1
		switch p.kind {
		case openPiece:
			f.open()
		case closePiece:
			f.close()
		default:
			f.remark(strings.TrimRight(s[p.start:p.end], blanks))
		}
	}
	f.statement(s, pieces[start:])
}

// statement puts words on a line of their own, with one blank between them. Where there are quotes, blanks stay: they may
// stand inside a quotation of a command.
func (f *formatter) statement(s string, pieces []piece) {
	if len(pieces) == 0 {
		return
	}
	code := strings.Trim(s[pieces[0].start:pieces[len(pieces)-1].end], blanks)
	if code == "" {
		return
	}
	if !strings.ContainsAny(code, `'"\`) {
		code = strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r < 0x80 && isBlank(byte(r)) }), " ")
	}
	f.put(outLine{code: code, joins: true})
}

// open puts a brace behind the statement before it. Comments between the two are inside the block then.
func (f *formatter) open() {
	i := len(f.out) - 1
	for i >= 0 && f.out[i].code == "" && !f.out[i].raw {
		i--
	}
	if i < 0 || !f.out[i].joins {
		f.put(outLine{code: "{"})
		f.depth++
		return
	}
	f.out[i].code += " {"
	f.out[i].joins = false
	f.depth++
	between := slices.Clone(f.out[i+1:])
	f.out = f.out[:i+1]
	due := f.blank && len(between) > 0
	f.blank = false
	for _, l := range between {
		if l.comment == "" {
			f.blank = true
			continue
		}
		f.put(l)
	}
	f.blank = due
}

func (f *formatter) close() {
	f.depth = max(0, f.depth-1)
	f.put(outLine{code: "}"})
}

// remark puts a comment behind what its line gave, or on a line of its own if there is one already.
func (f *formatter) remark(comment string) {
	last := &f.out[len(f.out)-1]
	if last.comment == "" && last.code != "" && !last.raw {
		last.comment = comment
		return
	}
	f.put(outLine{comment: comment})
}

// put adds a line at the depth of now, after an empty line if one is due.
func (f *formatter) put(l outLine) {
	l.depth = f.depth
	if n := len(f.out); n > 0 {
		last := f.out[n-1]
		opens := strings.HasSuffix(last.code, "{") && !last.raw
		ends := last.code == "}" && last.depth == 0 && !last.raw
		if f.blank && !opens && l.code != "}" || ends && f.depth == 0 && l.code != "}" {
			f.out = append(f.out, outLine{})
		}
	}
	f.blank = false
	f.out = append(f.out, l)
}

// print writes the lines, with comments of neighbouring lines in one column.
func (f *formatter) print() string {
	var b strings.Builder
	for i := 0; i < len(f.out); {
		end, width := f.run(i)
		for ; i < end; i++ {
			f.out[i].print(&b, width)
		}
	}
	return b.String()
}

// run finds the lines from i on whose comments share a column.
func (f *formatter) run(i int) (end, width int) {
	for end = i; end < len(f.out) && f.out[end].aligned(); end++ {
		width = max(width, f.out[end].width())
	}
	return max(end, i+1), width
}

func (l outLine) aligned() bool {
	return l.code != "" && l.comment != "" && !l.raw && l.width() <= maxAlign
}

func (l outLine) width() int {
	w := min(l.depth, maxIndent) * indentWidth
	for _, r := range l.code {
		w += cells(r)
	}
	return w
}

func (l outLine) print(b *strings.Builder, width int) {
	if !l.raw && (l.code != "" || l.comment != "") {
		b.WriteString(strings.Repeat(" ", min(l.depth, maxIndent)*indentWidth))
	}
	b.WriteString(l.code)
	if l.code != "" && l.comment != "" {
		b.WriteString(strings.Repeat(" ", max(0, width-l.width())+1))
	}
	b.WriteString(l.comment)
	b.WriteByte('\n')
}
