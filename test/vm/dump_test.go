package vm

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"vipd/internal/conf"
	"vipd/internal/need"
	"vipd/internal/vm"
)

//go:embed testdata/dump.sh
var dumpScript string

// TestPoolsInForceAreThoseOfKeepalived: for generated files keepalived's dump of its checkers (SIGUSR1) and this program agree
// on every value that both have. keepalived needs an IPVS to start its checkers.
func TestPoolsInForceAreThoseOfKeepalived(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	files := map[string]string{}
	for i := range 16 {
		files[fmt.Sprintf("%02d", i)] = poolsFile(rand.New(rand.NewPCG(uint64(i), 3)))
	}
	texts := map[string]string{}
	for name, text := range files {
		texts["/vm/conf/"+name+".conf"] = text
	}
	result, err := vm.Run(t.Context(), vm.Config{Tools: []string{need.Tool(t, "keepalived"), "ip", "ipvsadm"}, Script: dumpScript, Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(result.Output)
	shared := 0
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			dump := string(result.Files[name+".data"])
			c, diagnostics, _ := conf.Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", conf.Options{})
			theirs, ours := dumped(dump), inForce(c)
			n := 0
			for _, key := range ours.order {
				want, found := theirs.values[key]
				block, name, _ := strings.Cut(key, ": ")
				// keepalived: has a quorum of 0, and a hysteresis below that, where all weights are 0; here it is 1.
				if !found || theirs.values[block+": quorum"] == "0" && (name == "quorum" || name == "hysteresis") {
					continue
				}
				if n++; !same(want, ours.values[key]) {
					t.Errorf("%s: keepalived %q, here %q", key, want, ours.values[key])
				}
			}
			for kind, want := range theirs.counts {
				if got := ours.counts[kind]; got != want {
					t.Errorf("keepalived has %d of %s, here are %d", want, kind, got)
				}
			}
			if shared += n; t.Failed() || n < 50 {
				t.Errorf("%d values compared\n%s\n%v\n%s\n%s", n, text, diagnostics, dump, result.Files[name+".log"])
			}
		})
	}
	t.Logf("%d values compared", shared)
}

// same compares numbers by value: 5 s are "5" and "5.000000".
func same(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return a == b || err1 == nil && err2 == nil && x == y
}

// values are what is in force, by the ordinal of the block and the name of the value.
type values struct {
	values map[string]string
	order  []string
	counts map[string]int
	block  string
}

func newValues() *values { return &values{values: map[string]string{}, counts: map[string]int{}} }

func (v *values) begin(kind string) {
	v.counts[kind]++
	v.block = fmt.Sprintf("%s %d", kind, v.counts[kind])
}

func (v *values) add(name, value string) {
	key := v.block + ": " + name
	if _, again := v.values[key]; !again && v.block != "" {
		v.values[key] = strings.TrimSpace(value)
		v.order = append(v.order, key)
	}
}

// inForce numbers the blocks: keepalived lists all checkers behind all services.
func inForce(c *conf.Config) *values {
	v, block := newValues(), ""
	for _, e := range conf.Effective(c) {
		if e.Block != block {
			block = e.Block
			kind, _, _ := strings.Cut(block, " ")
			switch {
			case kind == "virtual_server" || kind == "real_server":
				v.begin(kind)
			case kind == "FILE_CHECK":
				v.begin(kind)
			case strings.HasSuffix(kind, "_CHECK") || strings.HasSuffix(kind, "_GET"):
				v.begin("checker")
			default:
				v.block = ""
			}
		}
		v.add(e.Name, e.Value)
	}
	return v
}

// dumped takes keepalived_check.data apart.
func dumped(text string) *values {
	v := newValues()
	_, text, _ = strings.Cut(text, "------< LVS Topology >------")
	text, rest, _ := strings.Cut(text, "------< Health checkers >------")
	v.services(text)
	v.checkers(rest)
	return v
}

