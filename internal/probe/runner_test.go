package probe

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vipd/internal/health"
)

func newRunner(limit int) *Runner {
	r := NewRunner(nil, nil)
	r.limit, r.knocks.limit = limit, limit
	return r
}

func TestEveryCheckIsAnsweredOnceAndNeverMoreThanTheLimitAreUnderWay(t *testing.T) {
	const limit, total = 4, 100
	target, ends := listen(t, "127.0.0.1:0")
	go func() {
		for range ends {
		}
	}()
	var now, most, calls atomic.Int64
	r := newRunner(limit)
	defer r.Close()
	var wg sync.WaitGroup
	wg.Add(total)
	for range total {
		r.Start(check(target), func(res health.Result) {
			defer wg.Done()
			// done is called by the goroutine that made the check, so as many are here as may be under way.
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			calls.Add(1)
			if !res.OK {
				t.Errorf("%+v", res)
			}
			now.Add(-1)
		})
	}
	wg.Wait()
	if calls.Load() != total || most.Load() > limit {
		t.Errorf("%d answers, %d at once; want %d and at most %d", calls.Load(), most.Load(), total, limit)
	}
}

func TestABlackHoleDoesNotHoldUpTheOthers(t *testing.T) {
	hole, target := blackhole(t), closedPort(t)
	r := newRunner(2)
	defer r.Close()
	slow := check(hole)
	slow.ConnectTimeout = time.Hour
	r.Start(slow, func(health.Result) { t.Error("the black hole answered") })
	got := make(chan string, 10)
	for range 10 {
		r.Start(check(target), func(res health.Result) { got <- res.Why })
	}
	for range 10 {
		if why := <-got; why != "connection refused" {
			t.Errorf("%s", why)
		}
	}
}

func TestCloseCancelsWhatIsUnderWayAndWhatWaits(t *testing.T) {
	slow := check(blackhole(t))
	slow.ConnectTimeout = time.Hour
	r := newRunner(3)
	for range 10 {
		r.Start(slow, func(res health.Result) { t.Errorf("after Close: %+v", res) })
	}
	start := time.Now()
	r.Close()
	r.Close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Close took %v", d)
	}
	r.Start(health.Checker{Kind: health.TCPCheck, Target: netip.MustParseAddrPort("127.0.0.1:1")}, func(health.Result) { t.Error("started after Close") })
}
