package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/conf"
)

func TestScriptsAroundEverythingAreWaitedFor(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, text string
		timeout    time.Duration
		want       string
	}{
		{"one that does its work", "#!/bin/sh\necho done > " + filepath.Join(dir, "done"), time.Minute, ""},
		{"one that fails", "#!/bin/sh\nexit 3", time.Minute, "startup script script failed, status 3"},
		{"one that hangs", "#!/bin/sh\nsleep 600", time.Millisecond, "timed out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "_"))
			if err := os.WriteFile(file, []byte(c.text), 0o700); err != nil {
				t.Fatal(err)
			}
			log := new(journal)
			d := &daemon{events: quiet(t, log), cfg: &conf.Config{}}
			d.cfg.Global.Scripts = conf.GlobalScripts{Startup: &conf.Script{Args: []string{file}}, StartupTimeout: c.timeout}
			if err := d.runStartup(context.Background()); err != nil || !log.has(c.want) {
				t.Errorf("%v, says\n%s", err, log)
			}
			d.runShutdown() // there is none
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		t.Error("it was not waited for")
	}
}
