# One director with one cable: eth0 here, wire in the namespace "out". Whoever holds wire is everybody else: the clients'
# router 10.0.8.1 and fd00:8::1, and the real servers 10.0.8.11 … 16 and fd00:8::b … 10.
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 net.ipv6.icmp.ratelimit=0 # a refusal must be heard
modprobe ip_vs
ip link set lo up
ip netns add out
ip link add eth0 address 02:00:00:00:00:01 type veth peer name wire netns out
ip netns exec out sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip -n out link set wire up
ethtool -K eth0 tx off >log # the kernel's own sums are to be seen too
ip addr add 10.0.8.2/24 dev eth0
ip link set eth0 up
ip addr add fd00:8::2/64 dev eth0 nodad
ip addr add 10.0.8.9/32 dev lo
ip addr add 10.0.8.10/32 dev lo
ip addr add 10.0.8.8/32 dev lo
ip addr add 10.0.8.7/32 dev lo
ip addr add fd00:8::7/128 dev lo
ip addr add 10.0.8.6/32 dev lo
ip addr add fd00:8::6/128 dev lo
nft 'add table inet marks; add chain inet marks given { type filter hook prerouting priority mangle; }
	add rule inet marks given ip daddr 10.0.8.7 meta mark set 7; add rule inet marks given ip6 daddr fd00:8::7 meta mark set 8'
# ipvs: FTP by NAT switches connection tracking on; what is to begin anew is then dropped if the host has answered the same client before.
nft 'add chain inet marks untracked { type filter hook prerouting priority raw; }; add rule inet marks untracked notrack'
ip addr add fd00:8::9/128 dev lo
ip neigh add 10.0.8.1 lladdr 02:00:00:00:00:02 dev eth0 nud permanent
ip neigh add fd00:8::1 lladdr 02:00:00:00:00:02 dev eth0 nud permanent
ip neigh add 10.0.8.3 lladdr 02:00:00:00:00:03 dev eth0 nud permanent
for n in 11 12 13 14 15 16; do
	ip neigh add 10.0.8.$n lladdr 02:00:00:00:01:$n dev eth0 nud permanent
	ip neigh add $(printf fd00:8::%x $n) lladdr 02:00:00:00:01:$n dev eth0 nud permanent
done
ip route add default via 10.0.8.1
ip -6 route add default via fd00:8::1
ip link add shelf0 type dummy # the program is attached here, where no packet comes
ip link set shelf0 up
