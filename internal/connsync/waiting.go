package connsync

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// MostWaiting is how many connections of unknown real servers are kept.
const MostWaiting = 65536

// Waiting keeps connections whose real server is not configured (yet): they go into the table when it is.
//
// ipvs: has them in the table at once, unbound, and drops their packets until then.
type Waiting struct {
	conns map[waitingKey]waiting
}

type waitingKey struct {
	proto           lb.Protocol
	client, virtual netip.AddrPort
	call            string
}

type waiting struct {
	Conn
	since, until time.Time
}

// NewWaiting makes an empty one.
func NewWaiting() *Waiting { return &Waiting{conns: map[waitingKey]waiting{}} }

// Len is how many wait.
func (w *Waiting) Len() int { return len(w.conns) }

// Add keeps a connection, or its newer state; false if there are too many.
func (w *Waiting) Add(now time.Time, c Conn, timeout time.Duration) bool {
	k := waitingKey{c.Protocol, c.Client, c.Virtual, c.EngineData}
	if _, known := w.conns[k]; !known && len(w.conns) >= MostWaiting {
		return false
	}
	w.conns[k] = waiting{c, now, now.Add(timeout)}
	return true
}

// Expire forgets what has ended.
func (w *Waiting) Expire(now time.Time) {
	for k, c := range w.conns {
		if !now.Before(c.until) {
			delete(w.conns, k)
		}
	}
}

// Offer calls take for each, as it is now, and forgets those that it took.
func (w *Waiting) Offer(now time.Time, take func(Conn) bool) {
	w.Expire(now)
	for k, c := range w.conns {
		if take(c.at(now)) {
			delete(w.conns, k)
		}
	}
}

// All lists what waits, each with the time that it has left.
func (w *Waiting) All(now time.Time, visit func(Conn)) {
	w.Expire(now)
	for _, c := range w.conns {
		c.Timeout = c.left(now)
		visit(c.Conn)
	}
}

// at is the connection with the time that it has left; one of which it is told when it was used, with that time.
func (c waiting) at(now time.Time) Conn {
	if c.Dated {
		c.Idle += now.Sub(c.since)
		return c.Conn
	}
	c.Timeout = c.left(now)
	return c.Conn
}

// left is for how many seconds it waits yet.
func (c waiting) left(now time.Time) uint32 {
	return uint32((c.until.Sub(now) + time.Second - 1) / time.Second)
}
