# Two directors at one switch: a namespace (k) with the kernel's IPVS, whose table has as many rows as connections come, and the VM itself
# with vipd. Who sends frames for both is s. Their real server, rs, has no address and drops what it gets.
modprobe ip_vs conn_tab_bits=20
ip netns add lan
ip -n lan link add br0 type bridge mcast_snooping 0
ip -n lan link set br0 up
plug() { # plug HOST MAC: at the switch; "" is the VM itself
	ip ${1:+-n $1} link add eth0 address $2 type veth peer name p${1:-v} netns lan
	ip netns exec lan ethtool -K p${1:-v} tx off gro on >/dev/null # gro: or what XDP sends here is lost
	ip -n lan link set p${1:-v} master br0 up
	ip ${1:+-n $1} link set eth0 up
}
director() { # director NAMESPACE MAC ADDRESS
	in=${1:+ip netns exec $1}
	$in sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.default.send_redirects=0 net.ipv4.ip_forward=1
	plug "$1" $2
	ip ${1:+-n $1} link set lo up
	ip ${1:+-n $1} addr add $3/24 dev eth0
	ip ${1:+-n $1} addr add 10.0.8.9/32 dev lo
	ip ${1:+-n $1} route add 100.64.0.0/10 dev eth0
	ip ${1:+-n $1} neigh replace 10.0.8.11 lladdr 02:00:00:00:01:11 dev eth0 nud permanent
}
for h in k s rs; do ip netns add $h; done
director k 02:00:00:00:00:02 10.0.8.2
director '' 02:00:00:00:00:03 10.0.8.3
plug s 02:00:00:00:00:01
plug rs 02:00:00:00:01:11
# Every packet of a client is told, so that a connection is with its first one after the handshake.
ip netns exec k sysctl -qw net.ipv4.vs.sync_threshold="0 1"
