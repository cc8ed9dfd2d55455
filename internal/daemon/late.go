package daemon

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// Bounds of lateness: from the first on, packets that have arrived are read before timers count; from the second on, it
// is said.
const (
	lateWake  = time.Millisecond
	lateStall = 100 * time.Millisecond
)

// spareProcessors are those of Go's runtime beyond the real ones.
const spareProcessors = 4

// stalls are times at which this program was not scheduled.
type stalls struct {
	count       uint64
	worst, last time.Duration
	at          time.Time // of the last
}

// late is called when this program was not scheduled in time: the machine was stopped, suspended or overloaded. What has
// arrived meanwhile is read before a timer that it would have restarted counts as expired, and the instances are told, so
// that they do not take their own absence for another's death.
func (a *ha) late(now time.Time, by time.Duration) {
	a.hear(now)
	if by >= lateStall {
		a.stalls.count++
		a.stalls.worst, a.stalls.last, a.stalls.at = max(a.stalls.worst, by), by, now
		a.events.Warn("not scheduled for " + vrrp.Seconds(by) + ": adverts and timers were late by as much")
	}
	for _, r := range a.speaker.Routers() {
		r.Stalled(now, by)
	}
}

// ownThread gives the loop of VRRP a thread of its own, so that adverts leave on time whatever else this program and the
// machine do, and another one to the hands: a takeover waits for the addresses that these set.
func (a *ha) ownThread() error {
	var beds [2]*host.Alarm // never closed: whoever sends something to the loop may wake it
	for i := range beds {
		bed, err := host.NewAlarm()
		if err != nil {
			return err
		}
		beds[i] = bed
	}
	// A goroutine that comes back from the kernel needs a processor of the runtime; those that there are may all be with
	// threads that wait for a real one, behind the work of others. So there are some more.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+spareProcessors))
	a.alarm, a.hands.bed = beds[0], beds[1]
	a.loop.SleepIn(a.alarm)
	if !a.usual {
		if err := host.Brisk(); err != nil {
			a.events.Debug("threads have no more of a busy processor than others: " + err.Error())
		}
	}
	a.thread = func() {
		err := host.OwnThread(a.scheduling)
		switch said := fmt.Sprintf("VRRP has a thread as any other, that may be late on a busy machine: %v", err); {
		case err == nil:
		case a.asked:
			a.events.Warn(said)
		default: // under a unit that leaves it no such right, as the packaged one does without its drop-in
			a.events.Info(said)
		}
	}
	return nil
}

// scheduling is how the thread of VRRP runs: with a low real-time priority where the file says nothing. vrrp_priority 0
// makes it as any other.
//
// keepalived: an ordinary process, unless vrrp_rt_priority or max_auto_priority is set.
func scheduling(t conf.Tuning) host.Scheduling {
	s := host.Scheduling{Realtime: t.Realtime, Nice: t.Nice, CPUs: t.CPUs}
	if s.Realtime == 0 && !t.NiceSet {
		s.Realtime = 2
	}
	return s
}

// second is how the thread of the hands runs: as that of the loop, which comes first where both want a processor.
func second(s host.Scheduling) host.Scheduling {
	if s.Realtime == 1 && s.Nice == 0 {
		s.Nice = host.BriskNice
	}
	s.Realtime = max(s.Realtime, 1) - 1
	return s
}

// handsThread has the hands take their thread, or change it.
func (a *ha) handsThread() {
	s := second(a.scheduling)
	a.hands.do(func() { _ = host.OwnThread(s) }) // the loop says what it was refused
}

// timing is what is known of how punctual this program is.
func (a *ha) timing() control.Timing {
	var t control.Timing
	a.loop.Do(func(time.Time) {
		t = control.Timing{Stalls: a.stalls.count, WorstStall: a.stalls.worst, LastStall: a.stalls.last, LastStallAt: a.stalls.at}
	})
	t.Collections, t.WorstPause = collections()
	return t
}

// collections are how often the garbage collector ran, and the longest that it stopped the program: the upper bound of
// the runtime's class.
func collections() (count uint64, worst time.Duration) {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(samples)
	h := samples[1].Value.Float64Histogram()
	for i, n := range h.Counts {
		if n > 0 {
			worst = time.Duration(h.Buckets[min(i+1, len(h.Buckets)-2)] * float64(time.Second)) // the last bound is infinite
		}
	}
	return samples[0].Value.Uint64(), worst
}
