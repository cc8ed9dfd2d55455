package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

func newMigrateCommand(env Env) *cobra.Command {
	var output, id string
	cmd := &cobra.Command{
		Use:   "migrate FILE",
		Short: "Report what becomes of a keepalived.conf under vipd: what works, what differs, what has no effect",
		Long: `Report, for a person who runs keepalived with FILE today, what becomes of each of its lines under vipd: what works,
what differs, what has no effect and why, what is not done yet; and the verdict. FILE is not changed, and the host is
not asked.

Exit codes: 0 ready; 1 ready, with differences to read; 2 not ready: something that FILE asks for is not done, or
keepalived would not start with it either.`,
		Args: mistaken(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			print, ok := map[string]func(io.Writer, *migration) error{"text": printMigration, "json": printMigrationJSON}[output]
			if !ok {
				return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("-o %q: want text or json", output)}
			}
			s, err := openSource(env, args[0])
			if err != nil {
				return &daemon.Failure{Code: exitUsage, Err: err}
			}
			m := newMigration(s, env.reading(id))
			if err := print(env.Stdout, m); err != nil {
				return err
			}
			return exitWith(m.exit)
		},
	}
	cmd.SetFlagErrorFunc(mistakenFlag)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVarP(&id, "config-id", "i", "", "read the file as the director of this name does (lines with @NAME)")
	return cmd
}

// migration is the report of vipd migrate.
type migration struct {
	File    string           `json:"file"`
	Verdict string           `json:"verdict"` // ready, differences, not ready
	Say     []string         `json:"say"`     // the verdict in sentences
	Groups  []migrationGroup `json:"groups"`
	exit    int
}

// migrationGroup is a kind of news about lines.
type migrationGroup struct {
	Kind  string          `json:"kind"` // refused, planned, differs, mistaken, without-effect, works
	Title string          `json:"title"`
	Items []migrationItem `json:"items"`
}

// migrationItem is one keyword, or one message, with the lines that it is about.
type migrationItem struct {
	What  string   `json:"what"`
	Say   string   `json:"say,omitempty"`
	Next  string   `json:"next,omitempty"`
	Lines []string `json:"lines"` // "12", or "FILE:12" in an included file
}

// The groups, in the order of the report.
const (
	groupRefused = iota
	groupPlanned
	groupDiffers
	groupMistaken
	groupInert
	groupWorks
)

func newMigration(s *source, opts conf.Options) *migration {
	m := &migration{File: s.shown, Groups: []migrationGroup{
		{Kind: "refused", Title: "Keepalived does not start with this, and neither does vipd"},
		{Kind: "planned", Title: "Not done by this version"},
		{Kind: "differs", Title: "Works, and differs from keepalived"},
		{Kind: "mistaken", Title: "Not as it was written or meant, in keepalived too"},
		{Kind: "without-effect", Title: "Accepted without effect"},
		{Kind: "works", Title: "Works as in keepalived"},
	}}
	c := conf.Check(s, s.name, opts)
	for _, d := range c.Diagnostics {
		m.diagnostic(s, s.relative(d))
	}
	conf.Outline(s, s.name, opts, func(st *conf.Statement) { m.statement(s, st, "") })
	m.judge()
	return m
}

// ownCodes are diagnostics that say what vipd does otherwise than keepalived, in its words or not.
var ownCodes = map[string]bool{"nb-get-retry": true, "duplicate-vip": true, "duplicate-service": true, "zero-mark": true}

// unusedCodes are those that the keyword table says better, or that a migration does not need.
var unusedCodes = map[string]bool{"not-yet": true, "no-effect": true, "timers": true,
	"weight-reach": true, "check-long": true, "state-no-effect": true}

func (m *migration) diagnostic(s *source, d conf.Diagnostic) {
	group := groupMistaken
	switch {
	case d.Severity == conf.Error:
		group = groupRefused
	case ownCodes[d.Code]:
		group = groupDiffers
	case d.Code == "not-yet" && !ofKeyword(d.Text):
		group = groupPlanned
	case unusedCodes[d.Code]:
		return
	}
	line := strconv.Itoa(d.Line)
	if d.Line == 0 {
		line = "all"
	}
	if d.File != s.shown {
		line = d.File + ":" + line
	}
	next := d.Hint
	if next == "" && d.Expected != "" {
		next = "expected: " + d.Expected
	}
	m.add(group, migrationItem{d.Text, "", next, []string{line}})
}

// ofKeyword tells a message about a keyword as such, which the table of keywords says better, from one about its value.
func ofKeyword(text string) bool {
	name, ok := strings.CutSuffix(text, " is accepted without effect in this version")
	return ok && !strings.Contains(name, " ")
}

