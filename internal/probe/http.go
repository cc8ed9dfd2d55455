package probe

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"vipd/internal/health"
)

// Bounds of an answer: what is longer is a failure, and no more of it is read.
const (
	maxHead = 64 << 10 // of a status line and headers
	maxBody = 64 << 20
	maxText = 1 << 20 // of a body that an expression looks at; what follows is not looked at
)

// web makes HTTP_GET and SSL_GET: one page.
func web(ctx context.Context, c health.Checker) health.Result {
	if c.HTTP == nil || c.URL >= len(c.HTTP.URLs) {
		return health.Result{Inconclusive: true, Why: "there is no page to ask for"}
	}
	u := &c.HTTP.URLs[c.URL]
	match, err := compile(u)
	if err != nil {
		return said(health.Result{Why: "regex: " + err.Error()}, "Regex match failed")
	}
	res := converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		var note health.Result
		if c.HTTP.TLS {
			secure, res := handshake(ctx, conn, c, u, timeout)
			if secure == nil {
				return res
			}
			conn, note = secure, res
		}
		ask := page
		if c.HTTP.Protocol == "2" {
			ask = page2
		}
		return noted(ask(ctx, conn, c, u, match, timeout), note)
	})
	if res.Said == "" && !res.OK {
		res.Said = "Connection failed"
		if res.Timeout {
			res.Said = "Timeout connecting"
		}
	}
	return res
}

// page asks and judges the answer.
func page(ctx context.Context, conn net.Conn, c health.Checker, u *health.URL, match *expression, timeout time.Duration) health.Result {
	a := &answer{sum: md5.New(), left: -1, keep: match != nil}
	if res := a.fetch(conn, c, u, timeout); res.Why != "" {
		return res
	}
	a.witness(ctx, u)
	return a.judge(u, match)
}

// witness notes what was found.
func (a *answer) witness(ctx context.Context, u *health.URL) {
	witnessOf(ctx).note(func(s *health.Seen) {
		if s.Status = a.status; u.Digest != "" {
			s.Digest = hex.EncodeToString(a.sum.Sum(nil))
		}
	})
}

// fetch asks and reads all of the answer. What it returns is a failure, or nothing.
func (a *answer) fetch(conn net.Conn, c health.Checker, u *health.URL, timeout time.Duration) health.Result {
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(request(c, u)); err != nil {
		return said(unread(err, timeout), "Cannot send get request to")
	}
	buf := make([]byte, 16<<10)
	for !a.complete() {
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		n, err := conn.Read(buf)
		if why := a.take(buf[:n]); why != "" {
			return said(health.Result{Why: why}, "Read error with")
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			a.ended = c.HTTP.TLS
			return health.Result{}
		case errors.Is(err, io.ErrUnexpectedEOF) && !c.HTTP.TLSCompliant && !u.TLSCompliant:
			return health.Result{}
		}
		res := unread(err, timeout)
		silence := "Timeout HTTP read"
		if c.HTTP.TLS {
			silence = "Timeout SSL read"
		}
		return said(res, map[bool]string{true: silence, false: "Read error with"}[res.Timeout])
	}
	return health.Result{}
}

// Page is an answer as it came, for those who want to know what a check sees.
type Page struct {
	Head, Body []byte // Body: the first MiB
	Digest     [md5.Size]byte
}

// Fetch asks for the first page of a checker. If there is none, Why of the result says it, and Said in keepalived's words.
func Fetch(ctx context.Context, c health.Checker) (p Page, failed health.Result) {
	u := &c.HTTP.URLs[0]
	failed = converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		if c.HTTP.TLS {
			secure, res := handshake(ctx, conn, c, u, timeout)
			if secure == nil {
				return res
			}
			conn = secure
		}
		a := &answer{sum: md5.New(), left: -1, keep: true}
		if res := a.fetch(conn, c, u, timeout); res.Why != "" {
			return res
		}
		if !a.body {
			return said(health.Result{Why: "no complete answer: " + some(a.head)}, "no data received from remote webserver")
		}
		p.Head, p.Body = a.head, a.text
		a.sum.Sum(p.Digest[:0])
		return health.Result{}
	})
	return p, failed
}

// request is what keepalived asks, byte for byte.
func request(c health.Checker, u *health.URL) []byte {
	minor, closing := 0, ""
	switch c.HTTP.Protocol {
	case "1.1":
		minor, closing = 1, "Connection: close\r\n"
	case "1.0C":
		closing = "Connection: close\r\n"
	}
	host := virtualHost(c, u)
	if host == "" {
		host = c.Target.String()
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.%d\r\nUser-Agent: KeepAliveClient\r\n%sHost: %s\r\n\r\n", u.Path, minor, closing, host)
}

// hostName is a Host header's without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func virtualHost(c health.Checker, u *health.URL) string {
	if u.VirtualHost != "" {
		return u.VirtualHost
	}
	return c.HTTP.VirtualHost
}

// answer is a response while it is read.
type answer struct {
	head    []byte
	body    bool // the headers are complete
	sum     hash.Hash
	size    int
	left    int // bytes of Content-Length that are still to come; -1: not said
	keep    bool
	text    []byte // as much of the body as an expression looks at
	status  int
	nothing bool
	ended   bool // by TLS, of which it came
}

// complete tells that all that Content-Length promises is there.
//
// keepalived: it waits for the end of the connection too.
func (a *answer) complete() bool { return a.body && a.left == 0 }

