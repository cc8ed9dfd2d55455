package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// Report is what a play came to; --json writes it as it stands.
type Report struct {
	Steps   []StepReport `json:"steps"`
	OK      bool         `json:"ok"`
	Why     []string     `json:"why,omitempty"` // what did not hold outside of a step
	Started time.Time    `json:"started"`
	Seconds float64      `json:"seconds"`
	Active  string       `json:"active,omitempty"`  // director that is master at the end
	Holders []string     `json:"holders,omitempty"` // directors whose host has the virtual IP at the end
	// Connections is `ipvsadm -lcn` of the active director at the end.
	Connections string      `json:"connections,omitempty"`
	User        *UserReport `json:"user,omitempty"`  // of a lab with a forum
	Mails       []Mail      `json:"mails,omitempty"` // that the lab's mail server has taken
}

// Phase is a stretch of a step.
type Phase struct {
	Requests     int            `json:"requests"`
	Failed       int            `json:"failed"`
	LongestGapMS float64        `json:"longest_gap_ms"`
	ByReal       map[string]int `json:"by_real"`
	ByProxy      map[string]int `json:"by_proxy,omitempty"`
	ByError      map[string]int `json:"by_error,omitempty"`
	Known        int            `json:"known_client,omitempty"` // answers that named the client's own address
	Seconds      float64        `json:"seconds"`
}

// StepReport is one step of the play.
type StepReport struct {
	Name string `json:"name"`
	Phase
	Before  *Phase   `json:"before,omitempty"`   // until the step could begin: a check had to find out first
	BoundMS float64  `json:"bound_ms,omitempty"` // of the longest gap
	Clients int      `json:"clients"`            // addresses that sent
	Moved   int      `json:"moved"`              // of these, answered by more than one real server
	OK      bool     `json:"ok"`
	Why     []string `json:"why,omitempty"` // what did not hold
}

// phase puts figures into a report. Every real server of the site stands in it, so that a zero can be seen.
func (s Site) phase(f Figures, d time.Duration) Phase {
	p := Phase{Requests: f.Requests, Failed: f.Failed, LongestGapMS: millis(f.LongestGap), ByReal: map[string]int{},
		ByProxy: f.ByProxy, Known: f.Known, ByError: f.ByError, Seconds: float64(d.Milliseconds()) / 1000}
	for _, a := range s.Reals {
		p.ByReal[a.String()] = 0
	}
	for real, n := range f.ByReal {
		p.ByReal[real] = n
	}
	for host := range s.Proxies {
		p.ByProxy[host] = f.ByProxy[host]
	}
	return p
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// WriteJSON writes the report to a file, whole or not at all.
func (r Report) WriteJSON(path string) error {
	if r.Steps == nil {
		r.Steps = []StepReport{} // a reader finds a list, not null
	}
	return writeJSON(path, r)
}

func writeJSON(path string, report any) error {
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(data, '\n'))
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}

// WriteTable prints the report for a person: one line a step, then what did not hold.
func (r Report) WriteTable(w io.Writer) error {
	reals := r.reals()
	rows := [][]string{append(append([]string{"step", "seconds", "requests", "failed", "longest gap"}, reals...), "")}
	for _, s := range r.Steps {
		if s.Before != nil {
			rows = append(rows, row("  until then", *s.Before, reals, ""))
		}
		rows = append(rows, row(s.Name, s.Phase, reals, s.verdict()))
	}
	if _, err := io.WriteString(w, table(rows)); err != nil {
		return err
	}
	for _, why := range r.Complaints() {
		fmt.Fprintln(w, "not held:", why)
	}
	r.writeProxies(w)
	if r.User != nil {
		writeUser(w, *r.User)
	}
	if len(r.Mails) > 0 {
		fmt.Fprintln(w, "\nmails to the operator:")
	}
	for _, m := range r.Mails {
		fmt.Fprintf(w, "  %s  %-9s  %s\n", m.At.Local().Format(time.TimeOnly), m.Director, m.Subject)
	}
	return nil
}

// writeProxies says through whom answers came, and whether real servers knew for whom.
func (r Report) writeProxies(w io.Writer) {
	head := false
	for _, s := range r.Steps {
		if len(s.ByProxy) == 0 {
			continue
		}
		if !head {
			fmt.Fprintln(w, "\nthrough HAProxy, and how many answers named the client's own address:")
			head = true
		}
		line := fmt.Sprintf("  %-18s", s.Name)
		for _, host := range slices.Sorted(maps.Keys(s.ByProxy)) {
			line += fmt.Sprintf(" %s %4d ", host, s.ByProxy[host])
		}
		fmt.Fprintf(w, "%s %4d of %d\n", line, s.Known, s.Requests-s.Failed)
	}
}

func writeUser(w io.Writer, u UserReport) {
	fmt.Fprintf(w, "\na user (%s) logged in on %s and wrote a topic with an attachment of %d KiB:\n", u.Address, u.LoggedInOn, u.Attachment>>10)
	for _, c := range u.Checks {
		found := "logged in, topic and attachment there"
		if why := c.Why(); len(why) > 0 {
			found = strings.Join(why, ", ")
		}
		from := ""
		if c.FileServer != "" && c.FileServer != c.Server {
			from = ", attachment by " + c.FileServer
		}
		fmt.Fprintf(w, "  %-18s answered by %-11s in %4.0f ms%s: %s\n", c.When, c.Server, c.MS, from, found)
	}
}

// table lays rows out: the first and the last column to the left, figures to the right.
func table(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i > 0 && i < len(row)-1 {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

func (s StepReport) verdict() string {
	switch {
	case !s.OK:
		return "NOT HELD"
	case s.BoundMS > 0:
		return fmt.Sprintf("held (%.0f ms allowed)", s.BoundMS)
	}
	return "held"
}

func row(name string, p Phase, reals []string, verdict string) []string {
	out := []string{name, fmt.Sprintf("%.1f", p.Seconds), fmt.Sprint(p.Requests), fmt.Sprint(p.Failed), fmt.Sprintf("%.0f ms", p.LongestGapMS)}
	for _, real := range reals {
		share := "-"
		if ok := p.Requests - p.Failed; ok > 0 {
			share = fmt.Sprintf("%d (%.0f %%)", p.ByReal[real], 100*float64(p.ByReal[real])/float64(ok))
		}
		out = append(out, share)
	}
	return append(out, verdict)
}

// reals lists every real server that any step knows, sorted.
func (r Report) reals() []string {
	seen := map[string]bool{}
	for _, s := range r.Steps {
		for real := range s.ByReal {
			seen[real] = true
		}
	}
	out := make([]string, 0, len(seen))
	for real := range seen {
		out = append(out, real)
	}
	sort.Strings(out)
	return out
}

// Complaints lists what did not hold, each with its step.
func (r Report) Complaints() []string {
	out := append([]string{}, r.Why...)
	for _, s := range r.Steps {
		for _, why := range s.Why {
			out = append(out, s.Name+": "+why)
		}
	}
	return out
}
