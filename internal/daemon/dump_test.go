package daemon

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// captured is the moment at which keepalived 2.2.7 wrote testdata/dump, with testdata/dump/a.conf.
func captured(t *testing.T) *dump {
	t.Helper()
	cfg, _, _ := conf.Load(os.DirFS("testdata/dump"), "a.conf", conf.Options{})
	if len(cfg.Routers) != 2 {
		t.Fatalf("%d instances", len(cfg.Routers))
	}
	one, six := time.Unix(1795353343, 978669000), time.Unix(1795353328, 222368000)
	d := &dump{cfg: cfg, names: mailNames{router: "NODE_a"}, routers: map[string]vrrp.Status{
		"VI_1": {Name: "VI_1", State: vrrp.Master, Priority: 150, Base: 150, HeardPriority: 100, Since: one, Holding: true, Version: 2,
			AdvertInt: time.Second, Source: netip.MustParseAddr("10.9.0.1"), Counters: vrrp.Counters{Received: 6, Sent: 12, BecameMaster: 2, ReleasedMaster: 1}},
		"VI_6": {Name: "VI_6", Own: "vrrp.61", State: vrrp.Master, Priority: 150, Base: 150, Since: six, Holding: true, Version: 3, V6: true,
			Source: netip.MustParseAddr("fe80::8c02:b0ff:fe49:fda2"), AdvertInt: 500 * time.Millisecond, Counters: vrrp.Counters{Sent: 36, BecameMaster: 1}},
	}, next: map[string]time.Time{"VI_1": time.Unix(1795353346, 979081000), "VI_6": time.Unix(1795353346, 229250000)}, ready: map[*conf.Script]host.Command{},
		links: []host.Link{{Index: 3, Name: "vrrp.61", Up: true}}}
	for _, s := range scriptsOf(cfg) {
		d.ready[s] = host.Command{Args: s.Args}
	}
	return d
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/dump", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestStatisticsAreKeepalivedsToTheByte(t *testing.T) {
	var b bytes.Buffer
	captured(t).stats(&b, nil)
	if diff := cmp.Diff(fileText(t, "keepalived.stats"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONIsKeepalivedsToTheByte(t *testing.T) {
	var b bytes.Buffer
	captured(t).json(&b)
	if diff := cmp.Diff(fileText(t, "keepalived.json"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONOfVersion2HoldsTheSameInstances(t *testing.T) {
	d := captured(t)
	var one, two bytes.Buffer
	d.json(&one)
	d.cfg.Global.Manage.JSONVersion = 2
	d.json(&two)
	var list any
	var whole map[string]any
	if err := json.Unmarshal(one.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(two.Bytes(), &whole); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, whole["vrrp"]); diff != "" {
		t.Error(diff)
	}
}

func TestTextsInJSONAreEscaped(t *testing.T) {
	for in, want := range map[string]string{`a"b`: `"a\"b"`, `a\b`: `"a\\b"`, "a/b": `"a\/b"`, "a\n\t\x01": `"a\n\t\u0001"`} {
		var back string
		if got := jsonText(in); got != want || json.Unmarshal([]byte(got), &back) != nil || back != in {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// TestTheDataOfAnInstanceIsKeepaliveds compares what exporters read: the lines of the instance of testdata/dump, but for
// those about what is not here.
func TestTheDataOfAnInstanceIsKeepaliveds(t *testing.T) {
	var b bytes.Buffer
	captured(t).data(&b)
	part := func(text string) string {
		_, text, _ = strings.Cut(text, "VRRP Instance = VI_1\n")
		text, _, _ = strings.Cut(text, "------<")
		text = regexp.MustCompile(`(?m)^   (fd_in|Master down timer).*\n`).ReplaceAllString(text, "") // a socket's number; the time that was left
		return regexp.MustCompile(`\d+\.\d{6} \(.*\)`).ReplaceAllStringFunc(text, func(s string) string { return s[:17] })
	}
	if diff := cmp.Diff(part(fileText(t, "keepalived.data")), part(b.String())); diff != "" {
		t.Error(diff)
	}
}

func TestTheSettingsAreKeepaliveds(t *testing.T) {
	text := fileText(t, "globals.conf")
	if diff := cmp.Diff(fileText(t, "globals.data"), settings(t, text)); diff != "" {
		t.Error(diff)
	}
	// Of keepalived 2.2.7's parent: its VRRP process ends where there is no IPVS, and says "vrrp instance" and not "vrrp name".
	text = strings.Replace(text, "lvs_flush", "lvs_sync_daemon eth0 VI_1 id 17 maxlen 1400 port 8850 ttl 5 group 224.0.0.82\n", 1)
	want := " LVS syncd vrrp instance = VI_1\n LVS syncd interface = eth0\n LVS syncd syncid = 17\n LVS syncd maxlen = 1400\n" +
		" LVS mcast group 224.0.0.82\n LVS syncd mcast port = 8850\n LVS syncd mcast ttl = 5\n LVS flush = false\n"
	if got := settings(t, text); !strings.Contains(got, " Disable local IGMP = yes\n"+want) {
		t.Errorf("%s\nhas not\n%s", got, want)
	}
}

// settings is the beginning of keepalived.data.
func settings(t *testing.T, text string) string {
	t.Helper()
	cfg, _, diags := conf.Load(fstest.MapFS{"g.conf": {Data: []byte(text)}}, "g.conf", conf.Options{})
	if cfg == nil {
		t.Fatal(diags)
	}
	d := &dump{cfg: cfg, names: mailNames{router: "NODE_g"}}
	var b bytes.Buffer
	d.globals(&b)
	head, _, _ := strings.Cut(b.String(), " Gratuitous ARP delay")
	return head
}

func TestClearedStatisticsCountFromThen(t *testing.T) {
	d := captured(t)
	var dm daemon
	dm.clear(d)
	for name, s := range d.routers {
		s.Counters.Sent += 5
		d.routers[name] = s
	}
	var b bytes.Buffer
	d.stats(&b, dm.cleared)
	if n := strings.Count(b.String(), "    Sent: 5\n"); n != 2 || strings.Contains(b.String(), "Became master: 2") {
		t.Errorf("got %s", b.String())
	}
}

func TestADumpReplacesALinkAndIsItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	precious, path := filepath.Join(dir, "precious"), filepath.Join(dir, "keepalived.json")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, path); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if text, _ := os.ReadFile(precious); string(text) != "x" {
		t.Error("the link was followed")
	}
	if err := replaceFile(filepath.Join(dir, "no/such"), nil); err == nil {
		t.Error("a directory that is not there is no error")
	}
}

func TestDumpsGoWhereTheFileSays(t *testing.T) {
	t.Setenv("TMPDIR", "/var/tmp")
	d := &daemon{cfg: &conf.Config{}}
	for asked, want := range map[string]string{"": "/var/tmp/keepalived.json", "/run/x": "/run/x", "/run/": "/run/keepalived.json"} {
		if got := d.dumpPath("keepalived.json", asked); got != want {
			t.Errorf("%q: got %s, want %s", asked, got, want)
		}
	}
	d.cfg.Global.Manage.UseInstance, d.cfg.Global.Process.Instance = true, "east"
	if got := d.dumpPath("keepalived.json", ""); got != "/var/tmp/keepalived.east.json" {
		t.Errorf("got %s", got)
	}
}

func TestDumpSignalsAreKeepaliveds(t *testing.T) {
	if sigJSON != syscall.Signal(36) || sigStatsClear != syscall.Signal(63) {
		t.Error("keepalived --signum says otherwise")
	}
}
