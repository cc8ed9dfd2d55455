package page

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"vipd/internal/lab"
)

// played is the scene of open connections while director1 is killed in its second round.
type played struct {
	moment lab.ContinuityMoment
	did    []string
}

func (p *played) Moment() lab.ContinuityMoment { return p.moment }

func (p *played) Do(host, what string) error {
	if p.moment.Playing.On {
		return errors.New("the scene is being played")
	}
	p.did = append(p.did, host+" "+what)
	return nil
}

func (p *played) Play(int) error { p.did = append(p.did, "round"); return nil }
func (p *played) Enough() error  { p.did = append(p.did, "enough"); return nil }

func newPlayed() *played {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.Local)
	step := func(round int, name string, from int, broken map[string]map[string]int, why ...string) lab.ContinuityStep {
		return lab.ContinuityStep{Round: round, Name: name, Host: "director1", From: at.Add(time.Duration(from) * time.Second), To: at.Add(time.Duration(from+9) * time.Second),
			Open: map[string]int{lab.KindSession: 40}, Began: map[string]int{lab.KindShort: 160}, LongestMS: map[string]float64{lab.KindSession: 3912}, TakeoverMS: 3607,
			Broken: broken, OK: len(why) == 0, Why: why}
	}
	now := step(2, "kill", 40, nil)
	now.TakeoverMS = 0
	hand := step(0, "restart", 20, map[string]map[string]int{lab.KindShort: {lab.CauseReset: 2}}, "2 connections broke")
	hand.ByHand, hand.TakeoverMS = true, 0
	return &played{moment: lab.ContinuityMoment{At: at.Add(44 * time.Second), Lab: newScene().moment.Lab, Master: "director1", Patience: 9220 * time.Millisecond,
		Hosts: []lab.HostStatus{{Host: "director1", Addresses: []string{"10.0.8.25"}, Role: lab.RoleDirector, PID: 1, State: "MASTER", VIP: true},
			{Host: "director2", Addresses: []string{"10.0.8.55"}, Role: lab.RoleDirector, VIP: true}},
		Told: map[string]lab.ToldStatus{"director1": {Alive: true, CaughtUp: true, Connections: 70, Coverage: 98.57, Lag: 210 * time.Millisecond}},
		Cut:  map[string]bool{"director2": true},
		Crowd: lab.CrowdMoment{Kinds: []lab.KindMoment{{Kind: lab.KindDownload, Open: 10, Began: 10, Answers: 4000, PerSecond: 100, Longest: 4 * time.Second},
			{Kind: lab.KindSession, Open: 40, Began: 41, Answers: 1600, PerSecond: 39, Longest: 4 * time.Second, Broken: map[string]int{lab.CauseStall: 1}},
			{Kind: lab.KindShort, Open: 1, Began: 800, Answers: 797, PerSecond: 20, Longest: 3 * time.Second, Broken: map[string]int{lab.CauseReset: 2}}},
			Seconds: []lab.CrowdSecond{{At: at, Answers: map[string]int{lab.KindDownload: 100, lab.KindSession: 40, lab.KindShort: 20}}, {At: at.Add(time.Second), Broken: 2}},
			Last:    []lab.BrokenConn{{Kind: lab.KindShort, Cause: lab.CauseReset, From: "10.0.4.102:<1>", Began: at, At: at.Add(1500 * time.Millisecond)}}},
		Playing: lab.Playing{Round: 2, Rounds: 3, Step: 2, Steps: 3, On: true}, Script: []string{"stop", "kill", "back_from_kill"}, Now: now,
		Report: lab.ContinuityReport{Steps: []lab.ContinuityStep{step(1, "stop", 0, map[string]map[string]int{lab.KindSession: {lab.CauseStall: 1}}, "1 connections broke"), hand, step(2, "stop", 30, nil)}}}}
}

func askPlayed(t *testing.T, p *played, method, path string, change func(*http.Request)) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, "http://127.0.0.1:8090"+path, nil)
	if change != nil {
		change(req)
	}
	w := httptest.NewRecorder()
	ContinuityHandler(p).ServeHTTP(w, req)
	text, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(text)
}

