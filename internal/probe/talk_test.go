package probe

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vipd/internal/health"
)

// saying serves one answer for each read of a request; the first one at once, if it is not empty.
func saying(t *testing.T, answers ...string) netip.AddrPort {
	return serving(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for i, a := range answers {
			if i > 0 {
				if _, err := in.Read(make([]byte, 4096)); err != nil {
					return
				}
			}
			if _, err := io.WriteString(conn, a); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, in)
	})
}

var (
	mysqlHello  = string(mysqlFrame(0, []byte("\x0a10.11.6-MariaDB\x00\x01\x00\x00\x00saltsalt\x00\xff\xf7\x08\x02\x00\x00\x00\x15\x00\x00\x00\x00")))
	mysqlOK     = string(mysqlFrame(2, []byte("\x00\x00\x00\x02\x00\x00\x00")))
	mysqlDenied = string(mysqlFrame(2, []byte("\xff\x15\x04#28000Access denied")))
	mysqlFull   = string(mysqlFrame(0, []byte("\xff\x10\x04Too many connections!")))
	mysqlSwitch = string(mysqlFrame(2, []byte("\xfeother\x00")))
	pgPassword  = "R\x00\x00\x00\x0c\x00\x00\x00\x05salt"
)

func pgError(code, text string) string {
	b := "SFATAL\x00C" + code + "\x00M" + text + "\x00\x00"
	return "E\x00\x00\x00" + string(rune(len(b)+4)) + b
}

func TestConversationsOfOurOwn(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    health.Kind
		talk    health.Talk
		answers []string
		why     string // "" is good
	}{
		{"it serves", health.RedisCheck, health.Talk{}, []string{"", "+PONG\r\n"}, ""},
		{"it wants a password", health.RedisCheck, health.Talk{}, []string{"", "-NOAUTH Authentication required.\r\n"}, `it says "-NOAUTH Authentication required.", expected +PONG`},
		{"it loads", health.RedisCheck, health.Talk{}, []string{"", "-LOADING Redis is loading the dataset in memory\r\n"}, `it says "-LOADING Redis is loading the dataset in", expected +PONG`},
		{"it serves", health.MemcachedCheck, health.Talk{}, []string{"", "VERSION 1.6.18\r\n"}, ""},
		{"it is another", health.MemcachedCheck, health.Talk{}, []string{"", "ERROR\r\n"}, `it says "ERROR", expected VERSION …`},
		{"it greets", health.MySQLCheck, health.Talk{}, []string{mysqlHello}, ""},
		{"it is full", health.MySQLCheck, health.Talk{}, []string{mysqlFull}, `error 1040: "Too many connections!"`},
		{"it lets the user in", health.MySQLCheck, health.Talk{User: "check"}, []string{mysqlHello, mysqlOK}, ""},
		{"it knows no such user", health.MySQLCheck, health.Talk{User: "check"}, []string{mysqlHello, mysqlDenied}, `error 1045: "Access denied"`},
		{"it wants another method", health.MySQLCheck, health.Talk{User: "check"}, []string{mysqlHello, mysqlSwitch, mysqlOK}, ""},
		{"it is another", health.MySQLCheck, health.Talk{}, []string{"220 mail ESMTP\r\n"}, `it is no MySQL server: it begins with "220 "`},
		{"it asks for a password", health.PostgreSQLCheck, health.Talk{}, []string{"", pgPassword}, ""},
		{"it knows no such user", health.PostgreSQLCheck, health.Talk{}, []string{"", pgError("28000", "role does not exist")}, ""},
		{"it knows no such database", health.PostgreSQLCheck, health.Talk{}, []string{"", pgError("3D000", "database does not exist")}, ""},
		{"it starts", health.PostgreSQLCheck, health.Talk{}, []string{"", pgError("57P03", "the database system is starting up")}, `it says "the database system is starting up" ("57P03")`},
		{"it is another", health.PostgreSQLCheck, health.Talk{}, []string{"", "HTTP/1.1 400 Bad Request\r\n"}, `it is no PostgreSQL server: it begins with "HTTP/"`},
		{"it greets", health.FTPCheck, health.Talk{}, []string{"220 (vsFTPd 3.0.3)\r\n", "221 Goodbye.\r\n"}, ""},
		{"it greets at length", health.FTPCheck, health.Talk{}, []string{"220-Welcome\r\n 220 no\r\n220 ready\r\n", "221 bye\r\n"}, ""},
		{"it is full", health.FTPCheck, health.Talk{}, []string{"421 Too many users\r\n"}, `it says "421 Too many users\r\n", expected 220`},
		{"it says something else", health.AgentCheck, health.Talk{}, []string{"hello\n"}, `it says "hello", expected up, down, fail, stopped, ready, drain, maint or a weight in %`},
		{"it is asked", health.AgentCheck, health.Talk{Send: "how\n"}, []string{"", "up 80%\n"}, ""},
	} {
		t.Run(string(c.kind)+", "+c.name, func(t *testing.T) {
			res := Run(t.Context(), health.Checker{Kind: c.kind, Talk: &c.talk, Target: saying(t, c.answers...), ConnectTimeout: 10 * time.Second})
			if res.OK != (c.why == "") || res.Why != c.why || res.Inconclusive {
				t.Errorf("%+v, want %q", res, c.why)
			}
		})
	}
}

