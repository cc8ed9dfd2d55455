package xdp

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Read returns the services in about their order of addition. Counts are of now, rates of the last Sample.
// ipvs: its counters are those of the last 2 s tick.
func (p *Plane) Read() ([]plane.Pool, error) {
	var pools []plane.Pool
	for _, s := range p.sorted() {
		if !s.alive {
			continue
		}
		pool := plane.Pool{Service: s.spec, Rate: s.rate.Rates()}
		var err error
		if pool.Total, err = p.serviceTotal(s); err != nil {
			return nil, err
		}
		for _, r := range s.reals {
			one, err := p.readReal(r)
			if err != nil {
				return nil, err
			}
			pool.Reals = append(pool.Reals, one)
		}
		pools = append(pools, pool)
	}
	return pools, nil
}

func (p *Plane) readReal(r *real) (plane.Real, error) {
	var n bpf.LbRealCount
	if err := p.maps.get(bpf.LbMapRealCounts, r.index, &n); err != nil {
		return plane.Real{}, err
	}
	total, err := p.realTotal(r)
	return plane.Real{Real: r.spec, Active: n.Active, Inactive: n.Inactive, Persist: n.Persist, Total: total, Rate: r.rate.Rates()}, err
}

// serviceTotal and realTotal are what was counted since the last zeroing.
func (p *Plane) serviceTotal(s *service) (lb.Counters, error) {
	sum, err := p.sum(s)
	if err != nil {
		return sum, err
	}
	return p.since(sum, zeroServicesMap, s.index)
}

func (p *Plane) realTotal(r *real) (lb.Counters, error) {
	total, err := p.total(r.index)
	if err != nil {
		return total, err
	}
	return p.since(total, zeroRealsMap, r.index)
}

// since is c without what is noted in the map.
func (p *Plane) since(c lb.Counters, zeroed string, index uint32) (lb.Counters, error) {
	var zero counters
	err := p.maps.get(zeroed, index, &zero)
	return less(c, zero), err
}

// less wraps: what is noted for a service goes below nothing when a real server's count is settled.
func less(c lb.Counters, zero counters) lb.Counters {
	return lb.Counters{Conns: c.Conns - zero.Conns, InPkts: c.InPkts - zero.Inpkts, OutPkts: c.OutPkts - zero.Outpkts,
		InBytes: c.InBytes - zero.Inbytes, OutBytes: c.OutBytes - zero.Outbytes}
}

// Zero implements plane.Plane. Programs may be counting at this moment, so the counters go on and what they have is noted.
func (p *Plane) Zero(key *lb.ServiceKey) error {
	if key != nil && (p.services[*key] == nil || !p.services[*key].alive) {
		return plane.ErrNoService
	}
	for k, s := range p.services {
		if key != nil && k != *key {
			continue
		}
		if err := p.zero(s); err != nil {
			return err
		}
	}
	return nil
}

// zero keeps what is counted by now as the point to count from.
func (p *Plane) zero(s *service) error {
	sum, err := p.sum(s)
	if err != nil {
		return err
	}
	if err := p.maps.put(zeroServicesMap, s.index, countersOf(sum)); err != nil {
		return err
	}
	s.rate = plane.Estimator{}
	for _, r := range s.reals {
		total, err := p.total(r.index)
		if err != nil {
			return err
		}
		if err := p.maps.put(zeroRealsMap, r.index, countersOf(total)); err != nil {
			return err
		}
		r.rate = plane.Estimator{}
	}
	return nil
}

// total is what a real server counted: the sum over the CPUs.
func (p *Plane) total(index uint32) (sum lb.Counters, err error) {
	var each []counters
	if err := p.maps.get(bpf.LbMapRealCounters, index, &each); err != nil {
		return sum, err
	}
	for _, c := range each {
		sum = sum.Add(lbCounters(c))
	}
	return sum, nil
}

// sum is what the real servers of a service counted, the removed ones too.
func (p *Plane) sum(s *service) (lb.Counters, error) {
	var sum lb.Counters
	for _, list := range [][]*real{s.reals, s.gone} {
		for _, r := range list {
			total, err := p.total(r.index)
			if err != nil {
				return sum, err
			}
			sum = sum.Add(total)
		}
	}
	return sum, nil
}

func lbCounters(c counters) lb.Counters {
	return lb.Counters{Conns: c.Conns, InPkts: c.Inpkts + c.Hits, OutPkts: c.Outpkts, InBytes: c.Inbytes, OutBytes: c.Outbytes}
}

func countersOf(c lb.Counters) counters {
	return counters{Conns: c.Conns, Inpkts: c.InPkts, Outpkts: c.OutPkts, Inbytes: c.InBytes, Outbytes: c.OutBytes}
}

