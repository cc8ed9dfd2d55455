package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"vipd/internal/health"
)

// The conversations in lines of the kinds that keepalived does not have. Each asks what costs the server least and shows
// that it serves, and leaves as the protocol wants it.

const maxLine = 4 << 10

// talkOf is what a check says; never nil.
func talkOf(c health.Checker) health.Talk {
	if c.Talk == nil {
		return health.Talk{}
	}
	return *c.Talk
}

// line reads one, without its end.
func line(conn net.Conn, in *bufio.Reader, timeout time.Duration) ([]byte, error) {
	_ = conn.SetDeadline(time.Now().Add(timeout))
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errLong
	}
	return bytes.TrimRight(b, "\r\n"), err
}

// lines has a conversation of one line for each that is sent.
func lines(ctx context.Context, c health.Checker, send []string, good func(i int, answer []byte) error) health.Result {
	return converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		in := bufio.NewReaderSize(conn, maxLine)
		for i, s := range send {
			_ = conn.SetDeadline(time.Now().Add(timeout))
			if _, err := conn.Write([]byte(s)); err != nil {
				return unread(err, timeout)
			}
			answer, err := line(conn, in, timeout)
			if err != nil {
				return unread(err, timeout)
			}
			if err := good(i, answer); err != nil {
				return health.Result{Why: err.Error()}
			}
		}
		return health.Result{OK: true}
	})
}

// redis makes a REDIS_CHECK: AUTH if there is a password, then PING (Redis protocol specification, inline and RESP2).
func redis(ctx context.Context, c health.Checker) health.Result {
	send, want := []string{"PING\r\n"}, []string{"+PONG"}
	if password := talkOf(c).Password; password != "" {
		send = append([]string{fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password)}, send...)
		want = append([]string{"+OK"}, want...)
	}
	return lines(ctx, c, send, func(i int, answer []byte) error { return expect(answer, want[i]) })
}

// memcached makes a MEMCACHED_CHECK: version (memcached protocol.txt).
func memcached(ctx context.Context, c health.Checker) health.Result {
	return lines(ctx, c, []string{"version\r\n"}, func(_ int, answer []byte) error {
		if bytes.HasPrefix(answer, []byte("VERSION ")) {
			return nil
		}
		return expect(answer, "VERSION …")
	})
}

func expect(answer []byte, want string) error {
	if string(answer) == want {
		return nil
	}
	return fmt.Errorf("it says %s, expected %s", some(answer), want)
}

// ftp makes an FTP_CHECK: the greeting and QUIT (RFC 959 5.4).
func ftp(ctx context.Context, c health.Checker) health.Result {
	return converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		in := bufio.NewReaderSize(conn, maxLine)
		_ = conn.SetDeadline(time.Now().Add(timeout))
		code, text, err := reply(in)
		switch {
		case err != nil:
			return unread(err, timeout)
		case code != 220: // 120 is "ready in some minutes"
			return health.Result{Why: fmt.Sprintf("it says %s, expected 220", some([]byte(text)))}
		}
		_, _ = conn.Write([]byte("QUIT\r\n"))
		_, _, _ = reply(in) // so that the server sees a proper end; what it says is no matter
		return health.Result{OK: true}
	})
}

// agent makes an AGENT_CHECK: a line, whatever comes first of its end and that of the connection.
func agent(ctx context.Context, c health.Checker) health.Result {
	res := converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		_ = conn.SetDeadline(time.Now().Add(timeout))
		if send := talkOf(c).Send; send != "" {
			if _, err := conn.Write([]byte(send)); err != nil {
				return unread(err, timeout)
			}
		}
		answer, err := line(conn, bufio.NewReaderSize(conn, maxLine), timeout)
		if err != nil && len(answer) == 0 {
			return unread(err, timeout)
		}
		a, err := health.ParseAgent(string(answer))
		if err != nil {
			return health.Result{Why: err.Error()}
		}
		return health.Result{OK: true, Agent: &a}
	})
	res.Inconclusive = false // it changes nothing in any case
	return res
}

// mysql makes a MYSQL_CHECK: the greeting, and with a user a login without a password (MySQL client/server protocol, "Connection
// Phase"). A server counts connections without a login, and blocks a host after max_connect_errors of them.
func mysql(ctx context.Context, c health.Checker) health.Result {
	user := talkOf(c).User
	return converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		in := bufio.NewReaderSize(conn, maxLine)
		_ = conn.SetDeadline(time.Now().Add(timeout))
		seq, packet, err := mysqlPacket(in)
		if err != nil {
			return unread(err, timeout)
		}
		if err := mysqlGreeting(packet); err != nil || user == "" {
			return outcome(err)
		}
		for answer := mysqlLogin(user); ; answer = nil {
			_ = conn.SetDeadline(time.Now().Add(timeout))
			if _, err := conn.Write(mysqlFrame(seq+1, answer)); err != nil {
				return unread(err, timeout)
			}
			if seq, packet, err = mysqlPacket(in); err != nil {
				return unread(err, timeout)
			}
			switched, err := mysqlVerdict(packet)
			if err != nil || !switched || seq > 8 {
				_, _ = conn.Write(mysqlFrame(0, []byte{1})) // COM_QUIT
				return outcome(err)
			}
		}
	})
}

