package health

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vipd/internal/lb"
)

// An independent, plainer account of the same rules runs beside the machine through random worlds: checks answer in any
// order and at any time, ticks come late, reloads come in between.
func TestNoPoolEverHoldsADownRealServer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{now: epoch, flying: map[CheckID]Checker{}, book: map[CheckID]*tally{}, down: map[string]bool{}}
		w.cfg = drawConfig(t)
		w.pools = New(w.cfg, func(limit time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(limit)).Draw(t, "random"))
		})
		w.pools.Start(w.now)
		w.starting = true
		w.check(t)
		w.starting = false
		t.Repeat(map[string]func(*rapid.T){
			"tick":    w.tick,
			"late":    w.late,
			"observe": w.observe,
			"reload":  w.reload,
			"strange": w.strange,
			"hand":    w.hand,
		})
	})
}

type walk struct {
	pools     *Pools
	cfg       Config
	now       time.Time
	flying    map[CheckID]Checker
	book      map[CheckID]*tally
	want      []lb.Pool
	was, down map[string]bool // by service and address, at the look before the last and at the last
	starting  bool
	reloading bool
}

// tally is what the plain account knows of a checker.
type tally struct {
	first bool // it was there at the start: its first failure decides
	fails int  // in a row, while up
}

func drawConfig(t *rapid.T) Config {
	var cfg Config
	for i := range rapid.IntRange(1, 2).Draw(t, "services") {
		addr := netip.AddrPortFrom(netip.MustParseAddr("10.0.8.9"), uint16(80+i))
		s := Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: addr}}}
		s.Alpha, s.Omega = rapid.Bool().Draw(t, "alpha"), rapid.Bool().Draw(t, "omega")
		s.Quorum = rapid.IntRange(0, 4).Draw(t, "quorum")
		s.Hysteresis = rapid.IntRange(0, max(s.Quorum-1, 0)).Draw(t, "hysteresis")
		if rapid.Bool().Draw(t, "sorry") {
			s.Sorry = &lb.Real{Addr: netip.MustParseAddrPort(rapid.SampledFrom([]string{"10.0.8.99:80", "10.0.8.1:80"}).Draw(t, "sorry server"))}
		}
		for j := range rapid.IntRange(0, 3).Draw(t, "reals") {
			r := Real{Real: lb.Real{Addr: netip.MustParseAddrPort(fmt.Sprintf("10.0.8.%d:80", j+1)), Weight: rapid.Int32Range(0, 3).Draw(t, "weight")},
				InhibitOnFailure: rapid.Bool().Draw(t, "inhibit")}
			for k := range rapid.IntRange(0, 2).Draw(t, "checkers") {
				r.Checkers = append(r.Checkers, Checker{Kind: TCPCheck, Alpha: s.Alpha, Target: netip.AddrPortFrom(r.Addr.Addr(), uint16(80+k)),
					Retry: rapid.IntRange(0, 2).Draw(t, "retry"), DelayLoop: time.Duration(rapid.IntRange(1, 9).Draw(t, "delay_loop")) * time.Second})
			}
			s.Reals = append(s.Reals, r)
		}
		cfg.Services = append(cfg.Services, s)
	}
	return cfg
}

func (w *walk) tick(t *rapid.T) {
	next := w.pools.Next()
	if next.IsZero() {
		t.Skip("nothing is due")
	}
	if next.After(w.now) {
		w.now = next
	}
	w.pools.Tick(w.now)
	w.check(t)
	if n := w.pools.Next(); !n.IsZero() && !n.After(w.now) {
		t.Fatalf("after a tick at %v something is still due at %v", w.now, n)
	}
}

func (w *walk) late(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
	w.pools.Tick(w.now)
	w.check(t)
}

