package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"vipd/internal/control"
)

// told runs a command of vipd's against a daemon.
func told(w *world, args ...string) (out, errs string, code int) {
	var stdout, stderr bytes.Buffer
	code = run(Env{Args: args, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Names: w.names,
		Dial: func(string) (control.Source, error) { return w, w.dial }})
	return stdout.String(), stderr.String(), code
}

func TestClassesByHand(t *testing.T) {
	w := newWorld()
	for _, row := range []struct {
		line, out, errs string
		code            int
	}{
		{"class", "", "", 0},
		{"class add 7 tcp 10.0.8.9 80", "", "", 0},
		{"class add 8 10.0.0.0/8 from 10.0.4.0/24 interface eth0", "", "", 0},
		{"class list", "7 tcp 10.0.8.9 80\n8 10.0.0.0/8 from 10.0.4.0/24 interface eth0\n", "", 0},
		{"class delete 7 tcp 10.0.8.9 81", "", "vipd: 7 tcp 10.0.8.9 81: no such class\n", 1},
		{"class delete 7 tcp 10.0.8.9 80", "", "", 0},
		{"class", "8 10.0.0.0/8 from 10.0.4.0/24 interface eth0\n", "", 0},
		{"class add 0 10.0.8.9", "", "vipd: class, word 1: mark \"0\": want a number from 1 to 4294967295\nhint: want MARK ", 2},
		{"class flush", "", "", 0},
		{"class", "", "", 0},
	} {
		out, errs, code := told(w, strings.Fields(row.line)...)
		if out != row.out || !strings.HasPrefix(errs, row.errs) || (errs == "") != (row.errs == "") || code != row.code {
			t.Errorf("%s: %q, %q, exit %d; want %q, %q, %d", row.line, out, errs, code, row.out, row.errs, row.code)
		}
	}
}

func TestSettingsByHand(t *testing.T) {
	w := newWorld()
	for _, row := range []struct {
		line, out, errs string
		code            int
	}{
		{"sysctl conn_reuse_mode", "conn_reuse_mode = 1\n", "", 0},
		{"sysctl conn_reuse_mode=0", "", "", 0},
		{"sysctl net.ipv4.vs.conn_reuse_mode drop_entry=3 drop_entry", "conn_reuse_mode = 0\ndrop_entry = 3\n", "", 0},
		{"sysctl drop_entry=4", "", "vipd: drop_entry=4: want a number, 0 to 3\n", 2},
		{"sysctl drop_entry=x", "", "vipd: drop_entry=x: want a number, 0 to 3\n", 2},
		{"sysctl nosuch", "", "vipd: \"nosuch\": no such setting\nhint: vipd sysctl --help lists them\n", 2},
	} {
		out, errs, code := told(w, strings.Fields(row.line)...)
		if out != row.out || errs != row.errs || code != row.code {
			t.Errorf("%s: %q, %q, exit %d; want %q, %q, %d", row.line, out, errs, code, row.out, row.errs, row.code)
		}
	}
	out, _, _ := told(w, "sysctl")
	if !strings.HasPrefix(out, "am_droprate = 10\namemthresh = 1024\n") || strings.Count(out, "\n") != 27 {
		t.Errorf("all:\n%s", out)
	}
	if out, errs, code := told(w, "sysctl", "sync_threshold=60 100", "sync_threshold", "sync_period"); out != "sync_threshold = 60\nsync_period = 100\n" || code != 0 {
		t.Errorf("both numbers: %q, %q, exit %d", out, errs, code)
	}
	for _, wrong := range []string{"50 50", "1 x", "1 70000", "1 2 3"} {
		if _, errs, code := told(w, "sysctl", "sync_threshold="+wrong); code != 2 || !strings.Contains(errs, "sync_threshold") {
			t.Errorf("%s: %q, exit %d", wrong, errs, code)
		}
	}
	w.err = errors.New("the daemon is stopping")
	if _, errs, code := told(w, "sysctl", "drop_entry=1"); code != 1 || !strings.Contains(errs, "stopping") {
		t.Errorf("%q, exit %d", errs, code)
	}
}
