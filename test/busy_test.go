package test

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// The bounds here are seconds of VRRP and tenths of seconds of silence, and `go test ./...` compiles and tests other
// packages meanwhile. What fails while the processors were that busy says nothing and is tried again; a defect fails again.
const (
	tooBusy  = 0.75 // of all processors' time
	crowded  = 0.10 // of the time somebody waited for a processor; from there on tests that keep real time were seen to be late
	attempts = 3
)

// stage is where tests are that keep real time: many at once, or one that is tried again and has it for itself.
var stage sync.RWMutex

// pressure tells how busy the processors were since watchLoad: the share of their time that was used, and the share of the time
// in which somebody waited for one (/proc/pressure/cpu; 0 where the kernel does not tell).
type pressure struct{ used, waited float64 }

func (l pressure) tooMuch() bool { return l.used > tooBusy || l.waited > crowded }

func (l pressure) String() string {
	return fmt.Sprintf("the processors were %.0f %% busy, and for %.0f %% of the time somebody waited for one", 100*l.used, 100*l.waited)
}

// watchLoad begins to measure.
func watchLoad() func() pressure {
	busy, since, waited := busyShare(), time.Now(), waitedForProcessors()
	return func() pressure {
		return pressure{busy(), (waitedForProcessors() - waited).Seconds() / max(time.Since(since).Seconds(), 1e-3)}
	}
}

// waitedForProcessors is how long somebody has waited since the start of the machine.
func waitedForProcessors() time.Duration {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	var ten, minute, five float64
	var us int64
	if n, _ := fmt.Sscanf(string(text), "some avg10=%f avg60=%f avg300=%f total=%d", &ten, &minute, &five, &us); n != 4 {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// busyShare begins to measure; the function that it returns tells how busy the processors were since, from 0 to 1.
func busyShare() func() float64 {
	idle, all := processorTime()
	return func() float64 {
		nowIdle, nowAll := processorTime()
		if nowAll == all {
			return 0
		}
		return 1 - (nowIdle-idle)/(nowAll-all)
	}
}

// processorTime reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
func processorTime() (idle, all float64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	var v [8]float64
	if n, _ := fmt.Sscanf(string(text), "cpu %f %f %f %f %f %f %f %f", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]); n != len(v) {
		return 0, 0
	}
	for _, t := range v {
		all += t
	}
	return v[3] + v[4], all
}

// calm waits until the processors are half idle for a while, at most for limit.
func calm(limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		busy := busyShare()
		time.Sleep(5 * time.Second)
		if busy() < 0.5 {
			return
		}
	}
}
