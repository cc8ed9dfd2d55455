package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/examples/site"
)

// sixInTheLab gives the lab's hosts addresses and ways of IPv6.
const sixInTheLab = `set -e
for h in client router director1 director2 real2; do
	ip netns exec vipd-lab-$h sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0
done
ip netns exec vipd-lab-router sysctl -qw net.ipv6.conf.eth1.disable_ipv6=0 net.ipv6.conf.all.forwarding=1
ip -n vipd-lab-client addr add 2001:db8:4::102/64 dev eth0 nodad
ip -n vipd-lab-router addr add 2001:db8:4::1/64 dev eth1 nodad
ip -n vipd-lab-router addr add 2001:db8:8::1/64 dev eth0 nodad
ip -n vipd-lab-director1 addr add 2001:db8:8::25/64 dev eth0 nodad
ip -n vipd-lab-director2 addr add 2001:db8:8::55/64 dev eth0 nodad
ip -n vipd-lab-real2 addr add 2001:db8:8::12/64 dev eth0 nodad
ip -n vipd-lab-client -6 route add default via 2001:db8:4::1
for h in director1 director2; do ip -n vipd-lab-$h -6 route add default via 2001:db8:8::1; done
`

// rewritingServices are served by FULLNAT: with and without the PROXY protocol, and of both families.
const rewritingServices = `
virtual_server 10.0.8.9 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    fullnat 10.0.8.90-91
    real_server 10.0.8.12 80 {
    }
}
virtual_server 10.0.8.9 8080 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    fullnat 10.0.8.90-91
    send_proxy_v2
    real_server 10.0.8.12 8080 {
    }
}
virtual_server 2001:db8:8::9 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    fullnat 2001:db8:8::90
    send_proxy_v2
    real_server 2001:db8:8::12 8080 {
    }
}
`

// rewritingPair raises the lab with two directors of those services, whose local addresses move with the virtual ones, and HAProxy on
// their real server, which stop ends.
func rewritingPair(t *testing.T) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"lab", "up", "--without", "director1", "--without", "director2"}
	for i, own := range []string{"10.0.8.25", "10.0.8.55"} {
		name := fmt.Sprintf("director%d.conf", i+1)
		text, err := site.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		said, _, _ := strings.Cut(string(text), "# What is served there.")
		said = strings.Replace(said, "    router_id LVS_DEVEL\n", "    router_id LVS_DEVEL\n    connection_sync {\n        peer "+
			[]string{"10.0.8.55", "10.0.8.25"}[i]+"\n        source "+own+"\n        key hex:"+strings.Repeat("5a", 32)+"\n    }\n", 1)
		said = strings.Replace(said, "        10.0.8.9\n    }\n", "        10.0.8.9\n        10.0.8.90\n        10.0.8.91\n    }\n"+
			"    virtual_ipaddress_excluded {\n        2001:db8:8::9/64\n        2001:db8:8::90/64\n    }\n", 1)
		if i == 0 {
			said = strings.Replace(said, "priority 100", "priority 150", 1)
		}
		args = append(args, fmt.Sprintf("--config%d", i+1), write(t, dir, name, said+rewritingServices))
	}
	works(t, args...)
	shell(t, sixInTheLab)
	works(t, "lab", "start", "director1")
	works(t, "lab", "start", "director2")
	haproxy := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(haproxy, []byte("defaults\n mode tcp\n timeout connect 30s\n timeout client 5m\n timeout server 5m\n"+
		"listen front\n bind 10.0.8.12:8080 accept-proxy\n bind [2001:db8:8::12]:8080 accept-proxy\n server behind 10.0.8.12:80\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", haproxy)
	inside(t, "vipd-lab-real2", cmd.Start)
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// TestConnectionsOfFULLNATOutliveTheirDirector: open connections through FULLNAT go on at the other director when theirs is killed,
// when it returns, and when it is stopped; with and without the PROXY protocol, of both families.
func TestConnectionsOfFULLNATOutliveTheirDirector(t *testing.T) {
	if !alone(t, 5*time.Minute, "ip", "sysctl", "haproxy") {
		return
	}
	before := left(t)
	stop := rewritingPair(t)
	c := &continuity{T: t}
	c.becomes(stronger, "MASTER")
	c.caughtUp()
	open := map[string]net.Conn{}
	for _, from := range []string{"10.0.4.102:0", "10.0.4.103:0", "[2001:db8:4::102]:0"} {
		for _, to := range []string{"10.0.8.9:80", "10.0.8.9:8080", "[2001:db8:8::9]:80"} {
			if strings.HasPrefix(from, "[") != strings.HasPrefix(to, "[") {
				continue
			}
			local, err := net.ResolveTCPAddr("tcp", from)
			if err != nil {
				t.Fatal(err)
			}
			d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: local, KeepAlive: -1}
			eventually(t, 20*time.Second, "a connection to "+to, func() bool { // HAProxy may not listen yet
				return insideErr("vipd-lab-client", func() error {
					conn, err := d.Dial("tcp", to)
					open[from+" to "+to] = conn
					return err
				}) == nil
			})
		}
	}
	goOn := func(when string) {
		t.Helper()
		for name, conn := range open {
			for range 2 {
				if err := asks(conn); err != nil {
					t.Errorf("%s: %s: %v", when, name, err)
				}
			}
		}
	}
	told := func(director string) {
		t.Helper()
		eventually(t, 20*time.Second, director+" has all of them", func() bool { return linesOf(t, director) >= len(open) })
	}
	goOn("at first")
	told(weaker)
	works(t, "lab", "kill", "director1")
	c.becomes(weaker, "MASTER")
	goOn("after the kill")
	c.returns()
	goOn("after the return")
	works(t, "lab", "stop", "director1")
	c.becomes(weaker, "MASTER")
	goOn("after the stop")
	c.returns()
	goOn("after that return")
	for _, d := range []string{stronger, weaker} {
		if refused := syncOf(t, d).Refused; len(refused) > 0 {
			t.Errorf("%s refused %v", d, refused)
		}
	}
	for _, conn := range open {
		conn.Close()
	}
	stop()
	works(t, "lab", "down")
	nothingNew(t, before)
}
