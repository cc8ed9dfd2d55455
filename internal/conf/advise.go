package conf

import (
	"cmp"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Checked is a configuration with all that can be said about it: what Load finds, and what a reader who knows the field
// would add.
type Checked struct {
	Config      *Config
	Tree        *Tree
	Diagnostics []Diagnostic // in the order of the text

	routers []*router
}

// Check reads a file and looks at it in every way that needs nothing but the file. What it adds to Load is in advice:
// nothing of it keeps a daemon from starting.
func Check(fsys fs.FS, name string, opts Options) *Checked {
	c := &Checked{}
	a := &adviser{diags: &diagnostics{strict: opts.Strict}, defined: map[string]*Statement{}, tracked: map[string]bool{}, reached: map[reachedAt]bool{}}
	o := outliner{each: a.take}
	l := readAll(fsys, name, opts, o.take)
	o.finish()
	l.refused(opts.Refuses)
	l.refusedSettings(opts.RefusesSetting)
	l.classless()
	c.Config, c.Tree, c.Diagnostics = l.cfg, l.in.tree, l.diags.all()
	if len(c.Tree.Files) == 1 && len(c.Tree.Files[0].text) == 0 && len(c.Diagnostics) > 0 {
		return c // it cannot be read
	}
	a.cfg = c.Config
	a.instances()
	a.addresses(l)
	a.scripts()
	a.mails()
	a.timers(c.Tree.Files[0])
	a.unkept(c.Tree, opts)
	c.routers = a.routers
	if n := l.diags.more + a.diags.more; n > 0 {
		a.diags.list = append(a.diags.list, &Diagnostic{Severity: Notice, Code: "too-many", File: c.Tree.Files[0].Name, Width: 1,
			Text: strconv.Itoa(n) + " more are not shown", Hint: "correct what stands first, and check again"})
	}
	c.Diagnostics = append(a.explained(c.Diagnostics), a.diags.all()...)
	c.sort()
	return c
}

// sort brings the diagnostics into the order of the text. What is worth knowing about whole files comes last.
func (c *Checked) sort() {
	order := map[string]int{}
	for i, f := range c.Tree.Files {
		if _, ok := order[f.Name]; !ok {
			order[f.Name] = i
		}
	}
	last := func(d Diagnostic) int { return btoi(d.Line == 0 && d.Severity == Notice) }
	slices.SortStableFunc(c.Diagnostics, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// adviser gathers what it needs to know from the statements, and says what it sees on the way.
type adviser struct {
	diags   *diagnostics
	cfg     *Config
	globals []*Statement
	vis     []*Statement
	defined map[string]*Statement // trackers: "vrrp_script NAME"
	groups  []*Statement
	tracked map[string]bool // names of vrrp_scripts that somebody follows
	reached map[reachedAt]bool
	routers []*router
	pools   poolTimes

	anyScript *Statement // the first line with a command
	alerted   *Statement // the first line that asks for mails
}

// take hands a statement on. Services, of which there may be very many, are not kept after pool has looked at them.
func (a *adviser) take(s *Statement) (kept bool) {
	script, alert := a.anyScript, a.alerted
	a.statement(s)
	return s.Text(0) != "virtual_server" || a.pools.at == s || a.anyScript != script || a.alerted != alert
}

// statement takes one statement of the outer level.
func (a *adviser) statement(s *Statement) {
	switch s.Text(0) {
	case "global_defs":
		a.globals = append(a.globals, s)
		a.command(s)
		a.alerts(s)
	case "vrrp_instance":
		a.vis = append(a.vis, s)
		a.command(s)
		a.alerts(s)
	case "vrrp_sync_group":
		a.groups = append(a.groups, s)
		a.command(s)
		a.alerts(s)
	case "vrrp_script", "track_file", "vrrp_track_file", "vrrp_track_process", "bfd_instance":
		a.defined[trackerKind(s.Text(0))+" "+s.Text(1)] = s
		a.command(s)
	case "virtual_server":
		a.pool(s)
		a.command(s)
		a.alerts(s)
	}
}

// say adds a diagnostic at word i of a statement.
func (a *adviser) say(sev Severity, code string, s *Statement, i int, text, hint string) *Diagnostic {
	d := a.diags.add(sev, code, s.File, s.Words[min(i, len(s.Words)-1)], text)
	d.Hint = hint
	return d
}

// global is the last such statement in any global_defs, or nil.
func (a *adviser) global(name string) *Statement {
	for i := len(a.globals) - 1; i >= 0; i-- {
		if c := a.globals[i].child(name); c != nil {
			return c
		}
	}
	return nil
}

// unkept says that lines for a named director were looked at for none, or for this one only.
func (a *adviser) unkept(t *Tree, opts Options) {
	if opts.ID != "" {
		return
	}
	for _, f := range t.Files {
		at, id := conditional(f)
		if id == "" {
			continue
		}
		d := a.diags.add(Notice, "no-config-id", f, at, "lines that begin with @"+id+" are left out, and those with @^"+id+" are kept: no config id was given")
		d.Hint = "to check the file as that director reads it: --config-id " + id
		return
	}
}

// conditional finds the first line that begins with @ID.
func conditional(f *File) (at Token, id string) {
	f.conditions(func(t Token, name string, _ bool) bool {
		at, id = t, name
		return false
	})
	return at, id
}

// conditions calls each for the lines that begin with @ID or @^ID, until it gives false.
func (f *File) conditions(each func(at Token, id string, not bool) bool) {
	if !strings.Contains(f.text, "@") {
		return // most files; the others are small
	}
	for n := 1; n <= f.Lines(); n++ {
		line := f.Line(n)
		s := strings.TrimLeft(line, blanks)
		if !strings.HasPrefix(s, "@") {
			continue
		}
		word, _, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
		id, not := strings.CutPrefix(word[1:], "^")
		if id != "" && !each(Token{Raw: word, Line: n, Col: column(line, len(line)-len(s))}, id, not) {
			return
		}
	}
}

// maxDirectors bounds how many directors one file is read for.
const maxDirectors = 8

// Directors names the directors that the lines with @ID tell apart, in the order of the text, "" for any other; nil if
// there are no such lines.
func (c *Checked) Directors() []string {
	var names []string
	others := false
	for _, f := range c.Tree.Files {
		f.conditions(func(_ Token, id string, not bool) bool {
			others = others || not
			if !slices.Contains(names, id) {
				names = append(names, id)
			}
			return len(names) < maxDirectors
		})
	}
	if len(names) == 1 || others && len(names) > 0 {
		names = append(names, "")
	}
	return names
}
