package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LoadConfig is what a client does: one request, on a new TCP connection, at every tick of a schedule that does not
// wait for answers.
type LoadConfig struct {
	To      netip.AddrPort
	From    []netip.Addr  // one after the other
	Every   time.Duration // between the starts of two requests
	Timeout time.Duration // of one request, connecting included
	For     time.Duration // the client ends after this, whatever happens. If zero, ten minutes.
	// Control is read line by line; a line is the comma-separated addresses to send from from now on, and its end is the
	// end of the client. If nil, From stays.
	Control io.Reader
}

// maxOutstanding bounds the requests that wait for an answer; beyond it a tick is a failure at once.
const maxOutstanding = 500

// Sample is one request, as the client reports it: one JSON object a line, in the order of completion.
type Sample struct {
	At     time.Time     `json:"at"`              // start, by the schedule's clock
	Took   time.Duration `json:"took_ns"`         //
	From   netip.Addr    `json:"from"`            //
	Real   string        `json:"real,omitempty"`  // who answered
	Proxy  string        `json:"proxy,omitempty"` // through whom
	Known  bool          `json:"known,omitempty"` // to whom, as the real server said: to From
	Error  string        `json:"error,omitempty"`
	Oldest time.Time     `json:"oldest"` // start of the oldest request without an answer; every earlier one is reported
}

// OK tells whether the request was answered.
func (s Sample) OK() bool { return s.Error == "" }

// End is when the request was over.
func (s Sample) End() time.Time { return s.At.Add(s.Took) }

// load is a running client.
type load struct {
	cfg  LoadConfig
	mu   sync.Mutex
	from []netip.Addr
	open map[uint64]time.Time // requests without an answer, by number
	out  *json.Encoder
	err  error // of writing: nobody reads any more
}

// Load runs a client and writes a Sample a line to out until ctx, cfg.For or cfg.Control ends.
func Load(ctx context.Context, cfg LoadConfig, out io.Writer) error {
	if len(cfg.From) == 0 || cfg.Every <= 0 || cfg.Timeout <= 0 {
		return errors.New("load: needs an address to send from, an interval and a timeout")
	}
	if cfg.For == 0 {
		cfg.For = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.For)
	defer cancel()
	l := &load{cfg: cfg, from: cfg.From, open: map[uint64]time.Time{}, out: json.NewEncoder(out)}
	if cfg.Control != nil {
		go l.obey(cancel)
	}
	l.run(ctx)
	return l.err
}

// obey reads cfg.Control; it may stay behind in a read when the client ends, with its process.
func (l *load) obey(stop func()) {
	defer stop()
	lines := bufio.NewScanner(l.cfg.Control)
	for lines.Scan() {
		addrs, err := ParseAddrs(lines.Text())
		if err != nil {
			continue
		}
		l.mu.Lock()
		l.from = addrs
		l.mu.Unlock()
	}
}

// ParseAddrs reads a comma-separated list of addresses.
func ParseAddrs(text string) ([]netip.Addr, error) {
	var out []netip.Addr
	for word := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// run keeps the schedule: tick n is due at start + n×Every, however long the one before took to start.
func (l *load) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for n := uint64(0); ; n++ {
		timer.Reset(time.Until(start.Add(time.Duration(n) * l.cfg.Every)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		from, ok := l.begin(n)
		if !ok {
			return
		}
		group.Go(func() { l.request(ctx, n, from) })
	}
}

// begin books request n and chooses its address. It reports false when nobody reads the answers any more.
func (l *load) begin(n uint64) (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[n] = time.Now()
	return l.from[n%uint64(len(l.from))], l.err == nil
}

func (l *load) request(ctx context.Context, n uint64, from netip.Addr) {
	l.mu.Lock()
	at, many := l.open[n], len(l.open) > maxOutstanding
	l.mu.Unlock()
	s := Sample{At: at, From: from}
	var err error
	if many {
		err = errors.New("too many requests wait")
	} else {
		var who answerer
		who, err = get(from, l.cfg.To, at.Add(l.cfg.Timeout))
		s.Real, s.Proxy, s.Known = who.real, who.proxy, who.client != ""
	}
	if ctx.Err() != nil {
		return // the client was told to stop: no verdict
	}
	s.Took = time.Since(at)
	if err != nil {
		s.Error = reason(err)
	}
	l.report(n, s)
}

func (l *load) report(n uint64, s Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, n)
	s.Oldest = time.Now()
	for _, at := range l.open {
		if at.Before(s.Oldest) {
			s.Oldest = at
		}
	}
	if err := l.out.Encode(s); err != nil && l.err == nil {
		l.err = fmt.Errorf("report a request: %w", err)
	}
}

// answerer is what an answer says of who made it, through whom, and for whom.
type answerer struct{ real, proxy, client string }

// by reads it. A server that takes the client for somebody else is a failure.
func by(h http.Header, from netip.Addr) (answerer, error) {
	a := answerer{h.Get(RealHeader), h.Get(ProxyHeader), h.Get(ClientHeader)}
	if a.client != "" && a.client != from.String() {
		return a, fmt.Errorf("the server took the client for %.40s", a.client)
	}
	return a, nil
}

// get asks for / on a connection of its own and returns who answered.
func get(from netip.Addr, to netip.AddrPort, deadline time.Time) (answerer, error) {
	d := net.Dialer{Deadline: deadline, LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Control: latePort, KeepAlive: -1}
	conn, err := d.Dial("tcp", to.String())
	if err != nil {
		return answerer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return answerer{}, err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to.Addr()); err != nil {
		return answerer{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answerer{}, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return answerer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return answerer{}, errors.New(resp.Status)
	}
	return by(resp.Header, from)
}

// latePort lets the kernel choose the port at connect, where it knows the whole four-tuple, and not at bind.
func latePort(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// reason puts an error into few words, so that equal failures count together.
func reason(err error) string {
	var waited net.Error
	switch {
	case errors.As(err, &waited) && waited.Timeout():
		return "timeout"
	case errors.Is(err, unix.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, unix.ECONNRESET):
		return "connection reset"
	case errors.Is(err, unix.EHOSTUNREACH):
		return "host unreachable"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed without an answer"
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next // what is around it names addresses
	}
	return err.Error()
}
