package vm

import (
	"strings"
	"testing"

	"vipd/internal/plane"
	"vipd/internal/vm"
)

// oddHosts are lines of hosts(5) that the C library reads in its own way.
const oddHosts = "::1 six.example.com loopback-six\n10.0.8.21 Upper.Example.COM Nick\n10.0.8.22 upper.example.com\n::ffff:10.0.8.23 mapped.example.com\n" +
	"10.0.8.24 two.example.com\n10.0.8.25 two.example.com\n010.0.8.26 octal.example.com\n10.0.8 short.example.com\n10.0.8.27\tunder_score -dash 7seven\n" +
	"10.0.8.28 comment.example.com#why\n  10.0.8.29 indented.example.com\n2001:db8::29 two.example.com\nfe80::1%eth0 scoped.example.com\n::1:2 quad.example.com\n10.0.8.30 dot.example.com.\n"

// oddLines are command lines, with a file for -R after "<<<". Words are divided by blanks, and single quotes keep them together.
var oddLines = []string{
	// Names of hosts.
	"-A -t six.example.com:80 -s rr", "-A -t loopback-six:81 -s rr", "-A -t UPPER.example.com:82 -s rr", "-A -t nick:83 -s rr", "-A -t NICK:http -s rr", "-A -t mapped.example.com:84 -s rr",
	"-A -t two.example.com:85 -s rr", "-A -t octal.example.com:86 -s rr", "-A -t short.example.com:87 -s rr", "-A -t under_score:88 -s rr", "-A -t -dash:89 -s rr", "-A -t 7seven:90 -s rr",
	"-A -t comment.example.com:91 -s rr", "-A -t indented.example.com:92 -s rr", "-A -t dot.example.com.:95 -s rr",
	"-A -t .vip.example.com:96 -s rr", "-A -t 'vip.example.com :97' -s rr", "-A -t ' vip.example.com:98' -s rr", "-A -t v6-real-server-one.example.com:99 -s rr", "-A -t [vip.example.com]:99 -s rr",
	"-A -t [vip.example.com:99] -s rr", "-A -t [vip.example.com:99]:98 -s rr", "-A -t scoped.example.com:99 -s rr", "-A -t quad.example.com:99 -s rr", "-L", "-S", "-Sn", "-C",
	// Names of services.
	"-A -t 10.0.8.9:http -s rr", "-A -t 10.0.8.9:www -s rr", "-A -t 10.0.8.9:HTTP -s rr", "-A -u 10.0.8.9:http -s rr", "-A -u 10.0.8.9:domain -s rr", "-A -u 10.0.8.9:tftp -s rr", "-A -t 10.0.8.9:tftp -s rr",
	"-A --sctp-service 10.0.8.9:http -s rr", "-A --sctp-service 10.0.8.9:domain -s rr", "-A -t '10.0.8.9:http ' -s rr", "-A -t 10.0.8.9:ssh -s rr", "-A -u 10.0.8.9:bootps -s rr", "-A -t [2001:db8::9]:ssh -s rr",
	"-A -u 10.0.8.9:syslog -s rr", "-A -t 10.0.8.9:shell -s rr", "-A -t 10.0.8.9:cmd -s rr", "-A -f 7 -s rr", "-a -f 7 -r 10.0.8.12:http", "-a -f 7 -r 10.0.8.13:80", "-a -u 10.0.8.9:domain -r 10.0.8.12:domain -m",
	"-a -t 10.0.8.9:http -r 10.0.8.12:http-alt -m", "-a -t 10.0.8.9:http -r rs-a.example.com:webcache -m", "-a -t 10.0.8.9:http -r 10.0.8.13:tftp -m", "-L", "-L --stats", "-L --rate", "-L --tun-info", "-S", "-L -t vip.example.com:http",
	"-L -t 10.0.8.9:ssh --stats", "-L -u 10.0.8.9:domain --rate --exact", "-L -f 7 --thresholds", "-Z -u 10.0.8.9:domain", "-D -u 10.0.8.9:domain", "-C",
	// IPv4 as inet_aton(3) reads it.
	"-A -t '10.0.8.9 x:80' -s rr", "-A -t '10.0.8.9\t:81' -s rr", "-A -t '10.0.8.9 :82' -s rr", "-A -t 0x:80 -s rr", "-A -t 0xg:80 -s rr", "-A -t 10.0.8.:80 -s rr", "-A -t .10.0.8:80 -s rr", "-A -t 10..8:80 -s rr",
	"-A -t 08.1.1.1:80 -s rr", "-A -t 167774217:83 -s rr", "-A -t 4294967295:80 -s rr", "-A -t 4294967296:80 -s rr", "-A -t 037777777777:80 -s rr", "-A -t 01200004011:84 -s rr", "-A -t 0XA000809:85 -s rr",
	"-A -t 10.0.2057:86 -s rr", "-A -t 10.2057:87 -s rr", "-A -t 10.0.8.256:80 -s rr", "-A -t 10.0.65536:80 -s rr", "-A -t 10.16777216:80 -s rr", "-A -t 10.0.8.9.1:80 -s rr", "-A -t 0x0a.0.010.0x9:88 -s rr",
	"-A -t +10.0.8.9:80 -s rr", "-A -t -10.0.8.9:80 -s rr", "-A -t 10.0.8.-9:80 -s rr", "-A -t 10.0.8.9x:80 -s rr", "-A -t 10.0.8.9/32:80 -s rr", "-A -t 10.0.8.9:80/tcp -s rr", "-A -t 0:80 -s rr", "-A -t 1:80 -s rr",
	"-A -t 00000000000000000012.0.8.9:89 -s rr", "-A -t 10.0.8.0x:90 -s rr", "-Ln", "-C",
	// Numbers.
	"-A -t '10.0.8.9: 7' -s rr", "-A -t '10.0.8.9:\t8' -s rr", "-A -t '10.0.8.9:9 ' -s rr", "-A -t 10.0.8.9:+10 -s rr", "-A -t 10.0.8.9:+-10 -s rr", "-A -t 10.0.8.9:0000000000000000000000000000011 -s rr", "-A -t 10.0.8.9:1_2 -s rr",
	"-A -t 10.0.8.9:0x50 -s rr", "-A -t 10.0.8.9:-0 -s rr -p", "-A -t 10.0.8.9:9223372036854775808 -s rr", "-A -t 10.0.8.9:18446744073709551696 -s rr", "-A -t 10.0.8.9:65616 -s rr", "-A -t 10.0.8.9:1e1 -s rr", "-A -t 10.0.8.9:٣ -s rr",
	"-A -f 00000000000000000000000000000000012 -s rr", "-A -f '\t13' -s rr", "-A -f 14. -s rr", "-A -f 18446744073709551617 -s rr", "-A -f +15 -s rr", "-A -f -0 -s rr", "-A -f '' -s rr", "-A -f 2147483648 -s rr", "-A -f 4294967295 -s rr",
	"-A -f 16 -s rr -p 00010", "-A -f 17 -s rr -p '\n11'", "-A -f 18 -s rr -p '12\n'", "-A -f 19 -s rr -p 1_3", "-A -f 20 -s rr -p 9223372036854775807", "-A -f 21 -s rr -p+14", "-A -f 22 -s rr -p= ", "-A -f 23 -s rr --persistent 15",
	"-A -t 10.0.8.9:80 -s rr", "-a -t 10.0.8.9:80 -r 10.0.8.12 -w +1", "-a -t 10.0.8.9:80 -r 10.0.8.13 -w '\v2'", "-a -t 10.0.8.9:80 -r 10.0.8.14 -w -0", "-a -t 10.0.8.9:80 -r 10.0.8.15 -w 2147483647 -x 2147483647 -y 2147483647",
	"-a -t 10.0.8.9:80 -r 10.0.8.16 -w 65536", "-a -t 10.0.8.9:80 -r 10.0.8.17 -w 4294967296", "-a -t 10.0.8.9:80 -r 10.0.8.17 -w 1_0", "-a -t 10.0.8.9:80 -r 10.0.8.17 -w 1 -x 10 -y 10", "-a -t 10.0.8.9:80 -r 10.0.8.18 -x -0 -y -0",
	"-a -t 10.0.8.9:80 -r 10.0.8.19 -i --tun-type gue --tun-port 00006080", "-a -t 10.0.8.9:80 -r 10.0.8.20 -i --tun-type gue --tun-port ' 6081' --tun-csum", "-Ln", "-Ln --thresholds", "-Ln --persistent-conn", "-Ln --tun-info", "-Sn", "-C",
	// IPv6 as inet_pton(3) reads it and inet_ntop(3) writes it.
	"-A -t [2001:DB8::9]:80 -s rr", "-A -t [2001:db8:0:0:0:0:0:9]:81 -s rr", "-A -t [::ffff:10.0.8.9]:80 -s rr", "-A -t [2001:db8::10.0.8.9]:80 -s rr", "-A -t [1::2::3]:80 -s rr", "-A -t [12345::]:80 -s rr", "-A -t '[2001:db8::9 ]:80' -s rr",
	"-A -t '[ 2001:db8::9]:80' -s rr", "-A -t [:]:80 -s rr", "-A -t [::]:80 -s rr", "-A -t [2001:db8::00009]:80 -s rr", "-A -t [[2001:db8::9]]:80 -s rr", "-A -t [2001:db8::9]x:80 -s rr", "-A -t [2001:db8::9]:80:90 -s rr",
	"-A -t [1:2:3:4:5:6:7::]:80 -s rr", "-A -t [::2:3:4:5:6:7:8]:80 -s rr", "-A -t [1::2:3:4:5:6:7:8]:80 -s rr", "-A -t [1:2:3:4:5:6:7:8:9]:80 -s rr", "-A -t [1:2:3:4:5:6:7]:80 -s rr", "-A -t [::1:2]:80 -s rr", "-A -t [::0.1.0.3]:80 -s rr",
	"-A -t [::10.0.8.9]:80 -s rr", "-A -t [1:0:0:2:0:0:0:3]:80 -s rr", "-A -t [1:0:2:0:3:0:4:0]:80 -s rr", "-A -t [1:0:0:2:3:0:0:4]:80 -s rr", "-A -t [0:1:0:0:0:0:0:0]:80 -s rr", "-A -t [::ffff:0:1]:80 -s rr", "-A -t [::ffff:1:2:3]:80 -s rr",
	"-A -t [64:ff9b::10.0.8.9]:80 -s rr", "-A -t [::ffff:10.0.08.9]:80 -s rr", "-A -t [::ffff:010.0.8.9]:81 -s rr", "-A -t [::10.0.8]:80 -s rr", "-A -t [2001:db8::9]:82", "-A -t 2001:db8::9 -s rr -p", "-A -t 2001:db8::9:http -s rr", "-A -t :: -s rr -p",
	"-a -t [2001:db8::9]:80 -r [::1:2]:80 -m", "-a -t [2001:db8::9]:80 -r [::10.0.8.12]:80 -m", "-a -t [2001:db8::9]:80 -r [2001:db8:0:1:0:0:0:12]:81 -m -w 3", "-a -t [2001:db8::9]:80 -r 10.0.8.12 -i", "-a -t [2001:db8::9]:80 -r ::1:3 -i",
	"-a -t [2001:db8::9]:80 -r [::ffff:10.0.8.12]:80 -m", "-a -t [2001:db8::9]:80 -r [2002::1] -m", "-a -t [2001:db8::9]:80 -r [2001:db8:8888:9999:aaaa:bbbb:cccc:dddd]:65535 -m -w 1234567", "-Ln", "-L", "-Sn", "-S", "-Ln --stats", "-Ln --rate",
	"-Ln -t [::1:2]:80", "-Ln -t [::ffff:10.0.8.9]:80", "-D -t [0::1:2]:80", "-Ln --tun-info", "-C",
	// Masks.
	"-A -t 10.0.8.9:80 -s rr -p -M 255.255.255", "-A -t 10.0.8.9:81 -s rr -p -M 0xffffff00", "-A -t 10.0.8.9:82 -s rr -p -M 4294967040", "-A -t 10.0.8.9:83 -s rr -p -M '255.255.0.0 '", "-A -t 10.0.8.9:84 -s rr -p -M 0", "-A -t 10.0.8.9:85 -s rr -p -M 255",
	"-A -t [2001:db8::9]:80 -s rr -p -M ' 64'", "-A -t [2001:db8::9]:81 -s rr -p -M +65", "-A -t [2001:db8::9]:82 -s rr -p -M 066", "-A -t [2001:db8::9]:83 -s rr -p -M 1", "-A -t [2001:db8::9]:84 -s rr -p -M 127", "-A -t [2001:db8::9]:85 -s rr -M 64",
	"-A -t [2001:db8::9]:86 -s rr -p -M 4294967360", "-A -t [2001:db8::9]:86 -s rr -p -M 1e2", "-A -t [2001:db8::9]:87 -s rr -p -M -1", "-A -f 1 -6 -s rr -p -M 48", "-A -f 2 -s rr -p -M 255.255.0.0 -6", "-A -f 3 -M 64 -6 -s rr -p",
	"-A -M 255.255.0.0 -t 10.0.8.9:86 -s rr -p", "-A -f 4 -6 -t [2001:db8::9]:80", "-E -t 10.0.8.9:80 -p 5 -M 255.0.0.0", "-E -t 10.0.8.9:81", "-Ln", "-Sn", "-L --persistent-conn", "-C",
	// Options as popt(3) takes them.
	"-At10.0.8.9:80 -srr", "-A -t=10.0.8.9:81 -s=wrr", "-A --tcp-service=10.0.8.9:82 --scheduler=lc", "-A --tcp-service 10.0.8.9:83 --scheduler sh --sched-flags=sh-port,sh-fallback", "-A -u10.0.8.9:84 -osrr", "-A -op -u 10.0.8.9:85", "-A -u 10.0.8.9:86 -op5 -s rr",
	"-aw3 -t10.0.8.9:80 -r10.0.8.12", "-amw=4 -t10.0.8.9:80 -r=10.0.8.13:8080", "-ax5 -y=4 -t10.0.8.9:80 -r10.0.8.14 -g", "-ai -t 10.0.8.9:80 -r 10.0.8.15 --tun-type=gre --tun-csum", "--add-server --tcp-service=10.0.8.9:80 --real-server=10.0.8.16 --weight=7 --masquerading",
	"--add-server -t 10.0.8.9:80 --real-server 10.0.8.17 --ipip", "--add-server -t 10.0.8.9:80 --real-server 10.0.8.18 --gatewaying", "--edit-server -t 10.0.8.9:80 -r 10.0.8.18 --u-threshold=9 --l-threshold=8", "--delete-server -t 10.0.8.9:80 -r 10.0.8.17", "-Ln",
	"-L=n", "-Ln=", "-L=", "-=", "--=x", "---", "--list-", "--list=", "--list=x", "--LIST", "-LN", "-L -", "-L '' ", "-L - -n", "-L -n --", "-L -- -n", "-L --numeric=1", "-Lcn6", "-6Ln", "-Lf7", "-L -f=7", "-L -f 7 -6", "-Lt10.0.8.9:80", "-nL", "-L -\xff", "-L --\xff",
	"-L --sort --sort", "-L --nosort --nosort", "-L --sort=1", "--save=1", "-Sn --sort", "-S --numeric", "-?", "--usage", "--help=1", "-vL", "-v foo", "--version foo", "-v -q", "-v --help", "-Lh", "-Lv", "-AD", "-CL", "-C foo", "-C -- foo", "-Z foo", "-Z -- ", "-Zn",
	"--zero --tcp-service 10.0.8.9:80", "-Z -t 10.0.8.9:99", "-D -t 10.0.8.9:99", "-D", "-d", "-d -t 10.0.8.9:80", "-d -t 10.0.8.9:80 -r 10.0.8.12:80", "-d -t 10.0.8.9:80 -r 10.0.8.12", "-e -t 10.0.8.9:80 -r 10.0.8.13", "-e -t 10.0.8.9:80 -r 10.0.8.13:8080 -m", "-Ln",
	"--clear --", "-C", "-C", "-Z",
	"--add-serv -t 10.0.8.9:80", "--add -t 10.0.8.9:80", "--add-service -t 10.0.8.9:80 --sched rr", "--add-service -t 10.0.8.9:80 --real 10.0.8.12", "-A -t 10.0.8.9:80 -s", "-A -t 10.0.8.9:80 -s ''", "-A -t 10.0.8.9:81 -s -rr", "-A -t 10.0.8.9:82 -s exactlyfifteen1", "-A -t 10.0.8.9:82 -s exactlysixteen12",
	"-A -u 10.0.8.9:83 -s rr -p --pe exactlysixteen12", "-A -u 10.0.8.9:83 -s rr -p --pe exactlyseventeen1", "-A -u 10.0.8.9:83 -s rr -p --pe sip", "-A -u 10.0.8.9:84 -s rr --pe sip", "-A -t 10.0.8.9:85 -s rr -p --pe sip", "-E -u 10.0.8.9:83 -s rr -p", "-E -u 10.0.8.9:84 -s rr -p --pe=sip", "-L", "-Sn",
	"-A -t 10.0.8.9:86 -s rr\t", "-A -t 10.0.8.9:86 -s wlc -b flag-1", "-E -t 10.0.8.9:86 -s mh -b mh-port", "-E -t 10.0.8.9:86 -s mh", "-E -t 10.0.8.9:86 -s sh -b ,,sh-port,,", "-E -t 10.0.8.9:86 -s sh -b sh-port,flag-1,flag-3", "-E -t 10.0.8.9:86 -b flag-3,flag-2,flag-1", "-L", "-Sn", "-C",
	// More of popt(3), and what is long or for other programs to read.
	"-A -t 10.0.8.9:80 -s rr", "-a -t 10.0.8.9:80 -r 10.0.8.12 -w=", "-a -t 10.0.8.9:80 -r 10.0.8.12 -w= 3", "-a -t 10.0.8.9:80 -r 10.0.8.12 --weight=", "-a -t 10.0.8.9:80 -r 10.0.8.12 --weight= -m", "-a -t 10.0.8.9:80 -r 10.0.8.12 -w =3", "-a -t 10.0.8.9:80 -r 10.0.8.12 -w==3",
	"-A -t 10.0.8.9:81 -s rr -p -", "-A -t 10.0.8.9:81 -s rr -p -- foo", "-A -t 10.0.8.9:81 -s rr -p --", "-A -t 10.0.8.9:82 -s rr -p =5", "-A -t 10.0.8.9:82 -s rr -p5s", "-A -t 10.0.8.9:82 -s rr -pn", "-A -u 10.0.8.9:82 -opn", "-A -u 10.0.8.9:83 -op -s rr", "-A -f 7 -M=255.0.0.0 -p=6", "-A -f=8 -srr",
	"-A -f =9", "-A --fwmark-service=10 --ipv6 -p7 -M48", "-A -6f11", "-Af12 -6 -srr", "-A -f 13 -6 -6 -s rr", "-Af14 -srr -6 -p5 -M64", "-aix5 -t 10.0.8.9:80 -r 10.0.8.13", "-agw5x6 -t 10.0.8.9:80 -r 10.0.8.14", "-agw5 -x6 -t 10.0.8.9:80 -r 10.0.8.14", "-amgi -t 10.0.8.9:80 -r 10.0.8.15", "-Lf7 -n", "-LXn",
	"-Ln --exact=", "-L --stats -X", "-Lnf 13 -6", "-Ln -f 13", "-D -f 13", "-D -f 13 -6", "-D -6 -f 13", "-E -f 7 -p 8 -M 255.255.0.0 --pe sip -o -b flag-2", "-E -f 10 -6 -p 8 -M 32 -o -s mh -b mh-port,mh-fallback", "-a -f 7 -r 10.0.8.12:8080 -g", "-a -f 7 -r 10.0.8.12:8081 -i", "-a -f 7 -r 10.0.8.12 -m",
	"-a -f 10 -6 -r [2001:db8::12]:80 -m", "-a -f 10 -6 -r 2001:db8::13 -g -w 0", "-a -f 10 -6 -r 10.0.8.12 -i", "-a -f 10 -r 10.0.8.12", "-e -f 7 -r 10.0.8.12:8081 -i --tun-type gue --tun-port 6080", "-e -f 7 -r 10.0.8.12:8080 -m -w 9", "-d -f 7 -r 10.0.8.12:0", "-L", "-Ln --tun-info", "-S", "-Ln -f 10 -6 --stats",
	"-a -t 10.0.8.9:80 -r 10.0.8.16:80 -m", "-a -t 10.0.8.9:80 -r 10.0.8.16:81 -m", "-a -t 10.0.8.9:80 -r 10.0.8.16:0 -m", "-e -t 10.0.8.9:80 -r 10.0.8.16:81", "-e -t 10.0.8.9:80 -r 10.0.8.16:81 -i", "-d -t 10.0.8.9:80 -r 10.0.8.16:82", "-d -t 10.0.8.9:80 -r 10.0.8.16", "-Ln", "-Sn",
	"--start-daemon master backup", "--start-daemon master --start-daemon backup", "--start-daemon -n", "--start-daemon master -c", "--stop-daemon master master", "--stop-daemon -- master", "--stop-daemon master --sync-maxlen 5", "--daemon", "-L --start-daemon master", "-L %s%n%d", "-A -t %s:80", "-A -t 10.0.8.9:%n", "-A -f %s", "-A -t 10.0.8.9:99 -p %s",
	"-A -t 10.0.8.9:99 -s %s", "-L '\x1b[31m' ", "-L '\xff\xfe' ", "-L 'a\nb' ", "-A -f '7\n' ", "-A -t '10.0.8.9:80\n' ", "-A -t *:80", "-A -t localhost:99 -s rr", "-A -t LocalHost:98 -s rr", "-A -t 'local host:97' -s rr", "-A -t " + strings.Repeat("a", 300) + ":80", "-A -t " + strings.Repeat("a.", 4000) + ":80",
	"-A -t 10.0.8.9:" + strings.Repeat("0", 3000) + "96 -s rr", "-A -t 10.0.8.9:95 -s " + strings.Repeat("s", 3000), "-A -t 10.0.8.9:94 -s rr -p " + strings.Repeat("9", 3000), "-A -t 10.0.8.9:94 -s rr -p -M " + strings.Repeat("2", 3000), "-A -t 10.0.8.9:93 -s sh -b " + strings.Repeat("sh-port,", 300), "-L " + strings.Repeat("x", 3000),
	"--" + strings.Repeat("x", 3000), "-L --" + strings.Repeat("x", 3000), "-A -u 10.0.8.9:92 --pe " + strings.Repeat("p", 3000), "-a -t 10.0.8.9:80 -r " + strings.Repeat("1", 3000) + ":80", "-A -t [" + strings.Repeat("1:", 100) + "]:80", "-A -t " + strings.Repeat("[", 40) + "::1]:80", "-R <<< " + strings.Repeat("-L ", 500) + "\n",
	"-R <<< -A -t " + strings.Repeat("a", 5000) + "\n-A -t 10.0.8.9:91 -s rr\n", "-R <<< " + strings.Repeat(" ", 9000) + "-A -t 10.0.8.9:90 -s rr\n", "-R <<< " + strings.Repeat("#", 9000) + "-A -t 10.0.8.9:89 -s rr\n", "-R <<< -D -f 7\n-D -f 8\n-D -f 9\n-D -f 10 -6\n", "-R <<< -a -t 10.0.8.9:80 -r 10.0.8.12 -w 3 -x 2 -y 1 -m\n-e -t 10.0.8.9:80 -r 10.0.8.12 -m\n-a -t 10.0.8.9:80 -r 10.0.8.12\n-a -t 10.0.8.8:80 -r 10.0.8.12\n-a -t 10.0.8.9:80 -r 224.0.0.1\n-a -t 10.0.8.9:80 -r 10.0.8.13 -y 1\n",
	"-L", "-Sn", "-Ln --nosort", "-C",
	// Flags that the scheduler has no name for.
	"-A -t 10.0.8.9:80 -s mh -b flag-3", "-A -t 10.0.8.9:81 -s sh -b flag-3 -p 5", "-A -u 10.0.8.9:82 -s sh -b flag-3,flag-2 -o", "-A -u 10.0.8.9:83 -s mh -b flag-3 -p 7 -M 255.255.0.0 --pe sip -o", "-A -t 10.0.8.9:84 -s rr -b flag-3", "-A -t 10.0.8.9:85 -s rr -b ''", "-Ln", "-L --tun-info", "-Ln --thresholds", "-Ln --stats",
	"-Sn", "-S", "-E -t 10.0.8.9:81 -s rr -b flag-3", "-E -t 10.0.8.9:84 -s mh -b flag-3,flag-1", "-Ln", "-Sn", "-R <<< -A -t 10.0.8.9:86 -s mh -b \n-A -t 10.0.8.9:87 -s mh -b  -p 5\n-A -t 10.0.8.9:88 -s mh -b -p 5\n", "-Ln", "-C",
	// Timeouts.
	"--set 1 2", "--set 1 2 3 4", "--set '' 2 3", "--set 1 '' 3", "--set 1 2 ''", "--set -- 1 2 3", "-L --timeout", "--set 4 -- 5 6", "--set ' 7' +8 0009", "-L --timeout", "--set 0 0 0", "--set 0 0 1", "--set 2678400 2678400 2678400", "-L --timeout", "--set 1 2678401 1", "--set 1 1 4294967297", "--set 1.0 1 1",
	"--set 1 2 3 -t 10.0.8.9:80", "--set", "--set 1 2 -q 3", "-L --timeout", "--timeout", "-L --timeout --nosort", "-L --timeout --exact -n --sort --tun-info --syncid 4", "--list --timeout", "-S --timeout", "-L --timeout foo", "--set 900 120 300",
	// Lists.
	"-L --tun-info --thresholds --persistent-conn", "-L --stats --rate --thresholds", "-Lcn --sort", "-Lc --exact --nosort", "-Lc --tun-info", "-Lcn --persistent-conn", "-Lcn --syncid 5", "-Lcn --daemon", "-L --syncid 256", "-L --syncid -1", "-L --syncid '' ", "-L --syncid 0x1", "-L --pe sip", "-L --ops", "-L -b flag-1",
	"-L -s rr", "-L -p", "-L -p 5", "-L -M 255.0.0.0", "-L -r 10.0.8.12", "-L -g", "-L -x 1", "-L --tun-type gue", "-L --mcast-ttl 3", "-l", "-ln", "-lcn", "-l --stats", "-S -c", "-S --stats", "-R -n", "-R foo", "-R --foo", "-C --exact", "-Z --stats",
	// Files for -R.
	"-R <<< -A -t 10.0.8.9:80 -s rr\n\n   \n# remark\n-a -t 10.0.8.9:80 -r 10.0.8.12:80 -m\n", "-R <<< #-A -t 10.0.8.9:81\n -A -t 10.0.8.9:81 # remark\n", "-R <<< -A -t 10.0.8.9:82#x -s rr\n", "-R <<< -A\f-t\v10.0.8.9:83\t-s\rrr\n", "-R <<< -A -t 10.0.8.9:83 -s\rrr\n", "-R <<< -A -t 10.0.8.9:84\x00x -s rr\n", "-R <<< -A -t 10.0.8.9:79 -s rr\n\x00-A -t 10.0.8.9:78\n", "-R <<< -A\u00a0-t 10.0.8.9:84\n", "-R <<< -A\u0085-t 10.0.8.9:84\n",
	"-R <<< -A -t 10.0.8.9:85 -s rr\r\n-a -t 10.0.8.9:85 -r 10.0.8.12 -w 2\r\n-Ln\r\n", "-R <<< -A -t 10.0.8.9:80 -s rr\n-A -t 10.0.8.9:86 -s rr\n", "-R <<< -A -t 10.0.8.9:87 -s rr\n-A -t 10.0.8.9:80 -s rr\n", "-R <<< -A -t 10.0.8.9:88 -s rr\n-Q\n-A -t 10.0.8.9:89 -s rr\n",
	"-R <<< -A -t 10.0.8.9:90 -s rr\n-A -t\n-A -t 10.0.8.9:91 -s rr\n", "-R <<< -A -t 10.0.8.9:92 -s rr\n-A -t x\n-A -t 10.0.8.9:93 -s rr\n", "-R <<< -A -t 10.0.8.9:94 -s rr\nfoo\n-A -t 10.0.8.9:95 -s rr\n", "-R <<< -A -t 10.0.8.9:96 -s rr\n-v\n-A -t 10.0.8.9:97 -s rr\n",
	"-R <<< --add-service --tcp-service 10.0.8.9:98 --scheduler rr --persistent 30 --netmask 255.255.255.0\n--add-server --tcp-service 10.0.8.9:98 --real-server 10.0.8.12 --weight 5 --gatewaying\n--add-serv -t 10.0.8.9:99\n", "-R <<< -A -t '10.0.8.9:100' -s rr\n", "-R <<< -A -t \"10.0.8.9:101\" -s rr\n",
	"-R <<< -A -t 10.0.8.9\\:102 -s rr\n", "-R <<< ipvsadm -A -t 10.0.8.9:103 -s rr\n ipvsadm ipvsadm\nipvsadm\n", "-R <<< -C\n-A -t 10.0.8.9:104 -s rr\n-Sn\n-Ln\n--set 0 0 0\n-Z\n", "-R <<< -Ln", "-R <<< -A -t 10.0.8.9:105 -s rr\n-Ln --stats --foo\n-R\n-A -t 10.0.8.9:106\n", "-R <<< \n\n\n", "-R <<< -A -f 4294967295 -s rr\n-A -f -1 -s rr\n-A -f 7\n",
	"-R <<< -A -t 10.0.8.9:107 -s rr -p\n-E -t 10.0.8.9:107 -s wrr\n-D -t 10.0.8.9:80\n-D -t 10.0.8.9:80\n", "-R <<< -A -t 10.0.8.9:108 -s " + strings.Repeat("r", 3000) + "\n-A -t 10.0.8.9:109\n", "-R <<< -L" + strings.Repeat(" --sort", 900) + " -n\n", "-R <<< --start-daemon both\n-L\n", "-Ln", "-Sn", "-C",
	// Sync daemons.
	"--start-daemon", "--start-daemon ''", "--start-daemon both", "--start-daemon MASTER", "--start-daemon=master --mcast-interface nosuch", "--start-daemon master --mcast-interface ''", "--start-daemon master --mcast-interface a-name-of-more-than-15", "--start-daemon master --mcast-ttl 0",
	"--start-daemon master --mcast-ttl 256", "--start-daemon master --mcast-port 65536", "--start-daemon master --sync-maxlen 0", "--start-daemon master --sync-maxlen 65508", "--start-daemon master --mcast-group 10.0.8.9", "--start-daemon master --mcast-group ff02::1x", "--start-daemon master --mcast-group [ff02::1]",
	"--start-daemon master --mcast-group '' ", "--start-daemon master --mcast-group 239.1", "-L --daemon", "--stop-daemon master", "--start-daemon master --syncid 7 --mcast-interface eth0 --sync-maxlen 65507 --mcast-port 1 --mcast-ttl 255", "-L --daemon", "-L --daemon -n --exact --nosort", "--start-daemon master", "--start-daemon master --syncid 8",
	"--start-daemon backup --mcast-interface lo --mcast-group ff02::81 --sync-maxlen 100", "-L --daemon", "--stop-daemon master --syncid 9", "--stop-daemon master", "--stop-daemon backup --mcast-interface eth0", "--stop-daemon both", "--stop-daemon", "--stop-daemon backup", "-L --daemon",
	"--start-daemon master --mcast-interface lo", "--start-daemon backup --mcast-interface lo", "-L --daemon", "--stop-daemon master", "--stop-daemon backup", "--start-daemon master --mcast-interface big", "--start-daemon backup --mcast-interface big --mcast-group ff05::8", "-L --daemon", "--stop-daemon master", "--stop-daemon backup",
	"--start-daemon master --mcast-interface small", "--start-daemon backup --mcast-interface small --mcast-group ff05::8 --sync-maxlen 2000", "-L --daemon", "-C", "-L --daemon", "--stop-daemon=master", "--stop-daemon=backup", "--start-daemon master --mcast-interface eth0 --mcast-group ff02::81 --sync-maxlen 65507", "-L --daemon", "--stop-daemon master",
	"--start-daemon backup --mcast-interface down", "--start-daemon master --mcast-interface down", "--start-daemon backup --mcast-interface down --mcast-group ff02::81", "--start-daemon backup --mcast-interface big", "--stop-daemon backup", "--stop-daemon master", "--start-daemon master", "--start-daemon master --mcast-interface nosuch", "--stop-daemon master", "--start-daemon master --mcast-group 224.0.0.081", "--start-daemon master --mcast-group 224.0.0.82", "-A -t 10.0.8.9:80 -s rr", "-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i", "-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -m", "--stop-daemon master", "-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i", "--start-daemon master --mcast-interface nosuch", "--start-daemon master", "-C", "-L --daemon", "--stop-daemon backup", "--start-daemon master --mcast-group 224.0.0.0x51 --syncid +3", "-L --daemon", "--stop-daemon master",
}

