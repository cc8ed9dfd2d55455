# A director with the kernel's IPVS and the real ipvsadm (k) and one with vipd (the VM itself) on one segment, each master and
# backup of synchronisation. The client's neighbour entry says to which of them its packets go; the real server of NAT answers
# through the same.
fail() { echo "FAIL: $*"; show; cat log; exit 1; }
show() {
	echo '--- kernel'; kernel -lcn; ip netns exec k cat /proc/net/ip_vs_conn_sync
	echo '--- vipd'; vipd ipvsadm -lcn; vipd status
}
kernel() { ip netns exec k ipvsadm "$@"; }
vipd() { /vm/vipd "$@"; }
vipd_ipvsadm() { vipd ipvsadm "$@"; }

ip netns add lan
ip -n lan link add br0 type bridge mcast_snooping 0
ip -n lan link set br0 up
host() { # host NAME ADDRESS NETWORK: at the switch, with this network beside its own
	[ $1 = v ] && at= in= || { ip netns add $1; at="-n $1" in="ip netns exec $1"; }
	$in sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.default.send_redirects=0 net.ipv4.ip_forward=1 net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip $at link set lo up
	ip $at link add eth0 type veth peer name $1 netns lan
	$in ethtool -K eth0 tx off >/dev/null
	ip netns exec lan ethtool -K $1 tx off gro on >/dev/null
	ip -n lan link set $1 master br0 up
	ip $at link set eth0 up
	ip $at addr add $2 dev eth0
	ip $at route add $3 dev eth0
}
host v 10.0.8.3/24 10.0.4.0/24
host k 10.0.8.2/24 10.0.4.0/24
host rs 10.0.8.12/24 10.0.4.0/24
host nat 10.0.8.13/24 10.0.5.0/24
host c 10.0.4.200/24 10.0.8.0/24
for at in '-n k' '-n rs' ''; do ip $at addr add 10.0.8.9/32 dev lo; done
use() { # use ADDRESS MAC
	ip -n c neigh replace 10.0.8.9 lladdr $2 dev eth0 nud permanent
	ip -n nat route replace 10.0.4.0/24 via $1
}
mac() { ip $1 link show dev eth0 | sed -n 's/.*ether \([^ ]*\).*/\1/p'; }
use_kernel() { use 10.0.8.2 $(mac '-n k'); }
use_vipd() { use 10.0.8.3 $(mac); }
for port in 80 81 83; do ip netns exec rs nc -ll -p $port -e cat & done
ip netns exec nat nc -ll -p 82 -e cat &

services='-A -t 10.0.8.9:80 -s rr
-a -t 10.0.8.9:80 -r 10.0.8.12:80 -g
-A -t 10.0.8.9:81 -s rr -p 300
-a -t 10.0.8.9:81 -r 10.0.8.12:81 -g
-A -t 10.0.8.9:82 -s rr
-a -t 10.0.8.9:82 -r 10.0.8.13:82 -m'
: >log
# Without a configuration it is attached in generic mode: what a veth sends in native mode may be lost.
/vm/vipd run --no-config --interface eth0 >log 2>&1 &
pid=$!
until grep -q 'Startup complete' log; do kill -0 $pid 2>/dev/null || fail "it did not start"; sleep 0.2; done
for director in kernel vipd_ipvsadm; do
	echo "$services" | $director -R || fail "the services of $director"
	for part in master backup; do $director --start-daemon $part --mcast-interface eth0 --syncid 7 || fail "$part of $director"; done
done
kernel -A -t 10.0.8.9:83 -s rr
kernel -a -t 10.0.8.9:83 -r 10.0.8.12:83 -g
until [ "$(vipd status | grep -c 'in via .* on eth0')" -ge 3 ]; do sleep 0.2; done

listed="master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)
backup sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)"
[ "$(vipd ipvsadm -l --daemon)" = "$listed" ] || fail "vipd lists $(vipd ipvsadm -l --daemon)"
[ "$(kernel -l --daemon)" = "$listed" ] || fail "ipvsadm lists $(kernel -l --daemon)"

