package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"vipd/internal/lb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a daemon made of data.
type fake struct {
	status   Status
	conns    int
	failAt   int // if not zero, the list of connections fails after so many
	timeouts lb.Timeouts
	err      error
	stopped  chan struct{} // closed when a listing ended before its end
}

func (f *fake) Status(context.Context) (Status, error)        { return f.status, f.err }
func (f *fake) Timeouts(context.Context) (lb.Timeouts, error) { return f.timeouts, f.err }
func (f *fake) Table(context.Context) (Table, error) {
	return Table{Size: f.status.TableSize, Services: f.status.Services}, f.err
}
func (f *fake) Conns(ctx context.Context, visit func(lb.Conn) bool) error {
	for i := range f.conns {
		if f.failAt != 0 && i == f.failAt {
			return errors.New("the table is gone")
		}
		if !visit(someConn(i)) {
			if f.stopped != nil {
				close(f.stopped)
			}
			return nil
		}
	}
	return nil
}

func someConn(i int) lb.Conn {
	return lb.Conn{Protocol: lb.TCP, Forward: lb.Route, State: lb.Established, Packets: uint32(i), Expires: 899 * time.Second,
		Client:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000),
		Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("[2001:db8::12]:8080")}
}

// start serves src on a socket of its own and returns a client for it.
func start(t *testing.T, src Source) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vipd", "test.sock")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, src) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left behind", path)
		}
	})
	return DialPath("test", path)
}

func fullStatus() Status {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Status{Instance: "test", Version: "1", PID: 7, Started: at, Config: "/etc/x.conf", TableSize: 4096, DataPlane: Path{"xdp", "auto"},
		Links:    []Link{{"eth0", "native"}},
		State:    "/var/lib/vipd",
		Held:     []Held{{Service: "FWM 7", Real: "10.0.8.99:0", Hand: Hand{Do: OrderDrain, Since: at}}},
		Verdicts: []Reason{{"hit", "forward", 12}},
		VRRP: []Router{{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER", Priority: 100, VIPs: []string{"10.0.8.9/32"},
			Since: at, Why: "no advert", Refused: map[string]uint64{"ttl": 3}, BecameMaster: 1}},
		Services: []Service{
			{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")},
				Scheduler: "sh", Flags: lb.SchedFlag1 | lb.SchedFlag2, Persistence: 10 * time.Second, Wild: 0x00ff00ff, Engine: "sip"},
				Name: "web", Group: "g", Total: lb.Counters{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 4, OutBytes: 1 << 63}, Rate: lb.Rates{Conns: 9}, Quorum: true,
				Reals: []Real{
					{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80"), Forward: lb.Tunnel, Weight: 2, Upper: 10, Lower: 5,
						Tunnel: lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}}, Name: "rs1", InPool: true, Healthy: true, Since: at, Operator: &Hand{Do: OrderWeight, Percent: 50, Since: at, By: "root for alice"}, Hop: "eth0", Active: 1, Inactive: 2, Persist: 3},
					{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.13:80"), Forward: lb.Masq}, Why: "refused", Since: at},
				}},
			{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}, Scheduler: "rr", OnePacket: true}, Reals: []Real{}},
			{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("[2001:db8::9]:0")}, Scheduler: "rr"}, Reals: []Real{}},
		}}
}

var equal = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func TestStatusComesOverTheSocketAsItWasFilled(t *testing.T) {
	want := fullStatus()
	got, err := start(t, &fake{status: want}).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
}

