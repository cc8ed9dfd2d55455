package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// pass is who reads: keepalived's processes read the file one after the other, each its own blocks. Here one pass reads
// everything, except for Test, which does as keepalived does.
type pass uint8

const (
	passAll    pass = 0
	passParent pass = 1 << iota
	passChecker
	passVRRP
	passBFD
)

// loader runs statements through the keyword table.
type loader struct {
	in      *reader
	diags   *diagnostics
	cfg     *Config
	pass    pass
	host    *TestOptions     // what Test knows of the machine; nil: nothing is asked
	at      *stmt            // the statement being looked at
	kw      *keyword         // its row
	skip    bool             // set by a setter: the block that follows is not wanted
	end     bool             // set by a setter: the rest of this block is not wanted
	sysctls map[string]place // where each lvs_sysctl stands
	syncAt  place            // lvs_sync_daemon
	peersAt place            // connection_sync
	quiet   int              // depth of blocks that have no effect in this version

	vi         *instance
	vis        []*instance
	group      *groupAt
	groups     []*groupAt
	script     *scriptAt
	scripts    []*scriptAt
	file       *fileAt
	files      []*fileAt
	proc       *TrackProcess
	bfd        *bfdAt
	tg         *TrackGroup
	gg         *GarpGroup
	garpNames  []Token
	garpShared int // interfaces blocks of the group
	vs         *service
	vss        []*service
	rs         *realServer
	ck         *checker
	url        *URL

	groupNames map[string]*ServiceGroup // for completeServices
	realRoom   arena[realServer]
	checkRoom  arena[checker]

	authed    place // of smtp_auth
	pathSet   bool  // the url has a path line
	missingIf bool  // an interface that is not there was named
	users     users
	orphans   []*Script // of services that stay
	rules4    uint32
	rules6    uint32
}

// block reads statements up to the closing brace, or to the end of everything at the outer level. It gives false when
// the block ended early and so must not be left in the ordinary way.
func (l *loader) block(b *block) bool {
	outer := b == root
	for first := !outer; ; first = false {
		s, ok := l.in.next()
		if !ok {
			return true
		}
		l.at = s
		switch {
		case first && s.kind == Open:
		case s.kind == Open:
			if first {
				l.missingOpen(s.words[0], b.name)
			}
			d := l.warn(s.words[0], "unexpected-brace", "Unexpected '{' - ignoring")
			d.Hint = "the lines of this block are read as lines of " + b.name + ", and its '}' ends that"
			if outer {
				d.Hint = "the lines of this block are read as if it were not there"
			}
		case s.kind == Close && !outer:
			if s.extra {
				l.warn(s.words[0], "extra-close", "Extra '}' found")
			}
			if first {
				l.missingOpen(s.words[0], b.name)
			}
			return true
		case s.kind == Close:
			l.strayClose(s)
		default:
			if first {
				l.missingOpen(s.words[0], b.name)
			}
			l.keyword(b, s)
			if l.end {
				l.end = false
				return false
			}
		}
	}
}

func (l *loader) missingOpen(t Token, name string) {
	d := l.warn(t, "missing-open", "Missing '{' at beginning of configuration block")
	d.Expected = "'{' after " + name
}

func (l *loader) strayClose(s *stmt) {
	if !s.extra {
		d := l.warn(s.words[0], "extra-close", "Unknown keyword '}'")
		d.Hint = "this '}' ends nothing: its block was not recognised, or ended before"
		return
	}
	d := l.warn(s.words[0], "extra-close", "Extra '}' found")
	d.More = []string{"Unknown keyword '}'"}
	d.Hint = "remove it, or look for a block above that ends too early"
}

// known tells whether the reader of this pass knows the keyword at all: Test reads as 2.2.7 does.
func (l *loader) known(k *keyword) bool { return k != nil && (l.pass == passAll || !k.newer) }

