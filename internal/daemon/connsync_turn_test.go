package daemon

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/lb"
)

func (f *fakeTable) Await(d time.Duration) error { f.awaits = d; return nil }

// awaits is for how long the packet path of d waits for what others may tell, as it was told last.
func (d *peerDirector) awaits() (left time.Duration) {
	_ = d.loop.ask(func() error { left = d.table.awaits; return nil })
	return left
}

// TestWhoTakesOverWaitsForTheLastLookOfTheOneBefore: packets of unknown connections are dropped while a director is master of nothing
// and hears a peer, and then until it has what that one's table held after the change.
func TestWhoTakesOverWaitsForTheLastLookOfTheOneBefore(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	var master atomic.Bool
	b.mastered = master.Load
	b.begin(n)
	if got := b.awaits(); got != 0 {
		t.Errorf("without a peer it waits %s", got)
	}
	a.begin(n)
	eventually(t, "b waits", func() bool { return b.awaits() > 0 })
	eventually(t, "a hears b", func() (heard bool) { // whom nobody hears is not told
		_ = a.loop.ask(func() error { heard = a.anyAlive(time.Now()); return nil })
		return heard
	})
	if got := a.awaits(); got != 0 {
		t.Errorf("a master waits %s", got)
	}
	var began time.Time
	_ = a.loop.ask(func() error {
		a.table.fill(100)
		for i := range a.table.lines {
			a.table.lines[i].Packets, a.table.lines[i].State = 1, lb.SynRecv // too young to be told otherwise
		}
		began = time.Now()
		a.turnsMaster(began, false)
		return nil
	})
	eventually(t, "a has told", func() (done bool) {
		_ = a.loop.ask(func() error { done = a.toldSince(time.Now(), began); return nil })
		return done
	})
	if got := b.learned(); got != 100 {
		t.Errorf("b has %d connections", got)
	}
	turned := time.Now()
	_ = b.loop.ask(func() error { master.Store(true); b.turnsMaster(time.Now(), true); return nil })
	eventually(t, "b waits no more", func() bool { return b.awaits() == 0 })
	_ = b.loop.ask(func() error {
		if !b.turn.over && time.Since(turned) < awaitMost { // after that nobody waits, whatever was heard
			t.Error("it has not heard that all is there")
		}
		return nil
	})
}

// TestItWaitsAlsoBeforeItIsToldThatItIsMaster: the state of an instance is seen at once, and turnsMaster is called later.
func TestItWaitsAlsoBeforeItIsToldThatItIsMaster(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	var master atomic.Bool
	b.mastered = master.Load
	b.begin(n)
	a.begin(n)
	eventually(t, "b waits", func() bool { return b.awaits() > 0 })
	_ = b.loop.ask(func() error {
		master.Store(true)
		now := time.Now()
		for _, at := range []time.Time{now, now.Add(settled - 1)} {
			if err := b.await(at); err != nil {
				t.Error(err)
			}
			if got := b.table.awaits; got <= 0 {
				t.Errorf("%s after it became master it waits %s", at.Sub(now), got)
			}
		}
		b.turnsMaster(now, true)
		return nil
	})
	eventually(t, "b waits no more", func() bool { return b.awaits() == 0 })
}

// TestWithoutAnAnswerNobodyWaitsForEver: the peer's table cannot be told whole.
func TestWithoutAnAnswerNobodyWaitsForEver(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	b := newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	now := time.Unix(1000, 0)
	b.turn.became = now
	peer := b.peers[0]
	peer.stream = connsync.NewStream(now, b.streamConfig(connsync.DefaultPolicy.Threshold))
	for after, open := range map[time.Duration]bool{0: true, settled - 1: true, awaitMost: false} {
		if got := b.turnOpen(now.Add(after)); got != open {
			t.Errorf("after %s: %v", after, got)
		}
	}
}
