package conf

import (
	"sort"
	"unicode/utf8"
)

// line is a line on its way: the physical one, or what replacements made of it.
type line struct {
	text string
	off  int   // where text starts in the physical line or, once something was replaced, in made
	made *made // nil: nothing was replaced
	file *File
	n    int
}

// made tells where the bytes of a line come from that replacements made.
type made struct {
	parts []part
	size  int
}

// part is a stretch of such a line, up to the next one: bytes of the physical line, or a value.
type part struct {
	at  int // where it starts
	off int // where that is in the physical line; negative: a value
	col int // of a value: the column of the reference that it replaces
}

// cut drops the first i bytes.
func (l line) cut(i int) line {
	l.text = l.text[i:]
	l.off += i
	return l
}

// part gives the place of byte i.
func (l line) part(i int) part {
	if l.made == nil {
		return part{i, l.off + i, 0}
	}
	i += l.off
	if i >= l.made.size {
		return part{i, -1, 1}
	}
	all := l.made.parts
	p := all[sort.Search(len(all), func(k int) bool { return all[k].at > i })-1]
	if p.off >= 0 {
		p.off += i - p.at
	}
	p.at = i
	return p
}

// splice replaces bytes [i, end) by value, which then stands at column col.
func (l line) splice(i, end int, value string, col int) line {
	m := &made{size: len(l.text) - (end - i) + len(value)}
	add := func(from, to, at int) { // bytes [from, to) go to at
		if from == to {
			return
		}
		p := l.part(from)
		m.parts = append(m.parts, part{at, p.off, p.col})
		if l.made == nil {
			return
		}
		for _, q := range l.made.parts {
			if q.at > l.off+from && q.at < l.off+to {
				m.parts = append(m.parts, part{q.at - l.off - from + at, q.off, q.col})
			}
		}
	}
	add(0, i, 0)
	if value != "" {
		m.parts = append(m.parts, part{i, -1, col})
	}
	add(end, len(l.text), i+len(value))
	l.text, l.made, l.off = l.text[:i]+value+l.text[end:], m, 0
	return l
}

// with gives a line that says something else, all of it at one column.
func (l line) with(text string, col int) line {
	l.text, l.off, l.made = text, 0, &made{parts: []part{{0, -1, col}}, size: len(text)}
	return l
}

// mark is the last place whose column was asked for. Columns of a line are asked for from left to right.
type mark struct {
	file *File
	n    int
	off  int
	col  int
}

// col gives the column of byte i of a line.
func (r *reader) col(l line, i int) int {
	p := l.part(i)
	if p.off < 0 {
		return p.col
	}
	text, m := l.file.Line(l.n), &r.mark
	p.off = min(p.off, len(text))
	if m.file != l.file || m.n != l.n || m.off > p.off {
		*m = mark{l.file, l.n, 0, 1}
	}
	m.col += utf8.RuneCountInString(text[m.off:p.off])
	m.off = p.off
	return m.col
}
