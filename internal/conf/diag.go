package conf

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Severity says what a Diagnostic means for the start.
type Severity uint8

// Severities.
const (
	Notice  Severity = iota // worth knowing; nothing is wrong
	Warning                 // the daemon starts, but something is not as it was written
	Error                   // the daemon does not start with this file
)

func (s Severity) String() string {
	switch s {
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	}
	return "error"
}

// class is what keepalived -t makes of a fault: its exit code.
type class uint8

const (
	classFault    class = iota // it starts all the same: 5
	classOurs                  // it says nothing
	classSaid                  // it says so, and nothing is wrong
	classFile                  // a file is missing that must be there: 6
	classFatal                 // 4, unless there is something of 5
	classSecurity              // 6
	classStop                  // it stops at once: 2
)

// Diagnostic is one thing to say about a configuration.
type Diagnostic struct {
	Severity Severity
	Code     string   // stable name of the kind: unknown-keyword, bad-value, …
	File     string   // as given, or as the include found it
	Line     int      // from 1; 0: the file as a whole
	Col      int      // in characters, from 1; 0: the line as a whole
	Text     string   // what is wrong, in keepalived's words where it has some
	More     []string // further lines that keepalived prints for the same fault
	Expected string   // what could stand there, "" if that is not clear
	Hint     string   // what to do, "" if there is nothing to say
	Source   string   // the line as it stands in the file
	Bare     bool     // keepalived prints Text without file and line
	Width    int      // characters that the caret should underline, at least 1

	class class
	said  string // what keepalived writes in front
	file  *File  // where the reading was; nil: after the end
	line  int
}

// String is the short form, as keepalived prints it: (FILE: Line N) text.
func (d Diagnostic) String() string {
	if d.Line == 0 {
		return clean(d.Text)
	}
	return fmt.Sprintf("(%s: Line %d) %s", clean(d.File), d.Line, clean(d.Text))
}

// Long is the form for a person: place, severity and code, the line with a caret under the column, what was expected
// and a hint. It ends with a line end.
func (d Diagnostic) Long() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s [%s]\n", d.Severity, d.String(), d.Code)
	for _, m := range d.More {
		fmt.Fprintf(&b, "  %s\n", clean(m))
	}
	if d.Line > 0 && d.Source != "" {
		gutter := fmt.Sprintf("%5d | ", d.Line)
		source, caret := excerpt(d.Source, d.Col, d.Width)
		fmt.Fprintf(&b, "%s%s\n", gutter, source)
		if d.Col > 0 {
			fmt.Fprintf(&b, "%s| %s\n", strings.Repeat(" ", len(gutter)-2), caret)
		}
	}
	if d.Expected != "" {
		fmt.Fprintf(&b, "      expected: %s\n", clean(d.Expected))
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "      hint: %s\n", clean(d.Hint))
	}
	return b.String()
}

// excerpt gives at most about a hundred characters of a line around a column, and the line with the caret. Tabs become
// one blank, so that both lines agree in every terminal.
func excerpt(source string, col, width int) (line, caret string) {
	const show = 100
	start := 0
	if col > show {
		start = col - show/2
	}
	rest := source[after(source, start):]
	runes := []rune(clean(rest[:after(rest, show+20)]))
	at := min(max(col-1-start, 0), len(runes))
	pad := 0
	for _, r := range runes[:at] {
		pad += cells(r)
	}
	return string(runes), strings.Repeat(" ", pad) + "^" + strings.Repeat("~", max(0, min(width, len(runes)-at)-1))
}

// after gives the place behind the first n characters.
func after(s string, n int) int {
	for i := range s {
		if n--; n < 0 {
			return i
		}
	}
	return len(s)
}

// clean makes text safe for a terminal, one character for one: control characters and bad bytes become a mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '\ufffd'
		}
		return r
	}, s)
}

// cells is the width of a character in a terminal: 2 for the wide ones of East Asia.
func cells(r rune) int {
	switch {
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	case r >= 0x300 && r <= 0x36f:
		return 0
	}
	return 1
}

// unsaid are the codes of what keepalived never says.
var unsaid = map[string]bool{"undefined-name": true, "unreadable-line": true, "include-cycle": true, "include-many": true, "endless-definition": true}

// maxDiagnostics bounds what is gathered; a binary file would give one per line.
const maxDiagnostics = 10000

// diagnostics gathers.
type diagnostics struct {
	strict bool
	list   []*Diagnostic
	line   int           // where the reading is
	where  func() string // what stands in front of a message now
	more   int           // that were not kept
	lost   Diagnostic    // the last of them
}

// add appends a diagnostic and returns it, so that Expected, Hint and More can be set.
func (d *diagnostics) add(sev Severity, code string, f *File, t Token, text string) *Diagnostic {
	if d.strict && sev == Warning {
		sev = Error
	}
	most := maxDiagnostics
	if d.where != nil {
		most *= 100 // the output is compared with keepalived's, which has no bound
	}
	if len(d.list) >= most && (sev != Error || len(d.list) >= 2*most) {
		d.more++
		d.lost = Diagnostic{Severity: sev, Code: code, Text: text}
		return &d.lost
	}
	n := &Diagnostic{Severity: sev, Code: code, Line: t.Line, Col: t.Col, Text: text, Width: max(1, utf8.RuneCountInString(t.Raw)),
		line: d.line}
	if unsaid[code] {
		n.class = classOurs
	}
	if d.where != nil {
		n.said = d.where()
	}
	if f != nil {
		n.File, n.Source = f.Name, f.Line(t.Line)
	}
	d.list = append(d.list, n)
	return n
}

// hints tells whether the next warning can have one that somebody reads.
func (d *diagnostics) hints() bool { return d.where == nil && len(d.list) < maxDiagnostics }

// drop takes back the last diagnostic.
func (d *diagnostics) drop(last *Diagnostic) {
	if n := len(d.list); n > 0 && d.list[n-1] == last {
		d.list = d.list[:n-1]
	}
}

func (d *diagnostics) all() []Diagnostic {
	out := make([]Diagnostic, len(d.list))
	for i, n := range d.list {
		out[i] = *n
	}
	return out
}

// Worst is the highest severity among them; false if there are none.
func Worst(all []Diagnostic) (Severity, bool) {
	worst := Notice
	for _, d := range all {
		worst = max(worst, d.Severity)
	}
	return worst, len(all) > 0
}
