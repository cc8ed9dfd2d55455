package daemon

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/mail"
)

// teller tells others what happened: notify scripts, FIFOs, mails. The loops call its verbs, which never wait: scripts
// stand in a queue of their instance, lines in one of their FIFO, mails in one of their own. What is told, and in which
// words, is in tell_vrrp.go and tell_lvs.go.
type teller struct {
	events  events
	run     func(context.Context, host.Command) host.Exit
	post    poster
	scripts *scriptQueues
	fifos   [3]*fifo // notify_fifo, vrrp_notify_fifo, lvs_notify_fifo; nil: there is none
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex
	global   conf.Global
	names    mailNames
	user     host.Identity // of scripts that name nobody
	ready    map[*conf.Script]host.Command
	routers  map[string]*conf.Instance // those of the configuration before too: what a reload removes is told by its own
	groups   map[string]*conf.SyncGroup
	services map[lb.ServiceKey]*conf.VirtualServer
	mailed   map[string]string // the state that a mail told last, by what it is about
	retiring bool              // a reload is removing instances
}

// poster is a mail.Queue, or a test's.
type poster interface {
	Put(now time.Time, s mail.Server, m mail.Message)
	Settle(limit time.Duration) int
}

// The FIFOs of a teller.
const (
	fifoAll = iota
	fifoVRRP
	fifoLVS
)

// newTeller makes one that tells nobody until configure. run executes a command: host.Command.Run, or a test's.
func newTeller(ev events, run func(context.Context, host.Command) host.Exit) *teller {
	ctx, cancel := context.WithCancel(context.Background())
	t := &teller{events: ev, run: run, ctx: ctx, cancel: cancel, mailed: map[string]string{}}
	t.scripts = newScriptQueues(ctx, ev, run, &t.wg)
	q := mail.NewQueue(t.mailResult)
	t.post = q
	t.wg.Go(func() { q.Run(ctx) })
	return t
}

// configure makes cfg what is told by. It looks at the files of scripts and may ask for this host's name: it is called
// outside of the loops, before they get the new configuration.
func (t *teller) configure(cfg *conf.Config) {
	if t == nil {
		return
	}
	c := newCommands(t.events, cfg.Global.Scripts)
	ready := map[*conf.Script]host.Command{}
	for _, s := range scriptsOf(cfg) {
		if cmd, ok := c.ready(s); ok {
			ready[s] = cmd
		}
	}
	c.judge()
	t.adopt(cfg, namesFor(cfg.Global), c.user, ready)
	t.pipes(c, cfg)
}

// adopt takes what configure has prepared.
func (t *teller) adopt(cfg *conf.Config, names mailNames, user host.Identity, ready map[*conf.Script]host.Command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.ready
	t.global, t.names, t.user, t.ready = cfg.Global, names, user, ready
	t.routers = merge(t.routers, cfg.Routers, func(i *conf.Instance) string { return i.Name })
	t.groups = merge(t.groups, pointers(cfg.SyncGroups), func(g *conf.SyncGroup) string { return g.Name })
	t.services = merge(t.services, toldServices(cfg), func(v *conf.VirtualServer) lb.ServiceKey { return v.ServiceKey })
	maps.Copy(t.ready, withoutKeys(old, ready))
	t.scripts.setPatience(cfg.Global.Scripts.NotifyTimeout)
}

// pipes opens the FIFOs of a configuration and closes those that it no longer has. t.mu is held by nobody: closing waits.
//
// keepalived: closes and makes every FIFO anew at a reload, so that readers see an end.
func (t *teller) pipes(c *commands, cfg *conf.Config) {
	s := cfg.Global.Scripts
	for i, want := range [3]struct {
		what string
		cfg  conf.FIFO
	}{{"", s.Notify}, {"vrrp_", s.NotifyVRRP}, {"lvs_", s.NotifyLVS}} {
		have := t.pipe(i)
		if have != nil && reflect.DeepEqual(have.cfg, want.cfg) {
			continue
		}
		t.setPipe(i, nil)
		if have != nil {
			have.close() // before the new one, which may have the same path
		}
		if want.cfg.Path != "" {
			t.setPipe(i, t.openFIFO(want.what, want.cfg, c, fs.FileMode(cfg.Global.Process.Umask)))
		}
	}
}

func (t *teller) pipe(i int) *fifo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fifos[i]
}

func (t *teller) setPipe(i int, f *fifo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fifos[i] = f
}

