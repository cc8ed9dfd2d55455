package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"

	"vipd/internal/conf"
	"vipd/internal/connsync"
	"vipd/internal/control"
	"vipd/internal/host"
)

// Where the connection table meets vipd's other directors: connection_sync.

// peerWire exchanges datagrams with peers: host.PeerSocket, or a test's. Send never waits.
type peerWire interface {
	Send(datagrams [][]byte, to netip.AddrPort) (sent int, err error)
	Recv(take func(datagram []byte, from netip.AddrPort)) error
	Close() error
}

// peering is the stream to each peer. The pool's loop owns it; its goroutines wait, and ask that loop.
type peering struct {
	*syncing
	cfg      conf.ConnectionSync
	wire     peerWire
	peers    []*syncPeer
	foreign  atomic.Uint64 // datagrams of nobody that is a peer
	unsent   uint64
	stop     func()
	held     gate
	said     string        // what held was told last; "?": nothing
	opening  error         // why the socket is not open
	wake     chan struct{} // something is due earlier than was thought
	due      time.Time     // as was thought
	lookNow  chan struct{} // the next look is due now
	hasty    atomic.Int64  // until when the master changes, in ns since 1970
	turn     turn
	mastered func() bool     // this director is master of something
	heard    []connsync.Conn // that drain learned; the memory of it is used again
	results  results
}

// gate is told why this director must not take over yet, or "", whenever that changes; outside of the loop. It counts until ctx
// ends.
type gate func(ctx context.Context, cause string)

type syncPeer struct {
	addr   netip.AddrPort
	stream *connsync.Stream
	tell   bool // it is told of the line that is looked at
	failed bool // the last datagram to it was not sent
	alive  bool
	caught bool
}

// streamMaxLen is a datagram of 32 connections of IPv4, which the packet path learns at once.
const streamMaxLen = 32 + 4 + 32*40 + 16

// wishPeers makes what connection_sync asks for, if it is not what runs, and reports whether there is something now.
func (m *pool) wishPeers(cfg conf.ConnectionSync, held gate, mastered func() bool) bool {
	cfg.Port, cfg.Adopt = cmp.Or(cfg.Port, conf.PeerPort), false // which is the machine's matter
	if m.syncs == nil {
		if len(cfg.Peers) > 0 {
			m.events.of("sync").Warn("connection_sync has no effect: the kernel's IPVS tells its connections by lvs_sync_daemon alone")
		}
		return false
	}
	if m.peers != nil && m.peers.adapt(cfg, held) {
		return true
	}
	if m.peers != nil {
		m.peers.end()
		m.peers = nil
	}
	if len(cfg.Peers) == 0 {
		return false
	}
	m.peers = newPeering(m.syncs, cfg, held, mastered)
	m.peers.results = m.results()
	m.peers.start(time.Now(), listenPeers)
	return true
}

// adapt takes up what can change while the streams go on: how often they say how they stand, and for how long a director holds
// back. It reports whether that is all of the difference.
func (p *peering) adapt(cfg conf.ConnectionSync, held gate) bool {
	same := cfg
	same.Interval, same.MaxWait = p.cfg.Interval, p.cfg.MaxWait
	if !reflect.DeepEqual(p.cfg, same) {
		return false
	}
	if reflect.DeepEqual(p.cfg, cfg) {
		return true
	}
	p.cfg, p.held, p.said = cfg, held, "?"
	for _, peer := range p.peers {
		if peer.stream != nil {
			peer.stream.SetInterval(p.interval())
		}
	}
	p.rewake()
	return true
}

// rewake has tickPeers look at what is due.
func (p *peering) rewake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func listenPeers(at netip.AddrPort) (peerWire, error) {
	return host.ListenPeers(at, connsync.StreamMaxLen+1)
}

func newPeering(s *syncing, cfg conf.ConnectionSync, held gate, mastered func() bool) *peering {
	p := &peering{syncing: s, cfg: cfg, held: held, said: "?", wake: make(chan struct{}, 1), lookNow: make(chan struct{}, 1), mastered: mastered}
	for _, addr := range cfg.Peers {
		p.peers = append(p.peers, &syncPeer{addr: netip.AddrPortFrom(addr, cfg.Port)})
	}
	return p
}

