package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
)

// What other directors found of the same real servers. It is kept beside what this one found, for a person who asks why; with
// AdoptPeers it stands where this director knows nothing yet: at its start, and when ha_suspend ends because it takes over.

// Verdict is what the checks of one director say of a real server.
type Verdict struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Up      bool
	For     time.Duration // that it says so
	Age     time.Duration // of the oldest result that it rests on
	Why     string        // in one clause, for a person
}

// PeerSays is a Verdict of another director that is kept.
type PeerSays struct {
	Peer  netip.Addr
	Up    bool
	Why   string
	Since time.Time // that it says so
	Seen  time.Time // of the oldest result that it rests on
	Told  time.Time
}

const (
	// PeerKept is how long a Verdict of a peer that says nothing more is kept.
	PeerKept  = time.Minute
	mostPeers = 16 // of which verdicts of one real server are kept
)

type realKey struct {
	service lb.ServiceKey
	real    netip.AddrPort
}

// index finds real servers for Told and Reached, after a start or a reload.
func (p *Pools) index() {
	p.byKey, p.byAddr = map[realKey]*real{}, map[netip.Addr][]*real{}
	for _, s := range p.services {
		for _, r := range s.reals {
			p.byKey[realKey{s.cfg.ServiceKey, r.cfg.Addr}] = r
			addr := r.cfg.Addr.Addr().Unmap()
			p.byAddr[addr] = append(p.byAddr[addr], r)
		}
	}
}

// Verdicts is what this director's own checks say, for its peers. It leaves out what they have not found yet, and what is not
// checked at present.
func (p *Pools) Verdicts(now time.Time) (all []Verdict) {
	for _, s := range p.services {
		if s.idle {
			continue
		}
		for _, r := range s.reals {
			if v, ok := r.verdict(now); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

// verdict is that of the checks that ran. One that failed decides; for a success all must have run.
func (r *real) verdict(now time.Time) (v Verdict, ok bool) {
	v = Verdict{Service: r.service.cfg.ServiceKey, Real: r.cfg.Addr, Up: true, Why: r.why}
	var since time.Time
	whole := len(r.checks) > 0
	for _, c := range r.checks {
		if own := c.ran && !c.adopted; !own {
			whole = false
			continue
		}
		if !c.up && (v.Up || c.since.Before(since)) {
			v.Up, since = false, c.since
		}
		if v.Up {
			since = later(since, c.since)
		}
		if at := c.past.at(); !at.IsZero() && c.cfg.Kind != BFDCheck { // of which what was told last holds
			v.Age = max(v.Age, now.Sub(at))
		}
	}
	v.For = max(0, now.Sub(since))
	return v, whole || !v.Up
}

// Told takes what a peer's checks say.
func (p *Pools) Told(now time.Time, peer netip.Addr, all []Verdict) {
	touched := map[*service]bool{}
	for _, v := range all {
		r := p.byKey[realKey{v.Service, v.Real}]
		if r == nil {
			continue
		}
		r.hear(PeerSays{Peer: peer, Up: v.Up, Why: v.Why, Since: now.Add(-v.For), Seen: now.Add(-v.Age), Told: now})
		if p.cfg.AdoptPeers && r.unknown() && p.adoptPeers(now, r) {
			touched[r.service] = true
		}
	}
	for _, s := range p.services {
		if touched[s] {
			p.followed(now, s)
		}
	}
}

// Short names a service whose checks leave no real server here while a peer has one up, and that peer. A director that takes its address
// over then would have no server for its clients, who have one.
func (p *Pools) Short(now time.Time) (service string, peer netip.Addr, short bool) {
	for _, s := range p.services {
		if s.idle || slices.ContainsFunc(s.reals, func(r *real) bool { return r.alive || r.hand != nil }) {
			continue
		}
		for _, r := range s.reals {
			for _, said := range r.heard(now) {
				if said.Up {
					return s.name(), said.Peer, true
				}
			}
		}
	}
	return "", netip.Addr{}, false
}

// hear keeps a verdict. Those of peers that are not heard any more give way.
func (r *real) hear(said PeerSays) {
	r.peers = r.heard(said.Told)
	i := slices.IndexFunc(r.peers, func(p PeerSays) bool { return p.Peer == said.Peer })
	switch {
	case i >= 0:
		r.peers[i] = said
	case len(r.peers) < mostPeers:
		r.peers = append(r.peers, said)
	}
}

// heard are the verdicts of peers that are not too old.
func (r *real) heard(now time.Time) []PeerSays {
	return slices.DeleteFunc(slices.Clone(r.peers), func(p PeerSays) bool { return now.Sub(p.Told) > PeerKept })
}

// unknown: this director's own checks have found nothing of r.
func (r *real) unknown() bool {
	return len(r.checks) > 0 && !slices.ContainsFunc(r.checks, func(c *check) bool { return c.ran })
}

// adoptPeers gives r the verdict of the peers: up if one has it up. It reports whether r has turned, which the caller has the
// quorum follow.
func (p *Pools) adoptPeers(now time.Time, r *real) bool {
	all := r.heard(now)
	if len(all) == 0 {
		return false
	}
	says := all[0]
	for _, one := range all[1:] {
		if one.Up && !says.Up {
			says = one
		}
	}
	for _, c := range r.checks {
		c.up, c.attempt, c.adopted = says.Up, 0, true
		c.decisive = c.decisive && !says.Up // retries defend what is known
	}
	why := says.String()
	if r.alive == says.Up {
		r.why = why
		return false
	}
	if !says.Up && p.keeps(now, r.service, r, why) {
		return false
	}
	r.adoptedDown = false
	p.turn(now, r.service, r, says.Up, why)
	r.told = true
	return true
}

// String is such as "peer 10.0.0.2 says down: connection refused".
func (s PeerSays) String() string {
	text := fmt.Sprintf("peer %s says ", s.Peer)
	if s.Up {
		return text + "up"
	}
	if text += "down"; s.Why != "" {
		text += ": " + s.Why
	}
	return text
}

// resumes is what a service knows whose checks begin again because this director takes over: what it found itself is old.
func (p *Pools) resumes(now time.Time, s *service) {
	if !p.cfg.AdoptPeers {
		return
	}
	turned := false
	for _, r := range s.reals {
		if len(r.checks) > 0 {
			turned = p.adoptPeers(now, r) || turned
		}
	}
	if turned {
		p.followed(now, s)
	}
	for _, r := range s.reals { // of a session more is known here than anybody can tell
		for _, c := range r.checks {
			if c.adopted && c.cfg.BFD != "" {
				p.follow(now, c)
			}
		}
	}
}

// followed is what becomes of s after real servers have turned with the peers.
func (p *Pools) followed(now time.Time, s *service) {
	p.updateQuorum(now, s, false)
	p.ejectMore(now, s)
	p.refresh(s)
}

// upSince names the peers that have r up, as told after a time, of those that are still heard.
func (r *real) upSince(now, at time.Time) (names string) {
	for _, one := range r.heard(now) {
		if one.Up && one.Told.After(at) {
			names += "; " + one.String()
		}
	}
	return names
}

// wellAtPeers says which peer has most of the real servers of s up that fail here, or nothing.
func (s *service) wellAtPeers(now time.Time) string {
	var parts []string
	seen := map[netip.Addr]int{}
	for _, r := range s.reals {
		if r.passing() {
			continue
		}
		for _, one := range r.heard(now) {
			if one.Up {
				seen[one.Peer]++
			}
		}
	}
	for peer, n := range seen {
		parts = append(parts, fmt.Sprintf("; peer %s has %d of them up", peer, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, "")
}
