package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ContinuityConfig says how the scene of open connections is played.
type ContinuityConfig struct {
	Rounds              int           // If zero, one.
	Sessions, Downloads int           // that stay open
	PerSecond           int           // new short ones
	Program             string        // that takes a director's place in the step upgrade, and is replaced in roll_back. If empty, there are none of these.
	Takeover            time.Duration // bounds the silence when a director dies; see TakeoverBound. If zero, 4.11 s: that of the site's file.
	Say                 func(line string)
}

// patience is how long a client waits for an answer. TCP sends again after pauses each of which is twice as long as the one before, so
// that a silence of the site becomes one of up to twice as long for a connection; a second is for everything else.
func (c ContinuityConfig) patience() time.Duration { return 2*c.Takeover + time.Second }

// typing is how often a session asks.
const typing = time.Second

// act is one step of the scene: what is done to a director, and which one is master then.
type act struct {
	name, what, host string
	program          string      // of upgrade: what takes the director's place; if empty, the same once more
	then             string      // if empty, nobody need be master
	byHand           bool        // a person did it
	did              func(error) // is told what came of the deed itself. If nil, nobody is.
}

// What can be done to a director.
const (
	doNothing = "" // time passes
	doStop    = "stop"
	doKill    = "kill"
	doCut     = "cut" // pull its cable
	doPlug    = "plug"
	doStart   = "start"
	doUpgrade = "restart" // as an upgrade is: the process goes, its packet path stays
)

// continuity plays the scene in one lab. director1 is the stronger one.
type continuity struct {
	lab  *Lab
	cfg  ContinuityConfig
	proc *Process
	live bool // steps follow each other without a gap: between two acts there is one in which nothing is done

	mu     sync.Mutex // of what follows
	report ContinuityReport
	now    *ContinuityStep // that is being played
	cut    map[string]bool // directors whose cable is pulled
	crowd  tally
	heard  []CrowdReport
	broken error // why there are no more reports
}

func (l *Lab) newContinuity(cfg ContinuityConfig) *continuity {
	if cfg.Takeover == 0 {
		cfg.Takeover = 4110 * time.Millisecond
	}
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	return &continuity{lab: l, cfg: cfg, cut: map[string]bool{}, report: ContinuityReport{Started: time.Now(), PatienceMS: millis(cfg.patience())}}
}

// PlayContinuity builds the lab, keeps connections open through all that is done to its directors, and returns what became of them. As with
// Play, the lab is left standing and an error means that there is no verdict.
func (l *Lab) PlayContinuity(ctx context.Context, cfg ContinuityConfig) (ContinuityReport, error) {
	cfg.Rounds = max(cfg.Rounds, 1)
	c := l.newContinuity(cfg)
	err := c.play(ctx)
	c.judge()
	c.report.Seconds = time.Since(c.report.Started).Seconds()
	return c.report, err
}

func (c *continuity) play(ctx context.Context) error {
	if err := c.stand(ctx); err != nil {
		return err
	}
	if err := c.perform(ctx, 0, act{name: "steady"}); err != nil {
		return err
	}
	for round := 1; round <= c.cfg.Rounds; round++ {
		for _, a := range c.script() {
			if err := c.perform(ctx, round, a); err != nil {
				return err
			}
		}
	}
	if err := c.lastAnswers(ctx); err != nil {
		return err
	}
	return c.leave()
}

// stand builds the lab and lets the clients in.
func (c *continuity) stand(ctx context.Context) error {
	c.cfg.Say("building the network")
	if err := c.lab.Up(); err != nil {
		return err
	}
	c.cfg.Say("waiting for a master and for directors that have all of each other")
	if err := c.lab.Ready(ctx); err != nil {
		return err
	}
	if err := c.becomes(ctx, c.strong()); err != nil {
		return err
	}
	return c.clients()
}

// lastAnswers waits until what has no answer yet will have none.
func (c *continuity) lastAnswers(ctx context.Context) error {
	c.cfg.Say("waiting for the last answers")
	return sleep(ctx, c.cfg.patience()+2*reportEvery)
}

// leave ends the clients.
func (c *continuity) leave() error {
	if err := c.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.proc.ended(grace)
}

