# The network of the recorded traces. The director is the VM itself; every other host is a namespace:
#
#   client 10.0.4.102 ── 10.0.4.1 lan 10.0.8.1 ──┬── director 10.0.8.2, VIP 10.0.8.9, 10.9.0.0/16 (by firewall mark)
#   10.50.0.0/16 too                             └── rs11 … rs15: 10.0.8.11 … 15, with the VIP on lo
#
# $gateway is the real servers' way back: 10.0.8.2 for NAT, 10.0.8.1 for the other methods.
plain='net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0'
sysctl -qw $plain
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 # a refusal must be heard
for host in client lan rs11 rs12 rs13 rs14 rs15; do
	ip netns add $host
	ip netns exec $host sysctl -qw $plain
	ip -n $host link set lo up
done
ip netns exec lan sysctl -qw net.ipv4.ip_forward=1
ip -n lan link add br0 type bridge
ip -n lan addr add 10.0.8.1/24 dev br0
ip -n lan link set br0 up
plug() { # plug HOST ADDRESS GATEWAY: a cable from the host's eth0 to the bridge
	ip ${1:+-n $1} link add eth0 type veth peer name p${1:-director} netns lan
	ip -n lan link set p${1:-director} master br0 up
	ip ${1:+-n $1} addr add $2 dev eth0
	ip ${1:+-n $1} link set eth0 up
	ip ${1:+-n $1} route add default via $3
}
plug '' 10.0.8.2/24 10.0.8.1
ip addr add 10.0.8.9/32 dev eth0
ip route add local 10.9.0.0/16 dev lo
for n in 11 12 13 14 15; do
	ip netns exec rs$n sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip -n rs$n addr add 10.0.8.9/32 dev lo
	plug rs$n 10.0.8.$n/24 $gateway
done
ip -n client link add eth0 type veth peer name client netns lan
ip -n lan addr add 10.0.4.1/24 dev client
ip -n lan link set client up
ip -n lan route add 10.50.0.0/16 via 10.0.4.102
ip -n lan route add 10.9.0.0/16 via 10.0.8.2
ip -n client addr add 10.0.4.102/24 dev eth0
ip -n client link set eth0 up
ip -n client route add default via 10.0.4.1
ip -n client route add local 10.50.0.0/16 dev lo
