package lab

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"vipd/internal/control"
	"vipd/internal/vrrp"
)

// TakeoverBound is how long the site may be silent when the active director dies: the backup waits its Master_Down_Interval,
// "(3 * Advertisement_Interval) + Skew_Time" (RFC 3768 §6.1), and half a second is for everything else.
func TakeoverBound(backup vrrp.Config) time.Duration {
	advert, prio := backup.AdvertInt, time.Duration(backup.Priority)
	if advert == 0 {
		advert = time.Second
	}
	if prio == 0 {
		prio = 100
	}
	unit := time.Second
	if backup.Version == 3 {
		unit = advert // RFC 9568 §6.1 scales the skew by the interval
	}
	return 3*advert + (256-prio)*unit/256 + 500*time.Millisecond
}

// handoverBound is how long the site may be silent when the active director leaves in order.
const handoverBound = time.Second

// rules are what a step promises, in the words of the one that broke. They are pure: figures in, sentences out.

func noFailure(f Figures) []string {
	switch {
	case f.Requests == 0:
		return []string{"no request was made"}
	case f.Failed > 0:
		return []string{fmt.Sprintf("%d of %d requests failed (%s)", f.Failed, f.Requests, reasons(f.ByError))}
	}
	return nil
}

// reasons lists errors, the most frequent first.
func reasons(byError map[string]int) string {
	keys := make([]string, 0, len(byError))
	for k := range byError {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := byError[keys[i]], byError[keys[j]]
		return a > b || (a == b && keys[i] < keys[j])
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d %s", byError[k], k)
	}
	return strings.Join(keys, ", ")
}

func gapWithin(f Figures, bound time.Duration) []string {
	if f.Requests > f.Failed && f.LongestGap <= bound {
		return nil
	}
	return []string{fmt.Sprintf("no answer for %d ms; the bound is %d ms", f.LongestGap.Milliseconds(), bound.Milliseconds())}
}

func nothingFrom(f Figures, real string) []string {
	if n := f.ByReal[real]; n > 0 {
		return []string{fmt.Sprintf("%s answered %d requests although its web server was dead", real, n)}
	}
	return nil
}

func somethingFrom(f Figures, real string) []string {
	if f.ByReal[real] == 0 {
		return []string{fmt.Sprintf("%s is back in the pool and answered nothing", real)}
	}
	return nil
}

// fairShare holds the split against the service's rules: with persistence an address stays where it is and the addresses
// are spread by weight, without it the requests are. Schedulers that look at the address promise no split.
func fairShare(f Figures, svc control.Service) []string {
	weights := weightsOf(svc)
	spread := (svc.Scheduler == "rr" || svc.Scheduler == "wrr") && len(weights) > 0
	if svc.Persistence > 0 {
		if moved := f.Moved(); len(moved) > 0 {
			return []string{fmt.Sprintf("the service is persistent, and %s was sent to %d real servers", moved[0], len(f.ByClient[moved[0]]))}
		}
		if spread && uneven(f.Clients(), weights) > turn(weights) {
			return []string{fmt.Sprintf("client addresses are spread %v over weights %v", f.Clients(), weights)}
		}
		return nil
	}
	// Requests at either edge of the step may have been scheduled in another order than they started.
	if spread && uneven(f.ByReal, weights) > turn(weights)+1 {
		return []string{fmt.Sprintf("requests are spread %v over weights %v", f.ByReal, weights)}
	}
	return nil
}

// weightsOf returns the weights by which a service's scheduler spreads; rr does not look at them.
func weightsOf(svc control.Service) map[string]int {
	out := map[string]int{}
	for _, r := range svc.Reals {
		w := int(r.Weight)
		if svc.Scheduler == "rr" {
			w = 1
		}
		if w > 0 {
			out[r.Real.Addr.Addr().String()] = w
		}
	}
	return out
}

// turn is how many new connections in a row weighted round robin gives one real server at most; no share is further
// from exact than that, at any moment.
func turn(weights map[string]int) float64 {
	most, div := 0, 0
	for _, w := range weights {
		most = max(most, w)
		for a, b := w, div; ; a, b = b, a%b {
			if b == 0 {
				div = a
				break
			}
		}
	}
	return float64(most) / float64(max(div, 1))
}
