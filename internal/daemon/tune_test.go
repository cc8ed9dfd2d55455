package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"vipd/internal/control"
	"vipd/internal/plane"
)

const tunedFile = "global_defs {\n\tlvs_sysctl sloppy_tcp 1\n\tlvs_sysctl drop_packet 3\n\tfwmark_class 7 tcp 10.0.8.9 80\n}\n"

// TestTheFileSaysSettingsAndClasses: what a line no longer says goes back to its default; what was set by hand too.
func TestTheFileSaysSettingsAndClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, tunedFile+siteFile)
		defer end()
		synctest.Wait()
		check := func(when string, sloppy, drop uint32, classes string) {
			t.Helper()
			settings, _ := r.plane.Settings()
			have, _ := r.plane.Classes()
			if settings["sloppy_tcp"] != sloppy || settings["drop_packet"] != drop || settings["pmtu_disc"] != 1 || fmt.Sprint(have) != classes {
				t.Errorf("%s: %v, %v", when, settings, have)
			}
		}
		reload := func(text string) {
			t.Helper()
			d.write(t, text)
			if out := d.Reload(t.Context()); !out.Done || out.Error != "" {
				t.Fatalf("outcome %+v", out)
			}
		}
		reload(tunedFile + siteFile)
		check("as the file says", 1, 3, "[7 tcp 10.0.8.9 80]")
		if err := setByHand(r.plane, "pmtu_disc", 0); err != nil {
			t.Fatal(err)
		}
		reload(strings.Replace(strings.Replace(tunedFile, "\tlvs_sysctl drop_packet 3\n", "", 1), "10.0.8.9 80", "10.0.8.9 443", 1) + siteFile)
		check("changed", 1, 0, "[7 tcp 10.0.8.9 443]")
		reload(siteFile)
		check("nothing said", 0, 0, "[]")
	})
}

// TestWhatTheDataPlaneHasNotIsAnswered by the error that ipvsadm's messages are made of.
func TestWhatTheDataPlaneHasNotIsAnswered(t *testing.T) {
	bare := struct{ plane.Plane }{plane.NewMemory()}
	if err := setByHand(bare, "drop_entry", 1); !errors.Is(err, plane.ErrUnsupported) {
		t.Errorf("settings: %v", err)
	}
	if err := classByHand(bare, control.Change{Do: control.FlushClasses}); !errors.Is(err, plane.ErrUnsupported) {
		t.Errorf("classes: %v", err)
	}
	for errno, change := range map[string]control.Change{"ENOENT": {Do: control.Tune, Setting: "nosuch"}, "ERANGE": {Do: control.Tune, Setting: "drop_entry", Value: 4}} {
		if got := ChangePlane(plane.NewMemory(), []control.Change{change}); got[0].Errno != errno {
			t.Errorf("%+v: %+v", change, got)
		}
	}
}
