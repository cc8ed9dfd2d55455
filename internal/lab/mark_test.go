package lab

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vipd/internal/need"
)

func TestMarkTellsALabsProcesses(t *testing.T) {
	for sentence, c := range map[string]struct {
		environ, want string // host and role; empty: not ours
	}{
		"a director of this lab":             {"A=b\x00VIPD_LAB=x/director1/director\x00C=d\x00", "director1 director"},
		"a process of another lab":           {"VIPD_LAB=x2/director1/director\x00", ""},
		"no mark":                            {"A=VIPD_LAB=x/h/r\x00", ""},
		"a mark of another shape":            {"VIPD_LAB=x/h\x00", ""},
		"a process that cleared its strings": {"\x00\x00\x00", ""},
		"nothing at all":                     {"", ""},
	} {
		host, role, ok := parseMark([]byte(c.environ), "x")
		if got := strings.TrimSpace(host + " " + role); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, %t", sentence, got, ok)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add([]byte("VIPD_LAB=x/h/r\x00"))
	f.Add([]byte("VIPD_LAB=\x00VIPD_LAB=x//\x00"))
	f.Fuzz(func(t *testing.T, environ []byte) {
		host, role, ok := parseMark(environ, "x")
		if ok && !strings.Contains(string(environ), MarkVar+"=x/"+host+"/"+role) {
			t.Errorf("found %q %q in %q", host, role, environ)
		}
	})
}

func TestALabInAContainerIsAnotherLab(t *testing.T) {
	need.Root(t)
	name := fmt.Sprintf("vipdmark%d", os.Getpid())
	for _, container := range []bool{false, true} {
		cmd := exec.Command("sleep", "60")
		cmd.Env = []string{MarkVar + "=" + name + "/real1/" + RoleWeb}
		if container {
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all, err := members(name)
		if err != nil || container != (len(all) == 0) {
			t.Errorf("in a container: %t; members: %v, %v", container, all, err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func TestOwnAncestorsAreSpared(t *testing.T) {
	up := ancestors(os.Getpid())
	if !up[os.Getpid()] || !up[os.Getppid()] || !up[1] {
		t.Errorf("ancestors: %v", up)
	}
}

func TestExecEnvPutsTheLabsNamesFirst(t *testing.T) {
	l := Named("x", "/d", "x-", "", nil)
	got := l.ExecEnv([]string{"PATH=/bin", "VIPD_INSTANCE=old", "VIPD_LAB=y/h/r", "A=b"}, "director1")
	for _, want := range []string{"PATH=/d/bin:/bin", "VIPD_INSTANCE=x-director1", "VIPD_LAB=x/director1/exec", "A=b"} {
		if !slices.Contains(got, want) {
			t.Errorf("lacks %q: %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("more than these: %v", got)
	}
}
