package plane

import (
	"errors"
	"fmt"
	"math"

	"vipd/internal/lb"
)

// ErrRange is a value outside what IPVS takes: a negative weight, a lower threshold above the upper one (ERANGE).
var ErrRange = errors.New("numerical result out of range")

// schedulers are those that a kernel with every IPVS module has; "none" is a service that never picks a server.
var schedulers = map[string]bool{"none": true, "rr": true, "wrr": true, "lc": true, "wlc": true, "lblc": true, "lblcr": true,
	"dh": true, "sh": true, "sed": true, "nq": true, "fo": true, "ovf": true, "mh": true, "twos": true}

// CheckService says what is wrong with a service on every plane: ErrNoScheduler for a scheduler that IPVS never had.
func CheckService(s lb.Service) error {
	if n := Normal(s); !schedulers[n.Scheduler] {
		return fmt.Errorf("scheduler %q: %w", s.Scheduler, ErrNoScheduler)
	}
	if s.Persistence < 0 {
		return fmt.Errorf("persistence %v: %w", s.Persistence, ErrRange)
	}
	return nil
}

// CheckReal says what is wrong with a real server on every plane: ErrRange for weights and thresholds.
func CheckReal(r lb.Real) error {
	switch {
	case r.Weight < 0:
		return fmt.Errorf("weight %d of %s: %w", r.Weight, r.Addr, ErrRange)
	case r.Upper > math.MaxInt32, r.Lower > r.Upper:
		return fmt.Errorf("thresholds %d and %d of %s: %w", r.Upper, r.Lower, r.Addr, ErrRange)
	}
	return nil
}
