package daemon

import (
	"context"
	"sync"
	"time"

	"vipd/internal/loop"
)

// worker does what a loop must not wait for, in order, in a goroutine of its own: the VRRP loop hands over addresses,
// announcements and log lines and goes on with its adverts.
type worker struct {
	limit   int // of what waits; zero: none
	mu      sync.Mutex
	todo    []func()
	dropped int
	ended   bool
	wake    chan struct{}
	bed     loop.Sleeper // of one that has a thread of its own. If nil, it waits as goroutines do.
}

func newWorker(limit int) *worker { return &worker{limit: limit, wake: make(chan struct{}, 1)} }

// do hands over fn and never waits. Beyond the limit it is dropped and counted.
func (w *worker) do(fn func()) {
	if !w.append(fn) {
		fn() // it has ended: who still has something to do does it itself
	}
}

// append reports whether the worker still works.
func (w *worker) append(fn func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return false
	case w.limit > 0 && len(w.todo) >= w.limit:
		w.dropped++
		return true
	}
	w.todo = append(w.todo, fn)
	if w.bed != nil {
		w.bed.Wake()
		return true
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// flush waits until everything that was handed over before is done. It is for workers without a limit.
func (w *worker) flush() {
	done := make(chan struct{})
	if w.append(func() { close(done) }) {
		<-done
	}
}

// run works until ctx ends and nothing is left. idle, if there is one, is called whenever nothing waits and does a bit
// of work of its own if that is due; it gives the time of its next bit, zero for none.
func (w *worker) run(ctx context.Context, idle func(now time.Time) time.Time) {
	sleep, end := w.sleeper(ctx)
	defer end()
	for {
		w.work()
		wait := time.Hour
		if idle != nil {
			if next := idle(time.Now()); !next.IsZero() {
				wait = max(time.Until(next), 0)
			}
		}
		if !sleep(wait) {
			w.end()
			return
		}
	}
}

// sleeper gives what sleeps until there is something to do, and reports false when ctx has ended; the other ends it.
func (w *worker) sleeper(ctx context.Context) (sleep func(wait time.Duration) bool, end func()) {
	if w.bed != nil {
		stop := context.AfterFunc(ctx, w.bed.Wake)
		return func(wait time.Duration) bool {
			if ctx.Err() == nil {
				w.bed.Sleep(wait)
			}
			return ctx.Err() == nil
		}, func() { stop() }
	}
	timer := time.NewTimer(time.Hour)
	return func(wait time.Duration) bool {
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
		return true
	}, func() { timer.Stop() }
}

// take gives the next function, or nil.
func (w *worker) take() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.todo) == 0 {
		w.todo = nil
		return nil
	}
	fn := w.todo[0]
	w.todo[0] = nil
	w.todo = w.todo[1:]
	return fn
}

func (w *worker) work() {
	for fn := w.take(); fn != nil; fn = w.take() {
		fn()
	}
}

// end does what is left. What comes later is done by who hands it over.
func (w *worker) end() {
	for {
		w.work()
		w.mu.Lock()
		w.ended = len(w.todo) == 0
		ended := w.ended
		w.mu.Unlock()
		if ended {
			return
		}
	}
}

// lost is how many were dropped since the last call.
func (w *worker) lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.dropped
	w.dropped = 0
	return n
}
