package vrrp

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// maxHistory bounds the transitions that an instance remembers, maxPeers the senders.
const (
	maxHistory = 16
	maxPeers   = 32
)

// Transition is one change of state, and why.
type Transition struct {
	At       time.Time
	From, To State
	Why      string
}

// PeerStatus is another router of an instance, as its last accepted advert has it.
type PeerStatus struct {
	Addr      netip.Addr
	Priority  uint8
	AdvertInt time.Duration
	Sum       Sums
	Last      time.Time
	Adverts   uint64
}

type peerTable map[netip.Addr]*PeerStatus

// heardFrom notes an accepted advert.
func (r *Router) heardFrom(now time.Time, a *Advert) {
	p := r.peers[a.Source]
	if p == nil {
		if len(r.peers) >= maxPeers {
			delete(r.peers, slices.MinFunc(r.peers.list(), func(a, b PeerStatus) int { return a.Last.Compare(b.Last) }).Addr)
		}
		p = &PeerStatus{Addr: a.Source}
		r.peers[a.Source] = p
	}
	p.Priority, p.AdvertInt, p.Sum, p.Last = a.Priority, a.AdvertInt, a.Sum, now
	p.Adverts++
}

// list gives the peers, the latest heard first.
func (t peerTable) list() []PeerStatus {
	var all []PeerStatus
	for _, p := range t {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return cmp.Or(b.Last.Compare(a.Last), a.Addr.Compare(b.Addr)) })
	return all
}

// note counts how late an advert left.
func (c *Counters) note(late, interval time.Duration) {
	if late > interval/5 {
		c.Late++
	}
	c.WorstLate = max(c.WorstLate, late)
}
