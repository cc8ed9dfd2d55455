package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve puts w behind a real socket and returns an Env that dials it.
func serve(t *testing.T, w *world) (Env, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, ln, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var out, errs bytes.Buffer
	env := w.env(&out, &errs)
	env.Dial = func(instance string) (control.Source, error) { return control.DialPath(instance, path), nil }
	return env, &out, &errs
}

func TestIpvsadmAsksTheDaemonOverItsSocket(t *testing.T) {
	w := newWorld()
	w.size = 1 << 20
	if code, _, errs := w.shell("ipvsadm -R", "-A -t 10.0.8.9:80 -s wrr -p 10\n-a -t 10.0.8.9:80 -r 10.0.8.12:80 -g -w 2\n-a -t 10.0.8.9:80 -r 10.0.8.14:80 -g -w 0\n-A -f 7 -s rr\n"); code != 0 {
		t.Fatal(errs)
	}
	w.counted[countedKey{lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}, netip.MustParseAddrPort("10.0.8.12:80")}] = rs{Active: 3, Inactive: 1}
	w.conns = []lb.Conn{
		{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.4.103:40103"), Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
			Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Expires: 899999 * time.Millisecond},
		{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.4.102:0"), Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
			Real: netip.MustParseAddrPort("10.0.8.13:80"), Template: true, Assured: true, Expires: 9 * time.Second},
	}
	for _, tc := range []struct{ args, want string }{
		{"-Ln", `IP Virtual Server version 1.2.1 (size=1048576)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.8.9:80 wrr persistent 10
  -> 10.0.8.12:80                 Route   2      3          1         ·
  -> 10.0.8.14:80                 Route   0      0          0         ·
FWM  7 rr
`},
		{"-lcn", `IPVS connection entries
pro expire state       source             virtual            destination
TCP 00:09  ASSURED     10.0.4.102:0       10.0.8.9:80        10.0.8.13:80
TCP 14:59  ESTABLISHED 10.0.4.103:40103   10.0.8.9:80        10.0.8.12:80
`},
		{"-lcn --nosort", `IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.0.4.103:40103   10.0.8.9:80        10.0.8.12:80
TCP 00:09  ASSURED     10.0.4.102:0       10.0.8.9:80        10.0.8.13:80
`},
		{"--instance other -L --timeout", "Timeout (tcp tcpfin udp): 900 120 300\n"},
		{"--instance=other -Sn", "-A -t 10.0.8.9:80 -s wrr -p 10\n-a -t 10.0.8.9:80 -r 10.0.8.12:80 -g -w 2\n" +
			"-a -t 10.0.8.9:80 -r 10.0.8.14:80 -g -w 0\n-A -f 7 -s rr\n"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			env, out, errs := serve(t, w)
			code := Ipvsadm("ipvsadm", strings.Fields(tc.args), env)
			if want := strings.ReplaceAll(tc.want, "·", ""); code != 0 || out.String() != want || errs.Len() != 0 {
				t.Errorf("exit %d\n%s\nwant\n%s\n%s", code, out, want, errs)
			}
		})
	}
}

func TestTheInstanceComesFromTheOptionThenTheEnvironment(t *testing.T) {
	for _, tc := range []struct{ args, env, want string }{
		{"-Ln", "", "default"}, {"-Ln", "blue", "blue"}, {"--instance red -Ln", "blue", "red"}, {"--instance=red", "", "red"},
	} {
		var asked string
		w := newWorld()
		env := w.env(&bytes.Buffer{}, &bytes.Buffer{})
		env.Getenv = func(name string) string {
			if name == "VIPD_INSTANCE" {
				return tc.env
			}
			return ""
		}
		env.Dial = func(instance string) (control.Source, error) { asked = instance; return w, nil }
		if code := Ipvsadm("ipvsadm", strings.Fields(tc.args), env); code != 0 || asked != tc.want {
			t.Errorf("%q with %q: asked %q, exit %d", tc.args, tc.env, asked, code)
		}
	}
}

