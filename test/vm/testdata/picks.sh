# Beside history.sh: real servers 10.0.8.20 … 98 and fd00:8::14 … 62, and networks whose packets have the marks 21 and 22.
for n in $(seq 20 98); do
	echo "neigh add 10.0.8.$n lladdr 02:00:00:00:01:$n dev eth0 nud permanent"
	printf 'neigh add fd00:8::%x lladdr 02:00:00:00:01:%d dev eth0 nud permanent\n' $n $n
done | ip -batch -
ip route add local 10.9.0.0/20 dev lo
ip -6 route add local fd00:9::/64 dev lo
nft 'add rule inet marks given ip daddr 10.9.0.0/20 meta mark set 21; add rule inet marks given ip6 daddr fd00:9::/64 meta mark set 22'
