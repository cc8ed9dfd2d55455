package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// virtualMACs is a file with every kind of interface that an instance makes for itself; PRIORITY is each host's.
const virtualMACs = `vrrp_instance V4 {
	interface eth0
	virtual_router_id 51
	priority PRIORITY
	use_vmac
	virtual_ipaddress {
		10.77.0.9/24
		10.77.0.10
	}
}
vrrp_instance V6 {
	interface eth0
	virtual_router_id 51
	priority PRIORITY
	use_vmac
	virtual_ipaddress {
		fe80::99
		fd00:77::9/64
	}
}
vrrp_instance BASE {
	interface eth0
	virtual_router_id 52
	priority PRIORITY
	use_vmac base.52
	vmac_xmit_base
	virtual_ipaddress {
		10.77.0.11/24 dev eth0
	}
	virtual_ipaddress_excluded {
		fd00:77::12/64
	}
}
vrrp_instance OWN {
	interface eth0
	virtual_router_id 53
	priority PRIORITY
	use_vmac own.53 02:11:22:33:44
	virtual_ipaddress {
		10.77.0.13
	}
}
vrrp_instance ADDR {
	interface eth0
	virtual_router_id 54
	priority PRIORITY
	use_vmac_addr
	virtual_ipaddress {
		10.77.0.14
		10.78.0.14/24 dev eth1
	}
}
`

// twoHosts are on one cable; each has another interface of its own.
const twoHosts = `set -e
for n in theirs ours; do
	ip netns add $n
	ip -n $n link set lo up
	ip -n $n link add eth1 address 02:00:00:00:01:01 type veth peer name far
	ip -n $n link set far up
	ip -n $n link set eth1 up
done
ip -n theirs link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns ours
i=0
for n in theirs ours; do
	i=$((i + 1))
	ip -n $n link set eth0 up
	ip -n $n addr add 10.77.0.$i/24 dev eth0
done
`

// TestVirtualMACsAreKeepalivedsOwn: a keepalived and a vipd are a pair, with every kind of use_vmac. What keepalived has
// as the master, vipd has after it.
func TestVirtualMACsAreKeepalivedsOwn(t *testing.T) {
	if wholeMatrix == "" {
		t.Skip("make matrix plays it")
	}
	if !alone(t, 2*time.Minute, "ip", "nsenter", "keepalived", "tcpdump", "nft") {
		return
	}
	script(t, 0, twoHosts)
	for _, name := range []string{"theirs", "ours"} {
		eventually(t, 10*time.Second, "the link-local address is ready", func() bool {
			return !strings.Contains(script(t, 0, "ip -n "+name+" addr"), "tentative")
		})
	}
	before := vmacShape(t, "ours")
	dump := &playing{cmd: exec.Command("nsenter", "--net=/run/netns/ours", "tcpdump", "-l", "-ent", "-i", "eth0", "ip proto 112 or ip6 proto 112 or igmp or arp or icmp6")}
	starts(t, dump)
	theirs := &playing{cmd: exec.Command("nsenter", "--net=/run/netns/theirs", "keepalived", "-nlPD", "-f", vmacFile(t, "150"), "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid")}
	starts(t, theirs)
	has := func(name string) func() bool {
		return func() bool {
			s := vmacShape(t, name)
			return strings.Contains(s, "10.77.0.9/") && strings.Contains(s, "fd00:77::9/") && strings.Contains(s, "10.77.0.11/") && strings.Contains(s, "10.78.0.14/")
		}
	}
	eventually(t, 20*time.Second, "keepalived is master", has("theirs"))
	ours := &playing{cmd: exec.Command("nsenter", "--net=/run/netns/ours", program(), "run", "-D", "-f", vmacFile(t, "100"))}
	starts(t, ours)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(ours.said())
		}
	})
	eventually(t, 20*time.Second, "vipd hears it", func() bool { return strings.Count(ours.said(), "master set to") >= 5 })
	whole := vmacShape(t, "theirs")
	finishes(t, theirs)
	eventually(t, 5*time.Second, "vipd is master", has("ours"))
	if now := vmacShape(t, "ours"); now != whole {
		t.Errorf("keepalived's host had\n%s\nours has\n%s", whole, now)
	}
	sameFrames(t, dump)
	t.Run("one that was killed leaves them to the next", func(t *testing.T) {
		_ = ours.cmd.Process.Kill()
		_ = ours.cmd.Wait()
		ours = &playing{cmd: exec.Command("nsenter", "--net=/run/netns/ours", program(), "run", "-D", "-f", vmacFile(t, "100"))}
		starts(t, ours)
		eventually(t, 20*time.Second, "vipd is master again", func() bool { return strings.Count(ours.said(), "Entering MASTER STATE") == 5 })
		if now := vmacShape(t, "ours"); now != whole || !strings.Contains(ours.said(), "Found matching interface vrrp.51") {
			t.Errorf("keepalived's host had\n%s\nours has\n%s", whole, now)
		}
	})
	finishes(t, ours)
	// Who adopts interfaces cannot know what the parent's settings were: arp_ignore and arp_filter stay.
	if after := strings.ReplaceAll(vmacShape(t, "ours"), " = 1\n", " = 0\n"); after != before {
		t.Errorf("after a stop the host has\n%s\nbefore it had\n%s", after, before)
	}
	finishes(t, dump)
}

