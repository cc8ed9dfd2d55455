package here

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
	"vipd/internal/realserver"
)

// TestMain is also the program vipd, as a step of ours calls it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "realserver" {
		os.Exit(Main(os.Args))
	}
	os.Exit(m.Run())
}

// namespace is a network of its own with eth0, which leads to a router, and eth1. The test's thread is in it.
func namespace(t *testing.T) {
	t.Helper()
	need.BPF(t)
	need.Tool(t, "ip")
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"link set lo up", "link add eth0 type veth peer name far0", "link add eth1 type veth peer name far1",
		// No link-local addresses: the kernel works on them while the test looks.
		"link set eth0 addrgenmode none", "link set far0 addrgenmode none", "link set eth1 addrgenmode none", "link set far1 addrgenmode none", "addr add 10.0.8.13/24 dev eth0",
		"addr add 10.0.9.13/24 dev eth1", "link set far0 up", "link set far1 up", "link set eth0 up", "link set eth1 up", "route add default via 10.0.8.1 proto static metric 100"} {
		sh(t, "ip "+line)
	}
	for _, name := range []string{"all", "eth0", "eth1"} {
		for _, key := range realserver.Settings {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/"+key, []byte("0"), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// world is all that a real server's preparation may change.
func world(t *testing.T) string {
	t.Helper()
	// The kernel adds the groups of an interface a while after it is up.
	out := sh(t, "ip -o addr; ip route show table all | grep -v ^multicast; ip -6 route show table all | grep -v ^multicast; ip -d -o link | grep -o '[a-z0-9@]*:.*xdp.*' || true; "+
		"grep . /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/conf/*/rp_filter")
	return out
}

func ask(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	cmd := New(&b)
	cmd.SetArgs(args)
	cmd.SilenceErrors = true
	var said bytes.Buffer
	code = Report(&said, cmd.Execute())
	return b.String() + said.String(), code
}

func found(t *testing.T, args ...string) []string {
	t.Helper()
	out, code := ask(t, append([]string{"check", "-o", "json"}, args...)...)
	var all []realserver.Finding
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	codes, wrong := []string{}, 0
	for _, f := range all {
		codes = append(codes, f.Code)
		if !f.Warning {
			wrong = ExitWrong
		}
	}
	if code != wrong {
		t.Errorf("%v: exit code %d, want %d", args, code, wrong)
	}
	return codes
}

// TestPrepareMendsWhatCheckFindsAndUndoTakesItBackExactly does so for each way of forwarding, by what the program shows and by
// what it does.
func TestPrepareMendsWhatCheckFindsAndUndoTakesItBackExactly(t *testing.T) {
	rows := map[string]struct{ args, want []string }{
		"DR": {[]string{"--vip", "10.0.8.9,2001:db8:8::9", "--method", "dr"},
			[]string{realserver.VIPMissing, realserver.VIPMissing, realserver.ARPIgnore, realserver.ARPAnnounce}},
		"TUN": {[]string{"--vip", "10.0.8.9", "--method", "tun", "--decap"},
			[]string{realserver.VIPMissing, realserver.ARPIgnore, realserver.ARPAnnounce, realserver.NoDecap, realserver.TunnelMSS}},
		"GUE": {[]string{"--vip", "10.0.8.9", "--method", "TUN", "--tunnel", "gue", "--tunnel-port", "6081"},
			[]string{realserver.VIPMissing, realserver.ARPIgnore, realserver.ARPAnnounce, realserver.NoDecap, realserver.TunnelMSS}},
		"NAT": {[]string{"--vip", "10.0.8.9", "--method", "nat", "--director", "10.0.8.7"}, []string{realserver.Gateway}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			state := filepath.Join(t.TempDir(), "state.json")
			before := world(t)
			if got := found(t, row.args...); !slices.Equal(got, row.want) {
				t.Errorf("found %v, want %v", got, row.want)
			}
			if out, code := ask(t, append([]string{"prepare"}, row.args...)...); code != 0 || !strings.Contains(out, "# now:") || world(t) != before {
				t.Errorf("prepare without --apply: exit code %d, or something changed:\n%s", code, out)
			}
			if out, code := ask(t, append([]string{"prepare", "--apply", "--state", state}, row.args...)...); code != 0 || out != "" {
				t.Fatalf("prepare --apply: %d: %s", code, out)
			}
			if got := found(t, row.args...); len(got) != 0 {
				t.Errorf("after prepare: found %v", got)
			}
			if out, _ := ask(t, append([]string{"prepare"}, row.args...)...); out != "# nothing is to be done\n" {
				t.Errorf("prepare again: %s", out)
			}
			if out, code := ask(t, "undo", "--state", state); code != 0 || out != "" {
				t.Errorf("undo: %d: %s", code, out)
			}
			if after := world(t); after != before {
				t.Errorf("after undo: %s", cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
			}
			if _, err := os.Stat(state); err == nil {
				t.Error("the state is left")
			}
		})
	}
}

func TestUndoLeavesWhatSomebodyElseChanged(t *testing.T) {
	namespace(t)
	state := filepath.Join(t.TempDir(), "state.json")
	if out, code := ask(t, "prepare", "--apply", "--state", state, "--vip", "10.0.8.9", "--method", "dr"); code != 0 {
		t.Fatalf("prepare: %s", out)
	}
	sh(t, "echo 2 >/proc/sys/net/ipv4/conf/all/arp_ignore; ip addr del 10.0.8.9/32 dev lo")
	out, code := ask(t, "undo", "--state", state)
	if code != 0 || !strings.Contains(out, "arp_ignore is 2 now, not 1") {
		t.Errorf("undo: %d: %s", code, out)
	}
	if got := strings.TrimSpace(sh(t, "cat /proc/sys/net/ipv4/conf/all/arp_ignore /proc/sys/net/ipv4/conf/all/arp_announce")); got != "2\n0" {
		t.Errorf("arp_ignore and arp_announce are %q, want 2 and 0", got)
	}
}

func TestDecapsulatorDoesNotTakeThePlaceOfAnother(t *testing.T) {
	namespace(t)
	attach := []string{"decap", "--interface", "eth0", "--vip", "10.0.8.9,2001:db8:8::9"}
	if out, code := ask(t, attach...); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	out, code := ask(t, "decap", "--interface", "eth0")
	if code != 0 || !strings.Contains(out, "eth0 unpacks for [10.0.8.9 2001:db8:8::9]") || !strings.Contains(out, "unpacked  ") {
		t.Errorf("shown: %d: %s", code, out)
	}
	if out, code := ask(t, append(attach, "--tunnel", "gre")...); code != 0 {
		t.Errorf("anew: %d: %s", code, out)
	}
	if out, code := ask(t, "decap", "--interface", "eth0", "--off"); code != 0 {
		t.Errorf("off: %d: %s", code, out)
	}
	if out, code := ask(t, "decap", "--interface", "eth0"); code != ExitFailed || !strings.Contains(out, "there is no decapsulator on eth0") {
		t.Errorf("off, shown: %d: %s", code, out)
	}
}

func TestNeedsOfAConfiguration(t *testing.T) {
	namespace(t)
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	text := `virtual_server 10.0.8.9 80 {
	lb_kind DR
	protocol TCP
	real_server 10.0.8.13 80 { weight 1 }
	real_server 10.0.8.12 80 { weight 1 }
}
virtual_server 10.0.8.10 53 {
	lb_kind TUN
	protocol UDP
	real_server 10.0.8.13 53 { weight 1 }
}
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options{file: file, output: "text"}
	got, err := o.needs()
	want := []realserver.Need{{VIPs: []netip.Addr{netip.MustParseAddr("10.0.8.9")}, Method: realserver.DR, Ports: []uint16{80}},
		{VIPs: []netip.Addr{netip.MustParseAddr("10.0.8.10")}, Method: realserver.TUN, Tunnel: "ipip"}}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if err != nil || string(a) != string(b) {
		t.Errorf("%v\n%s, want\n%s", err, a, b)
	}
	o.as = "10.0.8.99"
	if _, err := o.needs(); err == nil || !strings.Contains(err.Error(), "none of its real servers is 10.0.8.99") {
		t.Errorf("a stranger: %v", err)
	}
}

func TestListenersAreRead(t *testing.T) {
	namespace(t)
	for _, at := range []string{"127.0.0.1:0", "[::]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f := realserver.Facts{}
		if err := lookListeners(&f); err != nil {
			t.Fatal(err)
		}
		want := l.Addr().(*net.TCPAddr).AddrPort()
		if !slices.ContainsFunc(f.Listens, func(l realserver.Listen) bool { return l.At == want.Addr().Unmap() && l.Port == want.Port() }) {
			t.Errorf("%s is not in %v", want, f.Listens)
		}
	}
}

func FuzzListener(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1")
	f.Add("   0: 00000000000000000000000000000000:0050 0000:0000 0A")
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := parseListener(line); ok && !l.At.IsValid() {
			t.Errorf("%q: %+v", line, l)
		}
	})
}
