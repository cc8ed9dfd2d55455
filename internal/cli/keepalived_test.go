package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func keepalived(args ...string) (code int, out string) {
	var b bytes.Buffer
	env := Env{Stdout: &b, Stderr: &b, Getenv: func(string) string { return "" }}
	return Keepalived("keepalived", args, env), b.String()
}

func TestKeepalivedCommandLine(t *testing.T) {
	inDir(t, map[string]string{"bad.conf": "vrrp_instance A {\ninterface eth0\nvirtual_router_id 300\n}\n", "empty.conf": ""})
	const said = "(bad.conf: Line 3) number '300' outside range [1, 255]\n"
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		wants string
	}{
		{"a clean file", []string{"-t", "-f", "empty.conf"}, 0, ""},
		{"a bad file", []string{"-t", "-f", "bad.conf"}, 5, said},
		{"the file attached", []string{"-t", "-fbad.conf"}, 5, said},
		{"long options", []string{"--config-test", "--use-file=bad.conf"}, 5, said},
		{"and their beginnings", []string{"--config-t", "--use-f", "bad.conf"}, 5, said},
		{"options of a daemon are passed over", []string{"-nlD", "-S", "3", "--log-facility", "1", "-i", "x", "-t", "-f", "bad.conf"}, 5, said},
		{"a word too many", []string{"-t", "-f", "bad.conf", "x", "y"}, 5, "Unexpected argument(s): x y \n"},
		{"an unknown option", []string{"-t", "-q"}, 1, "Unknown option -q\n"},
		{"an unknown long option", []string{"--nonsense"}, 1, "Unknown option --nonsense\n"},
		{"its version", []string{"-v"}, 0, "Keepalived v2.2.7"},
		{"a signal's number", []string{"--signum=DATA"}, 0, "10\n"},
		{"no such signal", []string{"--signum", "X"}, 1, "Unknown sigfunc X\n"},
		{"a start that the file forbids", []string{"-nl", "-p", "pid", "-f", "bad.conf"}, 2, "[no-vrid]"},
		{"a start without a file", []string{"-nG", "-p", "pid", "-f", "none.conf"}, 6, "none.conf"},
		{"a pid file where none can be", []string{"-nG", "-p", "none/pid", "-f", "empty.conf"}, 1, "write the pid file: open none/pid.part"},
		{"options that mean nothing here", []string{"-nlP", "-p", "pid", "-f", "none.conf"}, 6, "-P has no effect: there is one process"},
		{"a facility that there is not", []string{"-n", "-S", "9"}, 2, "-S 9: there is no such facility"},
		{"a missing file is no error", []string{"-t", "-f", "none.conf"}, 0, "none.conf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := keepalived(c.args...)
			if code != c.code || !strings.Contains(out, c.wants) || c.wants == "" && out != "" {
				t.Errorf("exit %d, want %d and %q in:\n%s", code, c.code, c.wants, out)
			}
		})
	}
}

func TestKeepalivedWritesItsLog(t *testing.T) {
	inDir(t, map[string]string{"bad.conf": "foo\n"})
	for arg, name := range map[string]string{"-tshort": "short", "-t=eq": "=eq", "--config-test=long": "long"} {
		if code, out := keepalived(arg, "-f", "bad.conf"); code != 5 || out != "" {
			t.Errorf("%s: exit %d: %s", arg, code, out)
		}
		if b, err := os.ReadFile(name); err != nil || !strings.Contains(string(b), "Unknown keyword 'foo'") {
			t.Errorf("%s: %v: %s", arg, err, b)
		}
	}
}

func TestCheckAsKeepalived(t *testing.T) {
	inDir(t, map[string]string{"bad.conf": "vrrp_instance A {\ninterface eth0\nvirtual_router_id 300\n}\n"})
	code, out, errs := vipd(t, "", "check", "--as-keepalived", "bad.conf")
	if code != 5 || out != "" || !strings.HasPrefix(errs, "(bad.conf: Line 3) number '300' outside range [1, 255]\n(bad.conf: Line 3) (A): VRID '300' not valid") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, _ := vipd(t, "", "check", "--as-keepalived", "-o", "json", "bad.conf"); code != 2 {
		t.Errorf("exit %d", code)
	}
}
