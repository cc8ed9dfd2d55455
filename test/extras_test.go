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
)

// everything is a file with all kinds of addresses, routes and rules that both daemons can make.
const everything = `static_ipaddress {
	10.77.1.1/32 dev eth0
	10.77.1.2/24 brd + dev eth0 noprefixroute
}
static_routes {
	192.0.2.0/24 via 10.77.0.2 dev eth0
	blackhole 198.51.100.0/24 no_track
}
static_rules {
	from 192.0.2.0/24 table 300 preference 400
}
vrrp_instance V1 {
	state MASTER
	interface eth0
	virtual_router_id 51
	priority 150
	promote_secondaries
	virtual_ipaddress {
		10.77.0.9
		10.77.0.10/24 dev eth0 label eth0:v
		10.77.0.11/24 brd +
		10.77.0.12/32 dev eth0 peer 10.99.0.1
		10.77.0.13/24 preferred_lft 100
		10.77.0.14/24 noprefixroute -nodad home
		10.77.0.15/24 brd 10.77.0.250
	}
	virtual_ipaddress_excluded {
		fd00:77::9/64
		fd00:77::10
		fd00:77::11/64 mngtmpaddr
		fd00:77::12/64 home preferred_lft 500
	}
	virtual_routes {
		203.0.113.0/24 via 10.77.0.2 dev eth0
		src 10.77.0.10 to 10.88.0.0/24 dev eth0 scope link metric 50
		unreachable 10.89.0.0/24 no_track
		10.90.0.0/24 via 10.77.0.3 dev eth0 table 250 mtu lock 1400 advmss 1300 initcwnd 20 rtt 300ms hoplimit 33 onlink
		default via 10.77.0.4 dev eth0 table 251 src 10.77.0.9
		10.91.0.0/24 nexthop via 10.77.0.5 dev eth0 weight 3 nexthop via 10.77.0.6 dev eth0 weight 2
		10.92.0.0/24 dev eth0 tos 0x10 protocol bird no_track quickack 1 congctl cubic
		fd01::/64 via fd00:77::2 dev eth0 pref high metric 77
		fd02::/64 dev eth0 expires 600
		throw 10.94.0.0/16 table 252 no_track
		10.95.0.0/24 via 10.77.0.2 dev eth0 encap ip id 7 dst 192.0.2.1 src 10.77.0.1 tos 0x10 ttl 9
		fd03::/64 via fd00:77::2 dev eth0 encap ip6 id 8 dst 2001:db8::1 tc 0x20 hoplimit 3
	}
	virtual_rules {
		from 10.77.0.9 lookup 250 preference 1000
		to 10.1.0.0/16 iif eth0 table 251
		fwmark 7/0xff tos 0x10 table 252 preference 1003
		not from 10.2.0.0/16 oif eth0 nop preference 1004
		from 10.3.0.0/16 goto 1010 preference 1005
		from fd00::/16 table 250 suppress_prefixlength 8 preference 1006
		ipproto tcp dport 80-90 sport 1000-2000 uidrange 0-100 lookup main preference 1007
		nop preference 1010
	}
}
`

// hostNetwork is one host of two that are alike: NAME is its namespace.
const hostNetwork = `set -e
ip netns add NAME
ip -n NAME link set lo up
ip -n NAME link add eth0 address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
ip -n NAME link set far up
ip -n NAME link set eth0 up
ip -n NAME addr add 10.77.0.1/24 dev eth0
ip -n NAME addr add fd00:77::1/64 dev eth0 nodad
`

