package bpf

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// decision is a condition in the C, which may be true or false, or a case of a switch, which may be taken. Of a condition that is
// put together with && and || its operands are decisions, and the whole is none: it is true and false if each of them is.
type decision struct {
	file string
	in   string // the function
	line int    // from 1
	text string // with single spaces
	arm  bool   // it is a case

	from, to int  // bytes of the file; of a case: behind its colon
	last     int  // of a case: the decision's number in its file of the last that has the same statements
	none     bool // of a case: none of the others, of a switch without a default
}

func (d decision) String() string { return fmt.Sprintf("%s:%d: %s", d.file, d.line, d.text) }

// known is what stands for it in testdata/branches.txt: the number of a line does not stay.
func (d decision) known(missing string) string {
	return fmt.Sprintf("%s %s: %s: %s", d.file, d.in, d.text, missing)
}

// token is a word, a number, a string or an operator of C.
type token struct {
	text     string
	from, to int
}

var (
	notC = regexp.MustCompile(`^(?:\s+|//[^\n]*|/\*(?s:.*?)\*/)`)
	ofC  = regexp.MustCompile(`^(?:\w+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|&&|\|\||[-+*/%&|^<>=!]=|.)`)
	// A directive ends with its line, if that does not end with a backslash.
	directive = regexp.MustCompile(`^#(?:[^\n\\]|\\\n|\\.)*`)
)

func tokens(text string) (all []token) {
	for at := 0; at < len(text); {
		if space := notC.FindString(text[at:]); space != "" {
			at += len(space)
			continue
		}
		if d := directive.FindString(text[at:]); d != "" {
			at += len(d)
			continue
		}
		t := ofC.FindString(text[at:])
		all = append(all, token{t, at, at + len(t)})
		at += len(t)
	}
	return all
}

// reader finds the decisions of a file.
type reader struct {
	file, text string
	tokens     []token
	end        map[int]int // of a bracket's token: the one that closes it
	in         string
	all        []decision
}

// decisions are those of all functions of a file, not of macros.
func decisions(file, text string) []decision {
	r := &reader{file: file, text: text, tokens: tokens(text), end: map[int]int{}}
	var open []int
	for i, t := range r.tokens {
		switch t.text {
		case "(", "{", "[":
			open = append(open, i)
		case ")", "}", "]":
			r.end[open[len(open)-1]] = i
			open = open[:len(open)-1]
		}
	}
	head := 0 // the last parenthesis that was opened outside of all
	for i := 0; i < len(r.tokens); i++ {
		switch r.is(i) {
		case "(":
			head, i = i, r.end[i]
		case "{":
			if r.is(i-1) == ")" {
				r.in = r.is(head - 1)
				r.block(i+1, r.end[i])
			}
			i = r.end[i]
		}
	}
	return r.all
}

func (r *reader) is(i int) string {
	if i < 0 || i >= len(r.tokens) {
		return ""
	}
	return r.tokens[i].text
}

// block reads statements.
func (r *reader) block(from, to int) {
	for i := from; i < to; {
		i = r.statement(i)
	}
}

// statement reads one, or the beginning of one that has others in it, and says where the next begins.
func (r *reader) statement(i int) int {
	switch r.is(i) {
	case "{":
		r.block(i+1, r.end[i])
		return r.end[i] + 1
	case "if", "while":
		r.condition(i+2, r.end[i+1])
		return r.end[i+1] + 1
	case "for":
		parts := r.split(i+2, r.end[i+1], ";")
		r.expression(parts[0][0], parts[0][1])
		r.condition(parts[1][0], parts[1][1])
		r.expression(parts[2][0], parts[2][1])
		return r.end[i+1] + 1
	case "switch":
		r.expression(i+2, r.end[i+1])
		return r.cases(i)
	case "else", "do", "return":
		return i + 1
	case "asm", "__asm__", "_Static_assert":
		return r.next(i, ";") + 1
	}
	if r.is(i+1) == ":" {
		return i + 2
	}
	end := r.next(i, ";")
	r.expression(i, end)
	return end + 1
}

// cases reads the statements of a switch.
func (r *reader) cases(i int) int {
	body := r.end[i+1] + 1
	first, others := len(r.all), false
	r.add(decision{text: "no case of " + r.source(i, body), none: true, arm: true, from: r.tokens[body].to}, i)
	var same []int // cases that have the same statements, so far
	for at := body + 1; at < r.end[body]; {
		if r.is(at) != "case" && r.is(at) != "default" {
			at = r.statement(at)
			continue
		}
		others = others || r.is(at) == "default"
		colon := r.next(at, ":")
		same = append(same, len(r.all))
		r.add(decision{text: r.source(at, colon), arm: true, from: r.tokens[colon].to}, at)
		for _, n := range same {
			r.all[n].last = len(r.all) - 1
		}
		if at = colon + 1; r.is(at) != "case" && r.is(at) != "default" {
			same = nil
		}
	}
	if others {
		r.all = slices.Delete(r.all, first, first+1)
		for n := range r.all[first:] {
			if r.all[first+n].arm {
				r.all[first+n].last--
			}
		}
		return r.end[body] + 1
	}
	r.all[first].last = first
	return r.end[body] + 1
}