// services reads the virtual and real servers.
func (v *values) services(text string) {
	prefix := ""
	for line := range strings.Lines(text) {
		word, name, value, found := valueOf(line)
		switch {
		case strings.Contains(word, "< Virtual server >"):
			v.begin("virtual_server")
			prefix = ""
		case strings.Contains(word, "< Real server >"):
			v.begin("real_server")
			prefix = ""
		case strings.HasPrefix(word, "---"):
			v.block = ""
		case strings.HasPrefix(word, "sorry server"):
			v.add("sorry server", value)
			prefix = "sorry server "
		case strings.HasPrefix(word, "RIP = "):
			for part := range strings.SplitSeq(word, ", ") {
				n, w, _ := strings.Cut(part, " = ")
				v.add(n, w)
			}
		case strings.HasPrefix(word, "quorum = "):
			q, h, _ := strings.Cut(value, ", hysteresis = ")
			v.add("quorum", q)
			v.add("hysteresis", h)
		case found:
			v.add(prefix+name, strings.Trim(value, "'"))
		}
	}
}

// valueOf takes a line apart: " name = value", or "name is value".
func valueOf(line string) (word, name, value string, found bool) {
	word = strings.TrimSpace(line)
	if name, value, found = strings.Cut(word, "= "); !found {
		name, value, found = strings.Cut(word, " is ")
	}
	return word, strings.TrimSpace(name), value, found
}

// checkers reads one after the other. Those of files come behind all others, and each says only late what it is.
func (v *values) checkers(text string) {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "  ") && strings.Contains(line, " -> ") {
			v.checker(lines)
			lines = nil
		}
		lines = append(lines, line)
	}
	v.checker(lines)
}

func (v *values) checker(lines []string) {
	kind := ""
	for _, line := range lines {
		if _, name, value, _ := valueOf(line); name == "Keepalive method" {
			kind = "checker"
			if value == "FILE_CHECK" {
				kind = value
			}
		}
	}
	if kind == "" {
		return
	}
	v.begin(kind)
	prefix, codes, urls := "", "", 0
	for _, line := range lines {
		word, name, value, found := valueOf(line)
		if codes != "" && !found && word[0] >= '0' && word[0] <= '9' {
			v.values[codes] = strings.TrimSpace(v.values[codes] + " " + word)
			continue
		}
		codes = ""
		switch {
		case name == "Checked url":
			urls++
			prefix = fmt.Sprintf("url %d ", urls)
			v.add(prefix+"path", value)
		case word == "HTTP Status Code(s)":
			codes = v.block + ": " + prefix + word
			v.add(prefix+word, "")
		case name == "Keepalive method":
			method, protocol, http := strings.Cut(value, ", http protocol ")
			v.add(name, method)
			if http {
				v.add("http protocol", protocol)
			}
		case strings.HasPrefix(word, "Enable SNI ") || strings.HasPrefix(word, "Fast recovery "):
			at := strings.LastIndexByte(word, ' ')
			v.add(word[:at], word[at+1:])
		case found:
			v.add(prefix+name, value)
		}
	}
}

// ---- files ---------------------------------------------------------------------------------------------------------------

// pen writes a file at random.
type pen struct {
	*rand.Rand
	strings.Builder
}

// maybe writes a line, one time in n.
func (p *pen) maybe(n int, format string, args ...any) {
	if p.IntN(n) == 0 {
		fmt.Fprintf(p, format+"\n", args...)
	}
}

func (p *pen) one(of ...string) string { return of[p.IntN(len(of))] }

func (p *pen) seconds() string { return p.one("1", "2", "3.5", "10", "0.25", "45", "7") }

