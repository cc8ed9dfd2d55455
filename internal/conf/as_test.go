package conf

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/need"
)

// host is the machine of the oracle: lo and eth0, and the users and files of this one.
func host(t testing.TB) TestOptions {
	t.Helper()
	return TestOptions{
		Interfaces: func(name string) (Interface, bool) {
			switch name {
			case "lo":
				return Interface{Loopback: true, NoMulticast: true, MTU: 65536}, true
			case "eth0", "eth0p":
				out, _ := exec.Command("ip", "-n", fmt.Sprintf("conf-t%d", os.Getpid()), "-o", "addr", "show", "dev", name).Output()
				return withAddresses(Interface{}, string(out)), true
			}
			return Interface{}, false
		},
		User: func(name, group string) bool {
			_, err := user.Lookup(name)
			if group != "" && err == nil {
				_, err = user.LookupGroup(group)
			}
			return err == nil
		},
		Script: func(command, _, _ string) ScriptState {
			path, err := exec.LookPath(command)
			if err != nil {
				_, statErr := os.Stat(command)
				return ScriptState{Missing: statErr != nil, NotProgram: statErr == nil}
			}
			path, err = filepath.EvalSymlinks(path)
			return ScriptState{Missing: err != nil, NotProgram: path == ""}
		},
		Resolve:   func(string) bool { return false },
		Namespace: func(string) bool { return false },
		CPUs:      numCPU(),
	}
}

// withAddresses adds the addresses that ip -o addr shows.
func withAddresses(i Interface, shown string) Interface {
	for f := range strings.FieldsSeq(shown) {
		p, err := netip.ParsePrefix(f)
		switch {
		case err != nil:
		case p.Addr().Is4() && !i.V4.IsValid():
			i.V4 = p.Addr()
		case p.Addr().Is6() && p.Addr().IsLinkLocalUnicast():
			i.V6 = p.Addr()
		}
	}
	return i
}

func numCPU() int {
	out, err := exec.Command("getconf", "_NPROCESSORS_ONLN").Output()
	n, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		return 1
	}
	return n
}

// asKeepalived runs Test and writes what it says as the oracle does.
func asKeepalived(t testing.TB, fsys fs.FS, name string) string {
	t.Helper()
	out, exit := Test(fsys, name, host(t))
	return strings.Join(append(out, "rc="+strconv.Itoa(exit)), "\n")
}

// real runs keepalived -t on a text.
func (o *oracle) real(text string) string {
	o.t.Helper()
	code, out, ok := o.check(text)
	if !ok {
		return "crash"
	}
	out = strings.ReplaceAll(out, filepath.Join(o.dir, "f.conf"), "f.conf")
	return out + "rc=" + strconv.Itoa(code)
}

