package page

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"vipd/internal/lab"
)

// Played is the scene of open connections as a page shows and plays it; *lab.LiveContinuity is one.
type Played interface {
	Moment() lab.ContinuityMoment
	// Do does to a director what a button says: stop, kill, cut, plug, start or restart.
	Do(host, what string) error
	Play(rounds int) error
	Enough() error // ends what Play began, after the present step
}

// ContinuityHandler serves the page of the scene of open connections.
func ContinuityHandler(p Played) http.Handler {
	mux := newMux(continuityPage, func(*http.Request) any { return newContinuityView(p.Moment()) })
	handleHosts(mux, p.Do)
	press(mux, "POST /play/{what}", func(r *http.Request) error {
		switch r.PathValue("what") {
		case "round":
			return p.Play(1)
		case "enough":
			return p.Enough()
		}
		return errors.New("there is no such button")
	})
	return onlyHere(http.NewCrossOriginProtection().Handler(mux))
}

// continuityView is a moment of that scene as the page shows it.
type continuityView struct {
	Forum       string // there is none
	VIP         string
	Patience    string
	Said        string // in one sentence: how the connections are
	Well        bool
	Doing       string // how far the scene is
	Script      []stepMark
	Facts       []fact // of the present step, or of the last one
	Buttons     []button
	Legend      []share
	Broke       int
	Began       int
	Playing     bool
	Chart       chart
	Kinds       []kindCard
	Hosts       []card
	Steps, Last []line
}

// stepMark is a step of the script, and whether it is over, now, or still to come.
type stepMark struct{ Words, Class, Is string }

type fact struct{ Name, Value string }

// kindCard is one kind of connections.
type kindCard struct {
	ID, Name, Note, State string
	Open                  int
	Broken                bool
	Facts                 []string
}

// line is one of a list.
type line struct {
	At         time.Time
	Name, Text string
	Bad        bool
}

// kindNames say what there is of a kind.
var kindNames = map[string]struct{ one, title, note, answers, class string }{
	lab.KindDownload: {"download", "Downloads", "every byte is known", "parts came", "real1"},
	lab.KindSession:  {"session", "Sessions", "somebody types", "answers", "real2"},
	lab.KindShort:    {"short request", "Short requests", "new ones all the time", "answers", "real3"},
}

// deeds are what can be done to a director, in words.
var deeds = map[string]string{"stop": "is stopped", "kill": "is killed", "cut": "is cut off", "plug": "is plugged in again", "start": "is started", "restart": "is restarted",
	"upgrade": "is upgraded", "roll_back": "is put back", "back_from_stop": "returns from the stop", "back_from_kill": "returns from the kill", "back_from_cut": "returns from the cut"}

func newContinuityView(m lab.ContinuityMoment) continuityView {
	v := continuityView{VIP: m.Lab.VIP.String(), Patience: short(m.Patience), Playing: m.Playing.On}
	open := 0
	for _, k := range m.Crowd.Kinds {
		is := kindNames[k.Kind]
		v.Legend = append(v.Legend, share{Name: strings.ToLower(is.title), Class: is.class, PerSecond: k.PerSecond})
		v.Kinds = append(v.Kinds, newKindCard(k))
		v.Began += k.Began
		v.Broke += total(k.Broken)
		open += k.Open
	}
	v.Said, v.Well = continuitySentence(m, open, v.Broke)
	v.Doing, v.Buttons = doing(m)
	v.Script, v.Facts = marks(m), stepFacts(m)
	v.Chart = drawAnswers(m.Crowd)
	for _, h := range m.Hosts {
		v.Hosts = append(v.Hosts, directorCard(m, h))
	}
	for _, s := range slices.Backward(append(m.Report.Steps[:len(m.Report.Steps):len(m.Report.Steps)], m.Now)) {
		if (s.Host != "" || !s.OK && s.Broke() > 0) && len(v.Steps) < listed {
			v.Steps = append(v.Steps, stepLine(s))
		}
	}
	for _, b := range m.Crowd.Last {
		v.Last = append(v.Last, line{At: b.At, Name: kindNames[b.Kind].one, Text: fmt.Sprintf("from %s was %s %s after it began", b.From, causes(b.Cause), short(b.At.Sub(b.Began)))})
	}
	return v
}

// listed is how many steps are.
const listed = 60

