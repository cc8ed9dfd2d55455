# Two directors at one switch: a namespace (k) for keepalived with the kernel's IPVS, and the VM itself for vipd. Real servers of
# direct routing (d1, d2), NAT (n1, n2) and tunnels (t1, t2), and a client with ten addresses. The virtual address 10.0.8.9 and
# the real servers' gateway 10.0.8.1 are of whoever is master.
modprobe ip_vs
modprobe ipip 2>/dev/null
ip netns add lan
ip -n lan link add br0 type bridge mcast_snooping 0
ip -n lan link set br0 up
host() { # host NAME ADDRESS GATEWAY: at the switch; clients are beyond the gateway, or at the switch themselves if that is eth0
	[ $1 = v ] && at= in= || { ip netns add $1; at="-n $1" in="ip netns exec $1"; }
	$in sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.default.send_redirects=0 net.ipv4.ip_forward=1
	ip $at link set lo up
	ip $at link add eth0 type veth peer name $1 netns lan
	$in ethtool -K eth0 tx off >/dev/null
	ip netns exec lan ethtool -K $1 tx off gro on >/dev/null # gro: or what XDP sends here is lost
	ip -n lan link set $1 master br0 up
	ip $at link set eth0 up
	ip $at addr add $2 dev eth0
	case $3 in
	eth0) ip $at route add 10.0.4.0/24 dev eth0 ;;
	*) ip $at route add 10.0.4.0/24 via $3 ;;
	esac
}
host v 10.0.8.3/24 eth0
host k 10.0.8.2/24 eth0
host d1 10.0.8.11/24 eth0
host d2 10.0.8.12/24 eth0
host n1 10.0.8.13/24 10.0.8.1
host n2 10.0.8.14/24 10.0.8.1
host t1 10.0.8.15/24 eth0
host t2 10.0.8.16/24 eth0
for h in d1 d2 t1 t2; do
	ip netns exec $h sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip -n $h addr add 10.0.8.9/32 dev lo
done
for h in t1 t2; do
	ip -n $h link set tunl0 up
	ip netns exec $h sysctl -qw net.ipv4.conf.tunl0.rp_filter=0
done
ip netns add client
ip -n client link set lo up
ip -n client link add eth0 type veth peer name client netns lan
ip netns exec client ethtool -K eth0 tx off >/dev/null
ip -n lan link set client master br0 up
ip -n client link set eth0 up
for i in 0 1 2 3 4 5 6 7 8 9; do ip -n client addr add 10.0.4.20$i/24 dev eth0; done
ip -n client route add 10.0.8.0/24 dev eth0
# Every packet of a client is told, so that a director that comes back with an empty table knows a connection after one.
ip netns exec k sysctl -qw net.ipv4.vs.sync_threshold="0 1"