// same compares our Test of a text with keepalived's.
func (o *oracle) same(text string) (diff string, ok bool) {
	want := o.real(text)
	if want == "crash" || utf8.ValidString(text) && !utf8.ValidString(want) { // or it prints memory that was freed
		return "", true
	}
	got := asKeepalived(o.t, fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf")
	return cmp.Diff(want, got), want == got
}

func TestAsKeepalivedCases(t *testing.T) {
	o := newOracle(t)
	_ = need.Tool(t, "keepalived")
	dir := os.Getenv("CONF_CASES")
	names, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
	if dir == "" {
		names, _ = filepath.Glob("testdata/bad/*.conf")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff, ok := o.same(string(text)); !ok {
			t.Errorf("%s (-keepalived +here):\n%s", name, diff)
		}
	}
}

// variants are arguments of all kinds: right for some keyword, wrong for others.
var variants = []string{"", " x", " -1", " 0", " 1", " 255", " 256", " 99999999999", " 1.5", " 0.0000001", " 3x", " 10.0.0.5", " 224.0.0.9", " fd00::1", " ff02::9",
	" a b", ` "q w"`, ` ""`, " true", " off", " TRUE", " eth0", " nope", " 10.0.0.5 80", " 10.0.0.5 99999", " weight 5", " 5 reverse", " /bin/true", ` "/bin/true x" root`,
	" id 5 x", " 100 200", " all 5", " MASTER", " NAT", " TUN type gue", " 300-200", " aabbcc", " DEL\\#x"}

// lineVariants are lines of the blocks that have lines, by kind.
var lineVariants = map[string][]string{
	"address": {"10.0.0.9", "10.0.0.9/33", "10.0.0.9/x", "10.0.0.9/24 brd +", "10.0.0.9 brd +", "10.0.0.9/24 brd 1.2.3", "fd00::9/64 brd +", "10.0.0.9 dev", "10.0.0.9 dev nope",
		"10.0.0.9 dev eth0 dev eth0", "10.0.0.9 scope link", "10.0.0.9 scope x", "fd00::9 scope link", "fd00::9 label a", "10.0.0.9 label 0123456789abcdef", "10.0.0.9 peer 10.0.0.10",
		"10.0.0.9/24 peer 10.0.0.10", "10.0.0.9 peer fd00::1", "10.0.0.9 peer x", "10.0.0.9 peer 10.0.0.10 peer 10.0.0.11", "10.0.0.9 preferred_lft 5", "10.0.0.9 preferred_lft x",
		"10.0.0.9 track_group g", "10.0.0.9 track_group", "10.0.0.9 use_vmac", "10.0.0.9 foo bar", "10.0.0.9 10.0.0.10", "10.0.0.300", "x", "10.0.0.9 no_track home -nodad", "10.0.0.09", "fd00::9"},
	"route": {"10.1.0.0/16 via 10.0.0.1 dev eth0", "10.1.0.0/16 via 10.0.0.1", "default via 10.0.0.1 dev eth0", "10.1.0.0/16 via fd00::1 dev eth0", "10.1.0.0/16 gw 10.0.0.1 dev eth0",
		"10.1.0.0/16 dev nope", "10.1.0.0/16 dev", "10.1.0.0/16 table x dev eth0", "10.1.0.0/16 table 100 dev eth0", "10.1.0.0/16 metric x dev eth0", "10.1.0.0/16 metric 99999999999 dev eth0",
		"10.1.0.0/16 mtu lock 1500 dev eth0", "10.1.0.0/16 hoplimit 256 dev eth0", "10.1.0.0/16 scope x dev eth0", "10.1.0.0/16 src 10.0.0.1 dev eth0", "10.1.0.0/16 src x dev eth0",
		"10.1.0.0/16 src fd00::1 dev eth0", "blackhole 10.1.0.0/16", "blackhole", "unicast to 10.1.0.0/16 dev eth0", "10.1.0.0/33 dev eth0", "foo", "inet 10.1.0.0/16 dev eth0",
		"inet6 default via fd00::1 dev eth0", "10.1.0.0/16 or 10.0.0.2 dev eth0", "10.1.0.0/16 via 10.0.0.1 or 10.0.0.2 dev eth0", "10.1.0.0/16 nexthop via 10.0.0.1 dev eth0 weight 1 nexthop via 10.0.0.2 weight 2",
		"10.1.0.0/16 nexthop via 10.0.0.1 weight 0", "10.1.0.0/16 nexthop via 10.0.0.1 weight 300", "10.1.0.0/16 nexthop foo", "10.1.0.0/16 protocol static dev eth0", "10.1.0.0/16 protocol x dev eth0",
		"10.1.0.0/16 realms 5 dev eth0", "10.1.0.0/16 realms x dev eth0", "10.1.0.0/16 rtt 300ms dev eth0", "10.1.0.0/16 rtt x dev eth0", "10.1.0.0/16 expires 5 dev eth0", "fd01::/16 expires 5 dev eth0",
		"10.1.0.0/16 pref low dev eth0", "fd01::/16 pref x dev eth0", "10.1.0.0/16 features x dev eth0", "10.1.0.0/16 quickack 2 dev eth0", "10.1.0.0/16 ttl-propagate x dev eth0",
		"10.1.0.0/16 track_group g dev eth0", "10.1.0.0/16 no_track", "10.1.0.0/16 vrf nope dev eth0", "10.1.0.0/16 tos x dev eth0", "10.1.0.0/16 from 10.2.0.0/16 dev eth0", "10.1.0.0/16 as to 10.2.0.0 dev eth0",
		"10.1.0.0/16 encap", "10.1.0.0/16 encap foo dev eth0", "10.1.0.0/16 10.2.0.0/16 dev eth0", "10.1.0.0/16 dev eth0 append", "via 10.0.0.1", "10.1.0.0/16 onlink congctl cubic dev eth0"},
	"rule": {"from 10.1.0.0/16 table 100", "from 10.1.0.0/16 table 100 preference 5", "from 10.1.0.0/16", "from x table 100", "to 10.1.0.0/16 lookup main priority 7", "table 100 table 101", "table 0", "table nope",
		"fwmark 5 table 100 priority 5", "fwmark x table 100", "fwmark 5/7 table 100 order 5", "fwmark -5 table 100", "from 10.1.0.0/16 to fd00::/64 table 100", "iif nope table 100", "iif eth0 table 100 priority 1",
		"goto 100", "goto 100 preference 5", "goto 100 preference 200", "goto x", "nop priority 5", "blackhole priority 5", "type blackhole priority 5", "unicast priority 5", "foo", "tos x table 5", "realms x table 5",
		"realms 5 blackhole priority 5", "suppress_prefixlength x table 5", "sup_pl 5 table 5 priority 5", "l3mdev priority 5", "l3mdev table 5", "uidrange 5 table 5", "uidrange 5-6 table 5 priority 5", "sport 5 table 5 priority 5",
		"sport 5-6 table 5 priority 5", "dport x table 5 priority 5", "ipproto tcp table 5 priority 5", "ipproto foo table 5 priority 5", "protocol 5 table 5 priority 5", "protocol x table 5 priority 5", "tunnel-id x table 5",
		"not from 10.1.0.0/16 table 5 priority 5", "preference x table 5", "table", "from", "inet6 from fd00::/64 table 5 priority 5", "inet from 10.0.0.0/8 table 5 priority 5", "track_group g table 5 priority 5", "no_track table 5 priority 0x10"},
	"track": {"x", "x weight", "x weight 5", "x weight 254", "x weight -254", "x weight 255", "x weight y", "x foo", "x weight 5 reverse", "x weight 5 noreverse", "x weight 5 foo", "nope", "x\nx"},
	"peer":  {"10.0.0.2", "10.0.0.2 min_ttl 5", "10.0.0.2 min_ttl 300", "10.0.0.2 min_ttl", "10.0.0.2 min_ttl 9 max_ttl 5", "10.0.0.2 foo 5", "fd00::2", "x", "10.0.0.2-5", "10.0.0.2\nfd00::2"},
	"group": {"10.0.0.9 80", "10.0.0.9-20 80", "10.0.0.9-5 80", "10.0.0.9-300 80", "10.0.0.9-x 80", "10.0.0.9-10.0.0.20 80", "10.0.0.9-10.0.0.5 80", "10.0.0.9-fd00::1 80", "10.0.0.0/24 80", "10.0.0.1/24 80", "10.0.0.0/33 80",
		"fd00::/120 80", "fd00::1-ff 80", "fd00::1-fd00::5 80", "fd00::1-12345 80", "fwmark 5", "fwmark x", "fwmark", "fwmark 5 inet", "fwmark 5 foo", "10.0.0.9", "10.0.0.9 0", "10.0.0.9 99999", "x 80", "10.0.0.9 80\nfd00::1 80\nfwmark 5"},
	"delay":    {"eth0 1", "eth0 1 2", "eth0", "eth0 x", "eth0 300", "eth0 1 2 3", "nope 1"},
	"linkbeat": {"eth0", "eth0 MII", "eth0 foo", "eth0 MII x", "nope"},
	"names":    {"A", "A B", "eth0", "nope", "a@b\nc@d", "eth0\neth0"},
}

var lineKinds = map[string]string{"virtual_ipaddress": "address", "virtual_ipaddress_excluded": "address", "static_ipaddress": "address", "virtual_routes": "route", "static_routes": "route",
	"virtual_rules": "rule", "static_rules": "rule", "track_interface": "track", "track_script": "track", "track_file": "track", "track_process": "track", "track_bfd": "track", "unicast_peer": "peer",
	"virtual_server_group": "group", "interface_up_down_delays": "delay", "linkbeat_interfaces": "linkbeat", "group": "names", "interfaces": "names", "notification_email": "names"}

const trackers = "vrrp_script x {\nscript /bin/true\n}\ntrack_file x {\nfile /tmp/x\n}\nvrrp_track_process x {\nprocess x\n}\nbfd_instance x {\nneighbor_ip 10.0.0.3\n}\n"

// generated are files with one thing out of the ordinary each: every keyword with every kind of argument.
func generated() []string {
	var out []string
	for _, b := range blocks() {
		form, ok := inBlock[b.name]
		if !ok {
			continue
		}
		for _, k := range b.rows {
			if likeHTTP(b.name, k.Name) {
				continue
			}
			if kind := lineKinds[k.Name]; k.item != nil && kind != "" {
				name := k.Name
				if k.need > 0 {
					name += " N"
				}
				for _, v := range lineVariants[kind] {
					out = append(out, trackers+fmt.Sprintf(form, name+" {\n"+v+"\n}"), fmt.Sprintf(form, name+" { "+strings.ReplaceAll(v, "\n", " ")+" }"))
				}
				out = append(out, fmt.Sprintf(form, name+" {\n}"), fmt.Sprintf(form, name+"\n"), fmt.Sprintf(form, name+" foo {\n}"))
				continue
			}
			if k.Name == "config_save_dir" || k.Name == "smtp_server" {
				continue // keepalived makes directories, and asks a name server for seconds
			}
			for _, v := range variants {
				block := ""
				if k.Opens {
					block = " {\n}"
				}
				out = append(out, fmt.Sprintf(form, k.Name+v+block))
			}
			if !k.Opens {
				out = append(out, fmt.Sprintf(form, k.Name+" 5\n"+k.Name+" 6"), fmt.Sprintf(form, k.Name+" 5 {\nfoo\n}"))
			}
		}
	}
	return out
}

// Every keyword with every kind of argument gives what keepalived gives. All of them take minutes, so each run has
// another part; CONF_ALL=1 makes them all.
func TestEveryKeywordIsReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	all := generated()
	step, start := 120, 7 // the same ones every time: others are tried by CONF_ALL
	if os.Getenv("CONF_ALL") != "" {
		step, start = 1, 0
	}
	bad := 0
	for i := start % step; i < len(all); i += step {
		if diff, ok := o.same(all[i]); !ok {
			if bad++; bad <= 400 {
				t.Errorf("%s\n(-keepalived +here):\n%s", all[i], diff)
			}
		}
	}
	t.Logf("%d of %d files, %d differ", len(all)/step, len(all), bad)
}

