package conf

import (
	"strconv"
	"strings"
)

// asRepeat is a ~SEQ or ~LST of which lines are left.
type asRepeat struct {
	text  string
	names []string
	rows  [][]string // of a list

	next, step, end int64 // of a sequence
	hex             bool
}

// repetition takes a line that starts with ~SEQ or ~LST.
func (r *asReader) repetition(s string) bool {
	switch {
	case strings.HasPrefix(s, "~SEQ"):
		if !r.sequence(s) {
			r.say("bad-repetition", "Invalid ~SEQ specification '"+s+"'")
		}
	case strings.HasPrefix(s, "~LST"):
		if !r.list(s) {
			r.wrong++
			r.say("bad-repetition", "Invalid ~LST specification '"+s+"'")
		}
	default:
		return false
	}
	return true
}

// count is keepalived's count of repetitions: a list that is not understood is taken off it without having been counted,
// so that later repetitions may be left undone.
func (r *asReader) count() uint32 { return uint32(len(r.repeats) - r.wrong) }

// repeat gives the next line of a repetition.
func (r *asReader) repeat(q *asRepeat) (string, bool) {
	if !r.makes() {
		return "", false
	}
	done := false
	if q.rows != nil {
		for i, name := range q.names {
			r.set(name, q.rows[0][i])
		}
		q.rows = q.rows[1:]
		done = len(q.rows) == 0
	} else {
		base := 10
		if q.hex {
			base = 16
		}
		r.set(q.names[0], strconv.FormatInt(q.next, base))
		q.next += q.step
		done = q.step > 0 && q.next > q.end || q.step < 0 && q.next < q.end
	}
	if done {
		r.repeats = r.repeats[:len(r.repeats)-1]
	}
	return q.text, true
}

// sequence reads ~SEQ(VAR, [START, [STEP,]] END) TEXT, or ~SEQx.
func (r *asReader) sequence(s string) bool {
	bad := func(what string) bool {
		r.say("bad-repetition", what+" '"+s+"'")
		return false
	}
	p, hex := strings.CutPrefix(s[4:], "x")
	p, ok := strings.CutPrefix(strings.TrimLeft(p, " \t"), "(")
	if !ok {
		return false
	}
	p = strings.TrimLeft(p, " \t")
	n := asIndex(p, " \t,)")
	name := p[:n]
	p = strings.TrimLeft(p[n:], " \t")
	if p == "" || p[0] == ')' || name == "" {
		return bad("Invalid ~SEQ definition")
	}
	p = strings.TrimLeft(p[1:], " \t")
	end := strings.IndexByte(p, ')')
	const most = 3*20 + 3 + 1
	if end < 0 || end+2 > most {
		return bad("~SEQ parameter strings too long")
	}
	var lines *string
	args, _ := r.replace(p[:end+1], most, &lines)
	if lines != nil {
		return bad("~SEQ parameter is multiline definition")
	}
	v, what := asNumbers(args)
	if what != "" {
		return bad(what)
	}
	q := &asRepeat{text: strings.TrimLeft(p[end+1:], " \t"), names: []string{name}, hex: hex, next: 1, step: 1, end: v[len(v)-1]}
	switch len(v) {
	case 1:
		if q.end < 1 {
			q.step = -1
		}
		if q.end < 0 {
			q.next = -1
		}
	case 2:
		if q.next = v[0]; q.next > q.end {
			q.step = -1
		}
	default:
		q.next, q.step = v[0], v[1]
		if q.step == 0 || q.next < q.end && q.step < 0 || q.next > q.end && q.step > 0 {
			return bad("Invalid ~SEQ values")
		}
	}
	if hex && (q.next < 0 || q.end < 0) {
		return bad("~SEQx is only valid for positive numbers")
	}
	const far = 1 << 40 // keeps next from overflowing
	if max(q.next, q.end, q.step) > far || min(q.next, q.end, q.step) < -far {
		return bad("Invalid ~SEQ values")
	}
	r.repeats = append(r.repeats, q)
	return true
}

// asIndex gives the place of the first byte of any, or the length.
func asIndex(s, any string) int {
	if n := strings.IndexAny(s, any); n >= 0 {
		return n
	}
	return len(s)
}

// asNumbers reads one to three numbers up to a closing parenthesis. A missing one is 0.
func asNumbers(s string) (v []int64, what string) {
	for {
		n, rest := asNumber(s)
		v = append(v, n)
		rest = strings.TrimLeft(rest, " \t")
		switch {
		case strings.HasPrefix(rest, ")"):
			return v, ""
		case strings.HasPrefix(rest, ",") && len(v) < 3:
			s = rest[1:]
		default:
			return nil, "Invalid ~SEQ definition"
		}
	}
}

// asNumber reads a number as strtol(3) does, 0x and a leading 0 understood, and gives what follows.
func asNumber(s string) (int64, string) {
	t := strings.TrimLeft(s, asBlanks)
	sign, digits := "", t
	if t != "" && (t[0] == '-' || t[0] == '+') {
		sign, digits = t[:1], t[1:]
	}
	base, set := 10, "0123456789"
	switch {
	case len(digits) > 2 && (digits[:2] == "0x" || digits[:2] == "0X") && strings.IndexByte("0123456789abcdefABCDEF", digits[2]) >= 0:
		base, set, digits = 16, "0123456789abcdefABCDEF", digits[2:]
	case strings.HasPrefix(digits, "0"):
		base, set = 8, "01234567"
	}
	end := 0
	for end < len(digits) && strings.IndexByte(set, digits[end]) >= 0 {
		end++
	}
	if end == 0 {
		return 0, s
	}
	v, _ := strconv.ParseInt(sign+digits[:end], base, 64)
	return v, digits[end:]
}

// list reads ~LST(VAR, V1, V2, …) TEXT or ~LST({A,B}, {1,2}, …) TEXT.
func (r *asReader) list(s string) bool {
	p, ok := strings.CutPrefix(strings.TrimLeft(s[4:], " \t"), "(")
	if !ok {
		return false
	}
	q := &asRepeat{}
	skip := func() { p = strings.TrimLeft(p[1:], " \t") }
	group := func() byte {
		if strings.HasPrefix(p, "{") {
			skip()
			return '}'
		}
		return ','
	}
	word := func(ends string) string {
		n := asIndex(p, ends)
		w := p[:n]
		p = strings.TrimLeft(p[n:], " \t")
		return w
	}
	at := func(c byte) bool { return p != "" && p[0] == c }
	p = strings.TrimLeft(p, " \t")
	for end := group(); ; skip() {
		q.names = append(q.names, word(" \t,}"))
		if at(end) {
			break
		}
		if !at(',') {
			return false
		}
	}
	if at('}') {
		skip()
	}
	if !at(',') {
		return false
	}
	for skip(); ; skip() {
		var row []string
		end := group()
		for ; ; skip() {
			if len(row) == len(q.names) {
				r.say("bad-repetition", "~LST specification has too many values '"+s+"'")
				return false
			}
			row = append(row, word(" \t,})"))
			if at(end) || at(')') && end == ',' {
				break
			}
			if !at(',') {
				return false
			}
		}
		for len(row) < len(q.names) {
			row = append(row, "")
		}
		q.rows = append(q.rows, row)
		if at('}') && end == '}' {
			skip()
		}
		if at(')') {
			break
		}
		if !at(',') {
			return false
		}
	}
	q.text = strings.TrimLeft(p[1:], " \t")
	r.repeats = append(r.repeats, q)
	return true
}
