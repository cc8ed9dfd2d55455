package probe

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"vipd/internal/health"
)

// over2 makes a request over HTTP/2 on a connection that is there: with TLS by ALPN, else with prior knowledge (RFC 9113 3.3).
// take is given the answer.
func over2(ctx context.Context, conn net.Conn, secure bool, req *http.Request, take func(*http.Response) error) error {
	var protocols http.Protocols
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	used := false
	dial := func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the connection was closed")
		}
		used = true
		return conn, nil
	}
	transport := &http.Transport{Protocols: &protocols, DialContext: dial, DialTLSContext: dial, DisableCompression: true, MaxResponseHeaderBytes: maxHead}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return take(resp)
}

// page2 is page over HTTP/2.
func page2(ctx context.Context, conn net.Conn, c health.Checker, u *health.URL, match *expression, timeout time.Duration) health.Result {
	scheme := "http"
	if c.HTTP.TLS {
		scheme = "https"
	}
	host := virtualHost(c, u)
	if host == "" {
		host = c.Target.String()
	}
	req, err := http.NewRequest(http.MethodGet, scheme+"://"+c.Target.String()+u.Path, nil)
	if err != nil {
		return said(health.Result{Why: err.Error()}, "Cannot send get request to")
	}
	req.Host = host
	req.Header.Set("User-Agent", "KeepAliveClient")
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := &answer{sum: md5.New(), left: -1, keep: match != nil, body: true}
	err = over2(ctx, conn, c.HTTP.TLS, req, func(resp *http.Response) error {
		a.status = resp.StatusCode
		buf := make([]byte, 16<<10)
		for {
			n, err := resp.Body.Read(buf)
			if why := a.take(buf[:n]); why != "" {
				return errors.New(why)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		res := unread(err, timeout)
		if errors.Is(err, context.DeadlineExceeded) {
			res = health.Result{Why: "no answer within " + timeout.String(), Timeout: true}
		}
		return said(res, map[bool]string{true: "Timeout HTTP read", false: "Read error with"}[res.Timeout])
	}
	a.witness(ctx, u)
	return a.judge(u, match)
}

// grpc makes a GRPC_CHECK: grpc.health.v1.Health/Check of a service (gRPC Health Checking Protocol).
func grpc(ctx context.Context, c health.Checker) health.Result {
	talk := talkOf(c)
	return converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		scheme := "http"
		var note health.Result
		if talk.TLS {
			scheme = "https"
			secure, res := grpcSecure(ctx, conn, talk, timeout)
			if secure == nil {
				return res
			}
			conn, note = secure, res
		}
		_ = conn.SetDeadline(time.Time{})
		req, err := http.NewRequest(http.MethodPost, scheme+"://"+c.Target.String()+"/grpc.health.v1.Health/Check", bytes.NewReader(grpcRequest(talk.Service)))
		if err != nil {
			return health.Result{Why: err.Error()}
		}
		req.Host = talk.Name
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err = over2(ctx, conn, talk.TLS, req, func(resp *http.Response) error {
			body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
			if err != nil {
				return err
			}
			return grpcVerdict(resp.StatusCode, trailer(resp, "Grpc-Status"), trailer(resp, "Grpc-Message"), body)
		})
		switch {
		case err == nil:
			return noted(health.Result{OK: true}, note)
		case errors.Is(err, context.DeadlineExceeded):
			return noted(health.Result{Why: "no answer within " + timeout.String(), Timeout: true}, note)
		}
		return noted(unread(err, timeout), note)
	})
}

// grpcSecure makes TLS of a connection. Without one the result tells why; with one, what the certificate told.
func grpcSecure(ctx context.Context, conn net.Conn, talk health.Talk, timeout time.Duration) (net.Conn, health.Result) {
	var note health.Result
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, ServerName: hostName(talk.Name)}
	verify(ctx, config, talk.Verify, config.ServerName, &note)
	secure := tls.Client(conn, config)
	_ = conn.SetDeadline(time.Now().Add(timeout))
	err := secure.HandshakeContext(ctx)
	var setup *setupError
	switch {
	case errors.As(err, &setup):
		return nil, health.Result{Inconclusive: true, Why: setup.Error()}
	case err != nil:
		res := noted(unread(err, timeout), note)
		res.Why = "TLS: " + res.Why
		return nil, res
	case secure.ConnectionState().NegotiatedProtocol != "h2":
		return nil, health.Result{Why: "the server does not speak HTTP/2"}
	}
	return secure, note
}

// trailer is a field behind the body, or of an answer without one before it.
func trailer(resp *http.Response, name string) string {
	if v := resp.Trailer.Get(name); v != "" {
		return v
	}
	return resp.Header.Get(name)
}

// grpcRequest is a HealthCheckRequest in a message frame: a byte that says it is not compressed, its length, field 1.
func grpcRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(append(append(message, 1<<3|2), uvarint(uint64(len(service)))...), service...)
	}
	n := len(message)
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...)
}

func uvarint(v uint64) (b []byte) {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

var servingStates = map[uint64]string{0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

// grpcVerdict judges an answer. A status of gRPC other than 0 is a failure: 5 says that the service is not known, 12 that there
// is no health service.
func grpcVerdict(code int, status, message string, body []byte) error {
	if code != http.StatusOK {
		return fmt.Errorf("HTTP status code %d", code)
	}
	if status != "0" {
		return fmt.Errorf("gRPC status %s: %s", strconv.QuoteToASCII(status[:min(len(status), 8)]), some([]byte(message)))
	}
	if len(body) < 5 || body[0] != 0 {
		return fmt.Errorf("the answer is no message: %s", some(body))
	}
	serving, err := servingStatus(body[5:])
	switch {
	case err != nil:
		return err
	case serving == 1:
		return nil
	}
	name, known := servingStates[serving]
	if !known {
		name = strconv.FormatUint(serving, 10)
	}
	return errors.New("it says " + name + ", expected SERVING")
}

// servingStatus reads field 1 of a HealthCheckResponse; one that is not there is 0 (protocol buffers, "Encoding").
func servingStatus(b []byte) (status uint64, err error) {
	broken := errors.New("the answer is no health check response")
	for len(b) > 0 {
		tag, n := varint(b)
		if n == 0 {
			return 0, broken
		}
		b = b[n:]
		v, n := varint(b)
		if n == 0 {
			return 0, broken
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
			if tag>>3 == 1 {
				status = v
			}
		case 2:
			if v > uint64(len(b)) {
				return 0, broken
			}
			b = b[v:]
		default:
			return 0, broken
		}
	}
	return status, nil
}

// varint reads one; n is 0 if there is none.
func varint(b []byte) (v uint64, n int) {
	for shift := 0; n < len(b) && shift < 64; shift += 7 {
		v |= uint64(b[n]&0x7f) << shift
		if n++; b[n-1] < 0x80 {
			return v, n
		}
	}
	return 0, 0
}
