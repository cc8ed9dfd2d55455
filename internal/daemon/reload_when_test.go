package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimesOfReloads(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 3, 4, 12, 30, 0, 0, zone)
	for _, c := range []struct{ text, want string }{
		{"12:30:01", "2026-03-04T12:30:01+02:00"}, {"12:30:00", "2026-03-05T12:30:00+02:00"}, {"00:00:00", "2026-03-05T00:00:00+02:00"},
		{"10:30:01Z", "2026-03-04T10:30:01Z"}, {"10:30:00Z", "2026-03-05T10:30:00Z"},
		{"26-12-31 23:59:59", "2026-12-31T23:59:59+02:00"}, {"2026-12-31 23:59:59Z", "2026-12-31T23:59:59Z"}, {"2020-01-01 00:00:00", "2020-01-01T00:00:00+02:00"},
		{"", ""}, {"Z", ""}, {"1:30:00", ""}, {"12:30", ""}, {" 12:30:00", ""}, {"12:30:00 ", ""}, {"12:60:00", ""}, {"25:00:00", ""}, {"2026-02-30 00:00:00", ""},
		{"2026-12-31  23:59:59", ""}, {"2026-12-31T23:59:59", ""}, {"12:30:00z", ""},
	} {
		at, err := reloadTime(c.text, now)
		if got := at.Format(time.RFC3339); (err != nil) != (c.want == "") || c.want != "" && got != c.want {
			t.Errorf("%q: %s, %v, want %s", c.text, got, err, c.want)
		}
	}
}

// reloadFile is siteFile with what global_defs says around a reload.
func reloadFile(dir string, more ...string) string {
	return fmt.Sprintf("global_defs {\n reload_time_file %s/when\n reload_file %[1]s/reading\n config_save_dir %[1]s/saved\n reload_check_config %[1]s/log\n %s\n}\n%s", dir, strings.Join(more, "\n "), siteFile)
}

func TestAReloadComesAtItsTime(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir, more := t.TempDir(), ""
			if repeat {
				more = "reload_repeat"
			}
			d, r, _, end := runDaemon(t, reloadFile(dir, more))
			defer end()
			when := filepath.Join(dir, "when")
			say := func(text string) {
				if err := os.WriteFile(when, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
			reloads := func() int { synctest.Wait(); return strings.Count(r.log.String(), "Reload complete") }
			say("at noon\n")
			if !r.log.has(when + `: "at noon" is no time`) {
				t.Error("nothing is said of what is no time")
			}
			say(time.Now().Add(time.Minute).Format(time.TimeOnly) + "\n")
			if os.Remove(when); !r.log.has("Scheduling reload for ") {
				t.Error("nothing is said of the reload")
			}
			time.Sleep(2 * time.Minute)
			if reloads() != 0 || !r.log.has("The scheduled reload is cancelled") {
				t.Errorf("%d reloads, though the file was removed", reloads())
			}
			say(time.Now().Add(time.Minute).Format(time.TimeOnly))
			time.Sleep(30 * time.Second)
			before := reloads()
			time.Sleep(30 * time.Second)
			_, err := os.Stat(when)
			if before != 0 || reloads() != 1 || repeat != (err == nil) {
				t.Errorf("repeat %v: %d reloads before its time, %d after, file: %v", repeat, before, reloads(), err)
			}
			var due time.Time
			if err := d.order(t.Context(), func() { due = d.due.at }); err != nil {
				t.Fatal(err)
			}
			if wait := time.Until(due); repeat != (wait > 23*time.Hour && wait <= 24*time.Hour) {
				t.Errorf("repeat %v: the next one is due in %s", repeat, wait)
			}
		})
	}
}

func TestWhatIsKeptOfAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d, _, _, end := runDaemon(t, reloadFile(dir))
		defer end()
		text := d.read1(t)
		d.write(t, text+"no_such_keyword\n")
		d.Reload(t.Context())
		if _, err := os.Stat(filepath.Join(dir, "reading")); err == nil {
			t.Error("reload_file is left")
		}
		log, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil || !strings.Contains(string(log), "no_such_keyword") {
			t.Errorf("the log of reload_check_config is %q, %v", log, err)
		}
		pid := os.Getpid()
		for name, has := range map[string]string{fmt.Sprintf("keepalived.conf.%d.1", pid): "no_such_keyword", fmt.Sprintf("keepalived_vrrp.%d.1.pre", pid): "VRRP Instance = VI_1",
			fmt.Sprintf("keepalived_vrrp.%d.1.post", pid): "VRRP Instance = VI_1"} {
			if got, err := os.ReadFile(filepath.Join(dir, "saved", name)); err != nil || !strings.Contains(string(got), has) {
				t.Errorf("%s: %v, %d bytes without %q", name, err, len(got), has)
			}
		}
	})
}

// read1 is the text of the daemon's file.
func (d *daemon) read1(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.opts.Config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
