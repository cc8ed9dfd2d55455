package cli

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

// The types below are the part of SARIF 2.1.0 (OASIS) that code hosts and editors read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"semanticVersion,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Text sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule      string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region *sarifRegion `json:"region,omitempty"`
	}
	sarifRegion struct {
		Line      int `json:"startLine"`
		Column    int `json:"startColumn,omitempty"`
		EndColumn int `json:"endColumn,omitempty"`
	}
)

func printCheckSARIF(w io.Writer, r *checkReport) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "vipd", Rules: []sarifRule{}}
	if v := daemon.Version(); strings.Count(v, ".") == 2 {
		run.Tool.Driver.Version = strings.TrimPrefix(v, "v")
	}
	rules := map[string]int{}
	for _, d := range r.Diagnostics {
		i, ok := rules[d.Code]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			rules[d.Code] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{d.Code, sarifText{conf.CodeText(d.Code)}})
		}
		run.Results = append(run.Results, d.sarif(i))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func (d *checkDiagnostic) sarif(rule int) sarifResult {
	level := map[string]string{"notice": "note"}[d.Severity]
	if level == "" {
		level = d.Severity
	}
	text := strings.Join(append([]string{d.Text}, d.More...), "\n")
	if d.Expected != "" {
		text += "\nExpected: " + d.Expected
	}
	if d.Hint != "" {
		text += "\nHint: " + d.Hint
	}
	var at sarifLocation
	at.Physical.Artifact.URI = fileURI(d.File)
	if d.Line > 0 {
		at.Physical.Region = &sarifRegion{Line: d.Line, Column: d.Column}
		if d.Column > 0 {
			at.Physical.Region.EndColumn = d.Column + d.Width
		}
	}
	return sarifResult{d.Code, rule, level, sarifText{text}, []sarifLocation{at}}
}

// fileURI is a relative reference for a relative name, and a file URI for an absolute one.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
