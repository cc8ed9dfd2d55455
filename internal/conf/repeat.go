package conf

import (
	"strconv"
	"strings"
)

// repeat handles ~SEQ(…), ~SEQx(…) and ~LST(…) in front of a line: the rest of the line once per value, with the
// variable defined. It gives false for a line that is none of them.
func (r *reader) repeat(l line) bool {
	kind := l.text[:min(4, len(l.text))]
	if kind != "~SEQ" && kind != "~LST" {
		return false
	}
	rest := l.text[4:]
	hex := kind == "~SEQ" && strings.HasPrefix(rest, "x")
	if hex {
		rest = rest[1:]
	}
	args, open := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "(")
	end := strings.IndexByte(args, ')')
	if !open || end < 0 {
		r.badRepeat(l, kind, "")
		return true
	}
	at := len(l.text) - len(args) + end + 1
	var names []string
	var rows func(i int) []string
	bad := ""
	if args = args[:end]; kind == "~LST" {
		names, rows, bad = list(args)
	} else {
		names, rows, bad = sequence(r.numbers(l.file, args), hex)
	}
	if rows == nil {
		r.badRepeat(l, kind, bad)
		return true
	}
	r.repeated(l.cut(at), names, rows)
	return true
}

// numbers puts values in place of the references in the arguments of a sequence.
func (r *reader) numbers(f *File, args string) string {
	for i, rounds := 0, 0; i < len(args) && rounds < maxRounds; {
		name, params, end := reference(args, i)
		value, ok := "", false
		if args[i] == '$' && end > 0 {
			value, ok = r.value(f, name, params)
		}
		if !ok || strings.Contains(value, "\n") {
			i++
			continue
		}
		args = args[:i] + value + args[end:]
		rounds++
	}
	return args
}

// badRepeat reports a repetition that is not understood; more is keepalived's further line about it.
func (r *reader) badRepeat(l line, kind, more string) {
	d := r.diags.add(Warning, "bad-repetition", l.file, Token{Line: l.n, Col: r.col(l, 0)}, "Invalid "+kind+" specification '"+l.text+"'")
	if more != "" {
		d.More = []string{d.Text}
		d.Text = more + " '" + l.text + "'"
	}
}

// repeated lets the copies wait. The variable is defined by then.
func (r *reader) repeated(l line, names []string, rows func(int) []string) {
	i := 0
	r.wait(func() (line, bool) {
		row := rows(i)
		i++
		for k, name := range names {
			if row != nil {
				r.defs[name] = row[k] // the last value stays
			}
		}
		return l, row != nil
	})
}

// sequence reads "var, [start,[step,]] end" and gives the rows of one value each.
func sequence(args string, hex bool) ([]string, func(int) []string, string) {
	const malformed = "Invalid ~SEQ definition"
	f := fields(args)
	if len(f) < 2 || len(f) > 4 || !isName(f[0]) {
		return nil, nil, malformed
	}
	var n []int64
	for _, s := range f[1:] {
		v, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return nil, nil, malformed
		}
		n = append(n, v)
	}
	end := n[len(n)-1]
	start, step := int64(1), int64(1)
	if end < 0 {
		start = -1
	}
	if len(n) > 1 {
		start = n[0]
	}
	if end < start {
		step = -1
	}
	if len(n) == 3 {
		step = n[1]
	}
	const far = 1 << 40 // keeps start + i*step from overflowing
	if step == 0 || step > 0 && end < start || step < 0 && end > start || max(start, end, step) > far || min(start, end, step) < -far {
		return nil, nil, "Invalid ~SEQ values"
	}
	if hex && (start < 0 || end < 0) {
		return nil, nil, "~SEQx is only valid for positive numbers"
	}
	return f[:1], func(i int) []string {
		if int64(i) > (end-start)/step {
			return nil
		}
		if hex {
			return []string{strconv.FormatInt(start+int64(i)*step, 16)}
		}
		return []string{strconv.FormatInt(start+int64(i)*step, 10)}
	}, ""
}

// list reads "var, v1, v2, …" or "{a,b}, {1,2}, {3,4}" and gives the rows.
func list(args string) ([]string, func(int) []string, string) {
	f := fields(args)
	if len(f) < 2 {
		return nil, nil, ""
	}
	names := tuple(f[0])
	var rows [][]string
	for _, s := range f[1:] {
		row := []string{s}
		if len(names) > 1 || strings.HasPrefix(f[0], "{") {
			row = tuple(s)
		}
		if len(row) > len(names) {
			return nil, nil, "~LST specification has too many values"
		}
		for len(row) < len(names) {
			row = append(row, "")
		}
		rows = append(rows, row)
	}
	for _, n := range names {
		if !isName(n) {
			return nil, nil, ""
		}
	}
	return names, func(i int) []string {
		if i >= len(rows) {
			return nil
		}
		return rows[i]
	}, ""
}

// fields cuts at commas that are not inside braces.
func fields(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ',' && depth == 0:
			out = append(out, strings.Trim(s[start:i], blanks))
			start = i + 1
		case s[i] == '{':
			depth++
		case s[i] == '}':
			depth--
		}
	}
	return out
}

func tuple(s string) []string {
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return []string{s}
	}
	return fields(s[1 : len(s)-1])
}

func isName(s string) bool { return s != "" && nameEnd(s, 0) == len(s) }
