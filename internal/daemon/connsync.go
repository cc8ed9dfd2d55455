package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Where the connection table meets another director: what the table shows goes out as datagrams, what comes in goes into it.

// connTable is a plane whose connections can be told and learned. See plane/xdp.
type connTable interface {
	Ticks(d time.Duration) uint32
	Look(cursor int, look func(now uint32, line int, s connsync.Sight) bool, tell func(connsync.Conn), more func() bool) (next int, err error)
	Room() (used, of int)
	Await(d time.Duration) error
	Learn(conns []connsync.Conn, taken func(line int, s connsync.Sight), refused func(connsync.Conn, connsync.Reason)) error
	Settings() (map[string]uint32, error)
}

// syncWire sends datagrams or receives them: host.SyncSocket, or a test's.
type syncWire interface {
	Send(datagrams [][]byte) (sent int, err error)
	Recv(take func(datagram []byte)) error
	Close() error
}

// syncing is connection synchronisation of this program's own table. The pool's loop owns it; its goroutines do nothing but
// wait, for datagrams or for the next look, and ask that loop.
type syncing struct {
	events events
	table  connTable
	pools  func() ([]plane.Pool, error)
	ask    func(func() error) error
	open   func(d lb.SyncDaemon, port uint16, buffer int) (syncWire, error)
	mtu    func(dev string) (int, error)
	rouse  func(netip.Addr) (via bool, err error) // makes the kernel resolve a client's next hop

	halves   plane.SyncHalves
	stop     map[bool]func() // of the halves that run, by master
	selector *connsync.Selector
	waiting  *connsync.Waiting
	counts   syncCounts
	wg       sync.WaitGroup
}

// syncCounts are since the start of the daemon.
type syncCounts struct {
	told, sent, unsent uint64 // connections; datagrams; datagrams for which there was no room
	heard, learned     uint64 // datagrams; connections
	refused            map[connsync.Reason]uint64
	look               time.Duration // that the last look at the whole table took
}

// syncStatus is nil if no half runs or has run.
func (m *pool) syncStatus() (*control.Sync, error) {
	s := m.syncer()
	if s == nil {
		return nil, nil
	}
	daemons, err := s.Syncs()
	if err != nil {
		return nil, err
	}
	out := &control.Sync{Daemons: daemons}
	if m.syncs != nil {
		m.syncs.count(out)
	}
	if m.peers != nil {
		out.Peers, out.Foreign = m.peers.status(time.Now()), m.peers.foreign.Load()
		out.Unsent += m.peers.unsent
	}
	if len(daemons) == 0 && len(out.Peers) == 0 && out.Sent+out.Received == 0 {
		return nil, nil
	}
	return out, nil
}

func (s *syncing) count(out *control.Sync) {
	c := &s.counts
	out.Told, out.Sent, out.Unsent, out.Received, out.Learned = c.told, c.sent, c.unsent, c.heard, c.learned
	out.Waiting, out.LookNanos = s.waiting.Len(), int64(c.look)
	out.Refused = map[string]uint64{}
	for why, n := range c.refused {
		out.Refused[string(why)] = n
	}
}

var _ plane.Syncer = (*syncing)(nil)

// newSyncing makes one for a plane; nil if that cannot.
func newSyncing(ev events, p plane.Plane, ask func(func() error) error) *syncing {
	table, ok := p.(connTable)
	if !ok {
		return nil
	}
	return &syncing{events: ev, table: table, pools: p.Read, ask: ask, open: openSync, mtu: mtuOf, rouse: host.Rouse,
		stop: map[bool]func(){}, waiting: connsync.NewWaiting(), counts: syncCounts{refused: map[connsync.Reason]uint64{}}}
}

// syncSettings are IPVS's sysctls sync_*.
type syncSettings struct {
	connsync.Policy
	ports    int  // datagrams to so many, from the daemon's on; as they were at its start
	buffer   int  // of the sockets, at the daemon's start. If zero, as large as this program likes them
	queue    int  // datagrams that may wait to be sent. If zero, no limit
	version0 bool // of what is sent
}

