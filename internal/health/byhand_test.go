package health

import (
	"net/netip"
	"testing"
	"time"

	"vipd/internal/lb"
)

func TestTheCommandThatRepeatsACheck(t *testing.T) {
	base := Checker{Target: netip.MustParseAddrPort("10.0.8.12:80"), ConnectTimeout: 2500 * time.Millisecond, DelayLoop: 6 * time.Second}
	v6 := base
	v6.Target = netip.MustParseAddrPort("[2001:db8::12]:8080")
	of := func(c Checker, k Kind, change func(*Checker)) Checker {
		c.Kind = k
		if change != nil {
			change(&c)
		}
		return c
	}
	curl := "curl -sS -g --path-as-is -A KeepAliveClient --noproxy '*' --connect-timeout 3 --max-time 10 "
	page := func(h HTTP, u URL) func(*Checker) {
		return func(c *Checker) { h.URLs = []URL{u}; c.HTTP = &h }
	}
	for want, c := range map[string]Checker{
		"ssh 10.0.8.12 'nc -z -v -w 3 10.0.8.9 80'": of(base, TCPCheck, func(c *Checker) {
			c.Way, c.Bind, c.Mark = &Path{VIP: netip.MustParseAddr("10.0.8.9"), Forward: lb.Route}, netip.MustParseAddrPort("10.0.8.1:999"), 7
		}),
		"nc -z -v -w 3 10.0.8.12 80":                         of(base, TCPCheck, nil),
		"nc -z -v -w 3 -s 10.0.8.1 -p 999 2001:db8::12 8080": of(v6, TCPCheck, func(c *Checker) { c.Bind = netip.MustParseAddrPort("10.0.8.1:999") }),
		"socat -u /dev/null 'TCP6:[2001:db8::12]:8080,connect-timeout=3,bind=[::]:999,so-bindtodevice=eth0,setsockopt-int=1:36:7'": of(v6, TCPCheck, func(c *Checker) {
			c.Bind, c.BindIf, c.Mark = netip.AddrPortFrom(netip.Addr{}, 999), "eth0", 7
		}),
		curl + `--http1.0 -H 'Host: 10.0.8.12:80' -o /dev/null -w '%{http_code}\n' http://10.0.8.12:80/`: of(base, HTTPGet, page(HTTP{}, URL{Path: "/"})),
		curl + `--interface 'host!10.0.8.1' --http1.1 -H 'Connection: close' -H 'Host: it'\''s' 'http://[2001:db8::12]:8080/?a=1&b=$x' | md5sum`: of(v6, HTTPGet, func(c *Checker) {
			page(HTTP{Protocol: "1.1", VirtualHost: "it's"}, URL{Path: "/?a=1&b=$x", Digest: "00"})(c)
			c.Bind = netip.MustParseAddrPort("10.0.8.1:0")
		}),
		curl + `--interface 'ifhost!eth0!10.0.8.1' --local-port 999 --http1.0 -H 'Connection: close' -H 'Host: www.example.com' -k --no-alpn --tlsv1.0 --ciphers DEFAULT@SECLEVEL=0 --connect-to ::10.0.8.12:80 --cert /c.pem --key /k.pem -i https://www.example.com:80/`: of(base, SSLGet, func(c *Checker) {
			page(HTTP{TLS: true, SNI: true, Protocol: "1.0C", VirtualHost: "www.example.com", Client: &TLS{Certificate: "/c.pem", Key: "/k.pem", Password: "secret"}}, URL{Path: "/", Regex: "x"})(c)
			c.Bind, c.BindIf = netip.MustParseAddrPort("10.0.8.1:999"), "eth0"
		}),
		`(sleep 1; printf 'HELO %s\r\n' "$(hostname)"; sleep 1; printf 'QUIT\r\n'; sleep 1) | nc -w 3 10.0.8.12 80`: of(base, SMTPCheck, nil),
		`(sleep 1; printf 'HELO %s\r\n' 'a b'; sleep 1; printf 'QUIT\r\n'; sleep 1) | socat - TCP4:10.0.8.12:80,connect-timeout=3,so-bindtodevice=eth0`: of(base, SMTPCheck, func(c *Checker) {
			c.Helo, c.BindIf = "a b", "eth0"
		}),
		"dig @2001:db8::12 -p 8080 +noedns +tries=1 +timeout=3 -b '10.0.8.1#53' -t SOA -q .": of(v6, DNSCheck, func(c *Checker) { c.Bind = netip.MustParseAddrPort("10.0.8.1:53") }),
		"dig @10.0.8.12 -p 80 +noedns +tries=1 +timeout=3 -t MX -q example.com":              of(base, DNSCheck, func(c *Checker) { c.DNS = &DNS{Name: "example.com", Type: "MX"} }),
		`(printf '\000\047\377'; sleep 3) | nc -w 3 -u 10.0.8.12 80 | od -c`:                 of(base, UDPCheck, func(c *Checker) { c.UDP = &UDP{Payload: []byte("\x00'\xff")} }),
		"(head -c 32 /dev/urandom; sleep 3) | nc -w 3 -u 10.0.8.12 80 | od -c":               of(base, UDPCheck, nil),
		"ping -n -c 1 -W 3 -m 7 -I eth0 -I 10.0.8.1 10.0.8.12":                               of(base, PingCheck, func(c *Checker) { c.Mark, c.BindIf, c.Bind = 7, "eth0", netip.MustParseAddrPort("10.0.8.1:0") }),
		"as -- timeout 6 /bin/check 'a b' '' '$HOME'; echo exit status $?":                   of(base, MiscCheck, func(c *Checker) { c.Script = &Script{Args: []string{"/bin/check", "a b", "", "$HOME"}} }),
		"cat '/run/my file'": of(base, FileCheck, func(c *Checker) { c.File = &File{Path: "/run/my file"} }),
		`printf 'PING\r\nQUIT\r\n' | nc -w 3 10.0.8.12 80`:                                                of(base, RedisCheck, nil),
		`printf 'AUTH %s\r\nPING\r\nQUIT\r\n' "$password" | nc -w 3 2001:db8::12 8080`:                    of(v6, RedisCheck, func(c *Checker) { c.Talk = &Talk{Password: "secret"} }),
		`printf 'version\r\nquit\r\n' | socat - TCP4:10.0.8.12:80,connect-timeout=3,so-bindtodevice=eth0`: of(base, MemcachedCheck, func(c *Checker) { c.BindIf = "eth0" }),
		`(sleep 1; printf 'QUIT\r\n') | nc -w 3 10.0.8.12 80`:                                             of(base, FTPCheck, nil),
		"nc -w 3 10.0.8.12 80 </dev/null":                                                                 of(base, AgentCheck, nil),
		`printf '\163\145\156\144\047' | nc -w 3 10.0.8.12 80`:                                            of(base, AgentCheck, func(c *Checker) { c.Talk = &Talk{Send: "send'"} }),
		"nc -w 3 10.0.8.12 80 </dev/null | od -c":                                                         of(base, MySQLCheck, nil),
		"mysql --no-defaults --protocol=TCP --host=2001:db8::12 --port=8080 --bind-address=2001:db8::1 '--user=a b' --skip-password --connect-timeout=3 -e 'SELECT 1'": of(v6, MySQLCheck, func(c *Checker) {
			c.Talk, c.Bind = &Talk{User: "a b"}, netip.MustParseAddrPort("[2001:db8::1]:0")
		}),
		"pg_isready --host=10.0.8.12 --port=80 --username=postgres --timeout=3":     of(base, PostgreSQLCheck, nil),
		"pg_isready --host=10.0.8.12 --port=80 --username=u --dbname=d --timeout=3": of(base, PostgreSQLCheck, func(c *Checker) { c.Talk = &Talk{User: "u", Database: "d"} }),
		"grpc_health_probe -addr=10.0.8.12:80 -connect-timeout=3s -rpc-timeout=3s":  of(base, GRPCCheck, nil),
		"grpc_health_probe '-addr=[2001:db8::12]:8080' -connect-timeout=3s -rpc-timeout=3s -service=pay -tls -tls-no-verify": of(v6, GRPCCheck, func(c *Checker) {
			c.Talk = &Talk{Service: "pay", TLS: true}
		}),
		"grpc_health_probe -addr=10.0.8.12:80 -connect-timeout=3s -rpc-timeout=3s -tls -tls-ca-cert=/ca.pem -tls-server-name=api.example.com": of(base, GRPCCheck, func(c *Checker) {
			c.Talk = &Talk{TLS: true, Name: "api.example.com", Verify: &Verify{Chain: true, CA: "/ca.pem"}}
		}),
		"": of(base, "OTHER", nil),
	} {
		as := ""
		if c.Kind == MiscCheck {
			as = "as --"
		}
		if got := c.ByHand(as); got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.Kind, got, want)
		}
	}
}

