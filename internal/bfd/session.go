package bfd

import (
	"cmp"
	"fmt"
	"time"
)

// session is one, with the state variables of RFC 5880 §6.8.1.
type session struct {
	all *Sessions
	cfg Config

	state, remoteState State
	diag, remoteDiag   Diag
	discr, remoteDiscr uint32
	remoteMinRx        time.Duration // 1 µs before anything was heard
	remoteMinTx        time.Duration
	remoteMult         uint8
	remoteDemand       bool
	poll               bool          // a poll sequence is under way
	heard              bool          // the neighbour was, since the session was last Down for lack of him
	minTx, minRx       time.Duration // in use: those of the file once a poll sequence has ended
	detect             time.Duration // detection time
	lastHeard, since   time.Time
	sendAt, expireAt   time.Time // zero: not running
}

func (n *session) is(cfg Config) bool {
	return n.cfg.Name == cfg.Name && n.cfg.Neighbor == cfg.Neighbor && n.cfg.Source == cfg.Source && n.cfg.Multihop == cfg.Multihop
}

// begin starts sending, unless the neighbour has to begin.
func (n *session) begin(now time.Time) {
	n.since, n.minTx, n.minRx, n.remoteMinRx = now, n.cfg.MinTx, n.cfg.MinRx, time.Microsecond
	if !n.cfg.Passive {
		n.sendAt = now
	}
}

// renew takes new settings.
//
// RFC 5880 §6.8.3: "If either bfd.DesiredMinTxInterval is changed or bfd.RequiredMinRxInterval is changed, a Poll Sequence
// MUST be initiated". "If bfd.DesiredMinTxInterval is increased and bfd.SessionState is Up, the actual transmission
// interval used MUST NOT change until the Poll Sequence described above has terminated." "If bfd.RequiredMinRxInterval is
// reduced and bfd.SessionState is Up, the previous value of bfd.RequiredMinRxInterval MUST be used when calculating the
// detection time for the remote system until the Poll Sequence described above has terminated."
func (n *session) renew(now time.Time, cfg Config) {
	old := n.cfg
	n.cfg = cfg
	if n.state == Up && (cfg.MinTx != old.MinTx || cfg.MinRx != old.MinRx) {
		n.poll = true
	}
	if n.state != Up || cfg.MinTx < n.minTx {
		n.minTx = cfg.MinTx
	}
	if n.state != Up || cfg.MinRx > n.minRx {
		n.minRx = cfg.MinRx
	}
	if n.heard {
		n.detection()
		n.expireAt = n.lastHeard.Add(n.detect)
	}
	if n.state != Up && !cfg.Passive && n.sendAt.IsZero() {
		n.sendAt = now
	}
}

// meant tells whether a packet is for the session.
func (n *session) meant(a Arrival, p Packet) bool {
	if a.Multihop != n.cfg.Multihop {
		return false
	}
	if p.YourDiscr != 0 {
		return p.YourDiscr == n.discr
	}
	return a.From == n.cfg.Neighbor && (!n.cfg.Source.IsValid() || a.To == n.cfg.Source || !a.To.IsValid())
}

func (n *session) tooFar(ttl int) bool {
	return ttl != 0 && n.cfg.MaxHops >= 0 && n.cfg.MaxHops < 255 && ttl < n.least()
}

// least is the lowest hop limit that a packet may come with.
func (n *session) least() int { return int(cmp.Or(n.cfg.PeerTTL, n.cfg.TTL)) - n.cfg.MaxHops }

