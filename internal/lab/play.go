package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// PlayConfig says how the scene is played.
type PlayConfig struct {
	// Takeover bounds the silence when the active director dies; see TakeoverBound. If zero, 4.11 s: that of the site's file.
	Takeover time.Duration
	// PowerOff pulls the cable of the director that is killed, so that its packet path dies as well.
	PowerOff bool
	// Lasts is how long a step is measured. If zero, 8 s.
	Lasts time.Duration
	Say   func(line string) // what happens, a line each. If nil, nobody is told.
	Show  func(View)        // the whole scene, five times a second. If nil, nobody watches.
}

// View is the scene at one moment.
type View struct {
	Elapsed   time.Duration
	Steps     []StepView
	Doing     string // the current step, in words
	Directors []Sight
	PerSecond int // requests of the last second
	Requests  int // of the whole play
	Failed    int
	ByReal    map[string]int // answers of the last second
}

// StepView is a step as far as it has come.
type StepView struct {
	Name     string
	Progress float64     // 0 not begun, 1 over
	Report   *StepReport // of a step that is over
}

// step is one act of the scene.
type step struct {
	name, title string
	before      func(context.Context) error // what must come true before anything counts. If nil, nothing.
	during      func(context.Context) error // what happens while it counts. If nil, nothing.
	check       func(Figures) []string      // what the step promises
	bound       time.Duration               // of the longest gap, for the report
	expect      time.Duration               // how long before and during may take, for the progress bar
}

// player plays one scene in one lab.
type player struct {
	lab     *Lab
	cfg     PlayConfig
	steps   []step
	traffic *traffic
	last    time.Time // end of the last step: the next one's requests begin here
	victim  string    // the director that was killed
	user    *visitor  // of the forum. If nil, there is no forum.

	mu       sync.Mutex // of what follows, and of setting traffic: the view reads them
	report   Report
	doing    string
	began    time.Time // of the current step
	standing bool      // the network is built
}

// errBroken says that the scene cannot go on; why is in the report.
var errBroken = errors.New("the scene did not hold")

// Play builds the lab, plays the scene and returns the report. The lab is left standing; the caller ends it with Down,
// whatever comes back. An error means that there is no verdict (no network, no rights, ctx ended), not a bad one.
func (l *Lab) Play(ctx context.Context, cfg PlayConfig) (Report, error) {
	p := newPlayer(l, cfg)
	stop := p.show(ctx)
	defer stop()
	err := p.play(ctx)
	p.report.Seconds = time.Since(p.report.Started).Seconds()
	if errors.Is(err, errBroken) {
		err = nil
	}
	return p.verdict(), err
}

func newPlayer(l *Lab, cfg PlayConfig) *player {
	if cfg.Takeover == 0 {
		cfg.Takeover = 4110 * time.Millisecond
	}
	if cfg.Lasts == 0 {
		cfg.Lasts = 8 * time.Second
	}
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	p := &player{lab: l, cfg: cfg, report: Report{Started: time.Now()}}
	p.steps = p.script()
	return p
}

func (p *player) play(ctx context.Context) error {
	p.do("building the network")
	if err := p.lab.Up(); err != nil {
		return err
	}
	p.locked(func() { p.standing = true })
	p.do("waiting for a master and a checked pool")
	if err := p.lab.Ready(ctx); err != nil {
		return err
	}
	if err := p.arrive(); err != nil {
		return err
	}
	t, err := p.lab.startTraffic(p.visitors(false))
	if err != nil {
		return err
	}
	p.locked(func() { p.traffic = t })
	p.last = time.Now()
	for _, s := range p.steps {
		if err := p.perform(ctx, s); err != nil {
			return err
		}
	}
	if err := p.finale(ctx); err != nil {
		return err
	}
	return p.traffic.stop()
}

// visitors are the addresses that the client sends from: four of them first, later the others join. Of a persistent
// service only newcomers can meet a real server that has returned.
func (p *player) visitors(all bool) []netip.Addr {
	if all {
		return p.lab.Clients
	}
	return p.lab.Clients[:4]
}

// perform plays one step and writes its report.
func (p *player) perform(ctx context.Context, s step) error {
	p.do(s.title)
	p.locked(func() { p.began = time.Now() })
	r := StepReport{Name: s.name, BoundMS: millis(s.bound)}
	if s.before != nil {
		from := p.last
		err := p.act(ctx, s.before)
		if e := p.traffic.settle(ctx, p.last); e != nil {
			return e
		}
		phase := p.lab.phase(p.traffic.figures(from, p.last), p.last.Sub(from))
		r.Before = &phase
		if err != nil {
			return p.broken(r, err)
		}
	}
	from := p.last
	err := p.measure(ctx, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e := p.traffic.settle(ctx, p.last); e != nil {
		return e
	}
	f := p.traffic.figures(from, p.last)
	r.Phase, r.Clients, r.Moved = p.lab.phase(f, p.last.Sub(from)), len(f.ByClient), len(f.Moved())
	r.Why = s.check(f)
	if err != nil {
		return p.broken(r, err)
	}
	r.Why = append(r.Why, p.look(s.name)...)
	p.over(r)
	return nil
}

// measure lets the step's requests run for as long as the step lasts, and for half of that after its act is complete:
// what the act brings about shows only then.
func (p *player) measure(ctx context.Context, s step) error {
	end := time.Now().Add(p.cfg.Lasts)
	var err error
	if s.during != nil {
		err = p.act(ctx, s.during)
	}
	if err == nil {
		err = sleep(ctx, max(time.Until(end), p.cfg.Lasts/2))
	}
	p.last = time.Now()
	return err
}

func (p *player) act(ctx context.Context, fn func(context.Context) error) error {
	err := fn(ctx)
	p.last = time.Now()
	return err
}

// over books a finished step.
func (p *player) over(r StepReport) {
	r.OK = len(r.Why) == 0
	p.locked(func() { p.report.Steps = append(p.report.Steps, r) })
	p.cfg.Say(fmt.Sprintf("%-16s %d requests, %d failed, longest gap %.0f ms: %s", r.Name, r.Requests, r.Failed, r.LongestGapMS, r.verdict()))
	for _, why := range r.Why {
		p.cfg.Say("                 " + why)
	}
}

// broken books a step that could not be played to its end; there is no going on from it.
func (p *player) broken(r StepReport, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	r.Why = append(r.Why, err.Error())
	if r.ByReal == nil {
		r.ByReal = map[string]int{}
	}
	p.over(r)
	return errBroken
}

// do says what happens now.
func (p *player) do(what string) {
	p.locked(func() { p.doing = what })
	p.cfg.Say(what)
}

func (p *player) locked(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// verdict is the report with the overall answer: every step played, every step held.
func (p *player) verdict() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.report
	r.OK = len(r.Why) == 0 && len(r.Steps) == len(p.steps)
	for _, s := range r.Steps {
		r.OK = r.OK && s.OK
	}
	if len(r.Steps) < len(p.steps) {
		r.Why = append(r.Why, fmt.Sprintf("not played: %s", names(p.steps[len(r.Steps):])))
	}
	return r
}

func names(steps []step) string {
	out := ""
	for i, s := range steps {
		if i > 0 {
			out += ", "
		}
		out += s.name
	}
	return out
}