func TestWhatACheckExpectsInOneClause(t *testing.T) {
	for want, c := range map[string]Checker{
		"a connection":   {Kind: TCPCheck},
		"status 200-299": {Kind: HTTPGet, HTTP: &HTTP{URLs: []URL{{}}}},
		`status 200 300-302, digest ab, no match of "x"`: {Kind: HTTPGet, HTTP: &HTTP{URLs: []URL{{Codes: [][2]int{{200, 200}, {300, 302}}, Digest: "ab", Regex: "x", RegexNot: true}}}},
		"no ICMP error":          {Kind: UDPCheck},
		"an answer":              {Kind: UDPCheck, UDP: &UDP{NeedReply: true}},
		"an answer with RCODE 0": {Kind: DNSCheck},
		"220, and 250 to HELO":   {Kind: SMTPCheck},
		"the session b to be up": {Kind: BFDCheck, BFD: "b"},
		"an echo reply":          {Kind: PingCheck},
		"exit status 0":          {Kind: MiscCheck, Script: &Script{}},
		"exit status 0, or 2 to 255: a weight plus 2": {Kind: MiscCheck, Script: &Script{Dynamic: true}},
		"0, or no file":                {Kind: FileCheck, File: &File{}},
		"a number that is not 0":       {Kind: FileCheck, File: &File{Reverse: true}},
		"a number that makes a weight": {Kind: FileCheck, File: &File{Weight: 1}},
		"+PONG":                        {Kind: RedisCheck},
		"a greeting of protocol 10":    {Kind: MySQLCheck, Talk: &Talk{}},
		"a login as u":                 {Kind: MySQLCheck, Talk: &Talk{User: "u"}},
		"SERVING of pay":               {Kind: GRPCCheck, Talk: &Talk{Service: "pay"}},
		"SERVING":                      {Kind: GRPCCheck, Talk: &Talk{}},
		"":                             {Kind: "OTHER"},
	} {
		if got := c.Expects(); got != want {
			t.Errorf("%s: got %q, want %q", c.Kind, got, want)
		}
	}
}