func TestWithoutADaemonIpvsadmSaysSoAndExits2(t *testing.T) {
	var out, errs bytes.Buffer
	env := newWorld().env(&out, &errs)
	path := filepath.Join(t.TempDir(), "none.sock")
	env.Dial = func(instance string) (control.Source, error) { return control.DialPath(instance, path), nil }
	code := Ipvsadm("ipvsadm", []string{"-Ln"}, env)
	lines := strings.Split(errs.String(), "\n")
	if code != 2 || out.Len() != 0 || len(lines) != 3 || !strings.HasPrefix(lines[0], "Can't initialize ipvs: ") || !strings.Contains(lines[0], "no such daemon is running") || !strings.Contains(lines[1], "hint: start it: vipd run") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, &out, &errs)
	}
	errs.Reset()
	if code := Ipvsadm("ipvsadm", strings.Fields("-A -t 1.2.3.4:80"), env); code != 2 || !strings.HasPrefix(errs.String(), "Can't initialize ipvs: ") {
		t.Errorf("a change: exit %d, %q", code, &errs)
	}
	errs.Reset()
	env.Dial = func(string) (control.Source, error) {
		return nil, &control.Unreachable{Err: control.ErrPermission, Advice: "ask as root"}
	}
	if code := Ipvsadm("ipvsadm", []string{"-Ln"}, env); code != 2 || errs.String() != "Can't initialize ipvs: Permission denied (you must be root)\nhint: ask as root\n" {
		t.Errorf("no permission: exit %d, %q", code, &errs)
	}
	errs.Reset()
	env.Dial = nil
	if code := Ipvsadm("ipvsadm", []string{"--instance", "../etc", "-Ln"}, env); code != 2 || !strings.Contains(errs.String(), `instance name "../etc"`) {
		t.Errorf("bad name: exit %d, %q", code, &errs)
	}
	errs.Reset()
	if code := Ipvsadm("ipvsadm", []string{"--instance"}, env); code != 255 || errs.String() != "--instance: missing argument\n" {
		t.Errorf("no name: exit %d, %q", code, &errs)
	}
}

