package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/control"
	disk "vipd/internal/journal"
)

// kept is what the journal in a folder has.
func kept(t *testing.T, dir string) (all []disk.Event) {
	t.Helper()
	r, err := disk.NewReader(dir, disk.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.All(func(e disk.Event) bool { all = append(all, e); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryEventIsInTheJournalWithItsKindAndNotesAreThereAlone(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	ev := quiet(t, &log)
	ev.Info("said before the journal is open")
	ev.sink().open(disk.New(dir, 1<<20, 2), ev)
	ev.of("vrrp").Warn("(VI_1) odd", "vi", "VI_1", "priority", 7)
	ev.of("config").of("operator").Info("Operator root: drain", "vs", "a", "rs", "b", byKey, "root")
	ev.of("check").note("up: it is well", "vs", "a")
	ev.Debug("a detail")
	later(ev.of("vrrp"), newWorkerThatWorks(t)).Error("bad", "if", "eth0")
	ev.sink().close()
	ev.Info("said after the end")
	at := time.Now()
	want := []disk.Event{{Kind: "daemon", Text: "said before the journal is open"},
		{Kind: "vrrp", Level: "warning", Text: "(VI_1) odd", VI: "VI_1", More: map[string]string{"priority": "7"}},
		{Kind: "operator", Text: "Operator root: drain", VS: "a", RS: "b", By: "root"},
		{Kind: "check", Text: "up: it is well", VS: "a"}, {Kind: "vrrp", Level: "error", Text: "bad", If: "eth0"}}
	got := kept(t, dir)
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, e := range got {
		if at.Sub(e.At) > time.Minute || at.Before(e.At) {
			t.Errorf("at %v", e.At)
		}
		e.At = time.Time{}
		if a, b := e.More["priority"], want[i].More["priority"]; a != b {
			t.Errorf("%v", e.More)
		}
		e.More, want[i].More = nil, nil
		if e.Kind != want[i].Kind || e.Level != want[i].Level || e.Text != want[i].Text || e.VI != want[i].VI || e.VS != want[i].VS || e.RS != want[i].RS || e.If != want[i].If || e.By != want[i].By {
			t.Errorf("got %+v, want %+v", e, want[i])
		}
	}
	for _, never := range []string{"it is well", "kind=", "by=", "a detail"} {
		if strings.Contains(log.String(), never) {
			t.Errorf("the log has %q:\n%s", never, log.String())
		}
	}
}

// newWorkerThatWorks does at once what it is given, as a worker that has ended.
func newWorkerThatWorks(*testing.T) *worker {
	w := newWorker(0)
	w.end()
	return w
}

func TestAJournalThatCannotBeWrittenIsSaidOnceAndTheDaemonGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	log := new(journal)
	ev := quiet(t, log)
	ev.sink().open(disk.New(dir, 1<<20, 2), ev)
	for range 3 {
		ev.Info("an event")
	}
	until(t, func() bool { return log.has("events are not kept in the journal until it can be written again") })
	ev.Info("another one")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { ev.Info("more"); return log.has("the journal is written again") })
	ev.sink().close()
	if n := strings.Count(log.String(), "events are not kept"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	if len(kept(t, dir)) == 0 {
		t.Error("nothing is kept")
	}
}

// until waits for what another goroutine does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it has not come about in 20 s")
}

func TestTheJournalTellsOfChecksVRRPConfigurationAndOperatorsWithReasonAndName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		d.pool.loop.Do(func(time.Time) { d.pool.events = d.events.of("check") })
		time.Sleep(10 * time.Second)
		r.prober.set(real13, true)
		time.Sleep(30 * time.Second)
		d.Operate(t.Context(), drainOrder())
		d.Reload(t.Context())
		d.Apply(t.Context(), d.beside(t, siteFile), time.Second)
		time.Sleep(2 * time.Second)
		d.Change(t.Context(), []control.Change{{Do: control.Flush}})
		sink := d.events.sink()
		sink.mu.Lock()
		defer sink.mu.Unlock()
		has := func(kind, text string) {
			t.Helper()
			for _, e := range sink.early {
				if e.Kind == kind && strings.Contains(e.Text, text) {
					return
				}
			}
			t.Errorf("no event %s %q in\n%+v", kind, text, sink.early)
		}
		has("check", "down: TCP_CHECK 10.0.8.13:80: connection refused")
		has("check", "Removing service [10.0.8.13]:tcp:80")
		has("operator", "Operator (unknown): drain")
		has("config", "reload was asked for by (unknown)")
		has("config", "Reload complete")
		has("config", "apply ")
		has("config", "Apply was not confirmed, going back to ")
		has("operator", "By hand: delete all services")
	})
}
