package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mode is how b, which has the higher priority and address, treats a weaker master.
type mode struct {
	name, line string // of b's instance
	delay      time.Duration
	story      func(*wire, mode) []act
}

var modes = []mode{
	{name: "preempt", story: preempting},
	{name: "nopreempt", line: "nopreempt", story: waiting},
	{name: "preempt_delay", line: "preempt_delay 2", delay: 2 * time.Second, story: delaying},
}

// bounds are what the acts of a story with these adverts may take.
type bounds struct {
	low, high   time.Duration // until a or b is master when nobody else is
	next, skew  time.Duration
	look, heals time.Duration
}

func (w *wire) bounds() bounds {
	look := w.down(100) + 2*time.Second
	return bounds{
		low: w.down(100) + time.Second, high: w.down(150) + time.Second, next: w.interval() + 500*time.Millisecond,
		skew: w.down(100) - 3*w.interval() + 500*time.Millisecond, look: look,
		heals: 2*time.Second + look, // a bridge may take a second to notice that a port has a carrier again
	}
}

// The stories. What each act makes of both (turns) is what two keepalived do, which the whole matrix plays too.

func preempting(w *wire, _ mode) []act {
	x := w.bounds()
	return []act{
		{name: "alone, the lower is master", do: start(a), want: "a", within: x.low, watch: x.look, turns: "a:BM"},
		{name: "the higher preempts", do: start(b), want: "b", within: x.high, watch: x.look, turns: "a:B b:BM"},
		{name: "the backup is paused and goes on", do: pauseFor(a, x.look), want: "b", watch: x.look + x.next, turns: "-"},
		{name: "the master is paused", do: pause(b), want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"},
		{name: "it goes on", do: resume(b), want: "b", within: x.next, both: x.next, watch: x.look, turns: "a:B"},
		{name: "parted, both are master", do: cut, want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"},
		{name: "joined again, the higher wins", do: heal, want: "b", within: x.heals, both: x.heals, watch: x.heals, turns: "a:B"},
		{name: "the master is killed", do: kill(b), want: "a", within: x.low, watch: x.look, turns: "a:M"},
		{name: "back, it preempts", do: start(b), want: "b", within: x.high, both: x.next, watch: x.look, turns: "a:B b:BM"},
		{name: "the master stops", do: stop(b), want: "a", within: x.skew, watch: x.look, turns: "a:M"},
	}
}

func waiting(w *wire, _ mode) []act {
	x := w.bounds()
	return []act{
		{name: "alone, the lower is master", do: start(a), want: "a", within: x.low, watch: x.look, turns: "a:BM"},
		{name: "the higher waits", do: start(b), want: "a", watch: x.look, turns: "b:B"},
		{name: "the master is paused", do: pause(a), want: "ab", within: x.high, both: x.look, watch: x.look, turns: "b:M"},
		{name: "it goes on and finds a higher one", do: resume(a), want: "b", within: x.next, both: x.next, watch: x.look, turns: "a:B"},
		{name: "parted, both are master", do: cut, want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"},
		{name: "joined again, the higher wins", do: heal, want: "b", within: x.heals, both: x.heals, watch: x.heals, turns: "a:B"},
		{name: "the higher, master, is killed", do: kill(b), want: "a", within: x.low, watch: x.look, turns: "a:M"},
		{name: "back, it waits", do: start(b), want: "a", within: x.high, both: x.next, watch: x.look, turns: "b:B"},
		{name: "the lower, master, stops", do: stop(a), want: "b", within: x.skew, watch: x.look, turns: "b:M"},
		{name: "back, it gets nothing", do: start(a), want: "b", watch: x.look, turns: "a:B"},
	}
}

func delaying(w *wire, m mode) []act {
	x := w.bounds()
	late := m.delay + w.interval() + x.high // of what is left of the last down time, too
	return []act{
		{name: "alone, the lower is master", do: start(a), want: "a", within: x.low, watch: x.look, turns: "a:BM"},
		{name: "the higher preempts after its delay", do: start(b), want: "b", after: m.delay, within: late, watch: m.delay + x.look, turns: "a:B b:BM"},
		{name: "the master is paused", do: pause(b), want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"},
		{name: "it goes on, without delay", do: resume(b), want: "b", within: x.next, both: x.next, watch: x.look, turns: "a:B"},
		{name: "parted, both are master", do: cut, want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"},
		{name: "joined again, the higher wins without delay", do: heal, want: "b", within: x.heals, both: x.heals, watch: x.heals, turns: "a:B"},
		{name: "the master is killed", do: kill(b), want: "a", within: x.low, watch: x.look, turns: "a:M"},
		{name: "back, it preempts after its delay", do: start(b), want: "b", after: m.delay, within: late, both: x.next, watch: m.delay + x.look, turns: "a:B b:BM"},
		{name: "the master stops", do: stop(b), want: "a", within: x.skew, watch: x.look, turns: "a:M"},
	}
}

// deaf is the story of a pair whose b, a keepalived with old_unicast_checksum, refuses all that a sends before a has heard
// how b speaks: whatever the mode, b then takes over once. Two keepalived go on so, and both are master.
func deaf(w *wire, m mode) []act {
	x, acts := w.bounds(), m.story(w, m)
	acts[1] = act{name: "the higher hears nobody before it has spoken, and takes over", do: start(b), want: "b", within: x.high, both: x.next, watch: x.look, turns: "a:B b:BM"}
	if m.name == "nopreempt" { // b is master now, and not a
		acts[2] = act{name: "the master is paused", do: pause(b), want: "ab", within: x.low, both: x.look, watch: x.look, turns: "a:M"}
		acts[3] = act{name: "it goes on", do: resume(b), want: "b", within: x.next, both: x.next, watch: x.look, turns: "a:B"}
	}
	return acts
}

// signalAll signals every process of a node.
func (n *node) signalAll(t *testing.T, sig syscall.Signal) {
	t.Helper()
	pids := []int{n.cmd.Process.Pid}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	if err != nil {
		t.Error(err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func pause(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.nodes[i].signalAll(t, syscall.SIGSTOP) }
}

func resume(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.nodes[i].signalAll(t, syscall.SIGCONT) }
}

func pauseFor(i int, d time.Duration) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { pause(i)(t, p); time.Sleep(d); resume(i)(t, p) }
}

// cell is one pair of programs in one mode on one wire.
type cell struct {
	wire  *wire
	mode  mode
	kinds [2]kind
	name  string // of its namespaces
}

func (c cell) String() string {
	return fmt.Sprintf("%s: %s: %s and %s", c.mode.name, c.wire.name, c.kinds[a], c.kinds[b])
}

func (c cell) story() []act {
	if c.wire.astray && c.kinds == [2]kind{ours, theirs} {
		return deaf(c.wire, c.mode)
	}
	return c.mode.story(c.wire, c.mode)
}

// cells are those to be played.
func cells() (all []cell) {
	for n := range wires {
		w := &wires[n]
		for m, mode := range modes {
			whole := wholeMatrix == "whole" || slices.Contains(strings.Split(wholeMatrix, ","), mode.name)
			if !whole && (wholeMatrix != "" || quick[w.name] != mode.name) {
				continue
			}
			for k, kinds := range w.pairs() {
				all = append(all, cell{w, mode, kinds, fmt.Sprintf("m%d%c%d", m, 'a'+n, k)})
			}
		}
	}
	return all
}

func (w *wire) pairs() [][2]kind {
	switch {
	case w.own:
		return [][2]kind{{ours, ours}}
	case wholeMatrix != "" && !w.astray:
		return [][2]kind{{theirs, theirs}, {ours, theirs}, {theirs, ours}, {ours, ours}}
	}
	return [][2]kind{{ours, theirs}, {theirs, ours}, {ours, ours}}[:map[bool]int{false: 2, true: 3}[wholeMatrix != ""]]
}

// atOnce is how many pairs are played at a time.
const atOnce = 16

// TestEveryWayOfSpeakingElectsAsKeepalivedDoes plays a story for each way in which routers can be told to speak, and to
// preempt: with vipd in place of either of two keepalived and of both the same one wins each act, each side goes through
// the same states, and both are master for no longer than the protocol lets them.
func TestEveryWayOfSpeakingElectsAsKeepalivedDoes(t *testing.T) {
	if !alone(t, 25*time.Minute, "keepalived") {
		return
	}
	before := left(t)
	var table results
	turn := make(chan struct{}, atOnce)
	todo := cells()
	for attempt := 1; len(todo) > 0; attempt++ {
		var mu sync.Mutex
		var again []cell
		loaded := watchLoad()
		t.Run(fmt.Sprintf("pairs, attempt %d", attempt), func(t *testing.T) {
			for _, c := range todo {
				t.Run(c.String(), func(t *testing.T) {
					t.Parallel()
					turn <- struct{}{}
					defer func() { <-turn }()
					err := c.play(t, &table, attempt)
					switch {
					case err == nil:
					case attempt < attempts && loaded().tooMuch():
						t.Logf("while %s, so again: %v", loaded(), err)
						mu.Lock()
						defer mu.Unlock()
						again = append(again, c)
					default:
						t.Error(err)
					}
				})
			}
		})
		todo = again
	}
	slices.Sort(table.rows)
	t.Logf("times in ms until each act had its result, and changes of state of both together:\n%s", strings.Join(table.rows, "\n"))
	nothingNew(t, before)
}

// results are the rows of the table, printed when all pairs are through.
type results struct {
	mu   sync.Mutex
	rows []string
}

func (r *results) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, fmt.Sprintf(format, args...))
}

func (c cell) play(t *testing.T, table *results, attempt int) error {
	p := newPair(t, fmt.Sprintf("%s%d", c.name, attempt))
	for i, k := range c.kinds {
		extra := ""
		if i == b {
			extra = c.mode.line
		}
		p.newNode(t, i, k, c.wire.config(i, 100+50*i, extra))
	}
	if c.wire.v6 {
		p.enableIPv6(t)
	}
	p.watch, p.grumble = startWatch(t, p), c.wire.grumble
	if err := p.perform(t, c.story()); err != nil {
		return err
	}
	var times []string
	for _, d := range p.took {
		times = append(times, fmt.Sprintf("%5d", d.Milliseconds()))
	}
	states := 0
	for _, s := range p.went {
		states += strings.Count(s, "M") + strings.Count(s, "B") + strings.Count(s, "F")
	}
	table.add("%-13s %-42s %-10s %-10s %s  %d changes%s", c.mode.name, c.wire.name, c.kinds[a], c.kinds[b], strings.Join(times, " "), states,
		map[bool]string{true: fmt.Sprintf(", attempt %d", attempt)}[attempt > 1])
	return nil
}
