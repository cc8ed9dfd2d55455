package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportHasTheAgreedFields(t *testing.T) {
	s := NewSite("x")
	f := Figures{Requests: 3, Failed: 1, LongestGap: ms(1234), ByReal: map[string]int{"10.0.8.12": 2}, ByError: map[string]int{"timeout": 1}}
	r := Report{OK: true, Steps: []StepReport{{Name: "steady", Phase: s.phase(f, ms(8000)), OK: true}}}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	step := got["steps"].([]any)[0].(map[string]any)
	want := map[string]any{"name": "steady", "requests": 3.0, "failed": 1.0, "longest_gap_ms": 1234.0,
		"by_real": map[string]any{"10.0.8.12": 2.0, "10.0.8.13": 0.0}}
	for key, v := range want {
		if d := cmp.Diff(v, step[key]); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
	if got["ok"] != true {
		t.Errorf("ok: %v", got["ok"])
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTableNamesWhatDidNotHold(t *testing.T) {
	s := NewSite("x")
	ok := s.phase(Figures{Requests: 400, ByReal: map[string]int{"10.0.8.12": 200, "10.0.8.13": 200}, LongestGap: ms(27)}, ms(8000))
	late := s.phase(Figures{Requests: 400, Failed: 300, ByReal: map[string]int{"10.0.8.12": 100}, LongestGap: ms(6000)}, ms(8000))
	r := Report{Why: []string{"not played: director_back"}, Steps: []StepReport{
		{Name: "steady", Phase: ok, OK: true},
		{Name: "director_killed", Phase: late, Before: &ok, BoundMS: 4109, Why: []string{"no answer for 6000 ms"}},
	}}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	want := `step             seconds  requests  failed  longest gap    10.0.8.12   10.0.8.13
steady               8.0       400       0        27 ms   200 (50 %)  200 (50 %)  held
  until then         8.0       400       0        27 ms   200 (50 %)  200 (50 %)
director_killed      8.0       400     300      6000 ms  100 (100 %)     0 (0 %)  NOT HELD
not held: not played: director_back
not held: director_killed: no answer for 6000 ms
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestAPlayHoldsOnlyWithEveryStep(t *testing.T) {
	p := newPlayer(New("vipd", nil), PlayConfig{})
	for i, s := range p.steps {
		if p.verdict().OK {
			t.Errorf("holds after %d steps", i)
		}
		p.report.Steps = append(p.report.Steps, StepReport{Name: s.name, OK: true})
	}
	if !p.verdict().OK {
		t.Error("does not hold with every step")
	}
	want := "steady, real_down, real_up, director_killed, director_back, director_stopped"
	if got := names(p.steps); got != want {
		t.Errorf("steps: %s", got)
	}
	p.report.Steps[2].OK = false
	if p.verdict().OK {
		t.Error("holds with a broken step")
	}
}