// receive is RFC 5880 §6.8.6 from "Set bfd.RemoteDiscr" on.
func (n *session) receive(now time.Time, p Packet) {
	n.remoteDiscr, n.remoteState, n.remoteDiag = p.MyDiscr, p.State, p.Diag
	n.remoteMinRx, n.remoteMult, n.remoteDemand = p.MinRx, p.DetectMult, p.Demand
	if n.state != Up || p.Poll || p.Final {
		// A neighbour that changes its interval says so by a poll sequence. keepalived: the same.
		n.remoteMinTx = p.MinTx
	}
	n.lastHeard, n.heard = now, true
	// "If a Poll Sequence is being transmitted by the local system and the Final (F) bit in the received packet is set,
	// the Poll Sequence MUST be terminated."
	if p.Final && n.poll {
		n.poll, n.minTx, n.minRx = false, n.cfg.MinTx, n.cfg.MinRx
	}
	before := n.interval()
	n.detection()
	n.change(now, p)
	n.expireAt = now.Add(n.detect)
	n.reschedule(now, before)
	// "If the Poll (P) bit is set, send a BFD Control packet to the remote system with the Poll (P) bit clear, and the
	// Final (F) bit set"
	if p.Poll {
		n.emit(true)
	}
}

// detection is §6.8.4: "the Detection Time calculated in the local system is equal to the value of Detect Mult received
// from the remote system, multiplied by the agreed transmit interval of the remote system (the greater of
// bfd.RequiredMinRxInterval and the last received Desired Min TX Interval)".
func (n *session) detection() {
	was := n.detect
	n.detect = time.Duration(n.remoteMult) * max(n.minRx, n.remoteMinTx)
	if n.detect != was {
		n.say(false, false, "Detection time is %d us (was %d us)", n.detect.Microseconds(), was.Microseconds())
	}
}

// change is the state machine of §6.8.6.
func (n *session) change(now time.Time, p Packet) {
	switch {
	// "If received state is AdminDown: If bfd.SessionState is not Down: Set bfd.LocalDiag to 3 (Neighbor signaled session
	// down), Set bfd.SessionState to Down"
	case p.State == AdminDown:
		if n.state != Down {
			n.down(now, NeighborDown)
		}
	case n.state == Down && p.State == Down:
		n.state, n.diag = Init, NoDiagnostic
	case n.state == Down && p.State == Init, n.state == Init && (p.State == Init || p.State == Up):
		n.up(now)
	case n.state == Up && p.State == Down:
		n.down(now, NeighborDown)
	}
}

func (n *session) up(now time.Time) {
	n.state, n.diag, n.since = Up, NoDiagnostic, now
	n.say(false, false, "Entering Up state")
	n.minTx, n.minRx = n.cfg.MinTx, n.cfg.MinRx
	if n.idle() != n.cfg.MinTx {
		n.poll = true // §6.8.3: what we say of our interval is another from now on
	}
	n.all.effects = append(n.all.effects, Change{Session: n.cfg.Name, Up: true, Why: "neighbour " + n.cfg.Neighbor.String() + " answers"})
}

func (n *session) down(now time.Time, diag Diag) {
	was := n.state
	n.state, n.diag, n.poll = Down, diag, false
	if was != Up {
		return
	}
	n.since = now
	n.all.effects = append(n.all.effects, Say{Session: n.cfg.Name, Warning: true,
		Text: fmt.Sprintf("(%s) Entering Down state (Local diagnostic - %s, Remote diagnostic - %s)", n.cfg.Name, diag, n.remoteDiag)})
	if n.remoteState != AdminDown {
		n.all.effects = append(n.all.effects, Change{Session: n.cfg.Name, Why: diag.String()})
	}
	n.discr = n.all.discriminator() // keepalived: a session that comes up again is another to its neighbour
}