// take reads a part. It says what is too long.
func (a *answer) take(b []byte) (why string) {
	if !a.body {
		a.head = append(a.head, b...)
		end := bytes.Index(a.head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(a.head) > maxHead {
				return fmt.Sprintf("the headers are longer than %d KiB", maxHead>>10)
			}
			return ""
		}
		b = a.head[end+4:]
		a.head, a.body = a.head[:end], true
		a.status, a.left = statusOf(a.head), lengthOf(a.head)
	}
	if a.size += len(b); a.size > maxBody {
		return fmt.Sprintf("the page is longer than %d MiB", maxBody>>20)
	}
	if a.left >= 0 {
		// keepalived: what comes beyond Content-Length is not part of the digest.
		counted := min(len(b), a.left)
		a.left -= counted
		a.sum.Write(b[:counted])
	} else {
		a.sum.Write(b)
	}
	if a.keep && len(a.text) < maxText {
		a.text = append(a.text, b[:min(len(b), maxText-len(a.text))]...)
	}
	return ""
}

// statusOf reads "HTTP/1.1 200 OK". 0: there is none.
func statusOf(head []byte) int {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	_, rest, ok := strings.Cut(string(line), " ")
	if !ok || !bytes.HasPrefix(line, []byte("HTTP/")) {
		return 0
	}
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return 0
	}
	return n
}

// lengthOf reads Content-Length (RFC 9110 8.6). -1: there is none.
func lengthOf(head []byte) int {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if n, err := strconv.Atoi(strings.TrimSpace(string(value))); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}

// judge compares an answer with what is asked of it, in keepalived's order.
func (a *answer) judge(u *health.URL, match *expression) health.Result {
	if !a.body {
		return said(health.Result{Why: "no complete answer: " + some(a.head)}, map[bool]string{true: "SSL read error from", false: "Read, no data received from "}[a.ended])
	}
	if !good(u.Codes, a.status) {
		return said(health.Result{Why: fmt.Sprintf("status code %d", a.status)}, "HTTP status code error to")
	}
	matched := "HTTP status code"
	if u.Digest != "" {
		matched = "MD5 digest"
		if sum := hex.EncodeToString(a.sum.Sum(nil)); !strings.EqualFold(sum, u.Digest) {
			return said(health.Result{Why: "the page's digest is " + sum + ", not " + u.Digest}, "MD5 digest error to")
		}
	}
	if match != nil {
		matched = "Regex match"
		found, err := match.in(a.text)
		switch {
		case err != nil:
			return said(health.Result{Why: "regex: " + err.Error()}, "Regex match failed")
		case found == u.RegexNot:
			return said(health.Result{Why: map[bool]string{true: "the page matches the regex", false: "the page does not match the regex"}[found]}, "Regex match failed")
		}
	}
	return health.Result{OK: true, Matched: matched}
}

func good(codes [][2]int, status int) bool {
	for _, r := range codes {
		if status >= r[0] && status <= r[1] {
			return true
		}
	}
	return len(codes) == 0 && status >= 200 && status <= 299
}

// some shows the beginning of what came, so that a person sees what kind of thing it is.
func some(b []byte) string {
	const shown = 40
	if len(b) == 0 {
		return "nothing came"
	}
	return strconv.Quote(string(b[:min(len(b), shown)]))
}

// handshake makes TLS of a connection. keepalived: certificates of real servers are not verified, which tls_verify asks for
// here, and old versions and ciphers are good enough for a check.
func handshake(ctx context.Context, conn net.Conn, c health.Checker, u *health.URL, timeout time.Duration) (net.Conn, health.Result) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: allCiphers()}
	if c.HTTP.SNI || c.HTTP.SNIName != "" {
		config.ServerName = c.HTTP.SNIName
		if config.ServerName == "" {
			config.ServerName = virtualHost(c, u)
		}
	}
	if c.HTTP.Protocol == "2" {
		config.NextProtos = []string{"h2"}
	}
	var note health.Result
	name := config.ServerName
	if name == "" {
		name = virtualHost(c, u)
	}
	verify(ctx, config, c.HTTP.Verify, hostName(name), &note)
	if err := clientCertificate(ctx, config, c.HTTP.Client); err != nil {
		return nil, health.Result{Inconclusive: true, Why: err.Error()}
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if len(config.NextProtos) == 0 {
		conn = tlsEnds{conn}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		var setup *setupError
		if errors.As(err, &setup) {
			return nil, health.Result{Inconclusive: true, Why: setup.Error()}
		}
		res := noted(unread(err, timeout), note)
		res.Why = "TLS: " + res.Why
		return nil, said(res, map[bool]string{true: "Timeout connecting", false: "SSL handshake/communication error connecting to"}[res.Timeout])
	}
	if len(config.NextProtos) > 0 {
		if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
			return nil, said(health.Result{Why: "the server does not speak HTTP/2"}, "SSL handshake/communication error connecting to")
		}
		return secure, note // which net/http wants as it is
	}
	return watch(ctx, secure), note
}

// errCut is the end of a connection where TLS has not ended.
var errCut = fmt.Errorf("TLS was not ended: %w", io.ErrUnexpectedEOF)

// tlsEnds tells such an end from one of TLS, which crypto/tls between two records does not.
type tlsEnds struct{ net.Conn }

func (t tlsEnds) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

func allCiphers() (all []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		all = append(all, s.ID)
	}
	return all
}
