package health

import (
	"fmt"
	"slices"
	"time"
)

// slow_start: the weight of a real server that comes back grows over a time, so that a cold one is not run down. The quorum
// counts the whole weight.

const (
	rampSteps = 20
	rampStep  = time.Second // at least, from one weight to the next
)

// ramp begins the slow start of a real server that came back.
func (p *Pools) ramp(now time.Time, r *real) {
	p.endRamp(r)
	if r.alive && r.cfg.SlowStart > 0 {
		r.rampFrom = now
		p.ramps = append(p.ramps, r)
		r.climb(now)
	}
}

func (p *Pools) endRamp(r *real) {
	r.rampFrom, r.rampNext, r.part = time.Time{}, time.Time{}, 0
	p.ramps = slices.DeleteFunc(p.ramps, func(o *real) bool { return o == r })
}

// climb sets the part of the weight that r has at now, and when it has the next.
func (r *real) climb(now time.Time) {
	step := max(r.cfg.SlowStart/rampSteps, rampStep)
	done := now.Sub(r.rampFrom)
	r.part = int64(max(min((done+step)*100/max(r.cfg.SlowStart, step), 100), 1))
	r.rampNext = now.Add(step)
}

// pooled is the weight of r in the pool: at least 1, if it has any.
func (r *real) pooled() int32 {
	if r.part == 0 || r.weight <= 0 {
		return r.weight
	}
	return int32(max(int64(r.weight)*r.part/100, 1))
}

// climbs lets the weights grow whose time has come.
func (p *Pools) climbs(now time.Time) {
	for _, r := range slices.Clone(p.ramps) {
		if r.rampNext.After(now) {
			continue
		}
		if r.climb(now); r.part >= 100 {
			p.endRamp(r)
		}
		p.refresh(r.service)
	}
}

// nextRamp is when the next weight grows; zero: never.
func (p *Pools) nextRamp() (next time.Time) {
	for _, r := range p.ramps {
		if next.IsZero() || r.rampNext.Before(next) {
			next = r.rampNext
		}
	}
	return next
}

// adoptRamp goes on with the slow start of was after a reload.
func (p *Pools) adoptRamp(now time.Time, r, was *real) {
	from := was.rampFrom
	p.endRamp(was)
	if !from.IsZero() && r.alive && now.Sub(from) < r.cfg.SlowStart {
		r.rampFrom = from
		p.ramps = append(p.ramps, r)
		r.climb(now)
	}
}

func ruleRamp(_ time.Time, _ *service, r *real) (Ruling, bool) {
	if r.part == 0 {
		return Ruling{}, false
	}
	return Ruling{RuleSlowStart, fmt.Sprintf("slow_start: weight %d of %d, all of it %v after it came back", r.pooled(), r.weight, r.cfg.SlowStart), r.rampFrom}, true
}