// bases are whole files to be damaged.
var bases = []string{
	"global_defs {\n  router_id lvs1\n  vrrp_version 2\n  notification_email {\n    a@b\n  }\n}\nvrrp_instance A {\n  state BACKUP\n  interface eth0\n  virtual_router_id 5\n  priority 100\n  authentication {\n" +
		"    auth_type PASS\n    auth_pass 1111\n  }\n  virtual_ipaddress {\n    10.0.0.9/24 dev eth0\n    10.0.0.10\n  }\n}\n",
	"virtual_server 10.0.0.9 80 {\n  delay_loop 6\n  lb_algo rr\n  lb_kind DR\n  protocol TCP\n  sorry_server 10.0.0.4 80\n  real_server 10.0.0.2 80 {\n    weight 1\n    HTTP_GET {\n      url {\n" +
		"        path /\n        status_code 200\n      }\n      connect_timeout 3\n    }\n  }\n  real_server 10.0.0.3 80 {\n    TCP_CHECK {\n      connect_port 80\n    }\n  }\n}\n",
	"$VIP=10.0.0.9\n$PRIO=150\n$LINES=\\\n interface eth0 \\\n virtual_router_id 7\n@lb1 $PRIO=100\nvrrp_script c {\n  script \"/bin/true x\"\n  interval 2 # s\n  weight 5\n}\nvrrp_instance B {\n  $LINES\n" +
		"  priority ${PRIO}\n  track_script {\n    c weight 3\n  }\n  virtual_ipaddress { ${VIP}/24 }\n  notify_master \"/bin/true 'a b'\" root\n}\n",
	"~SEQ(n, 2, 3) vrrp_instance V$n { interface eth0\n  ~LST(i, 1) virtual_router_id $i\n  virtual_ipaddress { 10.0.0.9 } }\nvrrp_sync_group G {\n  group {\n    V2\n    V3\n  }\n  notify /bin/true\n}\n" +
		"track_file f {\n  file /tmp/f\n}\nbfd_instance b {\n  neighbor_ip 10.0.0.3\n  min_rx 5\n}\nstatic_routes {\n  10.9.0.0/16 via 10.0.0.1 dev eth0\n}\n",
}

