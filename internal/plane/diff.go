package plane

import (
	"net/netip"
	"slices"

	"vipd/internal/lb"
)

// Pools strips what was counted: what a plane has, in the form in which it is wanted.
func Pools(have []Pool) []lb.Pool {
	pools := make([]lb.Pool, 0, len(have))
	for _, h := range have {
		p := lb.Pool{Service: h.Service}
		for _, r := range h.Reals {
			p.Reals = append(p.Reals, r.Real)
		}
		pools = append(pools, p)
	}
	return pools
}

// Diff returns the steps from have to want: real servers out, services out, additions, edits; nothing when both say the
// same. Additions keep the wanted order, because IPVS's schedulers show it; a mere difference of order is none, because
// nothing could be done about it without taking a server out. Of two wanted entries with one key the first counts.
//
// Values are compared by what they mean: an empty scheduler is wlc, a mask without persistence is none (see Normal and NormalReal).
func Diff(have, want []lb.Pool) []Op {
	d := differ{have: index(have)}
	wanted := index(want)
	for _, h := range have {
		d.remove(h, wanted)
	}
	seen := make(map[lb.ServiceKey]bool, len(want))
	for _, w := range want {
		if !seen[w.Service.ServiceKey] {
			seen[w.Service.ServiceKey] = true
			d.pool(w)
		}
	}
	return slices.Concat(d.delReals, d.delServices, d.additions, d.edits)
}

type differ struct {
	have                                    map[lb.ServiceKey]lb.Pool
	delReals, delServices, additions, edits []Op
}

func index(pools []lb.Pool) map[lb.ServiceKey]lb.Pool {
	m := make(map[lb.ServiceKey]lb.Pool, len(pools))
	for _, p := range pools {
		if _, ok := m[p.Service.ServiceKey]; !ok {
			m[p.Service.ServiceKey] = p
		}
	}
	return m
}

// remove notes what of h is not wanted. A service that goes takes its real servers along.
func (d *differ) remove(h lb.Pool, wanted map[lb.ServiceKey]lb.Pool) {
	w, ok := wanted[h.Service.ServiceKey]
	if !ok {
		d.delServices = append(d.delServices, Op{Verb: DelService, Service: h.Service})
		return
	}
	at := places(w.Reals)
	for _, r := range h.Reals {
		if _, ok := at[r.Addr]; !ok {
			d.delReals = append(d.delReals, Op{Verb: DelReal, Service: w.Service, Real: r})
		}
	}
}

// pool notes what is missing of w and what differs.
func (d *differ) pool(w lb.Pool) {
	h, ok := d.have[w.Service.ServiceKey]
	switch {
	case !ok:
		d.additions = append(d.additions, Op{Verb: AddService, Service: w.Service})
	case Normal(h.Service) != Normal(w.Service):
		d.edits = append(d.edits, Op{Verb: EditService, Service: w.Service})
	}
	first, held := places(w.Reals), places(h.Reals)
	for i, r := range w.Reals {
		if first[r.Addr] < i {
			continue // named twice
		}
		at, ok := held[r.Addr]
		switch {
		case !ok:
			d.additions = append(d.additions, Op{Verb: AddReal, Service: w.Service, Real: r})
		case NormalReal(h.Reals[at]) != NormalReal(r):
			d.edits = append(d.edits, Op{Verb: EditReal, Service: w.Service, Real: r})
		}
	}
}

// places is where reals first has each address and port. There may be thousands.
func places(reals []lb.Real) map[netip.AddrPort]int {
	at := make(map[netip.AddrPort]int, len(reals))
	for i, r := range reals {
		if _, ok := at[r.Addr]; !ok {
			at[r.Addr] = i
		}
	}
	return at
}

// Normal writes a service in the one form that all services of its meaning share. A plane reads back this form.
func Normal(s lb.Service) lb.Service {
	if s.Scheduler == "" {
		s.Scheduler = "wlc"
	}
	if s.Persistence == 0 { // ipvs: keeps a netmask without persistence, and neither uses nor shows it
		s.Wild = 0
	}
	return s
}

// NormalReal writes a real server in the one form that all of its meaning share: tunnel options only for a tunnel, a
// lower threshold only below an upper one.
func NormalReal(r lb.Real) lb.Real {
	if r.Forward != lb.Tunnel {
		r.Tunnel = lb.TunnelOptions{}
	}
	if r.Upper == 0 {
		r.Lower = 0
	}
	return r
}
