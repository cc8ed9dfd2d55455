package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/loop"
	"vipd/internal/plane"
	"vipd/internal/plane/xdp"
)

// Plane is a packet path as the daemon drives it: the contract of package plane, and what the XDP plane needs of the
// host to send frames.
type Plane interface {
	plane.Plane
	Attach(ifname string) (xdp.Mode, error)
	Hops() []netip.Addr
	SetHop(addr netip.Addr, hop xdp.Hop) error
	ClearHop(addr netip.Addr) error
	NoteLink(ifindex int, mac [6]byte) error
	SetPorts(ports map[int]xdp.Port, stations map[xdp.Station]int) error
	SetDirectors(directors map[netip.Addr][6]byte) error
	Sample(now time.Time) error
	Reasons() ([]xdp.Reason, error)
	BalanceOwn(on bool) error
	OwnConnections() ([]xdp.Outcome, error)
	TableSize() int
	Remove() error
}

// Prober executes checks: probe.Runner, or a test's.
type Prober interface {
	Start(c health.Checker, done func(health.Result))
}

// pool is where check verdicts meet the packet path: results go into the health machine, what it wants becomes the
// difference that the plane applies, and the next hops that the plane then needs are asked of the host. One loop owns
// the machine and the plane.
type pool struct {
	events events
	pools  *health.Pools
	plane  Plane
	prober Prober
	hops   func([]netip.Addr) // tells the resolver what is needed
	loop   *loop.Loop
	tell   *teller // nil: nobody is told

	shared   bool      // others may have services in the plane, which are theirs
	flush    bool      // take those away too, once: lvs_flush
	flushEnd bool      // take those away too at the end: lvs_flush_on_stop
	byHand   bool      // there is no configuration: services come from ipvsadm alone
	closed   bool      // the plane is gone; nothing may touch it
	applied  []lb.Pool // what the machine wanted last, and the plane holds but for what was changed by hand
	known    bool      // applied is true; false after a failure
	whole    bool      // compare with everything that the plane holds next time, not with what is ours
	refused  map[lb.ServiceKey]string
	again    bool // something failed that may do better next time
	quiet    bool // nothing new is to come in: every weight is 0
	hopState map[netip.Addr]host.Hop
	held     map[netip.Addr]map[int]bool // addresses of this host, by the interfaces that have them

	syncs      *syncing // nil: the plane synchronises connections by itself, or not at all
	wished     syncWish // by lvs_sync_daemon
	syncFailed string   // why what is wished does not run
	peers      *peering // nil: connection_sync has none

	directors     map[netip.Addr]bool    // the other ones, by the addresses that they speak VRRP from
	toldDirectors map[netip.Addr][6]byte // as the plane knows them
}

// checkGrain is by how much a check may begin too late so that thousands of them begin together.
const checkGrain = time.Millisecond

// rateInterval is how often rates are estimated, as the kernel does (ip_vs_est.c).
const rateInterval = 2 * time.Second

func newPool(ev events, cfg health.Config, p Plane, prober Prober, hops func([]netip.Addr), random func(time.Duration) time.Duration) *pool {
	m := &pool{events: ev, pools: health.New(cfg, random), plane: p, prober: prober, hops: hops,
		whole: true, refused: map[lb.ServiceKey]string{}, hopState: map[netip.Addr]host.Hop{}, held: map[netip.Addr]map[int]bool{}, directors: map[netip.Addr]bool{}}
	m.loop = loop.New(m.pools, m.drain)
	m.loop.Coarse(checkGrain)
	m.syncs = newSyncing(ev.of("sync"), p, m.ask)
	return m
}

func (m *pool) run(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { m.loop.Run(ctx) })
	wg.Go(func() {
		tick := time.NewTicker(rateInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				m.loop.Send(m.sample)
			}
		}
	})
}

// drain executes the machine's effects; however many pools changed, the plane is brought up to date once.
func (m *pool) drain(time.Time) {
	changed := false
	for _, e := range m.pools.Take() {
		switch e := e.(type) {
		case health.Probe:
			m.prober.Start(e.Checker, func(r health.Result) {
				m.loop.Send(func(now time.Time) { m.pools.Observe(now, e.ID, r) })
			})
		case health.Changed:
			changed = true
		default:
			m.inform(e)
		}
	}
	if changed {
		m.sync()
	}
}

