package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The kinds of connections that a crowd has.
const (
	KindDownload = "download" // one long answer, of which every byte is known
	KindSession  = "session"  // asks now and then, as somebody does who types
	KindShort    = "short"    // asks once
)

// Kinds lists them.
var Kinds = []string{KindDownload, KindSession, KindShort}

// The causes by which connections break. What is none of them stands as the system says it.
const (
	CauseReset   = "reset"
	CauseStall   = "stall" // no answer within the crowd's patience
	CauseRefused = "refused"
	CauseEnded   = "ended" // closed by the other side before its time
	CauseWrong   = "wrong bytes"
)

// CrowdConfig is who is connected, and for how long each of them waits for an answer.
type CrowdConfig struct {
	To                  netip.AddrPort
	From                []netip.Addr
	Sessions, Downloads int           // connections that stay open; one that broke is opened again
	PerSecond           int           // new short ones
	Every               time.Duration // between two questions of a session
	Patience            time.Duration
}

// CrowdReport is what happened since the one before, as one JSON object a line.
type CrowdReport struct {
	At      time.Time                `json:"at"`
	Open    map[string]int           `json:"open"`       // connections by kind
	Began   map[string]int           `json:"began"`      // of those since
	Answers map[string]int           `json:"answers"`    // whole answers, and parts of downloads
	Longest map[string]time.Duration `json:"longest_ns"` // that one of these took
	Broken  []BrokenConn             `json:"broken,omitempty"`
}

// BrokenConn is a connection that ended otherwise than it should have.
type BrokenConn struct {
	Kind   string    `json:"kind"`
	Cause  string    `json:"cause"`
	From   string    `json:"from"`   // address:port; an address alone if it never was one
	Began  time.Time `json:"began"`  // to connect
	Waited time.Time `json:"waited"` // since when for the answer that did not come
	At     time.Time `json:"at"`
}

// reportEvery is how often a crowd reports.
const reportEvery = 200 * time.Millisecond

// crowd is a running one.
type crowd struct {
	cfg CrowdConfig
	mu  sync.Mutex
	now CrowdReport
}

func newCrowdReport() CrowdReport {
	return CrowdReport{Open: map[string]int{}, Began: map[string]int{}, Answers: map[string]int{}, Longest: map[string]time.Duration{}}
}

// Crowd keeps connections open and makes new ones until ctx ends, and writes a CrowdReport a line to out.
func Crowd(ctx context.Context, cfg CrowdConfig, out io.Writer) error {
	if len(cfg.From) == 0 || cfg.Every <= 0 || cfg.Patience <= 0 {
		return errors.New("crowd: needs an address to send from, an interval and patience")
	}
	c := &crowd{cfg: cfg, now: newCrowdReport()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	long := func(n int, kind string, use func(context.Context, *crowdConn, int) error) {
		for i := range n {
			group.Go(func() { c.stay(ctx, kind, i, use) })
		}
	}
	long(cfg.Sessions, KindSession, c.session)
	long(cfg.Downloads, KindDownload, c.download)
	if cfg.PerSecond > 0 {
		group.Go(func() { c.come(ctx) })
	}
	err := c.report(ctx, json.NewEncoder(out))
	cancel()
	group.Wait()
	return err
}

// report writes until ctx ends or nobody reads.
func (c *crowd) report(ctx context.Context, out *json.Encoder) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			c.mu.Lock()
			said := c.now
			said.At = now
			c.now = newCrowdReport()
			for kind, n := range said.Open {
				c.now.Open[kind] = n
			}
			c.mu.Unlock()
			if err := out.Encode(said); err != nil {
				return fmt.Errorf("report connections: %w", err)
			}
		}
	}
}

// crowdConn is one connection of a crowd.
type crowdConn struct {
	net.Conn
	in     *bufio.Reader
	kind   string
	began  time.Time
	waited time.Time
}

// errWrong is an answer with other bytes than it should have.
var errWrong = errors.New("wrong bytes")

// stay keeps one connection open, and opens it again when it broke.
func (c *crowd) stay(ctx context.Context, kind string, n int, use func(context.Context, *crowdConn, int) error) {
	if !rest(ctx, time.Duration(n%100)*10*time.Millisecond) { // not all in one moment
		return
	}
	for ctx.Err() == nil {
		if !c.one(ctx, kind, n, use) && !rest(ctx, c.cfg.Every) {
			return
		}
	}
}

// come begins new short connections at a steady pace that does not wait for answers.
func (c *crowd) come(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	start := time.Now()
	for n := 0; rest(ctx, time.Until(start.Add(time.Duration(n)*time.Second/time.Duration(c.cfg.PerSecond)))); n++ {
		open.Go(func() {
			c.one(ctx, KindShort, n, func(_ context.Context, m *crowdConn, n int) error { return c.ask(m, n, "close") })
		})
	}
}