// expire is §6.8.4: "If Demand mode is not active, and a period of time equal to the Detection Time passes without
// receiving a BFD Control packet from the remote system, and bfd.SessionState is Init or Up, the session has gone down --
// the local system MUST set bfd.SessionState to Down and bfd.LocalDiag to 1 (Control Detection Time Expired)."
func (n *session) expire(now time.Time) {
	if n.state == Up {
		silent := now.Sub(n.lastHeard)
		n.say(true, false, "Expired after %d ms (%d usec overdue)", silent.Milliseconds(), (silent - n.detect).Microseconds())
	}
	if n.state == Up || n.state == Init {
		n.down(now, DetectionExpired)
	}
	// §6.8.1: "If a period of a Detection Time passes without the receipt of a valid, authenticated BFD packet from the
	// remote system, this variable MUST be set to zero."
	n.remoteDiscr, n.remoteMinRx, n.remoteDemand, n.heard, n.expireAt = 0, time.Microsecond, false, false, time.Time{}
	n.schedule(now)
}

// idle is the interval while the session is not Up. §6.8.3: "When bfd.SessionState is not Up, the system MUST set
// bfd.DesiredMinTxInterval to a value of not less than one second".
func (n *session) idle() time.Duration { return max(n.cfg.IdleTx, time.Second) }

// desired is bfd.DesiredMinTxInterval as packets say it.
func (n *session) desired() time.Duration {
	if n.state == Up {
		return n.cfg.MinTx
	}
	return n.idle()
}

// interval is §6.8.7's: "the larger of bfd.DesiredMinTxInterval and bfd.RemoteMinRxInterval".
func (n *session) interval() time.Duration {
	if n.state == Up {
		return max(n.minTx, n.remoteMinRx)
	}
	return max(n.idle(), n.remoteMinRx)
}

// silent tells whether nothing is sent periodically, by §6.8.7: a passive system "MUST NOT transmit BFD Control packets if
// bfd.RemoteDiscr is zero", nobody does "if bfd.RemoteMinRxInterval is zero", or "if Demand mode is active on the remote
// system (bfd.RemoteDemandMode is 1, bfd.SessionState is Up, and bfd.RemoteSessionState is Up) and a Poll Sequence is not
// being transmitted".
func (n *session) silent() bool {
	return n.cfg.Passive && n.remoteDiscr == 0 || n.remoteMinRx == 0 ||
		n.remoteDemand && n.state == Up && n.remoteState == Up && !n.poll
}

// schedule plans the next periodic packet.
//
// §6.8.7: "The periodic transmission of BFD Control packets MUST be jittered on a per-packet basis by up to 25%, that is,
// the interval MUST be reduced by a random value of 0 to 25% of the interval". "If bfd.DetectMult is equal to 1, the
// interval between transmitted BFD Control packets MUST be no more than 90% of the negotiated transmission interval, and
// MUST be no less than 75%".
func (n *session) schedule(now time.Time) {
	if n.silent() {
		n.sendAt = time.Time{}
		return
	}
	interval := n.interval()
	least := time.Duration(0)
	if n.cfg.Multiplier == 1 {
		least = interval / 10
	}
	jitter := least + time.Duration(n.all.rng.Int64N(int64(interval/4-least)+1))
	n.sendAt = now.Add(interval - jitter)
}

// reschedule takes up sending, ends it, or hastens it when the interval has become shorter.
func (n *session) reschedule(now time.Time, before time.Duration) {
	if n.silent() || n.sendAt.IsZero() || n.interval() < before {
		n.schedule(now)
	}
}

// send sends one periodic packet.
func (n *session) send() { n.emit(false) }

func (n *session) emit(final bool) {
	p := Packet{Diag: n.diag, State: n.state, Poll: n.poll && !final, Final: final, DetectMult: n.cfg.Multiplier,
		MyDiscr: n.discr, YourDiscr: n.remoteDiscr, MinTx: n.desired(), MinRx: n.cfg.MinRx}
	n.all.effects = append(n.all.effects, Send{n.cfg.Name, p.Append(nil)})
}

func (n *session) say(warning, detail bool, format string, args ...any) {
	n.all.effects = append(n.all.effects, Say{Session: n.cfg.Name, Text: "(" + n.cfg.Name + ") " + fmt.Sprintf(format, args...), Warning: warning, Detail: detail})
}
