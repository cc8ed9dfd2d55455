package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What global_defs says around a reload: when one is due by itself (reload_time_file), who must not touch the files
// meanwhile (reload_file), and what is kept of it (config_save_dir).

// timetable is what reload_time_file says.
type timetable struct {
	text string    // its first line, as it was last
	at   time.Time // zero: nothing is due
}

// reloadTicks gives a tick a second while there is a file to look at.
func (d *daemon) reloadTicks() <-chan time.Time {
	switch path := d.cfg.Global.Manage.ReloadTimeFile; {
	case path == "" && d.clock != nil:
		d.clock.Stop()
		d.clock, d.due = nil, timetable{}
	case path != "" && d.clock == nil:
		d.clock = time.NewTicker(time.Second)
	}
	if d.clock == nil {
		return nil
	}
	return d.clock.C
}

// lookAtTime reads the file and reloads when its time has come.
func (d *daemon) lookAtTime(now time.Time) {
	m, ev := d.cfg.Global.Manage, d.events.of("config")
	text := firstLine(m.ReloadTimeFile)
	if text != d.due.text {
		had := !d.due.at.IsZero()
		d.due = timetable{text: text}
		at, err := reloadTime(text, now)
		switch {
		case text == "" && had:
			ev.Info("The scheduled reload is cancelled: " + m.ReloadTimeFile + " is gone or empty")
		case text == "":
		case err != nil:
			ev.Warn(m.ReloadTimeFile + ": " + err.Error())
		case at.After(now):
			d.due.at = at
			ev.Info("Scheduling reload for " + at.Format(time.DateTime))
		}
	}
	if d.due.at.IsZero() || now.Before(d.due.at) {
		return
	}
	if d.due.at = (time.Time{}); !m.ReloadRepeat {
		if err := os.Remove(m.ReloadTimeFile); err != nil {
			ev.Error("the file of the reload that is due cannot be removed: " + err.Error())
		}
	} else if next, err := reloadTime(text, now); err == nil && next.After(now) {
		d.due.at = next
	}
	_ = d.reread() // which has said what there is to say
}

// firstLine gives the first line of a file, at most 100 bytes; nothing of one that cannot be read.
func firstLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 100))
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// reloadTime reads HH:MM:SS, YY-MM-DD HH:MM:SS or YYYY-MM-DD HH:MM:SS, each with a Z behind it for UTC: exactly so, as in
// keepalived.conf(5). A time without a date is the next one that is to come.
func reloadTime(text string, now time.Time) (time.Time, error) {
	where, bare := now.Location(), text
	if strings.HasSuffix(text, "Z") {
		where, bare = time.UTC, strings.TrimSuffix(text, "Z")
	}
	layout, known := map[int]string{8: time.TimeOnly, 17: "06-01-02 15:04:05", 19: time.DateTime}[len(bare)]
	at, err := time.ParseInLocation(layout, bare, where)
	if !known || err != nil || at.Format(layout) != bare {
		return time.Time{}, fmt.Errorf("%q is no time: expected HH:MM:SS, YY-MM-DD HH:MM:SS or YYYY-MM-DD HH:MM:SS, and Z behind it for UTC", text)
	}
	if layout != time.TimeOnly {
		return at, nil
	}
	day := now.In(where)
	for add := 0; ; add++ {
		if at := time.Date(day.Year(), day.Month(), day.Day()+add, at.Hour(), at.Minute(), at.Second(), 0, where); at.After(now) {
			return at, nil
		}
	}
}

// reading has reload_file be there, and empty, until what it returns is called.
func (d *daemon) reading() (over func()) {
	path := d.cfg.Global.Manage.ReloadFile
	if path == "" {
		return func() {}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		d.events.of("config").Error("reload_file: " + err.Error())
		return func() {}
	}
	return func() { _ = os.Remove(path) }
}

// checkedReload writes what there was to say of the file into the log of reload_check_config.
//
// keepalived: without reload_check_config it reloads a file with errors too; here none is.
func (d *daemon) checkedReload(said []string) {
	path := d.cfg.Global.Manage.CheckReload
	if path == "" || path == os.DevNull {
		return
	}
	if err := replaceFile(path, []byte(strings.Join(append(said, ""), "\n"))); err != nil {
		d.events.of("config").Error("reload_check_config: " + err.Error())
	}
}

// save keeps a state beside the others of this process in config_save_dir: what keepalived.data says, and, where text is
// given, the file that was read.
func (d *daemon) save(when string, text []byte) {
	dir := d.cfg.Global.Manage.SaveDir
	if dir == "" {
		return
	}
	err := os.Mkdir(dir, 0o755)
	if os.IsExist(err) {
		err = nil
	}
	if err == nil && text != nil {
		err = replaceFile(filepath.Join(dir, fmt.Sprintf("keepalived.conf.%d.%d", os.Getpid(), d.reloads)), text)
	}
	if err == nil && when != "" {
		var b strings.Builder
		d.snapshot().data(&b)
		err = replaceFile(filepath.Join(dir, fmt.Sprintf("keepalived_vrrp.%d.%d.%s", os.Getpid(), d.reloads, when)), []byte(b.String()))
	}
	if err != nil {
		d.events.of("config").Error("config_save_dir: " + err.Error())
	}
}