func outcome(err error) health.Result {
	if err != nil {
		return health.Result{Why: err.Error()}
	}
	return health.Result{OK: true}
}

// mysqlPacket reads one packet: three bytes of length, a number, the payload.
func mysqlPacket(in *bufio.Reader) (seq byte, payload []byte, err error) {
	var head [4]byte
	if err := readFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if n == 0 || n > maxLine {
		return 0, nil, fmt.Errorf("it is no MySQL server: it begins with %s", some(head[:]))
	}
	payload = make([]byte, n)
	return head[3], payload, readFull(in, payload)
}

func readFull(in *bufio.Reader, b []byte) error {
	for n := 0; n < len(b); {
		m, err := in.Read(b[n:])
		if n += m; err != nil && n < len(b) {
			return err
		}
	}
	return nil
}

func mysqlFrame(seq byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, payload...)
}

// mysqlGreeting judges the first packet: the protocol's version and the server's, or an error.
func mysqlGreeting(b []byte) error {
	if b[0] == 0xff {
		return mysqlError(b)
	}
	if version := bytes.IndexByte(b, 0); b[0] != 10 || version < 2 {
		return fmt.Errorf("it is no MySQL server: it begins with %s", some(b))
	}
	return nil
}

// mysqlError is an ERR packet: a code, the SQL state, a text.
func mysqlError(b []byte) error {
	if len(b) < 3 {
		return errors.New("it says an error")
	}
	text := b[3:]
	if len(text) > 6 && text[0] == '#' {
		text = text[6:]
	}
	return fmt.Errorf("error %d: %s", int(b[1])|int(b[2])<<8, some(text))
}

// mysqlLogin is a HandshakeResponse41 of a user without a password.
func mysqlLogin(user string) []byte {
	const (
		protocol41       = 1 << 9
		secureConnection = 1 << 15
		pluginAuth       = 1 << 19
		flags            = protocol41 | secureConnection | pluginAuth
		maxPacket        = 1 << 24
		utf8             = 33
	)
	b := []byte{flags & 0xff, flags >> 8 & 0xff, flags >> 16 & 0xff, 0, 0, 0, 0, maxPacket >> 24, utf8}
	b = append(b, make([]byte, 23)...)
	b = append(append(b, user...), 0)
	b = append(b, 0) // no password
	return append(append(b, "mysql_native_password"...), 0)
}

// mysqlVerdict reads the answer to a login. switched: another method is wanted, for which nothing is sent again.
func mysqlVerdict(b []byte) (switched bool, err error) {
	switch b[0] {
	case 0:
		return false, nil
	case 0xff:
		return false, mysqlError(b)
	case 0xfe, 1:
		return true, nil
	}
	return false, fmt.Errorf("its answer to the login is %s", some(b))
}

// postgres makes a POSTGRESQL_CHECK: a startup message, to which a server that takes connections answers with a question for
// a password or with its ready state (PostgreSQL protocol, "Message Flow: Start-up").
func postgres(ctx context.Context, c health.Checker) health.Result {
	talk := talkOf(c)
	return converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result {
		_ = conn.SetDeadline(time.Now().Add(timeout))
		if _, err := conn.Write(postgresStartup(cmp.Or(talk.User, "postgres"), talk.Database)); err != nil {
			return unread(err, timeout)
		}
		in := bufio.NewReaderSize(conn, maxLine)
		head := make([]byte, 5)
		if err := readFull(in, head); err != nil {
			return unread(err, timeout)
		}
		n := int(head[1])<<24 | int(head[2])<<16 | int(head[3])<<8 | int(head[4])
		if n < 4 || n > maxLine {
			return health.Result{Why: "it is no PostgreSQL server: it begins with " + some(head)}
		}
		payload := make([]byte, n-4)
		if err := readFull(in, payload); err != nil {
			return unread(err, timeout)
		}
		_, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
		return outcome(postgresVerdict(head[0], payload))
	})
}

func postgresStartup(user, database string) []byte {
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0} // length, protocol 3.0
	for _, p := range [][2]string{{"user", user}, {"database", database}, {"application_name", "vipd"}} {
		if p[1] != "" {
			b = append(append(append(append(b, p[0]...), 0), p[1]...), 0)
		}
	}
	b = append(b, 0)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

// postgresVerdict judges the first message. As pg_isready has it, a server that refuses this user or database is well; one that
// is starting, stopping or full is not.
func postgresVerdict(kind byte, payload []byte) error {
	switch kind {
	case 'R', 'v':
		return nil
	case 'E':
	default:
		return fmt.Errorf("it is no PostgreSQL server: it begins with %s", some(append([]byte{kind}, payload...)))
	}
	code, text := "", ""
	for field := range bytes.SplitSeq(payload, []byte{0}) {
		switch {
		case len(field) == 0:
		case field[0] == 'C':
			code = string(field[1:])
		case field[0] == 'M':
			text = string(field[1:])
		}
	}
	// PostgreSQL, appendix A: class 28 is invalid authorization, 3D000 invalid_catalog_name.
	if strings.HasPrefix(code, "28") || code == "3D000" {
		return nil
	}
	return fmt.Errorf("it says %s (%s)", some([]byte(text)), strconv.QuoteToASCII(code[:min(len(code), 5)]))
}
