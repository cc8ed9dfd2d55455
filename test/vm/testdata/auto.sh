# vipd with data_plane auto on a kernel that has both. Any surprise ends it.
fail() { echo "FAIL: $*"; cat log; exit 1; }
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

ip link add eth0 type veth peer name far
ip link set eth0 up
ip link set far up
ip addr add 10.0.8.2/24 dev eth0
ip addr add 10.0.8.9/32 dev eth0

cat >site.conf <<'X'
global_defs {
	data_plane auto
}
virtual_server 10.0.8.9 80 {
	lb_algo wrr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.12 80 {
		weight 2
	}
}
X

# XDP where it attaches, else the kernel.
start -f site.conf --interface eth0
./vipd status | grep -q '^data plane xdp, auto' || fail "auto does not take xdp"
[ -z "$(ipvsadm -Sn)" ] || fail "beside xdp the kernel has services"
first=$pid
start -f site.conf --interface eth0 --instance second
./vipd status --instance second | grep -q '^data plane ipvs, auto: xdp does not work here: attach eth0' || fail "auto does not fall back"
stop $pid
kill -9 $first
wait $first

# What a killed one left is taken over by auto, and removed where ipvs is wanted.
start -f site.conf --interface eth0
./vipd status | grep -q '^data plane xdp, auto: it was there already' || fail "auto does not adopt"
kill -9 $pid
wait $pid
start -f site.conf --data-plane ipvs
grep -q 'the XDP packet path of the process before is removed' log || fail "the packet path before stays unsaid"
ip link show eth0 | grep -q xdp && fail "the packet path before stays"
stop $pid
echo done