func TestRedisIsToldThePassword(t *testing.T) {
	heard := make(chan string, 1)
	at := serving(t, func(conn net.Conn) {
		buf := make([]byte, 100)
		n, _ := conn.Read(buf)
		heard <- string(buf[:n])
		fmt.Fprint(conn, "+OK\r\n")
		_, _ = conn.Read(buf)
		fmt.Fprint(conn, "+PONG\r\n")
	})
	res := Run(t.Context(), health.Checker{Kind: health.RedisCheck, Talk: &health.Talk{Password: "a b"}, Target: at, ConnectTimeout: 10 * time.Second})
	if got := <-heard; !res.OK || got != "*2\r\n$4\r\nAUTH\r\n$3\r\na b\r\n" {
		t.Errorf("%+v, heard %q", res, got)
	}
}

func h2Server(t *testing.T, secure bool, h http.HandlerFunc) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = secure
	if !secure {
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
	} else {
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	return srv
}

func TestPagesOverHTTP2(t *testing.T) {
	for _, secure := range []bool{false, true} {
		srv := h2Server(t, secure, func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || r.Host != "www.example.com" || r.UserAgent() != "KeepAliveClient" {
				w.WriteHeader(http.StatusTeapot)
			}
			fmt.Fprint(w, "well")
		})
		kind := health.HTTPGet
		if secure {
			kind = health.SSLGet
		}
		res := observe(t, pageOf(srv, kind, health.HTTP{Protocol: "2", VirtualHost: "www.example.com"}, health.URL{Path: "/", Regex: "^well$"}))
		if !res.OK || res.Matched != "Regex match" || res.Seen == nil || res.Seen.Status != 200 {
			t.Errorf("TLS %v: %+v", secure, res)
		}
		res = Run(t.Context(), pageOf(srv, kind, health.HTTP{Protocol: "2"}, health.URL{Path: "/"}))
		if res.OK || res.Why != "status code 418" {
			t.Errorf("TLS %v: %+v", secure, res)
		}
	}
	old := httptest.NewTLSServer(http.NotFoundHandler())
	defer old.Close()
	if res := Run(t.Context(), pageOf(old, health.SSLGet, health.HTTP{Protocol: "2"}, health.URL{Path: "/"})); res.OK || !strings.HasPrefix(res.Why, "TLS: ") {
		t.Errorf("%+v", res)
	}
}

