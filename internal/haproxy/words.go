package haproxy

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// writer collects a configuration.
type writer struct{ strings.Builder }

func (w *writer) line(depth int, format string, args ...any) {
	w.WriteString(strings.Repeat("    ", depth) + fmt.Sprintf(format, args...) + "\n")
}

// head makes the file one that stands alone: times without which HAProxy warns. Idle connections last as IPVS's.
func (w *writer) head(mode string) {
	w.line(0, "\ndefaults")
	for _, l := range []string{"mode " + mode, "timeout connect 5s", "timeout client 15m", "timeout server 15m"} {
		w.line(1, "%s", l)
	}
	if mode == HTTP {
		w.line(1, "timeout http-request 30s")
	}
}

func (w *writer) frontend(b *backend) {
	if len(b.binds) == 0 {
		return
	}
	w.line(0, "\nfrontend %s", b.Name)
	w.line(1, "mode %s", b.mode)
	for _, a := range b.binds {
		w.line(1, "bind %s", a)
	}
	w.line(1, "default_backend %s", b.Name)
}

func (w *writer) backend(b *backend) {
	w.line(0, "\nbackend %s", b.Name)
	w.line(1, "# %s", comment(b.says))
	for _, n := range b.notes {
		w.line(1, "# %s", comment(n))
	}
	w.line(1, "mode %s", b.mode)
	for _, l := range b.lines {
		w.line(1, "%s", l)
	}
	for _, s := range b.servers {
		if s.note != "" {
			w.line(1, "# %s", s.note)
		}
		w.line(1, "%s", s.text)
	}
}

// comment is text that stays on its line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Meaning is the text of a configuration without its comments: what HAProxy would read.
func Meaning(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' {
			out.WriteString(line)
		}
	}
	return out.String()
}

// quote writes one word: "Strong quotes ... prevent the interpretation of any special character or sequence", beside which a
// backslash escapes (2.2).
func quote(s string) string {
	if plain := strings.ReplaceAll(s, "/", ""); s != "" && identifier(plain) == plain {
		return s
	}
	var out strings.Builder
	out.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'':
			out.WriteString(`'\''`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&out, `'\x%02x'`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('\'')
	return out.String()
}

// maxSpan is the longest time that HAProxy takes everywhere: it counts milliseconds in 31 bits.
const maxSpan = 24 * 24 * time.Hour

// span is a time in HAProxy's words.
func span(d time.Duration) string {
	d = min(max(d, time.Millisecond), maxSpan)
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// Structure is the meaning without what a running HAProxy can be told: weights, and who is out. Another one needs a reload.
func Structure(text string) string {
	var out strings.Builder
	for line := range strings.Lines(Meaning(text)) {
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "server ") {
			before, after, _ := strings.Cut(t, " weight ")
			_, rest, _ := strings.Cut(after, " ")
			line = before + " " + strings.TrimSuffix(strings.TrimSuffix(rest, "disabled"), " ") + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}