func poolsFile(r *rand.Rand) string {
	p := &pen{Rand: r}
	p.WriteString("global_defs {\nscript_user root\n")
	p.maybe(3, "checker_log_all_failures %s", p.one("", "true", "false"))
	p.maybe(4, "smtp_alert %s", p.one("on", "off"))
	p.maybe(4, "smtp_alert_checker %s", p.one("on", "off"))
	p.maybe(2, "smtp_server 127.0.0.1")
	p.WriteString("}\ntrack_file number {\nfile /tmp/number\n}\n")
	p.WriteString("virtual_server_group G {\n10.0.1.1 80\n10.0.1.2-5 81\nfwmark 77\n}\n")
	p.WriteString("virtual_server_group SIX {\nfd00:1::1 80\n}\n")
	for i := range 3 + p.IntN(3) {
		p.service(i)
	}
	return p.String()
}

func (p *pen) service(i int) {
	six, mark := p.IntN(5) == 0, false
	switch n := p.IntN(8); {
	case n == 0 && i == 0:
		six = false
		p.WriteString("virtual_server group G {\n")
	case n == 1 && i == 1:
		six = true
		p.WriteString("virtual_server group SIX {\n")
	case n == 2:
		six, mark = false, true
		fmt.Fprintf(p, "virtual_server fwmark %d {\n", 100+i)
	case six:
		fmt.Fprintf(p, "virtual_server fd00::9 %d {\n", 80+i)
	default:
		fmt.Fprintf(p, "virtual_server 10.0.0.9 %d {\n", 80+i)
	}
	udp := p.IntN(4) == 0 && !mark
	if udp {
		p.WriteString("protocol UDP\n")
		p.maybe(2, "ops")
	} else {
		p.WriteString("protocol TCP\n")
	}
	scheduler := p.one("rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf")
	p.maybe(1, "%s %s", p.one("lb_algo", "lvs_sched"), scheduler)
	if scheduler == "sh" || scheduler == "mh" {
		p.maybe(2, "%s-port", scheduler)
		p.maybe(2, "%s-fallback", scheduler)
	} else {
		p.maybe(6, "flag-1")
		p.maybe(6, "flag-3")
	}
	p.maybe(1, "%s %s", p.one("lb_kind", "lvs_method"), p.one("NAT", "DR", "TUN", "TUN type gre", "TUN type gue port 6080", "TUN type gue port 5555 csum", "TUN type gre remcsum"))
	p.maybe(2, "delay_loop %s", p.seconds())
	p.maybe(3, "persistence_timeout %s", p.one("", "50", "300"))
	if six {
		p.maybe(5, "persistence_granularity 64")
	} else {
		p.maybe(5, "persistence_granularity 255.255.255.0")
	}
	p.maybe(3, "retry %d", 1+p.IntN(5))
	p.maybe(3, "delay_before_retry %s", p.seconds())
	p.maybe(3, "warmup %s", p.one("0", "1", "20"))
	p.maybe(3, "connect_timeout %s", p.seconds())
	p.maybe(3, "weight %d", 1+p.IntN(9))
	p.maybe(3, "alpha")
	p.maybe(3, "omega")
	p.maybe(4, "inhibit_on_failure")
	p.maybe(3, "quorum %d", 1+p.IntN(3))
	p.maybe(5, "hysteresis %d", p.IntN(2))
	p.maybe(4, "virtualhost a%d.example.com", i)
	p.maybe(5, "snmp_name n%d", i)
	p.maybe(4, "smtp_alert %s", p.one("", "on", "off"))
	host := "10.0.0."
	if six {
		host = "fd00::"
	}
	if p.IntN(3) == 0 {
		fmt.Fprintf(p, "sorry_server %s99 %d\n", host, 80+i)
		p.maybe(3, "sorry_server_inhibit")
		p.maybe(3, "sorry_server_lvs_method %s", p.one("NAT", "DR"))
	}
	for j := range 1 + p.IntN(3) {
		fmt.Fprintf(p, "real_server %s%d %d {\n", host, 11+j, 80+i)
		p.server()
		p.WriteString("}\n")
	}
	p.WriteString("}\n")
}

