package lab

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var zero = time.Unix(1_000_000, 0)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// sample is a request that started at at ms and took took ms.
func sample(at, took int, client byte, real, err string) Sample {
	return Sample{At: zero.Add(ms(at)), Took: ms(took), From: netip.AddrFrom4([4]byte{10, 0, 4, client}), Real: real, Error: err}
}

func TestRequestsBelongToTheStretchTheyStartedIn(t *testing.T) {
	samples := []Sample{
		sample(0, 5, 102, "a", ""),      // before
		sample(100, 2, 102, "a", ""),    // first
		sample(120, 900, 103, "b", ""),  // ends after the stretch
		sample(140, 50, 104, "", "x"),   // failed
		sample(160, 3, 104, "b", ""),    //
		sample(199, 1, 102, "b", ""),    // last; its address moved
		sample(200, 1, 102, "b", ""),    // after
		sample(50, 100, 102, "a", "no"), // failed, before
	}
	f := Summarize(samples, zero.Add(ms(100)), zero.Add(ms(200)))
	if f.Requests != 5 || f.Failed != 1 {
		t.Errorf("%d requests, %d failed", f.Requests, f.Failed)
	}
	if d := cmp.Diff(map[string]int{"a": 1, "b": 3}, f.ByReal); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"x": 1}, f.ByError); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"a": 1, "b": 3}, f.Clients()); d != "" {
		t.Error(d)
	}
	if got := fmt.Sprint(f.Moved()); got != "[10.0.4.102]" {
		t.Errorf("moved: %s", got)
	}
}

func TestLongestGap(t *testing.T) {
	for sentence, c := range map[string]struct {
		samples []Sample
		want    int
	}{
		"is counted between the ends of answers":              {[]Sample{sample(100, 10, 1, "a", ""), sample(120, 40, 1, "a", ""), sample(180, 15, 1, "a", "")}, 50},
		"begins at the last answer before the stretch":        {[]Sample{sample(10, 5, 1, "a", ""), sample(150, 1, 1, "a", ""), sample(190, 1, 1, "a", "")}, 136},
		"is the whole stretch when nothing was ever answered": {[]Sample{sample(120, 10, 1, "", "no"), sample(150, 1, 1, "", "no")}, 100},
		"runs to the end when answers stop":                   {[]Sample{sample(98, 1, 1, "a", ""), sample(110, 10, 1, "a", ""), sample(130, 10, 1, "", "no")}, 80},
		"does not see failures":                               {[]Sample{sample(98, 2, 1, "a", ""), sample(120, 5, 1, "", "no"), sample(160, 10, 1, "a", "")}, 70},
		"counts an answer to an earlier request":              {[]Sample{sample(90, 60, 1, "a", ""), sample(198, 1, 1, "a", "")}, 50},
		"takes answers in the order of their ends":            {[]Sample{sample(101, 90, 1, "a", ""), sample(130, 10, 1, "a", "")}, 51},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := Summarize(c.samples, zero.Add(ms(100)), zero.Add(ms(200))).LongestGap; got != ms(c.want) {
				t.Errorf("got %s, want %d ms", got, c.want)
			}
		})
	}
}
