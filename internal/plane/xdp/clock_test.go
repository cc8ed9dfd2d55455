package xdp

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	for _, hz := range []uint32{100, 250, 300, 1000} {
		c := clock{hz, tickShift(hz)}
		if tick := c.duration(1); tick < 79*time.Millisecond || tick > 160*time.Millisecond {
			t.Errorf("HZ %d: a tick is %v", hz, tick)
		}
		for _, d := range []time.Duration{0, time.Second, 10 * time.Second, 300 * time.Second, 900 * time.Second, 86399 * time.Second, maxPeriod} {
			if back := c.seconds(c.ticks(d)); back != d {
				t.Errorf("HZ %d: %v comes back as %v", hz, d, back)
			}
			if c.duration(int32(c.ticks(d))) < d {
				t.Errorf("HZ %d: %v ends early", hz, d)
			}
		}
		if c.ticks(-time.Second) != 0 || c.ticks(2*maxPeriod) != c.ticks(maxPeriod) {
			t.Errorf("HZ %d: periods out of range", hz)
		}
	}
}

func TestKernelHZ(t *testing.T) {
	hz, err := kernelHZ()
	if err != nil || hz < 24 || hz > 1200 {
		t.Errorf("HZ %d, %v", hz, err)
	}
}

func TestSlots(t *testing.T) {
	s := newSlots(6)
	take := func(n int, want uint32, ok bool) {
		t.Helper()
		if first, got := s.run(n); got != ok || ok && first != want {
			t.Errorf("run of %d: %d, %v; want %d, %v", n, first, got, want, ok)
		}
	}
	take(2, 0, true)
	take(2, 2, true)
	s.free(0, 1)
	take(2, 4, true)
	take(1, 0, true)
	take(1, 0, false)
	s.free(1, 2)
	take(3, 0, false)
	take(2, 1, true)
	if s.claim(3) || s.claim(6) {
		t.Error("claimed what is used or not there")
	}
}

func TestRegionsFor(t *testing.T) {
	for lines, want := range map[uint32]uint32{1: 1, 64: 1, 65: 2, 1024: 16, 1025: 32, DefaultTableSize: 1 << 15} {
		if got := regionsFor(lines); got != want {
			t.Errorf("%d lines: %d regions, want %d", lines, got, want)
		}
	}
}
