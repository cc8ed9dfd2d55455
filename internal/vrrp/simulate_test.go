package vrrp

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 10000, "how many seeds the simulation plays; a tenth with -short or -race")
	oneSeed   = flag.Uint64("seed", 0, "play this seed only and print its transcript")
)

// history is one seed's life of a segment: a storm, then calm, then the loss of the master in calm weather.
type history struct {
	world
	rng   *rand.Rand
	links map[[2]*host]*cable
	calm  bool
	unit  time.Duration // advertisement interval, the longest of all
	kind  kind
}

// kind is how the routers of a history speak.
type kind struct {
	v3, v6, unicast, ah, hmac bool
	mixed                     bool // version 3: each has its own interval
}

// someKind draws one that exists. Half are the plain kind, version 2 over multicast.
func someKind(rng *rand.Rand) (k kind) {
	if rng.IntN(2) == 0 {
		return k
	}
	k.v3, k.unicast = rng.IntN(3) > 0, rng.IntN(2) == 0
	k.v6 = k.v3 && rng.IntN(2) == 0
	k.mixed = k.v3 && rng.IntN(2) == 0
	k.ah = !k.v3 && rng.IntN(2) == 0
	k.hmac = !k.ah && rng.IntN(2) == 0
	return k
}

// cable is one direction between two hosts.
type cable struct {
	cut   bool
	loss  float64
	delay time.Duration // at most
	last  time.Time     // latest arrival: a cable that is not disturbed does not reorder
}

const (
	fast    = 400 * time.Microsecond // longest way in calm weather; two of them are less than a skew of half a second's 1/256
	slack   = 10 * time.Millisecond  // for adverts under way
	slowest = 8 * time.Millisecond   // to set addresses: longer than two steps of priority are apart
)

func newHistory(seed uint64, law rules) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 51)), links: map[[2]*host]*cable{}, unit: time.Second}
	h.now, h.rules, h.world.cable = epoch, law, h.way
	if h.rng.IntN(2) == 0 {
		h.setting = func() time.Duration { return time.Duration(h.rng.Int64N(int64(slowest))) }
	}
	if h.rng.IntN(8) == 0 {
		h.unit = 2 * time.Second
	}
	few := h.rng.IntN(2) == 0 // few priorities: many ties
	if h.kind = someKind(h.rng); h.kind.mixed {
		h.unit = 2 * time.Second
	}
	// An advert that is refused for its signature or sequence number is no step that the rules of an election judge.
	h.blind = h.kind.ah || h.kind.hmac
	for i := range 2 + h.rng.IntN(4) {
		h.hosts = append(h.hosts, &host{name: string(rune('a' + i)), cfg: h.config(i, few)})
	}
	for _, one := range h.hosts {
		for _, other := range h.hosts {
			if h.kind.unicast && one != other {
				one.cfg.Unicast, one.cfg.Peers = true, append(one.cfg.Peers, Peer{Addr: other.cfg.Source, MaxTTL: 255})
			}
		}
	}
	if h.rng.IntN(10) == 0 {
		h.hosts[0].cfg.Priority, h.hosts[0].cfg.InitialMaster = 255, true
	}
	for _, from := range h.hosts {
		for _, to := range h.hosts {
			h.links[[2]*host{from, to}] = &cable{delay: fast}
		}
	}
	return h
}

func (h *history) config(i int, few bool) Config {
	cfg := Config{Name: "VI", Interface: "eth0", VRID: 1, AdvertInt: h.unit, VIPs: []Address{{Prefix: netip.MustParsePrefix("10.0.0.9/32")}}}
	cfg.Source = netip.AddrFrom4([4]byte{10, 0, byte(h.rng.IntN(256)), byte(10 + i)})
	h.kind.apply(&cfg, h.rng)
	cfg.Priority = uint8(1 + h.rng.IntN(254))
	if few {
		cfg.Priority = uint8(100 + h.rng.IntN(2))
	}
	switch h.rng.IntN(10) {
	case 0, 1:
		cfg.NoPreempt = true
	case 2:
		cfg.PreemptDelay = time.Duration(1+h.rng.IntN(5)) * time.Second
	}
	return cfg
}

func (k kind) apply(cfg *Config, rng *rand.Rand) {
	if k.v3 {
		cfg.Version = 3
	}
	if k.v6 {
		four := cfg.Source.As4()
		cfg.V6, cfg.Source = true, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: four[2], 15: four[3]})
		cfg.VIPs = []Address{{Prefix: netip.MustParsePrefix("fe80::99/64")}}
	}
	if k.mixed {
		cfg.AdvertInt = time.Duration(1<<rng.IntN(3)) * time.Second / 2
	}
	if k.ah {
		cfg.AuthType, cfg.AuthPass = AuthAH, "k3y"
	}
	if k.hmac {
		cfg.HMAC = HMAC{Keys: map[uint8][]byte{1: key1}, Active: 1, Window: 20 * time.Second}
	}
}

