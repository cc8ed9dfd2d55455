# Two directors at one switch, a namespace (k) with the kernel's IPVS and the VM itself with vipd; a real server of direct routing (rs), one
# of NAT (nat), and a client (c), each with both families. Which director the client's packets and NAT's answers take is in neighbour
# entries and routes.
modprobe ip_vs
ip netns add lan
ip -n lan link add br0 type bridge mcast_snooping 0
ip -n lan link set br0 up
host() { # host NAME MAC ADDRESS ADDRESS6 NETWORK NETWORK6: at the switch, with these networks beside its own; "" is the VM itself
	[ "$1" ] && ip netns add $1
	in=${1:+ip netns exec $1} at=${1:+-n $1}
	$in sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.default.send_redirects=0 net.ipv4.ip_forward=1 net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
		net.ipv6.conf.all.forwarding=1
	ip $at link set lo up
	ip $at link add eth0 address $2 type veth peer name p${1:-v} netns lan
	$in ethtool -K eth0 tx off >/dev/null
	ip netns exec lan ethtool -K p${1:-v} tx off gro on >/dev/null
	ip -n lan link set p${1:-v} master br0 up
	ip $at link set eth0 up
	ip $at addr add $3/24 dev eth0
	ip $at addr add $4/64 dev eth0 nodad
	ip $at route add $5 dev eth0
	ip $at -6 route add $6 dev eth0
}
host '' 02:00:00:00:00:03 10.0.8.3 fd00:8::3 10.0.4.0/24 fd00:4::/64
host k 02:00:00:00:00:02 10.0.8.2 fd00:8::2 10.0.4.0/24 fd00:4::/64
host rs 02:00:00:00:01:12 10.0.8.12 fd00:8::12 10.0.4.0/24 fd00:4::/64
host nat 02:00:00:00:01:13 10.0.8.13 fd00:8::13 10.0.5.0/24 fd00:5::/64
host c 02:00:00:00:02:00 10.0.4.200 fd00:4::200 10.0.8.0/24 fd00:8::/64
for at in '-n k' '-n rs' ''; do
	ip $at addr add 10.0.8.9/32 dev lo
	ip $at addr add fd00:8::9/128 dev lo nodad
done