// TestTheSceneOfOpenConnectionsIsAPage that can be read and used without JavaScript, like the other one.
func TestTheSceneOfOpenConnectionsIsAPage(t *testing.T) {
	p := newPlayed()
	code, text := askPlayed(t, p, "GET", "/", nil)
	for _, want := range []string{"director1 holds the virtual IP. 51 connections are open, and 3 broke since the beginning.",
		`<noscript><meta http-equiv="refresh" content="4"></noscript>`, "Round 2 of 3, step 2 of 3: director1 is killed.",
		`<li class="over">stop <small>held</small></li>`, `<li class="now" aria-current="step">kill <small>now</small></li>`, `<li class="">back from kill</li>`,
		`action="/play/enough"`, "broken <b>3</b> of 851", "for 9.2 s counts", `<article class="card down" id="session">`, `<article class="card" id="download">`, "1 stalled", "2 reset",
		"the other one has 98.57 % of its 70 connections, all but the last 210 ms", "has all of the other one", "its cable is pulled",
		"Of 200 connections 1 session stalled; longest answer 3.9 s", "director1 is stopped, and taken over after 3.6 s. Of 200 connections none broke",
		"<b>By hand</b> director1 is restarted. Of 200 connections 2 short requests reset", "<b>short request</b> from 10.0.4.102:&lt;1&gt; was reset 1.5 s after it began",
		"160 answers and 2 broken connections in the last 2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if code != 200 || strings.Contains(text, "style=") || strings.Contains(text, "forum") || strings.Contains(text, `action="/hosts/`) {
		t.Errorf("%d\n%s", code, text)
	}
	if code, part := askPlayed(t, p, "GET", "/scene", nil); code != 200 || !strings.Contains(text, part) || strings.Contains(part, "<html") {
		t.Errorf("the scene: %d\n%s", code, part)
	}
	p.moment.Playing.On, p.moment.Now = false, lab.ContinuityStep{}
	_, text = askPlayed(t, p, "GET", "/", nil)
	for _, want := range []string{`action="/play/round"`, `action="/hosts/director1/stop"`, `action="/hosts/director1/kill"`, `action="/hosts/director1/cut"`, `action="/hosts/director1/restart"`,
		`action="/hosts/director2/start"`, `action="/hosts/director2/plug"`, "It was played 2 times.", "The scene did not hold."} {
		if !strings.Contains(text, want) {
			t.Errorf("afterwards it lacks %q", want)
		}
	}
}

// TestTheChartIsAsHighAsItsBestSecond: also one broken connection of many answers can be seen.
func TestTheChartIsAsHighAsItsBestSecond(t *testing.T) {
	c := drawAnswers(newPlayed().moment.Crowd)
	heights := map[string]int{}
	for _, b := range c.Bars {
		heights[b.Class] += b.H
		if b.Y < 0 || b.Y+b.H > c.Height {
			t.Errorf("%+v is outside of %d", b, c.Height)
		}
	}
	if heights["real1"] != 37 || heights["real2"] != 15 || heights["real3"] != 7 || heights["failed"] != 1 {
		t.Errorf("%v", heights)
	}
}

func TestTheSentenceOfConnections(t *testing.T) {
	for want, change := range map[string]func(*lab.ContinuityMoment){
		"The site is being looked at.": func(m *lab.ContinuityMoment) { *m = lab.ContinuityMoment{} },
		"No director holds the virtual IP. 50 connections are open, and none has broken.": func(m *lab.ContinuityMoment) { m.Master = "" },
		"director1 holds the virtual IP. 50 connections are open, and none has broken.":   func(m *lab.ContinuityMoment) { m.Playing = lab.Playing{} },
		"The scene held. 50 connections are open, and none has broken.": func(m *lab.ContinuityMoment) {
			m.Playing.On, m.Report.OK = false, true
		},
		"The scene held: of 4000 connections 1 broke that a director which died had not told of yet. 50 connections are open, and 1 broke since the beginning.": func(m *lab.ContinuityMoment) {
			m.Playing.On, m.Report.OK, m.Report.Young, m.Report.OfYoung = false, true, 1, 4000
			m.Crowd.Kinds[1].Broken = map[string]int{lab.CauseReset: 1}
		},
		"The scene did not hold. 50 connections are open, and 1 broke since the beginning.": func(m *lab.ContinuityMoment) {
			m.Playing.On, m.Crowd.Kinds[1].Broken = false, map[string]int{lab.CauseReset: 1}
		},
	} {
		p := newPlayed()
		p.moment.Crowd.Kinds = p.moment.Crowd.Kinds[:2]
		p.moment.Crowd.Kinds[1].Broken = nil
		change(&p.moment)
		v := newContinuityView(p.moment)
		if bad := strings.Contains(want, "not hold") || p.moment.Master == "" && !p.moment.At.IsZero(); v.Said != want || v.Well == bad {
			t.Errorf("%q, well: %v, want %q", v.Said, v.Well, want)
		}
	}
}

func TestButtonsOfTheSceneAreForThisPageAlone(t *testing.T) {
	p := newPlayed()
	elsewhere := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for _, row := range []struct {
		path   string
		change func(*http.Request)
		code   int
	}{
		{"/play/enough", nil, http.StatusSeeOther}, {"/play/round", nil, http.StatusSeeOther}, {"/play/again", nil, http.StatusConflict}, {"/play/round", elsewhere, http.StatusForbidden},
		{"/hosts/director1/kill", nil, http.StatusConflict},
	} {
		if code, text := askPlayed(t, p, "POST", row.path, row.change); code != row.code {
			t.Errorf("%s: %d %s, want %d", row.path, code, text, row.code)
		}
	}
	p.moment.Playing.On = false
	for path, want := range map[string]int{"/hosts/director1/cut": http.StatusSeeOther} {
		if code, text := askPlayed(t, p, "POST", path, nil); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, text, want)
		}
	}
	if got := strings.Join(p.did, ", "); got != "enough, round, director1 cut" {
		t.Errorf("done: %s", got)
	}
}
