# The machine itself is the real server behind a tunnel: far0 has its addresses, and whoever writes to wire0 is the director.
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
ip link set lo up
ip link add far0 type veth peer name wire0
ip addr add 10.0.8.12/24 dev far0
ip addr add 2001:db8:8::12/64 dev far0 nodad
ip addr add 10.0.8.9/32 dev lo
ip addr add 2001:db8:8::9/128 dev lo nodad
ip link set far0 up
ip link set wire0 up
for m in ipip sit ip6_tunnel ip_gre ip6_gre fou fou6; do modprobe $m; done
ip link set tunl0 up
ip link set sit0 up
ip link add any6 type ip6tnl mode any local 2001:db8:8::12 remote ::
ip link set any6 up
ip fou add port 6080 gue
ip -6 fou add port 6080 gue
