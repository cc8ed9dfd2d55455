package daemon

import (
	"context"
	"fmt"
	"time"

	"vipd/internal/conf"
	"vipd/internal/connsync"
)

// Where synchronisation meets VRRP: a stronger director that lacks connections of the weaker master leaves it alone for a while.

// judge is why this director must not take over from a weaker one yet, or "". It says what changes with a peer.
func (p *peering) judge(now time.Time) (why string) {
	heard := false
	for _, peer := range p.peers {
		st := peer.stream.Status(now)
		p.turns(peer, &st)
		heard = heard || st.Alive
		if st.Alive && !st.CaughtUp && why == "" {
			why = lacks(peer, &st)
		}
	}
	if !heard {
		return noPeer
	}
	if why == "" {
		why = p.results.lacks(now)
	}
	return why
}

const noPeer = "no peer of connection_sync is heard"

// lacks says how far a peer's connections have come.
func lacks(peer *syncPeer, st *connsync.StreamStatus) string {
	have, of := min(st.Taken, uint64(st.TheirTotal)), st.TheirTotal
	switch {
	case of == 0:
		return fmt.Sprintf("the connections of %s are asked for", peer.addr.Addr())
	case have < uint64(of):
		return fmt.Sprintf("%d %% of the %s connections of %s", have*100/uint64(of), thousands(of), peer.addr.Addr())
	}
	return fmt.Sprintf("the latest connections of %s are to come", peer.addr.Addr())
}

// turns says what changes with a peer.
func (p *peering) turns(peer *syncPeer, st *connsync.StreamStatus) {
	addr := peer.addr.Addr()
	if st.Alive != peer.alive {
		if peer.alive = st.Alive; st.Alive {
			p.results.soon()
			p.events.Info(fmt.Sprintf("peer %s is there", addr))
		} else {
			p.events.Warn(fmt.Sprintf("peer %s is %s", addr, silence(st.Silent)))
		}
	}
	if st.CaughtUp != peer.caught {
		if peer.caught = st.CaughtUp; st.CaughtUp {
			p.events.Info(fmt.Sprintf("caught up with peer %s: %s connections", addr, thousands(st.TheirTotal)))
		}
	}
}

// thousands writes 1000000 as 1,000,000.
func thousands(n uint32) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// withhold has all instances leave a weaker master alone for a cause; "" ends it.
func (a *ha) withhold(now time.Time, cause string, most time.Duration) {
	a.withheld, a.withheldMost = cause, most
	for _, r := range a.speaker.Routers() {
		r.Withhold(now, cause, most)
	}
}

// holdAtStart has a start wait until it is known how far it is behind.
func (d *daemon) holdAtStart() {
	if c := d.cfg.Global.Peering; len(c.Peers) > 0 && len(d.cfg.Health.Services) > 0 {
		d.ha.withhold(time.Now(), noPeer, c.MaxWait)
	}
}

// followPeers makes the pool do what cfg's connection_sync asks for.
func (d *daemon) followPeers(cfg *conf.Config) error {
	c := cfg.Global.Peering
	held := func(ctx context.Context, cause string) {
		d.ha.loop.Send(func(now time.Time) {
			if ctx.Err() == nil { // else it is about peers that are none any more
				d.ha.withhold(now, cause, c.MaxWait)
			}
		})
	}
	runs := false
	m := d.servicePool()
	var err error
	if m != nil {
		err = m.ask(func() error {
			runs = m.wishPeers(c, held, d.mastered)
			return nil
		})
	}
	if !runs {
		held(context.Background(), "")
	}
	return err
}
