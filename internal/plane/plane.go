// Package plane says what a packet path is to the rest of the program: declarative at the top (Diff compares what is
// with what should be), imperative at the bottom (Apply executes single steps). A restart, a reload and a changed
// check result are the same three steps: Read, Diff, Apply.
//
// The planes themselves are plane/xdp (this project's eBPF program), plane/ipvs (the kernel's IPVS) and Memory (here,
// for tests). All three pass the same contract, plane/planetest. The package is pure: no network, no clock.
package plane

import (
	"errors"

	"vipd/internal/lb"
)

// Plane forwards packets to real servers. Its methods are called from one goroutine at a time.
type Plane interface {
	// Read returns every service with its real servers (in order of addition) and what was counted. Sorted by nothing.
	Read() ([]Pool, error)
	// Apply executes ops in order and stops at the first failure; what was done before it stays done.
	Apply(ops []Op) error
	// Conns calls visit for every live connection and template, in no particular order, until visit returns false.
	Conns(visit func(lb.Conn) bool) error
	// Timeouts and SetTimeouts are ipvsadm --timeout and --set; a zero field of SetTimeouts keeps its value.
	Timeouts() (lb.Timeouts, error)
	SetTimeouts(lb.Timeouts) error
	// Zero begins the counters and rates of a service and of its real servers anew; of all services if key is nil. What
	// connections there are is untouched. ErrNoService.
	Zero(key *lb.ServiceKey) error
	// Close lets go of the plane; forwarding goes on as it is. Whoever wants it to end deletes the services first.
	Close() error
}

// Batcher is a Plane that can do many steps at once at less cost than one by one.
type Batcher interface {
	// ApplyEach executes all ops in order, also after a failure, and returns what came of each.
	ApplyEach(ops []Op) []error
}

// ApplyEach executes all ops in order, also after a failure, and returns what came of each.
func ApplyEach(p Plane, ops []Op) []error {
	if b, ok := p.(Batcher); ok {
		return b.ApplyEach(ops)
	}
	errs := make([]error, len(ops))
	for i, op := range ops {
		errs[i] = p.Apply([]Op{op})
	}
	return errs
}

// Pager is a plane that can list its connections in parts, so that whoever owns it may do other things in between and
// nobody holds all of them at once.
type Pager interface {
	// ConnsFrom visits one part of the connections, from cursor on (0 at first), and says where the next one begins; -1:
	// that was the last. A connection that lives all the while is visited once.
	ConnsFrom(cursor int, visit func(lb.Conn)) (next int, err error)
}

// Pool is a service as a plane has it, with its counts.
type Pool struct {
	Service lb.Service
	Total   lb.Counters
	Rate    lb.Rates
	Reals   []Real
}

// Real is a real server as a plane has it, with its counts.
type Real struct {
	lb.Real
	Active   uint32 // connections in an active state (ESTABLISHED, SYN_RECV, …)
	Inactive uint32
	Persist  uint32 // persistence templates
	Total    lb.Counters
	Rate     lb.Rates
}

// Verb is what an Op does.
type Verb uint8

// The verbs, named as ipvsadm's commands. EditService and EditReal replace every attribute but the key.
const (
	AddService Verb = iota
	EditService
	DelService
	AddReal
	EditReal
	DelReal
)

// Op is one step of a change. Service is always set (the key is enough but for AddService and EditService).
type Op struct {
	Verb    Verb
	Service lb.Service
	Real    lb.Real // AddReal, EditReal (all of it), DelReal (Addr is enough)
}

// The errors of Apply, which ipvsadm's messages are made of. Test with errors.Is.
var (
	ErrServiceExists = errors.New("service already exists")                    // EEXIST
	ErrNoService     = errors.New("no such service")                           // ESRCH
	ErrRealExists    = errors.New("destination already exists")                // EEXIST
	ErrNoReal        = errors.New("no such destination")                       // ENOENT
	ErrNoScheduler   = errors.New("scheduler or persistence engine not found") // ENOENT
	ErrFull          = errors.New("table full")                                // ENOMEM
	ErrUnsupported   = errors.New("not supported by this data plane")          // EOPNOTSUPP
)
