package xdp

import (
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

// clock converts between time and the ticks in which connections count: 2^shift jiffies, hz jiffies a second.
type clock struct{ hz, shift uint32 }

// maxPeriod is the longest that a timeout may be, as in IPVS's persistence (31 days).
const maxPeriod = 31 * 24 * time.Hour

// kernelHZ is the running kernel's CONFIG_HZ. The coarse clock's resolution is one jiffy, and tells it without a guess at
// where a distribution keeps its configuration.
func kernelHZ() (uint32, error) {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &res); err != nil {
		return 0, fmt.Errorf("read the kernel's HZ: %w", err)
	}
	ns := res.Nano()
	if ns <= 0 {
		return 0, fmt.Errorf("read the kernel's HZ: a jiffy of %d ns", ns)
	}
	return uint32((int64(time.Second) + ns/2) / ns), nil
}

// tickShift makes a tick of about an eighth of a second: the greatest power of two of jiffies within 160 ms.
func tickShift(hz uint32) uint32 {
	return uint32(max(bits.Len32(hz*16/100), 1) - 1)
}

// ticks is d in ticks, rounded up: nothing ends early. A d beyond maxPeriod counts as that.
func (c clock) ticks(d time.Duration) uint32 {
	tick := time.Second << c.shift
	return uint32((min(max(d, 0), maxPeriod)*time.Duration(c.hz) + tick - 1) / tick)
}

// duration is n ticks as time.
func (c clock) duration(n int32) time.Duration {
	jiffies, hz := int64(n)<<c.shift, int64(c.hz)
	return time.Duration(jiffies/hz)*time.Second + time.Duration(jiffies%hz)*time.Second/time.Duration(hz)
}

// seconds gives back the whole seconds that ticks was given.
func (c clock) seconds(n uint32) time.Duration {
	return c.duration(int32(n)).Truncate(time.Second)
}
