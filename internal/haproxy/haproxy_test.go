package haproxy

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/need"
)

// accepted asks the real HAProxy.
func accepted(t testing.TB, dir, text string, more ...string) string {
	t.Helper()
	args := []string{"-c"}
	for i, s := range append([]string{text}, more...) {
		path := filepath.Join(dir, string(rune('a'+i))+".cfg")
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", path)
	}
	out, err := exec.Command(need.Tool(t, "haproxy"), args...).CombinedOutput()
	if err != nil {
		return err.Error() + "\n" + string(out)
	}
	if strings.Contains(string(out), "[WARNING]") {
		return string(out)
	}
	return ""
}

func key(addr string) lb.ServiceKey {
	return lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort(addr)}
}

func pool(addr, scheduler string, reals ...Real) Pool {
	p := Pool{Members: []lb.ServiceKey{key(addr)}, Reals: reals}
	p.Rules.ServiceKey, p.Rules.Scheduler = p.Members[0], scheduler
	return p
}

func real(addr string, weight int32, checks ...health.Checker) Real {
	r := Real{}
	r.Addr, r.Weight, r.Forward, r.Checkers = netip.MustParseAddrPort(addr), weight, lb.Masq, checks
	return r
}

var tcp = health.Checker{Kind: health.TCPCheck, DelayLoop: 6 * time.Second, Retry: 3, DelayBeforeRetry: 3 * time.Second, ConnectTimeout: 3 * time.Second}

func TestAPoolInHAProxysWords(t *testing.T) {
	down, drained, off := real("10.0.8.13:80", 2, tcp), real("10.0.8.14:80", 0, tcp), real("10.0.8.15:8080", 600)
	down.Out, down.Why, drained.Why = true, "TCP_CHECK 10.0.8.13:80: connection refused\x1b", "drained by root"
	off.SlowStart = 10 * time.Second
	p := pool("10.0.8.9:80", "wrr", real("10.0.8.12:80", 2, tcp), down, drained, off)
	p.Rules.Persistence, p.Rules.Quorum = 10*time.Second, 2
	p.Rules.Sorry = &lb.Real{Addr: netip.MustParseAddrPort("10.0.8.99:80"), Forward: lb.Masq}
	f := Export([]Pool{p}, Options{Mode: TCP, From: "a test"})
	const want = `# vipd's pools, written by "vipd export haproxy" from a test.
# Change them there: what is changed here is lost.

defaults
    mode tcp
    timeout connect 5s
    timeout client 15m
    timeout server 15m

frontend vipd_10.0.8.9:80
    mode tcp
    bind 10.0.8.9:80
    default_backend vipd_10.0.8.9:80

backend vipd_10.0.8.9:80
    # tcp/10.0.8.9:80
    # weights are scaled: HAProxy's largest is 256
    # quorum 2: by itself HAProxy takes the sorry server when no other is left; vipd tells it earlier (--watch)
    mode tcp
    balance roundrobin
    stick-table type ip size 1m expire 10s
    stick on src
    option redispatch 1
    timeout check 3s
    server 10.0.8.12:80 10.0.8.12:80 weight 1 check inter 6s fastinter 3s downinter 6s fall 4 rise 1
    # TCP_CHECK 10.0.8.13:80: connection refused?
    server 10.0.8.13:80 10.0.8.13:80 weight 1 check inter 6s fastinter 3s downinter 6s fall 4 rise 1 disabled
    # drained by root
    server 10.0.8.14:80 10.0.8.14:80 weight 0 check inter 6s fastinter 3s downinter 6s fall 4 rise 1
    server 10.0.8.15:8080 10.0.8.15:8080 weight 256 slowstart 10s
    # sorry server
    server sorry_10.0.8.99:80 10.0.8.99:80 weight 1 backup
`
	if f.Text != want {
		t.Errorf("got:\n%s", f.Text)
	}
	if why := accepted(t, t.TempDir(), f.Text); why != "" {
		t.Error(why)
	}
	if got := f.Backends[0].Servers; len(got) != 4 || got[1] != (Server{"10.0.8.13:80", 1, true}) || got[2] != (Server{"10.0.8.14:80", 0, false}) {
		t.Errorf("servers %+v", got)
	}
}

