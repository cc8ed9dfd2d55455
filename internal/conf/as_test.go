package conf

import (
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/need"
)

// host is the machine of the oracle: lo and eth0, and the users and files of this one.
func host(t testing.TB) TestOptions {
	t.Helper()
	return TestOptions{
		Interfaces: func(name string) (Interface, bool) {
			switch name {
			case "lo":
				return Interface{Loopback: true, NoMulticast: true, MTU: 65536}, true
			case "eth0", "eth0p":
				return Interface{}, true
			}
			return Interface{}, false
		},
		User: func(name, group string) bool {
			_, err := user.Lookup(name)
			if group != "" && err == nil {
				_, err = user.LookupGroup(group)
			}
			return err == nil
		},
		Script: func(command, _, _ string) ScriptState {
			path, err := exec.LookPath(command)
			if err != nil {
				_, statErr := os.Stat(command)
				return ScriptState{Missing: statErr != nil, NotProgram: statErr == nil}
			}
			path, err = filepath.EvalSymlinks(path)
			return ScriptState{Missing: err != nil, NotProgram: path == ""}
		},
		Irregular: func(path string) bool {
			i, err := os.Stat(path)
			return err == nil && !i.Mode().IsRegular()
		},
		Resolve: func(string) bool { return false },
		CPUs:    numCPU(),
	}
}

func numCPU() int {
	out, err := exec.Command("getconf", "_NPROCESSORS_ONLN").Output()
	n, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		return 1
	}
	return n
}

// asKeepalived runs Test and writes what it says as the oracle does.
func asKeepalived(t testing.TB, fsys fs.FS, name string) string {
	t.Helper()
	out, exit := Test(fsys, name, host(t))
	return strings.Join(append(out, "rc="+strconv.Itoa(exit)), "\n")
}

// real runs keepalived -t on a text.
func (o *oracle) real(text string) string {
	o.t.Helper()
	code, out, ok := o.check(text)
	if !ok {
		return "crash"
	}
	out = strings.ReplaceAll(out, filepath.Join(o.dir, "f.conf"), "f.conf")
	return out + "rc=" + strconv.Itoa(code)
}

// same compares our Test of a text with keepalived's.
func (o *oracle) same(text string) (diff string, ok bool) {
	want := o.real(text)
	if want == "crash" {
		return "", true
	}
	got := asKeepalived(o.t, fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf")
	return cmp.Diff(want, got), want == got
}

func TestAsKeepalivedCases(t *testing.T) {
	o := newOracle(t)
	_ = need.Tool(t, "keepalived")
	dir := os.Getenv("CONF_CASES")
	names, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
	if dir == "" {
		names, _ = filepath.Glob("testdata/bad/*.conf")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff, ok := o.same(string(text)); !ok {
			t.Errorf("%s (-keepalived +here):\n%s", name, diff)
		}
	}
}