// continuitySentence says how the connections are, and whether all is as it should be.
func continuitySentence(m lab.ContinuityMoment, open, broke int) (string, bool) {
	if m.At.IsZero() {
		return "The site is being looked at.", true
	}
	said := fmt.Sprintf("%d connections are open, and none has broken.", open)
	if broke > 0 {
		said = fmt.Sprintf("%d connections are open, and %d broke since the beginning.", open, broke)
	}
	r := m.Report
	switch {
	case m.Playing.On || m.Playing.Round == 0:
		holder := m.Master + " holds the virtual IP. "
		if m.Master == "" {
			holder = "No director holds the virtual IP. "
		}
		return holder + said, broke == 0 && m.Master != ""
	case r.OK && r.Young > 0:
		return fmt.Sprintf("The scene held: of %d connections %d broke that a director which died had not told of yet. ", r.OfYoung, r.Young) + said, broke == r.Young
	case r.OK:
		return "The scene held. " + said, broke == 0
	}
	return "The scene did not hold. " + said, false
}

// doing says how far the scene is, and what a person can do about it.
func doing(m lab.ContinuityMoment) (string, []button) {
	p := m.Playing
	said := ""
	switch {
	case p.On && p.Last:
		return fmt.Sprintf("Round %d is over. What has no answer yet is waited for.", p.Round), nil
	case p.On && m.Now.Host == "":
		said = "The scene begins."
	case p.On:
		said = fmt.Sprintf("Round %d of %d, step %d of %d: %s %s.", p.Round, p.Rounds, p.Step, p.Steps, m.Now.Host, deed(m.Now.Name))
	case m.Now.Host != "":
		said = fmt.Sprintf("By hand: %s %s.", m.Now.Host, deed(m.Now.Name))
	case p.Round == 0:
		said = "It has not been played yet. Everything in it can be done by hand below."
	default:
		said = fmt.Sprintf("It was played %s. Everything in it can be done by hand below.", times(p.Round))
	}
	switch {
	case p.On && p.Ending:
		return said + " The scene ends after it.", nil
	case p.On:
		return said, []button{{"enough", "End after this step"}}
	}
	return said, []button{{"round", "Play a round"}}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// deed is what a step does to a director, in words.
func deed(name string) string {
	if words, ok := deeds[name]; ok {
		return words
	}
	return name
}

// marks are the steps of the round that is played, or was played last.
func marks(m lab.ContinuityMoment) []stepMark {
	var out []stepMark
	for _, name := range m.Script {
		mark := stepMark{Words: strings.ReplaceAll(name, "_", " ")}
		for _, s := range m.Report.Steps {
			if !s.ByHand && s.Round == m.Playing.Round && s.Name == name {
				mark.Class, mark.Is = "over", "held"
				if !s.OK {
					mark.Class, mark.Is = "bad", "did not hold"
				}
			}
		}
		if m.Playing.On && m.Now.Name == name && !m.Now.ByHand {
			mark.Class, mark.Is = "now", "now"
		}
		out = append(out, mark)
	}
	return out
}

// stepFacts are the figures of the step that is being played, or of the last in which something was done.
func stepFacts(m lab.ContinuityMoment) []fact {
	s := m.Now
	for i := len(m.Report.Steps) - 1; i >= 0 && s.Host == ""; i-- {
		s = m.Report.Steps[i]
	}
	if s.Host == "" {
		return nil
	}
	out := []fact{{"", s.Host + " " + deed(s.Name)}, {"lasts", short(s.To.Sub(s.From))}}
	if m.Now.Host == "" { // it is over
		out[1].Name = "lasted"
	}
	if s.TakeoverMS > 0 {
		out = append(out, fact{"taken over after", short(ms(s.TakeoverMS))})
	}
	if s.Dies() {
		out = append(out, fact{"announced lag", short(ms(s.LagMS))})
	}
	return append(out, fact{"longest answer", short(ms(longest(s)))}, fact{"broken", fmt.Sprint(s.Broke())})
}

// stepLine is a step in the list.
func stepLine(s lab.ContinuityStep) line {
	l := line{At: s.From, Bad: !s.OK, Name: fmt.Sprintf("Round %d", s.Round)}
	what := s.Host + " " + deed(s.Name)
	switch {
	case s.ByHand:
		l.Name = "By hand"
	case s.Host == "":
		l.Name, what = "Meanwhile", "nothing is done"
	}
	if s.TakeoverMS > 0 {
		what += ", and taken over after " + short(ms(s.TakeoverMS))
	}
	l.Text = fmt.Sprintf("%s. Of %d connections %s; longest answer %s", what, total(s.Open)+total(s.Began), broken(s), short(ms(longest(s))))
	if s.Dies() {
		l.Text += ", announced lag " + short(ms(s.LagMS))
	}
	for _, why := range s.Why {
		if !strings.HasSuffix(why, "connections broke") {
			l.Text += "; " + why
		}
	}
	return l
}

// broken says what of a step's connections did, by kind and cause.
func broken(s lab.ContinuityStep) string {
	var out []string
	for _, kind := range lab.Kinds {
		for _, cause := range slices.Sorted(maps.Keys(s.Broken[kind])) {
			n := s.Broken[kind][cause]
			name := kindNames[kind].one
			if n != 1 {
				name += "s"
			}
			out = append(out, fmt.Sprintf("%d %s %s", n, name, causes(cause)))
		}
	}
	if len(out) == 0 {
		return "none broke"
	}
	if s.Young > 0 {
		return fmt.Sprintf("%s (%d too young to have been told)", strings.Join(out, ", "), s.Young)
	}
	return strings.Join(out, ", ")
}

// causes says by what a connection broke, as a participle.
func causes(cause string) string {
	switch cause {
	case lab.CauseStall:
		return "stalled"
	case lab.CauseWrong:
		return "answered with wrong bytes"
	}
	return cause
}

func newKindCard(k lab.KindMoment) kindCard {
	is := kindNames[k.Kind]
	c := kindCard{ID: k.Kind, Name: is.title, Note: is.note, Open: k.Open, State: "none broke",
		Facts: []string{fmt.Sprintf("%d began, %d %s", k.Began, k.Answers, is.answers), "longest answer " + short(k.Longest)}}
	if n := total(k.Broken); n > 0 {
		c.Broken, c.State = true, fmt.Sprintf("%d broke", n)
	}
	for _, cause := range slices.Sorted(maps.Keys(k.Broken)) {
		c.Facts = append(c.Facts, fmt.Sprintf("%d %s", k.Broken[cause], causes(cause)))
	}
	return c
}

func directorCard(m lab.ContinuityMoment, h lab.HostStatus) card {
	runs := h.PID != 0
	c := card{Host: h.Host, Address: strings.Join(h.Addresses, " "), Is: h.Is(), Holder: h.Host == m.Master, State: h.State, Up: runs && h.State != "FAULT" && h.State != "down"}
	switch {
	case !runs:
		c.State, c.Buttons = "down", []button{{"start", "Start"}}
	case h.State == "down": // it begins, or ends
		c.State = "does not answer"
	}
	if runs {
		c.Buttons = []button{{"stop", "Stop"}, {"kill", "Kill"}, {"restart", "Restart"}}
	}
	if told, ok := m.Told[h.Host]; ok {
		c.Notes = append(c.Notes, toldWords(told)...)
	}
	for _, r := range h.Pool {
		if runs && !r.InPool {
			c.Notes = append(c.Notes, r.Real+" out of the pool")
		}
	}
	if m.Cut[h.Host] {
		c.Notes = append(c.Notes, "its cable is pulled")
		c.Buttons = append(c.Buttons, button{"plug", "Plug in"})
	} else {
		c.Buttons = append(c.Buttons, button{"cut", "Cut off"})
		if !runs && h.VIP {
			c.Notes = append(c.Notes, "its packet path forwards on")
		}
	}
	if m.Playing.On {
		c.Buttons = nil
	}
	return c
}

// toldWords are what a director says of the other one.
func toldWords(s lab.ToldStatus) []string {
	if !s.Alive {
		return []string{"hears nothing of the other one"}
	}
	has := fmt.Sprintf("the other one has %g %% of its %d connections", s.Coverage, s.Connections)
	if s.Lag >= 0 {
		has += ", all but the last " + short(s.Lag)
	}
	if s.CaughtUp {
		return []string{has, "has all of the other one's"}
	}
	return []string{has, "catches up with the other one"}
}

// drawAnswers draws the last two minutes, as high as the best second in them.
func drawAnswers(m lab.CrowdMoment) chart {
	c := chart{Width: chartSpan * secondWidth, Height: chartHeight}
	most, answered, broke := 1, 0, 0
	for _, s := range m.Seconds {
		answered += total(s.Answers)
		broke += s.Broken
		most = max(most, total(s.Answers)+s.Broken)
	}
	for i, s := range m.Seconds {
		x, y := c.Width-(len(m.Seconds)-i)*secondWidth, chartHeight
		stack := func(n int, class string) {
			if n == 0 {
				return
			}
			if h := min(max(1, n*chartHeight/most), y); h > 0 {
				y -= h
				c.Bars = append(c.Bars, bar{X: x, Y: y, H: h, Class: class})
			}
		}
		stack(s.Broken, "failed")
		for _, kind := range lab.Kinds {
			stack(s.Answers[kind], kindNames[kind].class)
		}
	}
	c.Said = fmt.Sprintf("%d answers and %d broken connections in the last %s", answered, broke, time.Duration(len(m.Seconds))*time.Second)
	return c
}

func longest(s lab.ContinuityStep) (most float64) {
	for _, of := range s.LongestMS {
		most = max(most, of)
	}
	return most
}

func total(of map[string]int) (n int) {
	for _, some := range of {
		n += some
	}
	return n
}

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