// retire says whether a reload is removing instances: they are told as deleted and not as stopped.
func (t *teller) retire(now bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retiring = now
}

// settled forgets what a reload has removed, when it has been told.
func (t *teller) settled(cfg *conf.Config) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.routers = merge(nil, cfg.Routers, func(i *conf.Instance) string { return i.Name })
	t.groups = merge(nil, pointers(cfg.SyncGroups), func(g *conf.SyncGroup) string { return g.Name })
	t.services = merge(nil, toldServices(cfg), func(v *conf.VirtualServer) lb.ServiceKey { return v.ServiceKey })
	used := map[*conf.Script]bool{}
	for _, s := range scriptsOf(cfg) {
		used[s] = true
	}
	maps.DeleteFunc(t.ready, func(s *conf.Script, _ host.Command) bool { return !used[s] })
}

func merge[K comparable, V any](old map[K]*V, list []*V, key func(*V) K) map[K]*V {
	all := maps.Clone(old)
	if all == nil {
		all = map[K]*V{}
	}
	for _, v := range list {
		all[key(v)] = v
	}
	return all
}

func pointers[V any](list []V) []*V {
	out := make([]*V, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

func withoutKeys[K comparable, V any](all, taken map[K]V) map[K]V {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(k K, _ V) bool { _, ok := taken[k]; return ok })
	return out
}

// scriptsOf lists every notify script of a configuration; nil ones are left out.
func scriptsOf(cfg *conf.Config) (all []*conf.Script) {
	notify := func(n conf.Notify) {
		all = append(all, n.Backup, n.Master, n.Fault, n.Stop, n.Deleted, n.Any, n.MasterRxLowerPri)
	}
	for _, i := range cfg.Routers {
		notify(i.Notify)
	}
	for _, g := range cfg.SyncGroups {
		notify(g.Notify)
	}
	for _, v := range cfg.VirtualServers {
		all = append(all, v.QuorumUp, v.QuorumDown)
		for _, r := range v.Servers {
			all = append(all, r.NotifyUp, r.NotifyDown)
		}
	}
	s := cfg.Global.Scripts
	all = append(all, s.Notify.Script, s.NotifyVRRP.Script, s.NotifyLVS.Script)
	return slices.DeleteFunc(all, func(s *conf.Script) bool { return s == nil })
}

// notice is one thing to be told.
type notice struct {
	about   string         // whose scripts wait for one another: "INSTANCE VI_1"
	what    string         // the state, for log lines
	scripts []*conf.Script // one after the other
	extra   []string       // the last words of the last script, if there are any
	generic *conf.Script   // the script that gets extra
	line    string         // for the FIFOs
	fifo    int            // fifoVRRP or fifoLVS, beside notify_fifo
}

// tell hands a notice on. t.mu is held.
func (t *teller) tell(n notice) {
	var batch []host.Command
	for _, s := range n.scripts {
		if cmd, ok := t.command(s); ok {
			batch = append(batch, cmd)
		}
	}
	if cmd, ok := t.command(n.generic); ok {
		cmd.Args = append(slices.Clone(cmd.Args), n.extra...)
		batch = append(batch, cmd)
	}
	if len(batch) > 0 {
		t.scripts.put(n.about, scriptBatch{what: n.what, commands: batch})
	}
	for _, f := range []*fifo{t.fifos[fifoAll], t.fifos[n.fifo]} {
		if f != nil {
			f.put(n.line)
		}
	}
}

func (t *teller) command(s *conf.Script) (host.Command, bool) {
	if s == nil {
		return host.Command{}, false
	}
	cmd, ok := t.ready[s]
	return cmd, ok
}

// Bounds of a stop. keepalived: gives the scripts of a stop 1 s.
const (
	scriptsAtStop = 5 * time.Second
	mailsAtStop   = 3 * time.Second
)

// end lets the last scripts and mails go out, for a bounded time, and stops everything. Nothing may be told after it.
func (t *teller) end() {
	done := make(chan struct{})
	go func() { defer close(done); t.scripts.settle(scriptsAtStop) }()
	if left := t.post.Settle(mailsAtStop); left > 0 {
		t.events.Warn(fmt.Sprintf("%d mails could not be delivered before the stop", left))
	}
	<-done
	for i := range t.fifos {
		if f := t.pipe(i); f != nil {
			t.setPipe(i, nil)
			f.close()
		}
	}
	t.cancel()
	t.wg.Wait()
}
