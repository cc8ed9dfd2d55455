package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// A master asks its networks who else has its addresses: a host that was given one by mistake, a real server that answers
// for it, another master that does not hear this one.
const (
	claimAfter  = 2 * time.Second // a change of master: the one before has taken its addresses away
	claimEvery  = time.Minute
	claimListen = 500 * time.Millisecond
)

// claims are the addresses of this director that others have too.
type claims struct {
	events events
	wake   chan struct{} // an instance has become master

	mu    sync.Mutex
	known map[claim]host.MAC
}

type claim struct {
	instance, dev string
	addr          netip.Addr
}

func newClaims(ev events) *claims {
	return &claims{events: ev, wake: make(chan struct{}, 1), known: map[claim]host.MAC{}}
}

// turned is told of each change of an instance. It never waits.
func (c *claims) turned(to vrrp.State) {
	if c != nil && to == vrrp.Master {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// run asks until ctx ends. masters gives what is to be asked for: the addresses of instances that are master.
func (c *claims) run(ctx context.Context, masters func() []claim, ask asker) {
	timer := time.NewTimer(claimEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			timer.Reset(claimAfter)
			continue
		case <-timer.C:
			timer.Reset(claimEvery)
		}
		found := c.ask(masters(), ask)
		still := masters() // another master that says so meanwhile, as this one is none any more, is right
		maps.DeleteFunc(found, func(one claim, _ host.MAC) bool { return !slices.Contains(still, one) })
		if ctx.Err() == nil {
			c.found(found)
		}
	}
}

// asker asks all interfaces for the addresses that are on each, and gives who has which of them, by interface.
type asker func(map[string][]netip.Addr) (map[string]map[netip.Addr]host.MAC, error)

// ask asks each interface for all addresses that are on it. One that cannot be asked says nothing.
func (c *claims) ask(all []claim, ask asker) map[claim]host.MAC {
	byDev := map[string][]netip.Addr{}
	for _, one := range all {
		byDev[one.dev] = append(byDev[one.dev], one.addr)
	}
	macs, err := ask(byDev)
	if err != nil {
		c.events.Debug("virtual addresses: " + err.Error())
	}
	found := map[claim]host.MAC{}
	for _, one := range all {
		if mac, ok := macs[one.dev][one.addr]; ok {
			found[one] = mac
		}
	}
	return found
}

// found says what is new, once.
func (c *claims) found(now map[claim]host.MAC) {
	c.mu.Lock()
	was := c.known
	c.known = now
	c.mu.Unlock()
	for _, one := range inOrder(now) {
		if was[one] != now[one] {
			c.events.Warn(fmt.Sprintf("(%s) %s is in use by another host too: %s on %s answers for it. Take it off that host, or, if that is a real server, see: vipd doctor",
				one.instance, one.addr, now[one], one.dev), "vi", one.instance, "if", one.dev)
		}
	}
	for _, one := range inOrder(was) {
		if _, still := now[one]; !still {
			c.events.Info(fmt.Sprintf("(%s) %s is no longer in use by %s on %s", one.instance, one.addr, was[one], one.dev), "vi", one.instance, "if", one.dev)
		}
	}
}

func inOrder(all map[claim]host.MAC) []claim {
	return slices.SortedFunc(maps.Keys(all), func(a, b claim) int {
		if by := strings.Compare(a.instance, b.instance); by != 0 {
			return by
		}
		return a.addr.Compare(b.addr)
	})
}

// of are those about the addresses of an instance.
func (c *claims) of(instance string) (all []control.Claim) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range inOrder(c.known) {
		if one.instance == instance {
			all = append(all, control.Claim{Address: one.addr.String(), MAC: c.known[one].String(), Interface: one.dev})
		}
	}
	return all
}

// mastered are the addresses of the instances that are master.
func (a *ha) mastered() (all []claim) {
	a.loop.Do(func(time.Time) {
		for _, r := range a.speaker.Routers() {
			if cfg := r.Config(); r.Status().State == vrrp.Master {
				for _, addr := range addresses(cfg) {
					all = append(all, claim{cfg.Name, addr.Dev, addr.Prefix.Addr()})
				}
			}
		}
	})
	return all
}
