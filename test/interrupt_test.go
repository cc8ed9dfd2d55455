package test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAnInterruptedSceneLeavesNothing ends the play in every way that it may be ended, and shows meanwhile that a second
// one is refused.
func TestAnInterruptedSceneLeavesNothing(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	before := left(t)

	p := startPlay(t)
	for _, args := range [][]string{{"--plain"}, {"up"}, {"down"}} {
		o := vipd(t, append([]string{"lab"}, args...)...)
		if want := "vipd: lab: a lab is being played by process " + p.pid() + "\nhint: end it first: kill -INT " + p.pid() + "\n"; o.code != 3 || o.stderr != want || o.stdout != "" {
			t.Errorf("lab %s beside a play: want exit code 3 and %q, got %s", args[0], want, o)
		}
	}
	// Ctrl-C: the terminal signals the whole process group.
	if code := p.end(t, -p.cmd.Process.Pid, syscall.SIGINT); code != 130 || !strings.Contains(p.said(), "interrupted; the site is removed") {
		t.Errorf("after Ctrl-C: exit code %d\n%s", code, p.said())
	}
	nothingNew(t, before)

	p = startPlay(t)
	if code := p.end(t, p.cmd.Process.Pid, syscall.SIGKILL); code != -1 {
		t.Errorf("after SIGKILL: exit code %d", code)
	}
	eventually(t, 5*time.Second, "no program of a killed play runs on", func() bool { return len(processes(t)) == 0 })
	if slices.Equal(before, left(t)) {
		t.Error("a play that is killed cannot clean up, and nothing was left for the next one to remove")
	}

	p = startPlay(t)
	if code := p.end(t, p.cmd.Process.Pid, syscall.SIGTERM); code != 130 {
		t.Errorf("after SIGTERM: exit code %d\n%s", code, p.said())
	}
	nothingNew(t, before)

	p = startPlay(t, "--step", "1s")
	p.out.Close() // as `vipd lab | head` does
	if code := p.wait(t); code == 0 {
		t.Errorf("nobody read on: exit code %d\n%s", code, p.said())
	}
	nothingNew(t, before)
}

// TestALabThatStandsIsReplaced: a second "lab up" begins anew, and one "lab down" removes everything.
func TestALabThatStandsIsReplaced(t *testing.T) {
	if !alone(t, time.Minute) {
		return
	}
	before := left(t)
	without := []string{"lab", "up", "--without", "director1,director2,real1,real2"}
	works(t, without...)
	works(t, "lab", "exec", "client", "touch", "/run/vipd/lab/mine")
	works(t, without...)
	if o := vipd(t, "lab", "exec", "client", "test", "-e", "/run/vipd/lab/mine"); o.code != 1 {
		t.Errorf("the first lab is still there: %s", o)
	}
	works(t, "lab", "down")
	nothingNew(t, before)
}

// playing is a `vipd lab` that plays.
type playing struct {
	cmd  *exec.Cmd
	out  *os.File
	mu   sync.Mutex
	text bytes.Buffer
}

// startPlay starts a play and returns when traffic runs.
func startPlay(t *testing.T, args ...string) *playing {
	t.Helper()
	p := &playing{cmd: exec.Command(program(), append([]string{"lab", "--plain"}, args...)...)}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = out
	p.cmd.Stdout, p.cmd.Stderr = in, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	go io.Copy(p, out)
	eventually(t, 30*time.Second, "traffic runs", func() bool { return strings.Contains(p.said(), "steady traffic") })
	return p
}

// Write keeps what the play says.
func (p *playing) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *playing) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *playing) pid() string { return strconv.Itoa(p.cmd.Process.Pid) }

// end signals pid, or the process group -pid, and returns the exit code.
func (p *playing) end(t *testing.T, pid int, sig syscall.Signal) int {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

func (p *playing) wait(t *testing.T) int {
	t.Helper()
	late := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	if !late.Stop() {
		t.Errorf("the play did not end within 20 s:\n%s", p.said())
	}
	if p.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}
