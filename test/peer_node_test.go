package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kind is which program a node runs.
type kind string

const (
	ours   kind = "vipd"
	theirs kind = "keepalived"
)

// node is one side of a pair: a host with a VRRP router in it.
type node struct {
	pair *pair
	host string // a or b
	kind kind
	file string // configuration
	log  string
	cmd  *exec.Cmd // nil: it does not run
	tmp  string    // TMPDIR; if empty, the test's
}

// peerConfig is one file for both programs; extra are further lines of the instance.
func peerConfig(priority int, pass string, extra ...string) string {
	return fmt.Sprintf(`vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass %s
    }
    %s
    virtual_ipaddress {
        %s
    }
}
`, priority, pass, strings.Join(extra, "\n    "), peerVIP)
}

func (p *pair) newNode(t *testing.T, i int, k kind, config string) {
	t.Helper()
	host := string(rune('a' + i))
	n := &node{pair: p, host: host, kind: k, file: filepath.Join(p.lab.Dir, host+".conf"), log: filepath.Join(p.lab.Dir, host+".log")}
	if err := os.WriteFile(n.file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.log, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.nodes[i] = n
	t.Cleanup(func() {
		if n.cmd != nil {
			n.end(t, syscall.SIGTERM)
		}
	})
}

// start starts the program inside its host.
func (n *node) start(t *testing.T) {
	t.Helper()
	args := []string{program(), "run", "-f", n.file, "--instance", n.pair.name + "-" + n.host, "-D"}
	if n.kind == theirs {
		// -P: VRRP alone, -n: no daemon, -l: log to the console, -D: all of it; pid files of its own.
		args = []string{"keepalived", "-P", "-n", "-l", "-D", "-f", n.file, "-p", n.log + ".pid", "-r", n.log + ".vrrp.pid"}
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if n.tmp != "" {
		n.cmd.Env = append(os.Environ(), "TMPDIR="+n.tmp)
	}
	inside(t, n.pair.lab.Namespace(n.host), n.cmd.Start)
}

// end signals the program and waits for its end. SIGKILL is for every process of it.
func (n *node) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if sig == syscall.SIGKILL {
		n.killChildren(t)
	}
	if err := n.cmd.Process.Signal(sig); err != nil {
		t.Errorf("%s: %v", n, err)
	}
	patience := 8 * time.Second
	if n.kind == theirs {
		patience = 30 * time.Second // of keepalived only what it did is judged, not how long it takes to end
	}
	ended := make(chan error, 1)
	go func() { ended <- n.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil && sig == syscall.SIGTERM {
			t.Errorf("%s, told to stop, ended with: %v", n, err)
		}
	case <-time.After(patience):
		t.Errorf("%s does not end", n)
		n.cmd.Process.Kill()
		<-ended
	}
	n.cmd = nil
}

// killChildren kills the processes below the program's first, which cannot see it: it is stopped. keepalived's VRRP
// process would say goodbye if its parent died before it.
func (n *node) killChildren(t *testing.T) {
	t.Helper()
	pid := n.cmd.Process.Pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Error(err)
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Error(err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Error(err)
		}
		for word := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err != nil {
				t.Error(err)
			} else if err := unix.Kill(child, unix.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}
}

func (n *node) String() string { return fmt.Sprintf("%s, node %s (%s)", n.pair.name, n.host, n.kind) }

func (n *node) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// complaint matches what keepalived says of an advert that it does not like, whichever check it fails.
var complaint = regexp.MustCompile(`(?im)^.*(invalid|mismatch|checksum|bogus|malformed|passwd|expected|not present|too short|unknown|ignoring|dropping|error).*$`)

// complaints are the lines of a node's log about bad adverts.
func (n *node) complaints(t *testing.T) []string {
	t.Helper()
	return complaint.FindAllString(n.said(t), -1)
}
