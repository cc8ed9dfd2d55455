package daemon

import (
	"fmt"
	"net/netip"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/control"
	"vipd/internal/health"
)

// Where the checks meet vipd's other directors: each tells the peers of connection_sync what its own found.

// results are the checks as a peering asks and tells them.
type results struct {
	ask  func(now time.Time) []health.Verdict
	told func(now time.Time, peer netip.Addr, all []health.Verdict)
	// short names a service that has real servers at a peer and none here; see health.Pools.Short.
	short func(now time.Time) (service string, peer netip.Addr, short bool)

	last, next time.Time // all was told then; it is told again then
	size       int       // of what was told last
}

const (
	resultsEvery = time.Second
	resultsSoon  = 100 * time.Millisecond // after what was told last, when something has changed
	// A large list is told less often: so long for each real server, and a tenth of it after a change.
	resultsEach = time.Millisecond
)

// results of this pool's machine.
func (m *pool) results() results {
	return results{ask: m.pools.Verdicts, told: m.pools.Told, short: m.pools.Short}
}

// turned: a verdict is another, of which peers are to hear.
func (m *pool) turned() {
	if m.peers != nil {
		m.peers.results.soon()
	}
}

// soon has everything told soon.
func (r *results) soon() {
	if at := r.last.Add(max(resultsSoon, time.Duration(r.size)*resultsEach/10)); at.Before(r.next) {
		r.next = at
	}
}

// lacks is why this director's checks are no reason to take over yet, or "".
func (r *results) lacks(now time.Time) string {
	if r.short == nil {
		return ""
	}
	if service, peer, short := r.short(now); short {
		return fmt.Sprintf("the checks find no real server of VS %s, those of %s do", service, peer)
	}
	return ""
}

// heard takes what a peer tells.
func (r *results) heard(now time.Time, peer netip.Addr, all []connsync.Verdict) {
	if r.told == nil {
		return
	}
	said := make([]health.Verdict, len(all))
	for i, v := range all {
		said[i] = health.Verdict(v)
	}
	r.told(now, peer, said)
}

// tellResults tells the peers, when it is time, what the checks say.
func (p *peering) tellResults(now time.Time) {
	r := &p.results
	if r.ask == nil || now.Before(r.next) {
		return
	}
	found := r.ask(now)
	all := make([]connsync.Verdict, len(found))
	for i, v := range found {
		all[i] = connsync.Verdict(v)
	}
	for _, peer := range p.peers {
		peer.stream.TellVerdicts(now, all)
	}
	r.last, r.size = now, len(all)
	r.next = now.Add(max(resultsEvery, time.Duration(r.size)*resultsEach))
}

// peersSay is what peers told that is not too old.
func peersSay(all []health.PeerSays) (out []control.PeerSays) {
	for _, p := range all {
		if time.Since(p.Told) <= health.PeerKept {
			out = append(out, control.PeerSays{Peer: p.Peer.String(), Up: p.Up, Why: p.Why, Since: p.Since, Seen: p.Seen, Told: p.Told})
		}
	}
	return out
}
