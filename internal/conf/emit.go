package conf

import "strings"

// emit cuts a finished line into statements.
func (r *reader) emit(l line) {
	if r.include(l) {
		return
	}
	r.undefined(l)
	r.pieces = lex(r.pieces[:0], l.text, false)
	store := r.room(len(r.pieces))
	s := stmt{file: l.file}
	start, end, begin := 0, 0, 0
	flush := func() {
		if len(s.words) > 0 {
			s.raw = l.text[start:end]
			r.queue = append(r.queue, s)
		}
		s = stmt{file: l.file}
	}
	for _, p := range r.pieces {
		if p.kind == blankPiece || p.kind == commentPiece {
			continue
		}
		t := p.token(l.text)
		t.Line, t.Col = l.n, r.col(l, p.start)
		switch t.Kind {
		case Open, Close:
			flush()
			r.queue = append(r.queue, stmt{kind: t.Kind, words: r.one(&store, t), file: l.file, extra: r.nest(l.file, t)})
			if rest := strings.TrimLeft(l.text[p.end:], blanks); anew(rest) {
				r.again(l.cut(p.end))
				return
			}
			begin = p.end
			continue
		case Broken:
			r.unterminated(l, t, strings.Trim(l.text[begin:], blanks))
			s.open, end = true, p.end
			continue
		}
		end = p.end
		if len(s.words) == 0 {
			start = p.start
			s.words = store[len(store):]
		}
		store = append(store, t)
		s.words = store[len(store)-len(s.words)-1 : len(store) : len(store)]
	}
	flush()
}

// undefined says which names on a finished line stand for nothing. They stay as they are.
func (r *reader) undefined(l line) {
	for i := strings.IndexByte(l.text, '$'); i >= 0 && i < len(l.text); i++ {
		if l.text[i] != '$' {
			continue
		}
		name, _, end := reference(l.text, i)
		if end == 0 {
			r.glued(l, i)
			continue
		}
		if _, ok := r.defs[name]; !ok {
			d := r.diags.add(Warning, "undefined-name", l.file, Token{Line: l.n, Col: r.col(l, i), Raw: l.text[i:end]}, l.text[i:end]+" is not defined")
			d.Hint = "add above: $" + name + "=VALUE"
			if l.text[i+1] == '{' {
				d.Hint += "; as it stands, the braces are taken for a block"
			}
		}
	}
}

// glued says that a name which is defined stands before something that it must not stand before.
func (r *reader) glued(l line, i int) {
	end := nameEnd(l.text, i+1)
	name := l.text[i+1 : end]
	if _, ok := r.defs[name]; ok {
		r.diags.add(Warning, "undefined-name", l.file, Token{Line: l.n, Col: r.col(l, i), Raw: l.text[i:end]},
			"$"+name+" is not replaced here").Hint = "write ${" + name + "}: without braces a blank, a slash or the end must follow"
	}
}

// nest counts braces and tells a closing one too many.
func (r *reader) nest(f *File, t Token) (extra bool) {
	switch {
	case t.Kind == Open:
		r.depth = append(r.depth, opened{f, t})
	case len(r.depth) == 0:
		return true
	default:
		r.depth = r.depth[:len(r.depth)-1]
	}
	return false
}

// room gives space for the tokens of a line, that of the line before.
func (r *reader) room(n int) []Token {
	if cap(r.tokens) < n {
		r.tokens = make([]Token, 0, max(n, 64))
	}
	return r.tokens[:0]
}

// one is a statement of a single token.
func (r *reader) one(store *[]Token, t Token) []Token {
	*store = append(*store, t)
	return (*store)[len(*store)-1 : len(*store) : len(*store)]
}

// anew tells what is looked at as a line of its own behind a brace.
func anew(rest string) bool {
	return rest != "" && (rest[0] == '@' || rest[0] == '~' || strings.HasPrefix(rest, "include") || isDefinition(rest))
}

// again lets the rest of a line be read as a line.
func (r *reader) again(l line) {
	read := false
	r.sources = append(r.sources, source{more: func() (line, bool) {
		more := !read
		read = true
		return l, more
	}})
}

// unterminated reports a double quote without an end. The words before it stay. part is what stands after the last
// brace.
func (r *reader) unterminated(l line, t Token, part string) {
	d := r.diags.add(Warning, "unterminated-quote", l.file, t, "Unterminated quote '"+l.text+"'")
	d.More = []string{"Unmatched quote: '" + part + "'"}
	d.Expected = `a closing "`
}

// define takes $NAME=VALUE and, when the value ends with a backslash, the lines that follow.
func (r *reader) define(l line) {
	name, value, _ := strings.Cut(l.text[1:], "=")
	value, more := continued(value)
	if !more {
		r.defs[name] = value
		return
	}
	var parts []string
	for {
		if value != "" {
			parts = append(parts, value)
		}
		if !more {
			break
		}
		next, ok := r.line()
		for ok && onlyComment(next.text) {
			next, ok = r.line()
		}
		if !ok {
			break
		}
		value, more = continued(next.text)
	}
	r.defs[name] = strings.Join(parts, "\n")
}

// stripComment cuts the comment off a line that is not going to be lexed now.
func stripComment(s string) string {
	for _, p := range lex(nil, s, true) {
		if p.kind == commentPiece {
			return strings.TrimRight(s[:p.start], blanks)
		}
	}
	return strings.TrimRight(s, blanks)
}
