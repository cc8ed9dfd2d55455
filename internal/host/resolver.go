package host

import (
	"context"
	"maps"
	"net/netip"

	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Resolver keeps the next hops of a set of addresses known: which interface, which MAC. The kernel does the ARP; the
// resolver makes it keep an entry per next hop resolved (managed neighbours of Linux 5.16, periodic requests before),
// follows what it finds, and follows routes and links. Set says which addresses, Run does the work.
//
// How fast: a neighbour's answer, a MAC that it announces, a link that changes or a route are told within
// milliseconds. One that goes silent is told when the kernel gives it up, which takes up to a minute
// (base_reachable_time, then its probes): a health check is faster, and is what decides about a real server.
type Resolver struct {
	told func(Hop)
	// Link, if set before Run, is called from its goroutine with every Ethernet interface, and again when one has changed.
	Link func(Link)
	// Ports, if set before Run, is called from its goroutine with the port of every VLAN and macvlan and with their stations,
	// at first and when they have become others.
	Ports func(map[int]Carrier, map[Station]int)
	mu    sync.Mutex
	want  map[netip.Addr]bool // replaced, never changed
	wake  chan struct{}

	// Owned by Run.
	targets map[netip.Addr]*target
	links   map[int]Link
	ports   map[int]Carrier // as told
	places  map[Station]int
	neighs  map[neighKey]Neighbour
	mine    map[neighKey]bool // asked for by us, or by one of our kind that was killed
	dirty   bool              // routes may have changed
	looked  time.Time         // when they were last looked up

	how    solicitation  // keep; a test that stands for an old kernel has ask
	relook time.Duration // routes are looked up at least this often
	settle time.Duration // and at most this often, however many changes there are
	kick   time.Duration // how often an entry that is not managed is asked for
}

type neighKey struct {
	ifindex int
	addr    netip.Addr
}

// target is one wanted address.
type target struct {
	route Route
	err   error
	last  Hop
	told  bool
}

// NewResolver makes a resolver with an empty set. told is called from Run's goroutine with the first Hop of each new
// address (at once, so mostly not OK yet) and then whenever it has become another. It must not wait for Run.
func NewResolver(told func(Hop)) *Resolver {
	return &Resolver{
		told: told, wake: make(chan struct{}, 1),
		targets: map[netip.Addr]*target{}, links: map[int]Link{}, neighs: map[neighKey]Neighbour{}, mine: map[neighKey]bool{},
		how: keep, relook: 30 * time.Second, settle: 100 * time.Millisecond, kick: 5 * time.Second,
	}
}

// Set replaces the set of addresses. It does not wait; it may be called from any goroutine, also before Run. Nothing
// more is told of an address that is no longer in it.
func (r *Resolver) Set(addrs []netip.Addr) {
	want := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); a.IsValid() {
			want[a] = true
		}
	}
	r.mu.Lock()
	r.want = want
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run resolves until ctx ends, then makes ordinary entries of the managed ones that it made: the kernel forgets those
// when nobody uses them. It returns an error only if the host cannot be watched. Run it once.
func (r *Resolver) Run(ctx context.Context) error {
	watch, err := OpenWatch()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	events, ended := make(chan Event, 256), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- watch.Run(ctx, func(e Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	}()
	err = r.serve(ctx, events, ended)
	cancel()
	if err == nil {
		err = <-ended
	}
	r.releaseAll()
	return err
}

// serve is the one goroutine that owns the resolver's state. err is that of the watch, if it ended by itself.
func (r *Resolver) serve(ctx context.Context, events <-chan Event, ended <-chan error) error {
	kick := time.NewTicker(r.kick)
	defer kick.Stop()
	look := time.NewTimer(r.relook)
	defer look.Stop()
	wake := (<-chan struct{})(nil) // the set waits until the first Resync has told what links there are
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case <-wake:
			r.adopt()
		case e := <-events:
			r.observe(e)
			r.tellPorts()
			wake = r.wake
		case <-kick.C:
			r.solicitAll()
		case <-look.C:
			r.dirty = true
		}
		now := time.Now()
		if r.dirty && now.Sub(r.looked) >= r.settle {
			r.lookAll(now)
		}
		r.tell()
		look.Reset(r.untilLook(now))
	}
}

// untilLook is how long routes can stay as they are.
func (r *Resolver) untilLook(now time.Time) time.Duration {
	wait := r.relook
	if r.dirty {
		wait = r.settle
	}
	return max(wait-now.Sub(r.looked), 0)
}

// adopt makes the set what Set last said.
func (r *Resolver) adopt() {
	r.mu.Lock()
	want := r.want
	r.mu.Unlock()
	maps.DeleteFunc(r.targets, func(addr netip.Addr, _ *target) bool { return !want[addr] })
	for addr := range want {
		if r.targets[addr] == nil {
			r.targets[addr] = &target{}
			r.look(addr)
		}
	}
	r.release()
}