// TestOddCommandLines gives command lines that were thought of, which chance would hardly make, to the real ipvsadm and to ours.
func TestOddCommandLines(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{
		Tools:   []string{"ip", "ipvsadm"},
		Texts:   map[string]string{"/etc/hosts": hosts + moreHosts + oddHosts},
		Script:  linesScript + "ip link add big mtu 9000 type dummy\nip link set big up\nip link add small mtu 1400 type dummy\nip link set small up\nip link add down type dummy\n",
		Modules: []string{"ip_vs_pe_sip"},
	}) {
		return
	}
	memory := plane.NewMemory()
	b := &both{TB: t, plane: memory}
	for name, mtu := range map[string]int{"nosuch": 0, "a-name-of-more-": 0, "down": 0, "big": 9000, "small": 1400, "lo": 65536} {
		memory.SetMTU(name, mtu)
	}
	for _, line := range oddLines {
		line, stdin, _ := strings.Cut(line, " <<< ")
		b.compare(typed{args: wordsOf(line), stdin: stdin})
	}
	t.Logf("%d command lines, of which %d did something", b.count, b.done)
}

// wordsOf splits a line at blanks outside of single quotes.
func wordsOf(line string) (words []string) {
	word, quoted, any := "", false, false
	for _, c := range []byte(line + " ") {
		switch {
		case c == '\'':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				words = append(words, word)
			}
			word, any = "", false
		default:
			word, any = word+string([]byte{c}), true
		}
	}
	return words
}
