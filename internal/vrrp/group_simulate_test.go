package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// groupHistory is one seed's life of hosts that have a sync group of two or three instances, each on a segment of its own.
// Segments are cut and instances fail one by one; a host's group must be whole after every single step.
type groupHistory struct {
	rng     *rand.Rand
	law     rules
	now     time.Time
	hosts   []*groupHost
	flights []groupFlight
	cut     map[string]bool // "a eth0": the host is off the segment
	broken  string
}

type groupHost struct {
	name    string
	speaker *Speaker // nil: no process
	cfgs    []Config
	failing map[string]bool
	changes int // of the group
}

type groupFlight struct {
	at     time.Time
	from   *groupHost
	ifname string
	packet []byte
}

func newGroupHistory(seed uint64, law rules) *groupHistory {
	h := &groupHistory{law: law, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, cut: map[string]bool{}}
	instances := 2 + h.rng.IntN(2)
	for i := range 2 + h.rng.IntN(2) {
		host := &groupHost{name: string(rune('a' + i)), failing: map[string]bool{}}
		priority, nopreempt := uint8(1+h.rng.IntN(254)), h.rng.IntN(4) == 0
		for n := range instances {
			cfg := named(fmt.Sprintf("VI_%d", n), fmt.Sprintf("eth%d", n), uint8(51+n))
			cfg.Priority, cfg.NoPreempt, cfg.Source = priority, nopreempt, netip.AddrFrom4([4]byte{10, 0, byte(n), byte(10 + i)})
			host.cfgs = append(host.cfgs, cfg)
		}
		h.hosts = append(h.hosts, host)
	}
	return h
}

func (h *groupHistory) start(host *groupHost) {
	host.speaker = NewSpeaker()
	g := GroupConfig{Name: "G"}
	for _, cfg := range host.cfgs {
		r, err := host.speaker.Add(cfg)
		if err != nil {
			panic(err)
		}
		r.rules = h.law
		g.Instances = append(g.Instances, cfg.Name)
		if host.failing[cfg.Name] {
			r.Fault(h.now, "disk full", true)
		}
	}
	host.speaker.SetGroups(h.now, []GroupConfig{g})
	host.speaker.Start(h.now, noVIPs)
	h.drain(host)
}

// drain puts adverts on their way and looks at the group.
func (h *groupHistory) drain(host *groupHost) {
	for _, e := range takenOf(host.speaker) {
		if _, ok := e.(GroupChange); ok {
			host.changes++
		}
		if s, ok := e.(Send); ok {
			ifname := host.speaker.Router(s.Instance).cfg.Interface
			if !h.cut[host.name+" "+ifname] {
				h.flights = append(h.flights, groupFlight{h.now.Add(fast), host, ifname, s.Packet})
			}
		}
	}
	states := map[State]int{}
	for _, r := range host.speaker.routers {
		states[r.state]++
		if r.holding != (r.state == Master) {
			h.breaks("%s: %s is %s and holds its addresses: %t", host.name, r.cfg.Name, r.state, r.holding)
		}
	}
	if g := host.speaker.groups[0]; len(states) != 1 || states[g.state] == 0 {
		h.breaks("%s: the group is %s and its members %v", host.name, g.state, states)
	}
}

func (h *groupHistory) breaks(format string, args ...any) {
	if h.broken == "" {
		h.broken = fmt.Sprintf("%.3f s: ", h.now.Sub(epoch).Seconds()) + fmt.Sprintf(format, args...)
	}
}

func (h *groupHistory) run(end time.Time) {
	for h.broken == "" {
		var who *groupHost
		next := end
		for _, host := range h.hosts {
			if host.speaker == nil {
				continue
			}
			if at := host.speaker.Next(); !at.IsZero() && !at.After(next) {
				who, next = host, at
			}
		}
		if len(h.flights) > 0 && !h.flights[0].at.After(next) {
			f := h.flights[0]
			h.flights, h.now = h.flights[1:], f.at
			h.deliver(f)
			continue
		}
		if who == nil {
			break
		}
		h.now = next
		who.speaker.Tick(h.now)
		h.drain(who)
	}
	h.now = end
}

func (h *groupHistory) deliver(f groupFlight) {
	for _, to := range h.hosts {
		if to != f.from && to.speaker != nil && !h.cut[to.name+" "+f.ifname] {
			to.speaker.Receive(h.now, f.ifname, f.packet)
			h.drain(to)
		}
	}
}

