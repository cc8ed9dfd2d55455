package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/journal"
)

// eventNoon is in the zone that events are shown in.
var eventNoon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)

// happened is a folder in which the instance x has a journal, with a line that a crash has torn.
func happened(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	w := journal.New(filepath.Join(dir, "x"), 1<<20, 2)
	defer w.Close()
	for i, e := range []journal.Event{
		{Kind: "vrrp", Text: "(VI_1) BACKUP to MASTER: no advert for 3.6s", VI: "VI_1"}, {Kind: "check", Text: "down: TCP_CHECK 10.0.8.13:80: \x1b[31mrefused", VS: "[10.0.8.9]:tcp:80", RS: "[10.0.8.13]:tcp:80"},
		{Kind: "config", Level: "error", Text: "Reload refused"}, {Kind: "operator", Text: "Operator root: drain [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80", VS: "[10.0.8.9]:tcp:80", RS: "[10.0.8.12]:tcp:80", By: "root"},
	} {
		e.At = eventNoon.Add(time.Duration(i-4) * time.Hour)
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "x", "events.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"at":"2026-01-0`); err != nil {
		t.Fatal(err)
	}
	return dir
}

func eventsOf(dir string, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	env := Env{Args: append([]string{"events", "--instance", "x"}, args...), Stdout: &out, Stderr: &errs, Now: func() time.Time { return eventNoon },
		Getenv: func(name string) string { return map[string]string{stateVariable: dir}[name] }, Dial: func(string) (control.Source, error) { return nil, errors.New("no daemon") }}
	code = run(env)
	return out.String(), errs.String(), code
}

const wantEvents = `2026-01-02 08:00:00.000  vrrp      (VI_1) BACKUP to MASTER: no advert for 3.6s
2026-01-02 09:00:00.000  check     down: TCP_CHECK 10.0.8.13:80: ?[31mrefused [10.0.8.13]:tcp:80 [10.0.8.9]:tcp:80
2026-01-02 10:00:00.000  config    ERROR Reload refused
2026-01-02 11:00:00.000  operator  Operator root: drain [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80
`

func TestEventsAreReadWithoutADaemonAndATornLineIsPassedOver(t *testing.T) {
	dir := happened(t)
	if out, errs, code := eventsOf(dir); out != wantEvents || errs != "" || code != 0 {
		t.Errorf("exit %d %s\n%s\nwant\n%s", code, errs, out, wantEvents)
	}
	lines := strings.SplitAfter(wantEvents, "\n")
	for args, want := range map[string]string{
		"--since 2h": lines[2] + lines[3], "--since 09:30": lines[2] + lines[3], "--since 1d --until 08:00:00": lines[0], "--until 2026-01-02T09:00": lines[0] + lines[1],
		"--kind config,operator --since 1h": lines[3], "--since 2027-01-01": "", "--kind bfd": "",
	} {
		if out, errs, code := eventsOf(dir, strings.Fields(args)...); out != want || code != 0 {
			t.Errorf("%s: exit %d %s\n%s\nwant\n%s", args, code, errs, out, want)
		}
	}
	out, _, _ := eventsOf(dir, "-o", "json", "--kind", "operator")
	var e journal.Event
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.By != "root" || !e.At.Equal(eventNoon.Add(-time.Hour)) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEventsSayWhatIsWrong(t *testing.T) {
	dir := happened(t)
	for args, want := range map[string]string{
		"--since soon": `vipd: --since "soon": want such as 1h, 2d, 14:05, "2026-01-31 14:05" or RFC 3339`, "--until -1h": `vipd: --until "-1h": want`,
		"--kind checks": `vipd: --kind checks: want some of check, vrrp,`, "-o xml": `vipd: -o "xml": want text or json`, "more": "vipd: unknown command",
	} {
		if out, errs, code := eventsOf(dir, strings.Fields(args)...); out != "" || code != exitUsage || !strings.HasPrefix(errs, strings.Replace(want, "--kind checks", `--kind "checks"`, 1)) {
			t.Errorf("%s: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if _, errs, code := eventsOf(filepath.Join(dir, "none")); code != daemon.ExitNoConfig || !strings.Contains(errs, "vipd: there is no journal in "+dir+"/none/x\nhint: ") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func TestEventsAreLookedForWhereTheDaemonSaysThatTheyAre(t *testing.T) {
	dir := happened(t)
	var out bytes.Buffer
	env := Env{Args: []string{"events", "--instance", "x"}, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { return &fakeDaemon{control.Status{State: dir}}, nil }}
	if code := run(env); code != 0 || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

// stopping ends the following of events by an output that takes no more.
type stopping struct {
	bytes.Buffer
	after int
	got   func()
}

var errStopped = errors.New("the reader has gone")

func (s *stopping) Write(b []byte) (int, error) {
	if s.after--; s.after < 0 {
		return 0, errStopped
	}
	if s.after == 1 {
		s.got()
	}
	return s.Buffer.Write(b)
}

func TestEventsAreFollowed(t *testing.T) {
	dir := happened(t)
	more := journal.New(filepath.Join(dir, "x"), 1<<20, 2)
	defer more.Close()
	out := &stopping{after: 5, got: func() { // while the fourth is printed two more come
		for _, text := range []string{"fifth", "sixth"} {
			if err := more.Add(journal.Event{At: eventNoon, Kind: "check", Text: text}); err != nil {
				t.Error(err)
			}
		}
	}}
	code := run(Env{Args: []string{"events", "--instance", "x", "--state", dir, "-f"}, Stdout: out, Stderr: new(bytes.Buffer), Getenv: func(string) string { return "" }})
	if code == 0 || !strings.HasSuffix(out.String(), "  check     fifth\n") || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}
