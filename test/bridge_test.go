package test

import (
	"testing"
	"time"
)

// bridged is a director whose own address is a bridge's, with the client and the real server at its ports.
const bridged = `set -e
for h in client d1 d2; do ip netns add fwd-$h; ip -n fwd-$h link set lo up; done
ip -n fwd-d1 link add br0 type bridge
ip -n fwd-d1 link set br0 up
n=2
for h in d2 client; do
	ip link add eth0 netns fwd-$h type veth peer name $h netns fwd-d1
	ip -n fwd-d1 link set $h master br0 up
	ip -n fwd-$h addr add 10.0.8.$n/24 dev eth0
	ip -n fwd-$h link set eth0 up
	ip netns exec fwd-$h ethtool -K eth0 tx off >/dev/null
	n=$((n+1))
done
ip -n fwd-d1 addr add 10.0.8.1/24 dev br0
for h in d1 d2; do
	ip netns exec fwd-$h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	ip -n fwd-$h addr add 10.0.8.9/32 dev lo
done
ip netns exec fwd-d2 sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
`

// TestTheDirectorIsOnABridge: in by a port and out by another, through the bridge's own interface.
func TestTheDirectorIsOnABridge(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, bridged)
	sayName(t, "d2")
	directorOn(t, "d1", "virtual_server 10.0.8.9 80 {\n lb_kind DR\n protocol TCP\n real_server 10.0.8.2 80 {\n }\n}\n", "--interface", "br0")
	eventually(t, 60*time.Second, "the client is answered", func() bool { return whoAnswers(t, "client") == "d2" })
	if n := reasonOf(t, "d1", "forward_hit"); n == 0 {
		t.Error("not by the packet path")
	}
}