// settings are those that hold now.
func (s *syncing) settings() (syncSettings, error) {
	have, err := s.table.Settings()
	if err != nil {
		return syncSettings{}, err
	}
	return syncSettings{
		Policy: connsync.Policy{Threshold: have["sync_threshold"], Period: have["sync_period"], Refresh: time.Duration(have["sync_refresh_period"]) * time.Second,
			Retries: uint8(have["sync_retries"]), PersistOnly: have["sync_persist_mode"] != 0},
		ports: int(have["sync_ports"]), buffer: int(have["sync_sock_size"]), queue: int(have["sync_qlen_max"]), version0: have["sync_version"] == 0}, nil
}

func openSync(d lb.SyncDaemon, port uint16, buffer int) (syncWire, error) {
	at := host.SyncEndpoint{Dev: d.Interface, Group: d.Group, Port: port, TTL: d.TTL, Buffer: buffer}
	if d.Master {
		return host.DialSync(at)
	}
	at.Room = int(d.MaxLen)
	return host.ListenSync(at)
}

// StartSync implements plane.Syncer.
func (s *syncing) StartSync(d lb.SyncDaemon) error {
	have, err := s.pools()
	if err != nil {
		return err
	}
	set, err := s.settings()
	if err != nil {
		return err
	}
	next := s.halves
	if d, err = next.Start(d, have, s.mtu); err != nil {
		return fmt.Errorf("start the sync daemon %s: %w", d.Part(), err)
	}
	var wires []syncWire
	for i := range set.ports {
		w, err := s.open(d, d.Port+uint16(i), set.buffer)
		if err != nil {
			closeAll(wires)
			return fmt.Errorf("start the sync daemon %s: %w", d.Part(), absent(err))
		}
		wires = append(wires, w)
	}
	s.halves = next
	s.begin(d, wires, set)
	s.events.Info(fmt.Sprintf("sync daemon %s runs on %s: group %s port %d, syncid %d", d.Part(), d.Interface, d.Group, d.Port, d.ID), "if", d.Interface)
	return nil
}

func mtuOf(name string) (int, error) {
	link, err := host.LinkByName(name)
	if err == nil && !link.Up {
		err = fmt.Errorf("%s is down: %w", name, plane.ErrNoInterface) // ipvs: as if it were not there
	}
	return link.MTU, absent(err)
}

// absent gives an interface that is not there the meaning that it has for a plane.
func absent(err error) error {
	if errors.Is(err, host.ErrNoInterface) {
		return fmt.Errorf("%w: %w", plane.ErrNoInterface, err)
	}
	return err
}

func closeAll(wires []syncWire) {
	for _, w := range wires {
		_ = w.Close()
	}
}

func (s *syncing) begin(d lb.SyncDaemon, wires []syncWire, set syncSettings) {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop[d.Master] = func() {
		cancel()
		closeAll(wires)
	}
	if d.Master {
		s.selector = connsync.NewSelector(set.Policy, s.table.Ticks)
		s.selector.Retell = s.stop[false] == nil
		out := &syncSender{syncing: s, selector: s.selector, wires: wires}
		for range wires {
			out.packers = append(out.packers, &connsync.Packer{ID: d.ID, MaxLen: int(d.MaxLen)})
		}
		s.wg.Go(func() { out.run(ctx) })
		return
	}
	for _, w := range wires {
		s.wg.Go(func() { s.receive(ctx, d, w) })
	}
}

// StopSync implements plane.Syncer.
func (s *syncing) StopSync(master bool) error {
	if err := s.halves.Stop(master); err != nil {
		return fmt.Errorf("stop the sync daemon %s: %w", lb.SyncDaemon{Master: master}.Part(), err)
	}
	s.stop[master]()
	delete(s.stop, master)
	if master {
		s.selector = nil
	}
	s.events.Info("sync daemon " + lb.SyncDaemon{Master: master}.Part() + " has stopped")
	return nil
}

