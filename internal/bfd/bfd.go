// Package bfd is Bidirectional Forwarding Detection in asynchronous mode (RFC 5880) as a pure machine, for one hop
// (RFC 5881) and several (RFC 5883), with the choices of keepalived's bfd_instance. Packets and times go in by verbs that
// take now; what is to be done comes out of Take as effects, in order. Inside there is no goroutine, no lock, no clock, no
// logger and no socket; what is random comes from the source that New is given.
//
// It does not know who wants to hear of a session: internal/daemon/bfd.go does. No authentication, no echo function, and
// no demand mode of our own, as keepalived.
package bfd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Ports of RFC 5881 §4 and RFC 5883 §5.
const (
	Port         = 3784
	PortMultihop = 4784
)

// Config is one bfd_instance.
type Config struct {
	Name                 string
	Neighbor             netip.Addr
	Source               netip.Addr    // If zero, the kernel's choice.
	MinRx, MinTx, IdleTx time.Duration // IdleTx: while not Up, at least 1 s
	Multiplier           uint8
	Passive              bool // sends nothing before the neighbour does
	Multihop             bool
	TTL                  uint8 // that packets leave with
	PeerTTL              uint8 // that those of the neighbour leave with at least. If zero, TTL.
	MaxHops              int   // by how much it may have dropped in those that come. Negative, or 255: any.
}

// Effect is something that the machine wants done: Send, Change or Say.
type Effect interface{ effect() }

// Send puts a packet on its way to the neighbour of a session.
type Send struct {
	Session string
	Packet  []byte
}

// Change tells that a session went up or down. What leads there (Init), and a neighbour that says it is administratively
// down, is none. keepalived: the same.
type Change struct {
	Session string
	Up      bool
	Why     string
}

// Say is a log line. Detail lines are those that keepalived prints only with -D.
type Say struct {
	Session string
	Text    string
	Warning bool
	Detail  bool
}

func (Send) effect()   {}
func (Change) effect() {}
func (Say) effect()    {}

// Sessions are all of the process, so that one loop runs them: it is a loop.Machine. It is not safe for concurrent use.
type Sessions struct {
	sessions  []*session
	rng       *rand.Rand
	effects   []Effect
	discarded map[string]uint64 // by reason
}

// New makes one without sessions.
func New(rng *rand.Rand) *Sessions { return &Sessions{rng: rng, discarded: map[string]uint64{}} }

// Set makes these the sessions. One that has the same name, neighbour, source and port goes on, by a poll sequence if its
// timers changed; the others begin in Down, and those that are gone say nothing more. keepalived: the same.
func (s *Sessions) Set(now time.Time, cfgs []Config) {
	old := s.sessions
	s.sessions = nil
	for _, cfg := range cfgs {
		i := slices.IndexFunc(old, func(o *session) bool { return o.is(cfg) })
		if i >= 0 {
			old[i].renew(now, cfg)
			s.sessions = append(s.sessions, old[i])
			continue
		}
		n := &session{all: s, cfg: cfg, state: Down, remoteState: Down}
		n.discr = s.discriminator()
		n.begin(now)
		s.sessions = append(s.sessions, n)
	}
}

// discriminator is a new one: "unique … and nonzero" (RFC 5880 §6.8.1).
func (s *Sessions) discriminator() uint32 {
	for {
		d := s.rng.Uint32()
		if d != 0 && !slices.ContainsFunc(s.sessions, func(o *session) bool { return o.discr == d }) {
			return d
		}
	}
}

// Arrival is a packet as it was received.
type Arrival struct {
	From, To netip.Addr
	Multihop bool // on PortMultihop
	TTL      int  // 0: not known
	Data     []byte
}

// Receive takes a packet that arrived. One that no session can use is counted by its reason.
func (s *Sessions) Receive(now time.Time, a Arrival) {
	p, err := Parse(a.Data)
	if err != nil {
		s.discard(a, "malformed", err.Error())
		return
	}
	i := slices.IndexFunc(s.sessions, func(n *session) bool { return n.meant(a, p) })
	switch {
	// "If the Your Discriminator field is nonzero, it MUST be used to select the session with which this BFD packet is
	// associated. If no session is found, the packet MUST be discarded."
	case i < 0:
		s.discard(a, "no session", fmt.Sprintf("session is not found - your discriminator field is 0x%08x", p.YourDiscr))
	// RFC 5881 §5: "all received BFD Control packets that are demultiplexed to the session MUST be discarded if the
	// received TTL or Hop Limit is not equal to 255". keepalived: with max_hops less is enough.
	case s.sessions[i].tooFar(a.TTL):
		s.discard(a, "ttl", fmt.Sprintf("ttl %d < %d", a.TTL, s.sessions[i].least()))
	// "If the A bit is set and no authentication is in use (bfd.AuthType is zero), the packet MUST be discarded."
	case p.Auth:
		s.discard(a, "auth", "auth bit is set, but no authentication is in use")
	default:
		s.sessions[i].receive(now, p)
	}
}

func (s *Sessions) discard(a Arrival, reason, text string) {
	s.discarded[reason]++
	s.effects = append(s.effects, Say{Text: fmt.Sprintf("Discarding packet from %s (%s)", a.From, text), Detail: true})
}

// Discarded counts packets that no session could use, by reason: malformed, no session, ttl or auth.
func (s *Sessions) Discarded() map[string]uint64 { return s.discarded }

// Next is the earliest deadline. The zero time: none.
func (s *Sessions) Next() (next time.Time) {
	for _, n := range s.sessions {
		for _, at := range [...]time.Time{n.sendAt, n.expireAt} {
			if !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// Tick does all that is due at now.
func (s *Sessions) Tick(now time.Time) {
	for _, n := range s.sessions {
		if due(now, n.expireAt) {
			n.expire(now)
		}
		if due(now, n.sendAt) {
			n.send()
			n.schedule(now)
		}
	}
}

func due(now, at time.Time) bool { return !at.IsZero() && !at.After(now) }

// Take hands out what is to be done since the last Take, in order.
func (s *Sessions) Take() []Effect {
	effects := s.effects
	s.effects = nil
	return effects
}

// Status is a copy of what is known about a session.
type Status struct {
	Name                   string
	Neighbor               netip.Addr
	State, RemoteState     State
	Diag, RemoteDiag       Diag
	Discr, RemoteDiscr     uint32
	SendEvery, DetectAfter time.Duration // DetectAfter: 0 before anything was heard
	Since                  time.Time     // of Up, or of the last change
}

// Status tells how all sessions stand.
func (s *Sessions) Status() (all []Status) {
	for _, n := range s.sessions {
		all = append(all, Status{n.cfg.Name, n.cfg.Neighbor, n.state, n.remoteState, n.diag, n.remoteDiag, n.discr, n.remoteDiscr, n.interval(), n.detect, n.since})
	}
	return all
}
