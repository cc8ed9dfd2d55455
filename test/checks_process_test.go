package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vipd/internal/control"
)

// checksFile has real servers whose answers are read, one by each way to have rights: a raw socket, a low source port.
const checksFile = `global_defs {
    script_user root
}
virtual_server 10.0.8.9 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    delay_loop 1
    warmup 1
    real_server 127.0.0.2 8080 {
        HTTP_GET {
            url {
                path /
                status_code 200
                regex "hel+o"
            }
            connect_timeout 20
            retry 0
            bindto 127.0.0.1
            bind_port 99
        }
    }
    real_server 127.0.0.3 8080 {
        PING_CHECK {
            retry 0
        }
    }
    real_server 127.0.0.4 8080 {
        TCP_CHECK {
            retry 0
        }
    }
}
`

// slowPages serves pages that take a while, so that there is always a check under way, and counts what it was asked.
func slowPages(t *testing.T) *atomic.Int64 {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:8080")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked := &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 4096)); err != nil {
					return
				}
				asked.Add(1)
				time.Sleep(time.Second)
				_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
			}()
		}
	}()
	return asked
}

// checksProcess waits until there is one other than before, and all real servers are up.
func checksProcess(t *testing.T, before int) (pid int) {
	t.Helper()
	eventually(t, 60*time.Second, "the checks have a process and all real servers are up", func() bool {
		var s control.Status
		if err := json.Unmarshal([]byte(vipd(t, "status", "-o", "json").stdout), &s); err != nil || s.Checks == nil || s.Checks.PID == 0 || s.Checks.PID == before {
			return false
		}
		pid = s.Checks.PID
		if len(s.Checks.Lacks) > 0 || s.Checks.Inside {
			t.Fatalf("%+v", s.Checks)
		}
		return len(s.Services) == 1 && !slices.ContainsFunc(s.Services[0].Reals, func(r control.Real) bool { return !r.Healthy })
	})
	return pid
}

// holdsNothing looks at a process from outside.
func holdsNothing(t *testing.T, pid, parent int) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/", pid)
	tasks, err := filepath.Glob(path + "task/*/status")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		for set, has := range capabilitiesOf(t, task) {
			if set != "CapBnd" && has != 0 {
				t.Errorf("%s: %s is %x", task, set, has)
			}
		}
		text, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`NoNewPrivs:\t1`, fmt.Sprintf(`PPid:\t%d`, parent), `Groups:\t ?`, `Uid:\t([1-9]\d*)\t(\d+)\t(\d+)\t(\d+)`, `Gid:\t([1-9]\d*)\t(\d+)\t(\d+)\t(\d+)`} {
			m := regexp.MustCompile("(?m)^" + want + "$").FindStringSubmatch(string(text))
			if m == nil || len(m) == 5 && (m[1] != m[2] || m[2] != m[3] || m[3] != m[4]) {
				t.Errorf("%s is not %s:\n%s", task, want, text)
			}
		}
	}
	if comm, err := os.ReadFile(path + "comm"); err != nil || string(comm) != "vipd-checks\n" {
		t.Errorf("it is called %q: %v", comm, err)
	}
	open, err := os.ReadDir(path + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range open {
		name, err := os.Readlink(path + "fd/" + f.Name())
		fd, _ := strconv.Atoi(f.Name())
		if err == nil && !(fd < 2 && name == "/dev/null" || fd == 2 && strings.HasPrefix(name, "pipe:") || fd > 2 && (strings.HasPrefix(name, "socket:") || strings.HasPrefix(name, "anon_inode:[event")) || strings.HasPrefix(name, "/sys/fs/cgroup/")) {
			t.Errorf("it has descriptor %d: %s", fd, name)
		}
	}
}

// zombies are children of a process that have ended and were not waited for.
func zombies(parent int) (all []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range found {
		text, _ := os.ReadFile(name)
		if _, rest, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(rest, fmt.Sprintf("Z %d ", parent)) {
			all = append(all, string(text))
		}
	}
	return all
}

// TestTheProcessOfTheChecksHoldsNothing: who reads what real servers answer has no rights; it may be killed at any moment, which
// changes no verdict; and it goes with the director, however that goes.
func TestTheProcessOfTheChecksHoldsNothing(t *testing.T) {
	if !alone(t, 3*time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	asked := slowPages(t)
	dir := t.TempDir()
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	start := func() *running {
		run := &running{cmd: exec.Command(program(), "run", "-f", write(t, dir, "director.conf", checksFile), "--interface", "eth0", "-D"), log: &strings.Builder{}}
		run.cmd.Stderr, run.cmd.ExtraFiles = log, []*os.File{log} // which is not for others
		if err := run.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return run
	}
	run := start()
	defer func() {
		if t.Failed() {
			t.Log(said())
		}
	}()
	pid := checksProcess(t, 0)
	holdsNothing(t, pid, run.cmd.Process.Pid)

	began := len(said())
	for range 3 {
		n := asked.Load()
		eventually(t, 60*time.Second, "a check is under way", func() bool { return asked.Load() > n })
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid = checksProcess(t, pid)
	}
	holdsNothing(t, pid, run.cmd.Process.Pid)
	text := said()[began:]
	if strings.Count(text, "The process of the checks has ended, due to signal 9") != 3 {
		t.Errorf("its ends are not told:\n%s", text)
	}
	for _, verdict := range []string{"failed", "Removing", "Rescheduling", "ERROR"} {
		if strings.Contains(text, verdict) {
			t.Errorf("an end of the process came to a verdict: %s", verdict)
		}
	}
	if out := works(t, "status"); !strings.Contains(out, fmt.Sprintf("checks by pid %d of user ", pid)) || !strings.Contains(out, "started 4 times") {
		t.Errorf("status:\n%s", out)
	}

	works(t, "upgrade")
	gone := func(pid int) func() bool {
		return func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
	}
	eventually(t, 60*time.Second, "the process goes with an upgrade", gone(pid))
	pid = checksProcess(t, pid)
	holdsNothing(t, pid, run.cmd.Process.Pid)
	if all := zombies(run.cmd.Process.Pid); len(all) > 0 {
		t.Errorf("left: %s", all)
	}

	run.end(t, syscall.SIGKILL)
	eventually(t, 60*time.Second, "the process goes with a director that is killed", gone(pid))
	run = start()
	pid = checksProcess(t, pid)
	if code := run.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	eventually(t, 60*time.Second, "the process goes with a director that stops", gone(pid))
	nothingNew(t, before)
}
