package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twins are two directors that are each other's real servers, and a client at the same switch.
const twins = `set -e
for h in client d1 d2 lan; do ip netns add fwd-$h; ip -n fwd-$h link set lo up; done
ip -n fwd-lan link add br0 type bridge
ip -n fwd-lan link set br0 up
n=1
for h in d1 d2 client; do
	ip link add eth0 netns fwd-$h type veth peer name $h netns fwd-lan
	ip -n fwd-lan link set $h master br0 up
	ip -n fwd-$h addr add 10.0.8.$n/24 dev eth0
	ip -n fwd-$h link set eth0 up
	ip netns exec fwd-$h ethtool -K eth0 tx off gro on >/dev/null
	ip netns exec fwd-lan ethtool -K $h tx off gro on >/dev/null
	ip netns exec fwd-$h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
	n=$((n+1))
done
for h in d1 d2; do
	ip netns exec fwd-$h sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip -n fwd-$h addr add 10.0.8.9/32 dev lo
done
`

// twin runs one of them.
func twin(t *testing.T, host string, priority int) *exec.Cmd {
	t.Helper()
	return directorOn(t, host, fmt.Sprintf(`vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	priority %d
	advert_int 1
	virtual_ipaddress {
		10.0.8.9/32
	}
}
virtual_server 10.0.8.9 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.1 80 {
	}
	real_server 10.0.8.2 80 {
	}
}
`, priority))
}

// directorOn runs a director on a host, by that file. The instance has the host's name.
func directorOn(t *testing.T, host, text string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "vipd.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(), append([]string{"run", "--instance", host, "-f", file}, args...)...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := in(t, host, cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			end(t, cmd)
		}
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s:\n%s", host, text)
		}
	})
	return cmd
}

func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// sayName answers every connection with a host's name.
func sayName(t *testing.T, host string) {
	t.Helper()
	err := in(t, host, func() error {
		l, err := net.Listen("tcp4", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, host)
				c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// whoAnswers is the name that a new connection from a host to the service gets, or why it gets none.
func whoAnswers(t *testing.T, host string) (name string) {
	t.Helper()
	err := in(t, host, func() error {
		c, err := net.DialTimeout("tcp4", "10.0.8.9:80", 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(2 * time.Second))
		var b [8]byte
		n, err := c.Read(b[:])
		name = string(b[:n])
		return err
	})
	if err != nil {
		return err.Error()
	}
	return name
}

// spread is who answered so many new connections of a host.
func spread(t *testing.T, host string, n int) map[string]int {
	t.Helper()
	all := map[string]int{}
	for range n {
		all[whoAnswers(t, host)]++
	}
	return all
}

// reasonOf is how many packets an instance has counted under a reason.
func reasonOf(t *testing.T, instance, reason string) (n int) {
	t.Helper()
	for line := range strings.Lines(vipd(t, "status", "--instance", instance).stdout) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == reason {
			fmt.Sscan(f[2], &n)
		}
	}
	return n
}

func evenly(t *testing.T, when string) {
	t.Helper()
	if got := spread(t, "client", 10); got["d1"] != 5 || got["d2"] != 5 {
		t.Errorf("%s: of ten new connections %v", when, got)
	}
}

// TestDirectorsThatAreEachOthersRealServers: each connection is scheduled once, by whoever is master, and goes in no circle,
// also after the roles have changed.
func TestDirectorsThatAreEachOthersRealServers(t *testing.T) {
	if !alone(t, 4*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, twins)
	sayName(t, "d1")
	sayName(t, "d2")
	first := twin(t, "d1", 150)
	twin(t, "d2", 100)
	isMaster := func(host string) func() bool {
		return func() bool { return strings.Contains(vipd(t, "status", "--instance", host).stdout, "MASTER") } // none runs yet
	}
	both := func() bool { got := spread(t, "client", 2); return got["d1"] == 1 && got["d2"] == 1 }
	eventually(t, 60*time.Second, "d1 is master", isMaster("d1"))
	eventually(t, 60*time.Second, "both answer", both)
	before := reasonOf(t, "d2", "pass_from_director")
	evenly(t, "d1 is master")
	if n := reasonOf(t, "d2", "pass_from_director") - before; n < 5 {
		t.Errorf("d2 has taken %d packets from the other director", n)
	}
	if n := reasonOf(t, "d2", "forward_new"); n != 0 {
		t.Errorf("d2 has scheduled %d connections that d1 had given it", n)
	}
	end(t, first)
	eventually(t, 60*time.Second, "d2 is master", isMaster("d2"))
	eventually(t, 60*time.Second, "both answer", both)
	evenly(t, "d1 is a real server alone")
	twin(t, "d1", 50)
	eventually(t, 60*time.Second, "d1 is back, and knows the other one", func() bool {
		return isMaster("d2")() && spread(t, "client", 2)["d1"] == 1 && reasonOf(t, "d1", "pass_from_director") > 0
	})
	scheduled := reasonOf(t, "d1", "forward_new")
	evenly(t, "d2 is master")
	if n := reasonOf(t, "d1", "forward_new") - scheduled; n != 0 {
		t.Errorf("d1 has scheduled %d connections that d2 had given it", n)
	}
	if n := reasonOf(t, "d1", "reply_ttl") + reasonOf(t, "d2", "reply_ttl"); n != 0 {
		t.Errorf("%d packets went in a circle until their TTL ended", n)
	}
	for _, host := range []string{"d1", "d2"} { // their own connections
		if got := spread(t, host, 6); got["d1"] != 3 || got["d2"] != 3 {
			t.Errorf("of six new connections of %s %v", host, got)
		}
	}
}
