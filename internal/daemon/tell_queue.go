package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vipd/internal/host"
)

const (
	// overlap is how long the script of a state is waited for before the generic one of the same state starts beside it.
	overlap = 5 * time.Second
	// notifyTimeout is how long the scripts of a state may go on when the next state waits for them.
	notifyTimeout = 30 * time.Second
	// queueLimit bounds how many states may wait behind one that does not end.
	queueLimit = 64
)

// scriptQueues run the scripts of each instance, group, service and real server in the order of what happened to it: those
// of the next state start when those of the one before have ended. A script may take as long as its state lasts; when the
// next one waits it has the timeout more, and then its whole process group is ended.
//
// keepalived: starts every script at once, so that "BACKUP" may arrive after "MASTER".
type scriptQueues struct {
	ctx    context.Context
	events events
	run    func(context.Context, host.Command) host.Exit
	wg     *sync.WaitGroup

	mu      sync.Mutex
	wait    time.Duration // notify_script_timeout
	waiting map[string]*scriptQueue
	hurry   chan struct{} // closed when a stop shortens wait
	empty   chan struct{} // closed when nothing runs nor waits and somebody wants to know; nil: nobody does
}

type scriptQueue struct {
	about   string
	batches []scriptBatch
	more    chan struct{} // has a token when a batch came
}

// scriptBatch are the scripts of one state.
type scriptBatch struct {
	what     string
	commands []host.Command
}

func newScriptQueues(ctx context.Context, ev events, run func(context.Context, host.Command) host.Exit, wg *sync.WaitGroup) *scriptQueues {
	return &scriptQueues{ctx: ctx, events: ev, run: run, wg: wg, wait: notifyTimeout, waiting: map[string]*scriptQueue{}, hurry: make(chan struct{})}
}

// setPatience sets the timeout. Zero: the default.
func (s *scriptQueues) setPatience(d time.Duration) {
	if d == 0 {
		d = notifyTimeout
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait = d
}

// put adds a batch behind those of the same name. It never waits: behind a script that does not end the oldest batches
// that have not begun are left out, so that the newest state is told.
func (s *scriptQueues) put(about string, b scriptBatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.waiting[about]
	if q == nil {
		q = &scriptQueue{about: about, more: make(chan struct{}, 1), batches: []scriptBatch{b}}
		s.waiting[about] = q
		s.wg.Go(func() { s.serve(q) })
		return
	}
	if len(q.batches) >= queueLimit {
		s.events.Error(fmt.Sprintf("the notify scripts of %s are %d states behind: %s is left out", about, len(q.batches), q.batches[0].what))
		q.batches = q.batches[1:]
	}
	q.batches = append(q.batches, b)
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (s *scriptQueues) serve(q *scriptQueue) {
	for {
		b, ok := s.next(q)
		if !ok {
			return
		}
		s.perform(q, b)
	}
}

// next takes the first batch; without one the queue is gone.
func (s *scriptQueues) next(q *scriptQueue) (scriptBatch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.batches) == 0 || s.ctx.Err() != nil {
		delete(s.waiting, q.about)
		if len(s.waiting) == 0 && s.empty != nil {
			close(s.empty)
			s.empty = nil
		}
		return scriptBatch{}, false
	}
	b := q.batches[0]
	if q.batches = q.batches[1:]; len(q.batches) == 0 {
		select {
		case <-q.more: // it was for b
		default:
		}
	}
	return b, true
}

// perform runs a batch to its end, or to the end of the patience of who comes next.
func (s *scriptQueues) perform(q *scriptQueue, b scriptBatch) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); s.start(ctx, q.about, b) }()
	more, hurry, patience := q.more, s.hurry, (*time.Timer)(nil)
	var over <-chan time.Time
	for {
		select {
		case <-ended:
			return
		case <-more:
			more, patience = nil, time.NewTimer(s.patience())
			defer patience.Stop()
			over = patience.C
		case <-hurry:
			if hurry = nil; patience != nil {
				patience.Reset(s.patience())
			}
		case <-over:
			cancel()
		}
	}
}

func (s *scriptQueues) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait
}

// start starts the commands one after the other and waits for all.
func (s *scriptQueues) start(ctx context.Context, about string, b scriptBatch) {
	var running sync.WaitGroup
	for _, c := range b.commands {
		if ctx.Err() != nil {
			break
		}
		ended := make(chan struct{})
		running.Go(func() {
			defer close(ended)
			s.judge(about, b.what, c, s.run(ctx, c))
		})
		timer := time.NewTimer(overlap)
		select {
		case <-ended:
		case <-timer.C:
		}
		timer.Stop()
	}
	running.Wait()
}

// judge says how a script ended that did not end well.
func (s *scriptQueues) judge(about, what string, c host.Command, e host.Exit) {
	if e.OK() {
		return
	}
	how := e.String()
	if e.Stopped {
		how = "was still running when the next state waited for it, and was ended"
		if s.ctx.Err() != nil {
			how = "was still running at the stop, and was ended"
		}
	}
	s.events.Warn(fmt.Sprintf("notify script %s of %s %s: %s", quoted(c.Args), about, what, how))
}

// settle waits until nothing runs nor waits, for as long as limit; the next state waits for less long then. It can
// be called once.
func (s *scriptQueues) settle(limit time.Duration) {
	s.mu.Lock()
	s.wait = min(s.wait, limit/5)
	close(s.hurry)
	if len(s.waiting) == 0 {
		s.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	s.empty = empty
	s.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-empty:
	case <-timer.C:
	}
}
