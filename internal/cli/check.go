package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

// Exit codes of vipd check.
const (
	exitWarnings = 1
	exitErrors   = 2
)

type checkOptions struct {
	output       string
	id           string
	strict       bool
	quiet        bool
	asKeepalived bool
	noHost       bool
}

func newCheckCommand(env Env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Say everything that is wrong with a configuration, at once",
		Long: `Say everything that is wrong with a configuration, at once: each with file:line:column, the line itself, a code that
stays, and what to do about it. Beyond the language it looks for what only a reader who knows the field sees, and works
out how long clients wait when a director or a real server dies.

Two files are compared as those of the two directors of a site: priorities, passwords, intervals, addresses, services.
So is one file in which lines with @NAME tell the directors apart, unless --config-id says which of them reads it.

It needs no root and asks the host nothing: the answer is the same on a laptop. "-" reads the standard input.

Exit codes: 0 nothing is wrong (there may be notices); 1 warnings: the daemon starts, but something is not as it was
written or meant; 2 errors: neither keepalived nor vipd starts with it. With --as-keepalived, those of keepalived -t.

--as-keepalived alone asks this machine for interfaces, users and the files of scripts, since keepalived does.`,
		Args: mistaken(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return runCheck(env, o, args) },
	}
	cmd.SetFlagErrorFunc(mistakenFlag)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "text", "text, json or sarif")
	f.StringVarP(&o.id, "config-id", "i", "", "read the file as the director of this name does (lines with @NAME)")
	f.BoolVar(&o.strict, "strict", false, "treat every warning as an error")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no notices, no summary")
	f.BoolVar(&o.asKeepalived, "as-keepalived", false, "print what keepalived -t prints on this machine, with its exit codes")
	f.BoolVar(&o.noHost, "no-host", false, "with --as-keepalived: do not ask this machine; every interface, user and script is there")
	return cmd
}

// mistaken makes a mistake in the command line exit 2, where 1 has a meaning of its own.
func mistaken(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := args(cmd, list); err != nil {
			return mistakenFlag(cmd, err)
		}
		return nil
	}
}

func mistakenFlag(cmd *cobra.Command, err error) error {
	return &daemon.Failure{Code: exitUsage, Err: err, Hint: "usage: " + cmd.UseLine()}
}

func runCheck(env Env, o checkOptions, args []string) error {
	if o.asKeepalived {
		if len(args) != 1 || o.output != "text" {
			return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("--as-keepalived takes one FILE and prints text only")}
		}
		host := conf.TestOptions{}
		if !o.noHost {
			host = thisHost()
		}
		host.ID = o.id
		return exitWith(testAsKeepalived(env, args[0], host, env.Stderr))
	}
	print, ok := map[string]func(io.Writer, *checkReport) error{"text": printCheck, "json": printCheckJSON, "sarif": printCheckSARIF}[o.output]
	if !ok {
		return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("-o %q: want text, json or sarif", o.output)}
	}
	r := checkFiles(env, o, args)
	if err := print(env.Stdout, r); err != nil {
		return err
	}
	return exitWith(r.exit())
}

func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return &exitCode{code}
}

// checkReport is what vipd check found.
type checkReport struct {
	Files       []string          `json:"files"`
	Errors      int               `json:"errors"`
	Warnings    int               `json:"warnings"`
	Notices     int               `json:"notices"`
	Diagnostics []checkDiagnostic `json:"diagnostics"`

	quiet bool
}

// checkDiagnostic is a conf.Diagnostic for programs. Lines and columns count from 1, columns in characters; 0 is none.
type checkDiagnostic struct {
	Severity string   `json:"severity"` // notice, warning or error
	Code     string   `json:"code"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Width    int      `json:"width"`
	Text     string   `json:"text"`
	More     []string `json:"more,omitempty"`
	Expected string   `json:"expected,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	Source   string   `json:"source,omitempty"`

	of conf.Diagnostic
}

// checkFiles checks each file, and every two of them against each other.
func checkFiles(env Env, o checkOptions, args []string) *checkReport {
	r := &checkReport{Files: args, Diagnostics: []checkDiagnostic{}, quiet: o.quiet}
	var done []*conf.Checked
	var sources []*source
	for _, arg := range args {
		s, err := openSource(env, arg)
		if err != nil {
			r.add(conf.Diagnostic{Severity: conf.Error, Code: "unreadable-file", File: arg, Text: err.Error()})
			continue
		}
		opts := env.reading(o.id)
		opts.Strict = o.strict
		c := conf.Check(s, s.name, opts)
		if names := c.Directors(); o.id == "" && len(names) > 1 {
			r.directors(s, opts, names)
			continue
		}
		for _, d := range c.Diagnostics {
			r.add(s.relative(d))
		}
		for i, other := range done {
			for _, d := range compared(other, c, o.strict) {
				r.add(s.relative(sources[i].relative(d)))
			}
		}
		done, sources = append(done, c), append(sources, s)
	}
	return r
}

func (r *checkReport) add(d conf.Diagnostic) {
	switch d.Severity {
	case conf.Error:
		r.Errors++
	case conf.Warning:
		r.Warnings++
	default:
		if r.quiet {
			return
		}
		r.Notices++
	}
	r.Diagnostics = append(r.Diagnostics, checkDiagnostic{d.Severity.String(), d.Code, d.File, d.Line, d.Col, d.Width, d.Text, d.More, d.Expected, d.Hint, d.Source, d})
}

func (r *checkReport) exit() int {
	switch {
	case r.Errors > 0:
		return exitErrors
	case r.Warnings > 0:
		return exitWarnings
	}
	return 0
}

// printCheck prints for a person: file:line:column, as editors and compilers have it, then the line with a caret, then
// what to do.
func printCheck(w io.Writer, r *checkReport) error {
	var b strings.Builder
	for _, d := range r.Diagnostics {
		b.WriteString(placed(d.of))
	}
	if !r.quiet {
		fmt.Fprintf(&b, "%s: %s\n", countOf(len(r.Files), "file"), r.summary())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// placed is a diagnostic with its place in front.
func placed(d conf.Diagnostic) string {
	place := d.File
	if d.Line > 0 {
		place += fmt.Sprintf(":%d", d.Line)
	}
	if d.Col > 0 {
		place += fmt.Sprintf(":%d", d.Col)
	}
	if d.Code == "unreadable-file" {
		place = "" // the text names it
	} else {
		place += ": "
	}
	first, rest, _ := strings.Cut(d.Long(), "\n")
	if at := fmt.Sprintf("(%s: Line %d) ", d.File, d.Line); d.Line > 0 {
		first = strings.Replace(first, at, "", 1)
	}
	return place + first + "\n" + rest
}

// summary is one line about everything.
func (r *checkReport) summary() string {
	if r.Errors+r.Warnings == 0 {
		return "nothing is wrong, " + countOf(r.Notices, "notice")
	}
	return countOf(r.Errors, "error") + ", " + countOf(r.Warnings, "warning") + ", " + countOf(r.Notices, "notice")
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func printCheckJSON(w io.Writer, r *checkReport) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
