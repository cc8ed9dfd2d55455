package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lab"
)

func TestExcerptKeepsHeadTemplatesAndAFewConnections(t *testing.T) {
	head := "IPVS connection entries\npro expire state       source             virtual            destination\n"
	conn := "TCP 01:57  FIN_WAIT    10.0.4.102:5244    10.0.8.9:80        10.0.8.12:80\n"
	template := "TCP 00:44  ASSURED     10.0.4.102:0       10.0.8.9:80        10.0.8.12:80\n"
	for sentence, c := range map[string]struct{ in, want string }{
		"a short listing stays whole":         {head + conn + template, head + conn + template},
		"an empty listing is its head":        {head, head},
		"one connection per client is enough": {head + strings.Repeat(conn, 20) + template, head + conn + template + "… and 19 more\n"},
	} {
		if d := cmp.Diff(c.want, excerpt(c.in)); d != "" {
			t.Errorf("%s: %s", sentence, d)
		}
	}
}

func TestLabBoundComesFromTheConfigurations(t *testing.T) {
	opts := labOptions{method: lab.DR}
	// 3 s of silence, 156/256 s of skew for priority 100, half a second for everything else.
	if got, err := opts.takeover(); err != nil || got != 4109375*time.Microsecond {
		t.Errorf("the site's own: %s, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "slow.conf")
	text := "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n priority 200\n advert_int 2\n virtual_ipaddress {\n 10.0.8.9\n }\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	opts.config2 = file
	if got, err := opts.takeover(); err != nil || got != 6*time.Second+218750*time.Microsecond+500*time.Millisecond {
		t.Errorf("a slower one: %s, %v", got, err)
	}
	opts.config2 = filepath.Join(t.TempDir(), "absent.conf")
	var fail *daemon.Failure
	if _, err := opts.lab(); !errors.As(err, &fail) || fail.Code != daemon.ExitNoConfig || !strings.Contains(err.Error(), "absent.conf") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestLabWithoutAHost(t *testing.T) {
	opts := labOptions{method: lab.DR, without: []string{"director3"}}
	var fail *daemon.Failure
	if _, err := opts.lab(); !errors.As(err, &fail) || !strings.Contains(err.Error(), "director3") || !strings.Contains(fail.Hint, "director2") {
		t.Errorf("an unknown host: %v", err)
	}
}

func TestContinuityHasItsOwnScene(t *testing.T) {
	for sentence, c := range map[string]struct {
		site          bool
		rounds, least int
		sessions      int
		said          string
	}{
		"the usual":           {rounds: 1, least: 1, sessions: 40},
		"none to begin with":  {rounds: 0, least: 0, sessions: 40},
		"no round":            {rounds: 0, least: 1, sessions: 40, said: "--rounds 0 is not possible"},
		"less than nothing":   {rounds: 1, sessions: -1, said: "--sessions -1 is not possible"},
		"with the third tier": {site: true, rounds: 1, said: "two scenes"},
	} {
		opts := labOptions{method: lab.DR, site: c.site, continuity: continuityOptions{rounds: c.rounds, sessions: c.sessions}}
		cfg, err := opts.continuityConfig(c.least)
		if c.said == "" && (err != nil || cfg.Rounds != c.rounds || cfg.Sessions != c.sessions || cfg.Takeover != 4109375*time.Microsecond) || c.said != "" && (err == nil || !strings.Contains(err.Error(), c.said)) {
			t.Errorf("%s: %+v, %v", sentence, cfg, err)
		}
	}
}

func TestLiveViewShowsTheScene(t *testing.T) {
	l := lab.New("vipd", nil)
	stopped := false
	var m tea.Model = labModel{lab: l, stop: func() { stopped = true }}
	tell := func(msg tea.Msg) tea.Cmd {
		next, cmd := m.Update(msg)
		m = next
		return cmd
	}
	tell(tea.WindowSizeMsg{Width: 120, Height: 40})
	tell(lab.View{
		Elapsed: 12 * time.Second, Doing: "a web server is killed", PerSecond: 50, Requests: 600, Failed: 7,
		ByReal: map[string]int{"10.0.8.12": 25, "10.0.8.13": 25},
		Steps: []lab.StepView{{Name: "steady", Progress: 1, Report: &lab.StepReport{OK: true, Phase: lab.Phase{Requests: 400, LongestGapMS: 31}}},
			{Name: "real_down", Progress: 0.5}, {Name: "real_up"}},
		Directors: []lab.Sight{{Host: "director1"}, {Host: "director2", Up: true, VIP: true, Status: control.Status{VRRP: []control.Router{{State: "MASTER"}}}}},
	})
	tell(labLine("something was said"))
	screen := m.View().Content
	for _, want := range []string{"steady", "400 requests", "31 ms", "real_down", "████████████", "a web server is killed", "director1", "down",
		"MASTER", "has 10.0.8.9", "50 requests/s", "7 failed", "something was said", "q or Ctrl-C"} {
		if !strings.Contains(screen, want) {
			t.Errorf("the view lacks %q:\n%s", want, screen)
		}
	}
	if cmd := tell(tea.KeyPressMsg{Code: 'q', Text: "q"}); cmd != nil || !stopped {
		t.Error("q must stop the play, and the view must wait for its end")
	}
	if !strings.Contains(m.View().Content, "removing the site") {
		t.Error("the view does not say that it stops")
	}
	if cmd := tell(labOver{}); cmd == nil {
		t.Error("the view outlives the play")
	}
	tell(tea.WindowSizeMsg{Width: 20, Height: 40})
	for line := range strings.SplitSeq(m.View().Content, "\n") {
		if n := len([]rune(stripANSI(line))); n > 20 {
			t.Errorf("a line of %d cells on a terminal of 20: %q", n, line)
		}
	}
}

// stripANSI drops the escape sequences that colours are made of.
func stripANSI(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == 0x1b {
			for i < len(s) && s[i] != 'm' {
				i++
			}
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func TestReportPrintsTheHolders(t *testing.T) {
	var out bytes.Buffer
	r := lab.Report{OK: true, Active: "director1", Holders: []string{"director1"}, Connections: "IPVS connection entries\nhead\n", Seconds: 77,
		Steps: []lab.StepReport{{Name: "steady", OK: true}}}
	if err := printReport(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"director1 is master; the virtual IP is on director1", "IPVS connection entries", "The scene held (77 s)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}
