package lab

import (
	"bufio"
	"context"
	"encoding/json"
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

// act is one step of the scene.
type act struct {
	name  string
	play  func(context.Context) error
	young bool // a director ends at once: what it has not told yet may break
}

// continuity plays the scene in one lab. director1 is the stronger one.
type continuity struct {
	lab    *Lab
	cfg    ContinuityConfig
	proc   *Process
	report ContinuityReport

	mu     sync.Mutex // of what follows
	heard  []CrowdReport
	broken error // why there are no more reports

	lag  time.Duration // that the director announced before it was killed
	died time.Time
	gone time.Time // when the other one was master
}

// PlayContinuity builds the lab, keeps connections open through all that is done to its directors, and returns what became of them. As with
// Play, the lab is left standing and an error means that there is no verdict.
func (l *Lab) PlayContinuity(ctx context.Context, cfg ContinuityConfig) (ContinuityReport, error) {
	cfg.Rounds = max(cfg.Rounds, 1)
	if cfg.Takeover == 0 {
		cfg.Takeover = 4110 * time.Millisecond
	}
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	c := &continuity{lab: l, cfg: cfg, report: ContinuityReport{Started: time.Now(), PatienceMS: millis(cfg.patience())}}
	err := c.play(ctx)
	c.judge()
	c.report.Seconds = time.Since(c.report.Started).Seconds()
	return c.report, err
}

func (c *continuity) play(ctx context.Context) error {
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
	if err := c.crowd(); err != nil {
		return err
	}
	if err := c.perform(ctx, 0, act{name: "steady", play: func(ctx context.Context) error { return sleep(ctx, 3*time.Second) }}); err != nil {
		return err
	}
	for round := 1; round <= c.cfg.Rounds; round++ {
		for _, a := range c.script() {
			if err := c.perform(ctx, round, a); err != nil {
				return err
			}
		}
	}
	c.cfg.Say("waiting for the last answers")
	if err := sleep(ctx, c.cfg.patience()+2*reportEvery); err != nil {
		return err
	}
	if err := c.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.proc.ended(grace)
}

func (c *continuity) strong() string { return c.lab.Directors[0] }
func (c *continuity) weak() string   { return c.lab.Directors[1] }

func (c *continuity) script() []act {
	all := []act{
		{name: "stop", play: c.stop},
		{name: "back_from_stop", play: c.back},
		{name: "kill", play: c.kill, young: true},
		{name: "back_from_kill", play: c.back},
		{name: "cut", play: c.cut, young: true},
		{name: "back_from_cut", play: c.plug},
		{name: "restart", play: func(ctx context.Context) error { return c.upgrade(ctx, "") }},
	}
	if c.cfg.Program != "" {
		all = append(all, act{name: "upgrade", play: func(ctx context.Context) error { return c.upgrade(ctx, c.cfg.Program) }},
			act{name: "roll_back", play: func(ctx context.Context) error { return c.upgrade(ctx, c.lab.Program) }})
	}
	return all
}

// crowd starts the client in its host.
func (c *continuity) crowd() (err error) {
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
		c.mu.Unlock()
	}
	return bad
}

// perform plays one act, and goes on when both directors have all of each other again.
func (c *continuity) perform(ctx context.Context, round int, a act) error {
	step := ContinuityStep{Round: round, Name: a.name, From: time.Now(), young: a.young}
	err := a.play(ctx)
	if err == nil {
		err = c.caughtUp(ctx)
	}
	if err == nil {
		err = sleep(ctx, 2*time.Second)
	}
	step.To = time.Now()
	if a.young {
		step.LagMS, step.lag, step.died, step.gone = millis(c.lag), c.lag, c.died, c.gone
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		step.Why = append(step.Why, err.Error())
		c.report.Why = append(c.report.Why, "the scene could not go on")
	}
	c.report.Steps = append(c.report.Steps, step)
	c.mu.Lock()
	lost := c.broken
	c.mu.Unlock()
	if err == nil {
		err = lost
	}
	c.fill(&step, nil)
	c.cfg.Say(fmt.Sprintf("round %d, %-14s %5.1f s, %s", round, a.name, step.To.Sub(step.From).Seconds(), step.words()))
	return err
}

// stop asks the active director to end.
func (c *continuity) stop(ctx context.Context) error {
	if err := c.lab.Signal(c.strong(), syscall.SIGTERM, patience); err != nil {
		return err
	}
	return c.becomes(ctx, c.weak())
}

func (c *continuity) kill(ctx context.Context) error {
	if err := c.dies(ctx); err != nil {
		return err
	}
	if err := c.lab.Signal(c.strong(), syscall.SIGKILL, grace); err != nil {
		return err
	}
	return c.succeeds(ctx)
}

// cut pulls the active director's cable.
func (c *continuity) cut(ctx context.Context) error {
	if err := c.dies(ctx); err != nil {
		return err
	}
	if err := c.lab.built.setCarrier(c.strong(), false); err != nil {
		return err
	}
	return c.succeeds(ctx)
}

// dies notes how much of its table the active director has not told, as it says.
func (c *continuity) dies(ctx context.Context) error {
	c.lag, c.died = 0, time.Now() // the lag is of now, or of a moment later
	for _, s := range c.lab.Look(ctx) {
		if s.Host == c.strong() && s.Status.Sync != nil {
			for _, p := range s.Status.Sync.Peers {
				c.lag = max(c.lag, time.Duration(p.LagNanos))
			}
		}
	}
	return nil
}

func (c *continuity) succeeds(ctx context.Context) error {
	err := c.becomes(ctx, c.weak())
	c.gone = time.Now()
	return err
}

// back starts the stronger director again, which takes over when it has all.
func (c *continuity) back(ctx context.Context) error {
	if err := c.lab.StartDirector(c.strong()); err != nil {
		return err
	}
	return c.becomes(ctx, c.strong())
}

func (c *continuity) plug(ctx context.Context) error {
	if err := c.lab.built.setCarrier(c.strong(), true); err != nil {
		return err
	}
	return c.becomes(ctx, c.strong())
}

// upgrade puts a program in the place of the active director's; if empty, the same once more.
func (c *continuity) upgrade(ctx context.Context, program string) error {
	args := []string{"upgrade", "--instance", c.lab.InstanceOf(c.strong())}
	if program != "" {
		args = append(args, program)
	}
	out, err := exec.CommandContext(ctx, c.lab.Program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vipd %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return c.becomes(ctx, c.strong())
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
