package cli

import (
	"cmp"
	"fmt"
	"slices"

	"vipd/internal/conf"
)

// directors checks a file as each of the directors that its @NAME lines tell apart reads it, and compares them.
func (r *checkReport) directors(s *source, opts conf.Options, names []string) {
	type found struct {
		conf.Diagnostic
		by []string
	}
	type key struct {
		file, code, text string
		line, col        int
	}
	var all []*found
	seen := map[key]*found{}
	add := func(d conf.Diagnostic, by string) {
		d = s.relative(d)
		k := key{d.File, d.Code, d.Text, d.Line, d.Col}
		if seen[k] == nil {
			seen[k] = &found{Diagnostic: d}
			all = append(all, seen[k])
		}
		seen[k].by = append(seen[k].by, by)
	}
	var done []*conf.Checked
	for i, name := range names {
		opts.ID = name
		c := conf.Check(s, s.name, opts)
		for _, d := range c.Diagnostics {
			if d.Code != "no-config-id" {
				add(d, directorName(name))
			}
		}
		for j, other := range done {
			for _, d := range compared(other, c, opts.Strict) {
				add(d, directorName(names[i])+" beside "+directorName(names[j]))
			}
		}
		done = append(done, c)
	}
	slices.SortStableFunc(all, func(a, b *found) int { return cmp.Compare(order(a.Diagnostic), order(b.Diagnostic)) })
	for _, f := range all {
		if len(f.by) < len(names) {
			f.Text += fmt.Sprintf(" (read as %s)", f.by[0])
		}
		r.add(f.Diagnostic)
	}
}

func directorName(name string) string {
	if name == "" {
		return "any other director"
	}
	return name
}

// order is the place in a list: what is about whole files comes last.
func order(d conf.Diagnostic) int {
	if d.Line == 0 {
		return 1 << 30
	}
	return d.Line
}

// compared is conf.Compare with --strict.
func compared(a, b *conf.Checked, strict bool) []conf.Diagnostic {
	all := conf.Compare(a, b)
	for i := range all {
		if strict && all[i].Severity == conf.Warning {
			all[i].Severity = conf.Error
		}
	}
	return all
}
