package probe

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"vipd/internal/health"
	"vipd/internal/need"
)

// observe makes a check as the daemon does.
func observe(t *testing.T, c health.Checker) health.Result {
	t.Helper()
	r := NewRunner(nil, nil)
	defer r.Close()
	done := make(chan health.Result, 1)
	r.Start(c, func(res health.Result) { done <- res })
	return <-done
}

// asked is what a web server was asked.
type asked struct {
	mu  sync.Mutex
	all []string
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sni := ""
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	a.mu.Lock()
	a.all = append(a.all, fmt.Sprintf("%s %s %s host=%s agent=%s connection=%s sni=%s", r.Method, r.URL, r.Proto, r.Host, r.UserAgent(), r.Header.Get("Connection"), sni))
	a.mu.Unlock()
	w.WriteHeader(http.StatusTeapot)
	fmt.Fprint(w, strings.Repeat("hello ", 100))
}

func pageOf(srv *httptest.Server, kind health.Kind, h health.HTTP, u health.URL) health.Checker {
	h.URLs, h.TLS = []health.URL{u}, kind == health.SSLGet
	return health.Checker{Kind: kind, Target: netip.MustParseAddrPort(srv.Listener.Addr().String()), ConnectTimeout: 5 * time.Second, HTTP: &h}
}

func TestAResultHasWhatWasSeenOfTheAnswerAlsoInsideOfTLS(t *testing.T) {
	plain, secure := httptest.NewServer(&asked{}), httptest.NewTLSServer(&asked{})
	defer plain.Close()
	defer secure.Close()
	for _, c := range []health.Checker{pageOf(plain, health.HTTPGet, health.HTTP{}, health.URL{Path: "/", Digest: "00"}), pageOf(secure, health.SSLGet, health.HTTP{}, health.URL{Path: "/", Digest: "00"})} {
		c.HTTP.URLs[0].Codes = [][2]int{{418, 418}}
		res := observe(t, c)
		s := res.Seen
		if res.OK || s == nil || s.Status != 418 || len(s.First) != health.SeenFirst || !strings.HasPrefix(string(s.First), "HTTP/1.0 418 ") || s.Received < 600 || s.Received > 1000 || len(s.Digest) != 32 ||
			s.Sent < 60 || s.Sent > 120 {
			t.Errorf("%s: %+v, seen %+v", c.Kind, res, s)
		}
	}
	if res := Run(t.Context(), pageOf(plain, health.HTTPGet, health.HTTP{}, health.URL{Path: "/"})); res.Seen != nil {
		t.Errorf("nobody looks, and %+v was seen", res.Seen)
	}
}

func TestAResultHasTheBytesOfADatagramAndACommandsOutput(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		buf := make([]byte, 100)
		_, from, err := conn.ReadFrom(buf)
		if err == nil {
			conn.WriteTo([]byte("pong!"), from)
		}
	}()
	res := observe(t, health.Checker{Kind: health.UDPCheck, Target: netip.MustParseAddrPort(conn.LocalAddr().String()), ConnectTimeout: 5 * time.Second,
		UDP: &health.UDP{Payload: []byte("ping"), NeedReply: true}})
	if !res.OK || res.Seen == nil || res.Seen.Sent != 4 || res.Seen.Received != 5 || string(res.Seen.First) != "pong!" {
		t.Errorf("%+v, %+v", res, res.Seen)
	}
	if res := observe(t, health.Checker{Kind: health.TCPCheck, Target: netip.MustParseAddrPort(conn.LocalAddr().String()), ConnectTimeout: time.Second}); res.Seen != nil {
		t.Errorf("nothing came, and %+v was seen", res.Seen)
	}
}

// The command that "vipd why" prints must ask the server the same as the check did.
func TestTheCommandByHandAsksTheSame(t *testing.T) {
	need.Tool(t, "curl")
	for name, row := range map[string]struct {
		kind health.Kind
		http health.HTTP
		url  health.URL
	}{
		"HTTP 1.0":                  {health.HTTPGet, health.HTTP{}, health.URL{Path: "/x?a=1&b=[2]"}},
		"HTTP 1.1, a virtual host":  {health.HTTPGet, health.HTTP{Protocol: "1.1", VirtualHost: "www.example.com"}, health.URL{Path: "/a/../b"}},
		"a host that is not a word": {health.HTTPGet, health.HTTP{Protocol: "1.0C"}, health.URL{Path: "/", VirtualHost: "it's"}},
		"TLS without a name":        {health.SSLGet, health.HTTP{}, health.URL{Path: "/"}},
		"TLS with a name":           {health.SSLGet, health.HTTP{SNIName: "other.example.com", VirtualHost: "www.example.com"}, health.URL{Path: "/"}},
		"TLS with the host's name":  {health.SSLGet, health.HTTP{SNI: true, Protocol: "1.1", VirtualHost: "www.example.com"}, health.URL{Path: "/"}},
	} {
		t.Run(name, func(t *testing.T) {
			web := &asked{}
			srv := httptest.NewUnstartedServer(web)
			srv.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
			if row.kind == health.SSLGet {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			c := pageOf(srv, row.kind, row.http, row.url)
			Run(t.Context(), c)
			out, err := exec.CommandContext(t.Context(), "sh", "-c", c.ByHand("")).CombinedOutput()
			if err != nil || string(out) != "418\n" {
				t.Errorf("%s\n%v: %s", c.ByHand(""), err, out)
			}
			if len(web.all) != 2 || web.all[0] != web.all[1] {
				t.Errorf("the check and the command ask:\n%s", strings.Join(web.all, "\n"))
			}
		})
	}
}
