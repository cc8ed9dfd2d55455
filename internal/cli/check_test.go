package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vipd runs a command of vipd in process and gives its exit code and what it printed.
func vipd(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(Env{Args: args, Stdin: strings.NewReader(stdin), Stdout: &o, Stderr: &e, Getenv: func(string) string { return "" }})
	return code, o.String(), e.String()
}

// inDir makes files in a new directory and goes there.
func inDir(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const goodInstance = "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    priority 150\n    virtual_ipaddress {\n        10.0.8.9\n    }\n}\n"

func TestCheckSaysEverythingWithItsPlace(t *testing.T) {
	inDir(t, map[string]string{
		"a.conf":     strings.Replace(goodInstance, "priority 150", "priorty 150", 1) + "include sub/*.conf\n",
		"sub/b.conf": "global_defs {\n    vrrp_version 4\n}\n",
	})
	code, out, errs := vipd(t, "", "check", "-q", "a.conf")
	want := `a.conf:4:5: warning: Unknown keyword 'priorty' [unknown-keyword]
    4 |     priorty 150
      |     ^~~~~~~
      hint: did you mean "priority"?
sub/b.conf:2:18: warning: number '4' outside range [2, 3] [bad-value]
  VRRP Error: Version must be either 2 or 3
    2 |     vrrp_version 4
      |                  ^
      expected: vrrp_version 2|3
`
	if diff := cmp.Diff(want, out); diff != "" || code != 1 || errs != "" {
		t.Errorf("exit %d, %q (-want +got):\n%s", code, errs, diff)
	}
}

func TestCheckExitCodes(t *testing.T) {
	inDir(t, map[string]string{
		"good.conf": goodInstance, "warned.conf": "foo\n", "bad.conf": "vrrp_instance A {\ninterface\n}\n",
		"bin": "\x7fELF\x00\x00", "dir/x": "", "empty.conf": "",
	})
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		wants string
	}{
		{"a good file", []string{"good.conf"}, 0, "good.conf: notice: this director replaces a dead one after at most 3.42 s"},
		{"and its summary", []string{"good.conf"}, 0, "1 file: nothing is wrong, 1 notice\n"},
		{"an empty file", []string{"empty.conf"}, 0, "nothing is wrong"},
		{"warnings", []string{"warned.conf"}, 1, "1 file: 0 errors, 1 warning, 0 notices\n"},
		{"warnings as errors", []string{"--strict", "warned.conf"}, 2, "error: Unknown keyword"},
		{"errors", []string{"bad.conf"}, 2, "missing a parameter"},
		{"no such file", []string{"none.conf"}, 2, "error: none.conf: no such file [unreadable-file]\n"},
		{"a directory", []string{"dir"}, 2, "dir is a directory; name a file in it, such as dir/keepalived.conf"},
		{"a binary file", []string{"bin"}, 2, "bin is a binary file (byte 5 is NUL), not a configuration"},
		{"a device", []string{"/dev/zero"}, 2, "/dev/zero is not a regular file"},
		{"one bad name does not hide the others", []string{"none.conf", "warned.conf"}, 2, "warned.conf:1:1: warning"},
		{"two directors", []string{"good.conf", "good.conf"}, 1, "good.conf:4:14: warning: priority 150 is also that of VI_1 (good.conf:1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := vipd(t, "", append([]string{"check"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.wants) || errs != "" {
				t.Errorf("exit %d, want %d and %q in:\n%s%s", code, c.code, c.wants, out, errs)
			}
		})
	}
}

