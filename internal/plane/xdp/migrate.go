package xdp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Taking over a packet path of another layout. It is read by the names of its members and goes on forwarding, while another one is
// made beside it under the name DIR~: the same services by the same steps as anybody makes them, and the connections in
// connsync's words, as another director would tell them. When that is filled the two names are exchanged, the new program gets the
// interfaces, and what happened in between is learned too.

// Migration is what Open has taken over from another layout.
type Migration struct {
	Layout      uint32 // that it had
	Connections int    // that were learned, templates too
	Lost        int    // that could not be: no room, FULLNAT without a local end, or a real server that was removed
}

// Migrated tells whether Open took over another layout.
func (p *Plane) Migrated() (Migration, bool) {
	if p.moved == nil {
		return Migration{}, false
	}
	return p.moved.Migration, true
}

// migration is one that goes on.
type migration struct {
	Migration
	from  *source
	lock  *os.File // of its directory
	known map[int]told
	given int                        // lines that Learn was given
	lost  map[connsync.Conn]struct{} // of them, by their keys alone: those that it refused when it was given them last
	other int                        // lines that it was not given, as nothing can be made of them
}

// identity is a connection without what changes.
func identity(c connsync.Conn) connsync.Conn {
	return connsync.Conn{Protocol: c.Protocol, Client: c.Client, Virtual: c.Virtual, Flags: c.Flags & connsync.Template, EngineData: c.EngineData}
}

// told is a line of the source as it was learned last.
type told struct {
	life    uint64
	expires uint32
}

// foreignLayout says that the pins are of another layout.
type foreignLayout struct{ have meta }

func (e foreignLayout) Error() string {
	return fmt.Sprintf("it has layout %d, this version needs %d", e.have.Layout, layout)
}

// readable tells whether members of the same name mean the same in both layouts.
func (e foreignLayout) readable() bool {
	since := e.have.Since
	if since == 0 {
		since = e.have.Layout
	}
	return e.have.Layout >= layoutSince && (layout >= since)
}

// movable opens what err is about, if it is another layout that can be read; else it returns err.
func movable(dir string, err error) (*source, error) {
	var other foreignLayout
	if !errors.As(err, &other) || !other.readable() {
		return nil, err
	}
	s, e := openSource(dir, other.have)
	if e != nil {
		return nil, fmt.Errorf("%w, and cannot be read: %w", err, e)
	}
	return s, nil
}

// Passes over the table before the change: until little has changed, or so many.
const (
	passesMost = 4
	passFew    = 1000
	lateAfter  = 50 * time.Millisecond // packets that the old program had in hand are done
)

// migrate makes p of what is pinned in p.dir in another layout. On failure nothing of that was touched.
func (p *Plane) migrate(opts Options, from *source) (err error) {
	temp := p.dir + "~"
	m := &migration{Migration: Migration{Layout: from.meta.Layout}, from: from, lock: p.lock, known: map[int]told{}}
	if err := removeStale(temp); err != nil {
		return err
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		return explain("make the pin directory", err)
	}
	defer func() {
		if err == nil {
			return
		}
		if p.lock != m.lock {
			p.lock.Close() // removeStale takes it
			p.lock = m.lock
		}
		err = errors.Join(err, removeStale(temp))
	}()
	opts.Services, opts.Reals = max(opts.Services, from.maps[bpf.LbMapServices].MaxEntries()), max(opts.Reals, from.maps[bpf.LbMapReals].MaxEntries())
	opts.TableSize = max(opts.TableSize, uint32(from.TableSize()))
	if err := p.fill(temp, opts); err != nil {
		return err
	}
	if err := p.readAll(); err != nil {
		return err
	}
	if err := p.resemble(from); err != nil {
		return err
	}
	for pass := 0; pass < passesMost; pass++ {
		n, err := m.pass(p, false)
		if err != nil {
			return err
		}
		if pass > 0 && n < passFew {
			break
		}
	}
	if err := errors.Join(p.pave(), p.Await(awaitMoved), pinAlso(p.dir, temp)); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, p.dir, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchange the pins: %w", err)
	}
	p.moved = m
	return nil
}

