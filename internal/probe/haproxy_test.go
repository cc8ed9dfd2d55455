package probe

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/need"
)

// agentWords are what an agent says one after the other.
var agentWords = []string{"up 75%", "50%", "drain", "up 80%", "ready", "down # out of disk", "60%", "up", "maint", "up", "ready", "stopped", "up 100%", "fail#x", "fail",
	"ready", "UP", "Down", "up,", "DRAIN", "Ready 40%", "down up", "up down", "nonsense", "0%", "150%", "up,20%;drain", "ready\t30%", "maint up", "maxconn:20", "ready up 250%", "-5%", "1.5%", "100%"}

// TestAnAgentMeansToUsWhatItMeansToHAProxy asks one agent, which says the words above, by HAProxy and by us, and holds against each
// other whether the server is used, and with which weight.
func TestAnAgentMeansToUsWhatItMeansToHAProxy(t *testing.T) {
	haproxy := need.Tool(t, "haproxy")
	a := newAgent(t)
	dir := t.TempDir()
	config := fmt.Sprintf("global\n\tstats socket %s/stats\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 5s\n\ttimeout server 5s\n\ttimeout check 30s\n"+
		"listen b\n\tbind %s/front\n\tserver s 127.0.0.1:9 weight 100 agent-check agent-addr 127.0.0.1 agent-port %d agent-inter 50ms\n", dir, dir, a.at.Port())
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(haproxy, "-db", "-f", filepath.Join(dir, "conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	now := time.Now()
	pools := health.New(health.Config{Services: []health.Service{{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}},
		Reals: []health.Real{{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80"), Weight: 100}, Checkers: []health.Checker{{Kind: health.AgentCheck, Target: a.at, ConnectTimeout: 30 * time.Second}}}}}}}, nil)
	pools.Start(now)
	for _, words := range agentWords {
		a.say(t, words)
		theirs := haproxys(t, filepath.Join(dir, "stats"))
		now = pools.Next()
		pools.Tick(now)
		for _, e := range pools.Take() {
			if p, ok := e.(health.Probe); ok {
				pools.Observe(now, p.ID, Run(t.Context(), p.Checker))
			}
		}
		real := pools.Status()[0].Reals[0]
		ours := "out"
		if real.InPool {
			ours = fmt.Sprint("in, weight ", real.Real.Weight)
		}
		if ours != theirs {
			t.Errorf("after %q: %s; HAProxy: %s", words, ours, theirs)
		}
	}
}

// teller is an agent that says one line to each who connects.
type teller struct {
	at    netip.AddrPort
	words atomic.Value
	told  atomic.Int64 // since the words were changed, to those who have hung up
}

func newAgent(t *testing.T) *teller {
	t.Helper()
	a := &teller{}
	a.words.Store("up")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.at = netip.MustParseAddrPort(l.Addr().String())
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			words := a.words.Load().(string)
			_, _ = conn.Write([]byte(words + "\n"))
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, _ = conn.Read(make([]byte, 1)) // until the asker hangs up: it has read the line then
			conn.Close()
			if a.words.Load() == words {
				a.told.Add(1)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return a
}

// say returns when two askers have heard the words: the second one asked after the first one had acted on them.
func (a *teller) say(t *testing.T, words string) {
	t.Helper()
	a.words.Store(words)
	a.told.Store(0)
	for limit := time.Now().Add(time.Minute); a.told.Load() < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("nobody asks the agent for %q", words)
		}
	}
}

// haproxys is what HAProxy makes of its server (management guide, "show servers state").
func haproxys(t *testing.T, socket string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("show servers state b\n")); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(conn); in.Scan(); {
		f := strings.Fields(in.Text())
		if len(f) < 8 || f[0] == "#" {
			continue
		}
		const running, maint, drain = 2, 0x01 | 0x02 | 0x20, 0x08 | 0x10
		state, _ := strconv.Atoi(f[5])
		admin, _ := strconv.Atoi(f[6])
		switch {
		case admin&drain != 0 && admin&maint == 0 && state != 0:
			return "in, weight 0"
		case state == running && admin&maint == 0:
			return "in, weight " + f[7]
		}
		return "out"
	}
	t.Fatal("HAProxy has no server")
	return ""
}
