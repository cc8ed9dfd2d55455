package vrrp

import (
	"fmt"
	"slices"
	"time"
)

// ScriptConfig is one vrrp_script as far as it is decided here; who runs it knows the command.
type ScriptConfig struct {
	Name     string
	Interval time.Duration // between starts
	Timeout  time.Duration // If zero, Interval.
	Rise     int           // successes in a row after which it counts as good. If zero, 1.
	Fall     int           // failures in a row after which it counts as failed. If zero, 1.
	InitFail bool          // it counts as failed until it has succeeded Rise times
}

// RunScript asks for one run of a script, which ends after Timeout. Its result goes to Scripts.Finish.
type RunScript struct {
	Script  string
	Timeout time.Duration
}

// KillScript asks that a run of a script that is no longer wanted ends. Its result is of no interest.
type KillScript struct{ Script string }

func (RunScript) effect()  {}
func (KillScript) effect() {}

// ScriptResult is how a run ended.
type ScriptResult struct {
	Status   int  // exit status
	Signal   int  // that ended it. 0: none.
	TimedOut bool // the signal was ours, because Timeout had passed
}

// Scripts run vrrp_script blocks: when they start, what their results amount to. It is a loop.Machine together with its
// Speaker, and not safe for concurrent use.
type Scripts struct {
	trackers *Trackers
	scripts  []*runs
	queue    *queue
}

// runs are those of one script, counted as keepalived counts them. score is 0 after a failure that counts, rise+fall-1 after a success that counts; it
// is good from rise on.
type runs struct {
	cfg     ScriptConfig
	score   int
	fresh   bool // no run has ended; the first one counts at once, either way
	status  int  // exit status of the last run
	running bool
	begun   time.Time // of the run
	next    time.Time
}

// NewScripts makes one whose verdicts go to t.
func NewScripts(t *Trackers) *Scripts {
	return &Scripts{trackers: t, queue: t.speaker.queue}
}

func (c *ScriptConfig) normal() {
	setDefault(&c.Interval, time.Second)
	setDefault(&c.Timeout, c.Interval)
	setDefault(&c.Rise, 1)
	setDefault(&c.Fall, 1)
}

// Set makes these the scripts. The state of one that stays, by its name, is kept as far as it goes with the new rise and
// fall; one that is new runs at once.
func (s *Scripts) Set(now time.Time, cfgs []ScriptConfig) {
	old := s.scripts
	s.scripts = nil
	for _, cfg := range cfgs {
		cfg.normal()
		n := &runs{cfg: cfg, fresh: true, score: cfg.Rise - 1, next: now}
		if cfg.InitFail {
			n.score, n.fresh = 0, false
		}
		if i := slices.IndexFunc(old, func(o *runs) bool { return o.cfg.Name == cfg.Name }); i >= 0 {
			n.inherit(old[i])
			if !n.fresh {
				s.say("VRRP_Script(%s) considered %s on reload", cfg.Name, map[bool]string{true: "successful", false: "unsuccessful"}[n.good()])
			}
		}
		s.scripts = append(s.scripts, n)
		if !n.fresh {
			s.tell(now, n)
		}
	}
	for _, o := range old {
		if o.running && s.find(o.cfg.Name) == nil {
			s.queue.effects = append(s.queue.effects, KillScript{o.cfg.Name})
		}
	}
}

// inherit takes over the state of the script of this name before a reload.
func (n *runs) inherit(o *runs) {
	n.running, n.begun, n.next, n.status, n.fresh = o.running, o.begun, o.next, o.status, o.fresh
	if next := o.next.Add(n.cfg.Interval - o.cfg.Interval); next.Before(n.next) {
		n.next = next
	}
	switch {
	case o.fresh:
	case o.score == 0:
		n.score = 0
	case o.score < o.cfg.Rise:
		n.score = max(n.cfg.Rise-(o.cfg.Rise-o.score), 0)
	case o.score == o.cfg.Rise+o.cfg.Fall-1:
		n.score = n.best()
	default:
		n.score = min(n.cfg.Rise+(o.score-o.cfg.Rise), n.best())
	}
}

