# Two directors, each a namespace with the same addresses, which all servers share but those that the test has behind a cable.
modprobe ip_vs
modprobe tun
for d in keepalived vipd; do
	mkdir -p /run/$d
	ip netns add $d
	ip -n $d link set lo up
	for a in 10.9.9.1 10.9.9.2 10.9.9.3 10.9.9.4 10.9.9.6 10.9.9.7 10.9.9.8 10.0.0.250 10.0.0.11 10.0.0.12 10.0.0.13 10.0.0.21 10.0.0.22 10.0.0.31 10.0.0.41 10.0.0.42 10.0.0.43 10.0.0.51 10.0.0.61 10.0.0.64 10.0.0.81 10.0.0.82; do
		ip -n $d addr add $a/32 dev lo
	done
done
cat >/vm/told.sh <<'X'
#!/bin/sh
d=$1
shift
echo "$*" >$d/told
X
# Each run answers with the next exit status of the schedule, and goes on with the last one.
cat >/vm/misc.sh <<'X'
#!/bin/sh
read status rest <$1/misc$2
[ -z "$rest" ] || echo "$rest" >$1/misc$2
[ $status != slow ] || exec sleep 60
exit $status
X
chmod +x /vm/told.sh /vm/misc.sh