// way is the cable function of the world.
func (h *history) way(from, to *host) (time.Duration, bool) {
	c := h.links[[2]*host{from, to}]
	if c.cut || c.loss > 0 && h.rng.Float64() < c.loss {
		return 0, false
	}
	arrival := h.now.Add(fast/10 + time.Duration(h.rng.Int64N(int64(c.delay))))
	if c.delay == fast && arrival.Before(c.last) {
		arrival = c.last
	}
	c.last = arrival
	return arrival.Sub(h.now), true
}

// play runs the history and returns what did not hold.
func (h *history) play() string {
	for _, step := range []func() string{h.storm, h.settle, h.delays, h.loseMaster} {
		why := step()
		if why = cmp.Or(h.broken, why); why != "" {
			return why
		}
	}
	return ""
}

func (h *history) storm() string {
	for _, host := range h.hosts {
		h.start(host)
	}
	end := h.now.Add(time.Duration(10+h.rng.IntN(20)) * h.unit)
	for h.now.Before(end) && h.broken == "" {
		h.run(h.now.Add(time.Duration(h.rng.Int64N(int64(3 * h.unit)))))
		h.strike()
	}
	return ""
}

// strike is one mishap, or the end of one.
func (h *history) strike() {
	from, to := h.hosts[h.rng.IntN(len(h.hosts))], h.hosts[h.rng.IntN(len(h.hosts))]
	there, back := h.links[[2]*host{from, to}], h.links[[2]*host{to, from}]
	switch what := h.rng.IntN(13); {
	case what == 0:
		there.cut = !there.cut
		h.note("* %s→%s cut %t", from.name, to.name, there.cut)
	case what == 1:
		there.cut = !there.cut
		back.cut = there.cut
		h.note("* %s↔%s cut %t", from.name, to.name, there.cut)
	case what == 2:
		there.loss = h.rng.Float64()
		h.note("* %s→%s loses %.0f %%", from.name, to.name, 100*there.loss)
	case what == 3:
		there.delay = time.Millisecond + time.Duration(h.rng.Int64N(int64(2*h.unit)))
		h.note("* %s→%s takes up to %s", from.name, to.name, there.delay)
	case what == 4:
		*there, *back = cable{delay: fast}, cable{delay: fast}
		h.note("* %s↔%s healed", from.name, to.name)
	case what <= 6 && from.router != nil:
		if from.paused {
			h.note("* %s resumes", from.name)
			h.resume(from)
		} else {
			h.note("* %s is paused", from.name)
			from.paused, from.pausedAt = true, h.now
		}
	case what <= 8 && from.router != nil && !from.paused:
		if h.rng.IntN(2) == 0 {
			h.note("* %s is killed", from.name)
			h.kill(from)
		} else {
			h.note("* %s stops", from.name)
			h.stop(from)
		}
	case what <= 10 && from.router == nil:
		h.note("* %s starts", from.name)
		h.start(from)
	case what == 12:
		h.step(from)
	case what == 11 && !from.paused:
		h.note("* %s fault %t", from.name, !from.faulty)
		h.fault(from, !from.faulty)
	}
}

// step sets a wall clock forward or back, by less than the window of a signature.
func (h *history) step(who *host) {
	who.clock = time.Duration(h.rng.IntN(9)-4) * time.Second
	h.note("* the clock of %s is %s ahead", who.name, who.clock)
	if who.router != nil {
		who.router.ahead = who.clock
	}
}

// settle ends the storm: the segment is whole or in two parts, most hosts are well, nothing is under way. After three
// intervals and the longest skew each part has its one master.
func (h *history) settle() string {
	h.flights = nil
	split := h.rng.IntN(3) == 0
	for _, host := range h.hosts {
		if split {
			host.part = h.rng.IntN(2)
		}
	}
	for ends, c := range h.links {
		*c = cable{delay: fast, cut: ends[0].part != ends[1].part}
	}
	h.note("* calm")
	for _, host := range h.hosts {
		if host.paused {
			h.resume(host)
		}
		if host.router == nil && h.rng.IntN(4) > 0 {
			h.start(host)
		}
		if host.faulty && h.rng.IntN(4) > 0 {
			h.fault(host, false)
		}
	}
	if h.kind.hmac {
		h.run(h.now.Add(9 * time.Second)) // a restart after the clock was set back is heard when the clock is there again
	}
	h.quietly(4 * h.unit)
	return h.verdict(func(c Config) bool { return !c.NoPreempt && c.PreemptDelay == 0 })
}

