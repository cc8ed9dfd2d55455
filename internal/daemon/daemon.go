// Package daemon is where the subsystems meet: configuration becomes machines, machines get their loops, their effects
// reach this host and the packet path. Its files are named after the meetings: ha.go (VRRP ↔ addresses and ARP),
// pool.go (check verdicts ↔ plane), events.go (one event, one log line), status.go (snapshots for control).
//
// It decides nothing about the protocols and knows nothing of the command line. Invariant: what a start has set up is
// taken back if the start fails half-way, unless a predecessor left it: that goes on forwarding.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/probe"
	"vipd/internal/vrrp"
)

// Options are what the command line says.
type Options struct {
	Config      string    // path of the file
	NoConfig    bool      // there is none: services come from ipvsadm, interfaces are all that are up unless named
	Instance    string    // name of this daemon
	ID          string    // of lines with @ID. If empty, HostID.
	LogFormat   string    // text or json. If empty, text.
	Log         io.Writer // where events go
	Detail      bool      // say what keepalived says only with -D
	Strict      bool      // a warning about the file is an error
	Interfaces  []string  // that the packet path is attached to. If empty, those of the file.
	HTTP        string    // ADDRESS:PORT for /status and /metrics. If empty, none.
	Connections uint32    // that the table is made for. If zero, 1,000,000.
	BPFFS       string    // the BPF file system for the pins. If empty, /sys/fs/bpf.
	WhileNamed  bool      // it ends when its network namespace has no name any more
	Namespace   string    // a named network namespace to be in. If empty, what the file says.
	DataPlane   string    // xdp, ipvs or auto. If empty, what the file says.
	State       string    // folder for what outlives a restart, STATE/INSTANCE/. If empty, nothing is kept.
	// The journal of events: bytes of one file at most, and files. If JournalSize is zero, there is none.
	JournalSize  int64
	JournalFiles int
	Discard      bool // a packet path that a process before has left and that this one cannot take over is removed
}

// daemon is one running instance.
type daemon struct {
	opts      Options
	events    events
	cfg       *conf.Config
	started   time.Time
	host      Host
	checks    checkCommands
	cell      atomic.Pointer[probe.Cell] // where answers to checks are read; nil before there is a pool
	tell      *teller
	over      supervisor
	cleared   map[string]vrrp.Counters // of instances, when the statistics were cleared
	ha        *ha
	bfd       *neighbours
	claims    *claims              // nil before the loops begin
	mu        sync.Mutex           // of pool and links for other goroutines than the one that serves
	pool      *pool                // nil if the file has no virtual server
	checked   atomic.Pointer[pool] // pool, once it runs, for loops that must not wait
	links     []attached
	madeFor   uint32            // connections, as the packet path was asked for
	path      control.Path      // what forwards
	chosen    choice            // by whom it was wanted
	states    sync.Map          // of instances: name to vrrp.State, as they turned last
	left      map[string]string // interfaces that are not attached, and why
	ctx       context.Context   // of the loops; nil before they begin
	endLoops  func()
	http      net.Listener // of --http; nil: none
	orders    chan func()  // executed by serve, which owns what follows
	clock     *time.Ticker // of reload_time_file; nil: none
	due       timetable    // by it
	reloads   int          // that were asked for
	pending   *pending     // nil: nothing waits for a confirmation
	inForce   string       // the file that cfg came from
	said      []string     // diagnostics of the last file read
	hushed    bool         // they are not logged
	handed    *handover    // by the process before; nil: there was none, or it left in another way
	next      string       // the program that takes this one's place; serve then ends
	unnamed   chan error   // tells that the network namespace has no name any more; nil without WhileNamed
	endAsking func()       // ends the socket that commands ask, when those are answered that have asked
	handsMu   sync.Mutex   // of the file of what operators hold, and of handMade and its file
	handMade  handMade     // what was set by hand
	raised    raised
	// vmacNames are the VMACs and what carries them, for other goroutines than the one that serves.
	vmacNames atomic.Pointer[[]string]
	undo      []func() // what a failed start or the stop takes back, last first
	wg        sync.WaitGroup
}

type attached struct{ name, mode string }

