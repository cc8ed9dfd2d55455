package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// figures is what `vipd lab --json` writes, as far as it is promised.
type figures struct {
	Steps []stepFigures `json:"steps"`
	OK    bool          `json:"ok"`
}

type stepFigures struct {
	Name         string         `json:"name"`
	Requests     int            `json:"requests"`
	Failed       int            `json:"failed"`
	LongestGapMS float64        `json:"longest_gap_ms"`
	ByReal       map[string]int `json:"by_real"`
	Moved        int            `json:"moved"`
	Before       *stepFigures   `json:"before"`
}

// The site's real servers; the first is the one that dies.
const (
	fallen   = "10.0.8.13"
	survivor = "10.0.8.12"
)

// takeover is 3 × advert_int + skew of priority 100, and half a second: "(3 * Advertisement_Interval) + Skew_Time",
// "( (256 - Priority) / 256 )" (RFC 3768 §6.1).
const takeover = 3000 + 156.0/256*1000 + 500

func TestTheSceneHoldsWithoutPersistence(t *testing.T) {
	if !alone(t, 3*time.Minute) {
		return
	}
	args := []string{"--step", "6s"}
	for i, file := range []string{"director1.conf", "director2.conf"} {
		text, err := os.ReadFile(filepath.Join("../examples/site", file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), file)
		changed := strings.Replace(string(text), "persistence_timeout 10", "! no persistence_timeout", 1)
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, fmt.Sprintf("--config%d", i+1), path)
	}
	steps := play(t, args...)
	// wrr over equal weights goes to and fro; requests at either edge may have been scheduled in another order. Later ones
	// may use a port again, and so a connection of before; or meet two directors, each with a turn of its own.
	even(t, steps["steady"], 4)
	for _, name := range []string{"real_up", "director_back", "director_stopped"} {
		even(t, steps[name], steps[name].Requests/10)
	}
}

// play plays the scene and holds its figures against the promises, without asking for the program's own verdict first.
// It returns the steps by name.
func play(t *testing.T, args ...string) map[string]stepFigures {
	t.Helper()
	data := playLab(t, args...)
	return playedSteps(t, data, fallen, survivor, "steady real_down real_up director_killed director_back director_stopped")
}

// playSite is play of the whole site.
func playSite(t *testing.T, args ...string) (map[string]stepFigures, furnished) {
	t.Helper()
	data := playLab(t, append([]string{"--site"}, args...)...)
	var got furnished
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	dead, alive := fallen, survivor
	if slices.Contains(args, "tun") {
		dead, alive = "10.0.13.13", "10.0.12.12"
	}
	return playedSteps(t, data, dead, alive, "steady real_down real_up stores_down director_killed director_back director_stopped"), got
}

// playLab runs `vipd lab` and returns its figures as JSON.
func playLab(t *testing.T, args ...string) []byte {
	t.Helper()
	before := left(t)
	file := filepath.Join(t.TempDir(), "figures.json")
	out, err := exec.Command(program(), append([]string{"lab", "--plain", "--json", file}, args...)...).CombinedOutput()
	t.Logf("vipd lab: %v\n%s", err, out)
	nothingNew(t, before)
	if err != nil {
		t.Errorf("the program says that the scene did not hold: %v", err)
	}
	if !strings.Contains(string(out), "IPVS connection entries\npro expire state       source             virtual            destination\n") {
		t.Error("no ipvsadm -lcn of the active director at the end")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func playedSteps(t *testing.T, data []byte, dead, alive, want string) map[string]stepFigures {
	t.Helper()
	var got figures
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !got.OK {
		t.Error("the figures say that the scene did not hold")
	}
	steps := map[string]stepFigures{}
	var names []string
	for _, s := range got.Steps {
		steps[s.Name] = s
		names = append(names, s.Name)
	}
	if strings.Join(names, " ") != want {
		t.Fatalf("steps %q, want %q", names, want)
	}
	promises(t, steps, dead, alive)
	return steps
}

// promises are those of every way to play the scene.
func promises(t *testing.T, steps map[string]stepFigures, fallen, survivor string) {
	t.Helper()
	for name, s := range steps {
		sum := s.ByReal[fallen] + s.ByReal[survivor]
		if len(s.ByReal) != 2 || s.Requests < 200 || sum != s.Requests-s.Failed {
			t.Errorf("%s: figures do not add up: %+v", name, s)
		}
		if name != "director_killed" && name != "director_stopped" && s.Failed > 0 {
			t.Errorf("%s: %d of %d requests failed", name, s.Failed, s.Requests)
		}
		if name != "director_killed" && name != "director_stopped" && s.LongestGapMS > 500 {
			t.Errorf("%s: silent for %.0f ms with nothing broken", name, s.LongestGapMS)
		}
	}
	if n := steps["real_down"].ByReal[fallen]; n != 0 {
		t.Errorf("real_down: the dead real server answered %d requests", n)
	}
	// The check comes every 6 s, then three retries 3 s apart; the port is refused at once. And a moment to apply it.
	if until := steps["real_down"].Before; until == nil || until.ByReal[survivor] == 0 || float64(until.Requests) > 16.5*50 {
		t.Errorf("real_down: taking the real server out: %+v", until)
	}
	if n := steps["real_up"].ByReal[fallen]; n == 0 {
		t.Error("real_up: the returned real server answered nothing")
	}
	if gap := steps["director_killed"].LongestGapMS; gap > takeover {
		t.Errorf("director_killed: silent for %.0f ms, allowed are %.0f ms", gap, takeover)
	}
	if gap := steps["director_stopped"].LongestGapMS; gap >= 1000 {
		t.Errorf("director_stopped: silent for %.0f ms, allowed is less than 1000 ms", gap)
	}
}

// even wants both real servers to have answered alike, with at most off between them.
func even(t *testing.T, s stepFigures, off int) {
	t.Helper()
	if d := s.ByReal[fallen] - s.ByReal[survivor]; d > off || -d > off {
		t.Errorf("%s: uneven over equal weights: %v", s.Name, s.ByReal)
	}
}
