package test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The network of TestAScriptDrivesADirectorWithoutConfiguration: a client behind whose bridge a director and a real server
// stand, and a second cable between these two. The real server answers the client directly.
//
//	client (br0 10.7.0.2) ── c0 ── d0 (10.7.0.1) director d1 (10.7.1.1) ── r1 (10.7.1.3) real server
//	                      ── c1 ───────────────────────────────────────── r0 (10.7.0.3)
const scriptNetwork = `set -e
for ns in client director real; do ip netns add $ns; ip -n $ns link set lo up; done
ip link add c0 netns client type veth peer name d0 netns director
ip link add c1 netns client type veth peer name r0 netns real
ip link add d1 netns director type veth peer name r1 netns real
ip -n client link add br0 type bridge
for port in c0 c1; do ip -n client link set $port master br0; ip -n client link set $port up; done
ip -n client link set br0 up
ip -n client addr add 10.7.0.2/24 dev br0
ip -n director link set d0 up; ip -n director addr add 10.7.0.1/24 dev d0
ip -n director link set d1 up; ip -n director addr add 10.7.1.1/24 dev d1
ip -n real link set r0 up; ip -n real addr add 10.7.0.3/24 dev r0
ip -n real link set r1 up; ip -n real addr add 10.7.1.3/24 dev r1
ip -n client route add 10.7.9.9 via 10.7.0.1
ip netns exec director sysctl -qw net.ipv4.ip_forward=1
ip -n director addr add 10.7.9.9/32 dev lo
ip netns exec real sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
	net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.r1.rp_filter=0 net.ipv4.conf.r0.rp_filter=0
ip -n real addr add 10.7.9.9/32 dev lo
`

