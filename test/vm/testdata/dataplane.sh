# vipd with the kernel's IPVS as its data plane, beside the real ipvsadm. Any surprise ends it.
fail() { echo "FAIL: $*"; cat log; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: got
$2
want
$3"; }
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
	data_plane ipvs
}
virtual_server 10.0.8.9 80 {
	lb_algo wlc
	lb_kind NAT
	protocol TCP
	persistence_timeout 50
	real_server 10.0.8.12 80 {
		weight 2
	}
	real_server 10.0.8.13 80 {
		weight 3
	}
}
X
ours='-A -t 10.0.8.9:80 -s wlc -p 50
-a -t 10.0.8.9:80 -r 10.0.8.12:80 -m -w 2
-a -t 10.0.8.9:80 -r 10.0.8.13:80 -m -w 3'
theirs='-A -t 10.0.8.10:25 -s rr'

# What is there already: a service of somebody else, and one of ours as it is no more.
ipvsadm -A -t 10.0.8.10:25 -s rr
ipvsadm -A -t 10.0.8.9:80 -s rr
ipvsadm -a -t 10.0.8.9:80 -r 10.0.8.99:80 -g

start -f site.conf
grep -q 'data plane ipvs, as data_plane in the file says' log || fail "the log does not say which"
./vipd status | grep -q '^data plane ipvs, as data_plane in the file says' || fail "status does not say which"
same "the kernel has" "$(ipvsadm -Sn)" "$ours
$theirs"
same "vipd ipvsadm lists" "$(./vipd ipvsadm -Ln --stats)" "$(ipvsadm -Ln --stats)"
./vipd ipvsadm -A -t 10.0.8.9:443 -s mh -b mh-port || fail "a service by hand"
./vipd ipvsadm -a -t 10.0.8.9:443 -r 10.0.8.12:443 -i -w 7 --tun-type gue --tun-port 6080 || fail "a server by hand"
byhand='-A -t 10.0.8.9:443 -s mh -b mh-port
-a -t 10.0.8.9:443 -r 10.0.8.12:443 -i -w 7 --tun-type gue --tun-port 6080 --tun-nocsum'
same "by hand" "$(ipvsadm -Sn -t 10.0.8.9:443 2>/dev/null || ipvsadm -Sn | grep :443)" "$byhand"
./vipd ipvsadm --set 100 20 30
same "timeouts" "$(ipvsadm -L --timeout)" "Timeout (tcp tcpfin udp): 100 20 30"
sed -i 's/weight 3/weight 5/' site.conf
kill -HUP $pid
until ipvsadm -Sn | grep -q 'w 5'; do sleep 0.1; done
same "after a reload by hand" "$(ipvsadm -Sn | grep :443)" "$byhand"
stop $pid
same "after the stop the kernel has" "$(ipvsadm -Sn)" "$byhand
$theirs"

# With lvs_flush the file is all there is.
sed -i 's/data_plane ipvs/data_plane ipvs\nlvs_flush/' site.conf
start -f site.conf
same "flushed, the kernel has" "$(ipvsadm -Sn)" "$(echo "$ours" | sed 's/-w 3/-w 5/')"
stop $pid
echo done
