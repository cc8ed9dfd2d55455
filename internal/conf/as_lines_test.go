package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// Odd lines are cut, replaced and repeated as keepalived does it. Unknown words show what a line became.
func TestOddLinesAreReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	long := strings.Repeat("y", 1100)
	for _, text := range []string{
		// Comments, quotes and backslashes.
		"# a comment \\\nfoo\n", "foo \\# bar\n", "\\# foo\nbar\n", "\\! foo\nbar\n", "foo \\\n", "foo bar   \\\nbaz\n", "foo \"a # b\" c\n", "foo \"a\n", "\"a\" \"\"\n", "foo \"\"\"\n", "\"{\"\n\"}\"\n",
		"vrrp_instance A { \"{\" }\n", "foo\x00bar\nbaz\n", "\x00\nfoo\n", "foo\r\n\rbar\r\n", "foo\fbar\vbaz\n", "! " + long + " foo\nbar\n", "foo " + long + "\n", long + "\n", "foo\n\n\nbar",
		// Braces.
		"foo { bar } baz\n", "foo{bar}baz{\n", "}\n}\nfoo\n", "foo } { bar\n", "{ $A=5 }\nfoo $A\n", "{ @x foo\nbar\n", "{ @^x foo }\nbar\n", "{ ~SEQ(i, 2) foo$i\n}\n", "{ include nope.conf\n}\n",
		// Definitions.
		"$A=5\nfoo$A foo${A}x $A/ $A) $A, $A. ${A }x ${A 1} $ $$A $Ax\n", "$A=5\n$A=6\nfoo $A\n", "$A = 5\nfoo $A\n", "$A=\nfoo $A x\n", "$A=# x\nfoo $A x\n", "$A=a\\#b\nfoo${A}\n", "$1A=5\nfoo $1A\n", "$A=$B\n$B=7\nfoo $A\n",
		"$A=x$A\nfoo $A\n", "$A=${_HASH}\n$A foo\nbar $A foo\n", "foo${_BANG}x\n", "foo \"a${_HASH}b\" c\n", "foo ${_INSTANCE}\n", "foo ${_NOPE} ${_RANDOM x}\n", "foo ${_RANDOM 7 7}\n", "foo${_RANDOM 7 7}abc def\n",
		"$_HASH=x\nfoo$_HASH\n", "$A=@^x\n$A foo\n", "$A={\n$A foo\n", "$A=include nope.conf\n$A\n", "@^x $A=5\nfoo $A\n",
		// Definitions of several lines.
		"$M=a \\\nb \\\nc\n$M\nfoo\n", "$M=\\\na\\\nb\\\n\nfoo $M\n", "$M=\\\n\nfoo $M x\n", "$M= \\\n# gone \\\n a \\\n\\\n b\n$M\n", "$M=a \\\nb\nfoo $M bar\nfoo ${M}\n", "$M=\\\n@^x a \\\n@x b \\\nc\nfoo$M\n",
		"$N=c \\\nd\n$M=a \\\n$N \\\nb\n$M\n", "$M=a \\\n$B=5 \\\nb $B\n$M\nfoo $B\n", "$M=~SEQ(i, 2) \\\nb\n$M\n", "$M=\\\n~SEQ(i, 2) foo$i \\\nb\n$M\n", "$M=foo { \\\nbar }\n$M\n", "$M=a \\\nb", "$M=a\\\n$M\n",
		// Repetitions.
		"~SEQ(i, 3) foo$i\n", "~SEQ(i, 0) foo$i\n", "~SEQ(i, -2) foo$i\n", "~SEQ(i, 3, 1) foo$i\n", "~SEQ(i, 1, 2, 6) foo$i\n", "~SEQ(i, 1, -2, 6) foo$i\n", "~SEQ(i, 1, 0, 6) foo$i\n", "~SEQx(i, 9, 17) foo$i\n", "~SEQx(i, -2) foo$i\n",
		"~SEQ(i, 0x10, 017, 0x40) foo$i\n", "~SEQ(i) foo\n", "~SEQ i\n", "~SEQ(, 3) foo\n", "~SEQ(i, ) foo$i\n", "~SEQ(i, x) foo\n", "~SEQ(i, 1, 2, 3, 4) foo\n", "~SEQ(i, 3 foo\n", "~SEQ(i 3) foo$i\n", "~SEQ(i, 3)\n",
		"$E=3\n~SEQ(i, 2, $E) foo$i\n", "$E=3\n~SEQ(i,$E) ~SEQ(j,${E}) foo$i$j foo${i}${j}\n", "$E=3 \\\n4\n~SEQ(i, $E) foo\n", "~SEQ(i, " + strings.Repeat("0", 70) + "1) foo\n", "~SEQ(i, 2) vrrp_instance V$i { interface eth0 }\n",
		"$i=9\n~SEQ(i, 2) foo$i\nbar $i\n", "~LST(i, a, b) foo$i\n", "~LST({i,j}, {1,2}, {3}) foo$i foo$j\n", "~LST({i}, {1}, 2) foo$i\n", "~LST({i,j}, {1,2,3}) foo\n", "~LST(i, {1,2}) foo\n",
		"~LST(i) foo\n", "~LST(i, ) foo$i x\n", "~LST i\n", "~LST({i, {1}) foo\n", "~LST(i, a foo\n", "~LST({i,j},{1,2} ,{3,4}) foo$i$j\n", "~FOO(i) foo\n", "~LST(i) x\n~SEQ(i, 3) foo$i\nbar\n", "~SEQ(i, 2) foo$i\n~LST(i) x\n~LST(i, a, b) foo$i\nbar\n", "~LST(i) x\n~LST(i) y\n~SEQ(i, 2) ~SEQ(j, 2) foo$i$j\nbar\n", "~\n", "@^x ~SEQ(i, 2) foo$i\n",
		// Conditions.
		"@x foo\n", "@^x foo\n", "@\nfoo\n", "@x\n", "@^x @^y foo\n", "@^ foo\n", "@ foo\n", "@x\tfoo\n",
		// Commands.
		"vrrp_script s {\nscript \"a 'b\"\n}\n", "vrrp_script s {\nscript 'a b\n}\n", "vrrp_script s {\nscript a\"\n}\n", "vrrp_script s {\nscript a\\\n}\n", "vrrp_script s {\nscript \"a\\x41\\n\\101\\cA\\q\"\n}\n", "vrrp_script s {\nscript \"a\" \"b c\n}\n",
	} {
		if diff, ok := o.same(text); !ok {
			t.Errorf("%q (-keepalived +here):\n%s", text, diff)
		}
	}
}

