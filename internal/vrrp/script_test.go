package vrrp

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// scripted is VI_1, which follows chk with weight -20.
func scripted(t *testing.T, cfg ScriptConfig) (*Speaker, *Trackers, *Scripts) {
	t.Helper()
	s, tr := tracking(t, Tracked{Thing: Thing{TrackScript, "chk"}, Weight: -20})
	scripts := NewScripts(tr)
	cfg.Name = "chk"
	scripts.Set(epoch, []ScriptConfig{cfg})
	return s, tr, scripts
}

var (
	passed   = ScriptResult{}
	exited1  = ScriptResult{Status: 1}
	timedOut = ScriptResult{Signal: 15, TimedOut: true}
)

func TestRiseAndFallAreCountedAsKeepalivedCountsThem(t *testing.T) {
	for _, c := range []struct {
		name       string
		rise, fall int
		initFail   bool
		results    string // + success, - failure
		states     string // after each: . not known, + good, - failed
	}{
		{"once", 1, 1, false, "+-+", "+-+"},
		{"the first success is enough", 3, 3, false, "+---", "+++-"},
		{"the first failure is enough", 3, 3, false, "-++-+++", "------+"},
		{"init_fail needs all", 2, 1, true, "++", "-+"},
		{"init_fail stays", 2, 1, true, "-++", "--+"},
		{"a success starts the fall anew", 1, 3, false, "+--+--+---", "+++++++++-"},
		{"a failure starts the rise anew", 3, 1, false, "-++-++-+++", "---------+"},
	} {
		s, tr, scripts := scripted(t, ScriptConfig{Rise: c.rise, Fall: c.fall, InitFail: c.initFail})
		var states strings.Builder
		now := epoch
		for _, r := range c.results {
			scripts.Tick(now)
			result := passed
			if r == '-' {
				result = exited1
			}
			scripts.Finish(now, "chk", result)
			now = now.Add(time.Second)
			switch v := tr.Known(Thing{TrackScript, "chk"}); {
			case !v.Known:
				states.WriteByte('.')
			case v.OK:
				states.WriteByte('+')
			default:
				states.WriteByte('-')
			}
		}
		takenOf(s)
		if states.String() != c.states {
			t.Errorf("%s: %s gives %s, want %s", c.name, c.results, &states, c.states)
		}
	}
}

func TestTheLinesOfAScriptAreKeepaliveds(t *testing.T) {
	s, _, scripts := scripted(t, ScriptConfig{})
	for i, step := range []struct {
		result ScriptResult
		want   []string
	}{
		{exited1, []string{"Script `chk` now returning 1", "VRRP_Script(chk) failed (exited with status 1)", "(VI_1) Changing effective priority from 100 to 80", "(VI_2) Changing effective priority from 100 to 80"}},
		{exited1, nil},
		{ScriptResult{Status: 2}, []string{"Script `chk` now returning 2"}},
		{passed, []string{"Script `chk` now returning 0", "VRRP_Script(chk) succeeded", "(VI_1) Changing effective priority from 80 to 100", "(VI_2) Changing effective priority from 80 to 100"}},
		{timedOut, []string{"VRRP_Script(chk) timed_out", "(VI_1) Changing effective priority from 100 to 80", "(VI_2) Changing effective priority from 100 to 80"}},
		{passed, []string{"VRRP_Script(chk) succeeded", "(VI_1) Changing effective priority from 80 to 100", "(VI_2) Changing effective priority from 80 to 100"}},
		{ScriptResult{Signal: 9}, []string{"VRRP_Script(chk) failed (due to signal 9)", "(VI_1) Changing effective priority from 100 to 80", "(VI_2) Changing effective priority from 100 to 80"}},
	} {
		now := at(time.Duration(i) * time.Second)
		scripts.Tick(now)
		scripts.Finish(now, "chk", step.result)
		if got := said(takenOf(s), false); !slices.Equal(got, step.want) {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestAScriptRunsOncePerIntervalAndNeverTwiceAtATime(t *testing.T) {
	s, _, scripts := scripted(t, ScriptConfig{Interval: 2 * time.Second, Timeout: 3 * time.Second})
	var ran []time.Duration
	var lines []string
	for now := scripts.Next(); now.Before(at(9 * time.Second)); now = scripts.Next() {
		scripts.Tick(now)
		if now == at(4*time.Second) { // the one of 0 s ends after that of 4 s was due
			scripts.Finish(now, "chk", timedOut)
		}
		for _, e := range takenOf(s) {
			switch e := e.(type) {
			case RunScript:
				ran = append(ran, now.Sub(epoch))
				if e.Timeout != 3*time.Second {
					t.Errorf("%+v", e)
				}
			case Say:
				if strings.HasPrefix(e.Text, "Track") {
					lines = append(lines, e.Text)
				}
			}
		}
	}
	if want := []time.Duration{0, 6 * time.Second}; !slices.Equal(ran, want) {
		t.Errorf("ran at %v, want %v", ran, want)
	}
	want := []string{"Track script chk is already running, expect idle - skipping run", "Track script chk is being timed out, expect idle - skipping run",
		"Track script chk is already running, expect idle - skipping run"}
	if !slices.Equal(lines, want) {
		t.Errorf("said %q", lines)
	}
}

func TestAReloadKeepsTheStateOfScripts(t *testing.T) {
	s, tr, scripts := scripted(t, ScriptConfig{Fall: 3})
	for i, r := range []ScriptResult{passed, exited1, exited1} {
		scripts.Tick(at(time.Duration(i) * time.Second))
		scripts.Finish(at(time.Duration(i)*time.Second), "chk", r)
	}
	takenOf(s)
	scripts.Set(at(2500*time.Millisecond), []ScriptConfig{{Name: "chk", Fall: 2}, {Name: "new"}})
	if got := said(takenOf(s), false); !slices.Equal(got, []string{"VRRP_Script(chk) considered successful on reload"}) {
		t.Errorf("said %q", got)
	}
	if next := scripts.Next(); next != at(2500*time.Millisecond) {
		t.Errorf("the new one runs at %s", next.Sub(epoch))
	}
	scripts.Tick(at(3 * time.Second))
	scripts.Finish(at(3*time.Second), "chk", exited1)
	if tr.Known(Thing{TrackScript, "chk"}).OK {
		t.Error("a third failure in a row does not count")
	}
	scripts.Tick(at(4 * time.Second))
	takenOf(s)
	scripts.Set(at(4500*time.Millisecond), []ScriptConfig{{Name: "new"}})
	if got := takenOf(s); !slices.Contains(got, Effect(KillScript{"chk"})) {
		t.Errorf("a script that is gone still runs: %+v", got)
	}
	scripts.Finish(at(5*time.Second), "chk", exited1)
	if got := takenOf(s); got != nil {
		t.Errorf("its result: %+v", got)
	}
}