func (p *pen) server() {
	p.maybe(2, "weight %d", p.IntN(9))
	p.maybe(4, "lvs_method %s", p.one("NAT", "DR", "TUN", "TUN type gre csum"))
	p.maybe(4, "uthreshold %d", 10+p.IntN(90))
	p.maybe(4, "lthreshold %d", p.IntN(10))
	p.maybe(4, "inhibit_on_failure %s", p.one("", "true", "false"))
	p.maybe(4, "alpha %s", p.one("", "true", "false"))
	p.maybe(4, "retry %d", 1+p.IntN(5))
	p.maybe(4, "delay_before_retry %s", p.seconds())
	p.maybe(4, "warmup %s", p.one("0", "3"))
	p.maybe(4, "delay_loop %s", p.seconds())
	p.maybe(4, "connect_timeout %s", p.seconds())
	p.maybe(5, "virtualhost b.example.com")
	p.maybe(5, "snmp_name r")
	p.maybe(4, "smtp_alert %s", p.one("on", "off"))
	for range p.IntN(3) {
		p.checker()
	}
}

func (p *pen) checker() {
	kind := p.one("TCP_CHECK", "TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "PING_CHECK", "UDP_CHECK", "FILE_CHECK")
	fmt.Fprintf(p, "%s {\n", kind)
	if kind == "FILE_CHECK" {
		p.WriteString("track_file number\n")
		p.maybe(2, "weight %d", p.IntN(10)-5)
		p.WriteString("}\n")
		return
	}
	p.maybe(4, "retry %d", p.IntN(5))
	p.maybe(4, "delay_before_retry %s", p.seconds())
	p.maybe(4, "warmup %s", p.one("0", "5.5"))
	p.maybe(4, "delay_loop %s", p.seconds())
	p.maybe(4, "alpha %s", p.one("", "true", "false"))
	p.maybe(4, "log_all_failures %s", p.one("", "true", "false"))
	if kind != "MISC_CHECK" {
		p.maybe(4, "connect_port %d", 8000+p.IntN(9))
		p.maybe(4, "connect_timeout %s", p.seconds())
		p.maybe(5, "fwmark %d", 1+p.IntN(9))
		p.maybe(5, "bind_if eth0")
		p.maybe(5, "bind_port %d", 3000+p.IntN(9))
	}
	p.special(kind)
	p.WriteString("}\n")
}

func (p *pen) special(kind string) {
	switch kind {
	case "HTTP_GET", "SSL_GET":
		p.maybe(4, "virtualhost c.example.com")
		p.maybe(3, "http_protocol %s", p.one("1.0", "1.1", "1.0C", "1.1K"))
		p.maybe(3, "enable_sni")
		p.maybe(3, "fast_recovery %s", p.one("", "true", "false"))
		for i := range 1 + p.IntN(2) {
			fmt.Fprintf(p, "url {\npath /%d\n", i)
			p.maybe(2, "status_code %s", p.one("200", "200-299 304", "204 301-302", "404"))
			p.maybe(3, "digest 0123456789abcdef0123456789abcdef")
			p.maybe(3, "virtualhost d.example.com")
			p.WriteString("}\n")
		}
	case "SMTP_CHECK":
		p.maybe(2, "helo_name me.example.com")
	case "DNS_CHECK":
		p.maybe(2, "type %s", p.one("A", "MX", "AAAA", "TXT", "NS"))
		p.maybe(2, "name www.example.com")
	case "MISC_CHECK":
		p.WriteString("misc_path \"/tmp/check a 'b c'\"\n")
		p.maybe(2, "misc_timeout %d", 1+p.IntN(9))
		p.maybe(3, "misc_dynamic")
	case "UDP_CHECK":
		p.maybe(2, "payload 0123456789")
		if p.IntN(2) == 0 {
			fmt.Fprintf(p, "require_reply %s\n", p.one("", "00xx11"))
			p.maybe(2, "min_reply_length %d", p.IntN(9))
			p.maybe(2, "max_reply_length %d", 100+p.IntN(9))
		}
	}
}