// A file that includes itself is read once. keepalived opens it until it may open no more, and then says the same.
func TestAFileThatIncludesItselfIsReadOnce(t *testing.T) {
	for _, text := range []string{"include f.conf\nfoo\n", "@^x include f.conf\ninclude f.conf\nfoo\n"} {
		fsys := fstest.MapFS{"f.conf": {Data: []byte(text)}}
		out, exit := Test(fsys, "f.conf", TestOptions{})
		if len(out) > 20 || exit != 5 || !strings.HasSuffix(out[0], "open problem (Too many open files) - skipping") {
			t.Errorf("%q: exit code %d:\n%s", text, exit, strings.Join(out, "\n"))
		}
	}
}

// What stands in front of an include is looked at again by those who read the copy, so they read its files twice.
func TestIncludesBehindSomethingAreReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	for name, text := range map[string]string{"i/a.conf": "foo a\n", "i/b.conf": "foo b\n# comment\nbar b\n! comment\nbaz b\n", "i/c.conf": "include ../i/a.conf\nfoo c", "i/d.conf": "vrrp_instance D {\n"} {
		if err := os.MkdirAll(filepath.Join(o.dir, "i"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{
		"@^x include i/a.conf\nfoo\n", "@x include i/a.conf\nfoo\n", "$D=i\ninclude $D/a.conf\n", "$I=include i/a.conf\n$I\nfoo\n", "~LST(f, a, b) include i/$f.conf\n", "~LST(f, a, c) include i/${f}.conf\nfoo\n", "~SEQ(i, 2) include i/a.conf\n",
		"include i/c.conf\nfoo\n", "include ./i/c.conf\nfoo\n", "include " + o.dir + "/i/c.conf\nfoo\n", "include i/d.conf\ninterface eth0\n}\nfoo\n", "foo { include i/a.conf\n}\n", "include i/?.conf\n", "$M=foo \\\ninclude i/a.conf \\\nbar\n$M\n",
		"include \"i/a.conf\"\n", "include i/a.conf # x\n", "include\n", "includez i/a.conf\n",
	} {
		want := o.real(text)
		if err := os.WriteFile(filepath.Join(o.dir, "f.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := asKeepalived(t, os.DirFS("/"), filepath.Join(o.dir, "f.conf"))
		got = strings.ReplaceAll(got, filepath.Join(o.dir, "f.conf"), "f.conf")
		if diff := cmp.Diff(want, got); diff != "" && want != "crash" {
			t.Errorf("%q (-keepalived +here):\n%s", text, diff)
		}
	}
}
