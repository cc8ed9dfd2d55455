package conf

import (
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Statement is one statement as the daemon sees it: definitions, conditions, repetitions and includes are replaced. Its
// place is where the text of it stands.
type Statement struct {
	Words []Token // the first is the keyword, or a value in a block of values
	File  *File
	Open  bool         // it has a block
	Body  []*Statement // what the block holds, as the braces are written

	Keyword *Keyword // its row of the table, nil if there is none
	Known   bool     // whether there is one
	Value   bool     // it stands in a block of values, such as virtual_ipaddress

	row  *keyword
	last map[string]*Statement // see index
}

// Text is word i, or "".
func (s *Statement) Text(i int) string {
	if i < len(s.Words) {
		return s.Words[i].Text
	}
	return ""
}

// String is the statement on one line, without its block.
func (s *Statement) String() string {
	words := make([]string, len(s.Words))
	for i, w := range s.Words {
		words[i] = w.Text
	}
	return strings.Join(words, " ")
}

// Outline reads name as Load does and hands on every statement of the outer level with all that is in its block, in
// order. Faults are not reported: Load does that. Nothing is kept, so a file may be large.
func Outline(fsys fs.FS, name string, opts Options, each func(*Statement)) {
	r := newReader(fsys, opts, &diagnostics{})
	if !r.start(name) {
		return
	}
	o := outliner{each: func(s *Statement) bool { each(s); return true }}
	r.tap = o.take
	for _, ok := r.next(); ok; _, ok = r.next() {
	}
	o.finish()
}

// outliner nests statements by their braces.
type outliner struct {
	each  func(*Statement) (kept bool) // what is not kept makes room for the next
	top   *Statement                   // at the outer level, not yet handed on
	stack []openBlock
	kids  []*Statement // of all open blocks so far, the innermost last
	last  *Statement   // the next brace may be its
	deep  int          // open braces beyond maxDepth

	statements arena[Statement]
	words      arena[Token]
	bodies     arena[*Statement]
}

// openBlock is a statement whose block is being read.
type openBlock struct {
	of     *Statement
	kids   int    // where its own begin
	inside *block // what may stand in it; nil: values. Lines of an unknown block are read as lines of the one around it.
}

func (o *outliner) inside() *block {
	if len(o.stack) == 0 {
		return root
	}
	return o.stack[len(o.stack)-1].inside
}

func (o *outliner) take(s *stmt) {
	switch s.kind {
	case Open:
		o.open()
	case Close:
		o.close()
	default:
		o.add(s)
	}
}

func (o *outliner) add(s *stmt) {
	if len(o.stack) == 0 {
		o.flush()
	}
	n := &o.statements.take(1)[0]
	n.Words, n.File = o.words.take(len(s.words)), s.file
	copy(n.Words, s.words)
	if in := o.inside(); in == nil {
		n.Value = true
	} else if row := in.find(s.text(0)); row != nil {
		n.row, n.Keyword, n.Known = row, &row.Keyword, true
	}
	if len(o.stack) == 0 {
		o.top = n
	} else {
		o.kids = append(o.kids, n)
	}
	o.last = n
}

func (o *outliner) open() {
	if len(o.stack) >= maxDepth {
		o.deep++
		return
	}
	if o.last == nil {
		o.last = &Statement{}
		if len(o.stack) == 0 {
			o.flush()
		}
	}
	s := o.last
	s.Open, o.last = true, nil
	in := o.inside()
	if s.Known {
		in = s.row.sub
	}
	o.stack = append(o.stack, openBlock{s, len(o.kids), in})
}

func (o *outliner) close() {
	n := len(o.stack) - 1
	if o.deep > 0 {
		o.deep--
		return
	}
	if o.last = nil; n < 0 {
		return
	}
	b := o.stack[n]
	b.of.Body = o.bodies.take(len(o.kids) - b.kids)
	copy(b.of.Body, o.kids[b.kids:])
	o.kids, o.stack = o.kids[:b.kids], o.stack[:n]
}

func (o *outliner) flush() {
	if o.top != nil && !o.each(o.top) {
		o.statements.clear()
		o.words.clear()
		o.bodies.clear()
	}
	o.top = nil
	o.statements.keep()
	o.words.keep()
	o.bodies.keep()
}

// finish hands on what is left, as if missing braces stood at the end.
func (o *outliner) finish() {
	for len(o.stack) > 0 {
		o.close()
	}
	o.flush()
}

// arena hands out room in large pieces, and takes back what was handed out since the last keep.
type arena[T any] struct {
	room []T
	kept int
}

// take gives n zero values.
func (a *arena[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	at := len(a.room)
	if cap(a.room)-at < n {
		a.room, a.kept, at = make([]T, 0, max(n, min(2*cap(a.room), 1024), 16)), 0, 0
	}
	a.room = a.room[:at+n]
	return a.room[at : at+n : at+n]
}

func (a *arena[T]) keep() { a.kept = len(a.room) }

func (a *arena[T]) clear() {
	clear(a.room[a.kept:])
	a.room = a.room[:a.kept]
}

// index gives the last statement of every keyword of a block.
func (s *Statement) index() map[string]*Statement {
	if s.last == nil {
		s.last = make(map[string]*Statement)
		for _, b := range s.Body {
			s.last[b.Text(0)] = b
		}
	}
	return s.last
}

// child gives the last statement of a block with this keyword, or nil: in keepalived the last one wins.
func (s *Statement) child(name string) *Statement {
	if s == nil {
		return nil
	}
	if len(s.Body) > 64 { // it will be asked again
		return s.index()[name]
	}
	for i := len(s.Body) - 1; i >= 0; i-- {
		if s.Body[i].Text(0) == name {
			return s.Body[i]
		}
	}
	return nil
}

// yes tells what the last such keyword of a block says: on, off, or nothing (set is false).
func (s *Statement) yes(name string) (on, set bool) {
	c := s.child(name)
	if c == nil {
		return false, false
	}
	switch c.Text(1) {
	case "false", "off", "no":
		return false, true
	}
	return true, true
}

// seconds is the last readable value of a keyword in a block, or false.
func (s *Statement) seconds(name string) (time.Duration, bool) {
	if c := s.child(name); c != nil {
		if v, err := strconv.ParseFloat(c.Text(1), 64); err == nil && v >= 0 && v < 1e9 {
			return time.Duration(v*1e6) * time.Microsecond, true
		}
	}
	return 0, false
}

func (s *Statement) number(name string) (int, bool) {
	if c := s.child(name); c != nil {
		if v, err := strconv.Atoi(c.Text(1)); err == nil {
			return v, true
		}
	}
	return 0, false
}

// tableBlocks finds a block by its name.
var tableBlocks = sync.OnceValue(func() map[string]*block {
	m := map[string]*block{}
	for _, b := range blocks() {
		m[b.name] = b
	}
	return m
})

// Find gives the row of a keyword in a block ("" is the outer level), and the name of the block that it opens: "" if it
// opens none, or one of values.
func Find(in, name string) (k Keyword, inner string, ok bool) {
	b := tableBlocks()[in]
	if b == nil {
		return Keyword{}, "", false
	}
	row := b.find(name)
	if row == nil {
		return Keyword{}, "", false
	}
	if row.sub != nil {
		inner = row.sub.name
	}
	return row.Keyword, inner, true
}
