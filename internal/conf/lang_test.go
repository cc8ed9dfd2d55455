package conf

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// statements reads a text and writes each statement on a line: words joined by |, or a brace.
func statements(t *testing.T, fsys fstest.MapFS, opts Options) ([]string, []Diagnostic) {
	t.Helper()
	d := &diagnostics{}
	r := newReader(fsys, opts, d)
	r.start("f.conf")
	var out []string
	for {
		s, ok := r.next()
		if !ok {
			r.finish()
			return out, d.all()
		}
		var words []string
		for _, w := range s.words {
			words = append(words, w.Text)
		}
		out = append(out, strings.Join(words, "|"))
	}
}

func TestStatements(t *testing.T) {
	for _, c := range []struct{ name, text, want, codes string }{
		{"comments of both kinds end a line", "a b # c\nd !e\n!f\n#g\nh", "a|b;d;h", ""},
		{"a comment may be glued to a word", "a 5#x", "a|5", ""},
		{"a double quote protects comment marks and braces", `a "b # ! { }" c`, "a|b # ! { }|c", ""},
		{"a single quote protects nothing", "a 'b#c'", "a|'b", ""},
		{"a backslash keeps a comment mark", `a b\#c \!d`, "a|b#c|!d", ""},
		{"a backslash does not keep a brace", `a x\{`, `a|x\;{`, "missing-close"},
		{"a quote inside a word ends it", `a bc"d e"f`, "a|bc|d e|f", ""},
		{"an empty quoted word is a word", `a ""`, "a|", ""},
		{"a backslash inside quotes is itself", `a "b\"`, `a|b\`, ""},
		{"braces glued to words", "a{b}c", "a;{;b;};c", ""},
		{"a block on one line", "a { b c }", "a;{;b|c;}", ""},
		{"a brace on the next line", "a\n\n# x\n{\n}", "a;{;}", ""},
		{"CRLF line ends", "a b\r\nc {\r\n}\r\n", "a|b;c;{;}", ""},
		{"words that are not ASCII", "a 监测 ü#é", "a|监测|ü", ""},
		{"an unterminated quote drops the word", `a b "c # d`, "a|b", "unterminated-quote"},
		{"a line with a NUL byte is not read", "a\nb\x00c\nd", "a;d", "unreadable-line"},
		{"a line that is too long is not read", "a\n" + strings.Repeat("x", maxLine+1) + "\nd", "a;d", "unreadable-line"},
		{"a missing brace", "a {\n b {\n", "a;{;b;{", "missing-close"},

		{"a definition is replaced", "$A=1 2\nx $A y", "x|1|2|y", ""},
		{"braces allow anything after a name", "$A=1\nx ${A}2 ${B}", "x|12|$;{;B;}", "undefined-name"},
		{"a name ends at a blank, a slash, a parenthesis or the end", "$A=1\nx $A $A/2 $A) $A-3 y$A", "x|1|1/2|1)|$A-3|y1", "undefined-name"},
		{"names are looked up when they are used", "$B=b$A\n$A=1\nx $B\n$A=2\nx $B", "x|b1;x|b2", ""},
		{"a comment is not part of a value", "$A=1 # 2\nx $A", "x|1", ""},
		{"a blank before the = makes it no definition", "$A = 1", "$A|=|1", "undefined-name"},
		{"a value of several lines", "$M=\\\n a 1\\\n b 2\n$M\nc", "a|1;b|2;c", ""},
		{"definitions in a circle", "$A=$B\n$B=$A\nx $A\ny", "y", "endless-definition"},
		{"built-in definitions", "x ${_INSTANCE} \"${_HASH}\" \"${_BANG}\" ${_PWD} ${_ENV HOME}", "x|lb1|#|!|.|/h", ""},
		{"a comment mark out of a definition", "$C=${_HASH}\n$C x\na ${_HASH}b", "a", ""},
		{"comments within a definition", "$M=a # x \\\n# y \\\n# z\n b \\\n @lb2 c \\\n @lb1 d # e\n$M\nf", "a;b;d;f", ""},
		{"an empty line ends a definition", "$M=a \\\n\nb\n$M", "b;a", ""},
		{"quotes in a command", "x \"a \\\"b # c\\\" d\" # e", `x|a \|b|#|c\| d`, ""},
		{"a sequence between definitions", "$F=2\n$T=3\n$M=x \\\n~SEQ(i,$F,${T}) a$i \\\nb\n$M\nc $i", "x;a2;a3;b;c|3", ""},
		{"lines for this id and for others", "@lb1 a\n@lb2 b\n@^lb1 c\n@^lb2 d\n@lb1 $X=1\n@lb1 @^lb2 e $X", "a;d;e|1", ""},

		{"a sequence", "~SEQ(i, 3) a$i b", "a1|b;a2|b;a3|b", ""},
		{"a sequence with start and step, down", "~SEQ(i,5,-2,1) a$i", "a5;a3;a1", ""},
		{"a sequence to a negative end", "~SEQ(i,-2) a$i", "a-1;a-2", ""},
		{"a sequence in hex", "~SEQx(i,9,11) a$i", "a9;aa;ab", ""},
		{"a list", "~LST(n, u, v ,w) a$n", "au;av;aw", ""},
		{"a list of tuples", "~LST({a,b},{1,2},{3}) x $a ${b}y", "x|1|2y;x|3|y", ""},
		{"repetitions nest", "~SEQ(i,2) ~LST(n,p,q) x${i}$n", "x1p;x1q;x2p;x2q", ""},
		{"a sequence that goes the wrong way", "~SEQ(i,5,2,1) a\nb", "b", "bad-repetition"},
		{"a tuple with too many members", "~LST({a,b},{1,2,3}) a\nb", "b", "bad-repetition"},
		{"a repetition without an end", "~SEQ(i,2 a\nb", "b", "bad-repetition"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := func(name string) string { return map[string]string{"HOME": "/h"}[name] }
			got, d := statements(t, fstest.MapFS{"f.conf": {Data: []byte(c.text)}}, Options{ID: "lb1", Env: env})
			if diff := cmp.Diff(c.want, strings.Join(got, ";")); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
			if codes(d) != c.codes {
				t.Errorf("diagnostics %q, want %q", codes(d), c.codes)
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	files := fstest.MapFS{
		"inc/a.conf": {Data: []byte("a1\ninclude sub/*.conf\na2\n")}, "inc/b.conf": {Data: []byte("b\n")},
		"inc/sub/1.conf": {Data: []byte("s1\n")}, "inc/sub/2.conf": {Data: []byte("s2\n")}, "inc/sub/.h.conf": {Data: []byte("hidden\n")},
		"inc/sub/x.conf": {Data: []byte("executable\n"), Mode: 0o755},
		"inc/loop.conf":  {Data: []byte("l1\ninclude loop.conf\nl2\n")},
		"inc/open.conf":  {Data: []byte("o {\n")},
	}
	for _, c := range []struct{ name, text, want, codes string }{
		{"names are relative to the including file", "include inc/a.conf\nz", "a1;s1;s2;a2;z", "include-skipped"},
		{"a leading slash is the root", "include /inc/b.conf", "b", ""},
		{"alternatives in braces, in their order", "include inc/{b,sub/1}.conf", "b;s1", ""},
		{"an alternative without a file", "include inc/{b,none}.conf\nz", "b;z", "include-missing"},
		{"nothing matches", "include none/*.conf\nz", "z", "include-missing"},
		{"nothing matches where it must", "includem none.conf\nz", "z", "include-missing"},
		{"a file that includes itself", "include inc/loop.conf\nz", "l1;l2;z", "include-cycle"},
		{"the same file twice is no cycle", "include inc/b.conf\ninclude inc/b.conf", "b;b", ""},
		{"a block may span files", "include inc/open.conf\n}", "o;{;}", ""},
		{"an include from a definition and a repetition", "$F=inc/b\n~SEQ(i,2) include $F.conf\ninclude ${F}.conf", "b", "include-missing include-missing"},
		{"a repetition of includes keeps its order", "~SEQ(i,2) include inc/sub/${i}.conf\nz", "s1;s2;z", ""},
		{"a word that only begins like it", "includes x", "includes|x", ""},
		{"no name", "include", "include", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			files["f.conf"] = &fstest.MapFile{Data: []byte(c.text)}
			got, d := statements(t, files, Options{})
			if diff := cmp.Diff(c.want, strings.Join(got, ";")); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
			if codes(d) != c.codes {
				t.Errorf("diagnostics %q, want %q", codes(d), c.codes)
			}
		})
	}
}

func TestIncludeSeverity(t *testing.T) {
	for text, want := range map[string]Severity{"include x": Warning, "includer x": Warning, "includem x": Error, "includem x*": Warning,
		"includew x*": Error, "includea x*": Error, "includeb {f.conf,y}": Error} {
		_, d := statements(t, fstest.MapFS{"f.conf": {Data: []byte(text)}}, Options{})
		if sev, any := Worst(d); !any || sev != want {
			t.Errorf("%s: %v, want %v", text, d, want)
		}
	}
}

func TestScriptWords(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
		ok   bool
	}{
		{`notify /bin/x a b`, []string{"notify", "/bin/x", "a", "b"}, true},
		{`notify "/bin/x a" user group`, []string{"notify", "/bin/x a", "user", "group"}, true},
		{`notify '/bin/x "a"'`, []string{"notify", `/bin/x "a"`}, true},
		{`notify a'b c'd"e f"`, []string{"notify", "ab cde f"}, true},
		{`notify a\ b \"c ''`, []string{"notify", "a b", `"c`, ""}, true},
		{`notify 'a`, []string{"notify", "a"}, false},
	} {
		got, ok := splitScript(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
			t.Errorf("%s: complete %v (-want +got):\n%s", c.text, ok, diff)
		}
	}
}
