package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MarkVar is the environment variable that makes a process recognizable as part of a lab: NAME/HOST/ROLE. Everything
// that a lab starts carries it, and so do the children of that, whatever else happens to them. No process of anybody
// else has it, so nothing foreign is ever ended, and no file can go stale.
const MarkVar = "VIPD_LAB"

// The roles that processes have in a lab.
const (
	RoleDirector = "director"
	RoleWeb      = "web"
	RoleStore    = "store" // of the third tier
	RoleProxy    = "proxy"
	RoleExport   = "export" // what keeps the proxies in step with a director
	RoleLoad     = "load"
	RoleExec     = "exec" // lab exec, and what was started from there
)

// Member is a process of a lab.
type Member struct {
	PID        int
	Host, Role string
}

// members finds every process of the lab called name, except the caller and its ancestors (a person may tear the lab
// down from a shell inside it).
func members(name string) ([]Member, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	skip := ancestors(os.Getpid())
	var out []Member
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || skip[pid] {
			continue
		}
		if m, ok := member(pid, name); ok {
			out = append(out, m)
		}
	}
	return out, nil
}

// member reads the mark of a process. A process that has ended, or is a zombie, has none.
func member(pid int, name string) (Member, bool) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return Member{}, false
	}
	host, role, ok := parseMark(env, name)
	return Member{PID: pid, Host: host, Role: role}, ok && sameMachine(pid)
}

// sameMachine tells whether a process is not in a container of this machine: /proc shows those too, and a lab there may
// have the same name.
func sameMachine(pid int) bool {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && its == own
}

// parseMark finds the mark of the lab called name in an environment as /proc shows it: strings that end with a zero,
// and whatever else a process has put there.
func parseMark(environ []byte, name string) (host, role string, ok bool) {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		mark, ok := strings.CutPrefix(string(v), MarkVar+"=")
		if !ok {
			continue
		}
		part := strings.Split(mark, "/")
		if len(part) != 3 || part[0] != name {
			return "", "", false
		}
		return part[1], part[2], true
	}
	return "", "", false
}

// ancestors returns pid and everything above it.
func ancestors(pid int) map[int]bool {
	out := map[int]bool{}
	for pid > 0 && !out[pid] {
		out[pid] = true
		pid = parent(pid)
	}
	return out
}

// parent reads the fourth field of /proc/PID/stat; the second may hold anything, so it is counted from its last ")".
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// signal sends sig to m if it still is what it was: the process is held by a pidfd (os.FindProcess) before the mark is
// read again, so a number that was given anew is never hit.
func (m Member) signal(name string, sig syscall.Signal) error {
	p, err := os.FindProcess(m.PID)
	if err != nil {
		return err
	}
	defer p.Release()
	if now, ok := member(m.PID, name); !ok || now != m {
		return os.ErrProcessDone
	}
	return p.Signal(sig)
}

// endMembers ends every process of the lab: asked first, so that directors take down what they put up, killed after grace.
func endMembers(name string, grace time.Duration) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		left, err := members(name)
		if err != nil {
			return err
		}
		for _, m := range left {
			if err := m.signal(name, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("end process %d: %w", m.PID, err)
			}
		}
		if gone(name, grace) {
			return nil
		}
	}
	left, _ := members(name)
	return fmt.Errorf("%d processes of the lab do not end (first: %d)", len(left), left[0].PID)
}

// gone waits until the lab has no process, at most for limit.
func gone(name string, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if left, err := members(name); err == nil && len(left) == 0 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// withMark returns environ with the mark of a process of this lab, and further variables.
func (l *Lab) withMark(environ []string, host, role string, more ...string) []string {
	var out []string
	for _, v := range environ {
		if !strings.HasPrefix(v, MarkVar+"=") {
			out = append(out, v)
		}
	}
	return append(append(out, MarkVar+"="+l.Name+"/"+host+"/"+role), more...)
}

// ExecEnv is the environment of a command that a person runs inside host: vipd and ipvsadm first in PATH, and talking to
// the director of that host when nothing else is said.
func (l *Lab) ExecEnv(environ []string, host string) []string {
	path := filepath.Join(l.Dir, "bin")
	var rest []string
	for _, v := range environ {
		if old, ok := strings.CutPrefix(v, "PATH="); ok {
			path += ":" + old
		} else if !strings.HasPrefix(v, "VIPD_INSTANCE=") {
			rest = append(rest, v)
		}
	}
	return l.withMark(rest, host, RoleExec, "PATH="+path, "VIPD_INSTANCE="+l.InstanceOf(host))
}
