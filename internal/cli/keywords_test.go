package cli

import (
	"bytes"
	"encoding/json"
	goflag "flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vipd/internal/conf"
)

var updateKeywords = goflag.Bool("update-keywords", false, "write the files that are generated from the keyword table anew")

// The committed files are what the table says.
func TestFilesGeneratedFromTheKeywordTableAreCurrent(t *testing.T) {
	for name, format := range map[string]string{
		"docs/keywords.md": "markdown", "docs/man/vipd.conf.5": "man",
		"editors/vim/syntax/keepalived.vim": "vim", "editors/vscode/syntaxes/keepalived.tmLanguage.json": "vscode",
	} {
		var b bytes.Buffer
		if err := keywordFormats[format](&b, conf.Keywords()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", name)
		if *updateKeywords {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%s is not what the keyword table says (%v); write it anew with:\n\tgo test ./internal/cli -run Generated -update-keywords", name, err)
		}
	}
}

func TestEveryKeywordHasItsSentence(t *testing.T) {
	for _, k := range conf.Keywords() {
		if k.Text == "" || !strings.HasSuffix(k.Text, ".") {
			t.Errorf("%s in %q: %q is no sentence", k.Name, k.Block, k.Text)
		}
		if k.Effect == conf.Inert && k.Why == "" {
			t.Errorf("%s in %q has no effect, and nobody says why", k.Name, k.Block)
		}
	}
}

func TestKeywordsPrintsTheTable(t *testing.T) {
	code, out, _ := vipd(t, "", "keywords", "-o", "json", "virtual_router_id")
	var rows []keywordRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if len(rows) != 1 || rows[0].Block != "vrrp_instance" || rows[0].Args != "1..255" || rows[0].Effect != "works" {
		t.Errorf("rows %+v", rows)
	}
	if code, out, _ := vipd(t, "", "keywords", "priority"); code != 0 || !strings.Contains(out, "\n## `vrrp_instance`\n") || !strings.Contains(out, "| `priority` | 1..255 |") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, _, errs := vipd(t, "", "keywords", "nonsense"); code != 2 || !strings.Contains(errs, "no keyword is called nonsense") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := vipd(t, "", "keywords", "-o", "html"); code != 2 || !strings.Contains(errs, "want markdown") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// VS Code's engine knows look-behind, Go's does not; so the expressions are tried without it.
func TestTheGrammarIsJSONWithBalancedExpressions(t *testing.T) {
	var b bytes.Buffer
	if err := keywordsVSCode(&b, conf.Keywords()); err != nil {
		t.Fatal(err)
	}
	var g struct{ Patterns []tmRule }
	if err := json.Unmarshal(b.Bytes(), &g); err != nil {
		t.Fatal(err)
	}
	around := regexp.MustCompile(`\(\?<?[=!](\\.|\[[^]]*\]|[^()\\[])*\)`)
	for _, p := range g.Patterns {
		for _, e := range []string{p.Match, p.Begin, p.End} {
			if _, err := regexp.Compile(around.ReplaceAllString(e, "()")); err != nil {
				t.Errorf("%s: %v", e, err)
			}
		}
	}
}
