package probe

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
)

// streams are the kinds that talk over a connection, each way of talking that they have.
var streams = map[string]health.Checker{
	"HTTP_GET":                  {Kind: health.HTTPGet, HTTP: &health.HTTP{URLs: []health.URL{{Path: "/"}}}},
	"HTTP_GET 1.1":              {Kind: health.HTTPGet, HTTP: &health.HTTP{Protocol: "1.1", URLs: []health.URL{{Path: "/", Regex: "good"}}}},
	"HTTP_GET 2":                {Kind: health.HTTPGet, HTTP: &health.HTTP{Protocol: "2", URLs: []health.URL{{Path: "/"}}}},
	"SSL_GET":                   {Kind: health.SSLGet, HTTP: &health.HTTP{TLS: true, URLs: []health.URL{{Path: "/", Digest: wellDigest}}}},
	"SSL_GET 2":                 {Kind: health.SSLGet, HTTP: &health.HTTP{TLS: true, Protocol: "2", URLs: []health.URL{{Path: "/", Regex: "good"}}}},
	"SMTP_CHECK":                {Kind: health.SMTPCheck},
	"REDIS_CHECK":               {Kind: health.RedisCheck},
	"REDIS_CHECK, a password":   {Kind: health.RedisCheck, Talk: &health.Talk{Password: "secret"}},
	"MEMCACHED_CHECK":           {Kind: health.MemcachedCheck},
	"MYSQL_CHECK":               {Kind: health.MySQLCheck},
	"MYSQL_CHECK, a user":       {Kind: health.MySQLCheck, Talk: &health.Talk{User: "check"}},
	"POSTGRESQL_CHECK":          {Kind: health.PostgreSQLCheck},
	"FTP_CHECK":                 {Kind: health.FTPCheck},
	"GRPC_CHECK":                {Kind: health.GRPCCheck},
	"GRPC_CHECK over TLS":       {Kind: health.GRPCCheck, Talk: &health.Talk{TLS: true}},
	"AGENT_CHECK":               {Kind: health.AgentCheck},
	"AGENT_CHECK, a first line": {Kind: health.AgentCheck, Talk: &health.Talk{Send: "how\n"}},
}

// secure tells of the ways that begin with TLS.
func secure(c health.Checker) bool {
	return c.HTTP != nil && c.HTTP.TLS || c.Talk != nil && c.Talk.TLS
}

// TestEveryKindHasAHostileServer: none is forgotten in the tables of this file.
func TestEveryKindHasAHostileServer(t *testing.T) {
	met := map[health.Kind]bool{health.TCPCheck: true, health.UDPCheck: true, health.DNSCheck: true, health.PingCheck: true, health.FileCheck: true}
	for _, c := range streams {
		met[c.Kind] = true
	}
	for kind := range kinds {
		if !met[kind] {
			t.Errorf("%s has none", kind)
		}
	}
}

const impatient = 150 * time.Millisecond // connect_timeout

// atLast is by when something must have ended: far above what is promised, nothing is decided by it but that it ends.
const atLast = 30 * time.Second

// drip says a byte at a time, over and over.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			time.Sleep(impatient / 3)
		}
	}
}

// flood says head and then body, over and over.
func flood(head, body string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, head); err != nil {
			return
		}
		for chunk := strings.Repeat(body, 1+64<<10/len(body)); ; {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}
}

// then says something and is silent.
func then(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, text); err == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
	}
}

const (
	h2Settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	h2Headers  = "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x88"            // ":status: 200", and it is not all
	h2More     = "\x00\x00\x06\x09\x00\x00\x00\x00\x01\x40\x01a\x02bb" // a CONTINUATION with one field
)