// damage changes a text a little, in one to three places.
func damage(r *rand.Rand, text string) string {
	bits := []string{"{", "}", "\"", "#", "!", "\\", "'", "$A", "${VIP}", "$VIP", " ", "\n", "@lb2 ", "@^x ", "~SEQ(i,2) ", "include x.conf\n", "foo", "0", "-", "}}", "{ }", "\t"}
	for range 1 + r.IntN(3) {
		lines := strings.Split(text, "\n")
		i := r.IntN(len(lines))
		switch r.IntN(6) {
		case 0:
			lines = append(lines[:i:i], lines[i+1:]...)
		case 1:
			lines = append(lines[:i+1:i+1], lines[i:]...)
		case 2:
			j := r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		case 3:
			if i+1 < len(lines) {
				lines[i] += " " + lines[i+1]
				lines = append(lines[:i+1:i+1], lines[i+2:]...)
			}
		case 4:
			if n := len(lines[i]); n > 0 {
				k := r.IntN(n)
				lines[i] = lines[i][:k] + lines[i][k+1:]
			}
		default:
			k := r.IntN(len(lines[i]) + 1)
			lines[i] = lines[i][:k] + bits[r.IntN(len(bits))] + lines[i][k:]
		}
		text = strings.Join(lines, "\n")
	}
	return text
}