func vmacFile(t *testing.T, priority string) string {
	t.Helper()
	file := t.TempDir() + "/vmac.conf"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(virtualMACs, "PRIORITY", priority)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func starts(t *testing.T, p *playing) {
	t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func finishes(t *testing.T, p *playing) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, p.said())
	}
}

// Of a host's own: its addresses, and numbers of interfaces.
var ownOfHost = regexp.MustCompile(`02:00:00:00:00:0\d|fe80::ff:fe00:\d\b|10\.77\.0\.[12]\b|(?m:^\d+: )|@if\d+|promiscuity \d+`)

// vmacShape is what is compared of a host.
func vmacShape(t *testing.T, name string) string {
	t.Helper()
	out := script(t, 0, strings.ReplaceAll(`for l in $(ip -n NAME -o link show type macvlan | sed 's/^[0-9]*: //; s/@.*//' | sort); do
			ip -n NAME -d link show $l
			ip -n NAME addr show $l | grep inet
			for f in net.ipv4.conf.$l.arp_ignore net.ipv4.conf.$l.accept_local net.ipv4.conf.$l.rp_filter net.ipv4.conf.$l.promote_secondaries net.ipv6.conf.$l.disable_ipv6; do
				ip netns exec NAME sysctl $(echo $f | sed "s/conf.$l/conf.$(echo $l | tr . /)/") | sed "s/.*= /$f = /"
			done
		done
		ip -n NAME addr show eth0 | grep inet
		ip -n NAME addr show eth1 | grep inet || true
		ip netns exec NAME sysctl net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_filter net.ipv4.conf.eth1.arp_ignore net.ipv4.conf.all.rp_filter`, "NAME", name))
	return ownOfHost.ReplaceAllString(out, "")
}

var frame = regexp.MustCompile(`^(\S+) > (\S+), .*(vrid \d+|Request who-has 10\S+|neighbor advertisement, tgt is \S+)`)

// sameFrames compares the frames that virtual routers send: each MAC address, destination and kind of keepalived's must be
// among ours, and ours among keepalived's. Nothing else may come from a virtual MAC address.
func sameFrames(t *testing.T, dump *playing) {
	t.Helper()
	const ourHost, theirHost = "02:00:00:00:00:02", "02:00:00:00:00:01"
	sent := map[string]int{}
	for line := range strings.Lines(dump.said()) {
		m := frame.FindStringSubmatch(line)
		switch {
		case m != nil:
			key := strings.NewReplacer(ourHost, "HOST", theirHost, "HOST").Replace(strings.Join(m[1:], " "))
			priority := 1
			if strings.Contains(line, "prio 100,") {
				priority = 2
			}
			sent[key] |= priority
		case strings.HasPrefix(line, "00:00:5e") && !strings.Contains(line, " ARP, ") && !strings.Contains(line, "neighbor"):
			t.Errorf("from a virtual MAC address: %s", line)
		}
	}
	adverts := 0
	for key, by := range sent {
		if !strings.Contains(key, "vrid") {
			continue
		}
		if adverts++; by != 3 {
			t.Errorf("%s is sent by one of them alone: %b", key, by)
		}
	}
	if adverts != 5 {
		t.Errorf("adverts of %d kinds: %v", adverts, sent)
	}
	for _, want := range []string{"00:00:5e:00:01:33 ff:ff:ff:ff:ff:ff Request who-has 10.77.0.9", "00:00:5e:00:02:33 33:33:00:00:00:01 neighbor advertisement, tgt is fd00:77::9,",
		"02:11:22:33:44:35 ff:ff:ff:ff:ff:ff Request who-has 10.77.0.13"} {
		if sent[want] == 0 {
			t.Errorf("missing: %s\n%v", want, sent)
		}
	}
}
