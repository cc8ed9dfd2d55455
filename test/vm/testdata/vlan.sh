# VLANs as the kernel makes them: clients behind a tag of 802.1Q, real servers behind two (802.1ad outside). The director is
# the VM itself, with one cable; the other hosts are namespaces at the same switch.
fail() { echo "FAIL: $*"; cat log; ./vipd status; ip neigh; ip netns exec real netstat -s; ip netns exec real ip -s link; exit 1; }
start() {
	: >log # the shell may look at it before the program begins a new one
	./vipd run "$@" >log 2>&1 &
	pid=$!
	until grep -q 'runs as instance' log; do
		kill -0 $pid 2>/dev/null || fail "it did not start: $*"
		sleep 0.1
	done
}
stop() {
	kill -TERM $1
	wait $1 || fail "exit code $?"
}
# busybox's wget is static, and looks for what resolves names.
page() { # page [in HOST]: what the service says
	$1 timeout 20 bash -c 'exec 3<>/dev/tcp/10.0.8.9/80; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' 2>/dev/null | tail -n 1
}
hear() { # hear WHAT: until the client gets that page
	for i in 1 2 3 4 5 6; do
		[ "$(page 'ip netns exec client')" = "$1" ] && return
		sleep 1
	done
	fail "the client does not hear $1"
}
counted() { ./vipd status | grep -q "$1" || fail "no packet is counted as $1"; }

sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
for host in lan client real; do
	ip netns add $host
	ip netns exec $host sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.arp_ignore=1
	ip -n $host link set lo up
done
ip -n lan link add br0 type bridge
ip -n lan link set br0 up
wire() { # as on a wire: checksums and tags are in the frames, and not noted beside them
	$2 ethtool -K $1 tx off txvlan off tx-vlan-stag-hw-insert off >/dev/null || fail "ethtool $1"
	$2 ip link set $1 up
}
plug() { # plug HOST
	ip ${1:+-n $1} link add eth0 type veth peer name p${1:-director} netns lan
	ip -n lan link set p${1:-director} master br0
	wire p${1:-director} 'ip netns exec lan'
	wire eth0 "${1:+ip netns exec $1}"
}
plug ''
ip netns exec lan ethtool -K pdirector gro on >/dev/null || fail "the director's cable has no GRO at its other end"
plug client
plug real
clients() { # clients ADDRESS [in HOST]: a tag of 802.1Q
	$2 ip link add link eth0 name eth0.100 type vlan id 100
	$2 ip link set eth0.100 up
	$2 ip addr add $1 dev eth0.100
}
servers() { # the same with two tags
	$2 ip link add link eth0 name outer type vlan proto 802.1ad id 7
	$2 ip link add link outer name inner type vlan id 5
	$2 ip link set outer up
	$2 ip link set inner up
	$2 ip addr add $1 dev inner
}
clients 10.0.4.1/24
servers 10.0.8.2/24
ip addr add 10.0.8.9/32 dev lo
clients 10.0.4.102/24 'ip netns exec client'
ip -n client route add 10.0.8.9 via 10.0.4.1
servers 10.0.8.12/24 'ip netns exec real'
mkdir www nat
echo direct >www/index.html
echo masqueraded >nat/index.html
ip netns exec real busybox httpd -p 80 -h www
ip netns exec real busybox httpd -p 8080 -h nat

service() { # service KIND PORT
	printf 'virtual_server 10.0.8.9 80 {\n lb_algo rr\n lb_kind %s\n protocol TCP\n real_server 10.0.8.12 %s {\n }\n}\n' $1 $2 >site.conf
}

# Direct routing: in by one tag, out by two; the answers go another way.
clients 10.0.4.12/24 'ip netns exec real'
ip -n real addr add 10.0.8.9/32 dev lo
service DR 80
start -f site.conf --interface eth0.100 --interface inner
grep -q 'packet path attached to eth0 in native mode' log || fail "it is not on the carrier"
grep -q 'packet path attached to eth0.100' log && fail "it is on the VLAN too"
hear direct
counted forward_hit
stop $pid

# NAT: the answers come back by two tags and leave by one.
ip -n real addr del 10.0.8.9/32 dev lo
ip -n real link del eth0.100
ip -n real route add default via 10.0.8.2
service NAT 8080
start -f site.conf --interface eth0.100 --interface inner
hear masqueraded
counted forward_reply

# The director itself is a client too.
grep -q 'stay here' log && fail "its own connections are not balanced"
[ "$(page)" = masqueraded ] || fail "the director does not hear its service"
./vipd status | grep -A1 '^Own connections' | grep -q 'sent  1$' || fail "its own connection is not counted"

# An interface with an address of its own (a virtual router's): its frames are ours too.
ip link add link eth0.100 name vrrp.51 address 00:00:5e:00:01:33 type macvlan
ip link set vrrp.51 up
ip addr add 10.0.4.9/24 dev vrrp.51 noprefixroute
ip -n client route replace 10.0.8.9 via 10.0.4.9
ip -n client neigh replace 10.0.4.9 lladdr 00:00:5e:00:01:33 dev eth0.100
before=$(./vipd status | grep -o 'forward_reply.*')
hear masqueraded
[ "$before" != "$(./vipd status | grep -o 'forward_reply.*')" ] || fail "a virtual interface's frames are not ours"
stop $pid
echo done
