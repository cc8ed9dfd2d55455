package cli

import (
	"bytes"
	"encoding/json"
	goflag "flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vipd/internal/conf"
	"vipd/internal/lb"
	"vipd/internal/plane/xdp"
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

// A row of the table says to what extent it works; the packet path knows.
func TestTheTableSaysWhatThePacketPathCan(t *testing.T) {
	good := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}, Scheduler: "rr"}
	real := lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80"), Weight: 1, Forward: lb.Route}
	for row, variants := range map[string][]func(s *lb.Service, r *lb.Real){
		"lb_algo":  {func(s *lb.Service, _ *lb.Real) { s.Scheduler = "wlc" }, func(s *lb.Service, _ *lb.Real) { s.Scheduler = "mh" }, func(s *lb.Service, _ *lb.Real) { s.Scheduler = "lblcr" }},
		"ops":      {func(s *lb.Service, _ *lb.Real) { s.OnePacket = true }},
		"lb_kind":  {func(_ *lb.Service, r *lb.Real) { r.Forward = lb.Masq }, func(_ *lb.Service, r *lb.Real) { r.Forward = lb.Tunnel }},
		"protocol": {func(s *lb.Service, _ *lb.Real) { s.Protocol = lb.SCTP }},
	} {
		k, _, _ := conf.Find("virtual_server", row)
		var why error
		for _, change := range variants {
			s, r := good, real
			change(&s, &r)
			if err := xdp.Check(s, []lb.Real{r}); err != nil {
				why = err
			}
		}
		if whole := k.Effect == conf.Works && k.Why == ""; whole != (why == nil) {
			t.Errorf("the table says of %s %q, and the packet path: %v", row, effect(k), why)
		}
	}
}
