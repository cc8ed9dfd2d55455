package probe

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/loop"
)

// The machine, its loop and real connections together, as the daemon joins them.
func TestARealServerThatDiesGoesOutAndComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	real := health.Real{Real: lb.Real{Addr: netip.MustParseAddrPort(l.Addr().String()), Weight: 1}}
	real.Checkers = []health.Checker{{Kind: health.TCPCheck, Retry: 2, DelayLoop: 50 * time.Millisecond,
		DelayBeforeRetry: 20 * time.Millisecond, ConnectTimeout: time.Second}}
	key := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	pools := health.New(health.Config{Services: []health.Service{{Service: lb.Service{ServiceKey: key}, Reals: []health.Real{real}}}}, nil)

	said := make(chan string, 64)
	runner := NewRunner(nil, nil)
	var owner *loop.Loop
	owner = loop.New(pools, func(time.Time) {
		for _, e := range pools.Take() {
			switch e := e.(type) {
			case health.Probe:
				runner.Start(e.Checker, func(res health.Result) {
					owner.Send(func(now time.Time) { pools.Observe(now, e.ID, res) })
				})
			case health.Say:
				said <- e.Text
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { owner.Run(ctx) })
	defer func() { runner.Close(); cancel(); group.Wait() }()

	name := lb.EndpointName(lb.TCP, real.Addr)
	expect := func(lines ...string) {
		t.Helper()
		for _, want := range lines {
			select {
			case got := <-said:
				if got != want {
					t.Fatalf("said %q, want %q", got, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("nobody said %q", want)
			}
		}
	}
	owner.Do(pools.Start)
	expect("Gained quorum 1+0=1 <= 1 for VS [10.0.8.9]:tcp:80",
		"Activating healthchecker for service "+name+" for VS [10.0.8.9]:tcp:80",
		"TCP connection to "+name+" success.")
	l.Close()
	expect("TCP_CHECK on service "+name+" failed after 2 retries.",
		"Removing service "+name+" from VS [10.0.8.9]:tcp:80",
		"Lost quorum 1-0=1 > 0 for VS [10.0.8.9]:tcp:80")
	if l, err = net.Listen("tcp", real.Addr.String()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expect("TCP connection to "+name+" success.",
		"Adding service "+name+" to VS [10.0.8.9]:tcp:80",
		"Gained quorum 1+0=1 <= 1 for VS [10.0.8.9]:tcp:80")
}