func (c *continuity) strong() string { return c.lab.Directors[0] }
func (c *continuity) weak() string   { return c.lab.Directors[1] }

func (c *continuity) script() []act {
	all := []act{
		{name: "stop", what: doStop, then: c.weak()},
		{name: "back_from_stop", what: doStart, then: c.strong()},
		{name: "kill", what: doKill, then: c.weak()},
		{name: "back_from_kill", what: doStart, then: c.strong()},
		{name: "cut", what: doCut, then: c.weak()},
		{name: "back_from_cut", what: doPlug, then: c.strong()},
		{name: "restart", what: doUpgrade, then: c.strong()},
	}
	if c.cfg.Program != "" {
		all = append(all, act{name: "upgrade", what: doUpgrade, program: c.cfg.Program, then: c.strong()},
			act{name: "roll_back", what: doUpgrade, program: c.lab.Program, then: c.strong()})
	}
	for i := range all {
		all[i].host = c.strong()
	}
	return all
}

// clients starts the crowd in its host.
func (c *continuity) clients() (err error) {
	c.proc, err = c.lab.start("client", RoleLoad, true, "lab", "crowd", "--to", c.lab.VIP.String(), "--from", joinAddrs(c.lab.Clients),
		"--sessions", strconv.Itoa(c.cfg.Sessions), "--downloads", strconv.Itoa(c.cfg.Downloads), "--per-second", strconv.Itoa(c.cfg.PerSecond),
		"--every", typing.String(), "--patience", c.cfg.patience().String())
	if err != nil {
		return err
	}
	c.lab.procs["client"] = c.proc
	go c.read()
	return nil
}

func (c *continuity) read() {
	bad := c.take()
	c.proc.wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = fmt.Errorf("the clients ended early (%v, %v)", c.proc.err, bad)
}

// take takes reports until there are no more.
func (c *continuity) take() (bad error) {
	lines := bufio.NewScanner(c.proc.out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		r := newCrowdReport()
		if bad = json.Unmarshal(lines.Bytes(), &r); bad != nil {
			break
		}
		c.mu.Lock()
		c.heard = append(c.heard, r)
		c.crowd.add(r)
		c.mu.Unlock()
	}
	return bad
}

