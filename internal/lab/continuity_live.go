package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// LiveContinuity is the scene of open connections that somebody watches: it is played when it is asked for, and between that a person
// does by hand what it consists of.
type LiveContinuity struct {
	*continuity
	ctx   context.Context // of all that is done
	group sync.WaitGroup  // what is being done, and waited for
	acts  sync.Mutex      // one at a time, and of cancel
	stop  func()          // gives up what is waited for

	played Playing          // as the lock of continuity protects it
	shown  ContinuityMoment // also
}

// Playing is how far the scene is.
type Playing struct {
	Round, Rounds int // that is being played, and how many there shall be. Round 0: none was
	Step, Steps   int // of the round
	On            bool
	Ending        bool // after the present step
	Last          bool // the last answers are waited for
}

// ContinuityMoment is the scene at one time.
type ContinuityMoment struct {
	At       time.Time
	Lab      Site
	Method   string
	Hosts    []HostStatus          // directors
	Told     map[string]ToldStatus // by director
	Script   []string              // the names of a round's steps
	Cut      map[string]bool       // directors whose cable is pulled
	Master   string                // the director that is master; empty: none, or several
	Crowd    CrowdMoment
	Playing  Playing
	Now      ContinuityStep   // as far as it is
	Report   ContinuityReport // of the steps before
	Patience time.Duration
}

// ToldStatus is how far a director has told its connections to the other one.
type ToldStatus struct {
	Alive       bool
	CaughtUp    bool          // it has what the other one has
	Connections int           // of its own
	Coverage    float64       // what the other one has of those, in percent
	Lag         time.Duration // what is older is with the other one; negative: it is not known
}

// LiveContinuity builds the lab and lets the clients in. The caller calls Run, and ends the lab with Down whatever comes back.
func (l *Lab) LiveContinuity(ctx context.Context, cfg ContinuityConfig) (*LiveContinuity, error) {
	v := &LiveContinuity{continuity: l.newContinuity(cfg), ctx: ctx, stop: func() {}}
	v.live = true
	if err := v.stand(ctx); err != nil {
		return nil, err
	}
	v.locked(func() { v.turn(nil) })
	return v, nil
}

// Run looks at the scene twice a second until its context ends, and returns what became of everything that was done.
func (v *LiveContinuity) Run() (ContinuityReport, error) {
	var err error
	for err == nil && v.ctx.Err() == nil {
		v.observe(time.Now())
		v.locked(func() { err = v.broken })
		if err == nil {
			_ = sleep(v.ctx, 500*time.Millisecond)
		}
	}
	v.calm()
	if err == nil {
		err = v.leave()
	}
	v.locked(func() { v.turn(nil) })
	v.judge()
	v.report.Seconds = time.Since(v.report.Started).Seconds()
	return v.report, err
}

// Moment is the scene as it was seen last.
func (v *LiveContinuity) Moment() ContinuityMoment {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown
}

func (v *LiveContinuity) observe(now time.Time) {
	all := v.lab.Look(v.ctx)
	m := ContinuityMoment{At: now, Lab: v.lab.Site, Method: v.lab.Method, Told: map[string]ToldStatus{}, Patience: v.cfg.patience()}
	for _, h := range v.lab.statusOf(all) {
		if h.Role == RoleDirector {
			m.Hosts = append(m.Hosts, h)
		}
	}
	for _, s := range all {
		if s.Master() {
			m.Master += s.Host
		}
		if s.Status.Sync != nil && len(s.Status.Sync.Peers) > 0 {
			p := s.Status.Sync.Peers[0]
			m.Told[s.Host] = ToldStatus{Alive: p.Alive, CaughtUp: p.CaughtUp, Connections: int(p.Total), Coverage: p.Coverage(), Lag: time.Duration(p.LagNanos)}
		}
	}
	v.locked(func() {
		v.settle(now)
		m.Cut, m.Crowd, m.Playing = maps.Clone(v.cut), v.crowd.moment(), v.played
		m.Report = v.report
		m.Report.Steps = slices.Clone(v.report.Steps)
		m.Now = *v.now
	})
	for _, a := range v.script() {
		m.Script = append(m.Script, a.name)
	}
	heard := v.said()
	m.Now.To = now
	m.Now.fill(heard, nil)
	m.Now.OK = m.Now.Broke() == m.Now.Young
	m.Report = v.judged(m.Report, &m.Now, heard)
	m.Report.Seconds = now.Sub(m.Report.Started).Seconds()
	v.locked(func() { v.shown = m })
}

// settle makes the figures of steps final whose last answers are in, and forgets what they were made of, so that a scene that is watched
// for a day needs no more room than one that is watched for a minute. The caller holds the lock.
func (v *LiveContinuity) settle(now time.Time) {
	if v.now.idle && now.Sub(v.now.From) > time.Minute {
		v.turn(nil)
	}
	steps := v.report.Steps
	late := now.Add(-v.cfg.patience() - time.Second)
	from := v.now.From
	for i := 0; i < len(steps); i++ {
		next := v.now
		if i+1 < len(steps) {
			next = &steps[i+1]
		}
		s := &steps[i]
		switch {
		case s.final:
		case s.To.Before(late):
			s.fill(v.heard, next)
			s.final = true
		default:
			from = s.first()
			v.forget(from)
			v.report.Steps = joined(steps)
			return
		}
	}
	v.forget(v.now.first())
	v.report.Steps = joined(steps)
}