// keyword handles one statement by its row.
func (l *loader) keyword(b *block, s *stmt) {
	name := s.text(0)
	k := b.find(name)
	if !l.known(k) {
		hints := l.diags.hints()
		d := l.warn(s.words[0], "unknown-keyword", "Unknown keyword '"+name+"'")
		if hints {
			d.Hint = hint(b, name)
		}
		return
	}
	l.kw = k
	if k.pass != 0 && l.pass != passAll && k.pass&l.pass == 0 {
		if b == root {
			l.skipBlock(nil)
		}
		return
	}
	l.remark(k, s)
	l.skip = false
	l.set(b, k, s)
	if !k.Opens {
		return
	}
	switch {
	case l.skip && k.item != nil && b != root:
		// keepalived: the closing brace that ends the skipping is taken for that of the block around it.
		l.end = l.skipBlock(nil)
	case l.skip:
		l.skipBlock(k.sub)
	case k.sub != nil:
		done := true
		l.inner(k, func() { done = l.block(k.sub) })
		if done && k.leave != nil {
			l.kw = k
			k.leave(l)
		}
	default:
		l.inner(k, func() { l.items(k, s) })
		if k.leave != nil {
			l.kw = k
			k.leave(l)
		}
	}
	l.skip = false
}

// set puts the values of a statement where they belong.
func (l *loader) set(b *block, k *keyword, s *stmt) {
	if k.script && !l.command(s) {
		l.skip = k.Opens
		return
	}
	if len(s.words)-1 < k.need {
		l.missingArgument(b, s)
		l.skip = k.Opens
		return
	}
	if k.set != nil {
		k.set(l, s)
	}
}

// inner reads the block of a keyword; what has no effect as a whole is not remarked on line by line.
func (l *loader) inner(k *keyword, read func()) {
	if k.Effect != Works {
		l.quiet++
		defer func() { l.quiet-- }()
	}
	read()
}

// remark says that a keyword has no effect in this version.
func (l *loader) remark(k *keyword, s *stmt) {
	if l.quiet > 0 || k.Effect == Works || l.pass != passAll {
		return
	}
	if k.Effect == Inert {
		d := l.notice(s.words[0], "no-effect", k.Name+" is accepted without effect")
		d.Hint = k.Why
		return
	}
	d := l.warn(s.words[0], "not-yet", k.Name+" is accepted without effect in this version")
	if d.Hint = k.Why; d.Hint == "" {
		d.Hint = "the line may stay; what is not done: " + strings.TrimSuffix(k.Text, ".")
	}
}

// hardMissing is the one fault of syntax that stops keepalived.
func hardMissing(s *stmt, i int) string {
	return fmt.Sprintf("*** Configuration line starting `%s` is missing a parameter after keyword `%s` at word position %d",
		s.text(0), s.text(i-1), i+1)
}

// want gives word i of a statement. Where it is missing, keepalived stops.
func (l *loader) want(s *stmt, i int) (string, bool) {
	if i < len(s.words) {
		return s.text(i), true
	}
	d := l.diags.add(Error, "missing-argument", s.file, s.arg(i), hardMissing(s, len(s.words)))
	d.class = classStop
	return "", false
}

// command cuts the words again, in the manner of a shell. A command that cannot be cut is not kept.
func (l *loader) command(s *stmt) bool {
	if l.in.as != nil {
		return l.in.as.command(s)
	}
	words, ok := splitScript(s.raw)
	if !ok {
		d := l.warn(s.words[0], "unterminated-quote", "String '"+s.raw+"': missing terminating "+openQuote(s.raw))
		d.Hint = "the line is ignored"
		return false
	}
	s.shell = words
	return true
}

// items hands the lines of a block to the row, up to the closing brace.
func (l *loader) items(k *keyword, head *stmt) {
	if extra := k.need + 1; len(head.words) > extra && k.plain {
		l.warn(head.words[extra], "extra-words", "Block "+k.Name+" has extra parameters "+head.text(extra)+" ...").Expected = "'{'"
	}
	for first := true; ; first = false {
		s, ok := l.in.next()
		if !ok {
			return
		}
		l.at, l.kw = s, k
		if first && s.kind == Open {
			continue
		}
		if first {
			l.own(s.words[0], "missing-open", "Missing '{' at beginning of configuration block").Expected = "'{' after " + k.Name
		}
		if s.kind == Close {
			if s.extra {
				l.warn(s.words[0], "extra-close", "Extra '}' found")
			}
			return
		}
		k.item(l, s)
	}
}

