package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/spf13/pflag"

	"vipd/internal/conf"
)

// passage is a piece of a page that is code: a line of a fenced block, or a span within a line.
type passage struct {
	at    string // FILE:LINE
	text  string
	fence string // what stands behind the fence's backquotes; "-": a span
	block int    // which fenced block of the page it is in
}

// pages are README.md and the book, without the tables that are generated.
func pages(t *testing.T) (all []string) {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(found) < 12 {
		t.Fatalf("%q, %v", found, err)
	}
	for _, path := range append(found, "../../README.md", "../../CONTRIBUTING.md", "../../packaging/Containerfile") {
		if filepath.Base(path) != "keywords.md" {
			all = append(all, path)
		}
	}
	return all
}

var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

var span = regexp.MustCompile("`([^`]+)`")

func passages(t *testing.T, path string) (all []passage) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fence, n, block := "", 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		at := fmt.Sprintf("%s:%d", filepath.Base(path), n)
		mark, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && fence == "":
			fence, block = strings.TrimSpace(mark)+" ", block+1
		case isFence:
			fence = ""
		case fence != "":
			all = append(all, passage{at, strings.TrimRight(line, "\n"), strings.TrimSpace(fence), block})
		default:
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				all = append(all, passage{at, m[1], "-", 0})
			}
		}
	}
	return all
}

// commandsIn are the commands of vipd's in a passage, each as its words without the program's name. What cannot be told from
// words for a person ("…", alternatives) is left out.
func commandsIn(p passage) (all [][]string) {
	if p.fence == "text" || p.fence == "conf" || strings.HasPrefix(p.fence, "conf ") {
		return nil
	}
	text, _, _ := strings.Cut(p.text, " #")
	if p.fence != "-" {
		text, _, _ = strings.Cut(strings.TrimLeft(text, " "), "   ") // the description beside it
	}
	for part := range strings.SplitSeq(text, "; ") {
		for one := range strings.SplitSeq(part, " && ") {
			one, _, _ = strings.Cut(strings.TrimSuffix(strings.TrimSpace(one), " &"), ">")
			one, _, _ = strings.Cut(one, " | ")
			words := strings.Fields(quoted.ReplaceAllString(one, "QUOTED"))
			if len(words) > 1 && words[0] == "ipvsadm" && !strings.ContainsAny(one, "…[{<|") {
				all = append(all, words)
			}
			if len(words) > 1 && (words[0] == "vipd" || words[0] == "bin/vipd" || words[0] == "/usr/sbin/vipd") && !strings.ContainsAny(one, "…[{<") {
				all = append(all, words[1:])
			}
		}
	}
	return all
}

// TestEveryCommandOfTheBookExists: its words are a command, its options are that command's, and it has as many arguments as it
// takes.
func TestEveryCommandOfTheBookExists(t *testing.T) {
	seen := 0
	for _, path := range pages(t) {
		for _, p := range passages(t, path) {
			for _, words := range commandsIn(p) {
				seen++
				if err := understood(words, p.fence == "-"); err != nil {
					t.Errorf("%s: vipd %s: %v", p.at, strings.Join(words, " "), err)
				}
			}
		}
	}
	if seen < 120 {
		t.Errorf("only %d commands were found", seen)
	}
}

// understood parses a command line. A mention may be without the arguments.
func understood(words []string, mention bool) error {
	root := newRootCommand(Env{Getenv: func(string) string { return "" }})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	c, rest, err := root.Find(words)
	switch {
	case err != nil:
		return err
	case c.DisableFlagParsing: // ipvsadm
		if mention && len(rest) == 0 {
			return nil
		}
		if mention && len(rest) == 1 && strings.HasPrefix(rest[0], "--") {
			if longWord(rest[0][2:]) == nil {
				return fmt.Errorf("there is no such option")
			}
			return nil
		}
		if _, err := parseIpvsadm("ipvsadm", rest, nil); err != nil {
			return err
		}
		return nil
	case c == root && strings.HasPrefix(words[0], "-"):
		return root.ParseFlags(words)
	case c == root:
		return fmt.Errorf("there is no such command")
	}
	var bare *pflag.ValueRequiredError
	if err := c.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) && (!mention || !errors.As(err, &bare)) {
		return err
	}
	if mention {
		return nil
	}
	return c.ValidateArgs(c.Flags().Args())
}

// TestEveryFileOfTheBookIsRead: configurations in the book are without errors, whole or as parts.
func TestEveryFileOfTheBookIsRead(t *testing.T) {
	seen := 0
	for _, path := range pages(t) {
		blocks, at, last := map[int]string{}, map[int]string{}, 0
		for _, p := range passages(t, path) {
			if p.fence == "conf" || strings.HasPrefix(p.fence, "conf ") {
				if blocks[p.block] == "" {
					at[p.block] = p.at
				}
				blocks[p.block] += p.text + "\n"
				last = p.block
			}
		}
		for i := range last + 1 {
			if blocks[i] == "" || strings.HasPrefix(at[i], "check.md:") { // that one shows a mistake
				continue
			}
			seen++
			_, _, diags := conf.Load(fstest.MapFS{"book.conf": {Data: []byte(blocks[i])}}, "/book.conf", conf.Options{Strict: true})
			for _, d := range diags {
				if d.Severity == conf.Error {
					t.Errorf("%s: %s", at[i], d.Text)
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d files were found", seen)
	}
}
