package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
)

// A Cell is a process of its own in which the answers of real servers are read, by a user with no rights. This process opens the
// connection of a check, with all that needs a right (source, interface, mark, way, ICMP), and hands it over with what is to be
// asked; the other one asks, reads, judges, and says what it found. It can do nothing else: cell_serve.go is that process.
//
// Checks whose answers nobody reads stay here: TCP_CHECK; and so do those that concern no real server's bytes: MISC_CHECK, which
// is a process anyhow, and FILE_CHECK.
//
// Invariant: the process is not trusted. Whatever it does, a check ends, and nothing that it says reaches further than the
// result of a check that it was given (cell_wire.go).
type Cell struct {
	start  func() (*host.Companion, error)
	say    func(warn bool, text string)
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	specs  specs
	beat   time.Duration

	mu      sync.Mutex
	begun   bool
	now     *tenant       // nil: there is none
	inside  bool          // it could not be had: checks are made here
	moved   chan struct{} // closed at the next change of now or inside
	state   CellState
	nowhere int // starts that came to nothing; keep alone uses it
}

// CellState is what there is to know of a Cell.
type CellState struct {
	PID    int       // 0: it does not run
	UID    uint32    // of its user
	Since  time.Time // it runs
	Starts int
	Inside bool     // it could not be had: checks are made by this process
	Lacks  []string // what it could not give up
	Why    string   // it ended last, or could not be started
}

// apart are the kinds whose answers are read in a Cell. Not PING_CHECK: of what is heard a few bytes are compared, and whoever has
// its raw socket can send anything in anybody's name.
var apart = []health.Kind{health.HTTPGet, health.SSLGet, health.SMTPCheck, health.DNSCheck, health.UDPCheck, health.RedisCheck,
	health.MemcachedCheck, health.MySQLCheck, health.PostgreSQLCheck, health.FTPCheck, health.GRPCCheck, health.AgentCheck}

const (
	cellTries   = 3                      // of a check whose process ended, and of the first start
	cellWait    = 10 * time.Second       // for a process
	cellSlack   = 10 * time.Second       // that an answer may be later than the check can take
	backoffLow  = 100 * time.Millisecond // before another start; the first one is made at once
	backoffHigh = 5 * time.Second
	cellSettled = 10 * time.Second // a process that has lived for so long is well
	cellEnd     = 5 * time.Second  // for a process to end that this one may not end
	cellBeat    = time.Second      // between two questions whether it is there
	cellSilent  = 5                // of them without an answer: it hangs
)

// NewCell makes one; its process, a user's, is started when there is the first check for it. say is told what an operator is to
// know, and may be called from any goroutine.
func NewCell(as host.Identity, say func(warn bool, text string)) *Cell {
	c := &Cell{say: say, beat: cellBeat, moved: make(chan struct{}), start: func() (*host.Companion, error) { return host.StartCompanion(cellEnvironment(), cellArguments(as)...) }}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// State may be asked by any goroutine.
func (c *Cell) State() CellState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Lacks = slices.Clone(s.Lacks)
	return s
}

// Close ends the process. No check is made any more.
func (c *Cell) Close() {
	c.cancel()
	c.mu.Lock()
	c.begun = true // nothing begins after this
	c.mu.Unlock()
	c.group.Wait()
}

// errNobody is for a check for which there is no process.
var errNobody = errors.New("the process of the checks does not run: see the log")

// tenant is the process that runs, for which a check may wait for a while. nil without an error: checks are made here.
func (c *Cell) tenant(ctx context.Context) (*tenant, error) {
	var wait <-chan time.Time
	for {
		c.mu.Lock()
		if !c.begun {
			c.begun = true
			c.group.Go(c.keep)
		}
		now, inside, moved := c.now, c.inside, c.moved
		c.mu.Unlock()
		if now != nil || inside {
			return now, nil
		}
		if wait == nil {
			timer := time.NewTimer(cellWait)
			defer timer.Stop()
			wait = timer.C
		}
		select {
		case <-moved:
		case <-wait:
			return nil, errNobody
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
	}
}

// keep sees to it that there is a process, until Close.
func (c *Cell) keep() {
	for pause := time.Duration(0); c.rest(pause); {
		began := time.Now()
		lived := c.once()
		switch {
		case c.inside || c.ctx.Err() != nil:
			return
		case lived && time.Since(began) >= cellSettled:
			pause = 0
		default:
			pause = min(max(2*pause, backoffLow), backoffHigh)
		}
		if lived && c.State().Starts == 1 {
			pause = 0
		}
	}
}

func (c *Cell) rest(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return c.ctx.Err() == nil
	case <-c.ctx.Done():
		return false
	}
}

// once has one process from its start to its end. lived tells that it came to make checks.
func (c *Cell) once() (lived bool) {
	t, err := c.open()
	if err != nil {
		c.failed(err)
		return false
	}
	c.change(func() {
		c.now = t
		c.state.PID, c.state.UID, c.state.Since, c.state.Lacks = t.process.PID, t.hello.UID, time.Now(), t.hello.Lacks
		c.state.Starts++
	})
	c.welcome(t)
	c.group.Go(func() { t.watch(c.beat) })
	stop := context.AfterFunc(c.ctx, func() { t.end("") })
	why := t.read()
	stop()
	exit := t.process.End(cellEnd)
	undone := t.drop()
	c.change(func() { c.now, c.state.PID = nil, 0 })
	if c.ctx.Err() != nil {
		return true
	}
	if why == "" {
		why = exit.String()
	} else if exit.Err != nil {
		why += ": " + exit.String()
	}
	if said := firstLine(exit.Output); said != "" {
		why += ": " + said
	}
	c.change(func() { c.state.Why = why })
	c.say(true, fmt.Sprintf("The process of the checks has ended, %s; it is started again, and %d checks that were under way are made again", why, undone))
	return true
}

// open starts a process and waits until it has given up what it is to give up.
func (c *Cell) open() (*tenant, error) {
	process, err := c.start()
	if err != nil {
		return nil, err
	}
	t := newTenant(process, &c.specs)
	stop := context.AfterFunc(c.ctx, func() { process.Conn.Close() })
	defer stop()
	if err := t.greet(); err != nil {
		exit := process.End(cellEnd)
		return nil, fmt.Errorf("%w (%s%s)", err, exit, strings.TrimRight(": "+firstLine(exit.Output), ": "))
	}
	return t, nil
}

// failed is a start that came to nothing. If the very first ones are, this system does not let it be, and the checks are made all the
// same: a director that checks nobody would be worse. Later it is tried again.
func (c *Cell) failed(err error) {
	if c.ctx.Err() != nil {
		return
	}
	c.nowhere++
	if c.State().Starts == 0 && c.nowhere < cellTries {
		return
	}
	if c.State().Starts == 0 {
		c.change(func() { c.inside, c.state.Inside, c.state.Why = true, true, err.Error() })
		c.say(true, "The checks are made by this process, with what it may do: one of their own cannot be had: "+err.Error())
		return
	}
	c.change(func() { c.state.Why = err.Error() })
	c.say(true, "The process of the checks cannot be started: "+err.Error()+"; it is tried again")
}

func (c *Cell) change(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
	close(c.moved)
	c.moved = make(chan struct{})
}

func (c *Cell) welcome(t *tenant) {
	c.say(false, fmt.Sprintf("The checks are made by process %d of user %d", t.process.PID, t.hello.UID))
	for _, lack := range t.hello.Lacks {
		c.say(true, "The process of the checks may do more than it should: "+lack)
	}
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return printable(line, maxWords)
}
