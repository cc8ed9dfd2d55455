package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"vipd/internal/lb"
)

// What a client takes at most. A status of ten thousand services with ten real servers each is about 50 MB.
const (
	maxStatus   = 256 << 20
	maxAnswer   = 64 << 10
	maxConnLine = 4 << 10
)

// idle is how long a client waits for the next byte.
const idle = 20 * time.Second

// Client asks a running daemon. It is a Source. Its methods may be called from several goroutines.
type Client struct {
	instance string
	path     string
	http     http.Client
}

// Dial makes a client for an instance. Nothing is opened before the first question; its error is an *Unreachable when
// there is no daemon to ask.
func Dial(instance string) (*Client, error) {
	if err := CheckInstance(instance); err != nil {
		return nil, err
	}
	return DialPath(instance, SocketPath(instance)), nil
}

// DialPath is Dial for a socket in another place.
func DialPath(instance, path string) *Client { return dialPath(instance, path, idle) }

// patient is a client that waits for so much longer, as the daemon has to wait for others.
func (c *Client) patient(longer time.Duration) *Client {
	return dialPath(c.instance, c.path, idle+longer)
}

func dialPath(instance, path string, idle time.Duration) *Client {
	c := &Client{instance: instance, path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives:      true,
		ResponseHeaderTimeout:  idle,
		MaxResponseHeaderBytes: 16 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 2 * time.Second}
			conn, err := d.DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			return idleConn{conn, idle}, nil
		},
	}
	// An answer that sends us elsewhere is not a daemon's.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// idleConn ends a read or write that nothing comes of.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c idleConn) Read(b []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.idle))
	return c.Conn.Read(b)
}

func (c idleConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.idle))
	return c.Conn.Write(b)
}

// Status asks for the whole of the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.get(ctx, "/v1/status", maxStatus, &s)
}

// Timeouts asks for the three that ipvsadm --set changes.
func (c *Client) Timeouts(ctx context.Context) (lb.Timeouts, error) {
	var t timeoutsJSON
	err := c.get(ctx, "/v1/timeouts", maxAnswer, &t)
	return t.timeouts(), err
}

// Conns calls visit for every connection as it comes in, until visit returns false.
func (c *Client) Conns(ctx context.Context, visit func(lb.Conn) bool) error {
	body, err := c.open(ctx, "/v1/conns")
	if err != nil {
		return err
	}
	defer body.Close()
	return readConns(body, visit)
}

// readConns takes the stream of /v1/conns apart.
func readConns(r io.Reader, visit func(lb.Conn) bool) error {
	lines := bufio.NewReaderSize(r, maxConnLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the connections: %w", unexpected(err))
		}
		conn, err := parseConn(line)
		if err != nil {
			return err
		}
		if !visit(conn) {
			return nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Client) get(ctx context.Context, path string, limit int64, into any) error {
	body, err := c.open(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	return readAnswer(body, limit, into)
}

// readAnswer reads one JSON value of at most limit bytes and nothing after it.
func readAnswer(r io.Reader, limit int64, into any) error {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(b)) > limit {
		return fmt.Errorf("read the answer: more than %d bytes", limit)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// open sends one question and returns the body of a good answer.
func (c *Client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

func (c *Client) do(ctx context.Context, method, path string, content io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://vipd"+path, content)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	switch {
	case resp.Header.Get(marker) == "":
		resp.Body.Close()
		return nil, &Unreachable{c.instance, c.path, errors.New("what answers there is not a vipd daemon"), ""}
	case resp.Header.Get(marker) != markerVersion || resp.StatusCode == http.StatusNotFound:
		resp.Body.Close()
		return nil, &Unreachable{c.instance, c.path, errors.New("the daemon there is of another version"),
			"restart the daemon, or use the vipd that it was started from"}
	case resp.StatusCode != http.StatusOK:
		defer resp.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return nil, fmt.Errorf("instance %s answers: %s", c.instance, printable(bytes.TrimSpace(said)))
	}
	return resp.Body, nil
}

// printable keeps what a peer says from doing things to a terminal.
func printable(b []byte) string {
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, b))
}

// Unreachable says that there is no daemon to ask, and what to do about it.
type Unreachable struct {
	Instance string
	Path     string
	Err      error
	Advice   string // If empty, there is none.
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("ask instance %s at %s: %v", u.Instance, u.Path, u.Err)
}
func (u *Unreachable) Unwrap() error { return u.Err }

// Hint is the next step, or empty.
func (u *Unreachable) Hint() string { return u.Advice }

// Errors inside an Unreachable. Test with errors.Is.
var (
	ErrNotRunning = errors.New("no such daemon is running")
	ErrPermission = errors.New("permission denied")
)

func (c *Client) unreachable(err error) error {
	start := "start it: vipd run --instance " + c.instance + " -f FILE; ls " + Dir + " shows which instances there are"
	u := &Unreachable{Instance: c.instance, Path: c.path, Err: err}
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		u.Err, u.Advice = ErrNotRunning, start
	case errors.Is(err, syscall.ECONNREFUSED):
		u.Err, u.Advice = fmt.Errorf("%w: the socket was left by a dead process", ErrNotRunning), start
	case errors.Is(err, fs.ErrPermission):
		u.Err, u.Advice = ErrPermission, "ask as root or as a member of the socket's group"
	case errors.As(err, &timeout) && timeout.Timeout():
		u.Err = fmt.Errorf("no answer within %s", idle)
	case errors.Is(err, syscall.EPROTOTYPE):
		u.Err = errors.New("what answers there is not a vipd daemon")
	default:
		u.Err = fmt.Errorf("what answers there is not a vipd daemon: %s", printable([]byte(cause(err))))
	}
	return u
}

// cause strips what net/http and net put around the reason.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