func (w *walk) observe(t *rapid.T) {
	if len(w.flying) == 0 {
		t.Skip("no check is under way")
	}
	var ids []CheckID
	for id := range w.flying {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "id")
	res := rapid.SampledFrom([]Result{{OK: true}, {Why: "refused"}, {Why: "refused"}, {Inconclusive: true}}).Draw(t, "result")
	before := w.checker(id)
	delete(w.flying, id)
	w.now = w.now.Add(time.Millisecond)
	w.pools.Observe(w.now, id, res)
	w.check(t)
	after := w.checker(id)
	up := w.book[id].verdict(before, res)
	if after.Up != up || after.Ran != (before.Ran || !res.Inconclusive) {
		t.Fatalf("%+v came, was %+v, is %+v, want up %v", res, before, after, up)
	}
}

// verdict is the retry rule in plain words: down exactly when more failures in a row came than retry forgives, at the
// start none; up at the first success.
func (b *tally) verdict(was CheckStatus, res Result) (up bool) {
	switch {
	case res.Inconclusive:
		return was.Up
	case res.OK:
		b.fails = 0
		return true
	case !was.Up:
		return false
	}
	b.fails++
	forgiven := was.Checker.Retry
	if !was.Ran && b.first {
		forgiven = 0
	}
	if b.fails <= forgiven {
		return true
	}
	b.fails = 0
	return false
}

func (w *walk) checker(id CheckID) CheckStatus {
	for _, s := range w.pools.Status() {
		for _, r := range s.Reals {
			for _, c := range r.Checks {
				if c.ID == id {
					return c
				}
			}
		}
	}
	return CheckStatus{}
}

// hand is an operator that sets and takes back what holds a real server.
func (w *walk) hand(t *rapid.T) {
	s := rapid.SampledFrom(w.cfg.Services).Draw(t, "service")
	if len(s.Reals) == 0 {
		t.Skip("nobody to hold")
	}
	r := rapid.SampledFrom(s.Reals).Draw(t, "real")
	h := rapid.SampledFrom([]Hand{{}, {Do: Drain}, {Do: Disable}, {Do: Weigh, Weight: 2}, {Do: Weigh, Percent: 50}}).Draw(t, "hand")
	if h.Do == "" {
		_ = w.pools.Release(w.now, s.ServiceKey, r.Addr) // which may not be held
	} else if err := w.pools.Hold(w.now, s.ServiceKey, r.Addr, h); err != nil {
		t.Fatal(err)
	}
	w.check(t)
}

func (w *walk) strange(t *rapid.T) {
	id := CheckID(rapid.Uint64().Draw(t, "id"))
	if _, ok := w.flying[id]; ok {
		t.Skip("a real one")
	}
	w.pools.Observe(w.now, id, Result{})
	w.check(t)
}

func (w *walk) reload(t *rapid.T) {
	if rapid.Bool().Draw(t, "another file") {
		w.cfg = drawConfig(t)
	}
	before := w.pools.Status()
	w.pools.Update(w.now, w.cfg)
	w.reloading = true
	w.check(t)
	w.reloading = false
	same(t, before, w.pools.Status())
}

// same holds that a real server that stays with its checkers keeps their verdicts.
func same(t *rapid.T, before, after []ServiceStatus) {
	was := map[CheckID]CheckStatus{}
	for _, s := range before {
		for _, r := range s.Reals {
			for _, c := range r.Checks {
				was[c.ID] = c
			}
		}
	}
	for _, s := range after {
		for _, r := range s.Reals {
			for _, c := range r.Checks {
				if o, ok := was[c.ID]; ok && o.Ran && (o.Up != c.Up || !c.Ran || o.Running != c.Running) {
					t.Fatalf("a reload changed %v to %v", o, c)
				}
			}
		}
	}
}