// quietly runs for d and then until no advert is under way, so that no two masters are just about to meet.
func (h *history) quietly(d time.Duration) {
	h.run(h.now.Add(d + slack))
	for last := h.now.Add(h.unit); len(h.flights) > 0 && h.broken == ""; {
		h.run(h.flights[0].at)
		if h.now.After(last) {
			h.breaks("adverts do not end")
		}
	}
}

// verdict looks at each part: one master if anyone is well, nobody else with the addresses, and nobody who should have
// preempted it.
func (h *history) verdict(preempts func(Config) bool) string {
	for part := range 2 {
		var masters, well []*host
		for _, host := range h.hosts {
			if host.part != part || host.router == nil {
				continue
			}
			if host.healthy() {
				well = append(well, host)
			}
			if host.is(Master) {
				masters = append(masters, host)
			}
			if host.holds != host.is(Master) {
				return fmt.Sprintf("%s is %s and has the addresses: %t", host.name, host.router.state, host.holds)
			}
		}
		switch {
		case len(masters) > 1:
			return fmt.Sprintf("%s and %s are both master", masters[0].name, masters[1].name)
		case len(masters) == 0 && len(well) > 0:
			return fmt.Sprintf("nobody is master although %s is well", well[0].name)
		}
		for _, host := range well {
			if preempts(host.cfg) && host.cfg.Priority > masters[0].cfg.Priority {
				return fmt.Sprintf("%s (%d) is master before %s (%d)", masters[0].name, masters[0].cfg.Priority, host.name, host.cfg.Priority)
			}
		}
	}
	return ""
}

// delays lets every preempt_delay pass; then nothing moves any more.
func (h *history) delays() string {
	h.quietly(5*time.Second + 8*h.unit)
	if why := h.verdict(func(c Config) bool { return !c.NoPreempt }); why != "" {
		return why
	}
	before := h.changes()
	h.quietly(5 * h.unit)
	if h.changes() != before {
		return "the state of a calm segment changed"
	}
	return ""
}

func (h *history) changes() int {
	sum := 0
	for _, host := range h.hosts {
		sum += host.changes
	}
	return sum
}

// loseMaster takes the master of a calm part away. The strongest of the rest takes over in its time; the skew and its
// advert keep the others from doing so too.
func (h *history) loseMaster() string {
	master, rest := h.partWithRest()
	if master == nil {
		return ""
	}
	h.run(h.now.Add(time.Duration(h.rng.Int64N(int64(h.unit)))))
	best, unique := strongest(rest)
	limit, what := h.now.Add(best.router.skew()), "stop"
	if h.rng.IntN(2) == 0 {
		limit, what = master.lastAdvert.Add(best.router.downTime()), "kill"
	}
	h.note("* %s of %s", what, master.name)
	for _, host := range h.hosts {
		host.becameMaster = nil
	}
	if what == "stop" {
		h.stop(master)
	} else {
		h.kill(master)
	}
	h.quietly(4 * h.unit)
	if len(best.becameMaster) == 0 && unique {
		return fmt.Sprintf("after the %s of %s, %s did not take over", what, master.name, best.name)
	}
	for _, host := range rest {
		for _, at := range host.becameMaster {
			switch {
			case h.kind.mixed && tied(rest, host) > 1:
				// RFC 9568 §6.4.2: "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is greater than or equal
				// to the local Priority, then: … Set Active_Adver_Interval to Max Advertise Interval contained in the
				// ADVERTISEMENT." Two equal ones take over together; of both their adverts a third goes by the one that it
				// heard last. If that is of the one that yields, and its interval is the shorter, the third does not wait
				// for the other's next advert: one more conflict, which the verdict sees end.
			case at.After(limit.Add(2*fast + slowest)):
				return fmt.Sprintf("%s took over %s late", host.name, at.Sub(limit))
			case host != best && unique:
				return fmt.Sprintf("after the %s of %s, not only %s but also %s took over", what, master.name, best.name, host.name)
			}
		}
	}
	return h.verdict(func(c Config) bool { return !c.NoPreempt })
}

// partWithRest is a master and those who would follow it.
func (h *history) partWithRest() (*host, []*host) {
	for _, master := range h.hosts {
		if !master.is(Master) {
			continue
		}
		var rest []*host
		for _, host := range h.hosts {
			if host != master && host.part == master.part && host.healthy() {
				rest = append(rest, host)
			}
		}
		if len(rest) > 0 {
			return master, rest
		}
	}
	return nil, nil
}

