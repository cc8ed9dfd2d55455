package conf

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Programs filter by codes: each has its sentence, and its row in docs/check.md.
func TestEveryCodeIsExplained(t *testing.T) {
	used := map[string]bool{"unreadable-file": true, "too-many": true, "timers": true}
	code := regexp.MustCompile(`\[([a-z0-9]+(?:-[a-z0-9]+)*)\]\n`)
	for _, pattern := range []string{"testdata/*/*.txt", "testdata/advise/pairs/*.txt"} {
		names, _ := filepath.Glob(pattern)
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range code.FindAllStringSubmatch(string(b), -1) {
				used[m[1]] = true
			}
		}
	}
	inCalls := regexp.MustCompile(`(?:add|warn|notice|own|after|say|notYet|none)\((?:[^"\n]*, )?"([a-z]+(?:-[a-z0-9]+)*)", `)
	sources, _ := filepath.Glob("*.go")
	for _, n := range sources {
		b, err := os.ReadFile(n)
		if err != nil || strings.HasSuffix(n, "_test.go") {
			continue
		}
		for _, m := range inCalls.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "-") {
				used[m[1]] = true
			}
		}
	}
	if len(used) < 100 {
		t.Errorf("only %d codes are found", len(used))
	}
	for c := range used {
		if CodeText(c) == "" {
			t.Errorf("code %s has no sentence", c)
		}
	}
	doc, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Codes() {
		if row := "| `" + c + "` | " + CodeText(c) + " |\n"; !strings.Contains(string(doc), row) {
			t.Errorf("docs/check.md lacks %s", row)
		}
	}
}

func TestMoreThanCanBeShownIsSaid(t *testing.T) {
	c := checkText(strings.Repeat("foo\n", maxDiagnostics+5))
	last := c.Diagnostics[len(c.Diagnostics)-1]
	if last.Code != "too-many" || !strings.Contains(last.Text, "5 more") {
		t.Errorf("got %d, the last is %v", len(c.Diagnostics), last)
	}
}

func TestAByteOrderMarkIsNamed(t *testing.T) {
	c := checkText("\ufeffglobal_defs {\n}\n")
	if d := c.Diagnostics[0]; d.Code != "unknown-keyword" || !strings.Contains(d.Hint, "byte order mark") {
		t.Errorf("got %v, hint %q", d, d.Hint)
	}
}

func TestMembersOutsideOfGroupAreUnderstood(t *testing.T) {
	c := checkText("vrrp_sync_group G {\n VI_1\n}\n")
	for _, d := range c.Diagnostics {
		if d.Code == "unknown-keyword" && strings.Contains(d.Hint, "group { VI_1 }") {
			return
		}
	}
	t.Errorf("got %v", c.Diagnostics)
}
