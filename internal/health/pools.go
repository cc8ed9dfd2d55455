package health

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vipd/internal/lb"
)

// Pools is the machine: every service, its real servers and their checkers. Its verbs are Start, Tick, Observe, Update
// and Stop; after each, Take has what is to be done.
type Pools struct {
	random   func(limit time.Duration) time.Duration
	services []*service
	checks   map[CheckID]*check
	waiting  queue
	lastID   CheckID
	effects  []Effect
	hands    map[handKey]Hand
	here     map[netip.Addr]bool // addresses of this host
	sessions map[string]bool     // whether BFD sessions are up
	cfg      Config              // all but the services
	ramps    []*real             // in their slow start
	byKey    map[realKey]*real
	byAddr   map[netip.Addr][]*real
}

type service struct {
	cfg        Service
	reals      []*real
	quorumUp   bool
	sorryUp    bool // the sorry server stands in
	idle       bool // ha_suspend: its checks are not made
	suspicious bool // all fail at once, which has been said
	since      time.Time
	want       lb.Pool // as last told by Changed
	told       bool    // want has been told
}

type real struct {
	cfg    Real
	weight int32 // effective: what it has when it is up
	alive  bool  // every checker is up
	checks []*check
	since  time.Time
	why    string
	hand   *Hand // of an operator; nil: none

	service  *service
	kept     time.Time // since when max_eject keeps it, though its checks fail. Zero: it does not.
	rampFrom time.Time // when its slow start began. Zero: it is in none.
	rampNext time.Time
	part     int64 // of its weight in the slow start, in percent. 0: all of it.

	adoptedDown bool // the process before had it out of the pool

	peers []PeerSays
	told  bool // as news, that it is as peers have it
}

// New makes a machine for cfg. Nothing is in a pool before Start. random draws from 0 to limit, for the first runs;
// if nil, always 0.
func New(cfg Config, random func(limit time.Duration) time.Duration) *Pools {
	if random == nil {
		random = func(time.Duration) time.Duration { return 0 }
	}
	p := &Pools{random: random, services: resolveAll(cfg), checks: map[CheckID]*check{}, here: map[netip.Addr]bool{}, sessions: map[string]bool{}, cfg: cfg, hands: map[handKey]Hand{}}
	p.cfg.Services = nil
	return p
}

// Start puts the real servers into their pools, up unless alpha says otherwise, and gives each checker its first time:
// 1 s and a random part of its warm-up from now.
func (p *Pools) Start(now time.Time) {
	for _, s := range p.services {
		p.open(now, s)
		for _, c := range s.checks() {
			c.decisive = true
		}
		p.updateQuorum(now, s, true)
		p.refresh(s)
	}
	p.activate(now)
}

// open gives the real servers of a new service their first state.
func (p *Pools) open(now time.Time, s *service) {
	s.since = now
	p.suspend(s)
	for _, r := range s.reals {
		p.openReal(now, r)
		p.introduce(s, r)
	}
}

// introduce tells of a new real server that is up where rs_init_notifies asks for it.
func (p *Pools) introduce(s *service, r *real) {
	if r.alive && p.cfg.InitNotifies {
		p.notify(s, r, r.why)
	}
}

func (p *Pools) openReal(now time.Time, r *real) {
	for _, c := range r.checks {
		c.up, c.since = !c.cfg.Alpha && !r.adoptedDown, now
	}
	r.alive, r.since, r.why = r.passing(), now, "no check has run yet"
	switch {
	case len(r.checks) == 0:
		r.why = "it has no checker"
	case r.adoptedDown:
		r.why = "it was down before the restart: down until a check succeeds"
	case !r.alive:
		r.why = "alpha: down until a check succeeds"
	}
}

// activate registers every checker that has no id yet and says so.
func (p *Pools) activate(now time.Time) {
	for _, s := range p.services {
		for _, c := range s.checks() {
			if c.id != 0 {
				continue
			}
			p.lastID++
			c.id = p.lastID
			p.checks[c.id] = c
			if c.cfg.Kind == BFDCheck {
				p.follow(now, c)
				continue
			}
			if c.cfg.Kind == FileCheck { // keepalived: as it starts, without a word
				p.schedule(c, now)
				continue
			}
			p.sayActive(c)
			p.schedule(c, now.Add(bootstrap+p.random(c.cfg.Warmup)))
		}
	}
	p.index()
	p.pair(now)
}

