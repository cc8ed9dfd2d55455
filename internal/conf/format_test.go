package conf

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestFormatCases(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing stays nothing", "", ""},
		{"blocks are indented by four", "a {\nb 1\n\tc{\nd\n}\n}", "a {\n    b 1\n    c {\n        d\n    }\n}\n"},
		{"a block on one line gets its own lines", "a { b c } d", "a {\n    b c\n}\n\nd\n"},
		{"a brace on the next line joins its keyword", "a b\n{\nc\n}\n", "a b {\n    c\n}\n"},
		{"and comments between them go inside", "a # x\n\n# y\n\n{ # z\nc\n}", "a { # x\n    # y\n\n    # z\n    c\n}\n"},
		{"a line of blanks in a definition stays", "$B=x \\\n  \na\n", "$B=x \\\n \na\n"},
		{"blanks between words become one", "a   b\t\tc  \r\n", "a b c\n"},
		{"but not where a command is quoted", `notify_up  "/x  y"  'p  q'`, "notify_up  \"/x  y\"  'p  q'\n"},
		{"comments of neighbouring lines share a column", "a {\nb 1 # x\nlonger 22    ! y\nc\nd # z\n}", "a {\n    b 1       # x\n    longer 22 ! y\n    c\n    d # z\n}\n"},
		{"a wide character takes two columns", "a # 1\n监 # 2", "a  # 1\n监 # 2\n"},
		{"one empty line at most, none inside the braces", "\n\na {\n\nb\n\n\n\nc\n\n}\n\n\n", "a {\n    b\n\n    c\n}\n"},
		{"blocks of the outer level stand apart", "a {\n}\n# of b\nb {\n}", "a {\n}\n\n# of b\nb {\n}\n"},
		{"definitions stay as they are", "  $A=1   2 # x\n$B= \\\n   p   q \\\n r\na", "$A=1   2 # x\n$B= \\\n   p   q \\\n r\na\n"},
		{"a definition goes on over comments", "$A= \\\n  b \\\n# c \\\n  # d\n  { e \\\n\n x  y", "$A= \\\n  b \\\n# c \\\n  # d\n  { e \\\n\nx y\n"},
		{"quotes in a command hide a comment mark", `script  "a \"b  # c\""   # d`, "script  \"a \\\"b  # c\\\"\" # d\n"},
		{"a conditional line is not cut", "@x  a {  b  }\n@^x c\n", "@x  a {  b  }\n@^x c\n"},
		{"nor is a repetition", "~SEQ(i,3)  a$i { b }", "~SEQ(i,3)  a$i { b }\n"},
		{"nor a line with a definition's name", "a { b  $X }\nc {\nd ${Y} {\ne\n}\n}", "a { b  $X }\nc {\n    d ${Y} {\n        e\n    }\n}\n"},
		{"nor an include, whose braces are none", "a {\ninclude  x/{a,b}.conf\nb\n}", "a {\n    include  x/{a,b}.conf\n    b\n}\n"},
		{"an include behind a brace is not one and must not become one", "a { include x }\n", "a { include x }\n"},
		{"an open quote keeps its line", "a \"b  c\nd", "a \"b  c\nd\n"},
		{"braces that close nothing stay", "}\na {\n}\n}", "}\n\na {\n}\n}\n"},
		{"a missing brace stays missing", "a {\nb", "a {\n    b\n"},
		{"a line with a NUL is left alone", "a {\n  x\x00  y\n}", "a {\n  x\x00  y\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Format(c.in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			sameMeaning(t, c.in)
		})
	}
}

func TestFormatKeepsTheMeaningOfEveryFile(t *testing.T) {
	for name, text := range corpus(t) {
		for _, form := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), strings.TrimRight(text, "\n"), "\ufeff" + text,
			text[:len(text)/2], strings.ReplaceAll(text, "{", "\n\n{"), strings.ReplaceAll(text, "}", "} # c\n")} {
			t.Run(name, func(t *testing.T) { sameMeaning(t, form) })
		}
	}
}