// inform says what is to be said and tells what is to be told.
func (m *pool) inform(e health.Effect) {
	switch e := e.(type) {
	case health.Say:
		m.say(e)
	case health.RealUp:
		m.tell.realChanged(e.Service, e.Real, true, "")
	case health.RealDown:
		m.tell.realChanged(e.Service, e.Real, false, goneMails[e.Why])
	case health.CheckerTurned:
		m.noteVerdict(e)
		m.turned()
		m.tell.checkerChanged(e)
	case health.QuorumUp:
		m.tell.quorumChanged(e.Service, true, e.Why)
	case health.QuorumDown:
		m.tell.quorumChanged(e.Service, false, e.Why)
	}
}

// noteVerdict puts the reason of a verdict into the journal: keepalived's line about it has none.
func (m *pool) noteVerdict(e health.CheckerTurned) {
	state := "down"
	if e.Up {
		state = "up"
	}
	m.events.note(fmt.Sprintf("%s: %s", state, e.Why), "vs", e.Service.String(), "rs", lb.EndpointName(e.Service.Protocol, e.Real))
}

func (m *pool) say(e health.Say) {
	if e.Real.IsValid() {
		m.events.Info(e.Text, "vs", e.Service.String(), "rs", lb.EndpointName(e.Service.Protocol, e.Real))
		return
	}
	m.events.Info(e.Text, "vs", e.Service.String())
}

// sync makes the plane hold what the machine wants. A service that the plane refuses does not keep the others back.
//
// What was changed by hand stays until a start or a reload compares with all that there is: a check's verdict changes its
// own server and nothing else, as with keepalived.
func (m *pool) sync() {
	if m.byHand {
		m.needs()
		return
	}
	want := m.pools.Want()
	if m.quiet {
		want = without(want)
	}
	if !m.known || m.whole {
		have, err := m.plane.Read()
		if err != nil {
			m.events.of("plane").Error("read the packet path: " + err.Error())
			return
		}
		m.applied = m.ours(plane.Pools(have), want)
	}
	m.known, m.whole, m.flush = true, false, false
	failed := map[lb.ServiceKey]bool{}
	m.again = false
	for ops := range byService(plane.Diff(m.applied, want)) {
		key := ops[0].Service.ServiceKey
		if failed[key] {
			continue
		}
		if err := m.plane.Apply(ops); err != nil {
			failed[key], m.known = true, false
			m.again = m.again || !errors.Is(err, plane.ErrUnsupported) && !errors.Is(err, plane.ErrRange) && !errors.Is(err, plane.ErrInvalid)
			m.refuse(key, err)
		}
	}
	m.applied = want
	m.accept(failed)
	m.needs()
}

// byService cuts steps into those of one service that follow each other: packets get to see them at once, and the packet path
// waits once and not for each of thousands of real servers.
func byService(ops []plane.Op) iter.Seq[[]plane.Op] {
	return func(yield func([]plane.Op) bool) {
		for len(ops) > 0 {
			n := 1
			for n < len(ops) && ops[n].Service.ServiceKey == ops[0].Service.ServiceKey {
				n++
			}
			if !yield(ops[:n]) {
				return
			}
			ops = ops[n:]
		}
	}
}

// accept says of a service that was refused before that it is forwarded now.
func (m *pool) accept(failed map[lb.ServiceKey]bool) {
	for key := range m.refused {
		if failed[key] {
			continue
		}
		delete(m.refused, key)
		if slices.ContainsFunc(m.applied, func(p lb.Pool) bool { return p.Service.ServiceKey == key }) {
			m.events.of("plane").Info(fmt.Sprintf("virtual server %s: the packet path has it now", key), "vs", key.String())
		}
	}
}

// ours leaves out of what the plane holds the services that are neither wanted nor were, unless everything is to be
// compared. Of the kernel's IPVS that is so with lvs_flush only, as with keepalived.
func (m *pool) ours(have, want []lb.Pool) []lb.Pool {
	if m.whole && (!m.shared || m.flush) {
		return have
	}
	mine := map[lb.ServiceKey]bool{}
	for _, p := range slices.Concat(m.applied, want) {
		mine[p.Service.ServiceKey] = true
	}
	return slices.DeleteFunc(have, func(p lb.Pool) bool { return !mine[p.Service.ServiceKey] })
}