// perform plays one act, and goes on when both directors have all of each other again.
func (c *continuity) perform(ctx context.Context, round int, a act) error {
	c.locked(func() { c.turn(&ContinuityStep{Round: round, Name: a.name, Host: a.host, ByHand: a.byHand}) })
	err := c.change(ctx, a)
	if err == nil {
		err = c.caughtUp(ctx)
	}
	if err == nil {
		err = sleep(ctx, 2*time.Second)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var step ContinuityStep
	c.locked(func() {
		if err != nil {
			c.now.Why = append(c.now.Why, err.Error())
		}
		if err != nil && !a.byHand {
			c.report.Why = append(c.report.Why, "the scene could not go on")
		}
		step = c.turn(nil)
		if err == nil {
			err = c.broken
		}
	})
	step.fill(c.said(), nil)
	when, name := fmt.Sprintf("round %d", round), a.name
	if a.byHand {
		when, name = "by hand", a.name+" "+a.host
	}
	c.cfg.Say(fmt.Sprintf("%s, %-14s %5.1f s, %s", when, name, step.To.Sub(step.From).Seconds(), step.words()))
	return err
}

func (c *continuity) locked(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// turn ends the step that is being played, returns it, and begins the next one. The caller holds the lock.
func (c *continuity) turn(next *ContinuityStep) (over ContinuityStep) {
	at := time.Now()
	if c.now != nil {
		c.now.To = at
		over = *c.now
		c.report.Steps = append(c.report.Steps, over)
	}
	if next == nil && c.live {
		next = &ContinuityStep{Name: "steady", idle: true}
	}
	if c.now = next; next != nil {
		next.From = at
	}
	return over
}

// said is what the clients have said so far.
func (c *continuity) said() (heard []CrowdReport) {
	c.locked(func() { heard = c.heard[:len(c.heard):len(c.heard)] })
	return heard
}

// change does what an act is, and waits until who shall be master is.
func (c *continuity) change(ctx context.Context, a act) error {
	if a.what == doNothing {
		return sleep(ctx, 3*time.Second)
	}
	at := time.Now()
	all := c.lab.Look(ctx)
	before := "" // nobody, or several
	if s, err := active(all); err == nil {
		before = s.Host
	}
	if (a.what == doKill || a.what == doCut) && (a.host == before || !a.byHand) {
		c.locked(func() { c.dies(a.host, at, all) })
	}
	at = time.Now()
	deed := func() error {
		err := c.do(ctx, a)
		if a.did != nil {
			a.did(err)
		}
		return err
	}
	if a.what != doStop {
		if err := deed(); err != nil {
			return err
		}
		return c.follows(ctx, a.then, before, at)
	}
	ended := make(chan error, 1) // it goes on until the other one is master, and a while longer
	go func() { ended <- deed() }()
	err := c.follows(ctx, a.then, before, at)
	return errors.Join(<-ended, err)
}

// do does to a director what an act is about.
func (c *continuity) do(ctx context.Context, a act) error {
	switch a.what {
	case doStop:
		return c.lab.Signal(a.host, syscall.SIGTERM, patience)
	case doKill:
		return c.lab.Signal(a.host, syscall.SIGKILL, grace)
	case doStart:
		return c.lab.Start(a.host)
	case doCut, doPlug:
		c.locked(func() { c.cut[a.host] = a.what == doCut })
		return c.lab.built.setCarrier(a.host, a.what == doPlug)
	case doUpgrade:
		return c.upgrade(ctx, a.host, a.program)
	}
	return fmt.Errorf("nobody can %s %s", a.what, a.host)
}

// dies notes how much of its table the active director had not told at that time, or a moment later, as it says. Until somebody is known
// to be master again, that is expected within the bound. The caller holds the lock.
func (c *continuity) dies(host string, at time.Time, all []Sight) {
	s := c.now
	s.young, s.died, s.gone = true, at, at.Add(c.cfg.Takeover)
	for _, seen := range all {
		if seen.Host == host && seen.Status.Sync != nil {
			for _, p := range seen.Status.Sync.Peers {
				s.lag = max(s.lag, time.Duration(p.LagNanos))
			}
		}
	}
	s.LagMS = millis(s.lag)
}

// follows waits until the director that shall be master is, and notes how long that took.
func (c *continuity) follows(ctx context.Context, then, before string, at time.Time) error {
	if then == "" {
		return nil
	}
	err := c.becomes(ctx, then)
	if now := time.Now(); then != before && ctx.Err() == nil {
		c.locked(func() {
			c.now.gone = now
			if err == nil {
				c.now.TakeoverMS = millis(now.Sub(at))
			}
		})
	}
	return err
}

// upgrade puts a program in the place of a director's; if empty, the same once more.
func (c *continuity) upgrade(ctx context.Context, host, program string) error {
	args := []string{"upgrade", "--instance", c.lab.InstanceOf(host)}
	if program != "" {
		args = append(args, program)
	}
	out, err := exec.CommandContext(ctx, c.lab.Program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vipd %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// becomes waits until a director is the one master.
func (c *continuity) becomes(ctx context.Context, host string) error {
	return c.lab.until(ctx, func(all []Sight) error {
		if proc := c.lab.procs[host]; !proc.alive() {
			return final{c.lab.dead(host)}
		}
		for _, s := range all {
			if s.Host == host && s.Master() && s.VIP {
				return nil
			}
		}
		return fmt.Errorf("%s is not master", host)
	})
}

// caughtUp waits until the directors that run have all of each other. One that is cut off, or does not run, has nothing.
func (c *continuity) caughtUp(ctx context.Context) error {
	return c.lab.until(ctx, func(all []Sight) error {
		if slices.ContainsFunc(all, func(s Sight) bool { return !s.Up || s.State() == "FAULT" }) {
			return nil
		}
		for _, s := range all {
			if s.Status.Sync == nil || len(s.Status.Sync.Peers) == 0 {
				return fmt.Errorf("%s has no connection_sync", s.Host)
			}
			for _, p := range s.Status.Sync.Peers {
				if !p.Alive || !p.CaughtUp {
					return fmt.Errorf("%s has not caught up with %s", s.Host, p.Address)
				}
			}
		}
		return nil
	})
}
