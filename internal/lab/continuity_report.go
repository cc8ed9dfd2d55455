package lab

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// ContinuityReport is what became of connections while directors came and went; --json writes it as it stands.
type ContinuityReport struct {
	Steps      []ContinuityStep `json:"steps"`
	OK         bool             `json:"ok"`
	Why        []string         `json:"why,omitempty"`
	Started    time.Time        `json:"started"`
	Seconds    float64          `json:"seconds"`
	PatienceMS float64          `json:"patience_ms"` // that a client has for an answer
	Young      int              `json:"young"`       // that broke of what was younger than the announced lag when a director died …
	OfYoung    int              `json:"of_young"`    // … of so many connections that began in those steps or were open
}

// ContinuityStep is one step: what began and broke between its begin and that of the next.
type ContinuityStep struct {
	Round     int                       `json:"round"` // 0: before the first
	Name      string                    `json:"name"`
	From      time.Time                 `json:"from"`
	To        time.Time                 `json:"to"`
	Open      map[string]int            `json:"open"`  // at its begin, by kind
	Began     map[string]int            `json:"began"` // by kind
	Answers   map[string]int            `json:"answers"`
	LongestMS map[string]float64        `json:"longest_ms"`       // that an answer took
	Broken    map[string]map[string]int `json:"broken"`           // by kind and cause
	LagMS     float64                   `json:"lag_ms,omitempty"` // that the director announced before it died
	Young     int                       `json:"young"`            // of the broken, those that began when less than that was left to its end, or later
	OK        bool                      `json:"ok"`
	Why       []string                  `json:"why,omitempty"`

	young      bool
	lag        time.Duration
	died, gone time.Time
}

// youngest is the part of all connections that may break at a director's sudden end because it had not told of them: under one in so many.
const youngest = 1000

// first is from when on what waits for an answer is the step's matter: what is in flight when a director dies is so, and young.
func (s *ContinuityStep) first() time.Time {
	if young := s.died.Add(-s.lag); s.young && young.Before(s.From) {
		return young
	}
	return s.From
}

// fill computes a step's figures from all that was heard. If next is nil, there is no step behind it yet.
func (c *continuity) fill(s, next *ContinuityStep) {
	c.mu.Lock()
	heard := c.heard[:len(c.heard):len(c.heard)]
	c.mu.Unlock()
	s.Open, s.Began, s.Answers, s.LongestMS, s.Broken, s.Young = map[string]int{}, map[string]int{}, map[string]int{}, map[string]float64{}, map[string]map[string]int{}, 0
	for _, r := range heard {
		for _, b := range r.Broken {
			if !b.Waited.Before(s.first()) && b.Waited.Before(s.To) && (next == nil || b.Waited.Before(next.first())) {
				s.book(b)
			}
		}
		if r.At.Before(s.From) {
			s.Open = r.Open
		}
		if r.At.Before(s.From) || !r.At.Before(s.To) {
			continue
		}
		for _, kind := range Kinds {
			s.Began[kind] += r.Began[kind]
			s.Answers[kind] += r.Answers[kind]
			s.LongestMS[kind] = max(s.LongestMS[kind], millis(r.Longest[kind]))
		}
	}
}

func (s *ContinuityStep) book(b BrokenConn) {
	if s.Broken[b.Kind] == nil {
		s.Broken[b.Kind] = map[string]int{}
	}
	s.Broken[b.Kind][b.Cause]++
	if s.young && b.Began.After(s.died.Add(-s.lag)) && b.Began.Before(s.gone) {
		s.Young++
	}
}

func (s *ContinuityStep) broken() (n int) {
	for _, causes := range s.Broken {
		for _, of := range causes {
			n += of
		}
	}
	return n
}

func total(byKind map[string]int) (n int) {
	for _, of := range byKind {
		n += of
	}
	return n
}

