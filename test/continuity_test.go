package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vipd/internal/lab"
)

// TestNobodyNoticesThatDirectorsComeAndGo: downloads, sessions and short requests go on while the director that carries them is
// stopped, killed, cut off, restarted and replaced by a build with another layout, and when it returns: vipd lab --continuity. In make
// test one round with few; VIPD_CONTINUITY is how many rounds with 1,000 long connections and 500 new ones a second.
func TestNobodyNoticesThatDirectorsComeAndGo(t *testing.T) {
	rounds, sessions, downloads, perSecond := 1, 30, 10, 20
	if text := os.Getenv("VIPD_CONTINUITY"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		sessions, downloads, perSecond = 900, 100, 500
	}
	if !alone(t, 4*time.Minute+time.Duration(rounds)*3*time.Minute) {
		return
	}
	before := left(t)
	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{}
	if os.Getenv("VIPD_CONTINUITY") != "" { // TestAnUpgradeIsNotNoticed has one
		args = []string{"--upgrade", anotherLayout(t)}
	}
	cmd := exec.CommandContext(t.Context(), program(), "lab", "--continuity", "--json", file, "--rounds", fmt.Sprint(rounds), "--sessions", fmt.Sprint(sessions),
		"--downloads", fmt.Sprint(downloads), "--per-second", fmt.Sprint(perSecond))
	cmd.Args = append(cmd.Args, args...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("it did not hold: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r lab.ContinuityReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	judgeContinuity(t, r, rounds, sessions+downloads)
	nothingNew(t, before)
}

// anotherLayout builds a vipd whose packet path has another layout.
func anotherLayout(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vipd")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X vipd/internal/plane/xdp.otherLayout=1", "-o", path, ".")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// judgeContinuity looks at the figures by itself: where nothing may break nothing did, and where something may it was young.
func judgeContinuity(t *testing.T, r lab.ContinuityReport, rounds, long int) {
	t.Helper()
	played := map[string]int{}
	for _, s := range r.Steps {
		played[s.Name]++
		broken := 0
		for _, causes := range s.Broken {
			for _, n := range causes {
				broken += n
			}
		}
		young := 0
		if s.Name == "kill" || s.Name == "cut" {
			young = s.Young
		}
		if broken > young {
			t.Errorf("round %d, %s: %v broke, %d may", s.Round, s.Name, s.Broken, young)
		}
		if open := s.Open[lab.KindSession] + s.Open[lab.KindDownload]; s.Round > 0 && open < long*9/10 {
			t.Errorf("round %d, %s: only %d long connections are open", s.Round, s.Name, open)
		}
	}
	if r.Young > 1 && r.Young*1000 >= r.OfYoung {
		t.Errorf("%d of %d broke that were young", r.Young, r.OfYoung)
	}
	want := strings.Fields("stop back_from_stop kill back_from_kill cut back_from_cut restart")
	if os.Getenv("VIPD_CONTINUITY") != "" {
		want = append(want, "upgrade", "roll_back")
	}
	for _, name := range want {
		if played[name] != rounds {
			t.Errorf("%s was played %d times", name, played[name])
		}
	}
}
