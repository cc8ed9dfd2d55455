package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/plane"
)

// flush writes what Apply changed. The order is the one in which a killed writer does least harm: what is pointed at
// before what points at it, and what is taken away last.
func (p *Plane) flush() error {
	if len(p.changed) == 0 {
		return nil
	}
	if err := p.grace(); err != nil {
		return err
	}
	var errs []error
	if err := errors.Join(p.writeFilter(true), p.writeSources(), p.writeHave()); err != nil {
		errs = append(errs, err)
	}
	for _, t := range p.changed {
		if err := p.write(t); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", t.spec.ServiceKey, err))
		}
	}
	p.changed, p.dirty = nil, map[*service]*pending{}
	p.flipped = time.Now()
	return errors.Join(append(errs, p.writeFilter(false), p.writeHave())...)
}

func (p *Plane) write(t *pending) error {
	if !t.alive {
		return p.unindex(t.service)
	}
	for _, r := range t.reals {
		if err := p.maps.put(bpf.LbMapReals, r.index, p.entry(t.service, r, 0)); err != nil {
			return err
		}
		r.fresh = false
		if err := p.judge(r); err != nil {
			return err
		}
	}
	if err := p.writePool(t); err != nil {
		return err
	}
	if t.restart {
		t.serial = rand.Uint32()
	}
	if err := p.writeService(t.service); err != nil {
		return err
	}
	if !t.indexed {
		index, key := p.maps.indexOf(t.spec.ServiceKey)
		if err := index.Update(key, t.index, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("write service_index: %w", err)
		}
		t.indexed = true
		if err := p.writeService(t.service); err != nil { // and its owner
			return err
		}
	}
	return p.writeGone(t.service)
}

// unindex takes a service from packets that have no connection.
func (p *Plane) unindex(s *service) error {
	if s.indexed {
		s.indexed = false
		if err := p.withdraw(s); err != nil {
			s.indexed = true
			return err
		}
		p.retire(s.extent)
		p.retireTable(s.maglev)
		s.extent, s.maglev = extent{}, -1
	}
	return p.writeGone(s)
}

// withdraw takes the owner out of a service's entry, so that no hint leads to it, and then its index.
func (p *Plane) withdraw(s *service) error {
	if err := p.writeService(s); err != nil {
		return err
	}
	index, key := p.maps.indexOf(s.spec.ServiceKey)
	if err := index.Delete(key); err != nil {
		return fmt.Errorf("write service_index: %w", err)
	}
	return nil
}

// writeGone tells packets with a connection to a removed real server.
func (p *Plane) writeGone(s *service) error {
	var left []*real
	for _, r := range s.gone {
		if r.removed != p.epoch || r.fresh {
			continue
		}
		if err := p.maps.put(bpf.LbMapReals, r.index, p.entry(s, r, gone)); err != nil {
			return err
		}
		left = append(left, r)
	}
	return p.forgetGone(left)
}

// writePool fills the pool that is not in use, and makes it the one that the service's entry will name.
func (p *Plane) writePool(t *pending) error {
	next, err := p.takeExtent(len(t.reals))
	if err != nil {
		return err
	}
	pool := bpf.LbPool{First: next.first, Count: next.count, Di: 1}
	members := newestFirst(t.reals)
	for i, r := range members {
		if err := p.maps.put(bpf.LbMapMembers, next.first+uint32(i), bpf.LbMember{Real: r.index, Weight: r.spec.Weight}); err != nil {
			return err
		}
	}
	hashed := members
	if t.spec.CarryOn {
		hashed = inAgreedOrder(members)
	}
	maglev, err := p.writeTable(t, hashed, &pool)
	if err != nil {
		return err
	}
	pool.Di, pool.Mw = plane.WRR(t.weights())
	if err := p.carry(t, members, &pool); err != nil {
		return err
	}
	if err := p.maps.put(bpf.LbMapPools, t.pool^1, pool); err != nil {
		return err
	}
	p.retire(t.extent)
	p.retireTable(t.maglev)
	t.pool, t.extent, t.maglev = t.pool^1, next, maglev
	return nil
}

func newestFirst(reals []*real) []*real {
	list := slices.Clone(reals)
	slices.Reverse(list)
	return list
}

