package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"vipd/internal/conf"
)

// hover explains the keyword under the cursor.
func (s *lspServer) hover(d *lspDocument, p lspPosition) any {
	f := conf.Parse(d.name, d.text)
	at := cursor{p.Line + 1, s.units.characters(f.Line(p.Line+1), p.Character) + 1}
	block, node := at.find(f.Nodes(), place{})
	if node == nil || block.values {
		return nil
	}
	word := at.word(node)
	if word == nil {
		return nil
	}
	k, _, ok := conf.Find(block.name, word.Text)
	if !ok || word != keywordOf(node) {
		return nil
	}
	line := f.Line(word.Line)
	return lspHover{*explain(k), lspRange{
		lspPosition{word.Line - 1, s.units.of(line, word.Col-1)},
		lspPosition{word.Line - 1, s.units.of(line, word.Col-1+utf8.RuneCountInString(word.Raw))}}}
}

// explain is what there is to say about a keyword.
func explain(k conf.Keyword) *lspMarkup {
	var b strings.Builder
	usage := k.Name
	if k.Args != "" {
		usage += " " + k.Args
	}
	if k.Opens {
		usage += " { … }"
	}
	fmt.Fprintf(&b, "```\n%s\n```\n%s\n", usage, k.Text)
	if k.Default != "" {
		fmt.Fprintf(&b, "\nDefault: %s\n", k.Default)
	}
	if k.Effect != conf.Works || k.Why != "" {
		fmt.Fprintf(&b, "\n*%s*\n", effect(k))
	}
	return &lspMarkup{"markdown", b.String()}
}

// completion offers the keywords of the block that the cursor is in, or the values of the keyword before it.
func (s *lspServer) completion(d *lspDocument, p lspPosition) any {
	items := []lspItem{}
	f := conf.Parse(d.name, d.text)
	line := f.Line(p.Line + 1)
	n := s.units.characters(line, p.Character)
	before := string([]rune(line)[:n])
	if strings.ContainsAny(before, "#!") {
		return items
	}
	at := cursor{p.Line + 1, n + 1}
	block, _ := at.find(f.Nodes(), place{})
	if block.values {
		return items
	}
	if i := strings.LastIndexAny(before, "{}"); i >= 0 {
		before = before[i+1:]
	}
	words := strings.Fields(before)
	if len(words) > 0 && strings.HasPrefix(words[0], "@") {
		words, before = words[1:], strings.TrimPrefix(strings.TrimLeft(before, " \t"), words[0])
	}
	fresh := strings.TrimRight(before, " \t") != before || before == ""
	switch {
	case len(words) == 0, len(words) == 1 && !fresh:
		for _, k := range conf.Keywords() {
			if k.Block == block.name {
				items = append(items, s.item(k))
			}
		}
	case len(words) == 1, len(words) == 2 && !fresh:
		if k, _, ok := conf.Find(block.name, words[0]); ok {
			for _, v := range valuesOf(k.Args) {
				items = append(items, lspItem{Label: v, Kind: 12})
			}
		}
	}
	return items
}

func (s *lspServer) item(k conf.Keyword) lspItem {
	it := lspItem{Label: k.Name, Kind: 14, Detail: k.Args, Doc: explain(k)}
	if k.Opens {
		it.Kind = 22
	}
	if k.Opens && s.snippets {
		name := k.Name
		if k.Args != "" {
			name += " ${1:" + strings.NewReplacer(`\`, `\\`, "$", `\$`, "}", `\}`).Replace(k.Args) + "}"
		}
		it.Insert, it.Format = name+" {\n\t$0\n}", 2
	}
	return it
}

// valuesOf are the words that an argument may be, if it is one of a few: MASTER|BACKUP, [BOOL].
func valuesOf(args string) []string {
	first, _, _ := strings.Cut(args, " ")
	first = strings.Trim(first, "[]")
	if first == "BOOL" {
		return []string{"true", "false"}
	}
	if !strings.Contains(first, "|") {
		return nil
	}
	return strings.Split(first, "|")
}

// formatting replaces the whole text by its canonical layout.
func (s *lspServer) formatting(d *lspDocument, _ lspPosition) any {
	out := conf.Format(d.text)
	if out == d.text {
		return []lspEdit{}
	}
	f := conf.Parse(d.name, d.text)
	last := f.Lines()
	end := lspPosition{last - 1, s.units.of(f.Line(last), len(f.Line(last)))}
	return []lspEdit{{lspRange{lspPosition{}, end}, out}}
}

// cursor is a place in a text: line and character from 1, between the character before and this one.
type cursor struct{ line, col int }

// after tells whether the cursor is behind the first character of a token.
func (c cursor) after(t *conf.Token) bool {
	return t.Line < c.line || t.Line == c.line && t.Col < c.col
}

// place is the kind of block that something is in.
type place struct {
	name   string // as the keyword table has it
	values bool   // it holds values, no keywords; or nobody knows what
}

// find gives the block that the cursor is in and the statement that it is on, or nil.
func (c cursor) find(nodes []*conf.Node, in place) (place, *conf.Node) {
	for _, n := range nodes {
		if c.word(n) != nil {
			return in, n
		}
		if n.Open == nil || !c.after(n.Open) || n.Close != nil && c.after(n.Close) {
			continue
		}
		inner := place{values: true}
		if kw := keywordOf(n); kw != nil {
			if _, name, ok := conf.Find(in.name, kw.Text); ok && !in.values {
				inner = place{name, name == ""}
			}
		}
		return c.find(n.Body, inner)
	}
	return in, nil
}

// word gives the word of a statement that the cursor touches, or nil.
func (c cursor) word(n *conf.Node) *conf.Token {
	for i := range n.Words {
		w := &n.Words[i]
		if w.Line == c.line && w.Col <= c.col && c.col <= w.Col+utf8.RuneCountInString(w.Raw) {
			return w
		}
	}
	return nil
}

// keywordOf is the word that says what a statement is: the first one that is not a condition.
func keywordOf(n *conf.Node) *conf.Token {
	for i := range n.Words {
		if !strings.HasPrefix(n.Words[i].Text, "@") {
			return &n.Words[i]
		}
	}
	return nil
}