var hostile = map[string]func(net.Conn){
	"silence":               func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	"half open":             func(conn net.Conn) { closeWrite(conn); _, _ = io.Copy(io.Discard, conn) },
	"reset":                 func(conn net.Conn) { linger(conn) },
	"a slow drip":           drip("x"),
	"slow garbage":          drip("\x00\xff\x16\x03"),
	"endless garbage":       flood("", "\xde\xad\xbe\xef"),
	"endless zeros":         flood("", "\x00"),
	"endless 0xff":          flood("", "\xff"),
	"an endless line":       flood("", "x"),
	"an endless head":       flood("HTTP/1.1 200 OK\r\n", "X-Header: value\r\n"),
	"an endless page":       flood("HTTP/1.1 200 OK\r\n\r\n", "page "),
	"a page that stops":     then("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\npage"),
	"a page in drips":       func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); drip("page ")(conn) },
	"endless 220-":          flood("", "220-more\r\n"),
	"220- in drips":         drip("220-more\r\n"),
	"endless settings":      flood("", h2Settings),
	"endless headers":       flood(h2Settings+h2Headers, h2More), // of HTTP/2: CONTINUATION without END_HEADERS
	"a giant of MySQL":      then("\xff\xff\xff\x00\x0a"),
	"a giant of PostgreSQL": then("R\x7f\xff\xff\xff\x00\x00\x00\x05"),
	"errors of PostgreSQL":  flood("E\x7f\xff\xff\xff", "Mmuch\x00"),
	"half a greeting":       then(mysqlHello[:20]),
	"redis without an end":  flood("+", "PONG"),
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func linger(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	_ = conn.(*counted).Conn.(*net.TCPConn).SetLinger(0)
}

// counted notes how much the most talkative connection has said.
type counted struct {
	net.Conn
	said int64
	most *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.said += int64(n)
	for m := c.most.Load(); c.said > m && !c.most.CompareAndSwap(m, c.said); m = c.most.Load() {
	}
	return n, err
}

func (c *counted) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// behindTLS serves so after a handshake.
func behindTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		inner := tls.Server(conn, config)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if inner.Handshake() == nil {
			_ = conn.SetDeadline(time.Time{})
			serve(inner)
		}
	}
}

// TestHostileServersGetAVerdictInBoundedTime: whatever a server does, a check ends with a failure and a reason, and has not
// read without a bound.
func TestHostileServersGetAVerdictInBoundedTime(t *testing.T) {
	// What a check may read, and what the sockets between may hold.
	const most, sockets = maxBody, 16 << 20
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for name, serve := range hostile {
		t.Run(name, func(t *testing.T) {
			var said atomic.Int64
			at := serving(t, func(conn net.Conn) { serve(&counted{Conn: conn, most: &said}) })
			within := serving(t, func(conn net.Conn) { behindTLS(srv.TLS, serve)(&counted{Conn: conn, most: &said}) })
			var all sync.WaitGroup
			for kind, c := range streams {
				c.Target, c.ConnectTimeout = at, impatient
				all.Go(func() { beHostile(t, kind, c) })
				if inner := c; secure(c) {
					inner.Target = within
					all.Go(func() { beHostile(t, kind+", behind TLS", inner) })
				}
			}
			all.Wait()
			limit := int64(sockets)
			if strings.HasPrefix(name, "an endless page") {
				limit += most
			}
			if n := said.Load(); n > limit {
				t.Errorf("a check took %d MiB", n>>20)
			}
		})
	}
}

func beHostile(t *testing.T, name string, c health.Checker) {
	start := time.Now()
	res := Run(t.Context(), c)
	if took := time.Since(start); took > atLast {
		t.Errorf("%s took %v", name, took)
	}
	if res.OK || res.Why == "" || res.Inconclusive {
		t.Errorf("%s: %+v", name, res)
	}
}

