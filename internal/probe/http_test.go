package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"vipd/internal/health"
)

// serving runs a server of one function, which gets every connection.
func serving(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func webCheck(to netip.AddrPort, u health.URL) health.Checker {
	return health.Checker{Kind: health.HTTPGet, Target: to, ConnectTimeout: 5 * time.Second, HTTP: &health.HTTP{URLs: []health.URL{u}}}
}

// answering answers every request with the same bytes and then closes.
func answering(t *testing.T, text string) netip.AddrPort {
	return serving(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			conn.Write([]byte(text))
		}
	})
}

func TestAPageIsGoodOrTellsWhyNot(t *testing.T) {
	sum := md5.Sum([]byte("hello world"))
	digest := hex.EncodeToString(sum[:])
	for name, c := range map[string]struct {
		answer string
		url    health.URL
		want   health.Result
	}{
		"200":                                {"HTTP/1.1 200 OK\r\n\r\nhello", health.URL{}, health.Result{OK: true, Matched: "HTTP status code"}},
		"204 without a body":                 {"HTTP/1.0 204 No Content\r\n\r\n", health.URL{}, health.Result{OK: true, Matched: "HTTP status code"}},
		"404":                                {"HTTP/1.1 404 Not Found\r\n\r\n", health.URL{}, health.Result{Why: "status code 404", Said: "HTTP status code error to"}},
		"404 that is asked for":              {"HTTP/1.1 404 Not Found\r\n\r\n", health.URL{Codes: [][2]int{{200, 200}, {400, 499}}}, health.Result{OK: true, Matched: "HTTP status code"}},
		"200 where 300 to 302 is asked for":  {"HTTP/1.1 200 OK\r\n\r\n", health.URL{Codes: [][2]int{{300, 302}}}, health.Result{Why: "status code 200", Said: "HTTP status code error to"}},
		"a digest":                           {"HTTP/1.1 200 OK\r\n\r\nhello world", health.URL{Digest: strings.ToUpper(digest)}, health.Result{OK: true, Matched: "MD5 digest"}},
		"a digest of what the length says":   {"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world and more", health.URL{Digest: digest}, health.Result{OK: true, Matched: "MD5 digest"}},
		"another digest":                     {"HTTP/1.1 200 OK\r\n\r\nhello", health.URL{Digest: digest}, health.Result{Why: "the page's digest is 5d41402abc4b2a76b9719d911017c592, not " + digest, Said: "MD5 digest error to"}},
		"a regex":                            {"HTTP/1.1 200 OK\r\n\r\nall is Well", health.URL{Regex: `is\s+(?i:well)\b`}, health.Result{OK: true, Matched: "Regex match"}},
		"a regex that looks behind and back": {"HTTP/1.1 200 OK\r\n\r\nab-ab", health.URL{Regex: `(ab)-(?=ab)\1$`}, health.Result{OK: true, Matched: "Regex match"}},
		"a regex of no page":                 {"HTTP/1.1 200 OK\r\n\r\nall is well", health.URL{Regex: "ill"}, health.Result{Why: "the page does not match the regex", Said: "Regex match failed"}},
		"a regex that must not match":        {"HTTP/1.1 200 OK\r\n\r\nan error", health.URL{Regex: "error", RegexNot: true}, health.Result{Why: "the page matches the regex", Said: "Regex match failed"}},
		"a regex without regard of case":     {"HTTP/1.1 200 OK\r\n\r\nWELL", health.URL{Regex: "^well$", RegexOptions: []string{"caseless"}}, health.Result{OK: true, Matched: "Regex match"}},
		"a regex behind its last offset":     {"HTTP/1.1 200 OK\r\n\r\n0123456789well", health.URL{Regex: "well", RegexMax: 10}, health.Result{Why: "the page does not match the regex", Said: "Regex match failed"}},
		"a regex from an offset on":          {"HTTP/1.1 200 OK\r\n\r\nwell 9 well", health.URL{Regex: "well", RegexMin: 3, RegexMax: 8}, health.Result{OK: true, Matched: "Regex match"}},
		"a regex that is none":               {"HTTP/1.1 200 OK\r\n\r\n", health.URL{Regex: "("}, health.Result{Why: "regex: error parsing regexp: missing closing ) in `(`", Said: "Regex match failed"}},
		"no answer at all":                   {"", health.URL{}, health.Result{Why: "no complete answer: nothing came", Said: "Read, no data received from "}},
		"something else than HTTP":           {"220 mail ESMTP\r\n", health.URL{}, health.Result{Why: `no complete answer: "220 mail ESMTP\r\n"`, Said: "Read, no data received from "}},
		"headers of nothing":                 {"\x00\xff\r\n\r\n", health.URL{}, health.Result{Why: "status code 0", Said: "HTTP status code error to"}},
		"a length that is not true":          {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", health.URL{}, health.Result{OK: true, Matched: "HTTP status code"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.url.Path = "/"
			got := Run(t.Context(), webCheck(answering(t, c.answer), c.url))
			if got.Took = 0; got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestTheRequestIsKeepaliveds(t *testing.T) {
	to := netip.MustParseAddrPort("[fd00::1]:8080")
	for want, c := range map[string]health.Checker{
		"GET /x HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [fd00::1]:8080\r\n\r\n":                   {Target: to, HTTP: &health.HTTP{}},
		"GET /x HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: w.example\r\n\r\n":   {Target: to, HTTP: &health.HTTP{Protocol: "1.0C", VirtualHost: "w.example"}},
		"GET /x HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: 10.0.0.1:80\r\n\r\n": {Target: netip.MustParseAddrPort("10.0.0.1:80"), HTTP: &health.HTTP{Protocol: "1.1"}},
	} {
		if got := string(request(c, &health.URL{Path: "/x"})); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	if got := string(request(health.Checker{HTTP: &health.HTTP{VirtualHost: "w"}}, &health.URL{Path: "/", VirtualHost: "u"})); !strings.Contains(got, "Host: u\r\n") {
		t.Errorf("the page's own virtual host does not win: %q", got)
	}
}

// Whatever a server does, a check ends in bounded time and memory and says why.
func TestAHostileServerEndsACheckInTime(t *testing.T) {
	endless := func(conn net.Conn, head, part string, pause time.Duration) {
		conn.Write([]byte(head))
		for {
			if _, err := conn.Write([]byte(part)); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	for name, c := range map[string]struct {
		serve func(net.Conn)
		why   string
	}{
		"silence":          {func(conn net.Conn) { conn.Read(make([]byte, 1<<10)); conn.Read(make([]byte, 1)) }, "no answer within 1s"},
		"a byte at a time": {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 OK\r\n", "x", 50*time.Millisecond) }, "the answer took longer than 4s"},
		"a body at a drip": {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 OK\r\n\r\n", "x", 50*time.Millisecond) }, "the answer took longer than 4s"},
		"endless headers":  {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 OK\r\n", strings.Repeat("x", 4096), 0) }, "the headers are longer than 64 KiB"},
		"a reset":          {func(conn net.Conn) { conn.Read(make([]byte, 1<<10)); conn.(*net.TCPConn).SetLinger(0) }, "connection reset"},
		"a page that hangs": {func(conn net.Conn) {
			conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe"))
			conn.Read(make([]byte, 1<<10))
			conn.Read(make([]byte, 1))
		}, "no answer within 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := webCheck(serving(t, c.serve), health.URL{Path: "/"})
			check.ConnectTimeout = time.Second
			start := time.Now()
			if got := Run(t.Context(), check); got.OK || got.Why != c.why {
				t.Errorf("%+v, want %s", got, c.why)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAPageWithoutEndIsTooLong(t *testing.T) {
	a := &answer{sum: md5.New(), left: -1}
	if why := a.take([]byte("HTTP/1.1 200 OK\r\n\r\n")); why != "" {
		t.Fatal(why)
	}
	part := bytes.Repeat([]byte("x"), 1<<20)
	for range maxBody >> 20 {
		if why := a.take(part); why != "" {
			t.Fatal(why)
		}
	}
	if why := a.take(part); why != "the page is longer than 64 MiB" {
		t.Errorf("it says %q", why)
	}
}

func TestAPageOverTLS(t *testing.T) {
	names := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.ServerName + " " + r.Host
		fmt.Fprint(w, "well")
	}))
	server.TLS = &tls.Config{}
	server.StartTLS()
	defer server.Close()
	to := netip.MustParseAddrPort(server.Listener.Addr().String())
	for want, page := range map[string]health.HTTP{
		" " + to.String():         {},
		"www.example www.example": {SNI: true, VirtualHost: "www.example"},
		"sni.example www.example": {SNI: true, VirtualHost: "www.example", SNIName: "sni.example"},
	} {
		page.TLS, page.URLs = true, []health.URL{{Path: "/", Regex: "well"}}
		res := Run(t.Context(), health.Checker{Kind: health.SSLGet, Target: to, ConnectTimeout: 5 * time.Second, HTTP: &page})
		if !res.OK {
			t.Fatalf("%+v", res)
		}
		if got := <-names; got != want {
			t.Errorf("the server was asked for %q, want %q", got, want)
		}
	}
	plain := answering(t, "HTTP/1.1 200 OK\r\n\r\n")
	res := Run(t.Context(), health.Checker{Kind: health.SSLGet, Target: plain, ConnectTimeout: 5 * time.Second, HTTP: &health.HTTP{TLS: true, URLs: []health.URL{{Path: "/"}}}})
	if res.OK || !strings.HasPrefix(res.Why, "TLS: ") || res.Said != "SSL handshake/communication error connecting to" {
		t.Errorf("without TLS: %+v", res)
	}
}

// TestTheEndOfTLSIsNotThatOfItsConnection: what makes a difference for the words, and with tls_compliant for the verdict.
func TestTheEndOfTLSIsNotThatOfItsConnection(t *testing.T) {
	own := httptest.NewTLSServer(nil)
	defer own.Close()
	for name, row := range map[string]struct {
		page            string
		ends, compliant bool
		ok              bool
		said            string
	}{
		"a page, ended":                       {"HTTP/1.0 200 OK\r\n\r\nwell", true, false, true, ""},
		"a page, ended, tls_compliant":        {"HTTP/1.0 200 OK\r\n\r\nwell", true, true, true, ""},
		"a page, cut":                         {"HTTP/1.0 200 OK\r\n\r\nwell", false, false, true, ""},
		"a page, cut, tls_compliant":          {"HTTP/1.0 200 OK\r\n\r\nwell", false, true, false, "Read error with"},
		"a whole page, cut, tls_compliant":    {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nwell", false, true, true, ""},
		"nothing, ended":                      {"", true, false, false, "SSL read error from"},
		"nothing, cut":                        {"", false, false, false, "Read, no data received from "},
		"the beginning of a head, then ended": {"HTTP/1.0 200 OK\r\n", true, false, false, "SSL read error from"},
	} {
		to := serving(t, func(conn net.Conn) {
			secure := tls.Server(conn, own.TLS)
			if _, err := secure.Read(make([]byte, 4096)); err != nil {
				return
			}
			_, _ = io.WriteString(secure, row.page)
			if row.ends {
				_ = secure.CloseWrite()
			}
		})
		res := Run(t.Context(), health.Checker{Kind: health.SSLGet, Target: to, ConnectTimeout: 5 * time.Second, HTTP: &health.HTTP{TLS: true, TLSCompliant: row.compliant, URLs: []health.URL{{Path: "/"}}}})
		if res.OK != row.ok || res.Said != row.said {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func TestAnEndedContextIsNoVerdict(t *testing.T) {
	to := serving(t, func(conn net.Conn) { conn.Read(make([]byte, 1<<10)); conn.Read(make([]byte, 1)) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := Run(ctx, webCheck(to, health.URL{Path: "/"})); !got.Inconclusive {
		t.Errorf("%+v", got)
	}
}

// FuzzAnswer: whatever comes, however it is cut, is judged and kept within bounds.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), uint8(3))
	f.Add([]byte("HTTP/1.1 \r\nContent-Length: -5\r\n\r\n"), uint8(1))
	f.Add([]byte("HTTP/9 999999999999 x\r\ncontent-length: 99999999999999999999\r\n\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		whole, parts := &answer{sum: md5.New(), left: -1, keep: true}, &answer{sum: md5.New(), left: -1, keep: true}
		whole.take(b)
		for rest := b; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			if parts.take(rest[:n]) != "" {
				return
			}
			rest = rest[n:]
		}
		u := &health.URL{Codes: [][2]int{{0, 999}}, Digest: "00"}
		if got, want := parts.judge(u, nil), whole.judge(u, nil); got != want {
			t.Errorf("in parts of %d: %+v, as a whole %+v", step+1, got, want)
		}
	})
}
