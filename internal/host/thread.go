package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm is where one thread sleeps until a time, until another thread wakes it, or until something arrives that it waits
// for: an eventfd and sockets in ppoll(2), so that the kernel wakes the very thread. It is a loop.Sleeper.
type Alarm struct {
	fd      int
	called  atomic.Bool // Wake has written, or is about to, since the last Sleep
	files   []unix.PollFd
	ready   []func() bool // of the same index in files; the first is the eventfd's, which has none
	resting bool          // some of files are left out
}

// restingTime is for how long a socket is left alone that had more than is read at a time: a flood must not have all of
// the time of a thread that may have all of a processor.
const restingTime = time.Millisecond

// NewAlarm makes one; Close it when nobody sleeps in it or wakes it any more.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &Alarm{fd: fd, files: []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ready: []func() bool{nil}}, nil
}

// Watch has Sleep call ready, and return, when fd can be read or has an error. ready does not wait; it reports whether
// there may be more than it has read. Watch and Unwatch are for the thread that sleeps, or for one before it does.
func (a *Alarm) Watch(fd int, ready func() (more bool)) {
	a.files, a.ready = append(a.files, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}), append(a.ready, ready)
}

// Unwatch ends that. It comes before fd is closed.
func (a *Alarm) Unwatch(fd int) {
	a.rouse()
	if i := slices.IndexFunc(a.files, func(f unix.PollFd) bool { return f.Fd == int32(fd) }); i > 0 {
		a.files, a.ready = slices.Delete(a.files, i, i+1), slices.Delete(a.ready, i, i+1)
	}
}

// Sleep returns after d, when Wake was called since the last Sleep, or when something has arrived; now and then before.
func (a *Alarm) Sleep(d time.Duration) {
	if a.resting {
		d = min(d, restingTime)
	}
	at := time.Now().Add(d)
	n := -1
	for left := d; n < 0; left = max(time.Until(at), 0) {
		timeout := unix.NsecToTimespec(int64(left))
		var err error
		if n, err = unix.Ppoll(a.files, &timeout, nil); err != nil {
			n = -1 // a signal
		}
	}
	a.rouse()
	if n > 0 && a.files[0].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(a.fd, count[:])
	}
	// After the read: who calls in between has not written, and what it has to say is looked at now; the other way round
	// its word would be taken with the older one, and who calls next would believe that the thread is being woken.
	a.called.Store(false)
	if n > 0 {
		a.arrived()
	}
}

// arrived has all that can be read be read.
func (a *Alarm) arrived() {
	for _, f := range slices.Clone(a.files[1:]) {
		if f.Revents == 0 {
			continue
		}
		i := slices.IndexFunc(a.files, func(g unix.PollFd) bool { return g.Fd == f.Fd })
		if i > 0 && a.ready[i]() {
			a.files[i].Fd, a.resting = ^f.Fd, true // poll(2): "If this field is negative, then … the revents field returns zero"
		}
	}
}

// rouse takes those that rest into account again.
func (a *Alarm) rouse() {
	for i := range a.files {
		if a.resting && a.files[i].Fd < 0 {
			a.files[i].Fd = ^a.files[i].Fd
		}
	}
	a.resting = false
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

// BriskNice is the nice value of this program's threads. A thread that collects garbage stops all others for some
// microseconds; one that has to wait for a processor just then, behind the work of others, stops them for that long too.
const BriskNice = -10

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
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, BriskNice); err != nil && !errors.Is(err, unix.ESRCH) {
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

// AsUsual gives the calling goroutine's thread the share of a processor that this program had before Brisk, so that a
// program that is executed in its place begins with that.
func AsUsual() error {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	if was := usual.Load(); was != nil {
		attr.Nice = int32(20 - *was)
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("schedule the thread: %w", err)
	}
	return nil
}

// ThreadTime is the processor time that this thread has had: what is done between two readings costs, however long others are let go first.
// The caller keeps to its thread meanwhile (runtime.LockOSThread).
func ThreadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