// judge: nothing broke, but for what was younger than the lag when a director was killed or cut off, and of that next to nothing.
func (c *continuity) judge() {
	r := &c.report
	r.OK = len(r.Why) == 0 && len(r.Steps) > 1
	for i := range r.Steps {
		s := &r.Steps[i]
		var next *ContinuityStep
		if i+1 < len(r.Steps) {
			next = &r.Steps[i+1]
		}
		c.fill(s, next)
		if n := s.broken() - s.Young; n > 0 {
			s.Why = append(s.Why, fmt.Sprintf("%d connections broke", n))
		}
		for _, kind := range Kinds {
			if want := map[string]int{KindDownload: c.cfg.Downloads, KindSession: c.cfg.Sessions, KindShort: c.cfg.PerSecond}[kind]; want > 0 && s.Answers[kind] == 0 {
				s.Why = append(s.Why, "no answer to any "+kind)
			}
		}
		if s.young {
			r.Young += s.Young
			r.OfYoung += total(s.Open) + total(s.Began)
		}
		s.OK = len(s.Why) == 0
		r.OK = r.OK && s.OK
	}
	if r.Young > 1 && r.Young*youngest >= r.OfYoung {
		r.OK = false
		r.Why = append(r.Why, fmt.Sprintf("%d of %d connections broke when a director was killed or cut off: more than one in %d", r.Young, r.OfYoung, youngest))
	}
}

// words are a step's figures on a line.
func (s *ContinuityStep) words() string {
	var out []string
	for _, kind := range Kinds {
		if causes := s.Broken[kind]; len(causes) > 0 {
			for _, cause := range slices.Sorted(maps.Keys(causes)) {
				out = append(out, fmt.Sprintf("%d %ss: %s", causes[cause], kind, cause))
			}
		}
	}
	if len(out) == 0 {
		return "none broke"
	}
	return strings.Join(out, ", ")
}

// WriteJSON writes the report to a file, whole or not at all.
func (r ContinuityReport) WriteJSON(path string) error { return writeJSON(path, r) }

// WriteTable prints the report for a person: a line for each step of every round together, then what did not hold.
func (r ContinuityReport) WriteTable(w io.Writer) error {
	rows := [][]string{{"step", "times", "connections", "answers", "longest", CauseReset, CauseStall, CauseRefused, "other", "young", ""}}
	for _, s := range r.summary() {
		other := s.broken()
		causes := map[string]int{}
		for _, of := range s.Broken {
			for cause, n := range of {
				causes[cause] += n
			}
		}
		for _, cause := range []string{CauseReset, CauseStall, CauseRefused} {
			other -= causes[cause]
		}
		verdict := "held"
		if !s.OK {
			verdict = "NOT HELD"
		}
		longest := 0.0
		for _, ms := range s.LongestMS {
			longest = max(longest, ms)
		}
		rows = append(rows, []string{s.Name, fmt.Sprint(s.Round), fmt.Sprint(total(s.Open) + total(s.Began)), fmt.Sprint(total(s.Answers)), fmt.Sprintf("%.0f ms", longest),
			fmt.Sprint(causes[CauseReset]), fmt.Sprint(causes[CauseStall]), fmt.Sprint(causes[CauseRefused]), fmt.Sprint(other), fmt.Sprint(s.Young), verdict})
	}
	if _, err := io.WriteString(w, table(rows)); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d of %d connections broke that were younger than the announced lag when a director was killed or cut off.\n", r.Young, r.OfYoung)
	for _, why := range r.Complaints() {
		fmt.Fprintln(w, "not held:", why)
	}
	return nil
}

// summary has one step for all of a name; its Round is how many there were.
func (r ContinuityReport) summary() (all []ContinuityStep) {
	for _, s := range r.Steps {
		at := slices.IndexFunc(all, func(o ContinuityStep) bool { return o.Name == s.Name })
		if at < 0 {
			at = len(all)
			all = append(all, ContinuityStep{Name: s.Name, OK: true, Open: map[string]int{}, Began: map[string]int{}, Answers: map[string]int{}, LongestMS: map[string]float64{}, Broken: map[string]map[string]int{}})
		}
		sum := &all[at]
		sum.Round++
		sum.OK = sum.OK && s.OK
		sum.Young += s.Young
		for _, kind := range Kinds {
			sum.Open[kind] += s.Open[kind]
			sum.Began[kind] += s.Began[kind]
			sum.Answers[kind] += s.Answers[kind]
			sum.LongestMS[kind] = max(sum.LongestMS[kind], s.LongestMS[kind])
			for cause, n := range s.Broken[kind] {
				if sum.Broken[kind] == nil {
					sum.Broken[kind] = map[string]int{}
				}
				sum.Broken[kind][cause] += n
			}
		}
	}
	return all
}

// Complaints lists what did not hold, each with its step.
func (r ContinuityReport) Complaints() []string {
	out := slices.Clone(r.Why)
	for _, s := range r.Steps {
		for _, why := range s.Why {
			out = append(out, fmt.Sprintf("round %d, %s: %s (%s)", s.Round, s.Name, why, s.words()))
		}
	}
	return out
}