// refuse says once why a service is not forwarded.
func (m *pool) refuse(key lb.ServiceKey, err error) {
	if m.refused[key] != err.Error() {
		m.events.of("plane").Error(fmt.Sprintf("virtual server %s: %v", key, err), "vs", key.String())
	}
	m.refused[key] = err.Error()
}

func (m *pool) sample(now time.Time) {
	if m.closed {
		return
	}
	if err := m.plane.Sample(now); err != nil {
		m.events.of("plane").Error("estimate rates: " + err.Error())
	}
	if m.again {
		m.sync()
	}
	if m.syncs != nil {
		m.syncs.sample(now)
	}
	if m.syncFailed != "" {
		m.startWished()
	}
	if m.peers != nil && m.peers.opening != nil {
		m.peers.start(now, listenPeers)
	}
}

// end takes every service off the plane, with keepalived's lines, and then the plane off the host.
func (m *pool) end(now time.Time) {
	m.wish(syncWish{})
	if m.peers != nil {
		m.peers.end()
	}
	if m.syncs != nil {
		m.syncs.end()
	}
	m.pools.Stop(now)
	if m.flushEnd {
		m.whole, m.flush = true, true
	}
	for _, e := range m.pools.Take() {
		m.inform(e)
	}
	m.sync()
	m.closed = true
	if err := m.plane.Remove(); err != nil {
		m.events.of("plane").Error("remove the packet path: " + err.Error())
	}
}

// errStopping answers questions about a plane that is gone.
var errStopping = errors.New("the daemon is stopping")

// ask runs fn in the loop if the plane is still there.
func (m *pool) ask(fn func() error) error {
	err := errStopping
	m.loop.Do(func(time.Time) {
		if !m.closed {
			err = fn()
		}
	})
	return err
}

// start begins the checks, from what a process before has left in the plane.
func (m *pool) start(now time.Time) {
	if have, err := m.plane.Read(); err == nil {
		m.pools.Adopt(plane.Pools(have))
	}
	m.pools.Start(now)
	if m.byHand {
		m.sync()
	}
}

func (m *pool) timeouts() (t lb.Timeouts, err error) {
	err = m.ask(func() (err error) { t, err = m.plane.Timeouts(); return err })
	return t, err
}

// conns copies the connections in the loop, part by part, so that a slow reader holds nobody up and a large table is never
// in memory twice.
func (m *pool) conns(visit func(lb.Conn) bool) error {
	var part []lb.Conn
	for cursor := 0; cursor >= 0; {
		part = part[:0]
		err := m.ask(func() (err error) {
			pager, ok := m.plane.(plane.Pager)
			if ok {
				cursor, err = pager.ConnsFrom(cursor, func(c lb.Conn) { part = append(part, c) })
				return err
			}
			cursor = -1
			return m.plane.Conns(func(c lb.Conn) bool { part = append(part, c); return true })
		})
		if err != nil {
			return err
		}
		for _, c := range part {
			if !visit(c) {
				return nil
			}
		}
	}
	return m.unbound(visit)
}

// unbound visits the connections that wait for their real server to be configured, which IPVS has in its table.
func (m *pool) unbound(visit func(lb.Conn) bool) error {
	var all []lb.Conn
	err := m.ask(func() error {
		if m.syncs != nil {
			all = m.syncs.unbound(time.Now())
		}
		return nil
	})
	for _, c := range all {
		if !visit(c) {
			break
		}
	}
	return err
}

// poolStatus is what the loop knows, copied.
type poolStatus struct {
	services []health.ServiceStatus
	plane    []plane.Pool
	hops     map[netip.Addr]host.Hop
	reasons  []xdp.Reason
	own      []xdp.Outcome
	held     []health.Held
	size     uint32
	sync     *control.Sync
}

func (m *pool) status() (st poolStatus, err error) {
	err = m.ask(func() (err error) {
		st.held = m.pools.Held()
		st.services, st.hops, st.size = m.pools.Status(), maps.Clone(m.hopState), uint32(m.plane.TableSize())
		if st.plane, err = m.plane.Read(); err != nil {
			return err
		}
		if st.sync, err = m.syncStatus(); err != nil {
			return err
		}
		if st.reasons, err = m.plane.Reasons(); err != nil {
			return err
		}
		st.own, err = m.plane.OwnConnections()
		return err
	})
	return st, err
}
