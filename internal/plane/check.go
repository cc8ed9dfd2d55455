package plane

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Values that IPVS refuses.
var (
	ErrRange   = errors.New("numerical result out of range") // ERANGE: a negative weight, a lower threshold above the upper one
	ErrInvalid = errors.New("invalid argument")              // EINVAL: an address that is no host's, a tunnel without its port
)

// schedulers are those that a kernel with every IPVS module has; "none" is a service that never picks a server.
var schedulers = map[string]bool{"none": true, "rr": true, "wrr": true, "lc": true, "wlc": true, "lblc": true, "lblcr": true,
	"dh": true, "sh": true, "sed": true, "nq": true, "fo": true, "ovf": true, "mh": true, "twos": true}

// maxPersistence is 31 days, the most that ipvsadm(8) and keepalived let through.
const maxPersistence = 31 * 24 * time.Hour

// CheckService says what is wrong with a service on every plane: ErrNoScheduler for a scheduler or persistence engine that
// IPVS never had, ErrRange, ErrInvalid. A persistence engine goes with any protocol and without persistence, as in IPVS.
func CheckService(s lb.Service) error {
	switch {
	case !schedulers[Normal(s).Scheduler]:
		return fmt.Errorf("scheduler %q: %w", s.Scheduler, ErrNoScheduler)
	case s.Engine != "" && s.Engine != "sip":
		return fmt.Errorf("persistence engine %q: %w", s.Engine, ErrNoScheduler)
	case s.Persistence < 0 || s.Persistence > maxPersistence:
		return fmt.Errorf("persistence %v: %w", s.Persistence, ErrRange)
	case s.Is6() && s.Wild > 127:
		return fmt.Errorf("netmask %s: %w", s.Netmask(), ErrInvalid)
	case s.Locals != (lb.AddrRange{}) && (s.Locals.Len() == 0 || s.Locals.First.Is6() != s.Is6() || checkHost(s.Locals.First) != nil):
		return fmt.Errorf("local addresses %s: %w", s.Locals, ErrInvalid)
	case s.Proxy && (s.Locals.Len() == 0 || s.Mark == 0 && s.Protocol != lb.TCP):
		return fmt.Errorf("the PROXY protocol without local addresses or TCP: %w", ErrInvalid)
	case s.CarryOn && (s.Scheduler != "sh" && s.Scheduler != "mh" || s.Persistence > 0 || s.Locals.Len() > 0):
		return fmt.Errorf("carry_on without sh or mh, or with persistence or local addresses: %w", ErrInvalid)
	case s.Mark == 0 && !s.Addr.Addr().IsValid():
		return fmt.Errorf("a service without an address: %w", ErrInvalid)
	case s.Mark == 0 && s.Protocol != lb.TCP && s.Protocol != lb.UDP && s.Protocol != lb.SCTP:
		return fmt.Errorf("protocol %s: %w", s.Protocol, ErrInvalid)
	}
	return nil
}

// CheckReal says what is wrong with a real server on every plane: ErrRange for weights and thresholds, ErrInvalid for what
// cannot be reached.
func CheckReal(r lb.Real) error {
	if err := checkValues(r); err != nil {
		return err
	}
	return checkHost(r.Addr.Addr())
}

// CheckStep says what IPVS answers to AddReal, EditReal or DelReal for a real server of an existing service, in its order
// of checks. exists tells whether the service has a server of this address and port.
func CheckStep(v Verb, k lb.ServiceKey, r lb.Real, exists bool) error {
	if v != DelReal {
		if r.Addr.Addr().Is6() != k.Is6() && r.Forward != lb.Tunnel {
			return fmt.Errorf("%s is of another address family, which only a tunnel bridges: %w", r.Addr, ErrInvalid)
		}
		if err := checkValues(r); err != nil {
			return err
		}
	}
	switch {
	case v == AddReal && exists:
		return ErrRealExists
	case v == AddReal:
		return checkHost(r.Addr.Addr())
	case !exists:
		return ErrNoReal
	}
	return nil
}

func checkValues(r lb.Real) error {
	switch {
	case r.Weight < 0:
		return fmt.Errorf("weight %d of %s: %w", r.Weight, r.Addr, ErrRange)
	case r.Lower > r.Upper:
		return fmt.Errorf("thresholds %d and %d of %s: %w", r.Upper, r.Lower, r.Addr, ErrRange)
	case r.Upper > math.MaxInt32:
		return fmt.Errorf("threshold %d of %s: %w", r.Upper, r.Addr, ErrInvalid)
	case r.Forward > lb.Bypass || r.Forward == lb.Tunnel && r.Tunnel.Type > lb.GRE:
		return fmt.Errorf("forwarding method %s of %s: %w", r.Forward, r.Addr, ErrInvalid)
	case r.Forward == lb.Tunnel && r.Tunnel.Type == lb.GUE && r.Tunnel.Port == 0:
		return fmt.Errorf("GUE tunnel to %s without a port: %w", r.Addr, ErrInvalid)
	}
	return nil
}

// checkHost refuses what is no host's address.
//
// ipvs: also asks the host's routing table, and refuses the broadcast addresses of its networks, and takes a link-local
// address that is its own.
func checkHost(a netip.Addr) error {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		a.Is6() && (a.IsLinkLocalUnicast() || a.Is4In6()) {
		return fmt.Errorf("address %s is not a host's: %w", a, ErrInvalid)
	}
	return nil
}
