package cli

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vipd/internal/control"
	"vipd/internal/lb"
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
	w.status = siteStatus()
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
	if code != 2 || out.Len() != 0 || len(lines) != 3 || !strings.Contains(lines[0], "no such daemon is running") || !strings.Contains(lines[1], "hint: start it: vipd run") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, &out, &errs)
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
	if code, _, errs := w.shell("ipvsadm -lcn"); code != 1 || errs != "the table is gone\n" {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestCommandsThatChangeThingsAreCheckedAndThenRefused(t *testing.T) {
	for _, line := range []string{"-A -t 1.2.3.4:80", "-E -t 1.2.3.4:80", "-D -t 1.2.3.4:80", "-C", "-R", "-Z", "-a -t 1.2.3.4:80 -r 5.6.7.8",
		"-e -t 1.2.3.4:80 -r 5.6.7.8", "-d -t 1.2.3.4:80 -r 5.6.7.8", "--set 1 2 3", "--start-daemon master", "--stop-daemon backup"} {
		var out, errs bytes.Buffer
		code := Ipvsadm("ipvsadm", strings.Fields(line), newWorld().env(&out, &errs))
		if code != 2 || out.Len() != 0 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), "configuration file") {
			t.Errorf("%s: exit %d, %q, %q", line, code, &out, &errs)
		}
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
		if c.verb != addServer && c.verb != addService || c.oddMask || c.service.Mark >= 1<<31 || strings.ContainsAny(c.service.Scheduler+c.service.Engine, " ,") {
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
