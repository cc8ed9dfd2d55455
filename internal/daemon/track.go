package daemon

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"vipd/internal/host"
	"vipd/internal/loop"
	"vipd/internal/vrrp"
)

// Followed is this machine as far as instances follow it. Run and Watch… wait, and are called by goroutines of their own.
type Followed interface {
	// RunCommand runs a program to its end, or to that of ctx.
	RunCommand(ctx context.Context, c host.Command) host.Exit
	// ReadHead reads the first bytes of a file.
	ReadHead(path string, limit int) ([]byte, error)
	// WatchFiles calls changed with the path of each file that changes, until ctx ends; begun once it watches.
	WatchFiles(ctx context.Context, paths []string, begun func(), changed func(path string)) error
	// CountProcesses tells how many processes meet each match now.
	CountProcesses(matches map[string]host.ProcessMatch) (map[string]int, error)
	// WatchProcesses calls counted with how many processes meet each match, first and at every change, until ctx ends.
	// polls says why they are counted once a second and not when they change.
	WatchProcesses(ctx context.Context, matches map[string]host.ProcessMatch, counted func(map[string]int), polls func(error)) error
}

// runsAtATime is how many scripts run at most; others wait for their turn. keepalived: without a bound.
const runsAtATime = 256

// tracking is where what instances follow meets this machine: scripts are run, files read, processes counted, and what is
// found goes to the trackers. The loop of ha owns the machines; everything that waits does so outside of it.
type tracking struct {
	host      Host
	events    events
	loop      *loop.Loop // of ha
	trackers  *vrrp.Trackers
	scripts   *vrrp.Scripts
	processes *vrrp.Processes

	now   following
	runs  map[string]*scriptRun // under way, by script
	slots chan struct{}
	ctx   context.Context // nil before the loop runs
	wg    *sync.WaitGroup
	stop  context.CancelFunc // of the watches
	polls bool               // said that processes are polled
}

type scriptRun struct{ cancel context.CancelFunc }

func newTracking(h Host, ev events, speaker *vrrp.Speaker) *tracking {
	t := &tracking{host: h, events: ev, trackers: vrrp.NewTrackers(speaker), runs: map[string]*scriptRun{}, slots: make(chan struct{}, runsAtATime)}
	t.scripts, t.processes = vrrp.NewScripts(t.trackers), vrrp.NewProcesses(t.trackers)
	return t
}

