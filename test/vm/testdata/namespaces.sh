# A script as people write them for IPVS: it makes namespaces, has "ip netns exec director ipvsadm" balance, and takes all down
# again. Each method in a network of its own. Which ipvsadm that is, and what is behind it, is PATH's affair.
#
#	client (br0 10.7.0.2) -- c0 -- d0 (10.7.0.1) director d1 (10.7.1.1) -- r1 (10.7.1.3) real
#	                      -- c1 ------------------------------------------ r0 (10.7.0.3)
fail() { echo "FAIL: $*"; exit 1; }
build() {
	for ns in client director real; do ip netns add $ns && ip -n $ns link set lo up; done
	ip link add c0 netns client type veth peer name d0 netns director || fail "cables of the last round are there"
	ip link add c1 netns client type veth peer name r0 netns real
	ip link add d1 netns director type veth peer name r1 netns real
	ip -n client link add br0 type bridge
	for port in c0 c1; do ip -n client link set $port master br0 up; done
	ip -n client link set br0 up
	ip -n client addr add 10.7.0.2/24 dev br0
	ip -n client route add 10.7.9.9 via 10.7.0.1
	for port in d0 d1; do ip -n director link set $port up; done
	ip -n director addr add 10.7.0.1/24 dev d0
	ip -n director addr add 10.7.1.1/24 dev d1
	for port in r0 r1; do ip -n real link set $port up; done
	ip -n real addr add 10.7.0.3/24 dev r0
	ip -n real addr add 10.7.1.3/24 dev r1
	ip netns exec director sysctl -qw net.ipv4.ip_forward=1
	ip netns exec real sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.r1.rp_filter=0 net.ipv4.conf.r0.rp_filter=0 \
		net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
}
prepare() { # the real server, for a method
	case $1 in
	-m) ip -n real link del r0 && ip -n real route add default via 10.7.1.1; return ;;
	-i) ip -n real link set tunl0 up && ip netns exec real sysctl -qw net.ipv4.conf.tunl0.rp_filter=0 ;;
	esac
	ip -n real addr add 10.7.9.9/32 dev lo
}
play() { # play METHOD
	build
	prepare $1
	ip netns exec director ipvsadm -A -t 10.7.9.9:8080 -s rr || fail "$1: -A"
	ip netns exec director ipvsadm -a $1 -t 10.7.9.9:8080 -r 10.7.1.3:8080 || fail "$1: -a"
	ip -n director addr add 10.7.9.9/32 dev lo
	ip netns exec real nc -l -p 8080 -e cat sent &
	until ip netns exec real netstat -ltn | grep -q :8080; do sleep 0.1; done
	ip netns exec client timeout 20 nc 10.7.9.9 8080 </dev/null >got
	cmp sent got || fail "$1: another file has come"
	ip netns exec director ipvsadm -Sn
	for ns in client director real; do ip netns delete $ns || fail "delete $ns"; done
}
dd if=/dev/urandom of=sent bs=1000 count=100 2>/dev/null
for method in -g -m -i; do play $method; done