// one makes a connection, uses it, and books how it ended; true if it did as it should.
func (c *crowd) one(ctx context.Context, kind string, n int, use func(context.Context, *crowdConn, int) error) bool {
	m, from := &crowdConn{kind: kind, began: time.Now()}, c.cfg.From[n%len(c.cfg.From)]
	m.waited = m.began
	c.note(func(r *CrowdReport) { r.Began[kind]++; r.Open[kind]++ })
	defer c.note(func(r *CrowdReport) { r.Open[kind]-- })
	d := net.Dialer{Deadline: m.began.Add(c.cfg.Patience), LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Control: latePort, KeepAlive: -1}
	var err error
	at := from.String()
	if m.Conn, err = d.DialContext(ctx, "tcp", c.cfg.To.String()); err == nil {
		at = m.LocalAddr().String()
		m.in = bufio.NewReader(m)
		stop := context.AfterFunc(ctx, func() { m.Close() }) // nobody waits for an answer any more
		err = use(ctx, m, n)
		stop()
		m.Close()
	}
	if err == nil || ctx.Err() != nil {
		return true
	}
	c.note(func(r *CrowdReport) {
		r.Broken = append(r.Broken, BrokenConn{kind, causeOf(err), at, m.began, m.waited, time.Now()})
	})
	return false
}

func (c *crowd) note(add func(*CrowdReport)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.now)
}

// answered books an answer, or a part of one.
func (c *crowd) answered(m *crowdConn) {
	took := time.Since(m.waited)
	c.note(func(r *CrowdReport) {
		r.Answers[m.kind]++
		r.Longest[m.kind] = max(r.Longest[m.kind], took)
	})
}

// wait begins to wait for an answer.
func (c *crowd) wait(m *crowdConn) error {
	m.waited = time.Now()
	return m.SetDeadline(m.waited.Add(c.cfg.Patience))
}

// session asks until ctx ends. Always the same server answers.
func (c *crowd) session(ctx context.Context, m *crowdConn, n int) error {
	for asked := 0; ctx.Err() == nil; asked++ {
		if err := c.ask(m, n+asked, "keep-alive"); err != nil {
			return err
		}
		if !rest(ctx, c.cfg.Every*time.Duration(75+rand.IntN(50))/100) {
			break
		}
	}
	return nil
}

// ask sends one question, and wants the answer to that and to no other.
func (c *crowd) ask(m *crowdConn, n int, connection string) error {
	if m.kind != KindShort { // whose wait began with its SYN
		if err := c.wait(m); err != nil {
			return err
		}
	} else if err := m.SetDeadline(m.began.Add(c.cfg.Patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(m, "GET /question-%d HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", n, c.cfg.To.Addr(), connection); err != nil {
		return err
	}
	resp, err := http.ReadResponse(m.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(" answers GET /question-%d for %s\n", n, m.LocalAddr()); resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), want) {
		return errWrong
	}
	c.answered(m)
	return nil
}

// A download is so many bytes in each part, a part after each pause, and the byte at offset n is streamByte(n).
const (
	streamPath  = "/stream"
	streamPart  = 2 << 10
	streamEvery = 100 * time.Millisecond
)

func streamByte(n int) byte { return byte(n*7 + n>>8) }

// download reads until ctx ends, and looks at every byte.
func (c *crowd) download(ctx context.Context, m *crowdConn, _ int) error {
	if err := c.wait(m); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(m, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", streamPath, c.cfg.To.Addr()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(m.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	part := make([]byte, streamPart)
	for at := 0; ctx.Err() == nil; at += len(part) {
		if _, err := io.ReadFull(resp.Body, part); err != nil {
			return err
		}
		for i, b := range part {
			if b != streamByte(at+i) {
				return errWrong
			}
		}
		c.answered(m)
		if err := c.wait(m); err != nil {
			return err
		}
	}
	return nil
}

// stream is the other end of a download.
func stream(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w)
	part := make([]byte, streamPart)
	for at := 0; ; at += len(part) {
		for i := range part {
			part[i] = streamByte(at + i)
		}
		if _, err := w.Write(part); err != nil {
			return
		}
		if flush.Flush() != nil || !rest(r.Context(), streamEvery) {
			return
		}
	}
}

// rest waits; false if ctx has ended.
func rest(ctx context.Context, d time.Duration) bool { return sleep(ctx, d) == nil }

func causeOf(err error) string {
	switch {
	case errors.Is(err, errWrong):
		return CauseWrong
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return CauseReset
	case errors.Is(err, syscall.ECONNREFUSED):
		return CauseRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return CauseEnded
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return CauseStall
	}
	return reason(err)
}
