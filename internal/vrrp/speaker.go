package vrrp

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Speaker holds all instances of the process, so that one loop runs them: it is a loop.Machine. Packets find their
// instance by interface and VRID. It is not safe for concurrent use.
type Speaker struct {
	routers []*Router // in the order of Add, which is the order of the file
	byName  map[string]*Router
	byVRID  map[link][]*Router // more than one only if they differ in kind, group, source or peers
	strays  map[strayKey]uint64
	groups  []*group
	queue   *queue

	// LogUnknown has it say when adverts of a VRID that is not ours are heard, once for each.
	//
	// keepalived: log_unknown_vrids says it at each advert.
	LogUnknown bool
}

type link struct {
	ifname string
	vrid   uint8
	v6     bool
}

func (c Config) link() link { return link{cmp.Or(c.Wire, c.Interface), c.VRID, c.V6} }

type strayKey struct {
	link
	reason Reason
}

// Stray counts packets that belong to no instance: of a VRID that is not ours, or too broken to have one (VRID 0).
type Stray struct {
	Interface string
	VRID      uint8
	V6        bool
	Reason    Reason
	Packets   uint64
}

// NewSpeaker makes one without instances.
func NewSpeaker() *Speaker {
	return &Speaker{byName: map[string]*Router{}, byVRID: map[link][]*Router{}, strays: map[strayKey]uint64{}, queue: &queue{}}
}

// Add makes an instance, not yet started. It is an error if Config.Check finds fault with it or if its name, or its
// VRID where others would hear the same adverts, is taken.
func (s *Speaker) Add(cfg Config) (*Router, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("vrrp_instance %s: %w", cfg.Name, err)
	}
	if s.byName[cfg.Name] != nil {
		return nil, fmt.Errorf("vrrp_instance %s: the name is taken", cfg.Name)
	}
	router := NewRouter(cfg)
	router.queue = s.queue
	for _, other := range s.byVRID[cfg.link()] {
		if router.cfg.meets(other.cfg) {
			return nil, fmt.Errorf("vrrp_instance %s: virtual_router_id %d on %s is taken by %s", cfg.Name, cfg.VRID, cfg.Interface, other.cfg.Name)
		}
	}
	s.routers = append(s.routers, router)
	s.index(router)
	return router, nil
}

func (s *Speaker) index(r *Router) {
	at := r.cfg.link()
	s.byName[r.cfg.Name], s.byVRID[at] = r, append(s.byVRID[at], r)
}

// meets tells that an advert could be for either of two instances that share a link and a VRID.
func (c Config) meets(o Config) bool {
	switch {
	case c.Unicast != o.Unicast:
		return false
	case !c.Unicast:
		return c.McastDst == o.McastDst
	case c.Source != o.Source:
		return false
	}
	return slices.ContainsFunc(c.Peers, func(p Peer) bool {
		return slices.ContainsFunc(o.Peers, func(q Peer) bool { return p.Addr == q.Addr })
	})
}

// whose is the instance that an advert is for: of several the one that it suits best.
func (s *Speaker) whose(at link, a *Advert) *Router {
	var best *Router
	score := -1
	for _, r := range s.byVRID[at] {
		n := 0
		switch {
		case r.cfg.Unicast == a.Dest.IsMulticast():
		case !r.cfg.Unicast && r.cfg.McastDst == a.Dest, r.cfg.Unicast && r.isPeer(a.Source):
			n = 2
		default:
			n = 1
		}
		if n > score {
			best, score = r, n
		}
	}
	return best
}

// Router returns the instance of that name, or nil.
func (s *Speaker) Router(name string) *Router { return s.byName[name] }

// Routers returns all instances in the order of Add.
func (s *Speaker) Routers() []*Router { return slices.Clone(s.routers) }

// Receive gives a packet that arrived on ifname to the instance that it is for. One for nobody is counted as a Stray.
func (s *Speaker) Receive(now time.Time, ifname string, packet []byte) {
	advert, err := Parse(packet)
	at := link{ifname, advert.VRID, advert.Source.Is6()}
	if router := s.whose(at, &advert); router != nil {
		router.receive(now, advert, packet, err)
		return
	}
	reason := ReasonVRID
	if refusal, ok := err.(*Refusal); ok {
		reason = refusal.Reason
	}
	key := strayKey{at, reason}
	if s.LogUnknown && reason == ReasonVRID && s.strays[key] == 0 {
		s.queue.effects = append(s.queue.effects, Say{Text: fmt.Sprintf("Unknown VRID(%d) received on interface(%s). ignoring...", at.vrid, ifname)})
	}
	s.strays[key]++
}

// Strays lists what was for nobody, by interface, VRID and reason.
func (s *Speaker) Strays() []Stray {
	var strays []Stray
	for key, packets := range s.strays {
		strays = append(strays, Stray{key.ifname, key.vrid, key.v6, key.reason, packets})
	}
	slices.SortFunc(strays, func(a, b Stray) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.VRID, b.VRID), cmp.Compare(a.Reason, b.Reason))
	})
	return strays
}

// Next is the earliest deadline of all instances. The zero time: none.
func (s *Speaker) Next() time.Time {
	var next time.Time
	for _, router := range s.routers {
		next = earlier(next, router.Next())
	}
	return next
}

// Expecting tells whether an instance is about to take over at now, because it has waited for its master in vain. What has
// arrived and was not received yet is to be received first.
func (s *Speaker) Expecting(now time.Time) bool {
	return slices.ContainsFunc(s.routers, func(r *Router) bool { return r.state == Backup && due(now, r.masterDown) })
}

// Tick does all that is due at now.
func (s *Speaker) Tick(now time.Time) {
	routers := s.routers
	if len(s.groups) > 0 {
		// keepalived: of members whose down time ends together, that which began to wait first goes first.
		routers = slices.Clone(routers)
		slices.SortStableFunc(routers, func(a, b *Router) int {
			return cmp.Or(a.masterDown.Compare(b.masterDown), cmp.Compare(a.waited, b.waited))
		})
	}
	for _, router := range routers {
		router.Tick(now)
	}
}

// Take hands out the effects of all instances and groups, in order.
func (s *Speaker) Take() []Effect { return s.queue.take() }

// Start starts all instances that have not been started, as Router.Start does. What their sync groups have in common is
// known before any of them begins.
func (s *Speaker) Start(now time.Time, adopted func(Config) bool) {
	var fresh []*Router
	for _, r := range s.routers {
		if r.state == Init && !r.begun {
			fresh = append(fresh, r)
		}
	}
	var resume []*Router
	for _, r := range fresh {
		if r.resumable() {
			resume = append(resume, r)
		}
	}
	for _, r := range fresh {
		r.resumes = slices.Contains(resume, r)
		r.prepare(r.resumes || adopted(r.cfg))
	}
	for _, g := range s.groups {
		g.syncing = true
	}
	for _, r := range fresh {
		r.begin(now, " (init)")
	}
	for _, g := range s.groups {
		g.syncing = false
		g.settle("start")
	}
}

// Stop stops all instances.
func (s *Speaker) Stop(now time.Time) {
	for _, router := range s.routers {
		router.Stop(now)
	}
}