// awaitMoved is for how long packets of connections are dropped that were not learned yet.
const awaitMoved = 3 * time.Second

// settleMoved learns what the old program has seen until it was replaced, and removes it.
func (p *Plane) settleMoved() error {
	m := p.moved
	if m == nil {
		return nil
	}
	defer m.end()
	_, err := m.pass(p, true)
	time.Sleep(lateAfter)
	_, again := m.pass(p, true)
	err = errors.Join(err, again, p.Await(0))
	m.lock.Close() // removeStale takes it
	return errors.Join(err, removeStale(p.dir+"~"))
}

// end lets go of the other layout.
func (m *migration) end() {
	m.from.close()
	m.lock.Close()
	m.known = nil
}

// pinAlso pins the links of one directory in another one too.
func pinAlso(dir, also string) error {
	for _, name := range pinned(dir) {
		if !strings.HasPrefix(name, linkPrefix) {
			continue
		}
		l, err := link.LoadPinnedLink(filepath.Join(dir, name), nil)
		if err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
		info, err := l.Info()
		l.Close()
		if err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
		same, err := link.NewFromID(info.ID)
		if err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
		err = same.Pin(filepath.Join(also, name))
		same.Close()
		if err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
	}
	return nil
}

// resemble gives p all that user space has told the other one.
func (p *Plane) resemble(from *source) error {
	if err := p.tuneLike(from); err != nil {
		return err
	}
	if err := p.linkLike(from); err != nil {
		return err
	}
	for addr, hop := range from.hops {
		p.hops[addr] = hop
	}
	if err := p.SetClasses(from.classes); err != nil {
		return err
	}
	var ops []plane.Op
	for _, s := range from.sorted() {
		if s.alive {
			ops = append(ops, likeness(s)...)
		}
	}
	if err := p.Apply(ops); err != nil {
		return err
	}
	return p.countLike(from)
}

// likeness are the steps that make a service as it is.
func likeness(s *service) []plane.Op {
	ops := []plane.Op{{Verb: plane.AddService, Service: s.spec}}
	for _, r := range s.reals {
		first := r.spec
		if first.Weight == 0 && r.lastWeight > 0 { // mh counts with what it was
			first.Weight = r.lastWeight
		}
		ops = append(ops, plane.Op{Verb: plane.AddReal, Service: s.spec, Real: first})
		if first.Weight != r.spec.Weight {
			ops = append(ops, plane.Op{Verb: plane.EditReal, Service: s.spec, Real: r.spec})
		}
	}
	return ops
}

// tuneLike takes over timeouts and settings; those that the other layout does not have stay as they begin.
func (p *Plane) tuneLike(from *source) error {
	var own, theirs bpf.LbTunables
	if err := errors.Join(p.maps.get(bpf.LbMapTuning, 0, &own), from.maps.get(bpf.LbMapTuning, 0, &theirs)); err != nil {
		return err
	}
	have, classes := own.Have, own.Classes
	own = theirs
	own.Have, own.Classes, own.Patience = have, classes, 0
	p.clock.rates(&own)
	return p.maps.put(bpf.LbMapTuning, 0, own)
}

// linkLike takes over what is known of interfaces and of other directors.
func (p *Plane) linkLike(from *source) error {
	if err := from.readPorts(); err != nil {
		return err
	}
	links := from.maps[bpf.LbMapLinks]
	err := each(links, func(key, value []byte) error {
		var index uint32
		var l bpf.LbLink
		if err := errors.Join(decode(key, &index), decode(value, &l)); err != nil {
			return err
		}
		return p.SetLink(int(index), l.Mac, l.Attached != 0)
	})
	if err != nil {
		return err
	}
	stations := map[Station]int{}
	var at bpf.LbStation
	var index uint32
	for all := from.maps[bpf.LbMapStations].Iterate(); all.Next(&at, &index); {
		stations[Station{Port{int(at.Ifindex), [2]uint16{port16(at.Tci[0]), port16(at.Tci[1])}}, at.Mac}] = int(index)
	}
	if err := p.SetPorts(from.ports, stations); err != nil {
		return err
	}
	return p.peersLike(from)
}