// Sample takes the counts for the rates, and frees what no connection refers to any more. Call it every 2 s, the period
// of IPVS's estimator; a call within a second of the last one does nothing.
func (p *Plane) Sample(now time.Time) error {
	if now.Sub(p.sampled) < time.Second {
		return nil
	}
	p.sampled = now
	err := p.eachRate(func(e *plane.Estimator, total lb.Counters) { e.Fold(total) })
	if err != nil {
		return err
	}
	if err := p.reap(false); err != nil {
		return err
	}
	if err := errors.Join(p.defend(), p.followLinks()); err != nil {
		return err
	}
	return errors.Join(p.writeFilter(false), p.writeSources(), p.writeHave())
}

// startRates lets the rates begin with what has been counted before this process.
func (p *Plane) startRates() error {
	return p.eachRate(func(e *plane.Estimator, total lb.Counters) { e.Start(total) })
}

func (p *Plane) eachRate(visit func(*plane.Estimator, lb.Counters)) error {
	for _, s := range p.services {
		if !s.alive {
			continue
		}
		total, err := p.serviceTotal(s)
		if err != nil {
			return err
		}
		visit(&s.rate, total)
		for _, r := range s.reals {
			if total, err = p.realTotal(r); err != nil {
				return err
			}
			visit(&r.rate, total)
		}
	}
	return nil
}

// Timeouts are those that ipvsadm --set changes.
func (p *Plane) Timeouts() (lb.Timeouts, error) {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return lb.Timeouts{}, err
	}
	return lb.Timeouts{TCP: p.clock.seconds(t.Tcp[lb.Established]), TCPFin: p.clock.seconds(t.Tcp[lb.FinWait]), UDP: p.clock.seconds(t.Udp)}, nil
}

// SetTimeouts holds for the next packet of each connection. Whole seconds up to 31 days; 0 keeps a value.
func (p *Plane) SetTimeouts(want lb.Timeouts) error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	for _, f := range []struct {
		to *uint32
		d  time.Duration
	}{{&t.Tcp[lb.Established], want.TCP}, {&t.Tcp[lb.FinWait], want.TCPFin}, {&t.Udp, want.UDP}} {
		if f.d < 0 || f.d > maxPeriod {
			return fmt.Errorf("timeout %v: %w", f.d, plane.ErrRange)
		}
		if f.d != 0 {
			*f.to = p.clock.ticks(f.d)
		}
	}
	return p.maps.put(bpf.LbMapTuning, 0, t)
}

// Reason is one of the ways in which a packet left the packet path, and how many took it.
type Reason struct {
	Name    string // forward_hit: stable, for metrics
	Verdict string // pass (to the host), forward, reply or drop
	Packets uint64
}

// Reasons lists all of them, in the order of shared.h. Every packet is counted under exactly one.
func (p *Plane) Reasons() ([]Reason, error) {
	names := bpf.Reasons()
	list := make([]Reason, len(names))
	for i, name := range names {
		n, err := p.reason(uint32(i))
		if err != nil {
			return nil, err
		}
		list[i] = Reason{Name: name, Verdict: verdictOf(name), Packets: n}
	}
	hits, err := p.hits()
	if err != nil {
		return nil, err
	}
	list[bpf.LbReasonFORWARD_HIT].Packets += hits
	return list, nil
}

// reason is an entry of the map of reasons, summed over the CPUs.
func (p *Plane) reason(index uint32) (sum uint64, err error) {
	var each []uint64
	if err := p.maps.get(bpf.LbMapReasons, index, &each); err != nil {
		return 0, err
	}
	for _, n := range each {
		sum += n
	}
	return sum, nil
}

// hits are the packets that the fast road has counted with their real servers alone, and those of real servers that have gone.
func (p *Plane) hits() (sum uint64, err error) {
	if sum, err = p.reason(hitsOfGone); err != nil {
		return 0, err
	}
	for _, s := range p.services {
		for _, list := range [][]*real{s.reals, s.gone} {
			for _, r := range list {
				n, err := p.hitsOf(r.index)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
	}
	return sum, nil
}

func (p *Plane) hitsOf(index uint32) (sum uint64, err error) {
	var each []counters
	if err := p.maps.get(bpf.LbMapRealCounters, index, &each); err != nil {
		return 0, err
	}
	for _, c := range each {
		sum += c.Hits
	}
	return sum, nil
}

// hitsOfGone is the entry that no program writes.
const hitsOfGone = uint32(bpf.LbReasonREASONS)

// clearCounters begins a real server's counters anew; its hits stay counted. A process that is killed in between has lost them.
func (p *Plane) clearCounters(index uint32) error {
	hits, err := p.hitsOf(index)
	if err != nil {
		return err
	}
	if err := p.maps.put(bpf.LbMapRealCounters, index, make([]counters, ebpf.MustPossibleCPU())); err != nil || hits == 0 {
		return err
	}
	before, err := p.reason(hitsOfGone)
	if err != nil {
		return err
	}
	each := make([]uint64, ebpf.MustPossibleCPU())
	each[0] = before + hits
	return p.maps.put(bpf.LbMapReasons, hitsOfGone, each)
}
