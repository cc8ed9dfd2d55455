package host

import (
	"runtime"
	"sync/atomic"
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

// Whatever the moment at which it is called, what was said before is seen.
func TestNoCallOfAnAlarmIsLost(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const calls = 200_000
	var said atomic.Int64
	for range 2 {
		go func() {
			for range calls {
				said.Add(1)
				a.Wake()
			}
		}()
	}
	const long = 20 * time.Second
	for seen := int64(0); seen < 2*calls; seen = said.Load() {
		began := time.Now()
		if a.Sleep(long); time.Since(began) >= long {
			t.Fatalf("it slept on at %d of %d, and %d were said", seen, 2*calls, said.Load())
		}
	}
	spins := 0
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; spins++ {
		a.Sleep(50 * time.Millisecond)
	}
	if spins > 5 {
		t.Errorf("%d sleeps of 50 ms in 50 ms", spins)
	}
}

func TestAnAlarmReadsWhatArrivesAndLeavesAFloodAlone(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var ends [2][2]int
	read, more := make([]int, 2), false
	for i := range ends {
		if ends[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ends[i][0])
		defer unix.Close(ends[i][1])
		a.Watch(ends[i][0], func() bool {
			if n, _ := unix.Read(ends[i][0], make([]byte, 10)); n == 1 {
				read[i]++
			}
			return more
		})
	}
	send := func(i int) {
		if _, err := unix.Write(ends[i][1], []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	send(0)
	send(1)
	if a.Sleep(time.Hour); read[0] != 1 || read[1] != 1 {
		t.Errorf("read %d", read)
	}
	// One that has more rests for a millisecond, and does not keep the other one waiting.
	more = true
	send(0)
	send(0)
	a.Sleep(time.Hour)
	more = false
	send(1)
	if a.Sleep(time.Hour); read[0] != 2 || read[1] != 2 {
		t.Errorf("read %d of one that rests and one that does not", read)
	}
	for end := time.Now().Add(30 * time.Second); read[0] < 3 && time.Now().Before(end); {
		a.Sleep(time.Second)
	}
	if read[0] != 3 {
		t.Errorf("read %d after its rest", read)
	}
	a.Unwatch(ends[0][0])
	send(0)
	send(1)
	a.Sleep(time.Hour)
	if a.Sleep(0); read[0] != 3 || read[1] != 3 {
		t.Errorf("read %d after nobody waits for the first", read)
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
	if attr, err := unix.SchedGetAttr(0, 0); err != nil || attr.Nice != BriskNice {
		t.Errorf("%+v, %v", attr, err)
	}
	// Field 19 of /proc/PID/stat is the nice value.
	e := Command{Args: []string{"/bin/sh", "-c", "sleep 0.2; cut -d' ' -f19 /proc/self/stat"}, Keep: 10}.Run(t.Context())
	if string(e.Output) != "0\n" {
		t.Errorf("a command runs with %q", e.Output)
	}
}