// TestWhatIsWrittenOfEachScheduler: weights count where they do in IPVS, and what has no equivalent says so.
func TestWhatIsWrittenOfEachScheduler(t *testing.T) {
	for scheduler, want := range map[string][]string{
		"rr": {"balance roundrobin\n", "12:80 weight 1\n", "13:80 weight 1\n"}, "wrr": {"balance roundrobin\n", "12:80 weight 1\n", "13:80 weight 3\n"},
		"lc": {"balance leastconn\n", "13:80 weight 1\n"}, "": {"balance leastconn\n", "13:80 weight 3\n"},
		"sed": {"# balance: ", "balance leastconn"}, "nq": {"# balance: ", "balance leastconn"}, "sh": {"balance source\n"}, "mh": {"hash-type consistent\n"},
		"dh": {"balance hash dst\n"}, "lblc": {"# balance: "}, "lblcr": {"# balance: "}, "twos": {"balance random(2)\n"},
		"fo":  {"balance first\n", "server 10.0.8.13:80 10.0.8.13:80 weight 1\n    server 10.0.8.12:80"},
		"ovf": {"balance first\n", "13:80 weight 1 maxconn 3\n", "12:80 weight 1 maxconn 1\n"}, "new": {"the nearest there is to new", "balance leastconn\n"},
	} {
		f := Export([]Pool{pool("10.0.8.9:80", scheduler, real("10.0.8.12:80", 1), real("10.0.8.13:80", 3))}, Options{Mode: TCP})
		for _, w := range want {
			if !strings.Contains(f.Text, w) {
				t.Errorf("%s: no %q in\n%s", scheduler, w, f.Text)
			}
		}
		if why := accepted(t, t.TempDir(), f.Text); why != "" {
			t.Errorf("%s: %s", scheduler, why)
		}
	}
}

func TestWhatHAProxyCannotHave(t *testing.T) {
	udp := pool("10.0.8.9:53", "rr", real("10.0.8.12:53", 1))
	udp.Members[0].Protocol = lb.UDP
	sctp := pool("10.0.8.9:5060", "rr")
	sctp.Members[0].Protocol = lb.SCTP
	f := Export([]Pool{udp, sctp, pool("10.0.8.9:80", "rr", real("10.0.8.12:80", 1))}, Options{Mode: TCP})
	if len(f.LeftOut) != 2 || f.LeftOut[0] != "udp/10.0.8.9:53: HAProxy forwards TCP and HTTP, not UDP" || len(f.Backends) != 1 {
		t.Errorf("left out %q", f.LeftOut)
	}
	if !strings.Contains(f.Text, "# sctp/10.0.8.9:5060 is left out: HAProxy forwards TCP and HTTP, not SCTP\n") {
		t.Errorf("not said in\n%s", f.Text)
	}
}

// TestPortsAreWherePacketsGo: DR and tunnels leave the packet's port alone, whatever the file says of the real server.
func TestPortsAreWherePacketsGo(t *testing.T) {
	server := func(p Pool) string {
		_, line, _ := strings.Cut(Export([]Pool{p}, Options{Mode: TCP}).Text, "    server ")
		return strings.Fields(line)[1]
	}
	nat, dr := real("10.0.8.12:8080", 1), real("10.0.8.12:8080", 1)
	dr.Forward = lb.Route
	many := pool("10.0.8.9:80", "rr", dr)
	many.Group, many.Members = "web", append(many.Members, key("10.0.8.9:443"))
	mark := pool("10.0.8.9:80", "rr", dr)
	mark.Members = []lb.ServiceKey{{Mark: 7}}
	every := pool("[2001:db8::9]:0", "rr", real("[2001:db8::12]:0", 1))
	for want, p := range map[string]Pool{"10.0.8.12:8080": pool("10.0.8.9:80", "rr", nat), "10.0.8.12:80": pool("10.0.8.9:80", "rr", dr), "10.0.8.12": many, "[2001:db8::12]": every} {
		if got := server(p); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := server(mark); got != "10.0.8.12:8080" {
		t.Errorf("of a mark: %s", got)
	}
}

// TestHAProxyTakesWhateverIsWritten: any pool, whatever its names and numbers are.
func TestHAProxyTakesWhateverIsWritten(t *testing.T) {
	dir := t.TempDir()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each is a process
		if err := f.Value.Set("40"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		pools := []Pool{pool("10.0.0.1:9", "rr")} // a file needs a listener
		for range rapid.IntRange(0, 20).Draw(rt, "pools") {
			pools = append(pools, drawPool(rt))
		}
		o := Options{Mode: rapid.SampledFrom([]string{TCP, HTTP}).Draw(rt, "mode"), NoChecks: rapid.IntRange(0, 4).Draw(rt, "no checks") == 0,
			Live: rapid.Bool().Draw(rt, "live"), From: drawWord(rt)}
		f := Export(pools, o)
		if len(f.Backends)+len(f.LeftOut) != len(pools) {
			rt.Fatalf("%d pools became %d and %d", len(pools), len(f.Backends), len(f.LeftOut))
		}
		var why string
		if o.Backends = rapid.Bool().Draw(rt, "backends"); !o.Backends {
			why = accepted(t, dir, f.Text)
		} else {
			why = accepted(t, dir, "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend own\n mode "+o.Mode+"\n bind 127.0.0.1:1\n default_backend "+f.Backends[0].Name+"\n", Export(pools, o).Text)
		}
		if why != "" {
			rt.Fatalf("%s\n%s", why, f.Text)
		}
	})
}

