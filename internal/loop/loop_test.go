package loop

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alarm is a machine with one deadline; each tick is remembered and the next one set a second later.
type alarm struct {
	due   time.Time
	ticks []time.Time
}

func (a *alarm) Next() time.Time { return a.due }
func (a *alarm) Tick(now time.Time) {
	a.ticks = append(a.ticks, now)
	a.due = a.due.Add(time.Second)
}

// start runs a loop in the bubble and returns how to end it.
func start(l *Loop) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestTheMachineIsTickedExactlyAtItsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		m := &alarm{due: begin.Add(time.Second)}
		drained := 0
		l := New(m, func(time.Time) { drained++ })
		end := start(l)
		time.Sleep(3500 * time.Millisecond)
		end()
		if len(m.ticks) != 3 || drained < 3 {
			t.Fatalf("%d ticks, %d drains, want 3 and at least 3", len(m.ticks), drained)
		}
		for i, at := range m.ticks {
			if want := begin.Add(time.Duration(i+1) * time.Second); !at.Equal(want) {
				t.Errorf("tick %d at %v, want %v", i, at.Sub(begin), want.Sub(begin))
			}
		}
	})
}

func TestASentFunctionThatMovesTheDeadlineForwardIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &alarm{due: time.Now().Add(time.Hour)}
		l := New(m, nil)
		end := start(l)
		if !l.Do(func(now time.Time) { m.due = now.Add(time.Millisecond) }) {
			t.Fatal("Do reports an ended loop")
		}
		time.Sleep(10 * time.Millisecond)
		end()
		if len(m.ticks) != 1 {
			t.Fatalf("%d ticks, want 1", len(m.ticks))
		}
	})
}

func TestDoReturnsAfterItsEffectsAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queued := false
		var done atomic.Bool
		l := New(&alarm{}, func(time.Time) { done.Store(queued) })
		end := start(l)
		defer end()
		l.Do(func(time.Time) { queued = true })
		if !done.Load() {
			t.Fatal("Do returned before drain saw the effect")
		}
	})
}

func TestAnEndedLoopRefusesInsteadOfHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&alarm{}, nil)
		start(l)()
		if l.Do(func(time.Time) {}) || l.Send(func(time.Time) {}) {
			t.Fatal("an ended loop accepted a function")
		}
	})
}