// Damaged files give what keepalived gives: braces, quotes, definitions and comments in the wrong places.
func TestDamagedFilesAreReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	n, seed := 40, uint64(2026) // the same ones every time: others are tried by CONF_ALL
	if os.Getenv("CONF_ALL") != "" {
		n, seed = 4000, uint64(os.Getpid())
	}
	r, bad := rand.New(rand.NewPCG(seed, 0)), 0
	for i := range n {
		text := damage(r, bases[i%len(bases)])
		if diff, ok := o.same(text); !ok {
			if bad++; bad < 200 {
				t.Errorf("seed %d, %d:\n%s\n(-keepalived +here):\n%s", seed, i, text, diff)
			}
		}
	}
	t.Logf("%d of %d differ", bad, n)
}

// Includes find, skip and count as keepalived's do, and messages have its names and lines.
func TestIncludesAreReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	dir := o.dir
	files := map[string]string{
		"inc/a.conf": "foo a\n", "inc/b.conf": "\nvrrp_instance B {\ninterface eth0\nvirtual_router_id 5\npriority x\nvirtual_ipaddress { 10.0.0.9 }\n}\n",
		"inc/c.conf": "include deep/*.conf\nbar\n", "inc/deep/d.conf": "baz\n", "inc/run.conf": "never\n", "inc/e.conf": "no end of line", "inc/.hidden.conf": "hidden\n",
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "run.conf") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{
		"include inc/a.conf\n", "include inc/b.conf\n", "include inc/c.conf\nfoo\n", "include inc/e.conf\nfoo\n", "include inc/*.conf\n", "include inc/{a,b}.conf\n",
		"include inc/{a,nope}.conf\n", "include nope.conf\n", "includer nope.conf\n", "includem nope.conf\n", "includem nope*.conf\n", "includew nope*.conf\n", "includeb inc/{a,nope}.conf\n",
		"includea inc/{a,nope}.conf\n", "includea nope/*.conf\n", "include inc\n", "includer inc\n", "include inc/run.conf\n", "includer inc/run.conf\n", "include\n", "includex a\n",
		"global_defs {\ninclude_check match\n}\ninclude nope.conf\n", "global_defs {\ninclude_check\n}\ninclude inc/{a,nope}.conf\n", "global_defs {\ninclude_check +match -read\n}\ninclude nope.conf\n",
		"global_defs {\ninclude_check match wildcard_match\n}\ninclude nope*.conf\n", "global_defs {\ninclude_check foo\n}\n", "vrrp_instance A {\ninclude inc/a.conf\ninterface eth0\nvirtual_router_id 5\n}\n",
		"$X=inc/a\ninclude $X.conf\ninclude ${X}.conf\n", "include inc/deep/d.conf\ninclude inc/deep/d.conf\n",
	} {
		want := o.real(text)
		if err := os.WriteFile(filepath.Join(dir, "f.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := asKeepalived(t, os.DirFS(dir), "f.conf")
		want = strings.ReplaceAll(want, dir+"/", "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s(-keepalived +here):\n%s", text, diff)
		}
	}
}

