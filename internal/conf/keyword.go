package conf

import (
	"strings"
	"sync"
)

// Effect says what this version does with a keyword.
type Effect uint8

// Effects.
const (
	Works   Effect = iota
	Planned        // parsed; a later version acts on it. Its use is a Warning.
	Inert          // parsed, and there is nothing to do here. Its use is a Notice with the reason.
)

func (e Effect) String() string {
	switch e {
	case Works:
		return "works"
	case Planned:
		return "planned"
	}
	return "accepted without effect"
}

// Keyword is one row of the keyword table, for documents, completion and hints.
type Keyword struct {
	Block   string // where it stands: "" is the outer level
	Name    string
	Args    string // e.g. IP [PORT]; what stands in brackets may be left out
	Default string // "" if there is none
	Text    string // one sentence
	Effect  Effect
	Why     string // of Inert and Planned a clause, of Works its extent; may be ""
	Opens   bool   // it has a block
}

// setter puts the values of a statement where they belong.
type setter func(l *loader, s *stmt)

// keyword is a row with what the parser needs.
type keyword struct {
	Keyword
	set    setter        // nil: nothing to keep
	sub    *block        // block of keywords
	item   setter        // block of lines: called for each
	leave  func(*loader) // at the end of the block
	script bool          // its arguments are a command with shell-like quoting
	need   int           // words after the keyword without which keepalived stops
	newer  bool          // keepalived 2.2.7 does not know it
	plain  bool          // item: further words on the line of the keyword are a mistake
	pass   pass          // who of keepalived's processes reads it; 0: all
}

// block is what may stand between two braces.
type block struct {
	name string
	rows []keyword
	once sync.Once
	by   map[string]*keyword
}

// find gives the row of a keyword, or nil.
func (b *block) find(name string) *keyword {
	b.once.Do(func() {
		b.by = make(map[string]*keyword, len(b.rows))
		for i := range b.rows {
			b.rows[i].Block = b.name
			b.by[b.rows[i].Name] = &b.rows[i]
		}
	})
	return b.by[name]
}

func row(effect Effect, name, args, def, text string) keyword {
	k := keyword{Keyword: Keyword{Name: name, Args: args, Default: def, Text: text, Effect: effect}}
	for _, w := range strings.Fields(args) {
		if strings.HasPrefix(w, "[") || strings.HasPrefix(w, "{") || w == "|" {
			break
		}
		k.need++
	}
	return k
}

// works, planned and inert make rows; see Effect.
func works(name, args, def, text string, set setter) keyword {
	k := row(Works, name, args, def, text)
	k.set = set
	return k
}

// acts is works for rows that say with begin, with or lines what they do.
func acts(name, args, def, text string) keyword { return row(Works, name, args, def, text) }

func planned(name, args, def, text string) keyword { return row(Planned, name, args, def, text) }

func inert(name, args, def, text, why string) keyword {
	k := row(Inert, name, args, def, text)
	k.Why = why
	return k
}

// with gives the row a block of keywords, lines a block of lines.
func (k keyword) with(b *block, leave func(*loader)) keyword {
	k.sub, k.leave, k.Opens = b, leave, true
	return k
}

func (k keyword) lines(item setter) keyword {
	if item == nil {
		item = func(*loader, *stmt) {}
	}
	k.item, k.Opens, k.plain = item, true, true
	return k
}

// ends gives a block of lines something to do at its end.
func (k keyword) ends(leave func(*loader)) keyword { k.leave = leave; return k }

// command marks a row whose arguments are a command.
func (k keyword) command() keyword { k.script = true; return k }

// begin gives a row something to do whatever its effect is.
func (k keyword) begin(set setter) keyword { k.set = set; return k }

// only says to what extent a row works.
func (k keyword) only(what string) keyword { k.Why = what; return k }

// since24 marks a row that keepalived 2.2.7 does not know.
func (k keyword) since24() keyword { k.newer = true; return k }

// extension marks a row that is this program's own: to keepalived it is an unknown keyword.
func (k keyword) extension() keyword { k.newer = true; return k }

// by tells which of keepalived's processes reads the row.
func (k keyword) by(p pass) keyword { k.pass = p; return k }

// also makes rows of other names for the same thing.
func (k keyword) also(names ...string) []keyword {
	out := []keyword{k}
	for _, n := range names {
		c := k
		c.Name = n
		c.Text += " Another name of " + k.Name + "."
		out = append(out, c)
	}
	return out
}

// join makes one table of single rows and of rows with several names.
func join(parts ...[]keyword) []keyword {
	var out []keyword
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// blocks gives every block once, the outer level first.
func blocks() []*block {
	var out []*block
	seen := map[*block]bool{}
	var walk func(b *block)
	walk = func(b *block) {
		if seen[b] {
			return
		}
		seen[b] = true
		out = append(out, b)
		for i := range b.rows {
			if b.rows[i].sub != nil {
				walk(b.rows[i].sub)
			}
		}
	}
	walk(root)
	return out
}

// Keywords gives the whole table, block by block.
func Keywords() []Keyword {
	var out []Keyword
	for _, b := range blocks() {
		for _, k := range b.rows {
			k.Block = b.name
			out = append(out, k.Keyword)
		}
	}
	return out
}
