package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
)

// frr is FRR's zebra and vrrpd on a node, version 3 over IPv4: Debian's has no other that lives without a virtual MAC.
type frr struct {
	dir, namespace string
}

// frrPath is where Debian has FRR's daemons.
const frrPath = "/usr/lib/frr/"

// startFRR starts the daemons on b, which then has 10.9.0.9 on a virtual MAC, and priority 100.
func startFRR(t *testing.T, p *pair) *frr {
	t.Helper()
	f := &frr{dir: filepath.Join(p.lab.Dir, "frr"), namespace: p.lab.Namespace("b")}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir := f.dir; dir != "/" && strings.HasPrefix(dir, os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil { // the daemons are user frr
			break
		}
	}
	for _, line := range []string{
		"link add vrrp4-51 link eth0 type macvlan mode bridge", "link set vrrp4-51 address 00:00:5e:00:01:33",
		fmt.Sprintf("addr add %s/24 dev vrrp4-51", peerVIP), "link set vrrp4-51 up",
	} {
		f.must(t, "ip", strings.Fields(line)...)
	}
	config := "interface eth0\n vrrp 51 version 3\n vrrp 51 priority 100\n vrrp 51 advertisement-interval 400\n vrrp 51 ip " + peerVIP.String() + "\n"
	for name, text := range map[string]string{"zebra": "", "vrrpd": config} {
		if err := os.WriteFile(filepath.Join(f.dir, name+".conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"zebra", "vrrpd"} {
		file := func(suffix string) string { return filepath.Join(f.dir, name+suffix) }
		f.must(t, frrPath+name, "-d", "-f", file(".conf"), "-i", file(".pid"), "-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir, "--log", "file:"+file(".log"))
		t.Cleanup(func() { f.end(t, file(".pid")) })
	}
	return f
}

func (f *frr) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out []byte
	inside(t, f.namespace, func() (err error) {
		if out, err = exec.Command(name, args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
		}
		return err
	})
	return string(out)
}

func (f *frr) end(t *testing.T, pidFile string) {
	text, err := os.ReadFile(pidFile)
	var pid int
	if _, scanErr := fmt.Sscan(string(text), &pid); err != nil || scanErr != nil {
		t.Errorf("%s: %v, %v", pidFile, err, scanErr)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Errorf("end FRR: %v", err)
	}
}

// is tells whether FRR says that it is Master, Backup or Initialize.
func (f *frr) is(t *testing.T, state string) bool {
	t.Helper()
	for line := range strings.Lines(f.must(t, "vtysh", "--vty_socket", f.dir, "-c", "show vrrp 51")) {
		if strings.Contains(line, "Status (v4)") {
			return strings.Contains(line, state)
		}
	}
	return false
}

// TestFRRElectsWithUs plays a story with FRR's vrrpd as the other router. It and vipd agree about who is master.
func TestFRRElectsWithUs(t *testing.T) {
	need.Tool(t, "vtysh")
	if !alone(t, 90*time.Second, "vtysh") {
		return
	}
	p := newPair(t, "frr")
	w := &wire{v3: true}
	p.newNode(t, a, ours, w.config(a, 150))
	f := startFRR(t, p)
	eventually(t, 10*time.Second, "FRR alone is master", func() bool { return f.is(t, "Master") })
	p.nodes[a].start(t)
	eventually(t, 10*time.Second, "ours answers", func() bool { return vipd(t, "status", "--instance", p.name+"-a").code == 0 })
	eventually(t, 5*time.Second, "the higher priority preempts", func() bool { return p.nodes[a].router(t).State == "MASTER" && f.is(t, "Backup") })
	p.nodes[a].signalAll(t, syscall.SIGSTOP)
	eventually(t, 5*time.Second, "the master is paused: FRR takes over", func() bool { return f.is(t, "Master") })
	p.nodes[a].signalAll(t, syscall.SIGCONT)
	eventually(t, 5*time.Second, "it goes on: FRR yields", func() bool { return f.is(t, "Backup") })
	cut(t, p)
	eventually(t, 5*time.Second, "parted, both are master", func() bool { return f.is(t, "Master") && p.nodes[a].router(t).State == "MASTER" })
	heal(t, p)
	eventually(t, 8*time.Second, "joined again, the higher wins", func() bool { return f.is(t, "Backup") && p.nodes[a].router(t).State == "MASTER" })
	if r := p.nodes[a].router(t); len(r.Refused) > 0 || r.Received == 0 {
		t.Errorf("received %d, refused %v", r.Received, r.Refused)
	}
	began := time.Now()
	p.nodes[a].end(t, syscall.SIGTERM)
	eventually(t, 3*time.Second, "the master stops: FRR takes over", func() bool { return f.is(t, "Master") })
	t.Logf("FRR took over %s after the stop began", time.Since(began).Round(time.Millisecond))
}
