package daemon

import (
	"context"
	"time"

	"vipd/internal/vrrp"
)

// Where synchronisation meets a change of master. Whoever gives its addresses up looks at its table once more and tells what is
// not told yet, also what is too young to be told otherwise; whoever takes them over has packets of connections that it does
// not know dropped, and not reset, until it has heard of that look: their clients send them again.

const (
	lastLook     = time.Second            // that a director waits for its peer to have everything, before it gives its addresses up
	turning      = 2 * time.Second        // after a change of master: looks and states follow each other closely
	turningEvery = 10 * time.Millisecond  // … at this distance
	settled      = 300 * time.Millisecond // after a change of master nothing comes to the one before any more
	awaitMost    = 3 * time.Second        // that packets of unknown connections are dropped after a change of master
	awaitAgain   = time.Second            // between two orders to a packet path that is not asked for
)

// turn is what a peering knows of a change of master.
type turn struct {
	idle    bool                 // this director was master of nothing when it was looked at last
	became  time.Time            // when this director became master last
	marks   map[*syncPeer]uint64 // states of this side that a peer must have heard before its look. nil: not settled yet
	over    bool                 // all of them have been heard
	awaited time.Time            // when the packet path was told last; zero: it does not wait
}

// begin is called when this director becomes master.
func (t *turn) begin(now time.Time) { t.idle, t.became, t.marks, t.over = false, now, nil, false }

// turnsMaster has looks and states follow each other closely for a while. now may be master.
func (p *peering) turnsMaster(now time.Time, master bool) {
	p.hasty.Store(now.Add(turning).UnixNano())
	if master {
		p.turn.begin(now)
	}
	p.hurry(now)
	for _, wake := range []chan struct{}{p.wake, p.lookNow} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// isHasty tells whether the master has changed, or is about to.
func (p *peering) isHasty(now time.Time) bool { return now.UnixNano() < p.hasty.Load() }

// hurry has the streams tell all that there is, while the master changes.
func (p *peering) hurry(now time.Time) {
	hasty := p.isHasty(now)
	for _, peer := range p.peers {
		if peer.stream == nil {
			continue // it is not begun
		}
		peer.stream.Parting(hasty)
		if hasty {
			peer.stream.Hurry()
		}
	}
}

// pauseLook waits so long between two looks at the table, of which the last took some time itself.
func (p *peering) pauseLook(ctx context.Context, d, took time.Duration) bool {
	if p.isHasty(time.Now()) {
		d = max(turningEvery, took)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.lookNow:
	case <-t.C:
	}
	return true
}

// await tells the packet path for how long packets of unknown connections are dropped: always while this director is master of
// nothing, so that nothing is late when it becomes that. It may see so before turnsMaster is called.
func (p *peering) await(now time.Time) error {
	want, master := time.Duration(0), p.mastered()
	if master && p.turn.idle {
		p.turn.begin(now)
	}
	p.turn.idle = !master
	switch {
	case !p.anyAlive(now):
	case !master:
		want = awaitMost
	case p.turnOpen(now):
		want = awaitMost - now.Sub(p.turn.became)
	}
	switch {
	case want == 0 && p.turn.awaited.IsZero(), want > 0 && now.Sub(p.turn.awaited) < awaitAgain:
		return nil
	case want == 0:
		p.turn.awaited = time.Time{}
	default:
		p.turn.awaited = now
	}
	return p.table.Await(want)
}

// turnOpen: has a peer connections of before this director became master that are not here?
func (p *peering) turnOpen(now time.Time) bool {
	t := &p.turn
	since := now.Sub(t.became)
	switch {
	case t.over || since >= awaitMost:
		return false
	case since < settled:
		return true
	case t.marks == nil:
		t.marks = map[*syncPeer]uint64{}
		for _, peer := range p.peers {
			t.marks[peer] = peer.stream.Said()
		}
	}
	for _, peer := range p.peers {
		if peer.stream.Status(now).Alive && !peer.stream.HeardSince(t.marks[peer]) {
			return true
		}
	}
	t.over = true
	return false
}

func (p *peering) anyAlive(now time.Time) bool {
	for _, peer := range p.peers {
		if peer.stream.Status(now).Alive {
			return true
		}
	}
	return false
}

// toldSince tells whether every peer that is there has all of a look that began at or after a moment.
func (p *peering) toldSince(now, at time.Time) bool {
	for _, peer := range p.peers {
		if peer.stream != nil && peer.stream.Status(now).Alive && !peer.stream.ToldSince(at) {
			return false
		}
	}
	return true
}

// tellLast waits until the peers have all that the table holds now, for lastLook at most: before this director gives its addresses
// up, and before it ends.
func (d *daemon) tellLast() {
	m := d.servicePool()
	if m == nil {
		return
	}
	began := time.Now()
	for first, told := true, false; !told && time.Since(began) < lastLook; first = false {
		if !first {
			time.Sleep(turningEvery)
		}
		err := m.ask(func() error {
			if m.peers == nil || m.peers.wire == nil {
				told = true
				return nil
			}
			if first {
				m.peers.turnsMaster(began, false)
			}
			told = m.peers.toldSince(time.Now(), began)
			return nil
		})
		if err != nil {
			return
		}
	}
}

// mastered tells whether this director is master of an instance, or there is none that it could be master of.
func (d *daemon) mastered() bool {
	instances, master := false, false
	d.states.Range(func(_, state any) bool {
		instances, master = true, master || state == vrrp.Master
		return true
	})
	return master || !instances
}