// Next is when the next check is due, or the next weight of a slow start; zero: never.
func (p *Pools) Next() time.Time {
	next := p.nextRamp()
	if len(p.waiting) > 0 && (next.IsZero() || p.waiting[0].due.Before(next)) {
		return p.waiting[0].due
	}
	return next
}

// Tick asks for every check that is due at now.
func (p *Pools) Tick(now time.Time) {
	p.climbs(now)
	for len(p.waiting) > 0 && !p.waiting[0].due.After(now) {
		c := p.waiting.take()
		if c.service.idle {
			p.schedule(c, now.Add(c.cfg.DelayLoop))
			continue
		}
		c.running = true
		asked := c.cfg
		asked.URL = c.url
		p.emit(Probe{ID: c.id, Checker: asked})
	}
}

// Take hands out what is to be done since the last Take, in order.
func (p *Pools) Take() []Effect {
	out := p.effects
	p.effects = nil
	return out
}

// Want is what the plane should hold now: each service with the real servers that are listed, in the order of the file,
// the sorry server last. The caller may keep it.
func (p *Pools) Want() []lb.Pool {
	var all []lb.Pool
	for _, s := range p.services {
		if !s.told {
			continue
		}
		for _, key := range s.members() {
			all = append(all, s.memberPool(key, s.want))
		}
	}
	return all
}

// pool is what s should be in the plane. A real server that is not in use stays listed with weight 0 under
// inhibit_on_failure, which quiesces it, and is left out otherwise.
func (s *service) pool() lb.Pool {
	pool := lb.Pool{Service: s.cfg.Service}
	for _, r := range s.reals {
		entry := r.cfg.Real
		switch {
		case s.uses(r):
			entry.Weight = r.pooled()
		case s.listed(r):
			entry.Weight = 0
		default:
			continue
		}
		pool.Reals = append(pool.Reals, entry)
	}
	if s.cfg.Sorry == nil {
		return pool
	}
	// A sorry server may be one of the real servers.
	same := func(r lb.Real) bool { return r.Addr == s.cfg.Sorry.Addr }
	switch sorry := *s.cfg.Sorry; {
	case s.sorryUp:
		pool.Reals = append(slices.DeleteFunc(pool.Reals, same), sorry)
	case s.cfg.SorryInhibit && s.real(sorry.Addr) == nil:
		sorry.Weight = 0
		pool.Reals = append(pool.Reals, sorry)
	}
	return pool
}

// refresh tells when the pool of s is another than last told.
func (p *Pools) refresh(s *service) {
	pool := s.pool()
	if s.told && pool.Service == s.want.Service && slices.Equal(pool.Reals, s.want.Reals) {
		return
	}
	s.want, s.told = pool, true
	p.emit(Changed{s.cfg.ServiceKey})
}

// uses tells whether r is to get new connections, if its weight allows.
func (s *service) uses(r *real) bool { return r.alive && !s.sorryUp && !r.disabled() }

// listed tells whether r is in the plane, be it with weight 0.
func (s *service) listed(r *real) bool {
	switch {
	case r.disabled():
		return false
	case s.uses(r), r.cfg.InhibitOnFailure:
		return true
	}
	return r.alive && r.hand.quiesces() // drained, beside a sorry server
}

func (r *real) disabled() bool { return r.hand != nil && r.hand.Do == Disable }

// passing tells whether every checker of r is up.
func (r *real) passing() bool {
	return !slices.ContainsFunc(r.checks, func(c *check) bool { return !c.up })
}

func (s *service) checks() []*check {
	var all []*check
	for _, r := range s.reals {
		all = append(all, r.checks...)
	}
	return all
}

func (s *service) real(a netip.AddrPort) *real {
	for _, r := range s.reals {
		if r.cfg.Addr == a {
			return r
		}
	}
	return nil
}

func (s *service) name() string { return cmp.Or(s.cfg.Name, s.cfg.ServiceKey.String()) }

// endpoint is how keepalived's log names a real server: with the protocol of the service.
func (s *service) endpoint(a netip.AddrPort) string { return lb.EndpointName(s.cfg.Protocol, a) }

func (p *Pools) emit(e Effect) { p.effects = append(p.effects, e) }

func (p *Pools) say(s *service, r *real, format string, args ...any) {
	line := Say{Service: s.cfg.ServiceKey, Text: fmt.Sprintf(format, args...)}
	if r != nil {
		line.Real = r.cfg.Addr
	}
	p.emit(line)
}

func (p *Pools) sayReal(c *check, format string, args ...any) {
	p.say(c.service, c.real, format, args...)
}
