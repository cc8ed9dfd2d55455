package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm is where one thread sleeps until a time, or until another thread wakes it: an eventfd in ppoll(2), so that the
// kernel wakes the very thread. It is a loop.Sleeper.
type Alarm struct {
	fd     int
	called atomic.Bool // Wake was, since the last Sleep
}

// NewAlarm makes one; Close it when nobody sleeps in it or wakes it any more.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &Alarm{fd: fd}, nil
}

// Sleep returns after d, or when Wake was called since the last Sleep.
func (a *Alarm) Sleep(d time.Duration) {
	at := time.Now().Add(d)
	for left := d; left > 0; left = time.Until(at) {
		timeout := unix.NsecToTimespec(int64(left))
		if n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}}, &timeout, nil); err == nil && n >= 0 {
			break
		}
	}
	if a.called.Swap(false) {
		var count [8]byte
		_, _ = unix.Read(a.fd, count[:])
	}
}

// Wake ends a Sleep, or the next one.
func (a *Alarm) Wake() {
	if !a.called.Swap(true) {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(a.fd, one[:])
	}
}

// Close closes it.
func (a *Alarm) Close() error { return unix.Close(a.fd) }

// briskNice is the nice value of this program's threads. A thread that collects garbage stops all others for some
// microseconds; one that has to wait for a processor just then, behind the work of others, stops them for that long too.
const briskNice = -10

// usual is what Brisk has changed: 20 less the nice value; nil: nothing.
var usual atomic.Pointer[int]

// asUsual gives a process that was just started what this one had.
func asUsual(pid int) {
	if was := usual.Load(); was != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, pid, 20-*was) // it may have ended
	}
}

// Brisk gives all threads of this program, and those that come, more of a busy processor than others get. What Command
// starts has the usual share.
func Brisk() error {
	was, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the system call gives 20 less the nice value
	if err != nil {
		return fmt.Errorf("read the nice value: %w", err)
	}
	usual.CompareAndSwap(nil, &was)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list the threads: %w", err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, briskNice); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("schedule the threads: %w", err)
		}
	}
	return nil
}

// Scheduling is how the kernel treats a thread.
type Scheduling struct {
	Realtime uint8 // SCHED_RR's priority, 1 to 99; 0: an ordinary thread …
	Nice     int8  // … of this nice value, -20 to 19
	CPUs     []int // on which it may run. If nil, as it was.
}

// OwnThread gives the calling goroutine a thread that nobody else runs on, until the goroutine ends, and has the kernel
// schedule it so. What the thread starts is scheduled as usual. With an error the thread is its own all the same.
func OwnThread(s Scheduling) error {
	runtime.LockOSThread()
	if len(s.CPUs) > 0 {
		var set unix.CPUSet
		for _, cpu := range s.CPUs {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("run on processors %v: %w", s.CPUs, err)
		}
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(s.Nice), Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if s.Realtime > 0 {
		attr.Policy, attr.Nice, attr.Priority = unix.SCHED_RR, 0, uint32(s.Realtime)
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("schedule the thread: %w", err)
	}
	return nil
}
