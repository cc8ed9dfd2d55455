package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// documented are the commands of docs/operating.md: the lines of its code blocks without their comments.
func documented(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	code := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			code = !code
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		if words, ok := strings.CutPrefix(strings.TrimSpace(line), "vipd "); ok && code {
			all = append(all, words)
		}
	}
	return all
}

func TestEveryCommandOfTheOperatingChapterWorks(t *testing.T) {
	all := documented(t)
	if len(all) < 14 {
		t.Fatalf("only %d commands are found: %q", len(all), all)
	}
	for _, line := range all {
		f := newFiled(t, commented)
		f.status.Services[0].Reals[0].Weight = 8
		f.status.VRRP = siteStatus().VRRP
		dir := happened(t)
		if err := os.Rename(dir+"/x", dir+"/default"); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		args := strings.Fields(strings.Replace(line, "events -f", "events", 1)) // which has no end; TestEventsAreFollowed has one
		code := run(Env{Args: args, Stdout: &out, Stderr: &errs, Now: func() time.Time { return eventNoon }, DrainEvery: time.Millisecond,
			Getenv: func(name string) string { return map[string]string{stateVariable: dir}[name] },
			Dial:   func(string) (control.Source, error) { return &explaining{f}, nil }})
		if code != 0 || errs.Len() > 0 {
			t.Errorf("vipd %s: exit %d\n%s%s", line, code, out.String(), errs.String())
		}
	}
}

// explaining is a director that can say why, too.
type explaining struct{ *filed }

func (e *explaining) Explain(ctx context.Context, key lb.ServiceKey) (control.Why, error) {
	return (&reasoner{}).Explain(ctx, key)
}
