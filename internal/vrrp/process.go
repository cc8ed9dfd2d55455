package vrrp

import (
	"fmt"
	"slices"
	"time"
)

// ProcessConfig is one vrrp_track_process as far as it is decided here; who counts the processes knows their names.
type ProcessConfig struct {
	Name                      string
	Quorum, QuorumMax         int           // as many must run, and not more. QuorumMax negative: without a bound.
	TerminateDelay, ForkDelay time.Duration // before a loss counts, and before a gain does
}

// Processes judge how many processes run. It is a loop.Machine together with its Speaker, and not safe for concurrent
// use.
type Processes struct {
	trackers  *Trackers
	processes []*process
	queue     *queue
}

type process struct {
	cfg   ProcessConfig
	known bool
	count int
	good  bool      // as far as told
	turn  time.Time // when count is looked at again. Zero: it agrees with good.
}

// NewProcesses makes one whose verdicts go to t.
func NewProcesses(t *Trackers) *Processes {
	return &Processes{trackers: t, queue: t.speaker.queue}
}

// Set makes these the processes; what is known of one that stays, by its name, is kept.
func (p *Processes) Set(cfgs []ProcessConfig) {
	old := p.processes
	p.processes = nil
	for _, cfg := range cfgs {
		n := &process{cfg: cfg}
		if i := slices.IndexFunc(old, func(o *process) bool { return o.cfg.Name == cfg.Name }); i >= 0 {
			n.known, n.count, n.good, n.turn = old[i].known, old[i].count, old[i].good, old[i].turn
		}
		p.processes = append(p.processes, n)
	}
}

func (n *process) quorum() bool {
	return n.count >= n.cfg.Quorum && (n.cfg.QuorumMax < 0 || n.count <= n.cfg.QuorumMax)
}

// Count takes how many processes there are now. The first count has no delay and says nothing. keepalived: the same.
func (p *Processes) Count(now time.Time, name string, count int) {
	i := slices.IndexFunc(p.processes, func(n *process) bool { return n.cfg.Name == name })
	if i < 0 {
		return
	}
	n := p.processes[i]
	more := count > n.count
	n.count = count
	switch delay := n.delay(more); {
	case !n.known:
		n.known, n.good = true, n.quorum()
		p.tell(now, n)
	case n.quorum() == n.good:
		n.turn = time.Time{}
	case !n.turn.IsZero(): // its delay runs
	case delay > 0:
		n.turn = now.Add(delay)
	default:
		p.change(now, n)
	}
}

// delay is that of a process that is new, or gone.
func (n *process) delay(more bool) time.Duration {
	if more {
		return n.cfg.ForkDelay
	}
	return n.cfg.TerminateDelay
}

func (p *Processes) change(now time.Time, n *process) {
	n.turn = time.Time{}
	if n.good == n.quorum() {
		return
	}
	n.good = n.quorum()
	p.queue.effects = append(p.queue.effects,
		Say{Text: fmt.Sprintf("Quorum %s for tracked process %s", map[bool]string{true: "gained", false: "lost"}[n.good], n.cfg.Name)})
	p.tell(now, n)
}

func (p *Processes) tell(now time.Time, n *process) {
	p.trackers.Observe(now, Thing{TrackProcess, n.cfg.Name}, Up(n.good))
}

// Next is the earliest deadline. The zero time: none.
func (p *Processes) Next() (next time.Time) {
	for _, n := range p.processes {
		next = earlier(next, n.turn)
	}
	return next
}

// Tick does all that is due at now.
func (p *Processes) Tick(now time.Time) {
	for _, n := range p.processes {
		if due(now, n.turn) {
			p.change(now, n)
		}
	}
}
