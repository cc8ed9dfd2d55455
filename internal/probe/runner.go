package probe

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"vipd/internal/checkpath"
	"vipd/internal/health"
)

// defaultLimit is how many checks are under way at most, plain TCP_CHECKs apart. Each costs a goroutine, a socket and some
// kilobytes.
const defaultLimit = 1024

// knockLimit is how many plain TCP_CHECKs are under way at most: half of the descriptors that this process may have, so that
// a network which has gone leaves enough for the rest of it.
func knockLimit() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return defaultLimit
	}
	return int(min(files.Cur/2, 1<<16))
}

// Runner makes many checks at a time, a bounded number of them, the others in the order in which they were asked for.
// Its methods may be called from any goroutine and never wait for a check, Close excepted.
type Runner struct {
	ctx    context.Context
	cancel context.CancelFunc
	limit  int
	ready  Commands
	cell   *Cell // nil: all checks are made here
	paths  *checkpath.Paths
	group  sync.WaitGroup
	knocks *knocker

	mu      sync.Mutex
	running int
	queue   []job
	closed  bool
}

type job struct {
	checker health.Checker
	done    func(health.Result)
}

// NewRunner makes a Runner that has at most 1024 checks under way, and as many TCP_CHECKs more as there are descriptors for. ready makes the commands of MISC_CHECK; if nil, they are
// not run. What real servers answer is read in cell, which the Runner closes; if nil, in this process.
func NewRunner(ready Commands, cell *Cell) *Runner {
	r := &Runner{limit: defaultLimit, ready: ready, cell: cell, paths: checkpath.New()}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.knocks = newKnocker(r.ctx, knockLimit(), &r.group)
	return r
}

// Start makes one check and calls done with its result, once, from a goroutine of the Runner. After Close nothing is
// started and done is not called.
func (r *Runner) Start(c health.Checker, done func(health.Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case plain(c) && r.knocks.start(job{c, done}):
	case r.running == r.limit:
		r.queue = append(r.queue, job{c, done})
	default:
		r.running++
		r.group.Go(func() { r.work(job{c, done}) })
	}
}

// work makes a check and then those that wait, until none is left.
func (r *Runner) work(j job) {
	for ok := true; ok; j, ok = r.next() {
		res := r.find(j.checker)
		if r.ctx.Err() == nil {
			j.done(res)
		}
	}
}

// find makes a check. One whose process ended is made again.
func (r *Runner) find(c health.Checker) (res health.Result) {
	if r.cell == nil || !slices.Contains(apart, c.Kind) {
		res, _ = r.once(c, nil)
		return res
	}
	for undone, try := true, 0; undone && try < cellTries; try++ {
		to, err := r.cell.tenant(r.ctx)
		if err != nil {
			return health.Result{Inconclusive: true, Why: err.Error()}
		}
		res, undone = r.once(c, to)
	}
	return res
}

// once makes a check once, with the help of a tenant if there is one. undone: that had no answer before it ended.
func (r *Runner) once(c health.Checker, to *tenant) (res health.Result, undone bool) {
	ctx, seen := witnessed(r.ctx)
	ctx, end := walking(ctx, c, r.paths)
	defer end()
	var e *errand
	if to != nil {
		ctx, e = sent(ctx, to, c.Kind)
	}
	res = run(ctx, c, r.ready)
	res.Seen = seen.report()
	return res, e != nil && e.undone
}

func (r *Runner) next() (job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.queue) == 0 {
		r.running--
		return job{}, false
	}
	j := r.queue[0]
	r.queue[0] = job{}
	r.queue = r.queue[1:]
	return j, true
}

// Close cancels every check and returns when all goroutines have ended. It must not be called by a goroutine that a
// done waits for.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed, r.queue = true, nil
	r.mu.Unlock()
	r.cancel()
	r.knocks.close()
	if r.cell != nil {
		r.cell.Close()
	}
	r.group.Wait()
	_ = r.paths.Close() // the programs go with the process at the latest
}
