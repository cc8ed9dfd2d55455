package daemon

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// syncPlane is a plane with sync daemons that do nothing.
type syncPlane struct {
	*fakePlane
	halves plane.SyncHalves
}

func (p *syncPlane) StartSync(d lb.SyncDaemon) error {
	_, err := p.halves.Start(d, nil, ethernet)
	return err
}

func ethernet(string) (int, error) { return 1500, nil }

func (p *syncPlane) StopSync(master bool) error            { return p.halves.Stop(master) }
func (p *syncPlane) Syncs() (all []lb.SyncDaemon, _ error) { return p.halves.List(), nil }

// withSyncs has the daemon's plane have sync daemons.
func withSyncs(d *daemon, r *poolRig) {
	d.pool.loop.Do(func(time.Time) { d.pool.plane = &syncPlane{fakePlane: r.plane} })
}

// starts does what a start does for what was set by hand.
func (d *daemon) starts(t *testing.T) {
	t.Helper()
	d.restoreKept()
	if err := d.pool.ask(func() error { return d.tune(d.pool.plane) }); err != nil {
		t.Fatal(err)
	}
	d.startKept()
}

func settingsOf(t *testing.T, d *daemon, names ...string) map[string]uint32 {
	t.Helper()
	table, err := d.Table(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint32{}
	for _, name := range names {
		all[name] = table.Settings[name]
	}
	return all
}

// TestWhatIsSetByHandHoldsOverARestart: settings that the file does not say, and sync daemons; a reload makes settings what the file says.
func TestWhatIsSetByHandHoldsOverARestart(t *testing.T) {
	state := t.TempDir()
	backup := lb.SyncDaemon{Interface: "eth0", ID: 7}
	names := []string{"sloppy_tcp", "drop_entry", "sync_threshold", "sync_period", "sync_ports"}
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, tunedFile+siteFile)
		defer end()
		withSyncs(d, r)
		d.opts.State = state
		d.starts(t)
		answers, err := d.Change(t.Context(), []control.Change{
			{Do: control.Tune, Setting: "sloppy_tcp", Value: 0}, // the file says it
			{Do: control.Tune, Setting: "drop_entry", Value: 3},
			{Do: control.Tune, Setting: "sync_period", Value: 0},
			{Do: control.Tune, Setting: "sync_threshold", Value: 60},
			{Do: control.Tune, Setting: "sync_period", Value: 70},
			{Do: control.Tune, Setting: "sync_ports", Value: 3}, // refused
			{Do: control.Tune, Setting: "sync_ports", Value: 4},
			{Do: control.StartDaemon, Daemon: lb.SyncDaemon{Master: true, Interface: "eth0", ID: 6}},
			{Do: control.StartDaemon, Daemon: backup},
			{Do: control.StopDaemon, Daemon: lb.SyncDaemon{Master: true}},
		})
		if err != nil || answers[5].Errno != "ERANGE" {
			t.Fatalf("%+v, %v", answers, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the next process
		d, r, _, end := runDaemon(t, tunedFile+siteFile)
		defer end()
		withSyncs(d, r)
		d.opts.State = state
		d.starts(t)
		want := map[string]uint32{"sloppy_tcp": 1, "drop_entry": 3, "sync_threshold": 60, "sync_period": 70, "sync_ports": 4}
		if diff := cmp.Diff(want, settingsOf(t, d, names...)); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		table, _ := d.Table(t.Context())
		if diff := cmp.Diff([]lb.SyncDaemon{backup.Normal()}, table.Daemons, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("sync daemons (-want +got):\n%s", diff)
		}
		if out := d.Reload(t.Context()); !out.Done || out.Error != "" {
			t.Fatalf("outcome %+v", out)
		}
		want = map[string]uint32{"sloppy_tcp": 1, "drop_entry": 0, "sync_threshold": 3, "sync_period": 50, "sync_ports": 1}
		if diff := cmp.Diff(want, settingsOf(t, d, names...)); diff != "" {
			t.Errorf("after a reload (-want +got):\n%s", diff)
		}
		if _, err := d.Change(t.Context(), []control.Change{{Do: control.StopDaemon}}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(d.keptPath()); !os.IsNotExist(err) {
			t.Errorf("with nothing set by hand the file is there: %v", err)
		}
	})
}

// TestOneOfTwoBoundsAlone: sync_threshold was set by hand beside a line of the file that has gone since. A start does not fail by that.
func TestOneOfTwoBoundsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _, end := runDaemon(t, siteFile)
		defer end()
		d.handMade.set("sync_threshold", 80)
		if err := d.pool.ask(func() error { return d.tune(d.pool.plane) }); err != nil {
			t.Fatal(err)
		}
		want := map[string]uint32{"sync_threshold": 3, "sync_period": 50}
		if diff := cmp.Diff(want, settingsOf(t, d, "sync_threshold", "sync_period")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestWithoutAConfigurationSettingsStayAsThePlaneHasThem, but for those that a hand set and the plane has forgotten.
func TestWithoutAConfigurationSettingsStayAsThePlaneHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		if err := setByHand(r.plane, "pmtu_disc", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d.opts.NoConfig = true
		d.handMade.set("sync_retries", 2)
		if err := d.pool.ask(func() error { return d.tune(d.pool.plane) }); err != nil {
			t.Fatal(err)
		}
		want := map[string]uint32{"pmtu_disc": 0, "sync_retries": 2, "sync_period": 50}
		if diff := cmp.Diff(want, settingsOf(t, d, "pmtu_disc", "sync_retries", "sync_period")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWhatWasSetByHandMayBeOfNoUse(t *testing.T) {
	boot, namespace, err := whereItHolds()
	if err != nil {
		t.Fatal(err)
	}
	good := `{"version":1,"boot":"BOOT","namespace_id":"NS","settings":{"drop_entry":1}}`
	for name, tc := range map[string]struct{ from, to, err string }{
		"good":                 {},
		"of before the boot":   {from: "BOOT", to: "another"},
		"of another namespace": {from: "NS", to: "another"},
		"of another version":   {from: `"version":1`, to: `"version":2`, err: "it has version 2, this one reads 1"},
		"an unknown setting":   {from: "drop_entry", to: "nosuch", err: "no such setting"},
		"out of range":         {from: ":1}}", to: ":4}}", err: "want 0 to 3"},
		"no JSON":              {from: "{", to: "[", err: "invalid character"},
		"twice the same":       {from: `"settings":{"drop_entry":1}`, to: `"sync_daemons":[{"interface":"a"},{"interface":"b"}]`, err: "more than one sync daemon of a part"},
	} {
		path := filepath.Join(t.TempDir(), "settings.json")
		text := strings.NewReplacer("BOOT", boot, "NS", namespace).Replace(strings.Replace(good, tc.from, tc.to, 1))
		if tc.from == "" {
			text = strings.NewReplacer("BOOT", boot, "NS", namespace).Replace(good)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := readKept(path)
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v, want %q", name, err, tc.err)
		}
		if got := maps.Equal(k.Settings, map[string]uint32{"drop_entry": 1}); got != (name == "good") {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if k, err := readKept(filepath.Join(t.TempDir(), "none")); err != nil || len(k.Settings) != 0 {
		t.Errorf("none: %+v, %v", k, err)
	}
}