// Run runs an instance until ctx ends, then stops it in order. A start that fails returns a *Failure.
func Run(ctx context.Context, opts Options) error {
	ev, err := newEvents(opts.Log, opts.LogFormat, opts.Detail)
	if err != nil {
		return err
	}
	d := &daemon{opts: opts, events: ev, started: time.Now(), orders: make(chan func())}
	defer ev.sink().close()
	if d.over, err = newSupervisor(); err != nil {
		ev.Warn(err.Error() + "; no signs of life will be sent")
	}
	probing := os.Getenv(probeVar) != ""
	d.hushed = moved()
	err = d.load()
	d.hushed = false
	if err != nil {
		if !probing {
			d.renounce()
		}
		return err
	}
	if probing {
		return d.probe()
	}
	if err := d.enterNamespace(); err != nil {
		d.renounce()
		return err
	}
	if err := d.start(ctx); err != nil {
		d.takeBack()
		d.renounce()
		return err
	}
	hup := make(chan os.Signal, 1) // one more that comes while one is served waits, further ones are the same
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	dumps, endDumps := onDumps()
	defer endDumps()
	d.serve(ctx, hup, dumps)
	if d.next != "" {
		d.endAsking() // who asked for it has the answer then; adverts go on meanwhile
		d.leave()
		return d.replace(d.next)
	}
	if d.restarts() {
		d.leave()
		d.events.Info("Stopped")
		return nil
	}
	d.stop()
	return nil
}

// start brings everything up, in this order; each step that leaves something behind adds to undo.
func (d *daemon) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.checkHost, d.followName, d.lock, d.lookForOthers, d.takeHandover, d.openJournal, d.bindHTTP, d.runStartup, d.openTell, d.openHA, d.resume, d.openBFD, d.openPlane, d.listen, d.serveHTTP, d.startLoops, d.dropPrivileges,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dropPrivileges is the last step: from here on the process holds what it needs and no more. Scripts of root's, and a program
// that takes its place, have all again. Where they would not (NoNewPrivileges= of a unit), whoever says so says by the bounding set
// what there is to be, and nothing is given up.
func (d *daemon) dropPrivileges(context.Context) error {
	if host.NoNewPrivileges() {
		d.events.Debug("Capabilities held from now on: all that were given, as scripts get no others (no_new_privs)")
		return nil
	}
	var more []host.Capability
	if d.cfg.Global.Process.NamespaceIPVS != nil { // no reload changes it
		more = append(more, host.OtherNamespace)
	}
	kept, err := host.DropPrivileges(more...)
	if err != nil {
		d.events.Warn(err.Error() + "; they are all kept")
		return nil
	}
	d.events.Debug("Capabilities held from now on: " + strings.Join(kept, " "))
	return nil
}

func (d *daemon) takeBack() {
	for _, f := range slices.Backward(d.undo) {
		f()
	}
	d.wg.Wait()
}

// checkHost refuses what cannot work before anything is touched.
func (d *daemon) checkHost(context.Context) error {
	if err := control.CheckInstance(d.opts.Instance); err != nil {
		return fail(ExitConfig, "", "%w", err)
	}
	if err := host.CheckPrivileges(); err != nil {
		return fail(ExitPermission, "run it as root, or give it these capabilities (setcap, AmbientCapabilities= of a unit, --cap-add of a container)", "%w", err)
	}
	if p := d.opts.DataPlane; p != "" && !slices.Contains(conf.DataPlanes, p) {
		return fail(ExitFatal, "it is one of "+strings.Join(conf.DataPlanes, ", "), "--data-plane %s: there is no such data plane", p)
	}
	m := newMachine(host.DropTable{Name: d.cfg.Global.VRRP.Table, Priority: d.cfg.Global.VRRP.ChainPriority})
	d.host, d.undo = m, append(d.undo, m.close)
	if err := d.checkInterfaces(d.cfg); err != nil {
		return err
	}
	for _, name := range d.opts.Interfaces {
		if _, err := d.host.Link(name); err != nil {
			return d.noInterface(err, "--interface")
		}
	}
	return nil
}

// checkInterfaces refuses a configuration that names an interface which this host does not have.
func (d *daemon) checkInterfaces(cfg *conf.Config) error {
	if cfg.Global.DynamicInterfaces {
		return nil // they may come later
	}
	for _, i := range cfg.Instances {
		if i.Interface == "" { // unicast alone can be without
			continue
		}
		if _, err := d.host.Link(i.Interface); err != nil {
			return d.noInterface(err, "vrrp_instance "+i.Name)
		}
		for _, a := range addresses(i) {
			if _, err := d.host.Link(a.Dev); err != nil {
				return d.noInterface(err, fmt.Sprintf("virtual_ipaddress %s of vrrp_instance %s", a.Prefix, i.Name))
			}
		}
	}
	return nil
}

func (d *daemon) noInterface(err error, who string) error {
	if !errors.Is(err, host.ErrNoInterface) {
		return fail(ExitFatal, "", "%s: %w", who, err)
	}
	names := "none"
	if links, listErr := host.Links(); listErr == nil {
		names = ""
		for _, l := range links {
			names += " " + l.Name
		}
	}
	return fail(ExitFatal, "interfaces of this host:"+names, "%s: %w", who, err)
}