func TestCheckReadsTheStandardInput(t *testing.T) {
	inDir(t, map[string]string{"inc.conf": "foo\n"})
	code, out, _ := vipd(t, "include inc.conf\n\nbar\n", "check", "-q", "-")
	if code != 1 || !strings.HasPrefix(out, "<stdin>:3:1: warning: Unknown keyword 'bar'") || !strings.Contains(out, "\ninc.conf:1:1: warning") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckKnowsWhoReadsTheFile(t *testing.T) {
	inDir(t, map[string]string{"a.conf": "@lb1 foo\n"})
	if code, out, _ := vipd(t, "", "check", "a.conf"); code != 1 || !strings.Contains(out, "'foo' (read as lb1)") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ := vipd(t, "", "check", "-i", "lb2", "a.conf"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ := vipd(t, "", "check", "-i", "lb1", "a.conf"); code != 1 {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestCheckForPrograms(t *testing.T) {
	inDir(t, map[string]string{"a b.conf": "foo\n"})
	code, out, _ := vipd(t, "", "check", "-o", "json", "a b.conf", "none")
	var r checkReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 2 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if r.Errors != 1 || r.Warnings != 1 || len(r.Diagnostics) != 2 {
		t.Errorf("report %+v", r)
	}
	d := r.Diagnostics[0]
	if d.Severity != "warning" || d.Code != "unknown-keyword" || d.File != "a b.conf" || d.Line != 1 || d.Column != 1 || d.Width != 3 || d.Source != "foo" {
		t.Errorf("diagnostic %+v", d)
	}

	code, out, _ = vipd(t, "", "check", "-o", "sarif", "a b.conf")
	var s sarifLog
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 1 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if s.Version != "2.1.0" || len(s.Runs) != 1 || len(s.Runs[0].Results) != 1 {
		t.Fatalf("log %+v", s)
	}
	res := s.Runs[0].Results[0]
	at := res.Locations[0].Physical
	if res.Rule != "unknown-keyword" || s.Runs[0].Tool.Driver.Rules[res.RuleIndex].ID != res.Rule || res.Level != "warning" ||
		at.Artifact.URI != "a%20b.conf" || *at.Region != (sarifRegion{1, 1, 4}) {
		t.Errorf("result %+v at %+v", res, at)
	}
	if code, _, errs := vipd(t, "", "check", "-o", "xml", "a b.conf"); code != 2 || !strings.Contains(errs, "want text, json or sarif") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestFmtPrintsWritesAndCompares(t *testing.T) {
	const ugly, pretty = "a {\n  b   1\n}\n", "a {\n    b 1\n}\n"
	inDir(t, map[string]string{"a.conf": ugly, "good.conf": pretty})
	if code, out, _ := vipd(t, "", "fmt", "a.conf"); code != 0 || out != pretty {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ := vipd(t, ugly, "fmt", "-"); code != 0 || out != pretty {
		t.Errorf("exit %d: %s", code, out)
	}
	want := "--- a.conf\n+++ a.conf (formatted)\n@@ -1,3 +1,3 @@\n a {\n-  b   1\n+    b 1\n }\n"
	if code, out, _ := vipd(t, "", "fmt", "-d", "a.conf", "good.conf"); code != 1 || out != want {
		t.Errorf("exit %d: %s", code, out)
	}
	if err := os.Chmod("a.conf", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.conf", "link.conf"); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := vipd(t, "", "fmt", "-w", "link.conf"); code != 0 || out+errs != "" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	got, _ := os.ReadFile("a.conf")
	info, _ := os.Lstat("a.conf")
	link, _ := os.Lstat("link.conf")
	if string(got) != pretty || info.Mode().Perm() != 0o600 || link.Mode()&os.ModeSymlink == 0 {
		t.Errorf("text %q, mode %s, link %s", got, info.Mode(), link.Mode())
	}
	if code, out, _ := vipd(t, "", "fmt", "-d", "a.conf"); code != 0 || out != "" {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, args := range [][]string{{"none.conf"}, {"."}, {"-w", "-d", "a.conf"}, {"-w", "-"}} {
		if code, _, errs := vipd(t, "", append([]string{"fmt"}, args...)...); code != 2 || errs == "" {
			t.Errorf("fmt %v: exit %d: %s", args, code, errs)
		}
	}
}

func TestDiffsAreThoseOfDiff(t *testing.T) {
	old := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16"
	new := "1\n2\n3\nfour\n5\n6\n7\n8\n9\n10\n11\n12\n13\n15\nx\n16\n"
	want := "--- f\n+++ f (formatted)\n@@ -1,7 +1,7 @@\n 1\n 2\n 3\n-4\n+four\n 5\n 6\n 7\n" +
		"@@ -11,6 +11,6 @@\n 11\n 12\n 13\n-14\n 15\n-16\n\\ No newline at end of file\n+x\n+16\n"
	if diff := cmp.Diff(want, unifiedDiff("f", old, new)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// 1 says that there are warnings, so a mistake in the command line must be something else.
func TestAMistakenCommandLineIsNotAWarning(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"check", "--nonsense", "a.conf"}, {"check", "-o", "xml", "a.conf"}, {"migrate"}, {"migrate", "a", "b"}, {"fmt"}} {
		if code, out, errs := vipd(t, "", args...); code != 2 || out != "" || !strings.HasPrefix(errs, "vipd: ") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestAFileOfSeveralDirectorsIsReadAsEach(t *testing.T) {
	text := func(one, two string) string {
		return strings.Replace(goodInstance, "priority 150", "@lb1 priority "+one+"\n@lb2 priority "+two, 1)
	}
	inDir(t, map[string]string{"good.conf": text("150", "100"), "same.conf": text("100", "100"),
		"other.conf": strings.Replace(goodInstance, "priority 150", "@lb1 priority 120\n@^lb1 priority 120", 1)})
	if code, out, _ := vipd(t, "", "check", "good.conf"); code != 0 || !strings.Contains(out, "for priority 150") || !strings.Contains(out, "for priority 100") {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, name := range []string{"same.conf", "other.conf"} {
		if code, out, _ := vipd(t, "", "check", name); code != 1 || strings.Count(out, "[same-priority]") != 1 {
			t.Errorf("%s: exit %d: %s", name, code, out)
		}
	}
	if code, out, _ := vipd(t, "", "check", "-i", "lb1", "same.conf"); code != 0 || strings.Contains(out, "same-priority") {
		t.Errorf("one director: exit %d: %s", code, out)
	}
}
