package plane

import "vipd/internal/lb"

// Estimator turns growing counts into rates per second by the rule of IPVS's estimator: a moving average that takes a
// quarter of the newest 2 s. Counts have 10 fraction bits, bytes 5, and the shown value is rounded as the kernel rounds
// it. The zero value has seen nothing and shows 0.
type Estimator struct {
	last                              lb.Counters
	conns, in, out, inBytes, outBytes int64
}

// Start makes total the value from which the next Fold counts, without a change to the rates.
func (e *Estimator) Start(total lb.Counters) { e.last = total }

// Fold takes the counts at the end of a period of 2 s.
func (e *Estimator) Fold(total lb.Counters) {
	fold(&e.conns, total.Conns-e.last.Conns, 9)
	fold(&e.in, total.InPkts-e.last.InPkts, 9)
	fold(&e.out, total.OutPkts-e.last.OutPkts, 9)
	fold(&e.inBytes, total.InBytes-e.last.InBytes, 4)
	fold(&e.outBytes, total.OutBytes-e.last.OutBytes, 4)
	e.last = total
}

// fold moves est a quarter of the way to delta per 2 s; shift is one bit less than the fraction bits, which halves delta.
func fold(est *int64, delta uint64, shift uint) {
	*est += (int64(delta<<shift) - *est) >> 2
}

// Rates are what ipvsadm --rate shows.
func (e *Estimator) Rates() lb.Rates {
	return lb.Rates{
		Conns:    uint64(e.conns+511) >> 10,
		InPkts:   uint64(e.in+511) >> 10,
		OutPkts:  uint64(e.out+511) >> 10,
		InBytes:  uint64(e.inBytes+15) >> 5,
		OutBytes: uint64(e.outBytes+15) >> 5,
	}
}
