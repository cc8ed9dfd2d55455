package conf

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// comparable types with unexported fields
var compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

// load reads one file.
func load(t testing.TB, text string) (*Config, []Diagnostic) {
	t.Helper()
	return loadWith(t, text, Options{})
}

func loadWith(t testing.TB, text string, opts Options) (*Config, []Diagnostic) {
	t.Helper()
	c, tree, d := Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", opts)
	if got := tree.Files[0].String(); got != text {
		t.Fatalf("the tree prints %q", got)
	}
	return c, d
}

// codes are the codes of diagnostics, in order.
func codes(all []Diagnostic) string {
	var out []string
	for _, d := range all {
		out = append(out, d.Code)
	}
	return strings.Join(out, " ")
}

func siteCheck(last byte) health.Checker {
	return health.Checker{Kind: health.TCPCheck, Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, last}), 80),
		ConnectTimeout: 3 * time.Second, DelayLoop: 6 * time.Second, Retry: 3, DelayBeforeRetry: 3 * time.Second, Warmup: 6 * time.Second, Rise: 1}
}

func siteReal(last byte) health.Real {
	return health.Real{Real: lb.Real{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, last}), 80), Forward: lb.Route, Weight: 2},
		Checkers: []health.Checker{siteCheck(last)}}
}

func TestTheSiteLoadsToItsValues(t *testing.T) {
	for name, initial := range map[string]bool{"director1.conf": true, "director2.conf": false} {
		c, tree, d := Load(os.DirFS("../../examples/site"), name, Options{})
		if got, want := codes(d), "nb-get-retry nb-get-retry"; got != want {
			t.Errorf("%s: diagnostics %q, want %q", name, got, want)
		}
		if sev, _ := Worst(d); sev != Notice {
			t.Errorf("%s: worst is %v, want notices only", name, sev)
		}
		vi := vrrp.Config{Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100, AdvertInt: time.Second, InitialMaster: initial,
			AuthType: vrrp.AuthPass, AuthPass: "1111", VIPs: []vrrp.Address{{Prefix: netip.MustParsePrefix("10.0.8.9/32")}}}
		vi.OldChecksum, vi.TTL = vrrp.ChecksumAuto, 255
		vi, _ = vi.Normal()
		global := newGlobal()
		global.RouterID, global.NotificationEmail, global.EmailFrom = "LVS_DEVEL", []string{"ops@example.org"}, "director@example.org"
		global.SMTPServer, global.SMTPPort, global.SMTPConnectTimeout = "127.0.0.1", 25, 30*time.Second
		want := &Config{
			Global:    global,
			Instances: []vrrp.Config{vi},
			Health: health.Config{Services: []health.Service{{
				Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")},
					Scheduler: "wrr", Persistence: 10 * time.Second},
				Reals: []health.Real{siteReal(12), siteReal(13)}, Quorum: 1, DelayLoop: 6 * time.Second,
			}}},
		}
		if len(c.Routers) != 1 || len(c.VirtualServers) != 1 || len(c.VirtualServers[0].Servers) != 2 {
			t.Errorf("%s: %d instances and %d services in full", name, len(c.Routers), len(c.VirtualServers))
		}
		c.Routers, c.VirtualServers = nil, nil
		if diff := cmp.Diff(want, c, compare); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if tree.Files[0].Lines() < 50 {
			t.Errorf("%s: the tree has %d lines", name, tree.Files[0].Lines())
		}
	}
}

func TestTheDirectorsDifferOnlyInState(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../../examples/site/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one := strings.Replace(read("director1.conf"), "state MASTER", "state BACKUP", 1)
	if diff := cmp.Diff(one, read("director2.conf")); diff != "" {
		t.Errorf("director1.conf turned into director2.conf (-want +got):\n%s", diff)
	}
}

func TestStrictMakesWarningsErrors(t *testing.T) {
	const text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\npriorty 3\nvirtual_ipaddress { 10.0.0.9 }\n}\n"
	for strict, want := range map[bool]Severity{false: Warning, true: Error} {
		_, d := loadWith(t, text, Options{Strict: strict})
		if len(d) != 1 || d[0].Severity != want {
			t.Errorf("strict %v: %v", strict, d)
		}
	}
	if _, d := loadWith(t, "global_defs {\nhashed\n}\n", Options{Strict: true}); len(d) == 0 || d[0].Severity != Error {
		t.Errorf("an unknown keyword is %v", d)
	}
}

func TestAMissingFileIsOneError(t *testing.T) {
	c, _, d := Load(fstest.MapFS{}, "/etc/keepalived/keepalived.conf", Options{})
	if c == nil || len(d) != 1 || d[0].String() != "cannot read /etc/keepalived/keepalived.conf: no such file" || d[0].Severity != Error {
		t.Errorf("got %v", d)
	}
}