// TestAMasterHasWhatKeepalivedsMasterHas compares the addresses, routes and rules of two hosts, one with keepalived. Both
// programs are started outside and go to their host by themselves.
func TestAMasterHasWhatKeepalivedsMasterHas(t *testing.T) {
	if !alone(t, time.Minute, "ip", "keepalived") {
		return
	}
	dir := t.TempDir()
	before := map[string]string{}
	daemons := map[string]*playing{}
	for name, args := range map[string][]string{
		"theirs": {"keepalived", "-nlP", "-f", dir + "/theirs.conf", "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"},
		"ours":   {program(), "run", "-f", dir + "/ours.conf"},
	} {
		file := "net_namespace " + name + "\n" + everything
		if err := os.WriteFile(dir+"/"+name+".conf", []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		script(t, 0, strings.ReplaceAll(hostNetwork, "NAME", name))
		eventually(t, 10*time.Second, "the link-local address is ready", func() bool {
			return !strings.Contains(script(t, 0, "ip -n "+name+" addr"), "tentative")
		})
		before[name] = shape(t, name)
		p := &playing{cmd: exec.Command(args[0], args[1:]...)}
		p.cmd.Stdout, p.cmd.Stderr = p, p
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		daemons[name] = p
	}
	for name := range daemons {
		eventually(t, 15*time.Second, name+" is master", func() bool { return strings.Contains(shape(t, name), "1010:") })
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", daemons["ours"].cmd.Process.Pid)); err != nil || strings.TrimSpace(string(comm)) != filepath.Base(program()) {
		t.Errorf("in its namespace it is called %q: %v", comm, err)
	}
	if theirs, ours := shape(t, "theirs"), shape(t, "ours"); theirs != ours {
		t.Errorf("keepalived's host has\n%s\nours has\n%s", theirs, ours)
	}
	t.Run("an address that is removed is back at once", func(t *testing.T) {
		whole := shape(t, "ours")
		script(t, 0, "ip -n ours addr del 10.77.0.9/32 dev eth0")
		eventually(t, 2*time.Second, "the address is back", func() bool { return len(shape(t, "ours")) == len(whole) })
		if said := daemons["ours"].said(); !strings.Contains(said, "IP 10.77.0.9 removed from eth0 by process ") || strings.Contains(said, "FAULT") {
			t.Errorf("it says\n%s", said)
		}
	})
	t.Run("a route that is removed is back", func(t *testing.T) {
		script(t, 0, "ip -n ours route del 203.0.113.0/24")
		eventually(t, 5*time.Second, "the route is back", func() bool { return strings.Contains(shape(t, "ours"), "203.0.113.0/24") })
	})
	t.Run("rules that are removed are back", func(t *testing.T) {
		whole := shape(t, "ours")
		script(t, 0, "ip -n ours rule del preference 400; ip -n ours rule del preference 1000")
		eventually(t, 30*time.Second, "the rules are back", func() bool { return shape(t, "ours") == whole })
	})
	if n := strings.Count(daemons["ours"].said(), "Rule has no preference specified"); n != 1 {
		t.Errorf("what there is to say about the file is said %d times", n)
	}
	t.Run("another namespace is for another start", func(t *testing.T) {
		file := "net_namespace theirs\n" + everything
		if err := os.WriteFile(dir+"/ours.conf", []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := daemons["ours"].cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "the reload is refused", func() bool {
			return strings.Contains(daemons["ours"].said(), "Cannot change network namespace at a reload - please restart")
		})
	})
	for name, p := range daemons {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p.said())
		}
	}
	if after := shape(t, "ours"); after != before["ours"] {
		t.Errorf("after a stop the host has\n%s\nbefore it had\n%s", after, before["ours"])
	}
}

var seconds = regexp.MustCompile(`\b\d+sec\b`)

// shape is all that is compared. Where two addresses of a network are the same but for their age, their order counts.
func shape(t *testing.T, name string) string {
	t.Helper()
	out := script(t, 0, strings.ReplaceAll(`ip -n NAME -d addr show dev eth0 | grep -A1 inet
		ip -n NAME -d route show table all | sort
		ip -n NAME -6 -d route show table all | sort
		ip -n NAME rule
		ip -n NAME -6 rule
		ip netns exec NAME sysctl net.ipv4.conf.eth0.promote_secondaries`, "NAME", name))
	return seconds.ReplaceAllString(out, "Nsec")
}
