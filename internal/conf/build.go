package conf

import (
	"strings"
	"unicode/utf8"
)

// builder makes the nodes of one file. Braces nest as they are written; which keyword may have a block is not asked.
type builder struct {
	file    *File
	stack   []*Node // open blocks
	last    *Node   // statement that the next word or comment of the same line belongs to
	line    int     // line of the last token
	ended   bool    // the last token was a closing brace
	base    int     // where the line starts in the text
	from    int     // where the text that belongs to no token yet starts
	deep    int     // open braces beyond maxDepth
	pending []Comment
}

func (b *builder) run() {
	var pieces []piece
	for n := 1; n <= b.file.Lines(); n++ {
		b.base = int(b.file.starts[n-1])
		s := strings.TrimSuffix(b.file.rawLine(n), "\n")
		switch {
		case unreadable(s):
			b.add(Token{Kind: Junk, Raw: s, Text: s}, 0, n, 1)
		case isDefinition(strings.TrimLeft(s, blanks)):
			n = b.definition(n)
		default:
			pieces = lex(pieces[:0], s, true)
			b.pieces(pieces, s, n)
		}
	}
	b.file.end = b.file.text[b.from:]
	b.file.tail = b.pending
}

const blanks = " \t\r\v\f"

// unreadable tells the lines that are not read at all.
func unreadable(s string) bool { return len(s) > maxLine || strings.IndexByte(s, 0) >= 0 }

func (b *builder) pieces(pieces []piece, s string, line int) {
	at, col := 0, 1
	for _, p := range pieces {
		col += utf8.RuneCountInString(s[at:p.start])
		at = p.start
		switch p.kind {
		case blankPiece:
		case commentPiece:
			b.comment(Comment{strings.TrimRight(s[p.start:p.end], blanks), line, col})
		default:
			b.add(p.token(s), p.start, line, col)
		}
	}
}

// comment attaches c to the statement that ends on its line, else to the next one.
func (b *builder) comment(c Comment) {
	switch {
	case b.last == nil || b.line != c.Line:
		b.pending = append(b.pending, c)
	case b.ended:
		b.last.End = append(b.last.End, c)
	default:
		b.last.Note = append(b.last.Note, c)
	}
}

// add puts a token into the tree that starts at byte at of the line.
func (b *builder) add(t Token, at, line, col int) {
	t.Before, t.Line, t.Col = b.file.text[b.from:b.base+at], line, col
	b.from = b.base + at + len(t.Raw)
	t.Kind = b.bounded(t.Kind)
	sameLine := b.last != nil && b.line == line && !b.ended && b.last.Open == nil
	b.line = line
	switch t.Kind {
	case Open:
		b.open(t)
	case Close:
		b.close(t)
	default:
		if !sameLine {
			b.last = b.node()
		}
		b.last.Words = append(b.last.Words, t)
		b.ended = false
	}
}

// bounded makes junk of braces beyond maxDepth: whoever walks the tree goes that deep at most.
func (b *builder) bounded(k Kind) Kind {
	switch {
	case k == Open && len(b.stack) >= maxDepth:
		b.deep++
	case k == Close && b.deep > 0:
		b.deep--
	default:
		return k
	}
	return Junk
}

// node starts a statement.
func (b *builder) node() *Node {
	n := &Node{Doc: b.pending}
	b.pending = nil
	if len(b.stack) == 0 {
		b.file.nodes = append(b.file.nodes, n)
	} else {
		top := b.stack[len(b.stack)-1]
		top.Body = append(top.Body, n)
	}
	return n
}

// open gives the block to the statement just before it, be it on an earlier line.
func (b *builder) open(t Token) {
	if b.last == nil || b.ended || b.last.Open != nil || len(b.last.Words) == 0 {
		b.last = b.node()
	}
	b.last.Note = append(b.last.Note, b.pending...)
	b.pending = nil
	b.last.Open = &t
	b.stack = append(b.stack, b.last)
	b.ended = false
}

// close ends the innermost block; without one it is a node of its own.
func (b *builder) close(t Token) {
	if len(b.stack) == 0 {
		b.last = b.node()
	} else {
		b.last = b.stack[len(b.stack)-1]
		b.stack = b.stack[:len(b.stack)-1]
		b.last.Tail = b.pending
		b.pending = nil
	}
	b.last.Close = &t
	b.ended = true
}

// definition adds the definition that starts on line n, with its continuation lines, and gives its last line.
func (b *builder) definition(n int) int {
	last := b.file.rawLine(n)
	at := len(last) - len(strings.TrimLeft(last, blanks))
	col, first := column(last, at), n
	for _, more := continued(b.file.Line(n)); more && n < b.file.Lines(); {
		n++
		if l := b.file.Line(n); !onlyComment(l) {
			_, more = continued(l)
		}
	}
	text := b.file.text[b.base+at:]
	if n < b.file.Lines() {
		text = b.file.text[b.base+at : b.file.starts[n]]
	}
	body := strings.TrimRight(text, blanks+"\n")
	b.last, b.ended = nil, false
	b.add(Token{Kind: Define, Raw: body, Text: body}, at, first, col)
	b.last = nil
	return n
}

// isDefinition tells a line that starts with $NAME=.
func isDefinition(s string) bool {
	if len(s) == 0 || s[0] != '$' {
		return false
	}
	end := nameEnd(s, 1)
	return end > 1 && end < len(s) && s[end] == '='
}

// continued gives a line of a definition without comment and blanks, and whether the definition goes on: a backslash at
// its end, of the comment or of what stands before it.
func continued(s string) (text string, more bool) {
	at, more := commentAt(s)
	text = strings.Trim(s[:at], blanks)
	text, lone := strings.CutSuffix(text, `\`)
	return strings.TrimRight(text, blanks), more || lone
}

// onlyComment tells a line with nothing but a comment or blanks. It neither ends a definition nor adds to it.
func onlyComment(s string) bool {
	text, more := continued(s)
	return text == "" && !more && s != ""
}
