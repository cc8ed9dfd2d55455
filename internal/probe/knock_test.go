package probe

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vipd/internal/health"
)

// ask has a Runner make one check.
func ask(t *testing.T, r *Runner, c health.Checker) health.Result {
	t.Helper()
	got := make(chan health.Result, 2)
	r.Start(c, func(res health.Result) { got <- res })
	select {
	case res := <-got:
		return res
	case <-time.After(30 * time.Second):
		t.Fatal("no result")
		return health.Result{}
	}
}

// TestAKnockSaysWhatADialSays: a plain TCP_CHECK of a Runner and one that is dialled find the same.
func TestAKnockSaysWhatADialSays(t *testing.T) {
	open, ends := listen(t, "127.0.0.1:0")
	open6, ends6 := listen(t, "[::1]:0")
	r := NewRunner(nil, nil)
	defer r.Close()
	for name, row := range map[string]struct {
		target string
		change func(*health.Checker)
		ends   <-chan error
	}{
		"open":                         {open, nil, ends},
		"open, IPv6":                   {open6, nil, ends6},
		"from an address":              {open, func(c *health.Checker) { c.Bind = netip.MustParseAddrPort("127.0.0.77:0") }, ends},
		"by an interface":              {open, func(c *health.Checker) { c.BindIf = "lo" }, ends},
		"closed":                       {closedPort(t), nil, nil},
		"silent":                       {blackhole(t), func(c *health.Checker) { c.ConnectTimeout = 100 * time.Millisecond }, nil},
		"no such interface":            {open, func(c *health.Checker) { c.BindIf = "nosuch0" }, nil},
		"from an address of others":    {open, func(c *health.Checker) { c.Bind = netip.MustParseAddrPort("192.0.2.1:0") }, nil},
		"to where no route may lead":   {"255.255.255.255:80", nil, nil},
		"to an address of no one host": {"[ff02::1]:80", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := check(row.target)
			if row.change != nil {
				row.change(&c)
			}
			if !plain(c) {
				t.Fatal("it is not plain")
			}
			knocked, dialled := ask(t, r, c), Run(t.Context(), c)
			if row.ends != nil {
				for range 2 {
					if err := <-row.ends; err != io.EOF {
						t.Errorf("the server saw %v, want the end of the stream", err)
					}
				}
			}
			if knocked.Took <= 0 {
				t.Error("it took no time")
			}
			knocked.Took, dialled.Took = 0, 0
			if knocked != dialled || knocked.OK != (row.ends != nil) {
				t.Errorf("knocked: %+v\ndialled: %+v", knocked, dialled)
			}
		})
	}
}

// TestThousandsOfKnocksAreEachAnsweredOnce: with silent ones of several timeouts among them, which hold nobody up and end in time.
func TestThousandsOfKnocksAreEachAnsweredOnce(t *testing.T) {
	target, ends := listen(t, "127.0.0.1:0")
	go func() {
		for range ends {
		}
	}()
	closed, hole := closedPort(t), blackhole(t)
	r := newRunner(200)
	defer r.Close()
	const total = 3000
	var all sync.WaitGroup
	var answers [total]atomic.Int32
	for i := range total {
		c, want := check(target), ""
		switch i % 50 {
		case 1:
			c, want = check(closed), "connection refused"
		case 2:
			c, want = check(hole), "timed out after 60ms"
			c.ConnectTimeout = 60 * time.Millisecond
		case 3:
			c, want = check(hole), "timed out after 20ms"
			c.ConnectTimeout = 20 * time.Millisecond
		default:
			c.ConnectTimeout = 30 * time.Second
		}
		all.Add(1)
		r.Start(c, func(res health.Result) {
			defer all.Done()
			if n := answers[i].Add(1); n != 1 {
				t.Errorf("%d has %d answers", i, n)
			}
			if res.Why != want || res.Timeout && res.Took < c.ConnectTimeout {
				t.Errorf("%d: %+v, want %q", i, res, want)
			}
		})
	}
	all.Wait()
	r.knocks.mu.Lock()
	defer r.knocks.mu.Unlock()
	if n := len(r.knocks.pending); n != 0 {
		t.Errorf("%d are pending", n)
	}
}