// set makes f what is followed: before the start, and in the loop at a reload. What is known of things that stay is kept.
func (t *tracking) set(now time.Time, f following) {
	for name, run := range t.runs {
		if !equalCommands(t.now.commands[name], f.commands[name]) {
			run.cancel()
			delete(t.runs, name)
			t.scripts.Abandon(now, name)
		}
	}
	watched := t.now
	t.now = f
	t.trackers.Follow(now, f.followers)
	for _, s := range t.trackers.Status() {
		if s.Kind == vrrp.TrackBFD && !s.Known { // keepalived: a session is down until it is up
			t.trackers.Observe(now, s.Thing, vrrp.Up(false))
		}
	}
	t.scripts.Set(now, f.scripts)
	t.processes.Set(f.processes)
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		t.trackers.Observe(now, vrrp.Thing{Kind: vrrp.TrackFile, Name: name}, vrrp.FileValue(f.values[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(f.counts)) {
		t.processes.Count(now, name, f.counts[name])
	}
	if t.ctx != nil && (!maps.Equal(watched.files, f.files) || !maps.EqualFunc(watched.matches, f.matches, equalMatches)) {
		t.watch()
	}
}

func equalCommands(a, b host.Command) bool {
	return slices.Equal(a.Args, b.Args) && a.As.UID == b.As.UID && a.As.GID == b.As.GID
}

func equalMatches(a, b host.ProcessMatch) bool {
	return a.Name == b.Name && a.FullCommand == b.FullCommand && a.Match == b.Match && slices.Equal(a.Params, b.Params)
}

// run begins to look at the machine. It belongs to the loop.
func (t *tracking) run(ctx context.Context, wg *sync.WaitGroup) {
	t.ctx, t.wg = ctx, wg
	t.watch()
}

// watch looks at files and processes from now on, and no longer at those from before.
func (t *tracking) watch() {
	if t.stop != nil {
		t.stop()
	}
	ctx, cancel := context.WithCancel(t.ctx)
	t.stop = cancel
	if len(t.now.files) > 0 {
		names := map[string][]string{}
		for name, path := range t.now.files {
			names[path] = append(names[path], name)
		}
		t.wg.Go(func() { t.watchFiles(ctx, names) })
	}
	if matches := t.now.matches; len(matches) > 0 {
		t.wg.Go(func() { t.watchProcesses(ctx, matches) })
	}
}

// watchFiles reads each file once it is watched, and at every change.
func (t *tracking) watchFiles(ctx context.Context, names map[string][]string) {
	read := func(path string) { t.readFile(ctx, path, names[path]) }
	all := func() {
		for _, path := range slices.Sorted(maps.Keys(names)) {
			read(path)
		}
	}
	if err := t.host.WatchFiles(ctx, slices.Sorted(maps.Keys(names)), all, read); err != nil && ctx.Err() == nil {
		t.events.Error("watch track files: " + err.Error())
	}
}

func (t *tracking) readFile(ctx context.Context, path string, names []string) {
	n, ok := fileNumber(t.host, path, t.events)
	if !ok {
		return
	}
	t.loop.Send(func(now time.Time) {
		for _, name := range names {
			if ctx.Err() == nil {
				t.trackers.Observe(now, vrrp.Thing{Kind: vrrp.TrackFile, Name: name}, vrrp.FileValue(n))
			}
		}
	})
}

func (t *tracking) watchProcesses(ctx context.Context, matches map[string]host.ProcessMatch) {
	counted := func(counts map[string]int) {
		t.loop.Send(func(now time.Time) {
			for _, p := range t.now.processes {
				if ctx.Err() == nil {
					t.processes.Count(now, p.Name, counts[p.Name])
				}
			}
		})
	}
	polls := func(why error) {
		t.loop.Send(func(time.Time) {
			if !t.polls {
				t.polls = true
				t.events.Warn("track_process: processes are counted once a second, the kernel does not tell of changes: " + why.Error())
			}
		})
	}
	if err := t.host.WatchProcesses(ctx, matches, counted, polls); err != nil && ctx.Err() == nil {
		t.events.Error("count processes: " + err.Error())
	}
}

// effect executes what the machines ask for.
func (t *tracking) effect(e vrrp.Effect) {
	switch e := e.(type) {
	case vrrp.RunScript:
		t.start(e)
	case vrrp.KillScript:
		if run := t.runs[e.Script]; run != nil {
			run.cancel()
			delete(t.runs, e.Script)
		}
	}
}

// start runs a script in a goroutine of its own.
func (t *tracking) start(e vrrp.RunScript) {
	cmd := t.now.commands[e.Script]
	cmd.Timeout = e.Timeout
	ctx, cancel := context.WithCancel(t.ctx)
	run := &scriptRun{cancel: cancel}
	t.runs[e.Script] = run
	t.wg.Go(func() {
		defer cancel()
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		exit := t.host.RunCommand(ctx, cmd)
		<-t.slots
		t.loop.Send(func(now time.Time) { t.finished(now, e.Script, run, exit) })
	})
}

// finished takes the result of a run, unless the run is no longer wanted.
func (t *tracking) finished(now time.Time, name string, run *scriptRun, exit host.Exit) {
	if t.runs[name] != run {
		return
	}
	delete(t.runs, name)
	switch {
	case exit.Stopped:
		t.scripts.Abandon(now, name)
		return
	case exit.Err != nil:
		// keepalived: a program that cannot be run counts as a success.
		t.events.Error("VRRP_Script("+name+") "+exit.Err.Error(), "script", name)
		t.scripts.Finish(now, name, vrrp.ScriptResult{})
		return
	}
	r := vrrp.ScriptResult{Signal: int(exit.Signal)}
	if exit.Signal == 0 {
		// keepalived: a program that is told to end and then says success has succeeded.
		r.Status = exit.Code
	} else {
		r.TimedOut = exit.TimedOut
	}
	t.scripts.Finish(now, name, r)
}
