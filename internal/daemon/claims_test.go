package daemon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// TestOthersThatHaveAVirtualAddressAreSaidOnce: two seconds after a change of master and every minute it is asked; what is new
// is a warning, what has gone an event, what is as before nothing.
func TestOthersThatHaveAVirtualAddressAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		ev, err := newEvents(&said, "", false)
		if err != nil {
			t.Fatal(err)
		}
		c := newClaims(ev)
		one := claim{"VI_1", "eth0", netip.MustParseAddr("10.0.8.9")}
		two := claim{"VI_1", "eth1", netip.MustParseAddr("10.0.9.9")}
		var mu sync.Mutex // of what follows, between this goroutine and that which asks
		there := map[netip.Addr]host.MAC{}
		asked := 0
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.run(ctx, func() []claim { return []claim{one, two} }, func(ask map[string][]netip.Addr) (map[string]map[netip.Addr]host.MAC, error) {
				mu.Lock()
				defer mu.Unlock()
				if len(ask) != 2 || len(ask["eth0"]) != 1 || len(ask["eth1"]) != 1 {
					t.Errorf("asked %v", ask)
				}
				asked++
				return map[string]map[netip.Addr]host.MAC{"eth0": there}, errors.New("eth1: it is down")
			})
		}()
		step := func(has map[netip.Addr]host.MAC, wait time.Duration, warnings int, wantAsked int) {
			t.Helper()
			mu.Lock()
			there = has
			mu.Unlock()
			time.Sleep(wait)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if n := strings.Count(said.String(), "WARNING (VI_1) 10.0.8.9 is in use by another host too: 02:00:00:00:00:0"); n != warnings || asked != wantAsked {
				t.Errorf("%d warnings, want %d; asked %d times, want %d\n%s", n, warnings, asked, wantAsked, &said)
			}
		}
		c.turned(vrrp.Backup)
		first, second := map[netip.Addr]host.MAC{one.addr: {2, 0, 0, 0, 0, 1}}, map[netip.Addr]host.MAC{one.addr: {2, 0, 0, 0, 0, 2}}
		step(first, claimAfter+time.Millisecond, 0, 0)
		c.turned(vrrp.Master)
		step(first, claimAfter-time.Millisecond, 0, 0)
		step(first, 2*time.Millisecond, 1, 1)
		step(first, claimEvery, 1, 2)
		step(second, claimEvery, 2, 3)
		if got := c.of("VI_1"); len(got) != 1 || got[0].MAC != "02:00:00:00:00:02" || got[0].Address != "10.0.8.9" || got[0].Interface != "eth0" {
			t.Errorf("status: %v", got)
		}
		step(nil, claimEvery, 2, 4)
		if !strings.Contains(said.String(), "(VI_1) 10.0.8.9 is no longer in use by 02:00:00:00:00:02 on eth0") || c.of("VI_1") != nil {
			t.Errorf("after it has gone: %v\n%s", c.of("VI_1"), &said)
		}
		end()
		<-ended
	})
}

// A peer that has become master while it was asked has its addresses by right.
func TestWhoTookOverMeanwhileIsNoStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		ev, err := newEvents(&said, "", false)
		if err != nil {
			t.Fatal(err)
		}
		c := newClaims(ev)
		one := claim{"VI_1", "eth0", netip.MustParseAddr("10.0.8.9")}
		masters := []claim{one}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		asked := false
		go func() {
			defer close(ended)
			c.run(ctx, func() []claim { return masters }, func(map[string][]netip.Addr) (map[string]map[netip.Addr]host.MAC, error) {
				masters, asked = nil, true
				return map[string]map[netip.Addr]host.MAC{one.dev: {one.addr: {2, 0, 0, 0, 0, 1}}}, nil
			})
		}()
		time.Sleep(claimEvery + time.Second)
		synctest.Wait()
		end()
		<-ended
		if !asked || strings.Contains(said.String(), "in use by another host") || c.of("VI_1") != nil {
			t.Errorf("asked %t\n%s", asked, &said)
		}
	})
}
