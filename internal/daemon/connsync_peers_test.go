package daemon

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"vipd/internal/conf"
	"vipd/internal/connsync"
	"vipd/internal/health"
	"vipd/internal/plane"
)

// peerNet carries datagrams between addresses. Who is cut off hears nothing and is not heard.
type peerNet struct {
	mu  sync.Mutex
	at  map[netip.AddrPort]*peerEnd
	cut map[netip.Addr]bool
}

type peerEnd struct {
	net  *peerNet
	own  netip.AddrPort
	in   chan peerDatagram
	done chan struct{}
	once sync.Once
}

type peerDatagram struct {
	from netip.AddrPort
	data []byte
}

func (n *peerNet) listen(at netip.AddrPort) (peerWire, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &peerEnd{net: n, own: at, in: make(chan peerDatagram, 4000), done: make(chan struct{})}
	n.at[at] = e
	return e, nil
}

func (e *peerEnd) Send(datagrams [][]byte, to netip.AddrPort) (sent int, err error) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	other := e.net.at[to]
	if other == nil || e.net.cut[e.own.Addr()] || e.net.cut[to.Addr()] {
		return len(datagrams), nil
	}
	for _, b := range datagrams {
		select {
		case other.in <- peerDatagram{e.own, slices.Clone(b)}:
		default:
		}
	}
	return len(datagrams), nil
}

func (e *peerEnd) Recv(take func([]byte, netip.AddrPort)) error {
	select {
	case d := <-e.in:
		take(d.data, d.from)
		for range len(e.in) {
			d := <-e.in
			take(d.data, d.from)
		}
		return nil
	case <-e.done:
		return os.ErrClosed
	}
}

func (e *peerEnd) Close() error { e.once.Do(func() { close(e.done) }); return nil }

// peerDirector is one with a table and its peers.
type peerDirector struct {
	*peering
	table *fakeTable
	loop  *locked
	held  func() []string // causes, in their order
}

func newPeerDirector(t *testing.T, n *peerNet, own string, others ...string) *peerDirector {
	t.Helper()
	table, l := &fakeTable{Memory: plane.NewMemory()}, &locked{}
	s := newSyncing(events{slog.New(slog.NewTextHandler(io.Discard, nil))}, table, l.ask)
	s.rouse = func(netip.Addr) (bool, error) { return false, nil }
	cfg := conf.ConnectionSync{Source: netip.MustParseAddr(own), Port: conf.PeerPort, Interval: 20 * time.Millisecond}
	for _, o := range others {
		cfg.Peers = append(cfg.Peers, netip.MustParseAddr(o))
	}
	var mu sync.Mutex
	var causes []string
	d := &peerDirector{table: table, loop: l, held: func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(causes) }}
	d.peering = newPeering(s, cfg, func(_ context.Context, cause string) { mu.Lock(); defer mu.Unlock(); causes = append(causes, cause) }, func() bool { return true })
	t.Cleanup(func() {
		_ = l.ask(func() error { d.end(); l.ended = true; return nil })
		s.wait()
	})
	return d
}

func (d *peerDirector) begin(n *peerNet) {
	_ = d.loop.ask(func() error { d.start(time.Now(), n.listen); return nil })
}

func (d *peerDirector) learned() (n int) {
	_ = d.loop.ask(func() error { n = len(d.table.learned); return nil })
	return n
}

func TestPeersTellEachOtherTheirTables(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	a.table.fill(5000)
	a.begin(n)
	b.begin(n)
	eventually(t, "b has all", func() bool { return b.learned() == 5000 })
	eventually(t, "both may take over", func() bool {
		return slices.Contains(a.held(), "") && slices.Contains(b.held(), "")
	})
	eventually(t, "a knows that b has all", func() (done bool) {
		_ = a.loop.ask(func() error {
			st := a.status(time.Now())[0]
			done = st.Alive && st.Total == 5000 && st.Has == 5000 && st.LagNanos >= 0 && st.Coverage() == 100
			return nil
		})
		return done
	})
	_ = b.loop.ask(func() error {
		for i, c := range b.table.learned {
			if c.Dated = false; c.Client != a.table.conns[i].Client || c.State != a.table.conns[i].State {
				t.Fatalf("%+v", c)
			}
		}
		return nil
	})
}

func TestWhatAPeerTellsOfAnUnknownServerWaits(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	a.table.fill(10)
	b.table.unknown = netip.MustParseAddr("10.0.8.12")
	a.begin(n)
	b.begin(n)
	eventually(t, "they wait", func() (done bool) {
		_ = b.loop.ask(func() error { done = b.waiting.Len() == 10; return nil })
		return done
	})
	if b.learned() != 0 {
		t.Error("they are in the table")
	}
}

