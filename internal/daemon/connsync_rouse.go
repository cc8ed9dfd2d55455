package daemon

import (
	"net/netip"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/lb"
)

// rouser makes the next hops of clients known whose connections were learned: a reply of a NAT real server leaves by the
// neighbour entry of its client, which has sent nothing yet that this host would know it by.
type rouser struct {
	rouse func(netip.Addr) (via bool, err error)
	known map[netip.Prefix]time.Time // asked for; a whole network by its gateway
	spent int                        // in this second
	since time.Time
}

// Bounds of what a peer can make this host ask for.
const (
	rouseAgain = time.Minute
	rouseMost  = 4096 // remembered
	rouseRate  = 500  // a second
)

func newRouser(rouse func(netip.Addr) (bool, error)) *rouser {
	return &rouser{rouse: rouse, known: map[netip.Prefix]time.Time{}}
}

// learned is told of connections that were heard.
func (r *rouser) learned(now time.Time, conns []connsync.Conn) {
	for _, c := range conns {
		if c.Forward() == lb.Masq && c.Flags&connsync.Template == 0 {
			r.ask(now, c.Client.Addr())
		}
	}
}

func (r *rouser) ask(now time.Time, a netip.Addr) {
	if now.Sub(r.since) >= time.Second {
		r.since, r.spent = now, 0
	}
	network, _ := a.Prefix(a.BitLen() * 3 / 4) // /24 and /96
	host := netip.PrefixFrom(a, a.BitLen())
	if r.fresh(now, network) || r.fresh(now, host) || r.spent >= rouseRate {
		return
	}
	r.spent++
	via, err := r.rouse(a)
	if len(r.known) >= rouseMost {
		clear(r.known)
	}
	switch {
	case err == nil && via:
		r.known[network] = now
	default: // one that does not work either is not tried at every datagram
		r.known[host] = now
	}
}

func (r *rouser) fresh(now time.Time, p netip.Prefix) bool {
	at, known := r.known[p]
	return known && now.Sub(at) < rouseAgain
}
