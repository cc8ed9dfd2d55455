package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/loop"
)

// A director whose way to all its real servers goes does not empty its pool, where max_eject says so; when the way is there
// again all are in it.
func TestADirectorThatIsCutOffKeepsItsPool(t *testing.T) {
	inEmptyNamespace(t, func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Error(err)
			return
		}
		service := health.Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}}, MaxEject: 50}
		for i := range 4 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:80", i+11))
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			service.Reals = append(service.Reals, health.Real{Real: lb.Real{Addr: netip.MustParseAddrPort(l.Addr().String()), Weight: 1},
				Checkers: []health.Checker{{Kind: health.TCPCheck, Retry: 1, DelayLoop: 50 * time.Millisecond, DelayBeforeRetry: 20 * time.Millisecond, ConnectTimeout: time.Second}}})
		}
		pools := health.New(health.Config{Services: []health.Service{service}}, nil)
		asked := make(chan health.Probe, 64) // made on this thread, which is in the namespace
		var owner *loop.Loop
		owner = loop.New(pools, func(time.Time) {
			for _, e := range pools.Take() {
				if p, ok := e.(health.Probe); ok {
					asked <- p
				}
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { owner.Run(ctx) })
		defer func() { cancel(); group.Wait() }()
		owner.Do(pools.Start)
		healthy := func() (in, failing int) {
			owner.Do(func(time.Time) {
				for _, r := range pools.Status()[0].Reals {
					if r.InPool {
						in++
					}
					if !r.Checks[0].Up {
						failing++
					}
				}
			})
			return in, failing
		}
		until := func(in, failing int) {
			for end := time.Now().Add(30 * time.Second); ; {
				p := <-asked
				res := Run(ctx, p.Checker)
				owner.Do(func(now time.Time) { pools.Observe(now, p.ID, res) })
				a, b := healthy()
				if a < 2 {
					t.Errorf("%d real servers are in the pool", a)
				}
				if a == in && b == failing {
					return
				}
				if time.Now().After(end) {
					t.Errorf("%d in the pool, %d fail; want %d and %d", a, b, in, failing)
					return
				}
			}
		}
		until(4, 0)
		if err := netlink.LinkSetDown(lo); err != nil {
			t.Error(err)
		}
		until(2, 4)
		if err := netlink.LinkSetUp(lo); err != nil {
			t.Error(err)
		}
		until(4, 0)
	})
}
