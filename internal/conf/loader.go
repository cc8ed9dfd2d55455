package conf

import (
	"fmt"
	"strings"
)

// loader runs statements through the keyword table.
type loader struct {
	in    *reader
	diags *diagnostics
	cfg   *Config
	glob  globals
	at    *stmt    // the statement being looked at
	kw    *keyword // its row
	skip  bool     // set by a setter: the block that follows is not wanted
	quiet int      // depth of blocks that have no effect in this version

	vi     *instance
	vis    []*instance
	group  *SyncGroup
	groups []*groupAt
	vs     *service
	vss    []*service
	rs     *realServer
	ck     *checker
	mailed bool
}

// block reads statements up to the closing brace, or to the end of everything at the outer level.
func (l *loader) block(b *block) {
	outer := b == root
	for first := !outer; ; first = false {
		s, ok := l.in.next()
		if !ok {
			return
		}
		l.at = &s
		switch {
		case first && s.kind == Open:
		case s.kind == Open:
			d := l.warn(s.words[0], "unexpected-brace", "Unexpected '{' - ignoring")
			d.Hint = "the lines of this block are read as lines of " + b.name + ", and its '}' ends that"
			if outer {
				d.Hint = "the lines of this block are read as if it were not there"
			}
		case s.kind == Close && !outer:
			if s.extra {
				l.warn(s.words[0], "extra-close", "Extra '}' found")
			}
			return
		case s.kind == Close:
			l.strayClose(s)
		default:
			if first {
				l.missingOpen(s.words[0], b.name)
			}
			l.keyword(b, &s)
		}
		if first && s.kind == Close {
			return
		}
	}
}

func (l *loader) missingOpen(t Token, name string) {
	d := l.warn(t, "missing-open", "Missing '{' at beginning of configuration block")
	d.Expected = "'{' after " + name
}

func (l *loader) strayClose(s stmt) {
	if !s.extra {
		d := l.warn(s.words[0], "extra-close", "Unknown keyword '}'")
		d.Hint = "this '}' ends nothing: its block was not recognised, or ended before"
		return
	}
	d := l.warn(s.words[0], "extra-close", "Extra '}' found")
	d.More = []string{"Unknown keyword '}'"}
	d.Hint = "remove it, or look for a block above that ends too early"
}

// keyword handles one statement by its row.
func (l *loader) keyword(b *block, s *stmt) {
	name := s.text(0)
	k := b.find(name)
	if k == nil {
		d := l.warn(s.words[0], "unknown-keyword", "Unknown keyword '"+name+"'")
		d.Hint = hint(b, name)
		return
	}
	l.kw = k
	l.remark(k, s)
	l.skip = false
	if k.script {
		l.command(s)
	}
	if k.script && s.open {
		l.skip = k.Opens
	} else if len(s.words)-1 < k.need {
		l.missingArgument(b, s)
		l.skip = k.Opens
	} else if k.set != nil {
		k.set(l, s)
	}
	switch {
	case k.Opens && l.skip:
		l.skipBlock(k.Name)
	case k.sub != nil:
		l.inner(k, func() { l.block(k.sub) })
	case k.item != nil:
		l.inner(k, func() { l.items(k) })
	}
	if k.leave != nil && !l.skip {
		l.leaveBlock(k)
	}
	l.skip = false
}

// inner reads the block of a keyword; what has no effect as a whole is not remarked on line by line.
func (l *loader) inner(k *keyword, read func()) {
	if k.Effect != Works {
		l.quiet++
		defer func() { l.quiet-- }()
	}
	read()
}

func (l *loader) leaveBlock(k *keyword) {
	l.kw = k
	k.leave(l)
}

// remark says that a keyword has no effect in this version.
func (l *loader) remark(k *keyword, s *stmt) {
	if l.quiet > 0 || k.own || k.Effect == Works {
		return
	}
	if k.Effect == Inert {
		d := l.notice(s.words[0], "no-effect", k.Name+" is accepted without effect")
		d.Hint = k.Why
		return
	}
	d := l.warn(s.words[0], "not-yet", k.Name+" is accepted without effect in this version")
	d.Hint = k.Why
}

// hardMissing is the one fault of syntax that stops keepalived.
func hardMissing(s *stmt) string {
	return fmt.Sprintf("*** Configuration line starting `%s` is missing a parameter after keyword `%s` at word position %d",
		s.text(0), s.words[len(s.words)-1].Text, len(s.words)+1)
}

// command cuts the words again, in the manner of a shell.
func (l *loader) command(s *stmt) {
	words, ok := splitScript(s.raw)
	if !ok {
		d := l.warn(s.words[0], "unterminated-quote", "String '"+s.raw+"': missing terminating "+openQuote(s.raw))
		d.Hint = "the line is ignored"
		s.open = true
		return
	}
	for i, w := range words {
		if i < len(s.words) {
			s.words[i].Text = w
		} else {
			s.words = append(s.words, Token{Text: w, Line: s.words[0].Line, Col: s.words[0].Col})
		}
	}
	s.words = s.words[:min(len(s.words), max(1, len(words)))]
}

// items hands the lines of a block to the row, up to the closing brace.
func (l *loader) items(k *keyword) {
	for first := true; ; first = false {
		s, ok := l.in.next()
		if !ok || s.kind == Close {
			return
		}
		l.at, l.kw = &s, k
		if first {
			if s.kind == Open {
				continue
			}
			l.missingOpen(s.words[0], k.Name)
		}
		k.item(l, &s)
	}
}

// skipBlock passes over a block with all that is in it.
func (l *loader) skipBlock(name string) {
	depth := 0
	for first := true; ; first = false {
		s, ok := l.in.next()
		if !ok {
			return
		}
		switch {
		case s.kind == Open:
			depth++
		case s.kind == Close:
			depth--
		case first:
			l.missingOpen(s.words[0], name)
			depth++
		}
		if depth <= 0 && s.kind == Close {
			return
		}
	}
}

func (l *loader) warn(t Token, code, text string) *Diagnostic {
	return l.diags.add(Warning, code, l.at.file, t, text)
}

func (l *loader) notice(t Token, code, text string) *Diagnostic {
	return l.diags.add(Notice, code, l.at.file, t, text)
}

// fill puts the names of the moment into a message: {vi}, {vs}, {value}.
func (l *loader) fill(text, value string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	vi := ""
	if l.vi != nil {
		vi = l.vi.Name
	}
	return strings.NewReplacer("{vi}", vi, "{value}", value).Replace(text)
}