// TestAScriptDrivesADirectorWithoutConfiguration does what scripts for IPVS do: namespaces, ipvsadm by its name, traffic.
func TestAScriptDrivesADirectorWithoutConfiguration(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "sysctl", "sh", "nsenter") {
		return
	}
	home := t.TempDir()
	if err := os.Symlink(program(), filepath.Join(home, "ipvsadm")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", home+":"+os.Getenv("PATH"))
	script(t, 0, scriptNetwork)
	if out := script(t, 2, "ip netns exec director ipvsadm -A -t 10.7.9.9:8080 -s rr"); !strings.HasPrefix(out, "Can't initialize ipvs: ") {
		t.Errorf("without a daemon: %s", out)
	}
	d := startDirector(t)
	file := bytes.Repeat([]byte("direct routing\n"), 20_000)
	serveFile(t, "real", "10.7.9.9:8080", file)

	script(t, 0, "ip netns exec director ipvsadm -A -t 10.7.9.9:8080 -s rr -p 300 && ip netns exec director ipvsadm -a -t 10.7.9.9:8080 -r 10.7.1.3:8080")
	eventually(t, 10*time.Second, "the file comes through the director", func() bool {
		got, err := fetch("client", "10.7.9.9:8080")
		return err == nil && bytes.Equal(got, file)
	})
	if out := script(t, 0, "ip netns exec director ipvsadm -Ln"); !regexp.MustCompile(`\nTCP  10\.7\.9\.9:8080 rr persistent 300\n  -> 10\.7\.1\.3:8080 +Route   1      \d+ +\d+ +\n$`).MatchString(out) {
		t.Errorf("ipvsadm -Ln:\n%s", out)
	}
	if out := script(t, 0, "ip netns exec director ipvsadm -lcn"); !regexp.MustCompile(`\nTCP 0[45]:\d\d  ASSURED     10\.7\.0\.2:0         10\.7\.9\.9:8080      10\.7\.1\.3:8080\n`).MatchString(out) {
		t.Errorf("ipvsadm -lcn:\n%s", out)
	}
	t.Run("counters begin anew", func(t *testing.T) {
		const none = `(?m)^TCP  10\.7\.9\.9:8080( +0){5}$`
		if out := script(t, 0, "ip netns exec director ipvsadm -Ln --stats"); regexp.MustCompile(none).MatchString(out) {
			t.Errorf("nothing was counted:\n%s", out)
		}
		if out := script(t, 0, "ip netns exec director sh -c 'ipvsadm -Z && ipvsadm -Ln --stats'"); !regexp.MustCompile(none).MatchString(out) {
			t.Errorf("after -Z:\n%s", out)
		}
	})
	t.Run("a saved table comes back", func(t *testing.T) {
		out := script(t, 0, `ip netns exec director sh -c 'ipvsadm -Sn > saved && ipvsadm -C && ipvsadm -Sn && ipvsadm -R < saved && ipvsadm -Sn | diff saved - && cat saved'`)
		if out != "-A -t 10.7.9.9:8080 -s rr -p 300\n-a -t 10.7.9.9:8080 -r 10.7.1.3:8080 -g -w 1\n" {
			t.Errorf("%s", out)
		}
		if got, err := fetch("client", "10.7.9.9:8080"); err != nil || !bytes.Equal(got, file) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("a process that is killed leaves what forwards, and the next one knows it", func(t *testing.T) {
		d.end(t, d.cmd.Process.Pid, syscall.SIGKILL)
		if got, err := fetch("client", "10.7.9.9:8080"); err != nil || !bytes.Equal(got, file) {
			t.Errorf("without a process: %d bytes, %v", len(got), err)
		}
		d = startDirector(t)
		if out := script(t, 0, "ip netns exec director ipvsadm -Sn"); !strings.HasPrefix(out, "-A -t 10.7.9.9:8080 -s rr -p 300\n-a ") {
			t.Errorf("after a restart:\n%s", out)
		}
	})
	t.Run("interfaces that come up later are attached", func(t *testing.T) {
		script(t, 0, "ip -n director link add late0 type veth peer name late1 && ip -n director link set late0 up")
		eventually(t, 5*time.Second, "late0 is attached", func() bool { return strings.Contains(d.said(), "packet path attached to late0 in generic mode") })
	})
	script(t, 0, "ip netns exec director ipvsadm -C")
	if _, err := fetch("client", "10.7.9.9:8080"); err == nil {
		t.Error("a service that was deleted answers")
	}
	d.end(t, d.cmd.Process.Pid, syscall.SIGTERM)
	if out := script(t, 0, "ip -n director link show; ls /sys/fs/bpf /run/vipd"); strings.Contains(out, "xdp") || strings.Contains(out, ".sock") {
		t.Errorf("left behind:\n%s", out)
	}
}

// TestAScriptStartsTheDirectorsOfItsNamespaces: with VIPD_START the first change in a named one does, also when two come at once;
// it inherits nothing of the script's, and ends with the name.
func TestAScriptStartsTheDirectorsOfItsNamespaces(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "sysctl", "sh", "unshare") {
		return
	}
	home := t.TempDir()
	if err := os.Symlink(program(), filepath.Join(home, "ipvsadm")); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(home, "log")
	t.Setenv("PATH", home+":"+os.Getenv("PATH"))
	t.Setenv("VIPD_START", log)
	for round := range 2 {
		script(t, 0, scriptNetwork)
		if out := script(t, 2, "ip netns exec director ipvsadm -Ln"); !strings.Contains(out, "the first change starts one") {
			t.Errorf("a listing: %s", out)
		}
		script(t, 0, `both() { ip netns exec director ipvsadm -A -t 10.7.9.9:$1 -s rr; }
			both 8080 3>pipe & both 8081 & wait`)
		script(t, 0, "ip netns exec director ipvsadm -a -t 10.7.9.9:8080 -r 10.7.1.3:8080")
		if out := script(t, 0, "ip netns exec director ipvsadm -Sn"); out != "-A -t 10.7.9.9:8080 -s rr\n-a -t 10.7.9.9:8080 -r 10.7.1.3:8080 -g -w 1\n-A -t 10.7.9.9:8081 -s rr\n" {
			t.Errorf("round %d: %s", round, out)
		}
		if out := script(t, 0, "ls -l /proc/$(ip netns pids director | head -1)/fd"); strings.Contains(out, "pipe\n") {
			t.Errorf("it holds what the script had open:\n%s", out)
		}
		serveFile(t, "real", "10.7.9.9:8080", []byte("direct routing\n"))
		eventually(t, 10*time.Second, "the file comes through the director", func() bool {
			got, err := fetch("client", "10.7.9.9:8080")
			return err == nil && string(got) == "direct routing\n"
		})
		script(t, 0, "ip netns delete director")
		eventually(t, 10*time.Second, "it ends, and so do its interfaces", func() bool {
			return script(t, 0, "ls /run/vipd") == "" && !strings.Contains(script(t, 0, "ip -n real link show"), "r1")
		})
		script(t, 0, "ip netns delete client; ip netns delete real")
	}
	if out := script(t, 2, "ipvsadm -C"); !strings.Contains(out, "vipd run --instance default") {
		t.Errorf("in a namespace without a name: %s", out)
	}
}

// script runs a shell script and returns what it said, also on standard error.
func script(t *testing.T, code int, text string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir = os.TempDir()
	o := finish(t, cmd)
	if o.code != code {
		t.Fatalf("%s\nwant exit code %d, got %s", text, code, o)
	}
	return o.stdout + o.stderr
}

// startDirector runs vipd without a configuration in the director's namespace.
func startDirector(t *testing.T) *playing {
	t.Helper()
	p := &playing{cmd: exec.Command("nsenter", "--net=/run/netns/director", program(), "run", "--no-config")}
	p.cmd.Stderr = p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the director runs", func() bool { return strings.Contains(p.said(), "driven by ipvsadm") })
	return p
}

// fetch reads all that a server sends, from a namespace.
func fetch(ns, addr string) (all []byte, err error) {
	err = insideErr(ns, func() error {
		conn, err := net.DialTimeout("tcp", addr, 2*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		all, err = io.ReadAll(conn)
		return err
	})
	return all, err
}

// serveFile sends file to everybody who connects, from a namespace, until the test ends.
func serveFile(t *testing.T, ns, addr string, file []byte) {
	t.Helper()
	var ln net.Listener
	if err := insideErr(ns, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			conn.Write(file)
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}
