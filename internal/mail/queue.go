package mail

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds of a queue. Alerts are news: what could not be delivered for KeepFor is given up.
const (
	Limit   = 1000
	KeepFor = time.Hour
)

// pauses are the waits after failures in a row; the last one repeats.
var pauses = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}

// Queue delivers messages in their order, one at a time, and waits for a relay that is away. Put never waits. Make it
// with NewQueue, run Run in a goroutine of its own.
type Queue struct {
	send   func(context.Context, Server, Message) ([]Refusal, error)
	result func(Result)

	mu      sync.Mutex
	waiting []letter
	wake    chan struct{}
	idle    chan struct{} // closed and remade whenever nothing is left; see Settle
	busy    bool
	last    uint64
}

type letter struct {
	id     uint64
	server Server
	m      Message
	since  time.Time
}

// Result tells what became of one try. Err and Refused are empty where all went well.
type Result struct {
	Server  Server
	Message Message
	Err     error
	Refused []Refusal     // recipients that did not get it
	Again   time.Duration // the next try is that far away. If zero, there is none.
	Lost    bool          // the message is given up
}

// NewQueue makes one that tells each result to result, which must not wait.
func NewQueue(result func(Result)) *Queue {
	return &Queue{send: Send, result: result, wake: make(chan struct{}, 1), idle: make(chan struct{})}
}

// Put adds a message. When Limit wait already the oldest is given up.
func (q *Queue) Put(now time.Time, s Server, m Message) {
	q.mu.Lock()
	var lost *letter
	if len(q.waiting) >= Limit {
		lost, q.waiting = &q.waiting[0], q.waiting[1:]
	}
	q.last++
	q.waiting = append(q.waiting, letter{id: q.last, server: s, m: m, since: now})
	q.busy = true
	q.mu.Unlock()
	if lost != nil {
		q.result(Result{Server: lost.server, Message: lost.m, Err: errors.New("too many mails wait"), Lost: true})
	}
	q.poke()
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	for failures := 0; ; {
		l, ok := q.first()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-q.wake:
				continue
			}
		}
		pause := q.try(ctx, l, failures)
		if ctx.Err() != nil {
			return
		}
		if pause == 0 {
			failures = 0
			continue
		}
		failures++
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (q *Queue) first() (letter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		if q.busy {
			q.busy = false
			close(q.idle)
			q.idle = make(chan struct{})
		}
		return letter{}, false
	}
	return q.waiting[0], true
}

// try sends the first letter and returns how long to wait before the next try of it; zero: it is done with.
func (q *Queue) try(ctx context.Context, l letter, failures int) time.Duration {
	refused, err := q.send(ctx, l.server, l.m)
	res := Result{Server: l.server, Message: l.m, Err: err, Refused: refused}
	var why *Error
	again := err != nil && (!errors.As(err, &why) || why.Temporary())
	if err == nil {
		if later := temporary(refused); len(later) > 0 {
			l.m.To, again = later, true
		}
	}
	pause := pauses[min(failures, len(pauses)-1)]
	if again && time.Since(l.since)+pause > KeepFor {
		again = false
	}
	res.Lost = err != nil && !again
	if again {
		res.Again = pause
	}
	q.settle(l, again)
	q.result(res)
	return res.Again
}

// settle replaces the letter that was tried, or takes it off. Put may have dropped it meanwhile.
func (q *Queue) settle(l letter, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || q.waiting[0].id != l.id {
		return
	}
	if again {
		q.waiting[0] = l
		return
	}
	q.waiting = q.waiting[1:]
}

func temporary(refused []Refusal) (to []string) {
	for _, r := range refused {
		if r.Err.Temporary() {
			to = append(to, r.To)
		}
	}
	return to
}

// Settle waits until nothing waits or limit has passed, and returns how many mails are left: for a stop.
func (q *Queue) Settle(limit time.Duration) int {
	q.mu.Lock()
	left, idle := len(q.waiting), q.idle
	busy := q.busy
	q.mu.Unlock()
	if !busy {
		return left
	}
	select {
	case <-idle:
	case <-time.After(limit):
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