// joined makes one of steps in a row in which nothing was done. It leaves those that it was given as they are: somebody may look at them.
func joined(steps []ContinuityStep) (out []ContinuityStep) {
	for _, s := range steps {
		last := len(out) - 1
		if last < 0 || !s.idle || !s.final || !out[last].idle || !out[last].final {
			out = append(out, s)
			continue
		}
		one := out[last]
		one.empty()
		one.add(out[last])
		one.Open = map[string]int{}
		one.add(s)
		one.Open, one.To = out[last].Open, s.To
		out[last] = one
	}
	return out
}

// forget drops what was said before a time, but for the last of it, which says what was open then.
func (v *LiveContinuity) forget(from time.Time) {
	i, _ := slices.BinarySearchFunc(v.heard, from, func(r CrowdReport, at time.Time) int { return r.At.Compare(at) })
	v.heard = v.heard[max(0, i-1):]
}

// Play begins to play the scene so many times.
func (v *LiveContinuity) Play(rounds int) error {
	v.acts.Lock()
	defer v.acts.Unlock()
	if err := v.free(); err != nil {
		return err
	}
	for _, host := range v.lab.Directors {
		if !v.works(host) {
			return fmt.Errorf("%s does not run, or has no cable: the scene begins with both directors", host)
		}
	}
	ctx := v.instead()
	v.locked(func() { v.played.On, v.played.Rounds = true, v.played.Round+rounds })
	v.group.Go(func() {
		err := v.rounds(ctx, rounds)
		v.locked(func() { v.played.On, v.played.Ending, v.played.Last = false, false, false })
		if err != nil && ctx.Err() == nil {
			v.cfg.Say(err.Error())
		}
	})
	return nil
}

func (v *LiveContinuity) rounds(ctx context.Context, rounds int) error {
	if err := v.becomes(ctx, v.strong()); err != nil {
		return err
	}
	script := v.script()
	for range rounds {
		round := 0
		v.locked(func() { v.played.Round++; round = v.played.Round })
		if round == 1 {
			if err := v.perform(ctx, 0, act{name: "steady"}); err != nil {
				return err
			}
		}
		for i, a := range script {
			ending := false
			v.locked(func() {
				v.played.Step, v.played.Steps = i+1, len(script)
				ending = v.played.Ending
			})
			if ending {
				return nil
			}
			if err := v.perform(ctx, round, a); err != nil {
				return err
			}
		}
	}
	v.locked(func() { v.played.Last = true })
	return v.lastAnswers(ctx)
}

// Enough ends the scene after the present step.
func (v *LiveContinuity) Enough() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.played.On {
		return errors.New("the scene is not being played")
	}
	v.played.Ending = true
	return nil
}

// Do does to a director what a button says: stop, kill or start it, pull its cable (cut) or plug it in, or restart it as an upgrade does.
// What is still waited for of what was done before is given up.
func (v *LiveContinuity) Do(host, what string) error {
	v.acts.Lock()
	defer v.acts.Unlock()
	if err := v.free(); err != nil {
		return err
	}
	if err := v.can(host, what); err != nil {
		return err
	}
	then := v.heir(host, what)
	ctx := v.instead()
	did := make(chan error, 1)
	v.group.Go(func() {
		_ = v.perform(ctx, 0, act{name: what, what: what, host: host, then: then, byHand: true, did: func(err error) { did <- err }})
	})
	return <-did
}

// free tells whether a person may do something.
func (v *LiveContinuity) free() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.played.On {
		return errors.New("the scene is being played: end it first")
	}
	return v.ctx.Err()
}

// instead gives up what is waited for, and returns a context for what comes now. The caller holds the lock of acts.
func (v *LiveContinuity) instead() context.Context {
	v.stop()
	v.group.Wait()
	ctx, cancel := context.WithCancel(v.ctx)
	v.stop = cancel
	return ctx
}

// calm ends what is being done.
func (v *LiveContinuity) calm() {
	v.acts.Lock()
	defer v.acts.Unlock()
	v.stop()
	v.group.Wait()
}

func (v *LiveContinuity) can(host, what string) error {
	if !slices.Contains(v.lab.Directors, host) {
		return fmt.Errorf("%s is no director", host)
	}
	_, runs := v.lab.running(host)
	cut := v.isCut(host)
	switch what {
	case doStop, doKill, doUpgrade:
		if !runs {
			return fmt.Errorf("vipd does not run on %s", host)
		}
	case doStart:
		if runs {
			return fmt.Errorf("vipd runs on %s", host)
		}
	case doCut, doPlug:
		if cut != (what == doPlug) {
			return fmt.Errorf("the cable of %s is so already", host)
		}
	default:
		return fmt.Errorf("nobody can %s %s", what, host)
	}
	return nil
}

// heir is who shall be master when something has been done to host: the strongest director that runs and has its cable.
func (v *LiveContinuity) heir(host, what string) string {
	for _, h := range v.lab.Directors {
		_, runs := v.lab.running(h)
		cut := v.isCut(h)
		if h == host {
			runs = runs && what != doStop && what != doKill || what == doStart
			cut = cut && what != doPlug || what == doCut
		}
		if runs && !cut {
			return h
		}
	}
	return ""
}

// works tells whether a director runs and has its cable.
func (v *LiveContinuity) works(host string) bool {
	_, runs := v.lab.running(host)
	return runs && !v.isCut(host)
}

func (v *LiveContinuity) isCut(host string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cut[host]
}