// sameMeaning checks what Format promises: the same statements, the same values, the same complaints, every comment,
// and nothing more to do the second time.
func sameMeaning(t interface {
	Helper()
	Errorf(string, ...any)
}, text string) {
	t.Helper()
	once := Format(text)
	if twice := Format(once); twice != once {
		t.Errorf("formatting %q again changes it (-once +twice):\n%s", text, cmp.Diff(once, twice))
	}
	a, b := heard(text), heard(once)
	limited := func(code string) bool { return strings.Contains(code, "expansion-limit") }
	if slices.ContainsFunc(a.codes, limited) {
		return // how far it gets depends on the blanks that are repeated
	}
	if !slices.Equal(a.statements, b.statements) {
		diff := cmp.Diff(a.statements, b.statements)
		t.Errorf("other statements from %q than from %q (-before +after):\n%s", text, once, diff)
	}
	if diff := cmp.Diff(a.config, b.config, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("another Config from %q than from %q (-before +after):\n%s", text, once, diff)
	}
	if !slices.Equal(a.codes, b.codes) {
		diff := cmp.Diff(a.codes, b.codes)
		t.Errorf("other messages about %q than about %q (-before +after):\n%s", text, once, diff)
	}
	if diff := cmp.Diff(comments(text), comments(once)); diff != "" {
		t.Errorf("other comments in %q than in %q (-before +after):\n%s", text, once, diff)
	}
}

type heardText struct {
	statements []string
	config     *Config
	codes      []string
}

// heard is what the daemon hears from a text.
func heard(text string) (h heardText) {
	fsys := fstest.MapFS{"f.conf": {Data: []byte(text)}, "i.conf": {Data: []byte("x y {\n")}}
	r := newReader(fsys, Options{ID: "x", MaxExpansion: 1 << 20}, &diagnostics{})
	r.start("f.conf")
	for s, ok := r.next(); ok && len(h.statements) < 10000; s, ok = r.next() {
		words := []string{s.raw}
		if s.kind == Word && !strings.ContainsAny(s.raw, `"'\`) {
			words = nil // how its words are separated does not count
		}
		for _, w := range s.words {
			words = append(words, w.Text)
		}
		h.statements = append(h.statements, strings.Join(words, "|"))
	}
	var all []Diagnostic
	h.config, _, all = Load(fs.FS(fsys), "f.conf", Options{ID: "x", MaxExpansion: 1 << 20})
	for _, d := range all {
		h.codes = append(h.codes, d.Severity.String()+" "+d.Code+" "+d.Text)
	}
	return h
}

// comments are those of a text, in order, as far as they stand behind or between statements.
func comments(text string) []string {
	var out []string
	f := newFile("", text)
	for n := 1; n <= f.Lines(); n++ {
		s := strings.Trim(f.Line(n), blanks)
		if unreadable(f.Line(n)) {
			continue
		}
		for _, p := range lex(nil, s, true) {
			if p.kind == commentPiece {
				out = append(out, s[p.start:p.end])
			}
		}
	}
	return out
}

// Texts made of the pieces that configurations are made of, in any order.
func TestFormatKeepsTheMeaningOfAnyText(t *testing.T) {
	pieces := []string{"a", "b c", "vrrp_instance A", "virtual_ipaddress", "10.0.0.9", "real_server 10.0.0.2 80", "{", "}", "\n", "\n", "\n\n",
		" ", "\t", "# x", "! y", "\"q r\"", "\"", "'", "\\", "\\#", "$A=", "$A=1", "$A", "${A}", "$B=x \\", "@x ", "@^x ", "~SEQ(i,2) ", "$i",
		"include i.conf", "include", "{a,b}", "\r\n", "auth_pass 'a  b'", "监", "notify_up /x  -y", "\x00", "="}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 30).Draw(t, "pieces")
		sameMeaning(t, strings.Join(parts, rapid.SampledFrom([]string{"", " ", "\n"}).Draw(t, "between")))
	})
}

func FuzzFormat(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Add("a{b}c{#d\n}\n$A=x \\ # c\n y\n@x $B=1 \\\n2\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1<<16 {
			sameMeaning(t, text)
		}
	})
}
