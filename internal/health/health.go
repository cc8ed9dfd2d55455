// Package health turns check results into verdicts: which real servers of which service get traffic, with which
// weight, whether the pool has its quorum and whether the sorry server stands in. It is a pure machine with
// keepalived's retry semantics; the checks themselves, which touch the network, are in internal/probe.
//
// It does not know the packet path: Want says what the pools should be, internal/daemon/pool.go compares and applies.
// The daemon owns one Pools in one loop: it hands Probe effects to a probe.Runner and results to Observe.
//
// Invariant: a real server has a weight above zero in Want only while every one of its checkers is up, and one checker
// never has two checks under way.
//
// # What becomes of the connections of a failed real server
//
// Without inhibit_on_failure the real server leaves the pool, as IPVS removes a destination: new connections and
// clients with a persistence template to it go elsewhere; packets of its established connections are dropped silently,
// neither moved nor reset, until it returns (they then go on) or their entries expire. A client's new SYN on such a
// connection's ports is scheduled anew. With inhibit_on_failure it stays listed with weight 0, quiesced: nothing new
// goes to it, its established connections continue to be forwarded, which is right where a failing check does not mean
// that the server is dead. The same holds for the real servers that a sorry server displaces when the quorum is lost.
package health

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Config is everything below the virtual_server blocks.
type Config struct {
	Services []Service
	// InitNotifies tells real servers that are up at the start, or new and up at a reload, as RealUp: rs_init_notifies.
	InitNotifies bool
	// Share makes checks that ask the same once, for all services: checker_share.
	Share bool
	// AdoptPeers has real servers of which nothing is known yet begin with what peers told (Told), instead of what alpha and the
	// rest of the file assume: adopt_peer_results.
	AdoptPeers bool
	// Flush: at the stop services go as they are, and nothing is said or told of their real servers: lvs_flush_on_stop.
	Flush bool
}

// Service is one virtual_server. A second one with the same key is ignored.
type Service struct {
	lb.Service
	// Members are the services of a virtual_server_group, which share the real servers and their checks; ServiceKey is the
	// first of them. If empty, there is that one alone.
	Members []lb.ServiceKey
	Name    string // of a group, in the log: [web]:0. If empty, the key's.
	Reals   []Real
	Alpha   bool // what the file says for its real servers; Checker.Alpha is what counts
	Omega   bool // say "down" for everything at the stop
	// Quorum is the weight that must be alive. If zero, 1.
	Quorum     int
	Hysteresis int      // gained at Quorum+Hysteresis, lost below Quorum-Hysteresis. If zero, none.
	Sorry      *lb.Real // stands in while the quorum is lost; weight 0 counts as 1. If nil, none.
	// SorryInhibit keeps the sorry server listed with weight 0 while it does not stand in: sorry_server_inhibit.
	SorryInhibit bool
	// HASuspend: real servers are checked only while this host has an address of the service. See Pools.Address.
	HASuspend bool
	// MaxEject is the most of its real servers that checks take out, in percent. If zero, all.
	MaxEject int
	// InhibitOnFailure is what the file says for its real servers; Real.InhibitOnFailure is what counts.
	InhibitOnFailure bool
	DelayLoop        time.Duration // between checks. If zero, 60 s.
}

// Real is one real_server. A second one with the same address and port in a service is ignored.
type Real struct {
	lb.Real
	// InhibitOnFailure keeps it listed with weight 0 while it is down, instead of removing it.
	InhibitOnFailure bool
	Alpha            bool          // what the file says for its checkers; Checker.Alpha is what counts
	SlowStart        time.Duration // over which its weight grows when it comes back. If zero, none.
	Checkers         []Checker     // all must pass; none: always up
}

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
	Rise             int            // successes in a row that bring it up. If zero, 1.
	Jitter           int            // percent by which DelayLoop varies either way
	Alpha            bool           // down until it succeeded
	Way              *Path          // the way of the traffic, to the virtual address. If nil, to Target as it is.
	LogAllFailures   bool           // a line for each failed check while up, not only for the deciding one

	// What the kinds have of their own; nil for the others.
	HTTP   *HTTP
	URL    int    // of HTTP: which page a Probe asks for
	Helo   string // SMTP_CHECK. If empty, the host's name.
	DNS    *DNS
	UDP    *UDP
	Script *Script
	File   *File
	BFD    string // BFD_CHECK: the session
	Talk   *Talk
}

// Result is what a check found.
type Result struct {
	OK   bool
	Why  string        // of a failure, for a person: "connection refused"
	Took time.Duration // how long it took
	// Timeout tells a failure by silence from one by an answer.
	Timeout bool
	// Said is what keepalived's log says of a failure, for the kinds that say it.
	Said string
	// Matched is what made a page good, in keepalived's words: HTTP status code, MD5 digest or Regex match.
	Matched string
	// Weight is what MISC_CHECK and FILE_CHECK set or add, if HasWeight.
	Weight    int
	HasWeight bool
	// Seen is what was sent and received. If nil, nothing was, or nobody looked.
	Seen *Seen
	// Warning is what an operator should hear although the check succeeded: a certificate that ends soon.
	Warning string
	// Ends is when the certificate does, where one is looked at.
	Ends time.Time
	// Agent is what an agent said.
	Agent *Agent
	// Inconclusive: the check could not be made for a reason on our side (no such interface, address not here). It counts
	// neither as a success nor as a failure; the next one is due a delay_loop later.
	Inconclusive bool
}