func (d *daemon) lock(context.Context) error {
	l, err := host.LockInstance(control.Dir, d.opts.Instance)
	var locked *host.LockedError
	switch {
	case errors.As(err, &locked):
		return fail(ExitRunning, "stop it, or give this one another name with --instance", "%w", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		return fail(ExitFatal, control.Dir+" must be writable: a tmpfs in a container, RuntimeDirectory=vipd in a unit", "%w", err)
	case err != nil:
		return fail(ExitFatal, "", "%w", err)
	}
	d.undo = append(d.undo, func() { _ = l.Release() })
	return nil
}

// lookForOthers says that another program is about to fight over the same addresses.
func (d *daemon) lookForOthers(context.Context) error {
	if len(d.cfg.Instances) == 0 && len(d.cfg.Health.Services) == 0 {
		return nil
	}
	for _, name := range host.Balancers() {
		d.events.Warn(name + " runs on this host too. If it has the same virtual routers or services, both are now in each other's way: stop it with systemctl stop keepalived, or with kill")
	}
	return nil
}

func (d *daemon) openHA(context.Context) (err error) {
	d.claims = newClaims(d.events.of("vrrp")) // whoever asks for the state finds them
	d.undo = append(d.undo, func() { d.lowerVMACs(nil) })
	if err := d.raiseVMACs(d.cfg); err != nil {
		return err
	}
	if d.ha, err = newHA(d.host, d.events.of("vrrp"), d.cfg.Instances, d.cfg.Global.DynamicInterfaces); err != nil {
		return err
	}
	d.ha.tell = d.tell
	d.ha.hold, err = startupDelay(&d.cfg.Global.VRRP)
	if err != nil {
		d.events.Warn("vrrp_delay_after_boot has no effect: " + err.Error())
	}
	d.ha.configure(d.cfg)
	if err := d.ha.ownThread(); err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	d.ha.extras = extrasOf(d.cfg)
	d.undo = append(d.undo, d.ha.close)
	d.ha.follow(time.Now(), follower(d.host, d.cfg, d.events.of("vrrp"), false))
	d.restoreMaintenance()
	d.holdAtStart()
	return nil
}

// startupDelay is for how long the instances do nothing.
func startupDelay(g *conf.GlobalVRRP) (time.Duration, error) {
	if g.DelayAfterBoot == 0 {
		return g.StartupDelay, nil
	}
	up, err := host.Uptime()
	if err != nil {
		return g.StartupDelay, err
	}
	return max(g.StartupDelay, g.DelayAfterBoot-up), nil
}

// openTell makes what tells others. It ends last: what happens during a stop is told too.
func (d *daemon) openTell(context.Context) error {
	d.tell = newTeller(d.events.of("tell"), func(ctx context.Context, c host.Command) host.Exit { return c.Run(ctx) })
	d.undo = append(d.undo, d.tell.end)
	d.tell.configure(d.cfg)
	return nil
}

// listen opens the socket that commands ask.
func (d *daemon) listen(ctx context.Context) error {
	ln, err := control.Listen(control.SocketPath(d.opts.Instance))
	switch {
	case errors.Is(err, control.ErrRunning):
		return fail(ExitRunning, "stop it, or give this one another name with --instance", "%w", err)
	case err != nil:
		return fail(ExitFatal, "", "%w", err)
	}
	d.endAsking = d.serveOn(ctx, ln, control.Serve)
	return nil
}

// bindHTTP takes the address of --http. It comes early: an address in use is found before an interface is touched.
func (d *daemon) bindHTTP(context.Context) (err error) {
	if d.opts.HTTP == "" {
		return nil
	}
	d.http, err = net.Listen("tcp", d.opts.HTTP)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fail(ExitFatal, "choose another port for --http, or find who has it with: ss -ltnp", "--http %s: address already in use", d.opts.HTTP)
	case err != nil:
		return fail(ExitFatal, "--http wants ADDRESS:PORT of this host, such as 127.0.0.1:9112", "--http %s: %w", d.opts.HTTP, err)
	}
	d.undo = append(d.undo, func() { _ = d.http.Close() })
	return nil
}

func (d *daemon) serveHTTP(ctx context.Context) error {
	if d.http != nil {
		d.serveOn(ctx, d.http, control.ServeHTTP)
	}
	return nil
}

// serveOn answers questions on ln from now on until the daemon ends, or end is called, which returns when what was asked is answered.
func (d *daemon) serveOn(_ context.Context, ln net.Listener, serve func(context.Context, net.Listener, control.Source) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	d.wg.Go(func() {
		defer close(ended)
		if err := serve(ctx, ln, d); err != nil {
			d.events.Error("answer on " + ln.Addr().String() + ": " + err.Error())
		}
	})
	d.undo = append(d.undo, cancel)
	return func() { cancel(); <-ended }
}

