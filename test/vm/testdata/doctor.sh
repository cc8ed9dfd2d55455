# A director, a real server behind a tunnel and a client behind a router:
#
#   client 10.0.4.102 ── 10.0.4.1 router 10.0.8.1 ──┬── director 10.0.8.25, VIP 10.0.8.9
#                                                   └── real 10.0.8.13
for h in client router director real; do
	ip netns add $h
	ip -n $h link set lo up
	ip netns exec $h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
done
for h in router director; do ip netns exec $h sysctl -qw net.ipv4.ip_forward=1; done
ip -n router link add br0 type bridge
ip -n router addr add 10.0.8.1/24 dev br0
ip -n router link set br0 up
plug() { # plug HOST ADDRESS: a cable to the bridge
	ip -n $1 link add eth0 type veth peer name $1 netns router
	ip netns exec $1 ethtool -K eth0 tx off >/dev/null
	ip netns exec router ethtool -K $1 tx off gro on >/dev/null # gro: or what XDP sends here is lost
	ip -n router link set $1 master br0 up
	ip -n $1 addr add $2 dev eth0
	ip -n $1 link set eth0 up
	ip -n $1 route add default via 10.0.8.1
}
plug director 10.0.8.25/24
plug real 10.0.8.13/24
ip -n client link add eth0 type veth peer name client netns router
ip netns exec client ethtool -K eth0 tx off >/dev/null
ip netns exec router ethtool -K client tx off >/dev/null
ip -n router addr add 10.0.4.1/24 dev client
ip -n router link set client up
ip -n client addr add 10.0.4.102/24 dev eth0
ip -n client link set eth0 up
ip -n client route add default via 10.0.4.1
