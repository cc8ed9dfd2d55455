// Package loop is the one shape in which this program runs a state machine: one goroutine owns the machine, reads the
// clock once a turn, executes what others sent, ticks when the machine's own deadline is due and then hands out its
// effects. It is the only place of the core that reads a clock or starts a goroutine.
//
// A machine is never touched from outside its loop; ask by Do or Send. What drain does may call the kernel and must
// never wait for a peer, a script or another loop.
package loop

import (
	"context"
	"sync"
	"time"
)

// Machine is what a loop owns: Next is its earliest deadline (zero time: none), Tick does all that is due at now.
type Machine interface {
	Next() time.Time
	Tick(now time.Time)
}

// Machines are several that one loop owns together; they tick in their order.
type Machines []Machine

// Next is the earliest deadline of all.
func (all Machines) Next() (next time.Time) {
	for _, m := range all {
		if at := m.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Tick ticks all.
func (all Machines) Tick(now time.Time) {
	for _, m := range all {
		m.Tick(now)
	}
}

// Loop owns one machine. Make it with New, then Run it in a goroutine of its own.
type Loop struct {
	machine Machine
	drain   func(now time.Time) // executes the machine's effects; called after every turn
	inbox   chan func(now time.Time)
	done    chan struct{}
	once    sync.Once

	grain time.Duration // of deadlines. If zero, they are exact.

	bed Sleeper // nil: the runtime's timers wake the loop

	late  func(now time.Time, by time.Duration)
	limit time.Duration
	woken time.Duration // how late the loop woke this turn
}

// New makes a loop for machine. drain is called in the loop's goroutine after each turn; it may be nil.
func New(machine Machine, drain func(now time.Time)) *Loop {
	return &Loop{machine: machine, drain: drain, inbox: make(chan func(time.Time), 256), done: make(chan struct{})}
}

// Sleeper is where a loop sleeps that has a thread of its own: the kernel wakes that thread at its deadline, and no other
// thread has to be scheduled first, as with the runtime's timers.
type Sleeper interface {
	Sleep(d time.Duration) // until d has passed, or Wake was called since the last Sleep
	Wake()                 // from any goroutine
}

// SleepIn has the loop sleep in s. Say it before Run.
func (l *Loop) SleepIn(s Sleeper) { l.bed = s }

// Coarse has the loop wake for deadlines at whole multiples of grain alone, never early: a machine with thousands of them a
// second is then woken once for several. Say it before Run.
func (l *Loop) Coarse(grain time.Duration) { l.grain = grain }

// deadline is when the loop wakes for the machine next, zero if never.
func (l *Loop) deadline() time.Time {
	next := l.machine.Next()
	if next.IsZero() || l.grain <= 0 {
		return next
	}
	// By the wall clock alone the multiple is found; the sum keeps the monotonic one.
	if over := next.Sub(next.Round(0).Truncate(l.grain)); over > 0 {
		return next.Add(l.grain - over)
	}
	return next
}

// OnLate has fn called, in the loop, when it woke by more than limit after the deadline that it slept for: before the
// machine ticks, so that what the machine missed can be made known to it first. The loop's own work is not lateness. Say
// it before Run.
func (l *Loop) OnLate(limit time.Duration, fn func(now time.Time, by time.Duration)) {
	l.limit, l.late = limit, fn
}

// Run serves the machine until ctx ends. Functions sent before are executed first.
func (l *Loop) Run(ctx context.Context) {
	defer l.once.Do(func() { close(l.done) })
	sleep, end := l.inRuntime(ctx)
	defer end()
	if l.bed != nil {
		sleep = l.inThread(ctx)
	}
	for {
		l.read()
		l.tellLate()
		now := time.Now()
		if next := l.machine.Next(); !next.IsZero() && !next.After(now) {
			l.machine.Tick(now)
		}
		l.flush(now)
		wait := time.Hour
		next := l.deadline()
		if !next.IsZero() {
			wait = max(time.Until(next), 0)
		}
		if !sleep(next, wait) {
			l.finish()
			return
		}
	}
}

// inRuntime sleeps as goroutines do. What it returns reports false when ctx has ended; the other ends it.
func (l *Loop) inRuntime(ctx context.Context) (sleep func(next time.Time, wait time.Duration) bool, end func()) {
	timer := time.NewTimer(time.Hour)
	return func(next time.Time, wait time.Duration) bool {
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return false
		case fn := <-l.inbox:
			l.wake(next, wait)
			l.turn(fn)
		case <-timer.C:
			l.wake(next, wait)
		}
		return true
	}, func() { timer.Stop() }
}

// inThread sleeps in the thread that calls.
func (l *Loop) inThread(ctx context.Context) func(next time.Time, wait time.Duration) bool {
	context.AfterFunc(ctx, l.bed.Wake)
	return func(next time.Time, wait time.Duration) bool {
		if ctx.Err() != nil {
			return false
		}
		if len(l.inbox) > 0 {
			wait = 0 // what arrives where it sleeps has its turn all the same
		}
		l.bed.Sleep(wait)
		l.wake(next, wait)
		return true
	}
}

// wake notes how late it is for a deadline that was slept for.
func (l *Loop) wake(next time.Time, slept time.Duration) {
	if l.woken = 0; slept > 0 && !next.IsZero() {
		l.woken = time.Since(next)
	}
}

func (l *Loop) tellLate() {
	if l.late == nil || l.woken <= l.limit {
		return
	}
	now := time.Now()
	l.late(now, l.woken)
	l.woken = 0
	l.flush(now)
	l.read()
}

// read executes what waits. It comes before the deadlines: after a stall of the machine, what has arrived meanwhile is
// known before a timer that it would have restarted is taken for expired.
func (l *Loop) read() {
	for range cap(l.inbox) {
		select {
		case fn := <-l.inbox:
			l.turn(fn)
		default:
			return
		}
	}
}

// turn executes one function and the effects that it caused.
func (l *Loop) turn(fn func(now time.Time)) {
	now := time.Now()
	fn(now)
	l.flush(now)
}

func (l *Loop) flush(now time.Time) {
	if l.drain != nil {
		l.drain(now)
	}
}

// finish executes what was sent before the end, so that a Do never hangs.
func (l *Loop) finish() {
	for len(l.inbox) > 0 {
		l.read()
	}
}

// Send hands fn to the loop and returns. It reports false if the loop has ended.
func (l *Loop) Send(fn func(now time.Time)) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.inbox <- fn:
		if l.bed != nil {
			l.bed.Wake()
		}
		return true
	case <-l.done:
		return false
	}
}

// Do runs fn in the loop and waits until it and the effects that it caused are done. It reports false if the loop has ended.
func (l *Loop) Do(fn func(now time.Time)) bool {
	finished := make(chan struct{})
	ok := l.Send(func(now time.Time) {
		fn(now)
		l.flush(now)
		close(finished)
	})
	if !ok {
		return false
	}
	select {
	case <-finished:
		return true
	case <-l.done:
		select {
		case <-finished:
			return true
		default:
			return false
		}
	}
}