func (n *runs) good() bool { return n.score >= n.cfg.Rise }
func (n *runs) best() int  { return n.cfg.Rise + n.cfg.Fall - 1 }

func (s *Scripts) find(name string) *runs {
	if i := slices.IndexFunc(s.scripts, func(n *runs) bool { return n.cfg.Name == name }); i >= 0 {
		return s.scripts[i]
	}
	return nil
}

func (s *Scripts) say(format string, args ...any) {
	s.queue.effects = append(s.queue.effects, Say{Text: fmt.Sprintf(format, args...)})
}

func (s *Scripts) tell(now time.Time, n *runs) {
	s.trackers.Observe(now, Thing{TrackScript, n.cfg.Name}, Up(n.good()))
}

// Next is when the next script starts. The zero time: there is none.
func (s *Scripts) Next() (next time.Time) {
	for _, n := range s.scripts {
		next = earlier(next, n.next)
	}
	return next
}

// Tick starts what is due. A script that is still running is left alone.
func (s *Scripts) Tick(now time.Time) {
	for _, n := range s.scripts {
		if !due(now, n.next) {
			continue
		}
		planned := n.next
		n.next = following(now, n.next, n.cfg.Interval)
		if n.running {
			what := "already running"
			if planned.Sub(n.begun) > n.cfg.Timeout {
				what = "being timed out"
			}
			s.say("Track script %s is %s, expect idle - skipping run", n.cfg.Name, what)
			continue
		}
		n.running, n.begun = true, now
		s.queue.effects = append(s.queue.effects, RunScript{n.cfg.Name, n.cfg.Timeout})
	}
}

// Finish takes the result of a run. One of a script that is not there any more is of no interest.
func (s *Scripts) Finish(now time.Time, name string, r ScriptResult) {
	n := s.find(name)
	if n == nil || !n.running {
		return
	}
	n.running = false
	if r.Signal == 0 {
		if r.Status != n.status {
			s.say("Script `%s` now returning %d", name, r.Status)
		}
		n.status = r.Status
	}
	if r.Signal == 0 && r.Status == 0 {
		s.succeeded(now, n)
	} else {
		s.failed(now, n, r)
	}
	n.fresh = false
}

func (s *Scripts) succeeded(now time.Time, n *runs) {
	if n.score < n.cfg.Rise-1 {
		n.score++
		return
	}
	was := n.good()
	n.score = n.best()
	if !was {
		s.say("VRRP_Script(%s) succeeded", n.cfg.Name)
		s.tell(now, n)
	}
}

func (s *Scripts) failed(now time.Time, n *runs, r ScriptResult) {
	if n.score > n.cfg.Rise {
		n.score--
		return
	}
	news := n.fresh || n.score == n.cfg.Rise
	n.score = 0
	if news {
		s.say("VRRP_Script(%s) %s", n.cfg.Name, r)
		s.tell(now, n)
	}
}

func (r ScriptResult) String() string {
	switch {
	case r.TimedOut:
		return "timed_out"
	case r.Signal != 0:
		return fmt.Sprintf("failed (due to signal %d)", r.Signal)
	}
	return fmt.Sprintf("failed (exited with status %d)", r.Status)
}

// Abandon forgets a run that has no result; the next one is due.
func (s *Scripts) Abandon(now time.Time, name string) {
	if n := s.find(name); n != nil {
		n.running, n.next = false, now
	}
}

// ScriptStatus is a copy of what is known about a script.
type ScriptStatus struct {
	Name    string
	Good    bool
	Known   bool
	Status  int // exit status of the last run
	Running bool
}

// Status tells how all scripts stand.
func (s *Scripts) Status() (all []ScriptStatus) {
	for _, n := range s.scripts {
		all = append(all, ScriptStatus{n.cfg.Name, n.good(), !n.fresh, n.status, n.running})
	}
	return all
}
