// Package health turns check results into verdicts: which real servers of which service get traffic, with which
// weight, whether the pool has its quorum and whether the sorry server stands in. It is a pure machine with
// keepalived's retry semantics; the checks themselves, which touch the network, are in internal/probe.
//
// It does not know the packet path: it says what the pools should be (Pools), internal/daemon/pool.go compares and applies.
package health

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Config is everything below the virtual_server blocks.
type Config struct {
	Services []Service
}

// Service is one virtual_server.
type Service struct {
	lb.Service
	Reals []Real
	Alpha bool // real servers are down until a check succeeded
	Omega bool // say "down" for everything at the stop
	// Quorum is the weight that must be alive. If zero, 1.
	Quorum     int
	Hysteresis int
	Sorry      *lb.Real // stands in while the quorum is lost. If nil, none.
	// InhibitOnFailure keeps a failed real server listed with weight 0 instead of removing it.
	InhibitOnFailure bool
	DelayLoop        time.Duration // between checks. If zero, 60 s.
}

// Real is one real_server.
type Real struct {
	lb.Real
	InhibitOnFailure bool
	Alpha            bool
	Checkers         []Checker // all must pass; none: always up
}

// Kind is the type of a checker, by its keyword.
type Kind string

// The checkers.
const (
	TCPCheck Kind = "TCP_CHECK"
)

// Checker is one check of one real server, with inheritance already resolved.
type Checker struct {
	Kind             Kind
	Target           netip.AddrPort // connect_ip and connect_port, else the real server's own
	Bind             netip.AddrPort // bindto, bind_port. If zero, the system chooses.
	BindIf           string         // bind_if. If empty, any.
	Mark             uint32         // fwmark. If zero, none.
	ConnectTimeout   time.Duration  // If zero, 5 s.
	DelayLoop        time.Duration  // If zero, the service's.
	Retry            int            // further attempts before a failure counts. Negative: keepalived's default, 1.
	DelayBeforeRetry time.Duration  // If zero, 1 s.
	Warmup           time.Duration  // the first run is 1 s + a random part of this after the start. Negative: DelayLoop.
	Alpha            bool
	LogAllFailures   bool
}

// Result is what a check found.
type Result struct {
	OK   bool
	Why  string        // of a failure, for a person: "connection refused"
	Took time.Duration // how long it took
}