func (h *groupHistory) strike() {
	host := h.hosts[h.rng.IntN(len(h.hosts))]
	cfg := host.cfgs[h.rng.IntN(len(host.cfgs))]
	switch what := h.rng.IntN(8); {
	case what < 3:
		h.cut[host.name+" "+cfg.Interface] = !h.cut[host.name+" "+cfg.Interface]
	case what < 6:
		host.failing[cfg.Name] = !host.failing[cfg.Name]
		if host.speaker != nil {
			host.speaker.Router(cfg.Name).Fault(h.now, "disk full", host.failing[cfg.Name])
			h.drain(host)
		}
	case host.speaker == nil:
		h.start(host)
	case what == 6:
		host.speaker = nil // killed
	default:
		host.speaker.Stop(h.now)
		h.drain(host)
		host.speaker = nil
	}
}

func (h *groupHistory) play() string {
	for _, host := range h.hosts {
		h.start(host)
	}
	for range 30 {
		h.run(h.now.Add(time.Duration(h.rng.Int64N(int64(4 * time.Second)))))
		h.strike()
	}
	clear(h.cut)
	for _, host := range h.hosts {
		for _, cfg := range host.cfgs {
			if host.failing[cfg.Name] && h.rng.IntN(4) > 0 {
				host.failing[cfg.Name] = false
				if host.speaker != nil {
					host.speaker.Router(cfg.Name).Fault(h.now, "disk full", false)
					h.drain(host)
				}
			}
		}
		if host.speaker == nil && h.rng.IntN(3) > 0 {
			h.start(host)
		}
	}
	// A first down time ends what was begun in the storm, a second one lets all members of a group want the same.
	h.run(h.now.Add(2 * (3*time.Second + time.Second + slack)))
	if why := h.verdict(); why != "" {
		return why
	}
	return h.oneSegmentAtATime()
}

// oneSegmentAtATime cuts a backup off one segment after the other. It goes on hearing the master on the others, so
// nothing may change anywhere.
func (h *groupHistory) oneSegmentAtATime() string {
	for _, host := range h.hosts {
		if host.speaker == nil || host.speaker.groups[0].state != Backup {
			continue
		}
		before := h.changes()
		for _, cfg := range host.cfgs {
			h.cut[host.name+" "+cfg.Interface] = true
			h.run(h.now.Add(5 * time.Second))
			delete(h.cut, host.name+" "+cfg.Interface)
			h.run(h.now.Add(2 * time.Second))
		}
		if h.changes() != before {
			h.breaks("%s missed one segment at a time, and a group changed", host.name)
		}
	}
	return h.broken
}

func (h *groupHistory) changes() (sum int) {
	for _, host := range h.hosts {
		sum += host.changes
	}
	return sum
}

// verdict: every segment has one master if any host is well, and it is the same host on all of them.
func (h *groupHistory) verdict() string {
	masters, well := 0, 0
	for _, host := range h.hosts {
		if host.speaker == nil {
			continue
		}
		switch host.speaker.groups[0].state {
		case Master:
			masters, well = masters+1, well+1
		case Backup:
			well++
		}
	}
	if h.broken == "" && (masters > 1 || masters == 0 && well > 0) {
		h.breaks("%d masters, %d hosts are well", masters, well)
	}
	return h.broken
}

func groupsBreak(law rules) string {
	n := *histories
	if testing.Short() || raceEnabled {
		n /= 10
	}
	for seed := range uint64(n) {
		if why := newGroupHistory(seed, law).play(); why != "" {
			return fmt.Sprintf("seed %d: %s", seed, why)
		}
	}
	return ""
}

func TestSyncGroupsStayWhole(t *testing.T) {
	if why := groupsBreak(standard); why != "" {
		t.Fatal(why)
	}
}

// A guard that can go without anybody noticing is none, or the simulation is too kind.
func TestEveryGuardOfSyncGroupsIsMissed(t *testing.T) {
	for name, remove := range map[string]func(*rules){
		"all want it":     func(law *rules) { law.together = false },
		"follow":          func(law *rules) { law.follows = false },
		"share faults":    func(law *rules) { law.shares = false },
		"wants no longer": func(law *rules) { law.heeds = false },
	} {
		law := standard
		remove(&law)
		if groupsBreak(law) == "" {
			t.Errorf("nothing happens without %q", name)
		}
	}
}
