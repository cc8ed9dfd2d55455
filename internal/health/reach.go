package health

import (
	"net/netip"
	"time"
)

// Reached tells that a real server's address can be reached again: a link has come back, or the server. What its checks found while
// it could not be says nothing about now, so those that failed are made at once and not after their delay_loop, and one that is under way
// is made again if it fails. Otherwise a director whose link has come back would be master for seconds with an empty pool.
//
// keepalived: waits for the next check.
func (p *Pools) Reached(now time.Time, addr netip.Addr) {
	for _, r := range p.byAddr[addr.Unmap()] {
		for _, c := range r.checks {
			made := c
			if c.lead != nil {
				made = c.lead
			}
			switch {
			case made.running:
				made.void = true
			case !c.up && made.slot >= 0 && made.due.After(now):
				p.schedule(made, now)
			}
		}
	}
}