// statement puts a keyword and those in its block where they belong. What is in a block without effect goes with it.
func (m *migration) statement(s *source, st *conf.Statement, in string) {
	if !st.Known {
		for _, b := range st.Body {
			m.statement(s, b, in)
		}
		return
	}
	k := st.Keyword
	line := strconv.Itoa(st.Words[0].Line)
	if f := s.relative(conf.Diagnostic{File: st.File.Name}).File; f != s.shown {
		line = f + ":" + line
	}
	what := k.Name
	if in != "" {
		what = in + ": " + k.Name
	}
	group := map[conf.Effect]int{conf.Works: groupWorks, conf.Planned: groupPlanned, conf.Inert: groupInert}[k.Effect]
	say := ""
	if k.Effect != conf.Works {
		say = k.Text
	}
	switch {
	case k.Effect == conf.Inert && k.Why != "":
		say = k.Why
	case k.Effect == conf.Planned && k.Why != "":
		say += " " + k.Why + "."
	}
	if d, ok := migrationDifferences[k.Block+" "+k.Name]; ok && k.Effect == conf.Works {
		group, say = groupDiffers, d
	}
	m.add(group, migrationItem{what, say, "", []string{line}})
	if k.Effect == conf.Works {
		for _, b := range st.Body {
			if !b.Value {
				m.statement(s, b, k.Name)
			}
		}
	}
}

// migrationDifferences are keywords that work, and whose effect an administrator sees elsewhere than before.
var migrationDifferences = map[string]string{
	" virtual_server": "packets are forwarded by an XDP program on the interface, not by IPVS in the kernel: ipvsadm and /proc/net/ip_vs show nothing, vipd ipvsadm -ln and vipd status do",
}

// add joins items that say the same of other lines.
func (m *migration) add(group int, item migrationItem) {
	g := &m.Groups[group]
	for i := range g.Items {
		if o := &g.Items[i]; o.What == item.What && o.Say == item.Say && o.Next == item.Next {
			o.Lines = append(o.Lines, item.Lines...)
			return
		}
	}
	g.Items = append(g.Items, item)
}

// judge comes to the verdict.
func (m *migration) judge() {
	n := func(group int) int { return len(m.Groups[group].Items) }
	check := "vipd check " + m.File
	switch {
	case n(groupRefused) > 0:
		m.Verdict, m.exit = "not ready", 2
		m.Say = []string{"keepalived does not start with this file either.", "Next: correct what stands first above (" + check + " shows the lines)."}
	case n(groupPlanned) > 0:
		m.Verdict, m.exit = "not ready", 2
		m.Say = []string{fmt.Sprintf("%s that the file asks for %s not done by this version; everything else is read and runs.", countOf(n(groupPlanned), "thing"), map[bool]string{true: "is", false: "are"}[n(groupPlanned) == 1]),
			"Next: see under “Not done by this version” whether you depend on it. If not, the file can be used as it is."}
	case n(groupDiffers)+n(groupMistaken) > 0:
		m.Verdict, m.exit = "ready, with differences", 1
		m.Say = []string{"The file works as it is.", "Next: read what differs above, then stop keepalived and start: vipd run -f " + m.File}
	default:
		m.Verdict = "ready"
		m.Say = []string{"The file works as it is, and nothing in it differs.", "Next: stop keepalived, then start: vipd run -f " + m.File}
	}
	if m.exit < 2 {
		m.Say = append(m.Say, "Both must not run on one host at the same time: they would answer for the same addresses.")
	}
}

// printMigration prints for a person.
func printMigration(w io.Writer, m *migration) error {
	var b strings.Builder
	for i, g := range m.Groups {
		if len(g.Items) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", g.Title)
		if i == groupWorks {
			printWorks(&b, g.Items)
			continue
		}
		for _, it := range g.Items {
			fmt.Fprintf(&b, "  %s (%s)\n", it.What, linesOf(it.Lines))
			if it.Say != "" {
				fmt.Fprintf(&b, "      %s\n", it.Say)
			}
			if it.Next != "" {
				fmt.Fprintf(&b, "      → %s\n", it.Next)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Verdict on %s: %s\n", m.File, m.Verdict)
	for _, s := range m.Say {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	_, err := io.WriteString(w, strings.ReplaceAll(b.String(), "\x1b", "?"))
	return err
}

// printWorks prints what works block by block.
func printWorks(b *strings.Builder, items []migrationItem) {
	var order []string
	of := map[string][]string{}
	for _, it := range items {
		block, name, found := strings.Cut(it.What, ": ")
		if !found {
			block, name = "at the outer level", it.What
		}
		if of[block] == nil {
			order = append(order, block)
		}
		of[block] = append(of[block], fmt.Sprintf("%s (%s)", name, linesOf(it.Lines)))
	}
	for _, block := range order {
		fmt.Fprintf(b, "  %s: %s\n", block, strings.Join(of[block], ", "))
	}
	b.WriteString("\n")
}

// linesOf is a list of lines that a person can take in.
func linesOf(lines []string) string {
	const show = 8
	word := "line "
	if len(lines) > 1 {
		word = "lines "
	}
	if len(lines) == 1 && lines[0] == "all" {
		return "the whole file"
	}
	if len(lines) > show {
		return word + strings.Join(lines[:show], " ") + fmt.Sprintf(" and %d more", len(lines)-show)
	}
	return word + strings.Join(lines, " ")
}

func printMigrationJSON(w io.Writer, m *migration) error {
	for i := range m.Groups {
		if m.Groups[i].Items == nil {
			m.Groups[i].Items = []migrationItem{}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(m)
}