func TestTimeoutsComeOverTheSocket(t *testing.T) {
	got, err := start(t, &fake{timeouts: lb.DefaultTimeouts}).Timeouts(t.Context())
	if err != nil || got != lb.DefaultTimeouts {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrorsOfTheSourceReachTheClient(t *testing.T) {
	c := start(t, &fake{err: errors.New("loop\x1b[2J stopped")})
	if _, err := c.Status(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "loop [2J stopped") {
		t.Errorf("Status: %q", err)
	}
}

func TestConnsStreamAtConstantMemory(t *testing.T) {
	const many = 50_000
	c := start(t, &fake{conns: many})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	err := c.Conns(t.Context(), func(got lb.Conn) bool {
		if got != someConn(n) {
			t.Fatalf("connection %d came as %+v", n, got)
		}
		n++
		return true
	})
	if err != nil || n != many {
		t.Fatalf("%d connections, %v", n, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes are kept after a listing of %d", grown, many)
	}
}

func TestAListingThatFailsHalfwayIsNotTakenForTheWhole(t *testing.T) {
	n := 0
	err := start(t, &fake{conns: 5000, failAt: 4000}).Conns(t.Context(), func(lb.Conn) bool { n++; return true })
	if err == nil {
		t.Errorf("no error after %d of 5000", n)
	}
}

func TestAClientThatHasSeenEnoughEndsTheListing(t *testing.T) {
	src := &fake{conns: 1 << 30, stopped: make(chan struct{})}
	if err := start(t, src).Conns(t.Context(), func(lb.Conn) bool { return false }); err != nil {
		t.Error(err)
	}
	<-src.stopped
}

func TestEveryStateOfAConnectionSurvivesItsLine(t *testing.T) {
	for _, c := range []lb.Conn{
		{}, someConn(1),
		{Protocol: lb.UDP, State: 1, Template: true, Assured: true, Client: netip.MustParseAddrPort("10.0.4.0:0")},
		{Protocol: lb.SCTP, Forward: lb.Masq, Expires: 1500 * time.Millisecond}, {Protocol: 50, Forward: 9, State: 200},
	} {
		line := appendConn(nil, c)
		if line[len(line)-1] != '\n' || strings.Count(string(line), "\n") != 1 {
			t.Errorf("not one line: %q", line)
		}
		got, err := parseConn(line)
		if err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
		spaced, err := parseConn(append([]byte(" "), line...)) // as any JSON
		if err != nil || spaced != c {
			t.Errorf("%+v came back as %+v, %v, from encoding/json", c, spaced, err)
		}
		var j connJSON
		if err := json.Unmarshal(line, &j); err != nil {
			t.Fatal(err)
		}
		again, _ := json.Marshal(j)
		if string(again)+"\n" != string(line) {
			t.Errorf("by hand %s, by encoding/json %s", line, again)
		}
	}
}

func TestFieldNamesOfTheStatusAreKept(t *testing.T) {
	b, err := json.Marshal(fullStatus())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"protocol":"tcp","address":"10.0.8.9","port":80,"scheduler":"sh"`, `"flags":["flag-1","flag-2"]`,
		`"persistence_seconds":10`, `"fwmark":7,"ipv6":true`, `"forward":"tunnel"`, `"tunnel":{"type":"gue","port":6080,"csum":true}`,
		`"in_pool":true`, `"data_plane":{"name":"xdp","why":"auto"}`, `"out_bytes":9223372036854775808`, `"adverts_refused":{"ttl":3}`, `"address":"2001:db8::9","port":0`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

func TestListenReplacesADeadSocketAndRefusesALiveOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "a.sock")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v", info.Mode())
	}
	if info, _ := os.Stat(filepath.Dir(path)); info.Mode().Perm() != 0o755 {
		t.Errorf("mode of the directory %v", info.Mode())
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("live socket: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as SIGKILL does
	ln.Close()
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("dead socket: %v", err)
	}
	again.Close()
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	os.WriteFile(path, nil, 0o600)
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in its place: %v", err)
	}
}

func TestAClientSaysWhyThereIsNoDaemon(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".sock") }
	listenRaw := func(name string, serve func(net.Conn)) {
		ln, err := net.Listen("unix", path(name))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		t.Cleanup(func() { ln.Close(); <-done })
		go func() {
			defer close(done)
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				serve(conn)
				conn.Close()
			}
		}()
	}
	dead, err := net.Listen("unix", path("dead"))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	listenRaw("ssh", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") })
	listenRaw("silent", func(c net.Conn) {})
	listenRaw("web", func(c net.Conn) {
		http.ReadRequest(newReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	listenRaw("future", func(c net.Conn) {
		http.ReadRequest(newReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nVipd-Control: 9\r\nContent-Length: 2\r\n\r\n{}")
	})
	for _, tc := range []struct{ instance, says, hint string }{
		{"nobody", "ask instance nobody at " + path("nobody") + ": no such daemon is running", "vipd run --instance nobody"},
		{"dead", "left by a dead process", "vipd run --instance dead"},
		{"ssh", "not a vipd daemon", ""},
		{"silent", "not a vipd daemon", ""},
		{"web", "not a vipd daemon", ""},
		{"future", "of another version", "restart"},
	} {
		_, err := DialPath(tc.instance, path(tc.instance)).Status(t.Context())
		var u *Unreachable
		if !errors.As(err, &u) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(u.Hint(), tc.hint) {
			t.Errorf("%s: %v (%+v)", tc.instance, err, u)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", tc.instance, err)
		}
	}
}

func TestInstanceNamesAreFileNames(t *testing.T) {
	for name, good := range map[string]bool{"default": true, "ab-c_9": true, "": false, "../x": false, ".x": false, "a/b": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a\n": false} {
		if _, err := Dial(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	if err := readAnswer(strings.NewReader(strings.Repeat(" ", 100)), 50, new(Status)); err == nil || !strings.Contains(err.Error(), "more than 50") {
		t.Errorf("long answer: %v", err)
	}
	if err := readConns(strings.NewReader(`{"protocol":"`+strings.Repeat("a", 2*maxConnLine)), func(lb.Conn) bool { return true }); err == nil {
		t.Error("a line without an end was taken")
	}
}

func TestAQuestionWithABodyIsRefusedAtOnce(t *testing.T) {
	c := start(t, &fake{})
	pr, pw := io.Pipe()
	defer pw.Close()
	req, _ := http.NewRequest(http.MethodGet, "http://vipd/v1/status", pr)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

func TestMetricsHaveTheLogsLabels(t *testing.T) {
	s := fullStatus()
	s.VRRP = append(s.VRRP, s.VRRP[0])             // a name twice must not spoil the page
	s.Services = append(s.Services, s.Services[0]) //
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeHTTP(ctx, ln, &fake{status: s}) }()
	defer func() { cancel(); <-done }()
	page := httpGet(t, "http://"+ln.Addr().String()+"/metrics", 200)
	for _, want := range []string{`vipd_vrrp_master{if="eth0",vi="VI_1"} 1`, `vipd_packets_total{reason="hit",verdict="forward"} 12`,
		`vipd_real_held{do="weight",rs="10.0.8.12:80",vs="[10.0.8.9]:tcp:80"} 1`, `vipd_real_in_pool{rs="10.0.8.13:80",vs="[10.0.8.9]:tcp:80"} 0`, `vipd_service_quorum{vs="FWM 7 IPv6"} 0`,
		`vipd_vrrp_adverts_refused_total{if="eth0",reason="ttl",vi="VI_1"} 3`, `vipd_info{instance="test",version="1"} 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	httpGet(t, "http://"+ln.Addr().String()+"/v1/conns", 404)
	var got Status
	if err := json.Unmarshal([]byte(httpGet(t, "http://"+ln.Addr().String()+"/status", 200)), &got); err != nil || !reflect.DeepEqual(got.Verdicts, s.Verdicts) {
		t.Errorf("/status: %+v, %v", got, err)
	}
}