func (p *Plane) peersLike(from *source) error {
	p.directors = nil
	var key bpf.LbPeerKey
	var value uint32
	entries := map[bpf.LbPeerKey]uint32{}
	for all := from.maps[bpf.LbMapPeers].Iterate(); all.Next(&key, &value); {
		entries[key] = value
	}
	if len(entries) == 0 {
		return nil
	}
	return errors.Join(setEntries(p.maps[bpf.LbMapPeers], entries), p.setHave(bpf.LbHaveHAVE_PEERS, true))
}

// countLike has counters go on where they stand. What is counted until the change is lost.
func (p *Plane) countLike(from *source) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	for key, s := range from.services {
		own := p.services[key]
		if own == nil || !s.alive {
			continue
		}
		var all, before lb.Counters
		for _, list := range [][]*real{s.reals, s.gone} {
			for _, r := range list {
				n, err := from.counted(r.index)
				if err != nil {
					return err
				}
				before = before.Add(n)
				at := own.find(r.spec.Addr)
				if at < 0 {
					continue
				}
				all = all.Add(n)
				each := make([]counters, cpus)
				each[0] = countersOf(n)
				index := own.reals[at].index
				var zero counters
				if err := errors.Join(p.maps.put(bpf.LbMapRealCounters, index, each), from.maps.get(zeroRealsMap, r.index, &zero), p.maps.put(zeroRealsMap, index, zero)); err != nil {
					return err
				}
			}
		}
		shown, err := from.since(before, zeroServicesMap, s.index)
		if err != nil {
			return err
		}
		if err := p.maps.put(zeroServicesMap, own.index, countersOf(less(all, countersOf(shown)))); err != nil {
			return err
		}
	}
	return nil
}

// pass learns what the source's table has, and what has changed in it since the pass before; late: of another state alone, as the
// new program has the packets and knows better when they came.
func (m *migration) pass(p *Plane, late bool) (n int, err error) {
	now, err := p.tick()
	if err != nil {
		return 0, err
	}
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return 0, err
	}
	reals := m.from.byIndex()
	batch := make([]connsync.Conn, 0, 1024)
	if m.lost == nil {
		m.lost = map[connsync.Conn]struct{}{}
	}
	flush := func() error {
		if len(m.lost) > 0 {
			for _, c := range batch {
				delete(m.lost, identity(c))
			}
		}
		err := p.Learn(batch, func(int, connsync.Sight) { n++ }, func(c connsync.Conn, why connsync.Reason) {
			if why != connsync.Stale {
				m.lost[identity(c)] = struct{}{}
			}
		})
		batch = batch[:0]
		m.Connections, m.Lost = m.given-len(m.lost), m.other+len(m.lost)
		return err
	}
	var copied line
	for i := range m.from.count() {
		if !m.from.line(i, &copied) {
			continue
		}
		c := (*conn)(unsafe.Pointer(&copied))
		was, known := m.known[i]
		if known && was.life == c.Life && (late || was.expires == c.Expires) {
			continue
		}
		m.known[i] = told{c.Life, c.Expires}
		if int(c.Real) >= len(reals) || !m.from.synchronised(c, reals[c.Real], now) {
			if !known && c.Kind&isReturn == 0 && int32(c.Expires-now) > 0 {
				m.other++
			}
			continue
		}
		told := m.from.dated(c, reals[c.Real], &t, now)
		if rewritten(reals[c.Real]) && c.Kind&isTemplate == 0 {
			told.Local, told.Begun, _ = m.from.localOf(m.from.line, i, c, reals[c.Real]) // without one it is refused
		}
		if !known {
			m.given++
		}
		if batch = append(batch, told); len(batch) == cap(batch) {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}

// dated is a connection as another director would tell it, with the time since it was used.
func (s *source) dated(c *conn, r owned, t *bpf.LbTunables, now uint32) connsync.Conn {
	timeout := s.timeout(c, r, t)
	out := s.toldOf(c, r, timeout)
	out.Dated = true
	if idle := int32(now + timeout - c.Expires); idle > 0 && !(out.Flags&connsync.Template != 0 && c.Control != 0) {
		out.Idle = s.clock.duration(idle)
	}
	return out
}
