# What the checkers of keepalived have in force, for each file: its log and its dump. It only begins to check.
ip link set lo up
ip link add eth0 type dummy
ip addr add 10.0.0.1/24 dev eth0
ip link set eth0 up
modprobe ip_vs
printf '#!/bin/sh\nexit 0\n' >/tmp/check
chmod 755 /tmp/check
echo 5 >/tmp/number
for file in /vm/conf/*.conf; do
	name=$(basename $file .conf)
	rm -f /tmp/keepalived*.data /run/c.pid
	cp $file /tmp/$name.conf
	chmod 644 /tmp/$name.conf # keepalived refuses what can be executed
	keepalived -n -l -C -f /tmp/$name.conf -p /run/k.pid -c /run/c.pid >/out/$name.log 2>&1 &
	for try in $(seq 100); do
		test -s /run/c.pid && kill -USR1 $(cat /run/c.pid) 2>/dev/null
		sleep 0.3
		grep -q 'Health checkers' /tmp/keepalived_check.data 2>/dev/null && break
	done
	cp /tmp/keepalived_check.data /out/$name.data || cat /out/$name.log
	kill $(cat /run/k.pid)
	wait
	ipvsadm -C
done