begin() { # begin NAME PORT: a connection that stays open while the script has in$NAME open
	mkfifo in$1
	: >out$1
	ip netns exec c nc 10.0.8.9 $2 <in$1 >out$1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- &
}
say() { # say NAME FD WORD: and hear it
	echo $3 >&$2
	for i in $(seq 120); do # a busy machine is slow, and TCP has lost patience meanwhile
		grep -q $3 out$1 && return
		sleep 0.5
	done
	fail "$3 was not answered over connection $1"
}
seen() { # seen LISTER LINE...: the table has them, sooner or later
	lister=$1
	shift
	for i in $(seq 150); do
		$lister | sed 's/ *$//; s/  */ /g' >list
		for line in "$@"; do grep -q "^TCP $line\$" list || continue 2; done
		return
	done
	fail "$lister lacks one of: $*"
}
klist() { kernel -lcn; }
vlist() { vipd ipvsadm -lcn; }
counts() { sed -n 's/.*-> *\(10[^ ]*\) .* \([0-9][0-9]*\) *\([0-9][0-9]*\) *$/\1 \2 \3/p'; }
from='10.0.4.200:[1-9][0-9]*'
open='1[2345]:[0-5][0-9] ESTABLISHED' # of 15 minutes

# What begins at the kernel's director is on both, with the same times.
use_kernel
begin A 80; exec 3>inA
begin B 81; exec 4>inB
begin C 82; exec 5>inC
say A 3 one; say B 4 one; say C 5 one
for l in klist vlist; do
	seen $l "$open $from 10.0.8.9:80 10.0.8.12:80" "$open $from 10.0.8.9:81 10.0.8.12:81" \
		"0[2345]:[0-5][0-9] ASSURED 10.0.4.200:0 10.0.8.9:81 10.0.8.12:81" "$open $from 10.0.8.9:82 10.0.8.13:82"
done
kernel -Ln | counts | grep -v :83 >want
vipd ipvsadm -Ln | counts >got
cmp want got || fail "the kernel counts $(cat want), vipd $(cat got)"

# The address moves to vipd: what is open goes on there, and what comes of it the kernel is told.
use_vipd
say A 3 three; say B 4 three; say C 5 three
exec 3>&- 5>&-
seen klist "0[012]:[0-5][0-9] FIN_WAIT $from 10.0.8.9:80 10.0.8.12:80" "0[012]:[0-5][0-9] TIME_WAIT $from 10.0.8.9:82 10.0.8.13:82"

# What begins at vipd goes on at the kernel's. The kernel keeps the ends of A and C beside them.
begin D 80; exec 6>inD
begin E 82; exec 7>inE
say D 6 five; say E 7 five
seen klist "$open $from 10.0.8.9:80 10.0.8.12:80" "$open $from 10.0.8.9:82 10.0.8.13:82"
use_kernel
say D 6 seven; say E 7 seven; say B 4 seven

# Of a service that vipd does not have: kept, and counted once it has.
begin F 83; exec 8>inF
say F 8 eight
seen vlist "$open $from 10.0.8.9:83 10.0.8.12:83"
vipd ipvsadm -A -t 10.0.8.9:83 -s rr
vipd ipvsadm -a -t 10.0.8.9:83 -r 10.0.8.12:83 -g
for i in $(seq 150); do
	vipd ipvsadm -Ln -t 10.0.8.9:83 | grep -q 'Route *1 *1 *0' && break
	[ $i = 150 ] && fail "the connection is not counted"
	sleep 0.2
done
use_vipd
say F 8 ten

vipd status | grep -q 'learned [1-9]' || fail "status does not say what was learned"
vipd ipvsadm --stop-daemon backup || fail "stop"
kill -TERM $pid
wait $pid || fail "exit code $?"
echo done
