# keepalived and vipd in turn, each on a host of its own that is made alike, with each file of /vm/conf: what the host has
# while it is master, what it says on the wire, and what is left after the stop, go to /out.
fail() { echo "FAIL: $*"; cat log; exit 1; }
chmod 644 conf/* vrf/* ipvs/* # keepalived reads no programs
sysctl -qw net.mpls.platform_labels=1000 2>/dev/null
host() { # host NAME
	ip netns add $1
	ip -n $1 link set lo up
	ip -n $1 link add eth0 address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
	ip netns exec $1 sysctl -qw net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.far.disable_ipv6=1 net.mpls.platform_labels=1000 2>/dev/null
	ip -n $1 link set far up
	ip -n $1 link set eth0 up
	ip -n $1 addr add 10.9.0.1/24 dev eth0
	ip -n $1 addr add fd00:9::1/64 dev eth0 nodad
}
start() { # start HOST PROGRAM FILE, until it is master
	: >log
	case $2 in
	theirs) ip netns exec $1 keepalived -nlDP -f $3 -p /run/k.pid -r /run/v.pid >log 2>&1 & ;;
	ours) ip netns exec $1 ./vipd run -D -f $3 --instance $1 >log 2>&1 & ;;
	esac
	pid=$!
	until grep -q 'Entering MASTER STATE' log; do
		kill -0 $pid 2>/dev/null || fail "$2 did not start with $3"
		sleep 0.1
	done
	sleep 1
}
stop() {
	kill -TERM $pid
	wait $pid || fail "exit code $?"
}
has() { # has HOST: ip's flags that tell when something was made are left out
	ip -n $1 -d -o link show | sed 's/ *\\ */ /g; s/ allmulti [01]//; s/promiscuity [01] //'
	ip -n $1 -o addr show | sed "s/ tentative//" # whether the kernel is through with its own one is chance
	ip -n $1 -d route show table all | sort
	ip -n $1 -6 -d route show table all | sort
}
for file in conf/*.conf; do
	name=${file#conf/}
	name=${name%.conf}
	for who in theirs ours; do
		host $who
		start $who $who $file
		has $who >/out/$name.$who
		ip netns exec $who timeout 60 tcpdump -Z root -lnnet -c 1 -i far 'ip proto 112 or ip6 proto 112' >>/out/$name.$who 2>dump || { cat dump; fail "$who says nothing"; }
		stop
		has $who >/out/$name.$who.after
		cp log /out/$name.$who.log
		ip netns del $who
	done
	echo "$name: played"
done

vrf() {
	# A routing domain: vipd speaks by it with a keepalived that knows nothing of such.
	ip netns add dir
	ip netns add peer
	ip -n dir link add blue type vrf table 10
	ip -n dir link add eth0 type veth peer name eth0 netns peer
	ip -n dir link set eth0 master blue
	for l in dir.blue dir.eth0 peer.eth0; do ip -n ${l%.*} link set ${l#*.} up; done
	ip -n dir addr add 10.9.0.1/24 dev eth0
	ip -n peer addr add 10.9.0.2/24 dev eth0
	start peer theirs vrf/peer.conf
	theirs=$pid
	mv log peer.log
	ip netns exec dir ./vipd run -D -f vrf/dir.conf --instance dir >dir.log 2>&1 &
	ours=$!
	until grep -q 'Entering BACKUP STATE' dir.log; do
		kill -0 $ours || { cat dir.log; fail "vipd did not start in a VRF"; }
		sleep 0.1
	done
	sleep 8
	grep MASTER dir.log && { cat dir.log; fail "it does not hear the master in its VRF"; }
	kill -TERM $theirs
	wait $theirs
	for i in $(seq 100); do grep -q 'Entering MASTER STATE' dir.log && break; sleep 0.1; done
	ip -n dir route show table 10 | grep -q '10.9.0.0/24' && ip -n dir addr show dev eth0 | grep -q 10.9.0.9 || { cat dir.log; fail "it is not master after the other's end"; }
	start peer theirs vrf/peer.conf
	for i in $(seq 100); do [ "$(grep -c 'Entering BACKUP STATE' dir.log)" = 2 ] && break; sleep 0.1; done
	[ "$(grep -c 'Entering BACKUP STATE' dir.log)" = 2 ] || { cat dir.log; fail "it does not yield"; }
	kill -TERM $pid $ours
	wait $pid $ours
	echo "vrf: played"
}
[ -e whole ] && vrf

# Services in another namespace than VRRP.
for who in theirs ours; do
	ip netns add here
	ip netns add there
	for ns in here there; do ip -n $ns link set lo up; done
	case $who in
	theirs) keepalived -nlD -f ipvs/ns.conf -p /run/k.pid -r /run/v.pid -c /run/c.pid >log 2>&1 & ;;
	ours) ./vipd run -D -f ipvs/ns.conf --instance ns --data-plane ipvs >log 2>&1 & ;;
	esac
	pid=$!
	for i in $(seq 200); do ip netns exec there ipvsadm -ln 2>/dev/null | grep -q '10.9.0.12' && break; sleep 0.1; done
	{ echo here; ip netns exec here ipvsadm -ln; echo there; ip netns exec there ipvsadm -ln; } >/out/ipvs.$who
	if [ $who = ours ]; then
		[ "$(cat /proc/$pid/comm)" = vipd ] || fail "in its namespace it is called $(cat /proc/$pid/comm)"
		[ "$(ip netns exec there cat /proc/sys/net/ipv4/vs/expire_nodest_conn)" = 1 ] || fail "the setting is not made there"
		./vipd ipvsadm --instance ns -lcn || fail "the connections there cannot be listed"
		[ "$(ip netns exec here cat /proc/sys/net/ipv4/vs/expire_nodest_conn)" = 0 ] || fail "the setting is made here"
	fi
	stop
	{ ip netns exec here ipvsadm -ln; ip netns exec there ipvsadm -ln; } >/out/ipvs.$who.after
	cp log /out/ipvs.$who.log
	ip netns del here
	ip netns del there
done
echo done