// Syncs implements plane.Syncer.
func (s *syncing) Syncs() ([]lb.SyncDaemon, error) { return s.halves.List(), nil }

// end stops what runs. Goroutines may still wait for the loop; wait, outside of it, waits for them.
func (s *syncing) end() {
	for master, stop := range s.stop {
		_ = s.halves.Stop(master)
		stop()
	}
	clear(s.stop)
}

func (s *syncing) wait() { s.wg.Wait() }

// rest is how long a receiver leaves what comes lying after it has taken something: at a high rate it is woken, and has the loop
// woken, once for many datagrams.
const rest = 4 * time.Millisecond

// receive takes datagrams until ctx ends.
func (s *syncing) receive(ctx context.Context, d lb.SyncDaemon, w syncWire) {
	hops := newRouser(s.rouse)
	var conns []connsync.Conn
	refused := map[connsync.Reason]uint64{}
	for {
		conns = conns[:0]
		clear(refused)
		heard := uint64(0)
		err := w.Recv(func(datagram []byte) {
			heard++
			connsync.Decode(datagram, d.ID, func(c connsync.Conn) { conns = append(conns, c) }, func(r connsync.Reason) { refused[r]++ })
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			s.events.Error("receive connections: "+err.Error(), "if", d.Interface)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		err = s.ask(func() error {
			s.counts.heard += heard
			for r, n := range refused {
				s.counts.refused[r] += n
			}
			return s.learn(time.Now(), conns)
		})
		if errors.Is(err, errStopping) {
			return
		}
		if err != nil {
			s.events.Error(err.Error(), "if", d.Interface)
		}
		hops.learned(time.Now(), conns)
		if !pause(ctx, rest) {
			return
		}
	}
}

// pause waits; false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// unknownFor is how long a connection waits for its real server of which no timeout is said.
const unknownFor = 3 * time.Minute

// learn puts connections into the table; those of real servers that are not configured wait.
func (s *syncing) learn(now time.Time, conns []connsync.Conn) error {
	return s.table.Learn(conns, s.taken, func(c connsync.Conn, why connsync.Reason) {
		if why != connsync.UnknownServer || !s.waits(now, c) {
			s.counts.refused[why]++
		}
	})
}

// waits keeps a connection whose real server is not configured yet, if there is room.
func (s *syncing) waits(now time.Time, c connsync.Conn) bool {
	timeout := time.Duration(c.Timeout) * time.Second
	if timeout == 0 || timeout > 24*time.Hour {
		timeout = unknownFor
	}
	if c.Dated {
		timeout -= c.Idle
	}
	return s.waiting.Add(now, c, timeout)
}

func (s *syncing) taken(line int, seen connsync.Sight) {
	s.counts.learned++
	if s.selector != nil {
		s.selector.Learned(line, seen)
	}
}

// sample offers what waits to the real servers that are there now.
func (s *syncing) sample(now time.Time) {
	if s.waiting.Len() == 0 {
		return
	}
	var all []connsync.Conn
	s.waiting.Offer(now, func(c connsync.Conn) bool { all = append(all, c); return true })
	if err := s.learn(now, all); err != nil {
		s.events.Error(err.Error())
	}
}

// unbound lists what waits as connections.
func (s *syncing) unbound(now time.Time) (all []lb.Conn) {
	s.waiting.All(now, func(c connsync.Conn) {
		template := c.Flags&connsync.Template != 0
		all = append(all, lb.Conn{Protocol: c.Protocol, Client: c.Client, Virtual: c.Virtual, Real: c.Real, Forward: c.Forward(), State: c.State,
			Template: template, Assured: template && c.State == 1, Expires: time.Duration(c.Timeout) * time.Second, Engine: c.Engine, EngineData: c.EngineData})
	})
	return all
}
