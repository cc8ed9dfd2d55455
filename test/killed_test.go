package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// virtual is the site's service; the client sends from its own addresses, 10.0.4.102 and the nine after it.
const virtual = "10.0.8.9:80"

func TestKilledAloneItForwardsOnAndIsAdopted(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	before := left(t)
	works(t, "lab", "up", "--without", "director2")
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	short, long := clients(ctx, &load)

	time.Sleep(2 * time.Second)
	first := connectionList(t)
	works(t, "lab", "kill", "director1")
	if o := vipd(t, "status", "--instance", "lab-director1"); o.code == 0 {
		t.Errorf("a director that was killed answers: %s", o)
	}
	time.Sleep(3 * time.Second)
	works(t, "lab", "start", "director1")
	time.Sleep(10 * time.Second)
	last := connectionList(t)
	stop()
	load.Wait()

	short.judge(t, "requests on connections of their own", 15*50*2/3)
	served := map[string]bool{}
	for _, c := range long {
		c.judge(t, "requests on the connection from "+c.from, 15*20*2/3)
		served[c.real] = true
		was, is := first[c.local], last[c.local]
		if was.real == "" || was.real != is.real || !strings.HasPrefix(is.real, c.real+":") {
			t.Errorf("connection from %s: to %q before the kill, to %q at the end, and %s answers it", c.local, was.real, is.real, c.real)
		}
		if is.state != "ESTABLISHED" || is.expire < "14:50" || is.expire > "15:00" {
			t.Errorf("connection from %s at the end: %s %s", c.local, is.expire, is.state)
		}
	}
	if len(served) != 2 {
		t.Errorf("the long connections were all on one real server: %v", served)
	}
	if log := works(t, "lab", "exec", "director1", "cat", "/run/vipd/lab/director1.log"); !strings.Contains(log, "adopted the packet path") {
		t.Errorf("the second start did not adopt:\n%s", log)
	}
	works(t, "lab", "down")
	nothingNew(t, before)
}

// tally counts requests; several goroutines add to it.
type tally struct {
	mu            sync.Mutex
	answered      int
	failures      []error
	last          time.Time
	longest       time.Duration // between two answers that follow each other
	beforeLongest int           // answers until then
}

func (c *tally) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failures = append(c.failures, err)
		return
	}
	now := time.Now()
	if gap := now.Sub(c.last); c.answered > 0 && gap > c.longest {
		c.longest, c.beforeLongest = gap, c.answered
	}
	c.answered++
	c.last = now
}

// judge wants at least few answers, no failure, and no silence that a person would notice.
func (c *tally) judge(t *testing.T, what string, few int) {
	t.Helper()
	c.lostNothing(t, what, few)
	if c.longest > 500*time.Millisecond {
		t.Errorf("%s: silent for %s after %d answers", what, c.longest, c.beforeLongest)
	}
}

// lostNothing wants at least few answers and no failure.
func (c *tally) lostNothing(t *testing.T, what string, few int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%s: %d answered, %d failed, longest gap %s", what, c.answered, len(c.failures), c.longest)
	if len(c.failures) > 0 {
		t.Errorf("%s: %d failed, first: %v", what, len(c.failures), c.failures[0])
	}
	if c.answered < few {
		t.Errorf("%s: only %d answered, at least %d were due", what, c.answered, few)
	}
}

// clients ask until ctx is done: six on a connection each, and one on a new connection every time.
func clients(ctx context.Context, load *sync.WaitGroup) (short *tally, long []*connection) {
	short = &tally{}
	for i := range 6 {
		c := &connection{from: fmt.Sprintf("10.0.4.%d", 102+i)}
		long = append(long, c)
		load.Go(func() { c.run(ctx) })
	}
	load.Go(func() { newConnections(ctx, short) })
	return short, long
}

// newConnections asks on a new connection every 20 ms until ctx ends, from the four addresses that no long connection has.
func newConnections(ctx context.Context, into *tally) {
	var open sync.WaitGroup
	defer open.Wait()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		from := fmt.Sprintf("10.0.4.%d", 108+n%4)
		open.Go(func() {
			conn, err := dial(from)
			if err == nil {
				_, err = ask(conn, bufio.NewReader(conn))
				err = errors.Join(err, conn.Close())
			}
			into.add(err)
		})
	}
}

// connection is one TCP connection that exchanges a request and an answer every 50 ms, for as long as it can.
type connection struct {
	from, local string // address; address:port
	real        string // who answers
	tally
}

func (c *connection) run(ctx context.Context) {
	conn, err := dial(c.from)
	if err != nil {
		c.add(err)
		return
	}
	defer conn.Close()
	c.local = conn.LocalAddr().String()
	in := bufio.NewReader(conn)
	for ctx.Err() == nil {
		real, err := ask(conn, in)
		if err == nil && c.real != "" && real != c.real {
			err = fmt.Errorf("%s answered, before it was %s", real, c.real)
		}
		c.add(err)
		if err != nil {
			return
		}
		c.real = real
		time.Sleep(50 * time.Millisecond)
	}
}

// dial connects to the service from an address of the lab's client. A SYN that is lost would be sent again after a
// second: too late here.
func dial(from string) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: 900 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, KeepAlive: -1}
	err = insideErr("vipd-lab-client", func() (err error) {
		conn, err = d.Dial("tcp4", virtual)
		return err
	})
	return conn, err
}

// ask sends one request and returns the real server that answered; the connection stays open.
func ask(conn net.Conn, in *bufio.Reader) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 10.0.8.9\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("X-Real"), err
}

// listed is a connection as `ipvsadm -lcn` shows it.
type listed struct{ expire, state, real string }

// connectionList reads the connection table of director1 as a person does, by source address and port.
func connectionList(t *testing.T) map[string]listed {
	t.Helper()
	out := map[string]listed{}
	for line := range strings.Lines(works(t, "lab", "exec", "director1", "ipvsadm", "-lcn")) {
		if f := strings.Fields(line); len(f) == 6 && f[0] == "TCP" {
			out[f[3]] = listed{expire: f[1], state: f[2], real: f[5]}
		}
	}
	return out
}
