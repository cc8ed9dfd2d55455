package test

import (
	"fmt"
	"os"
	"time"
)

// The bounds here are seconds of VRRP and tenths of seconds of silence, and `go test ./...` compiles and tests other
// packages meanwhile. What fails while the processors were that busy says nothing and is tried again; a defect fails again.
const (
	tooBusy  = 0.75
	attempts = 3
)

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
