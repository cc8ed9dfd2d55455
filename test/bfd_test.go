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
)

// TestBFDWithRealNeighbours has a session of vipd with keepalived's own BFD and with BIRD, over one hop and by the port of
// several (RFC 5883), over IPv4 and IPv6, each with intervals of 100 ms: it comes up; the instance that follows it leaves FAULT; and within the detection time of a cut it is back.
func TestBFDWithRealNeighbours(t *testing.T) {
	if !alone(t, 4*time.Minute, "keepalived", "bird") {
		return
	}
	before := left(t)
	t.Run("neighbours", func(t *testing.T) {
		for i, n := range []struct {
			name, config string
			start        func(t *testing.T, p *pair) *exec.Cmd
		}{
			{"keepalived", bfdConfig("10.9.0.2"), bfdKeepalived},
			{"bird", bfdConfig("10.9.0.2"), bfdBird("accept ipv4 direct;", `neighbor 10.9.0.1 dev "eth0"`)},
			{"bird IPv6", bfdConfig("fd00:9::2", "source_ip fd00:9::1"), bfdBird("accept ipv6 direct;", `neighbor fd00:9::1 dev "eth0"`)},
			{"bird multihop", bfdConfig("10.9.0.2", "source_ip 10.9.0.1", "multihop", "max_hops 255"),
				bfdBird("accept ipv4 multihop;", "neighbor 10.9.0.1 local 10.9.0.2 multihop on")},
			{"bird IPv6 multihop", bfdConfig("fd00:9::2", "source_ip fd00:9::1", "multihop", "max_hops 255"),
				bfdBird("accept ipv6 multihop;", "neighbor fd00:9::1 local fd00:9::2 multihop on")},
		} {
			t.Run(n.name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, fmt.Sprintf("bfd%d", i))
				if strings.Contains(n.name, "IPv6") {
					p.enableIPv6(t)
				}
				playBFD(t, p, n.config, n.start)
			})
		}
	})
	nothingNew(t, before)
}

func bfdConfig(neighbour string, extra ...string) string {
	return fmt.Sprintf("bfd_instance peer {\n    neighbor_ip %s\n    min_rx 100\n    min_tx 100\n    multiplier 3\n    %s\n}\n", neighbour, strings.Join(extra, "\n    ")) +
		fmt.Sprintf(trackInstance, 1, "track_bfd {\n peer\n }")
}

func playBFD(t *testing.T, p *pair, config string, start func(*testing.T, *pair) *exec.Cmd) {
	t.Helper()
	p.newNode(t, a, ours, config)
	us := p.nodes[a]
	us.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(us.said(t))
		}
	})
	eventually(t, 30*time.Second, "a start in FAULT", func() bool { return strings.Contains(us.said(t), "(VI_1) Entering FAULT STATE") })
	if them := start(t, p); them != nil {
		t.Cleanup(func() { _ = them.Process.Kill(); _ = them.Wait() })
	}
	// Where the processors are busy a session of 300 ms may go down and come back by itself: what counts is the last that was said.
	is := func(lines ...string) func() bool {
		return func() bool { return strings.HasSuffix(lastOf(us.said(t), lines), lines[0]) }
	}
	up, down := "Tracked BFD instance peer is UP", "Tracked BFD instance peer is DOWN"
	master, fault, backup := "(VI_1) Entering MASTER STATE", "(VI_1) Entering FAULT STATE", "(VI_1) Entering BACKUP STATE"
	for round := 1; round <= 2; round++ {
		eventually(t, 60*time.Second, "the session up", is(up, down))
		eventually(t, 60*time.Second, "mastership", is(master, fault, backup))
		before := len(us.said(t))
		p.cable(t, false)
		cut := time.Now()
		eventually(t, 10*time.Second, "the session down", is(down, up))
		t.Logf("round %d: down %d ms after the cut, of 300 ms", round, time.Since(cut).Milliseconds())
		eventually(t, 10*time.Second, "FAULT", is(fault, master, backup))
		if said := us.said(t)[before:]; !expired(said) {
			t.Errorf("no expiry after 300 ms:\n%s", said)
		}
		p.cable(t, true)
	}
}

// lastOf is the last of some lines that a log has.
func lastOf(log string, lines []string) (last string) {
	at := -1
	for _, line := range lines {
		if i := strings.LastIndex(log, line); i > at {
			at, last = i, line
		}
	}
	return last
}

var expiry = regexp.MustCompile(`\(peer\) Expired after (\d+) ms`)

// expired tells whether a session's detection time of 300 ms ran out, and no sooner.
func expired(log string) bool {
	m := expiry.FindStringSubmatch(log)
	if m == nil {
		return false
	}
	ms, err := strconv.Atoi(m[1])
	return err == nil && ms >= 300
}

// bfdKeepalived is keepalived with a session and nothing else.
func bfdKeepalived(t *testing.T, p *pair) *exec.Cmd {
	t.Helper()
	// keepalived starts its BFD process for somebody who follows it: another virtual router.
	p.newNode(t, b, theirs, strings.ReplaceAll(strings.ReplaceAll(bfdConfig("10.9.0.1"), "router_id 51", "router_id 52"), "10.9.0.91", "10.9.0.92"))
	n := p.nodes[b]
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command("keepalived", "-n", "-l", "-D", "-f", n.file, "-p", n.log+".pid", "-r", n.log+".vrrp.pid", "-c", n.log+".check.pid", "-b", n.log+".bfd.pid")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	inside(t, p.lab.Namespace("b"), n.cmd.Start)
	return nil // newNode ends it
}

// foreground runs a program inside host b until the test ends.
func foreground(t *testing.T, p *pair, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	out, err := os.Create(filepath.Join(p.lab.Dir, "b.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	inside(t, p.lab.Namespace("b"), cmd.Start)
	return cmd
}

func bfdFile(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // the programs drop their rights
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func bfdBird(accept, neighbour string) func(*testing.T, *pair) *exec.Cmd {
	return func(t *testing.T, p *pair) *exec.Cmd {
		times := "{ min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }"
		file := bfdFile(t, "bird.conf", fmt.Sprintf(`router id 10.9.0.2;
protocol device { }
protocol bfd {
	%s
	interface "eth0" %s;
	multihop %s;
	%s;
}
`, accept, times, times, neighbour))
		return foreground(t, p, "bird", "-f", "-c", file, "-s", filepath.Join(filepath.Dir(file), "bird.ctl"))
	}
}
