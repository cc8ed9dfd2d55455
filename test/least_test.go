package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/host"
)

// capabilitiesOf are the sets in a file of /proc like self/status, by their names there.
func capabilitiesOf(t *testing.T, status string) map[string]uint64 {
	t.Helper()
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^(Cap\w+):\t([0-9a-f]{16})$`).FindAllSubmatch(text, -1) {
		if sets[string(m[1])], err = strconv.ParseUint(string(m[2]), 16, 64); err != nil {
			t.Fatal(err)
		}
	}
	if len(sets) != 5 {
		t.Fatalf("%s has the sets %v", status, sets)
	}
	return sets
}

// documentedCapabilities are those of docs/install.md: the table's first column.
func documentedCapabilities(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(CAP_[A-Z_]+)` \\|").FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// leastFile is a director of eth0; more is further text.
func leastFile(dir, global, more string) string {
	return fmt.Sprintf(`global_defs {
    script_user root
    %[2]s
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 255
    virtual_ipaddress {
        10.0.8.9
    }
    notify_master "%[1]s/told 1"
}
virtual_server 10.0.8.9 80 {
    protocol TCP
    lb_algo rr
    lb_kind DR
    real_server 10.0.8.12 80 {
        MISC_CHECK {
            misc_path "%[1]s/told 3"
        }
    }
}
`+more, dir, global)
}

// leastMore is what a reload adds: another interface, a virtual MAC, nftables, a FIFO of another user, a real server.
const leastMore = `vrrp_instance VI_2 {
    state MASTER
    interface eth1
    virtual_router_id 52
    priority 255
    use_vmac
    no_accept
    virtual_ipaddress {
        10.0.8.10
    }
    virtual_routes {
        10.77.0.0/16 dev eth1
    }
    notify_master "%[1]s/told 2"
}
virtual_server 10.0.8.10 80 {
    protocol TCP
    lb_algo rr
    lb_kind DR
    real_server 10.0.8.13 80 {
    }
}
`

// least is a director whose capabilities are looked at.
type least struct {
	t    *testing.T
	dir  string
	pid  int
	want uint64 // what it holds
	all  uint64 // what its scripts have
	said func() string
}

// told waits for a script of root's, which has what root has.
func (l least) told(by string) {
	l.t.Helper()
	path := l.dir + "/status." + by
	eventually(l.t, 60*time.Second, "script "+by+" has run", func() bool { _, err := os.Stat(path); return err == nil })
	if sets := capabilitiesOf(l.t, path); sets["CapEff"] != l.all || sets["CapBnd"] != capabilitiesOf(l.t, "/proc/self/status")["CapBnd"] {
		l.t.Errorf("script %s of root's has %x, want %x", by, sets, l.all)
	}
	if err := os.Remove(path); err != nil {
		l.t.Fatal(err)
	}
}

// holds wants every thread to hold no more than it needs, once it has started n times.
func (l least) holds(when string, starts int) {
	l.t.Helper()
	eventually(l.t, 60*time.Second, "it is in force", func() bool { return strings.Count(l.said(), "Startup complete") == starts })
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", l.pid))
	if err != nil || len(tasks) < 2 {
		l.t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		if sets := capabilitiesOf(l.t, task); sets["CapEff"] != l.want || sets["CapPrm"] != l.want {
			l.t.Errorf("%s: thread %s holds %x, want %x", when, task, sets, l.want)
		}
	}
}

// TestADirectorHoldsWhatItNeeds: what it gives up, that a reload and an upgrade work without, and that scripts of root's have
// all that they had.
func TestADirectorHoldsWhatItNeeds(t *testing.T) {
	if !alone(t, 3*time.Minute, "sh") {
		return
	}
	addCables(t)
	before := left(t)
	var want uint64
	var names []string
	for _, c := range host.Least {
		want |= 1 << c.Bit
		names = append(names, c.Name)
	}
	if told := documentedCapabilities(t); strings.Join(told, " ") != strings.Join(names, " ") {
		t.Errorf("docs/install.md names\n%s\nheld are\n%s", told, names)
	}
	all := capabilitiesOf(t, "/proc/self/status")["CapEff"]
	dir := t.TempDir()
	told := write(t, dir, "told", "#!/bin/sh\ncat /proc/self/status >"+dir+"/status.$$ && mv "+dir+"/status.$$ "+dir+"/status.$1\n")
	if err := os.Chmod(told, 0o755); err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, "director.conf", leastFile(dir, "", ""))
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	run := &running{cmd: exec.Command(program(), "run", "-f", file, "-D"), log: &strings.Builder{}}
	run.cmd.Stderr = log
	if err := run.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	l := least{t, dir, run.cmd.Process.Pid, want & all, all, said}
	l.told("1")
	l.told("3")
	l.holds("after the start", 1)

	write(t, dir, "director.conf", leastFile(dir, "vrrp_notify_fifo "+dir+"/fifo nobody", fmt.Sprintf(leastMore, dir)))
	works(t, "reload")
	l.told("2")
	eventually(t, 60*time.Second, "the virtual MAC has the address", func() bool {
		out := script(t, 0, "ip -br addr show; ip route show; nft list ruleset")
		return strings.Contains(out, "vrrp.52@eth1") && strings.Contains(out, "10.0.8.10/32") && strings.Contains(out, "10.77.0.0/16") && strings.Contains(out, "10.0.8.10")
	})
	if out := works(t, "status"); !strings.Contains(out, "eth1") || !strings.Contains(out, "10.0.8.10:80") {
		t.Errorf("after the reload:\n%s", out)
	}
	l.holds("after the reload", 1)
	if text := said(); strings.Contains(text, "ERROR") || strings.Contains(text, "ermitted") {
		t.Errorf("it is not content:\n%s", text)
	}

	works(t, "upgrade")
	l.told("1")
	l.holds("after the upgrade", 2)
	for _, as := range []struct {
		user *syscall.Credential
		code int
	}{{nobody, 4}, {&syscall.Credential{}, 0}} {
		cmd := exec.Command(program(), "status")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as.user}
		if o := finish(t, cmd); o.code != as.code {
			t.Errorf("status for the user %d: %s", as.user.Uid, o)
		}
	}
	if t.Failed() {
		t.Log(said())
	}
	if code := run.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if _, err := netlink.LinkByName("vrrp.52"); err == nil {
		t.Error("the virtual MAC is left")
	}
	nothingNew(t, before)
}
