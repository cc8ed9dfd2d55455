package bpf

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// figure is one measured number: ns per packet above what the generator of its frames costs.
type figure struct {
	what
	Flows   int     `json:"flows"`
	Net     float64 `json:"net_ns"`            // of the round that was disturbed least
	Median  float64 `json:"median_ns"`         // of all rounds
	OfFloor float64 `json:"over_floor"`        // net, in nets of the floor, of the same run
	Refused string  `json:"refused,omitempty"` // instead of a figure: what became of such a packet
}

// pathTable is all figures of a run.
type pathTable struct {
	flows   []int
	figures []figure
}

// measure fills a table with that many connections and measures all rows on it.
func (t *pathTable) measure(b *testing.B, flows int, six bool) {
	b.Helper()
	if !slices.Contains(t.flows, flows) {
		t.flows = append(t.flows, flows)
	}
	wanted, err := regexp.Compile(*benchRows)
	if err != nil {
		b.Fatalf("-rows: %v", err)
	}
	n := newBench(b, flows, six)
	defer n.object.Close()
	var rows []*row
	for i, r := range n.rows() {
		if i > 1 && r.what.Packet != emptyHarness && !wanted.MatchString(r.String()) {
			continue
		}
		if why, ok := r.works(); !ok {
			t.figures = append(t.figures, figure{what: r.what, Flows: flows, Refused: why.name()})
			continue
		}
		rows = append(rows, r)
	}
	for range *benchRounds {
		for _, r := range rows {
			before := r.reasonCounts()
			r.measure()
			r.counted(before)
		}
	}
	empty, there := rows[0], rows[0]
	floor := max(rows[1].least()-empty.least(), 1)
	for _, r := range rows {
		if r.what.Packet == emptyHarness {
			there = r
		}
		// A tunnel's bytes are taken off again by the generator, of several packets at once: that part of what there and back costs.
		off := 0.0
		if r.way.longer != 0 {
			off = (there.least() - empty.least()) / float64(1+n.atOnce(r.way))
		}
		net := r.least() - empty.least() - off
		t.figures = append(t.figures, figure{what: r.what, Flows: flows, Net: net, Median: r.median() - empty.median() - off, OfFloor: net / floor})
	}
}

// counted fails if the round's packets were not what the row is about.
func (r *row) counted(before [LbReasonREASONS]uint64) {
	r.Helper()
	want := r.reason()
	if want == LbReasonREASONS {
		return
	}
	packets := uint64(hitsPerRound)
	if r.fresh {
		packets = firstsPerRound
	}
	if got := r.reasonCounts()[want] - before[want]; got != packets {
		r.Fatalf("%v: %d of %d packets were counted as %s", r, got, packets, want.name())
	}
}

func (t *pathTable) find(w what, flows int) (figure, bool) {
	i := slices.IndexFunc(t.figures, func(f figure) bool { return f.what == w && f.Flows == flows })
	if i < 0 {
		return figure{}, false
	}
	return t.figures[i], true
}

// print shows a line for each thing and a column for each number of flows.
func (t *pathTable) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprint(w, "\nns per packet above the empty harness\t")
	for _, n := range t.flows {
		fmt.Fprintf(w, "%s\t", shortCount(n))
	}
	fmt.Fprintln(w, "flows\t")
	var done []what
	for _, f := range t.figures {
		if slices.Contains(done, f.what) || f.Packet == emptyHarness {
			continue
		}
		done = append(done, f.what)
		fmt.Fprintf(w, "%s\t", strings.Join(strings.Fields(f.Family+" "+f.Method+" "+f.Packet), " "))
		for _, n := range t.flows {
			if f, ok := t.find(f.what, n); ok && f.Refused == "" {
				fmt.Fprintf(w, "%.0f\t", f.Net)
			} else {
				fmt.Fprintf(w, "%s\t", f.Refused)
			}
		}
		fmt.Fprintln(w, "\t")
	}
}

func shortCount(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d M", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d k", n>>10)
	}
	return fmt.Sprint(n)
}

// report gives the figures to the testing package, for benchstat.
func (t *pathTable) report(b *testing.B) {
	for _, f := range t.figures {
		if f.Packet != emptyHarness && f.Refused == "" {
			name := strings.Join(strings.Fields(f.Family+" "+f.Method+" "+f.Packet+" "+shortCount(f.Flows)), "-")
			b.ReportMetric(f.Net, strings.NewReplacer(",", "", ":", "").Replace(name)+"-ns")
		}
	}
}

// save writes the figures, and what they were measured on, as JSON.
func (t *pathTable) save(file string) error {
	if file == "" {
		return nil
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	out, err := json.MarshalIndent(map[string]any{
		"kernel": unix.ByteSliceToString(u.Release[:]), "cpu": cpuModel(), "cpus": runtime.NumCPU(), "figures": t.figures,
	}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // an empty name says it too
	_, after, _ := strings.Cut(string(text), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}
