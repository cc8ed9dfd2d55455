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

	Keyword Keyword // its row of the table
	Known   bool    // whether there is one
	Value   bool    // it stands in a block of values, such as virtual_ipaddress
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
	o := outliner{each: each}
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		switch s.kind {
		case Open:
			o.open()
		case Close:
			o.close()
		default:
			o.add(&s)
		}
	}
	o.flush()
}

// outliner nests statements by their braces.
type outliner struct {
	each  func(*Statement)
	top   *Statement   // at the outer level, not yet handed on
	stack []*Statement // open blocks
	in    []scope      // what may stand in each of them
	last  *Statement   // the next brace may be its
}

// scope is the table's view of a block. Lines of an unknown block are read as lines of the one around it.
type scope struct {
	block  string
	values bool
}

func (o *outliner) scope() scope {
	if len(o.in) == 0 {
		return scope{}
	}
	return o.in[len(o.in)-1]
}

func (o *outliner) add(s *stmt) {
	n := &Statement{Words: append([]Token(nil), s.words...), File: s.file}
	in := o.scope()
	if n.Value = in.values; !in.values {
		n.Keyword, _, n.Known = Find(in.block, n.Text(0))
	}
	if len(o.stack) == 0 {
		o.flush()
		o.top = n
	} else {
		above := o.stack[len(o.stack)-1]
		above.Body = append(above.Body, n)
	}
	o.last = n
}

func (o *outliner) open() {
	if o.last == nil {
		o.last = &Statement{}
		if len(o.stack) == 0 {
			o.flush()
		}
	}
	s := o.last
	s.Open, o.last = true, nil
	in := o.scope()
	if s.Known {
		_, inner, _ := Find(s.Keyword.Block, s.Keyword.Name)
		in = scope{inner, inner == ""}
	}
	o.stack, o.in = append(o.stack, s), append(o.in, in)
}

func (o *outliner) close() {
	o.last = nil
	if n := len(o.stack); n > 0 {
		o.stack, o.in = o.stack[:n-1], o.in[:n-1]
	}
}

func (o *outliner) flush() {
	if o.top != nil {
		o.each(o.top)
	}
	o.top = nil
}

// child gives the last statement of a block with this keyword, or nil: in keepalived the last one wins.
func (s *Statement) child(name string) *Statement {
	if s == nil {
		return nil
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