// parts are right lines by block; some of them do not go together.
var parts = map[string][]string{
	"global": {"vrrp_strict", "vrrp_version 3", "enable_script_security", "script_user root", "dynamic_interfaces", "vrrp_garp_lower_prio_repeat 3", "vrrp_higher_prio_send_advert", "vrrp_check_unicast_src",
		"vrrp_down_timer_adverts 5", "default_interface nope", "vrrp_mcast_group4 224.0.0.99", "smtp_alert", "lvs_sync_daemon eth0 A", "notify_fifo /tmp/f", "vrrp_notify_fifo_script /bin/true", "process_names"},
	"vi": {"state MASTER", "state BACKUP", "priority 255", "priority 7", "nopreempt", "preempt_delay 5", "advert_int 0.255", "advert_int 45", "version 2", "version 3", "interface eth0", "interface eth0", "virtual_router_id 5",
		"virtual_router_id 6", "virtual_ipaddress { 10.0.0.9 }", "virtual_ipaddress { 10.0.0.9 }", "virtual_ipaddress { fd00::9/64 }", "virtual_ipaddress { fe80::9 }", "virtual_ipaddress_excluded { fd00::8 }", "unicast_peer { 10.0.0.2 }",
		"unicast_peer { fd00::2 }", "unicast_peer { }", "unicast_src_ip 10.0.0.1", "unicast_ttl 5", "unicast_fault_no_peer", "check_unicast_src", "mcast_src_ip 10.0.0.1", "mcast_dst_ip 224.0.0.77", "track_src_ip",
		"authentication { auth_type PASS\nauth_pass x }", "authentication { auth_type AH\nauth_pass x }", "authentication { auth_type PASS }", "strict_mode", "strict_mode off", "accept", "no_accept", "use_vmac", "use_vmac v1", "vmac_xmit_base",
		"use_ipvlan", "use_ipvlan 10.0.0.77", "promote_secondaries", "track_interface { eth0 }", "track_interface { eth0p weight 5 }", "track_script { c }", "track_script { c weight 9 }", "track_file { f }", "track_file { f weight 3 }",
		"track_process { p weight 3 }", "track_bfd { b weight 5 }", "notify /bin/true", "notify_master /nonexistent", "garp_lower_prio_repeat 2", "garp_lower_prio_delay 2", "lower_prio_no_advert off", "higher_prio_send_advert",
		"down_timer_adverts 4", "dont_track_primary", "native_ipv6", "vrf eth0", "virtual_routes { 10.9.0.0/16 via 10.0.0.1 dev eth0 }", "virtual_rules { from 10.9.0.0/16 table 5 }"},
	"sg": {"group { A }", "group { A B }", "group { A B C }", "group { nope }", "track_script { c weight 5 }", "track_interface { eth0 weight 3 }", "sync_group_tracking_weight", "notify_master /bin/true", "smtp_alert", "track_file { f }"},
	"vs": {"protocol TCP", "protocol UDP", "lb_algo rr", "lb_algo sh", "lb_kind DR", "lb_kind NAT", "lb_kind TUN", "quorum 3", "quorum 1", "hysteresis 2", "persistence_timeout 5", "ops", "sh-port", "mh-port", "ha_suspend", "alpha",
		"inhibit_on_failure", "sorry_server 10.0.0.5 80", "sorry_server 10.0.0.2 80", "sorry_server fd00::5 80", "sorry_server_inhibit", "sorry_server_lvs_method NAT", "weight 3", "ip_family inet", "persistence_granularity 255.255.255.0",
		"quorum_up /bin/true", "smtp_alert",
		"real_server 10.0.0.2 80 {\n}", "real_server 10.0.0.2 80 {\n}", "real_server 10.0.0.3 81 {\nweight 0\n}", "real_server 10.0.0.4 {\nlvs_method NAT\n}", "real_server fd00::4 80 {\nTCP_CHECK {\n}\n}", "real_server fe80::4 80 {\nTCP_CHECK {\n}\n}",
		"real_server 10.0.0.6 80 {\nHTTP_GET {\nurl {\npath /\n}\n}\n}", "real_server 10.0.0.7 80 {\nMISC_CHECK {\nmisc_path /bin/true\n}\n}", "real_server 10.0.0.8 80 {\nBFD_CHECK {\nname b\n}\n}",
		"real_server 10.0.0.9 80 {\nFILE_CHECK {\ntrack_file f\n}\n}", "real_server 10.0.0.2 80 {\ninhibit_on_failure\nnotify_up /bin/true\n}", "real_server 10.0.0.11 80 {\nSMTP_CHECK {\nhelo_name x\nhost {\nconnect_ip 10.0.0.3\n}\n}\n}"},
}