// tied is how many others than host have the highest priority of all.
func tied(all []*host, host *host) (n int) {
	best, _ := strongest(all)
	for _, other := range all {
		if other != host && other.cfg.Priority == best.cfg.Priority {
			n++
		}
	}
	return n
}

// strongest is the host with the highest priority, and whether no other has the same.
func strongest(hosts []*host) (*host, bool) {
	best, unique := hosts[0], true
	for _, host := range hosts[1:] {
		switch {
		case host.cfg.Priority > best.cfg.Priority:
			best, unique = host, true
		case host.cfg.Priority == best.cfg.Priority:
			unique = false
		}
	}
	return best, unique
}

// transcript plays the seed again with everything written down.
func transcript(seed uint64, law rules) string {
	h := newHistory(seed, law)
	h.trace = &strings.Builder{}
	h.note("%+v", h.kind)
	for _, host := range h.hosts {
		h.note("%s: %s priority %d nopreempt %t preempt_delay %s", host.name, host.cfg.Source, host.cfg.Priority, host.cfg.NoPreempt, host.cfg.PreemptDelay)
	}
	h.note("result: %q", h.play())
	return h.trace.String()
}

func count(t *testing.T) uint64 {
	t.Helper()
	n := *histories
	if testing.Short() || raceEnabled {
		n /= 10
	}
	return uint64(n)
}

func TestElectionsSettleAfterEveryStorm(t *testing.T) {
	if *oneSeed != 0 {
		t.Log("\n" + transcript(*oneSeed, standard))
		return
	}
	masters := 0
	for seed := uint64(1); seed <= count(t); seed++ {
		h := newHistory(seed, standard)
		if why := h.play(); why != "" {
			t.Fatalf("seed %d: %s\n%s", seed, why, transcript(seed, standard))
		}
		masters += h.changes()
	}
	if masters == 0 {
		t.Fatal("nothing ever happened")
	}
}

// A simulation that does not notice a missing rule proves nothing: each of these must fail within a few hundred seeds,
// by how things end alone, or where that shows nothing (a segment settles either way) by a single step.
func TestTheSimulationNoticesEachMissingRule(t *testing.T) {
	for _, c := range []struct {
		name    string
		delete  func(*rules)
		bySteps bool
	}{
		{"no skew", func(r *rules) { r.skew = func(uint8, uint8, time.Duration) time.Duration { return 0 } }, false},
		{"skew the wrong way round", func(r *rules) {
			r.skew = func(_, p uint8, _ time.Duration) time.Duration { return time.Duration(p) * time.Second / 256 }
		}, false},
		{"no tie-break by address", func(r *rules) { r.yields = func(ours, theirs claim) bool { return theirs.priority > ours.priority } }, false},
		{"the lower address wins a tie", func(r *rules) {
			r.yields = func(ours, theirs claim) bool {
				return theirs.priority > ours.priority || theirs.priority == ours.priority && theirs.addr.Less(ours.addr)
			}
		}, true},
		{"both yield at a tie", func(r *rules) { r.yields = func(ours, theirs claim) bool { return theirs.priority >= ours.priority } }, false},
		{"a master never yields", func(r *rules) { r.yields = func(claim, claim) bool { return false } }, false},
		{"a master yields to anyone", func(r *rules) { r.yields = func(claim, claim) bool { return true } }, false},
		{"a backup compares no priority", func(r *rules) { r.weaker = func(uint8, uint8) bool { return false } }, false},
		{"a backup ignores its equals too", func(r *rules) { r.weaker = func(theirs, ours uint8) bool { return theirs <= ours } }, false},
		{"a backup keeps its own interval", func(r *rules) { r.learns = false }, false},
		{"priority 0 is ignored", func(r *rules) { r.leaving = false }, false},
		{"no advert and no announcement after a conflict", func(r *rules) { r.answers = false }, true},
		{"adopted addresses are kept beside another master", func(r *rules) { r.vacates = false }, false},
		{"the first advert waits for slow addresses", func(r *rules) { r.hurries = false }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			law := standard
			c.delete(&law)
			for seed := uint64(1); seed <= 1000; seed++ {
				h := newHistory(seed, law)
				h.blind = h.blind || !c.bySteps
				if why := h.play(); why != "" {
					t.Logf("seed %d: %s", seed, why)
					return
				}
			}
			t.Error("the simulation did not notice")
		})
	}
}