// check takes the effects and holds every invariant.
func (w *walk) check(t *rapid.T) {
	changed := map[lb.ServiceKey]bool{}
	for _, e := range w.pools.Take() {
		switch e := e.(type) {
		case Probe:
			if _, ok := w.flying[e.ID]; ok {
				t.Fatalf("a second check %d while the first is under way", e.ID)
			}
			w.flying[e.ID] = e.Checker
		case Changed:
			changed[e.Service] = true
		}
	}
	status, want := w.pools.Status(), w.pools.Want()
	w.was, w.down = w.down, map[string]bool{}
	if len(status) != len(want) || len(status) != len(w.cfg.Services) {
		t.Fatalf("%d services configured, %d in Status, %d in Want", len(w.cfg.Services), len(status), len(want))
	}
	for i, s := range status {
		w.checkService(t, s, want[i], w.cfg.Services[i])
		if old := poolOf(w.want, s.Service.ServiceKey); (old == nil || !reflect.DeepEqual(*old, want[i])) && !changed[s.Service.ServiceKey] {
			t.Fatalf("the pool changed and nothing told: %v to %v", old, want[i])
		}
	}
	w.want = want
	w.prune(status)
}

func poolOf(pools []lb.Pool, key lb.ServiceKey) *lb.Pool {
	for i := range pools {
		if pools[i].Service.ServiceKey == key {
			return &pools[i]
		}
	}
	return nil
}

func (w *walk) checkService(t *rapid.T, s ServiceStatus, pool lb.Pool, cfg Service) {
	var alive int64
	var expected []lb.Real
	for j, r := range s.Reals {
		healthy := true
		for _, c := range r.Checks {
			healthy = healthy && c.Up
		}
		name := fmt.Sprint(s.Service.ServiceKey, r.Real.Addr)
		for _, c := range r.Checks {
			w.checkChecker(c, w.was[name])
		}
		w.down[name] = !healthy
		if r.Healthy != healthy {
			t.Fatalf("%v: healthy %v, its checkers say %v", r.Real.Addr, r.Healthy, healthy)
		}
		if healthy {
			alive += int64(r.Real.Weight)
		}
		entry := r.Real
		if !healthy || s.SorryUp {
			entry.Weight = 0
		}
		quiesced := r.Hand != nil && r.Hand.Weight == 0 && r.Hand.Percent == 0
		listed := healthy && (!s.SorryUp || quiesced) || cfg.Reals[j].InhibitOnFailure
		if r.Hand != nil && r.Hand.Do == Disable {
			listed = false
		}
		if listed && !(s.SorryUp && entry.Addr == cfg.Sorry.Addr) {
			expected = append(expected, entry)
		}
	}
	if s.SorryUp {
		expected = append(expected, lb.Real{Addr: cfg.Sorry.Addr, Weight: 1})
	}
	if !slices.Equal(pool.Reals, expected) {
		t.Fatalf("%v: pool %v, want %v", s.Service.ServiceKey, pool.Reals, expected)
	}
	if alive != s.Alive {
		t.Fatalf("%v: alive %d, want %d", s.Service.ServiceKey, s.Alive, alive)
	}
	up, down := alive >= int64(s.Quorum+s.Hysteresis), alive == 0 || alive < int64(s.Quorum-s.Hysteresis)
	if up && !s.QuorumUp || down && s.QuorumUp {
		t.Fatalf("%v: quorum %v with weight %d of %d±%d", s.Service.ServiceKey, s.QuorumUp, alive, s.Quorum, s.Hysteresis)
	}
	if s.SorryUp != (!s.QuorumUp && cfg.Sorry != nil) {
		t.Fatalf("%v: sorry server %v, quorum %v", s.Service.ServiceKey, s.SorryUp, s.QuorumUp)
	}
}

// checkChecker opens the account of a new checker. One that a reload finds not yet run on a real server that is down is
// not forgiven its first failure either.
func (w *walk) checkChecker(c CheckStatus, failed bool) {
	b := w.book[c.ID]
	if b == nil {
		b = &tally{first: w.starting}
		w.book[c.ID] = b
	}
	b.first = b.first || w.reloading && !c.Ran && failed
	b.fails = min(b.fails, c.Checker.Retry)
}

// prune forgets what a reload removed.
func (w *walk) prune(status []ServiceStatus) {
	live := map[CheckID]bool{}
	for _, s := range status {
		for _, r := range s.Reals {
			for _, c := range r.Checks {
				live[c.ID] = true
			}
		}
	}
	for id := range w.flying {
		if !live[id] {
			delete(w.flying, id)
		}
	}
}
