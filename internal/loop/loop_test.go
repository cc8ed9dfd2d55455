package loop

import (
	"context"
	"slices"
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

func TestALoopThatWakesLateSaysSoBeforeItTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &alarm{due: time.Now().Add(time.Second)}
		l := New(a, nil)
		var late []time.Duration
		ticks := -1
		l.OnLate(time.Millisecond, func(_ time.Time, by time.Duration) { late, ticks = append(late, by), len(a.ticks) })
		// A turn of its own that takes long is no lateness of waking; a deadline missed while asleep is. The bubble's clock
		// is never late by itself, so the lateness is made.
		l.Send(func(time.Time) { time.Sleep(5 * time.Second) })
		end := start(l)
		time.Sleep(7 * time.Second)
		if len(late) != 0 {
			t.Errorf("its own work counts: %v", late)
		}
		l.Do(func(time.Time) {})
		end()
		l.wake(time.Now().Add(-3*time.Second), time.Second)
		l.tellLate()
		if len(late) != 1 || late[0] != 3*time.Second || ticks != len(a.ticks) {
			t.Errorf("late %v at tick %d of %d", late, ticks, len(a.ticks))
		}
	})
}

func TestACoarseLoopWakesOnceForSeveralDeadlinesAndNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now() // a whole second
		several := &dense{due: begin.Add(time.Millisecond), every: 3 * time.Millisecond}
		l := New(several, nil)
		l.Coarse(10 * time.Millisecond)
		end := start(l)
		time.Sleep(35 * time.Millisecond)
		end()
		want := []int{4, 3, 3} // due at 1, 4, 7, 10 ms; 13, 16, 19; 22, 25, 28
		if !slices.Equal(several.ticked, want) {
			t.Errorf("%d deadlines a turn, want %d", several.ticked, want)
		}
	})
}

// dense has a deadline each few milliseconds; a tick does all that is due.
type dense struct {
	due    time.Time
	every  time.Duration
	ticked []int
}

func (d *dense) Next() time.Time { return d.due }

func (d *dense) Tick(now time.Time) {
	n := 0
	for ; !d.due.After(now); d.due = d.due.Add(d.every) {
		n++
	}
	d.ticked = append(d.ticked, n)
}