func drawWord(t *rapid.T) string {
	return rapid.OneOf(rapid.StringMatching(`[ -~]{1,12}`), rapid.StringN(1, 8, 20), rapid.SampledFrom([]string{"web", "größe", "a b", `"'\`, "#x", "$HOME", "%[src]", "${A}", "-", "\t\x01\x7f", "a:b/c"})).
		Filter(func(s string) bool { return !strings.ContainsAny(s, "\n\x00") }).Draw(t, "word")
}

func drawAddr(t *rapid.T, port bool) netip.AddrPort {
	a := netip.MustParseAddr(rapid.SampledFrom([]string{"10.0.8.12", "10.0.8.13", "192.0.2.1", "2001:db8::12", "2001:db8::1:80", "::1", "fe80::1%eth0"}).Draw(t, "address"))
	n := rapid.SampledFrom([]uint16{0, 1, 80, 443, 65535}).Draw(t, "port")
	if port && n == 0 {
		n = 8080
	}
	return netip.AddrPortFrom(a, n)
}

func drawPool(t *rapid.T) Pool {
	p := Pool{Members: []lb.ServiceKey{drawKey(t)}}
	if rapid.IntRange(0, 3).Draw(t, "group") == 0 {
		p.Group = drawWord(t)
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			p.Members = append(p.Members, drawKey(t))
		}
	}
	s := &p.Rules
	s.ServiceKey = p.Members[0]
	s.Scheduler = rapid.SampledFrom([]string{"", "rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "mh", "dh", "lblc", "lblcr", "fo", "ovf", "twos", "x y"}).Draw(t, "scheduler")
	s.Persistence = rapid.SampledFrom([]time.Duration{0, 1, 10 * time.Second, 86400 * 31 * time.Second}).Draw(t, "persistence")
	if s.Is6() {
		s.Wild = rapid.Uint32Range(0, 127).Draw(t, "wild")
	} else {
		s.Wild = rapid.SampledFrom([]uint32{0, 0xff, 0xff00, 0xffffffff}).Draw(t, "wild")
	}
	s.Proxy, s.Engine = rapid.Bool().Draw(t, "proxy"), rapid.SampledFrom([]string{"", "sip"}).Draw(t, "engine")
	s.Quorum, s.MaxEject = rapid.IntRange(0, 3).Draw(t, "quorum"), rapid.IntRange(0, 2).Draw(t, "max_eject")
	if rapid.Bool().Draw(t, "sorry") {
		s.Sorry = &lb.Real{Addr: drawAddr(t, false)}
	}
	for range rapid.IntRange(0, 4).Draw(t, "reals") {
		r := Real{Out: rapid.Bool().Draw(t, "out"), Why: drawWord(t)}
		r.Addr, r.Forward = drawAddr(t, false), rapid.SampledFrom([]lb.Forward{lb.Masq, lb.Route, lb.Tunnel}).Draw(t, "forward")
		r.Weight, r.Upper = rapid.Int32Range(0, 65535).Draw(t, "weight"), rapid.SampledFrom([]uint32{0, 1, 1<<32 - 1}).Draw(t, "upper")
		r.SlowStart = rapid.SampledFrom([]time.Duration{0, time.Second, 99 * 24 * time.Hour}).Draw(t, "slow start")
		for range rapid.IntRange(0, 3).Draw(t, "checks") {
			r.Checkers = append(r.Checkers, drawChecker(t, r.Addr))
		}
		p.Reals = append(p.Reals, r)
	}
	return p
}

func drawKey(t *rapid.T) lb.ServiceKey {
	if rapid.IntRange(0, 3).Draw(t, "mark") == 0 {
		return lb.ServiceKey{Mark: rapid.Uint32Range(1, 3).Draw(t, "mark"), V6: rapid.Bool().Draw(t, "v6")}
	}
	return lb.ServiceKey{Protocol: rapid.SampledFrom([]lb.Protocol{lb.TCP, lb.TCP, lb.TCP, lb.UDP, lb.SCTP}).Draw(t, "protocol"), Addr: drawAddr(t, false)}
}

func drawChecker(t *rapid.T, own netip.AddrPort) health.Checker {
	c := health.Checker{Target: own, Retry: rapid.IntRange(-1, 2000).Draw(t, "retry"), Rise: rapid.IntRange(0, 5).Draw(t, "rise"), Helo: drawWord(t),
		DelayLoop: rapid.SampledFrom([]time.Duration{0, 1500 * time.Millisecond, 99 * 24 * time.Hour}).Draw(t, "delay"), ConnectTimeout: time.Microsecond}
	c.Kind = rapid.SampledFrom([]health.Kind{health.TCPCheck, health.HTTPGet, health.SSLGet, health.SMTPCheck, health.DNSCheck, health.UDPCheck, health.PingCheck, health.MiscCheck,
		health.FileCheck, health.BFDCheck, health.RedisCheck, health.MemcachedCheck, health.MySQLCheck, health.PostgreSQLCheck, health.FTPCheck, health.GRPCCheck, health.AgentCheck}).Draw(t, "kind")
	if rapid.Bool().Draw(t, "elsewhere") {
		c.Target = drawAddr(t, false)
	}
	if rapid.Bool().Draw(t, "talk") {
		c.Talk = &health.Talk{User: drawWord(t), Send: drawWord(t), Password: rapid.SampledFrom([]string{"", "x"}).Draw(t, "password")}
	}
	if c.Kind != health.HTTPGet && c.Kind != health.SSLGet {
		return c
	}
	c.HTTP = &health.HTTP{VirtualHost: drawWord(t), SNI: rapid.Bool().Draw(t, "sni"), Protocol: rapid.SampledFrom([]string{"", "1.0", "1.0C", "1.1", "2"}).Draw(t, "version")}
	if rapid.Bool().Draw(t, "no host") {
		c.HTTP.VirtualHost = ""
	}
	for range rapid.IntRange(1, 3).Draw(t, "pages") {
		c.HTTP.URLs = append(c.HTTP.URLs, health.URL{Path: "/" + drawWord(t), Codes: rapid.SampledFrom([][][2]int{nil, {{200, 200}}, {{100, 599}, {301, 302}}}).Draw(t, "codes"),
			Digest: rapid.SampledFrom([]string{"", "00"}).Draw(t, "digest"), Regex: rapid.SampledFrom([]string{"", "("}).Draw(t, "regex")})
	}
	return c
}

func FuzzState(f *testing.F) {
	f.Add([]byte("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n3 b 1 s 10.0.8.12 2 1 7\n\n"))
	f.Add([]byte("# be_name srv_name srv_admin_state srv_uweight\nb s 0 0\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		all, err := ParseState(answer)
		if err != nil && all != nil {
			t.Error("an error and servers")
		}
		for name := range all {
			if !strings.Contains(name, "/") {
				t.Errorf("a server called %q", name)
			}
		}
	})
}

func TestARunningHAProxyIsToldTheDifference(t *testing.T) {
	have, err := ParseState([]byte("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n3 b 1 s 10.0.8.12 2 0 7 7\n3 b 2 off 10.0.8.13 0 5 1 1\n3 b 3 same 10.0.8.13 0 33 1 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	commands, missing := Commands(have, []Backend{{"b", []Server{{"s", 0, true}, {"off", 1, false}, {"same", 1, true}, {"new", 1, false}}}})
	if got := strings.Join(commands, "; "); got != "set server b/s weight 0; set server b/s state maint; set server b/off state ready" || len(missing) != 1 || missing[0] != "b/new" {
		t.Errorf("%q, missing %q", got, missing)
	}
	for _, bad := range []string{"", "Unknown command.\n", "1\n", "# a b\n", "# be_name srv_name srv_admin_state srv_uweight\nb s x 0\n", "# be_name srv_name srv_admin_state srv_uweight\nb\n"} {
		if all, err := ParseState([]byte(bad)); err == nil {
			t.Errorf("%q is taken: %v", bad, all)
		}
	}
}

func TestWhatNeedsAReload(t *testing.T) {
	text := func(weight int32, out bool, port string) string {
		r := real("10.0.8.12:"+port, weight, tcp)
		if r.Out = out; out {
			r.Why = "down"
		}
		bare := real("10.0.8.13:80", weight)
		bare.Out = out
		return Export([]Pool{pool("10.0.8.9:80", "wrr", r, bare)}, Options{Mode: TCP}).Text
	}
	was := text(1, false, "80")
	if now := text(7, true, "80"); Structure(now) != Structure(was) || Meaning(now) == Meaning(was) {
		t.Errorf("weights and states need a reload:\n%s%s", Structure(was), Structure(now))
	}
	if Structure(text(1, false, "81")) == Structure(was) {
		t.Error("another port needs no reload")
	}
}
