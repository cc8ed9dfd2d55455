package cli

import (
	"net/netip"
	"testing"

	"vipd/internal/health"
	"vipd/internal/lb"
)

func hashed(scheduler string, weights ...int32) health.Service {
	s := health.Service{}
	s.Scheduler = scheduler
	for i, w := range weights {
		r := health.Real{Real: lb.Real{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(12 + i)}), 80), Weight: w}}
		s.Reals = append(s.Reals, r)
	}
	return s
}

// Rows that change are those of the kernel's own tables: 256 of sh and dh, 4,093 of mh.
func TestAPlanCountsTheRowsOfEachHashTable(t *testing.T) {
	for name, c := range map[string]struct {
		old, next health.Service
		from, to  int // rows that may change
		of        int
	}{
		"nothing changes":                           {hashed("mh", 1, 1, 1), hashed("mh", 1, 1, 1), 0, 0, 4093},
		"dh knows no weights":                       {hashed("dh", 1, 1), hashed("dh", 5, 1), 0, 0, 256},
		"sh does":                                   {hashed("sh", 1, 1), hashed("sh", 5, 1), 1, 256, 256},
		"a Maglev server that goes moves few":       {hashed("mh", 1, 1, 1, 1, 1), hashed("mh", 1, 1, 1, 1), 4093 / 5, 4093 * 2 / 5, 4093},
		"a source-hash server that goes moves most": {hashed("sh", 1, 1, 1, 1, 1), hashed("sh", 1, 1, 1, 1), 150, 256, 256},
		"the last server goes":                      {hashed("mh", 1), hashed("mh"), 4093, 4093, 4093},
		"another scheduler is no change of rows":    {hashed("sh", 1, 1), hashed("mh", 1), 0, 0, 0},
		"nor is one without a table":                {hashed("rr", 1, 1), hashed("rr", 1), 0, 0, 0},
	} {
		if n, of := hashRows(c.old, c.next); n < c.from || n > c.to || of != c.of {
			t.Errorf("%s: %d of %d rows, want %d to %d of %d", name, n, of, c.from, c.to, c.of)
		}
	}
}
