package health

import (
	"net/netip"

	"vipd/internal/lb"
)

// CheckID names one checker of one real server for as long as it is configured, over reloads. Never zero.
type CheckID uint64

// Effect is something that the machine wants done. It is one of the types below.
type Effect interface{ effect() }

// Probe asks for one check; its result goes to Observe. Until then no other check of this checker is asked for.
type Probe struct {
	ID      CheckID
	Checker Checker // defaults filled in
}

// Changed tells that Want has another answer for this service than before: new, gone, or with another pool.
type Changed struct{ Service lb.ServiceKey }

// RealUp and RealDown tell that a real server came or went; they are what notify_up, notify_down, the FIFO's RS lines
// and mail are made of. Under alpha a first failure is told as RealDown too, although it was down before.
type RealUp struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Why     string // in one clause, for a person
}

// RealDown is the opposite of RealUp.
type RealDown struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Why     string
}

// CheckerTurned tells that a checker came to another verdict, or MISC_CHECK to its first: keepalived mails are made of it. It comes after what the
// verdict did to the real server.
type CheckerTurned struct {
	Service    lb.ServiceKey
	Real       netip.AddrPort
	Kind       Kind
	Session    string // of BFD_CHECK
	Up         bool   // the checker's verdict
	RealUp     bool   // the real server's, which other checkers may decide
	RealTurned bool   // this verdict changed it
	Why        string
	Last       Result // what decided
}

// QuorumUp and QuorumDown tell that a service gained or lost its quorum: quorum_up, quorum_down, the FIFO's VS lines,
// mail. A service that starts with its quorum tells it too.
type QuorumUp struct {
	Service lb.ServiceKey
	Why     string // as in keepalived's mail: "Gained quorum 1+0=1 <= 2"
}

// QuorumDown is the opposite of QuorumUp.
type QuorumDown struct {
	Service lb.ServiceKey
	Why     string
}

// Say is a log line in keepalived's words. Real is not valid where the line is about the service.
type Say struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Text    string
}

func (Probe) effect()         {}
func (Changed) effect()       {}
func (RealUp) effect()        {}
func (RealDown) effect()      {}
func (CheckerTurned) effect() {}
func (QuorumUp) effect()      {}
func (QuorumDown) effect()    {}
func (Say) effect()           {}
