package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// traffic is the client of a play and all that it reported.
type traffic struct {
	proc    *Process
	mu      sync.Mutex
	samples []Sample
	total   int       // requests so far, also those that were forgotten
	failed  int       // of these
	oldest  time.Time // every request that started before is reported
	broken  error     // why there are no more reports
}

// The client's pace and patience.
const (
	loadEvery   = 20 * time.Millisecond
	loadTimeout = time.Second
	loadLimit   = 24 * time.Hour // it ends with whoever reads it
)

// startTraffic starts the client in its host, sending from addrs.
func (l *Lab) startTraffic(addrs []netip.Addr) (*traffic, error) {
	proc, err := l.start("client", RoleLoad, true, "lab", "client", "--to", l.VIP.String(), "--from", joinAddrs(addrs),
		"--every", loadEvery.String(), "--timeout", loadTimeout.String(), "--for", loadLimit.String(), "--control")
	if err != nil {
		return nil, err
	}
	l.procs["client"] = proc
	t := &traffic{proc: proc}
	go t.read()
	return t, nil
}

func joinAddrs(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}

func (t *traffic) read() {
	lines := bufio.NewScanner(t.proc.out)
	var bad error
	for lines.Scan() {
		var s Sample
		if bad = json.Unmarshal(lines.Bytes(), &s); bad != nil {
			break
		}
		t.mu.Lock()
		t.samples = append(t.samples, s)
		t.total++
		if !s.OK() {
			t.failed++
		}
		if s.Oldest.After(t.oldest) {
			t.oldest = s.Oldest
		}
		t.mu.Unlock()
	}
	t.proc.wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = fmt.Errorf("the client ended early (%v, %v)", t.proc.err, bad)
}

// use makes the client send from addrs from now on.
func (t *traffic) use(addrs []netip.Addr) error {
	_, err := fmt.Fprintln(t.proc.in, joinAddrs(addrs))
	return err
}

// stop ends the client.
func (t *traffic) stop() error {
	if err := t.proc.in.Close(); err != nil {
		return err
	}
	return t.proc.ended(loadTimeout + grace)
}

// figures of the requests that started in [from, to).
func (t *traffic) figures(from, to time.Time) Figures {
	t.mu.Lock()
	samples := t.samples[:len(t.samples):len(t.samples)]
	t.mu.Unlock()
	return Summarize(samples, from, to)
}

// count returns how many requests there were, and how many failed.
func (t *traffic) count() (requests, failed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total, t.failed
}

// forget lets go of requests that started before at: who watches for a day needs the last minutes alone.
func (t *traffic) forget(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.samples) > 0 && t.samples[0].At.Before(at.Add(-time.Minute)) {
		t.samples = slices.DeleteFunc(slices.Clone(t.samples), func(s Sample) bool { return s.At.Before(at) })
	}
}

// settle waits until every request that started before at is reported.
func (t *traffic) settle(ctx context.Context, at time.Time) error {
	for limit := time.Now().Add(loadTimeout + 2*time.Second); time.Now().Before(limit); {
		t.mu.Lock()
		done, broken := t.oldest.After(at), t.broken
		t.mu.Unlock()
		if done || broken != nil {
			return broken
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the client reports nothing")
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