// observe takes in one change of the host.
func (r *Resolver) observe(e Event) {
	switch e := e.(type) {
	case Resync:
		clear(r.links)
		clear(r.neighs)
		for _, l := range e.Links {
			r.link(l)
		}
		for _, n := range e.Neighbours {
			r.neighs[neighKey{n.Ifindex, n.Addr}] = n
		}
		r.dirty = true
	case LinkEvent:
		if e.Gone {
			delete(r.links, e.Index)
		} else {
			r.link(e.Link)
		}
		r.dirty = true
	case AddressEvent, RouteEvent:
		r.dirty = true
	case NeighbourEvent:
		r.neighbour(e)
	}
}

func (r *Resolver) link(l Link) {
	r.links[l.Index] = l
	if r.Link != nil && l.Ethernet {
		r.Link(l)
	}
}

// tellPorts tells where VLANs and macvlans stand, if that has changed.
func (r *Resolver) tellPorts() {
	if r.Ports == nil {
		return
	}
	ports, places := map[int]Carrier{}, stations(r.links)
	for _, l := range r.links {
		if p, ok := carrierOf(l, r.links); ok && p.Ifindex != l.Index {
			ports[l.Index] = p
		}
	}
	if r.ports != nil && maps.Equal(ports, r.ports) && maps.Equal(places, r.places) {
		return
	}
	r.ports, r.places = ports, places
	r.Ports(maps.Clone(ports), maps.Clone(places))
}

// neighbour takes in one change of the neighbour table. An entry of ours that was deleted is asked for again with the
// next look.
func (r *Resolver) neighbour(e NeighbourEvent) {
	key := neighKey{e.Ifindex, e.Addr}
	r.neighs[key] = e.Neighbour
	if e.Gone {
		delete(r.neighs, key)
	}
	if r.mine[key] && (e.Gone || !e.Managed) {
		r.dirty = true
	}
}

// lookAll looks every route up again.
func (r *Resolver) lookAll(now time.Time) {
	r.dirty, r.looked = false, now
	for addr := range r.targets {
		r.look(addr)
	}
	r.release()
}

// look finds the route to addr and has its next hop resolved.
func (r *Resolver) look(addr netip.Addr) {
	t := r.targets[addr]
	t.route, t.err = RouteTo(addr)
	r.solicit(addr, t)
}

func (r *Resolver) solicitAll() {
	for addr, t := range r.targets {
		r.solicit(addr, t)
	}
}

// solicit asks the kernel for the next hop's MAC, unless it keeps the entry fresh by itself already. One that it has given up it asks
// for again only at its next probe, up to five seconds later: too late for a link that has just come back. A refusal is not an error
// of its own: the hop stays not OK, and it is asked again.
func (r *Resolver) solicit(addr netip.Addr, t *target) {
	if t.err != nil || !t.route.unicast() {
		return
	}
	key := neighKey{t.route.Ifindex, t.route.next(addr)}
	have := r.neighs[key]
	if have.fixed() {
		return
	}
	if have.Managed {
		// A daemon that was killed leaves its entries behind; they are ours now. Somebody else's stay theirs.
		r.mine[key] = r.mine[key] || have.Proto == Protocol
		if have.State&unix.NUD_FAILED == 0 {
			return
		}
	}
	if solicit(key.ifindex, key.addr, r.how) == nil {
		r.mine[key] = true
	}
}

// tell hands out the hops that have changed.
func (r *Resolver) tell() {
	for addr, t := range r.targets {
		key := neighKey{t.route.Ifindex, t.route.next(addr)}
		hop := hopTo(addr, t.route, t.err, r.links, r.neighs[key])
		if t.told && hop == t.last {
			continue
		}
		t.last, t.told = hop, true
		r.told(hop)
	}
}

// release lets go of the next hops that no address needs any more.
func (r *Resolver) release() {
	used := map[neighKey]bool{}
	for addr, t := range r.targets {
		used[neighKey{t.route.Ifindex, t.route.next(addr)}] = true
	}
	for key := range r.mine {
		if !used[key] {
			r.letGo(key)
		}
	}
}

func (r *Resolver) releaseAll() {
	clear(r.targets)
	r.release()
}

// letGo makes an entry an ordinary one. It is not deleted: another instance may forward by it at this moment, and it
// sees the change and takes the entry over without having lost the MAC. Failure means that the entry is gone.
func (r *Resolver) letGo(key neighKey) {
	if r.mine[key] {
		_ = solicit(key.ifindex, key.addr, letGo)
	}
	delete(r.mine, key)
}
