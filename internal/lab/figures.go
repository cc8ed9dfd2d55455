package lab

import (
	"net/netip"
	"sort"
	"time"
)

// Figures are what the requests of one stretch of time came to. A request belongs to the stretch in which it started.
type Figures struct {
	Requests   int
	Failed     int
	LongestGap time.Duration // without any answer, whichever request it was to; see longestGap
	ByReal     map[string]int
	ByProxy    map[string]int // of the method content
	Known      int            // answers that named the client's own address
	ByError    map[string]int
	ByClient   map[netip.Addr]map[string]int // client address to real server to answers
}

// Summarize computes the figures of [from, to). samples are all that there are, in any order.
func Summarize(samples []Sample, from, to time.Time) Figures {
	f := Figures{ByReal: map[string]int{}, ByProxy: map[string]int{}, ByError: map[string]int{}, ByClient: map[netip.Addr]map[string]int{}}
	for _, s := range samples {
		if s.At.Before(from) || !s.At.Before(to) {
			continue
		}
		f.Requests++
		if !s.OK() {
			f.Failed++
			f.ByError[s.Error]++
			continue
		}
		f.ByReal[s.Real]++
		if s.Proxy != "" {
			f.ByProxy[s.Proxy]++
		}
		if s.Known {
			f.Known++
		}
		if f.ByClient[s.From] == nil {
			f.ByClient[s.From] = map[string]int{}
		}
		f.ByClient[s.From][s.Real]++
	}
	f.LongestGap = longestGap(samples, from, to)
	return f
}

// longestGap is the longest time between two answers that follow each other, as far as it touches [from, to): it
// begins at the last answer before from (or at from, if there is none) and ends at to when no answer comes any more.
func longestGap(samples []Sample, from, to time.Time) time.Duration {
	var ends []time.Time
	last := time.Time{}
	for _, s := range samples {
		switch end := s.End(); {
		case !s.OK() || !end.Before(to):
		case end.Before(from):
			if end.After(last) {
				last = end
			}
		default:
			ends = append(ends, end)
		}
	}
	sort.Slice(ends, func(i, j int) bool { return ends[i].Before(ends[j]) })
	if last.IsZero() {
		last = from
	}
	var longest time.Duration
	for _, end := range append(ends, to) {
		longest = max(longest, end.Sub(last))
		last = end
	}
	return longest
}

// Moved returns the client addresses that more than one real server answered, sorted.
func (f Figures) Moved() []netip.Addr {
	var out []netip.Addr
	for client, reals := range f.ByClient {
		if len(reals) > 1 {
			out = append(out, client)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Less(out[j]) })
	return out
}

// Clients counts the client addresses that each real server answered.
func (f Figures) Clients() map[string]int {
	out := map[string]int{}
	for _, reals := range f.ByClient {
		for real := range reals {
			out[real]++
		}
	}
	return out
}

// uneven returns how far, in answers, the worst real server is from its share by weight.
func uneven(counts map[string]int, weights map[string]int) float64 {
	total, sum := 0, 0
	for real, w := range weights {
		sum += w
		total += counts[real]
	}
	worst := 0.0
	for real, w := range weights {
		if off := float64(counts[real]) - float64(total)*float64(w)/float64(sum); off > worst {
			worst = off
		} else if -off > worst {
			worst = -off
		}
	}
	return worst
}