// inAgreedOrder is the same on every director, however its real servers came and went.
// ipvs: tables of sh and mh depend on the order of addition, which is another where a server has failed and come back.
func inAgreedOrder(reals []*real) []*real {
	list := slices.Clone(reals)
	slices.SortFunc(list, func(a, b *real) int { return a.spec.Addr.Compare(b.spec.Addr) })
	return list
}

// judge lets the packet path look whether the real server is overloaded, by the thresholds that it has now.
func (p *Plane) judge(r *real) error {
	if r.judged {
		return nil
	}
	frame, err := binary.Append(nil, binary.NativeEndian, bpf.LbOrder{Real: r.index})
	if err != nil {
		return err
	}
	r.judged = true
	return p.run(bpf.LbProgJudge, frame, nil)
}

// writeTable writes the table of a scheduler that has one and names it in the pool. It returns which Maglev table that is,
// or -1.
func (p *Plane) writeTable(t *pending, members []*real, pool *bpf.LbPool) (int, error) {
	switch t.spec.Scheduler {
	case "sh", "dh":
		pool.Table = t.pool ^ 1
		return -1, p.maps.put(bpf.LbMapShTables, pool.Table, shTable(members, t.spec.Scheduler == "sh"))
	case "mh":
		table, ok := p.tableSlots.take()
		if !ok {
			return -1, fmt.Errorf("no room for a Maglev table: %w", plane.ErrFull)
		}
		pool.Table = table * mhLines
		return int(table), p.writeMaglev(pool.Table, t.spec.Is6(), members)
	}
	return -1, nil
}

func (p *Plane) writeMaglev(first uint32, six bool, members []*real) error {
	list := make([]plane.MaglevReal, len(members))
	for i, r := range members {
		list[i] = plane.MaglevReal{Addr: r.spec.Addr, Weight: r.lastWeight}
	}
	slots := plane.Maglev(six, list)
	for n := range mhLines {
		var line bpf.LbMhLine
		for i := range line.Real {
			line.Real[i] = noReal
			if at := int(n)*len(line.Real) + i; at < len(slots) && slots[at] >= 0 {
				line.Real[i] = members[slots[at]].index
			}
		}
		if err := p.maps.put(bpf.LbMapMhLines, first+n, line); err != nil {
			return err
		}
	}
	return nil
}

// shTable is the table of scheduler sh, or without weights that of dh.
func shTable(members []*real, weighted bool) bpf.LbShTable {
	weights := make([]int32, len(members))
	for i, r := range members {
		if weighted {
			weights[i] = r.spec.Weight
		}
	}
	var t bpf.LbShTable
	for slot, at := range plane.SourceHash(weights) {
		t.Real[slot] = noReal
		if at >= 0 {
			t.Real[slot] = members[at].index
		}
	}
	return t
}

// carry brings the schedulers' place from the old pool into the new one, by IPVS's rules for each change.
// ipvs: a pick between this look and the flip is not carried over; IPVS picks under a lock that changes take as well.
func (p *Plane) carry(t *pending, members []*real, next *bpf.LbPool) error {
	var old bpf.LbPool
	next.Pos = next.Count
	if !t.restart {
		if err := p.maps.get(bpf.LbMapPools, t.pool, &old); err != nil {
			return err
		}
		next.Cw = old.Cw
		if t.spec.Scheduler != "wrr" || len(t.steps) == 0 {
			pos, err := p.lastPick(t, old, members)
			if err != nil {
				return err
			}
			next.Pos = pos
		}
	}
	for _, s := range t.steps {
		next.Cw = plane.WRRLevel(next.Cw, s.di, s.mw)
	}
	return nil
}

// lastPick is where the server that was picked last stands now. If it was removed, it is the one before it: the next
// pick is then the one after it, as it would have been.
func (p *Plane) lastPick(t *pending, old bpf.LbPool, members []*real) (uint32, error) {
	if old.Pos >= old.Count {
		return uint32(len(members)), nil // none was picked
	}
	for i := old.Pos + 1; i > 0; i-- {
		var m bpf.LbMember
		if err := p.maps.get(bpf.LbMapMembers, old.First+i-1, &m); err != nil {
			return 0, err
		}
		at := slices.IndexFunc(members, func(r *real) bool { return r.index == m.Real })
		if at >= 0 && !t.left[m.Real] {
			return uint32(at), nil
		}
	}
	return uint32(len(members)), nil
}