// start opens the socket and begins; an address that is not there yet is tried again by sample.
func (p *peering) start(now time.Time, listen func(netip.AddrPort) (peerWire, error)) {
	at := p.cfg.Source
	if !at.IsValid() {
		at = netip.IPv4Unspecified()
		if p.cfg.Peers[0].Is6() {
			at = netip.IPv6Unspecified()
		}
	}
	w, err := listen(netip.AddrPortFrom(at, p.cfg.Port))
	if err != nil {
		if p.opening == nil {
			p.events.Error("connection_sync: " + err.Error())
		}
		p.opening = err
		return
	}
	set, err := p.settings()
	if err != nil {
		p.events.Error("connection_sync: " + err.Error())
		_ = w.Close()
		return
	}
	p.wire, p.opening = w, nil
	for _, peer := range p.peers {
		peer.stream = connsync.NewStream(now, p.streamConfig(set.Threshold))
		p.events.Info(fmt.Sprintf("connections are told to and learned from %s", peer.addr))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = func() {
		cancel()
		_ = w.Close()
	}
	key := p.cfg.Key // none of the goroutines reads what adapt changes
	p.wg.Go(func() { p.receivePeers(ctx, w, key) })
	p.wg.Go(func() { p.tickPeers(ctx) })
	p.wg.Go(func() { p.lookForPeers(ctx) })
}

func (p *peering) interval() time.Duration { return cmp.Or(p.cfg.Interval, lookEvery) }

func (p *peering) streamConfig(threshold uint32) connsync.StreamConfig {
	return connsync.StreamConfig{Key: p.cfg.Key, Interval: p.interval(), MaxLen: streamMaxLen, Threshold: threshold, Ticks: p.table.Ticks,
		// Two directors that begin in the same moment have different epochs all the same.
		Lives: func(now time.Time) uint64 { return uint64(now.UnixNano())&^0xffff | rand.Uint64N(1<<16) }}
}

// end stops what runs; syncing.wait waits for it.
func (p *peering) end() {
	if p.stop != nil {
		p.stop()
	}
	p.wire = nil
}

// open tells whether p runs, in the loop.
func (p *peering) open(ctx context.Context) error {
	if ctx.Err() != nil || p.wire == nil {
		return errStopping
	}
	return nil
}

// opened is a datagram of a peer's.
type opened struct {
	from *syncPeer
	connsync.Opened
}

func (p *peering) receivePeers(ctx context.Context, w peerWire, key []byte) {
	hops := newRouser(p.rouse)
	var all []opened
	for {
		all = all[:0]
		err := w.Recv(func(datagram []byte, from netip.AddrPort) {
			// The loop has no work of what strangers send, and never hashes.
			if peer := p.peerAt(from); peer != nil {
				all = append(all, opened{peer, connsync.Open(datagram, key)})
			} else {
				p.foreign.Add(1)
			}
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			p.events.Error("hear peers: " + err.Error())
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		var learned []connsync.Conn
		if len(all) > 0 {
			err = p.ask(func() (err error) {
				if err := p.open(ctx); err != nil {
					return err
				}
				learned, err = p.hearAll(time.Now(), all)
				return err
			})
		}
		if errors.Is(err, errStopping) {
			return
		}
		if err != nil {
			p.events.Error(err.Error())
		}
		hops.learned(time.Now(), learned)
		if !pause(ctx, rest) {
			return
		}
	}
}

// hearAll takes datagrams, in the loop, and does what the streams want done. What was learned is good until the next call.
func (p *peering) hearAll(now time.Time, all []opened) (learned []connsync.Conn, err error) {
	for _, d := range all {
		d.from.stream.ReceiveOpened(now, d.Opened)
	}
	early := false
	p.heard = p.heard[:0]
	for _, peer := range p.peers {
		err = errors.Join(err, p.drain(now, peer))
		early = early || peer.stream.Next().Before(p.due)
	}
	if early {
		p.rewake()
	}
	return p.heard, err
}

func (p *peering) peerAt(from netip.AddrPort) *syncPeer {
	for _, peer := range p.peers {
		if peer.addr.Addr() == from.Addr() {
			return peer
		}
	}
	return nil
}

// drain does what a stream wants done.
func (p *peering) drain(now time.Time, peer *syncPeer) (err error) {
	var datagrams [][]byte
	before := len(p.heard)
	for _, e := range peer.stream.Take() {
		switch e := e.(type) {
		case connsync.Send:
			datagrams = append(datagrams, e.Datagram)
		case connsync.Learn:
			p.heard = append(p.heard, e.Conns...)
		case connsync.Verdicts:
			p.results.heard(now, peer.addr.Addr(), e.All)
		}
	}
	if learned := p.heard[before:]; len(learned) > 0 {
		err = p.learnFrom(now, peer, learned)
	}
	if len(datagrams) > 0 {
		p.send(datagrams, peer)
	}
	return err
}

// send sends, or says once why it does not go: the stream repairs what was lost.
func (p *peering) send(datagrams [][]byte, to *syncPeer) {
	sent, err := p.wire.Send(datagrams, to.addr)
	if err == nil {
		to.failed = false
		return
	}
	p.unsent += uint64(len(datagrams) - sent)
	if errors.Is(err, syscall.EAGAIN) {
		return // no room for the moment
	}
	if !to.failed {
		p.events.Warn(fmt.Sprintf("tell connections to %s: %v", to.addr.Addr(), err))
	}
	to.failed = true
}

// learnFrom puts connections into the table. What has a line now is known to the others too: their peer tells them itself.
func (p *peering) learnFrom(now time.Time, from *syncPeer, conns []connsync.Conn) error {
	lost := 0
	err := p.table.Learn(conns, func(line int, seen connsync.Sight) {
		p.taken(line, seen)
		for _, peer := range p.peers {
			peer.stream.Learned(line, seen)
		}
	}, func(c connsync.Conn, why connsync.Reason) {
		if why == connsync.UnknownServer && p.waits(now, c) {
			return
		}
		p.counts.refused[why]++
		if why != connsync.Stale { // then what is here is later, and nothing is lacking
			lost++
		}
	})
	from.stream.Refused(lost)
	return err
}

// tickPeers says what is to be said in time.
func (p *peering) tickPeers(ctx context.Context) {
	for {
		now, why := time.Now(), ""
		var due time.Time
		var tell gate
		err := p.ask(func() (err error) {
			if err := p.open(ctx); err != nil {
				return err
			}
			due, err = p.tickAll(now)
			if why = p.judge(now); why != p.said {
				p.said, tell = why, p.held
			}
			return err
		})
		if errors.Is(err, errStopping) {
			return
		}
		if err != nil {
			p.events.Error(err.Error())
		}
		if tell != nil {
			tell(ctx, why)
		}
		if !p.sleep(ctx, time.Until(due)) {
			return
		}
	}
}

// tickAll does what is due now, and tells when the next is.
func (p *peering) tickAll(now time.Time) (due time.Time, err error) {
	due = now.Add(p.interval())
	if p.isHasty(now) {
		due = now.Add(turningEvery)
	}
	p.hurry(now)
	p.tellResults(now)
	for _, peer := range p.peers {
		peer.stream.Tick(now)
		err = errors.Join(err, p.drain(now, peer))
		if at := peer.stream.Next(); at.Before(due) {
			due = at
		}
	}
	p.due = due
	return due, errors.Join(err, p.await(now))
}

// sleep waits, or until it is woken; false if ctx has ended.
func (p *peering) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.wake:
	case <-t.C:
	}
	return true
}

// lookForPeers looks at the whole table, tells, and waits, until ctx ends.
func (p *peering) lookForPeers(ctx context.Context) {
	for {
		took, every, ok := p.lookOnce(ctx)
		if !ok || !p.pauseLook(ctx, max(every, p.share()*took), took) {
			return
		}
	}
}

// share is how many times as long as a look takes nobody looks: twice that where no packets come, as the other director is master.
func (p *peering) share() time.Duration {
	if p.mastered() {
		return lookShare
	}
	return 2 * lookShare
}

// lookOnce looks at every line once, part by part, if a peer wants to be told. took is the processor time for it.
func (p *peering) lookOnce(ctx context.Context) (took, every time.Duration, ok bool) {
	start := time.Now()
	for cursor := 0; cursor >= 0; {
		told := 0
		full := false
		err := p.ask(func() (err error) {
			if err := p.open(ctx); err != nil {
				return err
			}
			began := time.Now()
			every = p.interval()
			defer costs(&took)()
			if cursor == 0 {
				err = p.beginLook(began)
			}
			if err != nil {
				return err
			}
			if !p.wanted(began) {
				cursor = -1
				return nil
			}
			cursor, told, err = p.lookPart(began, cursor)
			full = !p.room(began)
			if err == nil && cursor < 0 {
				for _, peer := range p.peers {
					peer.stream.End(time.Now())
				}
				p.counts.look = time.Since(start)
			}
			return errors.Join(err, p.flush(time.Now()))
		})
		if err != nil {
			if !errors.Is(err, errStopping) {
				p.events.Error(err.Error())
			}
			return took, every, !errors.Is(err, errStopping)
		}
		if (told >= burst || full) && cursor >= 0 && !pause(ctx, burstEvery) {
			return took, every, false
		}
	}
	return took, every, true
}

func (p *peering) beginLook(now time.Time) error {
	set, err := p.settings()
	if err != nil {
		return err
	}
	used, _ := p.table.Room()
	for _, peer := range p.peers {
		peer.stream.SetThreshold(set.Threshold)
		peer.stream.Begin(now, used)
	}
	return nil
}

// lookPart tells what a part of the table shows.
func (p *peering) lookPart(now time.Time, cursor int) (next, told int, err error) {
	look := func(tick uint32, line int, s connsync.Sight) (any bool) {
		for _, peer := range p.peers {
			peer.tell = peer.stream.Look(tick, line, s)
			any = any || peer.tell
		}
		return any
	}
	tell := func(c connsync.Conn) {
		for _, peer := range p.peers {
			if peer.tell {
				peer.stream.Tell(now, c)
			}
		}
		told++
	}
	next, err = p.table.Look(cursor, look, tell, func() bool { return told < burst && p.room(now) })
	p.counts.told += uint64(told)
	return next, told, err
}

// wanted: does a peer want to be told?
func (p *peering) wanted(now time.Time) bool {
	for _, peer := range p.peers {
		if peer.stream.Wants(now) {
			return true
		}
	}
	return false
}

// room: can one be told? One that does not acknowledge does not hold up another.
func (p *peering) room(now time.Time) bool {
	for _, peer := range p.peers {
		if peer.stream.Wants(now) && peer.stream.Room() {
			return true
		}
	}
	return false
}

func (p *peering) flush(now time.Time) (err error) {
	for _, peer := range p.peers {
		peer.stream.Flush(now)
		err = errors.Join(err, p.drain(now, peer))
	}
	return err
}

// status shows each peer.
func (p *peering) status(now time.Time) (all []control.SyncPeer) {
	for _, peer := range p.peers {
		one := control.SyncPeer{Address: peer.addr.Addr().String(), Signed: len(p.cfg.Key) > 0, LagNanos: -1, TheirLagNanos: -1}
		if p.opening != nil {
			one.Why = p.opening.Error()
		}
		if peer.stream != nil {
			st := peer.stream.Status(now)
			one.Alive, one.CaughtUp, one.Total, one.Has, one.Told = st.Alive, st.CaughtUp, st.Total, st.Has, st.Counts.Told
			one.LagNanos, one.TheirLagNanos, one.Taken, one.TheirTotal = int64(st.Lag), int64(st.TheirLag), st.Taken, st.TheirTotal
			one.Sent, one.Resent, one.Heard, one.Bulks, one.Resyncs, one.TheyRefused = st.Counts.Sent, st.Counts.Resent, st.Counts.Heard, st.Counts.Bulks, st.Counts.Resyncs, st.Refused
			one.Refused = map[string]uint64{}
			for why, n := range st.Counts.Refused {
				one.Refused[string(why)] = n
			}
			if !st.Alive && one.Why == "" {
				one.Why = silence(st.Silent)
			}
		}
		all = append(all, one)
	}
	return all
}

func silence(d time.Duration) string {
	if d < 0 {
		return "not heard yet"
	}
	return "not heard for " + d.Round(100*time.Millisecond).String()
}