// startLoops starts the machines. What they do from here on is taken back by stop.
func (d *daemon) startLoops(context.Context) error {
	resumed := d.ctx != nil
	d.beginLoops()
	if d.pool != nil {
		d.startPool(d.ctx)
	}
	if !resumed {
		d.ha.run(d.ctx, &d.wg)
	}
	d.bfd.run(d.ctx, &d.wg)
	d.tellSessions()
	if !resumed {
		d.startHA()
	}
	d.startKept()
	_ = d.followSync(d.cfg) // the pool runs: it is its to say what does not go
	_ = d.followPeers(d.cfg)
	return nil
}

// beginLoops makes what ends the loops.
func (d *daemon) beginLoops() {
	if d.ctx == nil {
		d.ctx, d.endLoops = context.WithCancel(context.Background())
		d.undo = append(d.undo, d.endLoops)
		d.ha.other = func(director netip.Addr) {
			if m := d.servicePool(); m != nil {
				m.director(director)
			}
		}
		d.ha.turned = d.turned
		d.wg.Go(func() {
			d.claims.run(d.ctx, d.ha.mastered, func(ask map[string][]netip.Addr) (map[string]map[netip.Addr]host.MAC, error) {
				return host.Claimants(ask, claimListen)
			})
		})
	}
}

// startHA begins with VRRP, and with what the host tells of itself.
func (d *daemon) startHA() {
	d.ha.do(func(now time.Time) {
		d.ha.settle(staticsOf(d.cfg))
		d.ha.start(now)
	})
	ctx := d.ctx
	d.wg.Go(func() {
		changed := func(e host.Event) { d.ha.changed(e); d.linkChanged(e); d.addressChanged(e) }
		if err := d.host.Watch(ctx, changed); err != nil && ctx.Err() == nil {
			d.events.Error("watch the host: " + err.Error())
		}
	})
}

// serve does what it is told until the end.
func (d *daemon) serve(ctx context.Context, hup, dumps <-chan os.Signal) {
	with := d.opts.Config
	if d.opts.NoConfig {
		with = "no configuration, driven by ipvsadm"
	}
	d.events.Info(fmt.Sprintf("vipd %s runs as instance %s with %s", Version(), d.opts.Instance, with))
	d.events.Info("Startup complete")
	d.over.ready(d.standing)
	ticks, endTicks := d.over.ticks()
	defer endTicks()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			d.events.of("config").note("reload was asked for by SIGHUP", byKey, "SIGHUP")
			_ = d.reread() // which has said what there is to say
		case <-ticks:
			d.over.live(ctx, func() { d.ha.do(func(time.Time) {}) })
		case err := <-d.unnamed:
			d.sayUnnamed(err)
			return
		case now := <-d.reloadTicks():
			d.lookAtTime(now)
		case sig := <-dumps:
			d.answerDump(sig)
		case fn := <-d.orders:
			if fn(); d.next != "" {
				return
			}
		}
	}
}

// Stopping: how long a master that has said priority 0 goes on forwarding what still arrives. The peer needs its skew,
// below one second with version 2, and its announcement a moment to be heard.
const (
	lingerMax   = 1200 * time.Millisecond
	lingerHeard = 200 * time.Millisecond
)

// stop ends in an order that loses nothing: first the mastership, then, while the peer takes over, packets that still
// arrive are forwarded, and only then go the services and the program.
func (d *daemon) stop() {
	d.settlePending()
	d.events.Info("Stopping")
	d.over.stopping()
	master := slices.ContainsFunc(d.ha.status(), func(s vrrp.Status) bool { return s.State == vrrp.Master })
	if master {
		d.tellLast()
	}
	d.ha.do(func(now time.Time) {
		select {
		case <-d.ha.heard:
		default:
		}
		d.ha.speaker.Stop(now)
		d.ha.drain(now)
		d.ha.settle(statics{})
	})
	if master && d.pool != nil {
		d.linger()
		d.tellLast()
	}
	if d.pool != nil {
		d.pool.loop.Do(d.pool.end)
	}
	d.takeBack()
	d.runShutdown()
	d.events.Info("Stopped")
}

func (d *daemon) linger() {
	select {
	case <-d.ha.heard:
		time.Sleep(lingerHeard)
	case <-time.After(lingerMax):
	}
}

// jitter is a random part of limit.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}

// newProber makes the executor of checks.
func (d *daemon) newProber() Prober {
	d.checks.configure(d.events.of("check"), d.cfg.Global.Scripts)
	cell := d.newCell()
	d.cell.Store(cell)
	r := probe.NewRunner(d.checks.ready, cell)
	d.undo = append(d.undo, r.Close)
	return r
}