// expression finds conditions in what is none itself: a declaration too.
func (r *reader) expression(from, to int) {
	for _, operator := range []string{",", "=", "?"} {
		at := r.find(from, to, operator)
		switch {
		case at == to:
			continue
		case operator == "?":
			r.condition(from, at)
			colon := r.colon(at + 1)
			r.expression(at+1, colon)
			r.expression(colon+1, to)
		default:
			r.expression(from, at)
			r.expression(at+1, to)
		}
		return
	}
	for _, operator := range []string{"||", "&&"} {
		parts := r.split(from, to, operator)
		if len(parts) == 1 {
			continue
		}
		for _, p := range parts {
			r.condition(p[0], p[1])
		}
		return
	}
	for i := from; i < to; i++ {
		if end, bracket := r.end[i]; bracket {
			r.expression(i+1, end)
			i = end
		}
	}
}

// condition is a decision, or put together of them.
func (r *reader) condition(from, to int) {
	if from == to {
		return
	}
	if in, within := r.within(from, to); within {
		r.condition(in, to-1)
		return
	}
	if r.is(from) == "!" {
		if in, within := r.within(from+1, to); within && (r.find(in, to-1, "&&") < to-1 || r.find(in, to-1, "||") < to-1) {
			r.condition(in, to-1)
			return
		}
	}
	both := r.find(from, to, "&&") < to || r.find(from, to, "||") < to
	if !both || r.find(from, to, "?") < to || r.find(from, to, "=") < to {
		r.add(decision{text: r.source(from, to), from: r.tokens[from].from, to: r.tokens[to-1].to}, from)
	}
	r.expression(from, to)
}

// within says where the inside begins, if all of it stands in one pair of parentheses.
func (r *reader) within(from, to int) (int, bool) {
	if is := r.is(from); is == "likely" || is == "unlikely" {
		from++
	}
	return from + 1, r.is(from) == "(" && r.end[from] == to-1
}

func (r *reader) add(d decision, at int) {
	d.file, d.in = r.file, r.in
	d.line = 1 + strings.Count(r.text[:r.tokens[at].from], "\n")
	r.all = append(r.all, d)
}

func (r *reader) source(from, to int) string {
	text := r.text[r.tokens[from].from:r.tokens[to-1].to]
	return strings.Join(strings.Fields(remarks.ReplaceAllString(text, "")), " ")
}

var remarks = regexp.MustCompile(`/\*(?s:.*?)\*/`)

// find is where an operator stands that is in no brackets; else: to. "=" is any assignment.
func (r *reader) find(from, to int, operator string) int {
	for i := from; i < to; i++ {
		if end, bracket := r.end[i]; bracket {
			i = end
			continue
		}
		is := r.is(i)
		if is == operator || operator == "=" && assignment.MatchString(is) {
			return i
		}
	}
	return to
}

var assignment = regexp.MustCompile(`^([-+*/%&|^]|<<|>>)?=$`)

func (r *reader) next(from int, what string) int { return r.find(from, len(r.tokens), what) }

// colon is that of a "?" which stands before from.
func (r *reader) colon(from int) int {
	for i, open := from, 0; ; i++ {
		if end, bracket := r.end[i]; bracket {
			i = end
			continue
		}
		switch r.is(i) {
		case "?":
			open++
		case ":":
			if open == 0 {
				return i
			}
			open--
		}
	}
}

// split gives first and last token of what stands between an operator's places.
func (r *reader) split(from, to int, operator string) (parts [][2]int) {
	for {
		at := r.find(from, to, operator)
		parts = append(parts, [2]int{from, at})
		if at == to {
			return parts
		}
		from = at + 1
	}
}

// watched is the file with COVER(number, condition) for each of its decisions that has a number, and COVER_CASE(number).
func watched(text string, all []decision, number func(decision) (int, bool)) string {
	type insert struct {
		at    int
		opens bool
		text  string
	}
	var inserts []insert
	for i, d := range all {
		n, watch := number(d)
		switch {
		case d.arm:
			mark := ""
			if watch {
				mark = fmt.Sprintf(" COVER_CASE(%d);", n)
			}
			switch {
			case d.none && watch:
				mark = " default:" + mark + " break;"
			case d.none:
			case d.last != i:
				mark += fmt.Sprintf(" goto cover_%d;", d.last)
			case i > 0 && all[i-1].arm && all[i-1].last == i:
				mark += fmt.Sprintf(" cover_%d:;", i)
			}
			inserts = append(inserts, insert{d.from, true, mark})
		case watch:
			inserts = append(inserts, insert{d.from, true, fmt.Sprintf("COVER(%d, ", n)}, insert{d.to, false, ")"})
		}
	}
	// What is within stands behind what it is within.
	slices.SortStableFunc(inserts, func(a, b insert) int {
		return cmp.Or(a.at-b.at, map[bool]int{true: 1}[a.opens]-map[bool]int{true: 1}[b.opens])
	})
	var out strings.Builder
	at := 0
	for _, i := range inserts {
		out.WriteString(text[at:i.at])
		out.WriteString(i.text)
		at = i.at
	}
	out.WriteString(text[at:])
	return out.String()
}