// TestAGibibyteOfHeadersTakesLittleMemory, nor does one of anything else that is not a page. What is counted is all that is
// ever allocated meanwhile, which is more than there is at a time.
func TestAGibibyteOfHeadersTakesLittleMemory(t *testing.T) {
	const most = 4 << 20
	for kind, c := range streams {
		if secure(c) {
			continue // the sender's TLS would count too
		}
		for name, text := range map[string]string{"headers": "X-Header: value\r\n", "220-": "220-more\r\n", "zeros": "\x00"} {
			chunk := []byte(strings.Repeat(text, 1<<20/len(text)))
			c.ConnectTimeout = 5 * time.Second
			c.Target = serving(t, func(conn net.Conn) {
				if name == "headers" {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				}
				for range 1 << 10 {
					if _, err := conn.Write(chunk); err != nil {
						return
					}
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res := Run(t.Context(), c)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; res.OK || took > most {
				t.Errorf("%s, %s: %d KiB, %+v", kind, name, took>>10, res)
			}
		}
	}
}

// TestHostileDatagrams: floods, giants and what is nobody's answer.
func TestHostileDatagrams(t *testing.T) {
	giant := make([]byte, 60<<10)
	for name, answer := range map[string]func([]byte) [][]byte{
		"a flood": func([]byte) (all [][]byte) {
			for i := range 2000 {
				all = append(all, fmt.Appendf(nil, "garbage %d", i))
			}
			return all
		},
		"nothing in it":           func([]byte) [][]byte { return [][]byte{{}, {}, {}} },
		"giants":                  func([]byte) [][]byte { return [][]byte{giant, giant, giant} },
		"our own words":           func(q []byte) [][]byte { return [][]byte{append([]byte{}, q...)} },
		"half of a header":        func(q []byte) [][]byte { return [][]byte{append([]byte{}, q[:3]...)} },
		"an answer that is cut":   func(q []byte) [][]byte { return [][]byte{append(append([]byte{}, q[:2]...), 0x81)} },
		"somebody else's answers": func(q []byte) [][]byte { return [][]byte{{q[0], ^q[1], 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}} },
	} {
		for _, c := range []health.Checker{
			{Kind: health.DNSCheck, DNS: &health.DNS{Name: "www.example."}},
			{Kind: health.UDPCheck, UDP: &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("well"), Min: 4, Max: 255}},
		} {
			t.Run(fmt.Sprintf("%s, %s", c.Kind, name), func(t *testing.T) {
				t.Parallel()
				c.Target, c.ConnectTimeout = datagrams(t, answer), impatient
				start := time.Now()
				res := Run(t.Context(), c)
				if took := time.Since(start); took > atLast || res.OK || res.Why == "" || res.Inconclusive {
					t.Errorf("%+v after %v", res, took)
				}
			})
		}
	}
}

// TestHostileConnections of TCP_CHECK, which says nothing: what is accepted is good, whatever follows.
func TestHostileConnections(t *testing.T) {
	r := NewRunner(nil, nil)
	defer r.Close()
	for name, serve := range hostile {
		var said atomic.Int64
		c := health.Checker{Kind: health.TCPCheck, ConnectTimeout: 10 * time.Second,
			Target: serving(t, func(conn net.Conn) { serve(&counted{Conn: conn, most: &said}) })}
		if res := ask(t, r, c); !res.OK && !(name == "reset" && res.Why == "connection reset") {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

// TestHostileCommandsAndFiles: output without end, children that hold the pipe, signals that are ignored; files that are none.
func TestHostileCommandsAndFiles(t *testing.T) {
	ready := func(s *health.Script) (host.Command, bool) { return host.Command{Args: s.Args}, true }
	for name, line := range map[string]string{
		"output without end": "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done",
		"it will not end":    "trap '' TERM INT HUP; while :; do sleep 0.05; done",
		"children":           "sleep 100 & sleep 100 & wait",
		"a child of its own": "setsid sleep 3 & while :; do sleep 0.05; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			res := run(t.Context(), health.Checker{Kind: health.MiscCheck, DelayLoop: time.Minute,
				Script: &health.Script{Args: []string{"/bin/sh", "-c", line}, Timeout: impatient}}, ready)
			if took := time.Since(start); took > atLast || res.OK || res.Why != "the command took too long" {
				t.Errorf("%+v after %v", res, took)
			}
		})
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(fifo, os.O_RDWR, 0) // somebody who never writes
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, path := range []string{fifo, "/dev/zero", os.TempDir(), "/dev/full"} {
		start := time.Now()
		res := Run(t.Context(), health.Checker{Kind: health.FileCheck, File: &health.File{Path: path, Weight: 1}})
		if took := time.Since(start); took > atLast || !res.Inconclusive || !strings.Contains(res.Why, path) {
			t.Errorf("%s: %+v after %v", path, res, took)
		}
	}
}
