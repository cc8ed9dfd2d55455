package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// How indices come into use and out of it.

// settled is the time in which every packet that was under way is done: a program runs for microseconds.
const settled = time.Second

const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL, membarrier(2)

// grace waits until no packet can read what was taken out of use, and frees it. It is short or nothing: an RCU grace
// period, and only if the last change is less than settled ago.
func (p *Plane) grace() error {
	if !p.flipped.IsZero() && time.Since(p.flipped) < settled {
		// Waits for every CPU to leave what it was running, as synchronize_rcu. Refused with nohz_full CPUs.
		if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	p.epoch++
	p.flipped = time.Time{}
	for _, e := range p.retired {
		p.blockSlots.free(e.first/blockSize, blocks(int(e.count)))
	}
	for _, t := range p.oldTables {
		p.tableSlots.free(t, 1)
	}
	p.retired, p.oldTables = nil, nil
	// What Apply has removed so far belongs to the epoch in which packets will see it.
	for _, t := range p.changed {
		for _, r := range t.gone {
			if t.left[r.index] {
				r.removed = p.epoch
			}
		}
	}
	return nil
}

func (p *Plane) retire(e extent) {
	if e.count > 0 {
		p.retired = append(p.retired, e)
	}
}

func (p *Plane) retireTable(table int) {
	if table >= 0 {
		p.oldTables = append(p.oldTables, uint32(table))
	}
}

func (p *Plane) takeExtent(count int) (extent, error) {
	if count == 0 {
		return extent{}, nil
	}
	first, ok := p.blockSlots.run(blocks(count))
	if !ok {
		return extent{}, fmt.Errorf("no room for %d members of a pool: %w", count, plane.ErrFull)
	}
	return extent{first * blockSize, uint32(count)}, nil
}

// reap frees the removed real servers, and services, that no connection refers to. With force it makes sure that the
// last change is seen by all packets; otherwise it leaves what went in this epoch.
func (p *Plane) reap(force bool) error {
	if force || !p.flipped.IsZero() && time.Since(p.flipped) >= settled {
		if err := p.grace(); err != nil {
			return err
		}
	}
	var errs []error
	var freed []netip.Addr
	for key, s := range p.services {
		var kept []*real
		for _, r := range s.gone {
			free, err := p.reapReal(s, r)
			errs = append(errs, err)
			if !free {
				kept = append(kept, r)
				continue
			}
			freed = append(freed, r.spec.Addr.Addr())
		}
		s.gone = kept
		if !s.alive && !s.indexed && len(kept) == 0 && p.dirty[s] == nil {
			p.serviceSlots.free(s.index, 1)
			delete(p.services, key)
		}
	}
	for _, addr := range freed {
		p.forgetHop(addr)
	}
	return errors.Join(errs...)
}

// reapReal reports whether r is free now. One that this Apply removed has not left its pool yet.
func (p *Plane) reapReal(s *service, r *real) (bool, error) {
	if r.removed >= p.epoch || p.dirty[s] != nil && p.dirty[s].left[r.index] {
		return false, nil
	}
	var n bpf.LbRealCount
	if err := p.maps.get(bpf.LbMapRealCounts, r.index, &n); err != nil {
		return false, err
	}
	if n.Active+n.Inactive+n.Persist != 0 {
		return false, nil
	}
	if err := p.settle(s, r); err != nil {
		return false, err
	}
	if err := p.clearCounters(r.index); err != nil {
		return false, err
	}
	if err := p.maps.put(bpf.LbMapReals, r.index, bpf.LbReal{}); err != nil {
		return false, err
	}
	p.realSlots.free(r.index, 1)
	return true, nil
}

// tidy marks the removed real servers that a killed writer had not come to.
func (p *Plane) tidy() error {
	for _, s := range p.services {
		for _, r := range s.gone {
			if err := p.maps.put(bpf.LbMapReals, r.index, p.entry(s, r, gone)); err != nil {
				return err
			}
		}
	}
	p.flipped = time.Now()
	if err := p.startRates(); err != nil {
		return err
	}
	return errors.Join(p.writeFilter(false), p.writeSources(), p.writeHave())
}

// ---- counts

// zeroReal begins the counts of an index that nothing refers to.
func (p *Plane) zeroReal(r *real) error {
	r.rate = plane.Estimator{}
	if err := p.maps.put(bpf.LbMapRealCounts, r.index, bpf.LbRealCount{}); err != nil {
		return err
	}
	if err := p.maps.put(zeroRealsMap, r.index, counters{}); err != nil {
		return err
	}
	return p.clearCounters(r.index)
}

// settle keeps in its service's total what a real server counted that goes for good.
func (p *Plane) settle(s *service, r *real) error {
	total, err := p.total(r.index)
	if err != nil || total == (lb.Counters{}) {
		return err
	}
	var zero counters
	if err := p.maps.get(zeroServicesMap, s.index, &zero); err != nil {
		return err
	}
	return p.maps.put(zeroServicesMap, s.index, countersOf(less(lbCounters(zero), countersOf(total))))
}

// zeroService begins the counts of a service that packets do not see. Those of its removed real servers begin anew too,
// as in IPVS: they are not added to while they are gone.
func (p *Plane) zeroService(s *service) error {
	s.rate = plane.Estimator{}
	if err := p.maps.put(zeroServicesMap, s.index, counters{}); err != nil {
		return err
	}
	for _, r := range s.gone {
		r.rate = plane.Estimator{}
		if err := p.maps.put(zeroRealsMap, r.index, counters{}); err != nil {
			return err
		}
		if err := p.clearCounters(r.index); err != nil {
			return err
		}
	}
	return nil
}
