package xdp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// pending is what Apply's ops did to one service. Packets get to see all of them at once, at the end of Apply.
type pending struct {
	*service
	steps   []step          // of weighted round robin: one for each change of the servers, as IPVS makes them one by one
	restart bool            // the scheduler is another: it begins anew
	left    map[uint32]bool // real servers that were removed meanwhile, also those that came back
}

type step struct{ di, mw int32 }

// Apply executes ops in order up to the first failure. What packets see changes once, when all are done: a pool that is
// replaced is never empty in between.
func (p *Plane) Apply(ops []plane.Op) error {
	var failed error
	for _, op := range ops {
		if err := p.do(op); err != nil {
			failed = fmt.Errorf("%s: %w", op, err)
			break
		}
	}
	return errors.Join(failed, p.flush())
}

// ApplyEach implements plane.Batcher: packets see all that could be done at once, at the end.
func (p *Plane) ApplyEach(ops []plane.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if err := p.do(op); err != nil {
			errs[i] = fmt.Errorf("%s: %w", op, err)
		}
	}
	if err := p.flush(); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	return errs
}

func (p *Plane) do(op plane.Op) error {
	s := p.services[op.Service.ServiceKey]
	alive := s != nil && s.alive
	switch {
	case op.Verb == plane.AddService && alive:
		return plane.ErrServiceExists
	case op.Verb == plane.AddService:
		return p.addService(s, op.Service)
	case !alive:
		return plane.ErrNoService
	case op.Verb == plane.EditService:
		return p.editService(s, op.Service)
	case op.Verb == plane.DelService:
		return p.delService(s)
	}
	return p.doReal(s, op)
}

func (p *Plane) doReal(s *service, op plane.Op) error {
	at := s.find(op.Real.Addr)
	if err := plane.CheckStep(op.Verb, s.spec.ServiceKey, op.Real, at >= 0); err != nil {
		return err
	}
	switch op.Verb {
	case plane.AddReal:
		return p.addReal(s, op.Real)
	case plane.EditReal:
		return p.editReal(s, s.reals[at], op.Real)
	}
	p.delReal(s, at)
	return nil
}

// addService takes a new index, or that of the service of this name to which connections still refer.
func (p *Plane) addService(old *service, spec lb.Service) error {
	if err := checkService(spec); err != nil {
		return err
	}
	if err := p.tableFor(spec, old); err != nil {
		return err
	}
	s := old
	if s == nil {
		index, ok := p.serviceSlots.take()
		if !ok && p.reap(true) == nil {
			index, ok = p.serviceSlots.take()
		}
		if !ok {
			return fmt.Errorf("%d services: %w", len(p.services), plane.ErrFull)
		}
		s = &service{index: index, pool: 2 * index, maglev: -1}
		p.services[spec.ServiceKey] = s
	}
	s.alive, s.spec = true, plane.Normal(spec)
	t := p.touch(s)
	t.restart, t.steps = true, nil
	return p.zeroService(s)
}

func (p *Plane) editService(s *service, spec lb.Service) error {
	if err := checkService(spec); err != nil {
		return err
	}
	for _, r := range s.reals {
		if err := checkPort(spec, r.spec); err != nil {
			return err
		}
	}
	if err := p.tableFor(spec, s); err != nil {
		return err
	}
	spec = plane.Normal(spec)
	t := p.touch(s)
	if spec.Scheduler != s.spec.Scheduler {
		t.restart, t.steps = true, nil
		t.stepped()
	}
	s.spec = spec
	return nil
}

func (p *Plane) delService(s *service) error {
	for len(s.reals) > 0 {
		p.delReal(s, len(s.reals)-1)
	}
	p.touch(s)
	s.alive = false
	return nil
}

func (p *Plane) addReal(s *service, spec lb.Real) error {
	if err := errors.Join(checkReal(s.spec.ServiceKey, spec), checkPort(s.spec, spec)); err != nil {
		return err
	}
	if len(s.reals) >= maxPool {
		return fmt.Errorf("%d real servers in one service: %w", len(s.reals), plane.ErrFull)
	}
	r, err := p.realFor(s, spec)
	if err != nil {
		return err
	}
	r.set(spec)
	r.lastWeight = spec.Weight // also of one that comes back with weight 0, as in __ip_vs_update_dest
	s.reals = append(s.reals, r)
	p.touch(s).stepped()
	return nil
}

// realFor is the removed real server of this address, if there still is one, or a new entry.
func (p *Plane) realFor(s *service, spec lb.Real) (*real, error) {
	if at := findReal(s.gone, spec.Addr); at >= 0 {
		r := s.gone[at]
		s.gone = slices.Delete(s.gone, at, at+1)
		return r, nil
	}
	index, ok := p.realSlots.take()
	if !ok && p.reap(true) == nil {
		index, ok = p.realSlots.take()
	}
	if !ok {
		return nil, fmt.Errorf("%d real servers: %w", len(p.realSlots.used), plane.ErrFull)
	}
	r := &real{index: index, fresh: true, judged: true, serial: rand.Uint32()}
	return r, p.zeroReal(r)
}

// ipvs: a connection keeps the method that its real server had when it was made; here another one holds for all at once.
func (p *Plane) editReal(s *service, r *real, spec lb.Real) error {
	if err := errors.Join(checkReal(s.spec.ServiceKey, spec), checkPort(s.spec, spec)); err != nil {
		return err
	}
	r.set(spec)
	p.touch(s).stepped()
	return nil
}

// set takes the values that the real server is to have.
func (r *real) set(spec lb.Real) {
	spec = plane.NormalReal(spec)
	if spec.Upper != r.spec.Upper || spec.Lower != r.spec.Lower {
		r.judged = false
	}
	if spec.Weight != 0 {
		r.lastWeight = spec.Weight
	}
	r.spec = spec
}

// tableFor refuses a service of scheduler mh when there is no room for its table and for the one that takes its place. s is
// the service as it is, or nil.
func (p *Plane) tableFor(spec lb.Service, s *service) error {
	if spec.Scheduler != "mh" || s != nil && s.alive && s.spec.Scheduler == "mh" {
		return nil
	}
	have := 0
	for _, one := range p.services {
		if one.alive && one.spec.Scheduler == "mh" {
			have++
		}
	}
	if room := len(p.tableSlots.used) / 2; have >= room {
		return fmt.Errorf("%d services of scheduler mh: %w", room, plane.ErrFull)
	}
	return nil
}

func (p *Plane) delReal(s *service, at int) {
	r := s.reals[at]
	s.reals = slices.Delete(s.reals, at, at+1)
	s.gone = append(s.gone, r)
	r.removed = p.epoch
	t := p.touch(s)
	t.left[r.index] = true
	t.stepped()
}

// touch notes that a service has to be written.
func (p *Plane) touch(s *service) *pending {
	t := p.dirty[s]
	if t == nil {
		t = &pending{service: s, left: map[uint32]bool{}}
		p.dirty[s] = t
		p.changed = append(p.changed, t)
	}
	return t
}

func (t *pending) stepped() {
	di, mw := plane.WRR(t.weights())
	t.steps = append(t.steps, step{di, mw})
}

// weights are those of the pool, newest server first.
func (s *service) weights() []int32 {
	list := make([]int32, 0, len(s.reals))
	for _, r := range slices.Backward(s.reals) {
		list = append(list, r.spec.Weight)
	}
	return list
}