// aside reads lines whose block was refused, for what there is to say about them: they go to objects that nobody keeps.
// keepalived: they go to the instance or group before, if there is one.
func (l *loader) aside(read func()) {
	vi, group, script, file, proc, bfd, tg, gg := l.vi, l.group, l.script, l.file, l.proc, l.bfd, l.tg, l.gg
	vs, rs, ck, url := l.vs, l.rs, l.ck, l.url
	at := place{}
	if l.at != nil {
		at = place{l.at.file, l.at.arg(0)}
	}
	l.vi, l.group, l.script, l.file = &instance{place: at}, &groupAt{place: at}, &scriptAt{place: at}, &fileAt{place: at}
	l.proc, l.bfd, l.tg, l.gg = &TrackProcess{}, &bfdAt{}, &TrackGroup{}, &GarpGroup{}
	l.vs, l.rs, l.ck, l.url = &service{place: at, timing: noTiming()}, &realServer{place: at, timing: noTiming()}, &checker{place: at, timing: noTiming()}, &URL{}
	if l.vi.Name = "(null)"; l.pass != passAll && len(l.vis) > 0 {
		l.vi = l.vis[len(l.vis)-1]
	}
	if l.group.Name = "(null)"; l.pass != passAll && len(l.groups) > 0 {
		l.group = l.groups[len(l.groups)-1]
	}
	read()
	l.vi, l.group, l.script, l.file, l.proc, l.bfd, l.tg, l.gg = vi, group, script, file, proc, bfd, tg, gg
	l.vs, l.rs, l.ck, l.url = vs, rs, ck, url
}

// skipBlock passes over a block with all that is in it. If there is none, what follows is read as the lines of sub, or
// where we are when that is nil. It tells whether a block was passed over.
func (l *loader) skipBlock(sub *block) bool {
	l.hold(l.at)
	depth := 0
	for first := true; ; first = false {
		s, ok := l.in.next()
		if !ok {
			return false
		}
		if first && s.kind != Open {
			l.in.back()
			if sub != nil {
				l.aside(func() { l.block(sub) })
			}
			return false
		}
		switch s.kind {
		case Open:
			depth++
		case Close:
			if s.extra {
				l.hold(s)
				l.warn(s.words[0], "extra-close", "Extra '}' found")
			}
			if depth--; depth == 0 {
				return true
			}
		}
	}
}

// hold makes s the statement being looked at, also when others have been read.
func (l *loader) hold(s *stmt) {
	if s == nil {
		return
	}
	at := *s
	at.words = slices.Clone(s.words)
	l.at = &at
}

func (l *loader) warn(t Token, code, text string) *Diagnostic {
	return l.diags.add(Warning, code, l.at.file, t, text)
}

// own warns of something that keepalived does not mention.
func (l *loader) own(t Token, code, text string) *Diagnostic {
	d := l.warn(t, code, text)
	d.class = classOurs
	return d
}

func (l *loader) notice(t Token, code, text string) *Diagnostic {
	d := l.diags.add(Notice, code, l.at.file, t, text)
	d.class = classOurs
	return d
}

// bad warns of word i.
func (l *loader) bad(s *stmt, i int, format string, a ...any) *Diagnostic {
	return l.badValue(s, i, fmt.Sprintf(format, a...), "")
}

// fill puts the names of the moment into a message: {vi}, {script}, {file}, {proc}, {bfd}, {group}, {value}.
func (l *loader) fill(text, value string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	names := []string{"{value}", value}
	add := func(key string, set bool, name func() string) {
		if set {
			names = append(names, key, name())
		}
	}
	add("{vi}", l.vi != nil, func() string { return l.vi.Name })
	add("{script}", l.script != nil, func() string { return l.script.Name })
	add("{file}", l.file != nil, func() string { return l.file.Name })
	add("{proc}", l.proc != nil, func() string { return l.proc.Name })
	add("{bfd}", l.bfd != nil, func() string { return l.bfd.Name })
	add("{vsg}", l.vs != nil, func() string { return cmp.Or(l.vs.Group, "(null)") })
	add("{group}", l.group != nil, func() string { return l.group.Name })
	return strings.NewReplacer(names...).Replace(text)
}
