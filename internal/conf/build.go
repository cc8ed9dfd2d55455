package conf

import "strings"

// builder makes the nodes of one file. Braces nest as they are written; which keyword may have a block is not asked.
type builder struct {
	file    *File
	stack   []*Node // open blocks
	last    *Node   // statement that the next word or comment of the same line belongs to
	line    int     // line of the last token
	ended   bool    // the last token was a closing brace
	before  strings.Builder
	pending []Comment
}

func (b *builder) run() {
	var pieces []piece
	for n := 1; n <= b.file.Lines(); n++ {
		raw := b.file.rawLine(n)
		s := strings.TrimSuffix(raw, "\n")
		switch {
		case unreadable(s):
			b.add(Token{Kind: Junk, Raw: s, Text: s}, n, 1)
		case isDefinition(strings.TrimLeft(s, blanks)):
			n = b.definition(n)
			continue // its line end is part of the text
		default:
			pieces = lex(pieces[:0], s, true)
			b.pieces(pieces, s, n)
		}
		b.before.WriteString(raw[len(s):])
	}
	b.file.end = b.before.String()
	b.file.tail = b.pending
}

const blanks = " \t\r\v\f"

// unreadable tells the lines that are not read at all.
func unreadable(s string) bool { return len(s) > maxLine || strings.IndexByte(s, 0) >= 0 }

func (b *builder) pieces(pieces []piece, s string, line int) {
	for _, p := range pieces {
		switch p.kind {
		case blankPiece:
			b.before.WriteString(s[p.start:p.end])
		case commentPiece:
			b.before.WriteString(s[p.start:p.end])
			b.comment(Comment{strings.TrimRight(s[p.start:p.end], blanks), line, column(s, p.start)})
		default:
			b.add(p.token(s), line, column(s, p.start))
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

// add puts a token into the tree.
func (b *builder) add(t Token, line, col int) {
	t.Before, t.Line, t.Col = b.before.String(), line, col
	b.before.Reset()
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
	raw := b.file.rawLine(n)
	trimmed := strings.TrimLeft(raw, blanks)
	col := column(raw, len(raw)-len(trimmed))
	b.before.WriteString(raw[:len(raw)-len(trimmed)])
	text, first := trimmed, n
	for continued(text) && n < b.file.Lines() {
		n++
		text += b.file.rawLine(n)
	}
	body := strings.TrimRight(text, blanks+"\n")
	b.last, b.ended = nil, false
	b.add(Token{Kind: Define, Raw: body, Text: body}, first, col)
	b.last = nil
	b.before.WriteString(text[len(body):])
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

// continued tells whether a definition goes on: its last line ends with a backslash.
func continued(s string) bool { return strings.HasSuffix(strings.TrimRight(s, blanks+"\n"), `\`) }
