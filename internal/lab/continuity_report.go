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
	Round      int                       `json:"round"` // 0: before the first, or between or after them
	Name       string                    `json:"name"`
	Host       string                    `json:"host,omitempty"` // the director to which it is done
	ByHand     bool                      `json:"by_hand,omitempty"`
	From       time.Time                 `json:"from"`
	To         time.Time                 `json:"to"`
	Open       map[string]int            `json:"open"`  // at its begin, by kind
	Began      map[string]int            `json:"began"` // by kind
	Answers    map[string]int            `json:"answers"`
	LongestMS  map[string]float64        `json:"longest_ms"`            // that an answer took
	Broken     map[string]map[string]int `json:"broken"`                // by kind and cause
	TakeoverMS float64                   `json:"takeover_ms,omitempty"` // until the other director was master; it is looked at every 50 ms
	LagMS      float64                   `json:"lag_ms,omitempty"`      // that the director announced before it died
	Young      int                       `json:"young"`                 // of the broken, those that began when less than that was left to its end, or later
	Which      []BrokenConn              `json:"which,omitempty"`       // of the broken, the first mostNamed
	OK         bool                      `json:"ok"`
	Why        []string                  `json:"why,omitempty"`

	young      bool // a director ends at once: what it has not told yet may break
	lag        time.Duration
	died, gone time.Time // gone: when the other one was master, or should have been
	idle       bool      // between two acts of a scene that somebody watches
	final      bool      // its figures
}

// youngest is the part of all connections that may break at a director's sudden end because it had not told of them: under one in so many.
const youngest = 1000

// mostNamed is how many of a step's broken connections are named one by one.
const mostNamed = 20

// first is from when on what waits for an answer is the step's matter: what is in flight when a director dies is so, and young.
func (s *ContinuityStep) first() time.Time {
	if young := s.died.Add(-s.lag); s.young && young.Before(s.From) {
		return young
	}
	return s.From
}

// fill computes a step's figures from what was heard. If next is nil, there is no step behind it yet.
func (s *ContinuityStep) fill(heard []CrowdReport, next *ContinuityStep) {
	s.empty()
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

// empty makes a step one in which nothing has happened.
func (s *ContinuityStep) empty() {
	s.Open, s.Began, s.Answers, s.LongestMS, s.Broken, s.Young = map[string]int{}, map[string]int{}, map[string]int{}, map[string]float64{}, map[string]map[string]int{}, 0
	s.Which = nil
}

// add takes another step's figures to a step's own.
func (s *ContinuityStep) add(o ContinuityStep) {
	s.OK = s.OK && o.OK
	s.Young += o.Young
	s.TakeoverMS = max(s.TakeoverMS, o.TakeoverMS)
	for _, kind := range Kinds {
		s.Open[kind] += o.Open[kind]
		s.Began[kind] += o.Began[kind]
		s.Answers[kind] += o.Answers[kind]
		s.LongestMS[kind] = max(s.LongestMS[kind], o.LongestMS[kind])
		for cause, n := range o.Broken[kind] {
			if s.Broken[kind] == nil {
				s.Broken[kind] = map[string]int{}
			}
			s.Broken[kind][cause] += n
		}
	}
}

func (s *ContinuityStep) book(b BrokenConn) {
	if s.Broken[b.Kind] == nil {
		s.Broken[b.Kind] = map[string]int{}
	}
	s.Broken[b.Kind][b.Cause]++
	if len(s.Which) < mostNamed {
		s.Which = append(s.Which, b)
	}
	if s.young && b.Began.After(s.died.Add(-s.lag)) && b.Began.Before(s.gone) {
		s.Young++
	}
}

// Dies tells whether a director ends at once in it, so that what it has not told yet may break.
func (s *ContinuityStep) Dies() bool { return s.young }

// Broke is how many connections did.
func (s *ContinuityStep) Broke() (n int) {
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

func (c *continuity) judge() { c.report = c.judged(c.report, nil, c.said()) }

// judged is a report with figures and verdicts: nothing broke, but for what was younger than the lag when a director was killed or cut off, and
// of that next to nothing. now is the step behind the last one, if there is any. What a person does is counted, and not judged.
func (c *continuity) judged(r ContinuityReport, now *ContinuityStep, heard []CrowdReport) ContinuityReport {
	r.Steps, r.Why = slices.Clone(r.Steps), slices.Clone(r.Why)
	played := 0
	for i := range r.Steps {
		s, next := &r.Steps[i], now
		if i+1 < len(r.Steps) {
			next = &r.Steps[i+1]
		}
		if !s.final {
			s.fill(heard, next)
		}
		s.Why = c.complaints(s)
		s.OK = len(s.Why) == 0
		if s.ByHand || s.idle {
			continue
		}
		played++
		r.OK = s.OK && (r.OK || played == 1)
		if s.young {
			r.Young += s.Young
			r.OfYoung += total(s.Open) + total(s.Began)
		}
	}
	r.OK = r.OK && len(r.Why) == 0 && played > 1
	if r.Young > 1 && r.Young*youngest >= r.OfYoung {
		r.OK = false
		r.Why = append(r.Why, fmt.Sprintf("%d of %d connections broke when a director was killed or cut off: more than one in %d", r.Young, r.OfYoung, youngest))
	}
	return r
}

// complaints are what did not hold in a step, beside what was known before.
func (c *continuity) complaints(s *ContinuityStep) []string {
	why := slices.Clone(s.Why)
	if n := s.Broke() - s.Young; n > 0 {
		why = append(why, fmt.Sprintf("%d connections broke", n))
	}
	if s.ByHand || s.idle { // which may be over before there is any
		return why
	}
	for _, kind := range Kinds {
		if want := map[string]int{KindDownload: c.cfg.Downloads, KindSession: c.cfg.Sessions, KindShort: c.cfg.PerSecond}[kind]; want > 0 && s.Answers[kind] == 0 {
			why = append(why, "no answer to any "+kind)
		}
	}
	return why
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
	rows := [][]string{{"step", "times", "connections", "answers", "longest", "takeover", CauseReset, CauseStall, CauseRefused, "other", "young", ""}}
	for _, s := range r.summary() {
		other := s.Broke()
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
		takeover := ""
		if s.TakeoverMS > 0 {
			takeover = fmt.Sprintf("%.0f ms", s.TakeoverMS)
		}
		rows = append(rows, []string{s.label(), fmt.Sprint(s.Round), fmt.Sprint(total(s.Open) + total(s.Began)), fmt.Sprint(total(s.Answers)), fmt.Sprintf("%.0f ms", longest), takeover,
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

// label is a step's name in a table.
func (s *ContinuityStep) label() string {
	if s.ByHand {
		return s.Name + " by hand"
	}
	return s.Name
}

// summary has one step for all of a name; its Round is how many there were.
func (r ContinuityReport) summary() (all []ContinuityStep) {
	for _, s := range r.Steps {
		at := slices.IndexFunc(all, func(o ContinuityStep) bool { return o.label() == s.label() })
		if at < 0 {
			at = len(all)
			all = append(all, ContinuityStep{Name: s.Name, ByHand: s.ByHand, OK: true})
			all[at].empty()
		}
		all[at].Round++
		all[at].add(s)
	}
	return all
}

// Complaints lists what did not hold, each with its step.
func (r ContinuityReport) Complaints() []string {
	out := slices.Clone(r.Why)
	for _, s := range r.Steps {
		for _, why := range s.Why {
			out = append(out, fmt.Sprintf("round %d, %s: %s (%s)", s.Round, s.label(), why, s.words()))
		}
	}
	return out
}
