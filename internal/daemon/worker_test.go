package daemon

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// runWorker runs w in the bubble and returns how to end it.
func runWorker(w *worker, idle func(time.Time) time.Time) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.run(ctx, idle) })
	return func() { cancel(); wg.Wait() }
}

func TestAWorkerDoesEverythingInOrderAlsoWhatIsLeftAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(0)
		var did []int
		for i := range 3 {
			w.do(func() { did = append(did, i) })
		}
		end := runWorker(w, nil)
		w.flush()
		if !slices.Equal(did, []int{0, 1, 2}) {
			t.Fatalf("did %v", did)
		}
		w.do(func() { time.Sleep(time.Minute); did = append(did, 3) })
		w.do(func() { did = append(did, 4) })
		end()
		w.do(func() { did = append(did, 5) })
		w.flush()
		if !slices.Equal(did, []int{0, 1, 2, 3, 4, 5}) {
			t.Fatalf("did %v", did)
		}
	})
}

func TestWhoHandsOverDoesNotWaitForTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(5)
		end := runWorker(w, nil)
		w.do(func() { time.Sleep(time.Hour) })
		synctest.Wait()
		before, did := time.Now(), 0
		for range 20 {
			w.do(func() { did++ })
		}
		if time.Since(before) != 0 {
			t.Error("it waited")
		}
		end()
		if did != 5 || w.lost() != 15 || w.lost() != 0 {
			t.Errorf("did %d", did)
		}
	})
}

func TestAWorkersOwnWorkComesAfterWhatIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(0)
		var did []string
		start := time.Now()
		bits, due := 0, start
		end := runWorker(w, func(now time.Time) time.Time {
			if bits == 3 {
				return time.Time{}
			}
			if now.Before(due) { // woken for something else
				return due
			}
			did = append(did, "bit at "+now.Sub(start).String())
			bits++
			if bits == 1 {
				w.do(func() { did = append(did, "handed over") })
				return now
			}
			due = now.Add(time.Second)
			return due
		})
		time.Sleep(time.Minute)
		end()
		if want := []string{"bit at 0s", "handed over", "bit at 0s", "bit at 1s"}; !slices.Equal(did, want) {
			t.Errorf("%q", did)
		}
	})
}
