package host

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

func TestAnAlarmWakesAtItsTimeAndWhenItIsCalled(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	began := time.Now()
	if a.Sleep(20 * time.Millisecond); time.Since(began) < 20*time.Millisecond {
		t.Errorf("slept %s of 20 ms", time.Since(began))
	}
	a.Wake()
	a.Wake()
	a.Sleep(time.Hour) // it was called before
	slept := make(chan struct{})
	go func() { a.Sleep(time.Hour); close(slept) }()
	a.Wake()
	<-slept
	began = time.Now()
	if a.Sleep(20 * time.Millisecond); time.Since(began) < 20*time.Millisecond {
		t.Errorf("one call ended two sleeps, the second after %s", time.Since(began))
	}
}

func TestAThreadOfItsOwnIsScheduledAsItIsTold(t *testing.T) {
	need.Root(t)
	runtime.LockOSThread() // this one is none of theirs
	defer runtime.UnlockOSThread()
	for _, want := range []Scheduling{{Realtime: 7}, {Nice: -5}, {CPUs: []int{0}}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := OwnThread(want); err != nil {
				t.Error(err)
				return
			}
			attr, err := unix.SchedGetAttr(0, 0)
			if err != nil || attr.Priority != uint32(want.Realtime) || attr.Nice != int32(want.Nice) || attr.Flags&unix.SCHED_FLAG_RESET_ON_FORK == 0 {
				t.Errorf("%+v: %+v, %v", want, attr, err)
			}
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(0, &set); err != nil || len(want.CPUs) > 0 && (set.Count() != 1 || !set.IsSet(want.CPUs[0])) {
				t.Errorf("processors %v, %v", set, err)
			}
		}()
		<-done
	}
	if attr, err := unix.SchedGetAttr(0, 0); err != nil || attr.Policy != unix.SCHED_NORMAL {
		t.Errorf("another thread is %+v, %v", attr, err)
	}
}

func TestWhatABriskProgramStartsHasTheUsualShare(t *testing.T) {
	need.Root(t)
	if err := Brisk(); err != nil {
		t.Fatal(err)
	}
	if attr, err := unix.SchedGetAttr(0, 0); err != nil || attr.Nice != briskNice {
		t.Errorf("%+v, %v", attr, err)
	}
	// Field 19 of /proc/PID/stat is the nice value.
	e := Command{Args: []string{"/bin/sh", "-c", "sleep 0.2; cut -d' ' -f19 /proc/self/stat"}, Keep: 10}.Run(t.Context())
	if string(e.Output) != "0\n" {
		t.Errorf("a command runs with %q", e.Output)
	}
}