// TestADirectorThatWasCutOffHoldsBackAgain: until what happened meanwhile has come.
func TestADirectorThatWasCutOffHoldsBackAgain(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	a.begin(n)
	b.begin(n)
	eventually(t, "b may take over", func() bool { return slices.Contains(b.held(), "") })
	set := func(cut bool) { n.mu.Lock(); n.cut[b.cfg.Source] = cut; n.mu.Unlock() }
	set(true)
	eventually(t, "b notices", func() bool { h := b.held(); return h[len(h)-1] == noPeer })
	_ = a.loop.ask(func() error { a.table.fill(3000); return nil })
	set(false)
	eventually(t, "b has caught up", func() bool { h := b.held(); return h[len(h)-1] == "" })
	if got := b.learned(); got != 3000 {
		t.Errorf("it has caught up with %d", got)
	}
}

func TestStrangersAreCountedAndNotHeard(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2")
	a.begin(n)
	stranger := newPeerDirector(t, n, "10.0.0.3", "10.0.0.1")
	stranger.table.fill(10)
	stranger.begin(n)
	eventually(t, "they are counted", func() (done bool) {
		_ = a.loop.ask(func() error { done = a.foreign.Load() > 3; return nil })
		return done
	})
	if a.learned() != 0 {
		t.Error("something was learned of a stranger")
	}
}

func TestHowFarAPeersConnectionsHaveCome(t *testing.T) {
	peer := &syncPeer{addr: netip.MustParseAddrPort("10.0.0.2:8849")}
	for _, tc := range []struct {
		taken uint64
		of    uint32
		want  string
	}{
		{0, 0, "the connections of 10.0.0.2 are asked for"},
		{610_000, 1_000_000, "61 % of the 1,000,000 connections of 10.0.0.2"},
		{1_000_100, 1_000_000, "the latest connections of 10.0.0.2 are to come"},
	} {
		if got := lacks(peer, &connsync.StreamStatus{Taken: tc.taken, TheirTotal: tc.of}); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// TestAReloadThatChangesOnlyTimesKeepsTheStreams: nothing is told anew, and the bound is told to who holds back.
func TestAReloadThatChangesOnlyTimesKeepsTheStreams(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	a.table.fill(100)
	a.begin(n)
	b.begin(n)
	eventually(t, "b has caught up", func() bool { return slices.Contains(b.held(), "") })
	told := make(chan string, 10)
	m := &pool{events: a.events, syncs: b.syncing, peers: b.peering}
	cfg := b.cfg
	cfg.Interval, cfg.MaxWait = 50*time.Millisecond, time.Minute
	_ = b.loop.ask(func() error {
		stream := b.peers[0].stream
		if !m.wishPeers(cfg, func(_ context.Context, cause string) { told <- cause }, b.mastered) || m.peers != b.peering || b.peers[0].stream != stream || b.interval() != cfg.Interval {
			t.Error("the streams began anew")
		}
		return nil
	})
	if got := <-told; got != "" {
		t.Errorf("told %q", got)
	}
	_ = a.loop.ask(func() error {
		if st := a.peers[0].stream.Status(time.Now()); st.Counts.Bulks != 1 {
			t.Errorf("%d whole tables were asked for", st.Counts.Bulks)
		}
		return nil
	})
}

// TestPeersTellEachOtherWhatTheirChecksFind: at once when they are there, and when a verdict has changed.
func TestPeersTellEachOtherWhatTheirChecksFind(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	found := health.Verdict{Service: webKey, Real: netip.MustParseAddrPort("10.0.8.12:80"), Up: true, For: time.Minute, Why: "it answers"}
	var heard []health.Verdict
	var from netip.Addr
	a.results = results{ask: func(time.Time) []health.Verdict { return []health.Verdict{found} }, told: func(time.Time, netip.Addr, []health.Verdict) {}}
	b.results = results{ask: func(time.Time) []health.Verdict { return nil }, told: func(_ time.Time, peer netip.Addr, all []health.Verdict) { from, heard = peer, all }}
	a.begin(n)
	b.begin(n)
	last := func(want health.Verdict) func() bool {
		return func() (done bool) {
			_ = b.loop.ask(func() error { done = from == a.cfg.Source && slices.Equal(heard, []health.Verdict{want}); return nil })
			return done
		}
	}
	eventually(t, "b hears it", last(found))
	changed := found
	changed.Up = false
	_ = a.loop.ask(func() error {
		found = changed
		a.results.soon()
		if wait := a.results.next.Sub(a.results.last); wait > resultsSoon {
			t.Errorf("a change is told after %s", wait)
		}
		return nil
	})
	eventually(t, "b hears of the change", last(changed))
}

// TestWhoFindsNoRealServerLeavesAPeerThatDoes: it has caught up, and its clients would have no server.
func TestWhoFindsNoRealServerLeavesAPeerThatDoes(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	short := true
	a.results.short = func(time.Time) (string, netip.Addr, bool) { return "web", b.cfg.Source, short }
	a.begin(n)
	b.begin(n)
	eventually(t, "a says so", func() bool {
		return slices.Contains(a.held(), "the checks find no real server of VS web, those of 10.0.0.2 do")
	})
	if slices.Contains(a.held(), "") {
		t.Error("it was free before")
	}
	_ = a.loop.ask(func() error { short = false; return nil })
	eventually(t, "a is free", func() bool { return slices.Contains(a.held(), "") })
}