func TestAListingThatBreaksOffExits1(t *testing.T) {
	w := newWorld()
	w.err = errors.New("the table is gone")
	if code, _, errs := w.shell("ipvsadm -lcn", ""); code != 1 || errs != "the table is gone\n" {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestChangesReachTheDaemonOverItsSocket(t *testing.T) {
	w := newWorld()
	env, out, errs := serve(t, w)
	for _, tc := range []struct {
		args, stdin, want, errs string
		code                    int
	}{
		{"-A -t 10.0.8.9:80 -s mh -p 20 -M 255.0.255.0 -b mh-port", "", "", "", 0},
		{"-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i --tun-type gue --tun-port 6080 --tun-csum -w 3 -x 9 -y 4", "", "", "", 0},
		{"-A -t 10.0.8.9:81 -s sh -b ,", "", "", "invalid scheduler flag `,'\n", 2},
		{"-A -f 7 -6 -p 9 -M 64", "", "", "", 0},
		{"-a -f 8 -r 10.0.8.12", "", "", "Service not defined\n", 255},
		{"-R", "-A -u 10.0.8.9:53 -o -s rr\n-A -u 10.0.8.9:53\n-Z -t 1.2.3.4:5\n--set 1 2 3\n", "", "Service already exists\nNo such service\n", 0},
		{"-L --timeout", "", "Timeout (tcp tcpfin udp): 1 2 3\n", "", 0},
		{"-Sn", "", "-A -t 10.0.8.9:80 -s mh -p 20 -M 255.0.255.0 -b mh-port\n" +
			"-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i -w 3 --tun-type gue --tun-port 6080 --tun-csum\n" +
			"-A -u 10.0.8.9:53 -s rr -o\n-A -f 7 -6 -s wlc -p 9 -M 64\n", "", 0},
		{"-Ln --thresholds -t 10.0.8.9:80", "", titles[thresholds][0] + "\n" + titles[thresholds][1] + "\n" +
			"TCP  10.0.8.9:80 mh (mh-port) persistent 20 mask 255.0.255.0\n  -> [2001:db8::12]:80            9          4          0          0         \n", "", 0},
		{"-Z", "", "", "", 0},
		{"-C", "", "", "", 0},
		{"-Sn", "", "", "", 0},
	} {
		out.Reset()
		errs.Reset()
		env.Stdin = strings.NewReader(tc.stdin)
		code := Ipvsadm("ipvsadm", strings.Fields(tc.args), env)
		if code != tc.code || out.String() != tc.want || errs.String() != tc.errs {
			t.Errorf("%s: exit %d, want %d\n%q\nwant\n%q\n%q\nwant\n%q", tc.args, code, tc.code, out, tc.want, errs, tc.errs)
		}
	}
}

func TestALineOfRestoreThatComesAloneDoesNotWaitForTheNext(t *testing.T) {
	w := newWorld()
	in, feed := io.Pipe()
	env := w.env(&bytes.Buffer{}, &bytes.Buffer{})
	env.Stdin = in
	done := make(chan int)
	go func() { done <- Ipvsadm("ipvsadm", []string{"-R"}, env) }()
	io.WriteString(feed, "-A -t 10.0.8.9:80\n")
	io.WriteString(feed, "\n") // is read only when the line before it is done
	if have, _ := w.plane.Read(); len(have) != 1 {
		t.Errorf("%d services", len(have))
	}
	feed.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestManyLinesOfRestoreReachTheDaemonInFewRequests(t *testing.T) {
	w := &countingWorld{world: newWorld()}
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "-A -t 10.0.%d.%d:80 -s rr\n", i>>8, i&255)
	}
	env := w.env(&bytes.Buffer{}, &bytes.Buffer{})
	env.Stdin = strings.NewReader(lines.String())
	env.Dial = func(string) (control.Source, error) { return w, nil }
	if code := Ipvsadm("ipvsadm", []string{"-R"}, env); code != 0 {
		t.Errorf("exit %d", code)
	}
	if have, _ := w.plane.Read(); len(have) != 3000 || w.requests > 10 {
		t.Errorf("%d services in %d requests", len(have), w.requests)
	}
}

type countingWorld struct {
	*world
	requests int
}

func (w *countingWorld) Change(ctx context.Context, c []control.Change) ([]control.Answer, error) {
	w.requests++
	return w.world.Change(ctx, c)
}

func TestWhatADataPlaneDoesNotDoIsSaidInItsWords(t *testing.T) {
	w := newWorld()
	for errno, want := range map[error]string{
		plane.ErrUnsupported:       "add service [1.2.3.4]:tcp:80: not supported by this data plane\n",
		plane.ErrFull:              "Memory allocation problem\n",
		errors.New("a wire broke"): "add service [1.2.3.4]:tcp:80: a wire broke\n",
	} {
		w.plane.Fail(func(plane.Op) error { return errno })
		if code, out, errs := w.shell("ipvsadm -A -t 1.2.3.4:80", ""); code != 255 || out != "" || errs != want {
			t.Errorf("%v: exit %d, %q, %q", errno, code, out, errs)
		}
	}
}

// The recorded runs 017, 121, 124 to 128, 138 and 139 of the real ipvsadm, in one go.
func TestSyncDaemonsAreStartedListedAndStoppedAsIpvsadmDoes(t *testing.T) {
	w := newWorld()
	w.plane.SetMTU("nosuch0", 0)
	w.plane.SetMTU("big0", 9000)
	const mixed = "Invalid operation.  Possibly wrong module version, address not unicast, ...\n"
	for _, step := range []struct {
		line      string
		code      int
		out, errs string
	}{
		{"-L --daemon", 0, "", ""},
		{"--stop-daemon master", 255, "", "No daemon is running\n"},
		{"--start-daemon master --mcast-interface nosuch0", 255, "", "No such device\n"},
		{"--start-daemon master --sync-maxlen 1", 0, "", ""},
		{"--start-daemon master", 255, "", "Daemon has already run\n"},
		{"--start-daemon backup --sync-maxlen 1", 0, "", ""},
		{"-ln --daemon", 0, "master sync daemon (mcast=eth0, syncid=0, maxlen=1, group=224.0.0.81, port=8848, ttl=1)\n" +
			"backup sync daemon (mcast=eth0, syncid=0, maxlen=1024, group=224.0.0.81, port=8848, ttl=1)\n", ""},
		{"-A -t 10.0.8.9:80 -s rr", 0, "", ""},
		{"-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i", 255, "", mixed},
		{"--stop-daemon master --syncid 7", 0, "", ""},
		{"--stop-daemon backup", 0, "", ""},
		{"--start-daemon master --mcast-interface eth0 --syncid 255 --sync-maxlen 1000 --mcast-group 239.1.2.3 --mcast-port 9000 --mcast-ttl 5", 0, "", ""},
		{"-L --daemon", 0, "master sync daemon (mcast=eth0, syncid=255, maxlen=1000, group=239.1.2.3, port=9000, ttl=5)\n", ""},
		{"--stop-daemon master", 0, "", ""},
		{"--start-daemon backup --mcast-interface eth0 --mcast-group ff02::81", 0, "", ""},
		{"-L --daemon", 0, "backup sync daemon (mcast=eth0, syncid=0, maxlen=1452, group=ff02::81, port=8848, ttl=1)\n", ""},
		{"--stop-daemon backup", 0, "", ""},
		{"--start-daemon backup --mcast-interface big0", 0, "", ""},
		{"--start-daemon master --mcast-interface big0 --mcast-group ff02::81 --sync-maxlen 65507", 0, "", ""},
		{"-L --daemon", 0, "master sync daemon (mcast=big0, syncid=0, maxlen=65487, group=ff02::81, port=8848, ttl=1)\n" +
			"backup sync daemon (mcast=big0, syncid=0, maxlen=8972, group=224.0.0.81, port=8848, ttl=1)\n", ""},
		{"--start-daemon master --mcast-interface nosuch0", 255, "", "No such device\n"},
		{"--stop-daemon master", 0, "", ""},
		{"--start-daemon master --mcast-interface= --mcast-group 224.0.0.0x51", 2, "", "invalid IPv4 mcast-group `224.0.0.0x51'\n"},
		{"--start-daemon master --mcast-interface=", 0, "", ""},
		{"-L --daemon", 0, "master sync daemon (mcast=eth0, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n" +
			"backup sync daemon (mcast=big0, syncid=0, maxlen=8972, group=224.0.0.81, port=8848, ttl=1)\n", ""},
		{"--stop-daemon master", 0, "", ""},
		{"--stop-daemon backup", 0, "", ""},
		{"-a -t 10.0.8.9:80 -r [2001:db8::12]:80 -i", 0, "", ""},
		{"--start-daemon master", 255, "", mixed},
		{"--start-daemon master --mcast-interface nosuch0", 255, "", mixed},
	} {
		if code, out, errs := w.shell("ipvsadm "+step.line, ""); code != step.code || out != step.out || errs != step.errs {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", step.line, code, out, errs, step.code, step.out, step.errs)
		}
	}
	if code, out, errs := newWorld().shell("ipvsadm -R", "--start-daemon master\n-A -t 1.2.3.4:80\n"); code != 0 || out+errs != "" {
		t.Errorf("in a restore: exit %d, %q, %q", code, out, errs)
	}
}

func TestNumbersAreShortenedByPowersOfAThousand(t *testing.T) {
	for _, tc := range []struct {
		n            uint64
		short, exact string
	}{
		{0, "        0", "        0"}, {99999999, " 99999999", " 99999999"}, {100000000, "  100000K", " 100000000"},
		{999999999, "  999999K", " 999999999"}, {1000000000, "    1000M", " 1000000000"}, {99999999999, "   99999M", " 99999999999"},
		{100000000000, "     100G", " 100000000000"}, {99999999999999, "   99999G", " 99999999999999"}, {100000000000000, "     100T", " 100000000000000"},
		{1<<64 - 1, "18446744T", " 18446744073709551615"},
	} {
		if got := (&printer{}).number(tc.n); got != tc.short {
			t.Errorf("%d: %q, want %q", tc.n, got, tc.short)
		}
		if got := (&printer{exact: true}).number(tc.n); got != tc.exact {
			t.Errorf("%d exact: %q, want %q", tc.n, got, tc.exact)
		}
	}
}

func TestServicesFileIsReadAsServices5Says(t *testing.T) {
	tbl := serviceTable{map[serviceName]uint16{}, map[servicePort]string{}}
	for _, line := range strings.Split("# comment\nhttp 80/tcp www # web\nsecond 80/tcp\ndomain\t53/udp\nbad 99999/tcp\nother 1/ddp\nlonely", "\n") {
		tbl.add(line)
	}
	m := &machineNames{services: func() serviceTable { return tbl }}
	if n, ok := m.ServiceName(80, lb.TCP); !ok || n != "http" {
		t.Errorf("80/tcp is %q", n)
	}
	if _, ok := m.ServiceName(80, lb.UDP); ok {
		t.Error("80/udp has a name")
	}
	if p, ok := m.ServicePort("www", lb.TCP); !ok || p != 80 {
		t.Errorf("www is %d", p)
	}
	if p, ok := m.ServicePort("domain", lb.UDP); !ok || p != 53 {
		t.Errorf("domain is %d", p)
	}
	if len(tbl.names) != 2 || len(tbl.ports) != 4 {
		t.Errorf("%v %v", tbl.names, tbl.ports)
	}
}

// TestNamesThatAreNoneForDNS: a label of more than 63 bytes, which hosts(5) may have.
func TestNamesThatAreNoneForDNS(t *testing.T) {
	long := strings.Repeat("very-", 14) + "long.example.com"
	tbl := hostTable{map[netip.Addr]string{}, map[string]netip.Addr{}}
	for _, line := range strings.Split("# comment\n127.9.8.7\t"+strings.ToUpper(long)+" other # again\n127.9.8.7 second\nfe80::9 "+long+" six\nnonsense x\n127.9.8.6", "\n") {
		tbl.add(line)
	}
	m := &machineNames{static: func() hostTable { return tbl }}
	if got, ok := m.HostName(netip.MustParseAddr("127.9.8.7")); !ok || got != strings.ToUpper(long) {
		t.Errorf("127.9.8.7 is %q", got)
	}
	if got, ok := m.HostAddr(long); !ok || got != netip.MustParseAddr("127.9.8.7") {
		t.Errorf("the long name is %v", got)
	}
	if len(tbl.names) != 2 || len(tbl.addrs) != 3 {
		t.Errorf("%v %v", tbl.names, tbl.addrs)
	}
}

// TestHostsAreReadAsTheCLibraryReadsThem: a line of IPv6 may be one of IPv4, too.
func TestHostsAreReadAsTheCLibraryReadsThem(t *testing.T) {
	tbl := hostTable{map[netip.Addr]string{}, map[string]netip.Addr{}}
	for _, line := range []string{"::1 six six2", "127.0.0.1 four six", "::ffff:10.0.8.23 mapped", "2001:db8::1 other"} {
		tbl.add(line)
	}
	for name, want := range map[string]string{"six": "127.0.0.1", "six2": "127.0.0.1", "four": "127.0.0.1", "mapped": "10.0.8.23", "other": "invalid IP"} {
		if got := tbl.addrs[name]; got.String() != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	for addr, want := range map[string]string{"::1": "six", "127.0.0.1": "six", "::ffff:10.0.8.23": "mapped", "10.0.8.23": "mapped", "2001:db8::1": "other"} {
		if got := tbl.names[netip.MustParseAddr(addr)]; got != want {
			t.Errorf("%s is %q, want %s", addr, got, want)
		}
	}
}

// A service of sh and mh may have a flag that has no name there.
func TestAFlagWithoutANameIsListedAsAnEmptyOne(t *testing.T) {
	w := newWorld()
	w.shell("ipvsadm -A -t 10.0.8.9:80 -s mh -b flag-3 -p 5", "")
	if _, out, _ := w.shell("ipvsadm -Ln", ""); !strings.Contains(out, "\nTCP  10.0.8.9:80 mh () persistent 5\n") {
		t.Errorf("listed: %s", out)
	}
	if _, out, _ := w.shell("ipvsadm -Sn", ""); out != "-A -t 10.0.8.9:80 -s mh -p 5 -b \n" {
		t.Errorf("saved: %q", out)
	}
}

func TestAddressesAreWrittenAsTheCLibraryWritesThem(t *testing.T) {
	for _, text := range []string{"::", "::1", "::ffff", "::0.1.0.2", "::10.0.8.9", "::ffff:10.0.8.9", "::ffff:1:2:3", "1:0:0:2::3", "1::2:3:0:0:4", "64:ff9b::a00:809", "10.0.8.9"} {
		if got := addrText(netip.MustParseAddr(text)); got != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
}

// TestWordsOfARestoreAreDividedByBlanksTabsAndEndsOfLines: by nothing else that is white.
func TestWordsOfARestoreAreDividedByBlanksTabsAndEndsOfLines(t *testing.T) {
	for line, want := range map[string]string{
		"-A\t-t 10.0.8.9:80\r-s\rrr\r\n": "", "-A -t 10.0.8.9:80\x00x -s rr\n": "", "-A\f-t 10.0.8.9:80\n": "-A\f-t: unknown option\n", "-A\u00a0-t 10.0.8.9:80\n": "-A\u00a0-t: unknown option\n",
	} {
		if _, out, errs := newWorld().shell("ipvsadm -R", line); out != "" || errs != want {
			t.Errorf("%q: %q, %q", line, out, errs)
		}
	}
}

// FuzzIpvsadmArguments gives the parser anything: it must not panic, and a line is either understood or refused with one
// of ipvsadm's exit codes; what is understood and saved is understood again.
func FuzzIpvsadmArguments(f *testing.F) {
	for _, s := range []string{"-Ln", "-A -t [2001:db8::9]:80 -s sh -b sh-port,flag-3 -p 5 -M 64", "-a -f 7 -6 -r [::1]:80 -i --tun-type gue --tun-port 9 --tun-remcsum",
		"--set 1 --sort 2 3", "-at10.1:0x50 -mw=3", "-L -- -", "-p= -=", "--=x", "-R", "-A -u 1.2.3.4 -p -o --pe sip"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, bad := parseIpvsadm("ipvsadm", strings.Split(line, " "), fakeNames{})
		if bad != nil {
			if bad.code != exitUsage && bad.code != exitPopt || bad.text == "" {
				t.Errorf("%q: %+v", line, bad)
			}
			return
		}
		if c.verb != addServer && c.verb != addService || c.service.Mark >= 1<<31 || strings.ContainsAny(c.service.Scheduler+c.service.Engine, " ,") ||
			c.service.Flags != 0 && flagList(&c.service) == "" { // ipvs: is saved as what is refused
			return
		}
		s := svc{Service: c.service}
		if c.verb == addServer {
			s.Reals = []rs{{Real: c.real, InPool: true}}
		}
		for _, cmd := range (&printer{}).saved(&s)[len(s.Reals):] {
			again, bad := parseIpvsadm("ipvsadm", strings.Fields(cmd), fakeNames{})
			if bad != nil {
				t.Fatalf("%q was saved as %q: %v", line, cmd, bad)
			}
			if again.service.ServiceKey != c.service.ServiceKey || again.real.Addr != c.real.Addr || again.real.Tunnel != c.real.Tunnel {
				t.Errorf("%q was saved as %q", line, cmd)
			}
		}
	})
}