func TestGRPCHealth(t *testing.T) {
	for _, secure := range []bool{false, true} {
		srv := h2Server(t, secure, func(w http.ResponseWriter, r *http.Request) {
			ask, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
			switch string(ask) {
			case "\x00\x00\x00\x00\x00":
				_, _ = w.Write([]byte("\x00\x00\x00\x00\x02\x08\x01"))
			case "\x00\x00\x00\x00\x05\x0a\x03pay":
				_, _ = w.Write([]byte("\x00\x00\x00\x00\x02\x08\x02"))
			default:
				w.Header().Set("Grpc-Status", "5")
				w.Header().Set("Grpc-Message", "unknown service")
				return
			}
			w.Header().Set("Grpc-Status", "0")
		})
		for service, why := range map[string]string{"": "", "pay": "it says NOT_SERVING, expected SERVING", "other": `gRPC status "5": "unknown service"`} {
			res := Run(t.Context(), health.Checker{Kind: health.GRPCCheck, Talk: &health.Talk{Service: service, TLS: secure},
				Target: netip.MustParseAddrPort(srv.Listener.Addr().String()), ConnectTimeout: 10 * time.Second})
			if res.OK != (why == "") || res.Why != why {
				t.Errorf("TLS %v, service %q: %+v", secure, service, res)
			}
		}
	}
}

// TestGRPCOverTLSLooksAtTheCertificate as SSL_GET does, and asks for the host that is said.
func TestGRPCOverTLSLooksAtTheCertificate(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	hosts := make(chan string, 8)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.TLS.ServerName + " " + r.Host
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte("\x00\x00\x00\x00\x02\x08\x01"))
		w.Header().Set("Grpc-Status", "0")
	}))
	srv.TLS, srv.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{ours.certificate(t, 5)}}, true
	srv.StartTLS()
	defer srv.Close()
	target := netip.MustParseAddrPort(srv.Listener.Addr().String())
	for name, c := range map[string]struct {
		host    string
		verify  *health.Verify
		why     string // part of it; "" is good
		warning string
		asked   string
	}{
		"nobody looks":        {"", nil, "", "", " " + target.String()},
		"as it should be":     {"www.example.com", &health.Verify{Chain: true, CA: ours.file}, "", "", "www.example.com www.example.com"},
		"another host":        {"api.example.com", &health.Verify{Chain: true, CA: ours.file}, "not api.example.com", "", ""},
		"another authority":   {"www.example.com", &health.Verify{Chain: true, CA: theirs.file}, "TLS: ", "", ""},
		"it ends soon":        {"www.example.com:443", &health.Verify{Expiry: 14 * 24 * time.Hour}, "", "in 5 days", "www.example.com www.example.com:443"},
		"no such authorities": {"", &health.Verify{Chain: true, CA: "/nowhere"}, "tls_ca", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := Run(t.Context(), health.Checker{Kind: health.GRPCCheck, Talk: &health.Talk{TLS: true, Name: c.host, Verify: c.verify}, Target: target, ConnectTimeout: 30 * time.Second})
			if res.OK != (c.why == "") || !strings.Contains(res.Why, c.why) || !strings.Contains(res.Warning, c.warning) || (res.Warning == "") != (c.warning == "") {
				t.Errorf("%+v", res)
			}
			if looked := c.verify != nil && c.verify.CA != "/nowhere"; looked == res.Ends.IsZero() {
				t.Errorf("it ends %v", res.Ends)
			}
			if c.asked != "" {
				if got := <-hosts; got != c.asked {
					t.Errorf("asked for %q, want %q", got, c.asked)
				}
			}
		})
	}
}

func FuzzAnswersOfOurOwnKinds(f *testing.F) {
	for _, seed := range []string{mysqlHello[4:], mysqlDenied[4:], mysqlSwitch[4:], pgPassword[5:], pgError("57P03", "starting")[5:], "\x00\x00\x00\x00\x02\x08\x01", "\x0a\x7f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		for _, err := range []error{mysqlGreeting(b), postgresVerdict('E', b), postgresVerdict(b[0], b[1:]), grpcVerdict(200, "0", "", b)} {
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("a reason of %d bytes", len(err.Error()))
			}
		}
		_, _ = mysqlVerdict(b)
	})
}