func TestDecisionsOfC(t *testing.T) {
	rows := []struct {
		name, in, want string
	}{
		{"an if", "if (a > b) x();", "if (COVER(0, a > b)) x();"},
		{"operands", "if (a && !b || c == 1) x();", "if (COVER(0, a) && COVER(1, !b) || COVER(2, c == 1)) x();"},
		{"in parentheses", "if (a && (b || c)) x();", "if (COVER(0, a) && (COVER(1, b) || COVER(2, c))) x();"},
		{"what is not so", "if (!(a && f(b))) x(); while (!(a)) y();", "if (!(COVER(0, a) && COVER(1, f(b)))) x(); while (COVER(2, !(a))) y();"},
		{"likely", "if (unlikely(!p || p->x)) x();", "if (unlikely(COVER(0, !p) || COVER(1, p->x))) x();"},
		{"two lines", "if (a &&\n b) x();", "if (COVER(0, a) &&\n COVER(1, b)) x();"},
		{"a loop", "for (int i = 0, j = 1; i < 4 && !x; i++) y();", "for (int i = 0, j = 1; COVER(0, i < 4) && COVER(1, !x); i++) y();"},
		{"a loop without end", "for (;;) y();", "for (;;) y();"},
		{"do", "do { y(); } while (a && ++i < N);", "do { y(); } while (COVER(0, a) && COVER(1, ++i < N));"},
		{"a choice", "return a ? b : c;", "return COVER(0, a) ? b : c;"},
		{"choices", "x = a ? b ? 1 : 2 : c ? 3 : 4;", "x = COVER(0, a) ? COVER(1, b) ? 1 : 2 : COVER(2, c) ? 3 : 4;"},
		{"a choice that is asked", "if (a ? b : c) x();", "if (COVER(0, COVER(1, a) ? b : c)) x();"},
		{"a condition in a call", "return f(a && b, (__u32)(c ? 1 : 2));", "return f(COVER(0, a) && COVER(1, b), (__u32)(COVER(2, c) ? 1 : 2));"},
		{"a call in a condition", "if (f(a ? 1 : 2) == 3) x();", "if (COVER(0, f(COVER(1, a) ? 1 : 2) == 3)) x();"},
		{"a declaration", "struct a *b = c ? d : NULL, *e = f;", "struct a *b = COVER(0, c) ? d : NULL, *e = f;"},
		{"a literal", "x = (struct a){ .b = c ? 1 : 2, .d = e };", "x = (struct a){ .b = COVER(0, c) ? 1 : 2, .d = e };"},
		{"bits", "x = a & b | c << 2;", "x = a & b | c << 2;"},
		{"remarks", "x(); /* if (a) */ // b && c\n", "x(); /* if (a) */ // b && c\n"},
		{"what is between remarks", "if (/* a */ b /* c */) x();", "if (/* a */ COVER(0, b) /* c */) x();"},
		{"assertions and assembly", "_Static_assert(A && B, \"?\"); asm volatile(\"\" : \"+r\"(x));", "_Static_assert(A && B, \"?\"); asm volatile(\"\" : \"+r\"(x));"},
		{"cases", "switch (x) { case 1: return a ? 1 : 2; case A ... B: break; }",
			"switch (x) { default: COVER_CASE(0); break; case 1: COVER_CASE(1); return COVER(2, a) ? 1 : 2; case A ... B: COVER_CASE(3); break; }"},
		{"cases with a default", "switch (x) { case 1: case 2: y(); break; default: z(); }",
			"switch (x) { case 1: COVER_CASE(0); goto cover_1; case 2: COVER_CASE(1); cover_1:; y(); break; default: COVER_CASE(2); z(); }"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const before, after = "#define M(x) if (x && \\\n y)\nint a[] = { B ? 1 : 2 };\nstatic int f(int a)\n{ ", " }\n"
			all := decisions("a.h", before+row.in+after)
			for _, d := range all {
				if d.in != "f" || d.line < 5 {
					t.Errorf("%v is in %s", d, d.in)
				}
			}
			got := watched(before+row.in+after, all, func(d decision) (int, bool) { return slices.Index(all, d), true })
			if diff := gocmp.Diff(before+row.want+after, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
