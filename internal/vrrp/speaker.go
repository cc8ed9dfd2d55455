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
	byVRID  map[link]*Router
	strays  map[strayKey]uint64
	groups  []*group
	queue   *queue
}

type link struct {
	ifname string
	vrid   uint8
}

type strayKey struct {
	link
	reason Reason
}

// Stray counts packets that belong to no instance: of a VRID that is not ours, or too broken to have one (VRID 0).
type Stray struct {
	Interface string
	VRID      uint8
	Reason    Reason
	Packets   uint64
}

// NewSpeaker makes one without instances.
func NewSpeaker() *Speaker {
	return &Speaker{byName: map[string]*Router{}, byVRID: map[link]*Router{}, strays: map[strayKey]uint64{}, queue: &queue{}}
}

// Add makes an instance, not yet started. It is an error if Config.Check finds fault with it or if its name, or its
// VRID on the same interface, is taken.
func (s *Speaker) Add(cfg Config) (*Router, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("vrrp_instance %s: %w", cfg.Name, err)
	}
	at := link{cfg.Interface, cfg.VRID}
	if s.byName[cfg.Name] != nil {
		return nil, fmt.Errorf("vrrp_instance %s: the name is taken", cfg.Name)
	}
	if other := s.byVRID[at]; other != nil {
		return nil, fmt.Errorf("vrrp_instance %s: virtual_router_id %d on %s is taken by %s", cfg.Name, cfg.VRID, cfg.Interface, other.cfg.Name)
	}
	router := NewRouter(cfg)
	router.queue = s.queue
	s.routers = append(s.routers, router)
	s.byName[cfg.Name], s.byVRID[at] = router, router
	return router, nil
}

// Router returns the instance of that name, or nil.
func (s *Speaker) Router(name string) *Router { return s.byName[name] }

// Routers returns all instances in the order of Add.
func (s *Speaker) Routers() []*Router { return slices.Clone(s.routers) }

// On returns the instances of an interface, for faults and addresses that concern all of them.
func (s *Speaker) On(ifname string) []*Router {
	return slices.DeleteFunc(s.Routers(), func(r *Router) bool { return r.cfg.Interface != ifname })
}

// Receive gives a packet that arrived on ifname to the instance that it is for. One for nobody is counted as a Stray.
func (s *Speaker) Receive(now time.Time, ifname string, packet []byte) {
	advert, err := ParseIPv4(packet)
	at := link{ifname, advert.VRID}
	if router := s.byVRID[at]; router != nil {
		router.receive(now, advert, err)
		return
	}
	reason := ReasonVRID
	if refusal, ok := err.(*Refusal); ok {
		reason = refusal.Reason
	}
	s.strays[strayKey{at, reason}]++
}

// Strays lists what was for nobody, by interface, VRID and reason.
func (s *Speaker) Strays() []Stray {
	var strays []Stray
	for key, packets := range s.strays {
		strays = append(strays, Stray{key.ifname, key.vrid, key.reason, packets})
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

// Tick does all that is due at now.
func (s *Speaker) Tick(now time.Time) {
	for _, router := range s.routers {
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
			r.prepare(adopted(r.cfg))
			fresh = append(fresh, r)
		}
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
