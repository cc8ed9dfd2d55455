# A second director, in a namespace, whose kernel has no services: what becomes of a packet that is left to the host. Behind
# history.sh, whose addresses and neighbours it has; wire is in the namespace "outtwin".
ip netns add twin
ip netns add outtwin
ip -n twin link set lo up
ip -n twin link add eth0 address 02:00:00:00:00:01 type veth peer name wire netns outtwin
ip netns exec outtwin sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip netns exec twin sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
ip netns exec twin sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.accept_dad=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
ip -n outtwin link set wire up
ip netns exec twin ethtool -K eth0 tx off >log
ip -n twin link set eth0 up
ip -n twin addr add 10.0.8.2/24 dev eth0
ip -n twin addr add fd00:8::2/64 dev eth0 nodad
ip -n twin addr add 10.0.8.9/32 dev lo
ip -n twin addr add fd00:8::9/128 dev lo
ip -n twin neigh add 10.0.8.1 lladdr 02:00:00:00:00:02 dev eth0 nud permanent
ip -n twin neigh add fd00:8::1 lladdr 02:00:00:00:00:02 dev eth0 nud permanent
ip -n twin neigh add 10.0.8.3 lladdr 02:00:00:00:00:03 dev eth0 nud permanent
for n in 11 12 13 14 15 16; do
	ip -n twin neigh add 10.0.8.$n lladdr 02:00:00:00:01:$n dev eth0 nud permanent
	ip -n twin neigh add $(printf fd00:8::%x $n) lladdr 02:00:00:00:01:$n dev eth0 nud permanent
done
ip -n twin route add default via 10.0.8.1
ip -n twin -6 route add default via fd00:8::1
