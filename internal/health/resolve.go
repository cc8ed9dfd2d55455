package health

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Defaults that keepalived gives where neither checker, real server nor service says otherwise.
const (
	defaultDelayLoop        = 60 * time.Second
	defaultConnectTimeout   = 5 * time.Second
	defaultDelayBeforeRetry = time.Second
	defaultRetry            = 1
	// bootstrap is how long after the start the earliest first run is.
	bootstrap = time.Second
)

// resolve turns the configuration of a service into its state, before anything has run: defaults filled in, real
// servers neither up nor down yet. The checkers have no id.
func resolve(cfg Service) *service {
	s := &service{cfg: cfg}
	s.cfg.Quorum = cmpOr(cfg.Quorum, 1)
	if cfg.Sorry != nil {
		sorry := *cfg.Sorry
		sorry.Weight = cmpOr(sorry.Weight, 1)
		s.cfg.Sorry = &sorry
	}
	seen := map[netip.AddrPort]bool{}
	for _, r := range cfg.Reals {
		if seen[r.Addr] {
			continue
		}
		seen[r.Addr] = true
		rs := &real{cfg: r, service: s, weight: max(r.Weight, 0)}
		for _, c := range r.Checkers {
			rs.checks = append(rs.checks, &check{cfg: c.WithDefaults(cfg, r), service: s, real: rs, up: true, slot: -1, badURL: noURL})
		}
		s.reals = append(s.reals, rs)
	}
	return s
}

// resolveAll resolves every service, the first of each key.
func resolveAll(cfg Config) []*service {
	seen := map[lb.ServiceKey]bool{}
	var all []*service
	for _, s := range cfg.Services {
		if !seen[s.ServiceKey] {
			seen[s.ServiceKey] = true
			all = append(all, resolve(s))
		}
	}
	return all
}

// WithDefaults fills in what the file left open.
func (c Checker) WithDefaults(s Service, r Real) Checker {
	if !c.Target.IsValid() {
		c.Target = r.Addr
	}
	c.ConnectTimeout = cmpOr(c.ConnectTimeout, defaultConnectTimeout)
	c.DelayLoop = cmpOr(c.DelayLoop, cmpOr(s.DelayLoop, defaultDelayLoop))
	c.DelayBeforeRetry = cmpOr(c.DelayBeforeRetry, defaultDelayBeforeRetry)
	if c.Retry < 0 {
		c.Retry = defaultRetry
	}
	if c.Warmup < 0 {
		c.Warmup = c.DelayLoop
	}
	return c
}

// sameCheck tells whether a checker is the one that ran before a reload: what is checked and how, not how often.
// keepalived compares the same.
func (c Checker) sameCheck(o Checker) bool {
	return c.Kind == o.Kind && c.Target == o.Target && c.Bind == o.Bind && c.BindIf == o.BindIf &&
		c.ConnectTimeout == o.ConnectTimeout && c.Mark == o.Mark && c.same(o)
}

// cmpOr is the value, or the default where it is zero or negative: no negative interval may stop the clock.
func cmpOr[T int | int32 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
