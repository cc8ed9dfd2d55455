package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"vipd/internal/health"
)

const maxSMTPLine = 4 << 10

// smtp makes an SMTP_CHECK: banner, HELO, QUIT (RFC 5321 3.1, 3.2, 4.1.1.10).
func smtp(ctx context.Context, c health.Checker) health.Result {
	res := converse(ctx, c, func(conn net.Conn, timeout time.Duration) health.Result { return greet(conn, c, timeout) })
	if !res.OK && res.Said == "" {
		res.Said = "Error connecting to server " + server(c)
		if res.Timeout {
			res.Said = "Connection timeout to server " + server(c)
		}
	}
	return res
}

// server is how keepalived's lines name it.
func server(c health.Checker) string {
	return fmt.Sprintf("[%s]:%d", c.Target.Addr(), c.Target.Port())
}

func greet(conn net.Conn, c health.Checker, timeout time.Duration) health.Result {
	in := bufio.NewReaderSize(conn, maxSMTPLine)
	helo := c.Helo
	if helo == "" {
		helo, _ = os.Hostname()
	}
	for _, step := range []struct {
		send string
		want int
		bad  string
	}{
		{"", 220, "Bad greeting banner from server "},
		{"HELO " + helo + "\r\n", 250, "Bad HELO response from server "},
		{"QUIT\r\n", 0, ""},
	} {
		_ = conn.SetDeadline(time.Now().Add(timeout))
		if _, err := conn.Write([]byte(step.send)); err != nil {
			return said(unread(err, timeout), "Write failure to server "+server(c))
		}
		code, line, err := reply(in)
		if err != nil {
			res := unread(err, timeout)
			return said(res, map[bool]string{true: "Read timeout from server ", false: "Read failure from server "}[res.Timeout]+server(c))
		}
		if step.want != 0 && code != step.want {
			return said(health.Result{Why: fmt.Sprintf("it says %s, expected %d", some([]byte(line)), step.want)}, step.bad+server(c))
		}
	}
	return health.Result{OK: true}
}

// errLong is a line that is longer than any server's.
var errLong = errors.New("a line without end")

// reply reads one reply of one or more lines and gives the first one's code. RFC 5321 4.2.1: "the last line … begins with
// the reply code, followed immediately by <SP>".
//
// keepalived: reads the first line alone, and takes what follows of a banner for the answer to HELO.
func reply(in *bufio.Reader) (code int, line string, err error) {
	for n := 0; ; n++ {
		b, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || n > 100 {
			return 0, "", errLong
		}
		if err != nil {
			return 0, "", err
		}
		if n == 0 {
			line = string(b)
			code, _ = strconv.Atoi(line[:min(3, len(line))])
		}
		if len(b) < 4 || b[3] != '-' {
			return code, line, nil
		}
	}
}