// together makes a file of parts.
func together(r *rand.Rand) string {
	some := func(kind string, most int) string {
		var out []string
		for range r.IntN(most + 1) {
			out = append(out, parts[kind][r.IntN(len(parts[kind]))])
		}
		return strings.Join(out, "\n") + "\n"
	}
	var b strings.Builder
	b.WriteString("vrrp_script c {\nscript /bin/true\nweight 2\n}\ntrack_file f {\nfile /tmp/f\n}\nvrrp_track_process p {\nprocess x\n}\nbfd_instance b {\nneighbor_ip 10.0.0.3\n}\nvirtual_server_group G {\n10.0.0.20 80\n}\n" +
		"virtual_server_group M {\nfwmark 7\n}\n")
	if r.IntN(2) == 0 {
		b.WriteString("global_defs {\n" + some("global", 4) + "}\n")
	}
	if r.IntN(2) == 0 {
		for i, name := range []string{"A", "B"}[:1+r.IntN(2)] {
			fmt.Fprintf(&b, "vrrp_instance %s {\n", name)
			if r.IntN(4) > 0 {
				fmt.Fprintf(&b, "interface eth0\nvirtual_router_id %d\n", 5+i*r.IntN(2))
			}
			if r.IntN(3) > 0 {
				b.WriteString("virtual_ipaddress { 10.0.0.9 }\n")
			}
			b.WriteString(some("vi", 8) + "}\n")
		}
		if r.IntN(2) == 0 {
			b.WriteString("vrrp_sync_group S {\n" + some("sg", 4) + "}\n")
		}
	} else {
		for range 1 + r.IntN(2) {
			b.WriteString("virtual_server " + []string{"10.0.0.9 80", "10.0.0.9", "fd00::9 80", "fwmark 5", "group G", "group M", "group nope"}[r.IntN(7)] + " {\n" + some("vs", 9) + "}\n")
		}
	}
	return b.String()
}

// Settings that do not go together are corrected and reported as keepalived does.
func TestSettingsTogetherAreReadAsByKeepalived(t *testing.T) {
	o := newOracle(t)
	n, seed := 40, uint64(2026)
	if os.Getenv("CONF_ALL") != "" {
		n, seed = 4000, uint64(os.Getpid())
	}
	r, bad := rand.New(rand.NewPCG(seed, 0)), 0
	for i := range n {
		text := together(r)
		if diff, ok := o.same(text); !ok {
			if bad++; bad < 300 {
				t.Errorf("seed %d, %d:\n%s\n(-keepalived +here):\n%s", seed, i, text, diff)
			}
		}
	}
	t.Logf("%d of %d differ", bad, n)
}
