package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/loop"
	"vipd/internal/vrrp"
)

// ha is where VRRP meets this machine: packets and facts about links and addresses go into the speaker, its effects
// become adverts, addresses, gratuitous ARP and log lines. One loop owns the speaker.
type ha struct {
	host    Host
	events  events
	speaker *vrrp.Speaker
	loop    *loop.Loop
	track   *tracking
	wires   map[host.Endpoint]Wire
	hold    time.Duration // startup delay

	hands     *worker // addresses and announcements
	scribe    *worker // the log
	announcer *vrrp.Announcer

	heard        chan struct{}            // gets a token when another director's advert arrived; used while stopping
	other        func(netip.Addr)         // if set: told of the address that each came from
	turned       func(string, vrrp.State) // if set: told of each change of an instance
	withheld     string                   // why a weaker master is left alone …
	withheldMost time.Duration            // … for so long at most
	maintenance  bool                     // an operator has taken the director out
	failing      map[string]bool          // sends that fail, said once
	tell         *teller                  // nil: nobody is told

	delays         vrrp.Debouncer            // of links
	linkDelays     map[string]vrrp.LinkDelay // of the file
	beats          linkbeats                 // … whose drivers are asked,
	polled         map[string]host.Linkbeat  // by the file
	extras         map[string]extra          // by instance
	statics        statics
	promoted       map[string]string          // promote_secondaries as it was, by interface; of the hands
	holding        map[string]bool            // instances whose addresses are asked for
	private        []netip.Addr               // addresses that the host takes no packets to
	lacking, again map[string]time.Time       // instances that lack something, and when it is tried again; "" is what is static
	restored       map[netip.Prefix]time.Time // when an address was put back last

	stalls     stalls
	scheduling host.Scheduling // of the loop's thread
	asked      bool            // the file says something of it …
	usual      bool            // … by vrrp_priority: the other threads are not to be more than others either
	thread     func()          // makes the calling goroutine's thread that. If nil, it runs on any.

	vips    atomic.Pointer[[]netip.Addr]       // all of them, in order; set by note
	tracked atomic.Pointer[[]netip.Addr]       // sources of track_src_ip
	on      atomic.Pointer[map[string][2]bool] // by interface: has IPv4, has IPv6

	dynamic   bool            // interfaces may come and go
	receivers *sync.WaitGroup // nil before run
	loopEnded chan struct{}   // closed when it has
	alarm     *host.Alarm     // where the loop sleeps. If nil, it has no thread of its own.
	buffer    []byte          // of read
}

// newHA opens a socket on every interface of instances; dynamic ones may come later. Nothing is sent before start.
func newHA(h Host, ev events, instances []vrrp.Config, dynamic bool) (*ha, error) {
	a := &ha{host: h, events: ev, dynamic: dynamic, speaker: vrrp.NewSpeaker(), wires: map[host.Endpoint]Wire{}, heard: make(chan struct{}, 1), failing: map[string]bool{},
		hands: newWorker(0), scribe: newWorker(maxLines), announcer: vrrp.NewAnnouncer(),
		holding: map[string]bool{}, lacking: map[string]time.Time{}, again: map[string]time.Time{}, restored: map[netip.Prefix]time.Time{}, promoted: map[string]string{}}
	a.events = later(ev, a.scribe)
	a.beats.host, a.beats.events = h, a.events
	a.track = newTracking(h, a.events, a.speaker)
	a.loop = loop.New(loop.Machines{a, a.track.scripts, a.track.processes}, a.drain)
	a.loop.OnLate(lateWake, a.late)
	a.track.loop = a.loop
	for _, cfg := range instances {
		if err := a.add(cfg); err != nil {
			a.close()
			return nil, err
		}
	}
	alone := following{}
	alone.followers, _ = followersOf(&conf.Config{Instances: instances})
	a.track.set(time.Time{}, alone)
	a.note()
	return a, nil
}

func (a *ha) add(cfg vrrp.Config) error {
	normal, notes := cfg.Normal()
	for _, n := range notes {
		a.events.Warn(n, "vi", cfg.Name)
	}
	if _, err := a.speaker.Add(normal); err != nil {
		return fail(ExitConfig, "", "%w", err)
	}
	return a.openWire(normal)
}

// configure takes what global_defs and garp_groups say.
func (a *ha) configure(cfg *conf.Config) {
	g := &cfg.Global.VRRP
	var groups []vrrp.Group
	for _, one := range cfg.GarpGroups {
		groups = append(groups, vrrp.Group{Devs: one.Interfaces, Garp: one.Garp, Gna: one.Gna})
	}
	a.speaker.LogUnknown, a.dynamic = g.LogUnknownVRIDs, cfg.Global.DynamicInterfaces
	t := cfg.Global.Process.VRRP
	a.scheduling, a.asked = scheduling(t), t.Realtime != 0 || t.NiceSet || len(t.CPUs) > 0
	a.usual = t.NiceSet
	a.linkDelays = linkDelays(cfg)
	a.sayDelays(cfg)
	a.polled = linkbeatsOf(cfg)
	a.hands.do(func() { a.announcer.Space(time.Now(), g.GarpInterval, g.GnaInterval, groups) })
}

// linkDelays are those of the file. A VMAC has those of its parent.
func linkDelays(cfg *conf.Config) map[string]vrrp.LinkDelay {
	all := map[string]vrrp.LinkDelay{}
	for _, d := range cfg.Delays {
		all[d.Interface] = vrrp.LinkDelay{Down: d.Down, Up: d.Up}
	}
	for _, i := range cfg.Instances {
		if d, ok := all[i.Interface]; ok && i.Wire != "" {
			all[i.Wire] = d
		}
	}
	return all
}

// linkDelay is that of an interface, as short as the instances on it need it at the intervals of now.
func (a *ha) linkDelay(ifname string) vrrp.LinkDelay {
	delay := a.linkDelays[ifname]
	if delay == (vrrp.LinkDelay{}) {
		return delay
	}
	for _, r := range a.speaker.Routers() {
		if cfg := r.Config(); cfg.Interface == ifname || cfg.Wire == ifname {
			delay = delay.Within(int(cfg.DownTimerAdverts), cfg.AdvertInt).Within(int(cfg.DownTimerAdverts), r.Status().MasterInt)
		}
	}
	return delay
}

// sayDelays says which delays of the file are too long.
func (a *ha) sayDelays(cfg *conf.Config) {
	for _, i := range cfg.Instances {
		i, _ = i.Normal()
		delay := a.linkDelays[i.Interface]
		switch {
		case delay.Within(int(i.DownTimerAdverts), i.AdvertInt) == delay:
		case i.DownTimerAdverts == 1:
			a.events.Info(i.Name+": cannot use debounce timers with down_timer_adverts = 1 - resetting", "vi", i.Name)
		default:
			a.events.Info(fmt.Sprintf("%s: interface %s debounce timer(s) not less that %d * advert_int - resetting", i.Name, i.Interface, i.DownTimerAdverts-1), "vi", i.Name)
		}
	}
}

// close closes the sockets, which ends their receivers. A loop that was run has been told to end; it reads them until then.
func (a *ha) close() {
	if a.receivers == nil {
		a.scribe.end() // what a start that failed has said
	} else {
		<-a.loopEnded
	}
	for _, w := range a.wires {
		_ = w.Close()
	}
}

// run serves until ctx ends. The receivers end when close is called.
func (a *ha) run(ctx context.Context, wg *sync.WaitGroup) {
	a.receivers, a.loopEnded = wg, make(chan struct{})
	for at, wire := range a.wires {
		a.listen(at, wire)
	}
	a.loop.Send(func(time.Time) { a.track.run(ctx, wg) })
	loopEnded, end := context.WithCancel(context.Background()) // what the loop says last is still done
	wg.Go(func() {
		defer close(a.loopEnded)
		defer end()
		if a.thread != nil {
			a.thread()
			a.handsThread()
		}
		a.loop.Run(ctx)
	})
	wg.Go(func() { a.hands.run(loopEnded, a.announceDue) })
	wg.Go(func() { a.scribe.run(loopEnded, nil) })
	wg.Go(func() { a.pollLinks(ctx) })
}

// follow makes f what instances follow, and their groups: before the start, and in the loop at a reload.
func (a *ha) follow(now time.Time, f following) {
	a.speaker.SetGroups(now, f.groups)
	a.track.set(now, f)
	a.note()
	a.beats.set(a.polled, a.track.trackers.Interfaces())
	for name := range a.interfaces() {
		a.refreshLink(now, name)
	}
}

// start brings every instance up: from adopted addresses if all its VIPs are still on the host, from nothing otherwise.
func (a *ha) start(now time.Time) {
	if err := a.host.DropTo(nil); err != nil { // what a killed process left
		a.events.Error("no_accept: " + err.Error())
	}
	if a.hold > 0 {
		a.events.Info(fmt.Sprintf("Delaying startup for %g seconds", a.hold.Seconds()))
	}
	for _, r := range a.speaker.Routers() {
		r.Delay(now.Add(a.hold))
	}
	for name := range a.interfaces() {
		a.refreshLink(now, name)
	}
	a.speaker.Start(now, a.allPresent)
}

func (a *ha) allPresent(cfg vrrp.Config) bool {
	for _, v := range addresses(cfg) {
		if has, err := a.host.HasAddress(v); err != nil || !has {
			return false
		}
	}
	return len(cfg.VIPs) > 0
}

// observeLink tells those who follow an interface, their own or another, whether it is up.
func (a *ha) observeLink(now time.Time, ifname string, up bool) {
	thing := vrrp.Thing{Kind: vrrp.TrackInterface, Name: ifname}
	was := a.track.trackers.Known(thing)
	if was.Known && a.delays.Hold(now, ifname, was.OK, up, a.linkDelay(ifname)) {
		return
	}
	a.countLink(now, ifname, up)
}

// countLink is observeLink without a delay.
func (a *ha) countLink(now time.Time, ifname string, up bool) {
	thing := vrrp.Thing{Kind: vrrp.TrackInterface, Name: ifname}
	if was := a.track.trackers.Known(thing); was.Known && was.OK != up {
		a.events.Info(a.beats.who(ifname)+" reports "+ifname+" "+map[bool]string{true: "up", false: "down"}[up], "if", ifname)
	}
	a.track.trackers.Observe(now, thing, vrrp.Up(up))
}

// refreshLink tells the instances of an interface what the host says of it now: up or down, and its address.
func (a *ha) refreshLink(now time.Time, ifname string) {
	a.take(now, ifname, a.look(ifname, a.interfaces()[ifname]))
}

// note makes known which interfaces and virtual addresses there are, for those who do not wait for the loop.
func (a *ha) note() {
	var vips, sources []netip.Addr
	on := map[string][2]bool{}
	for _, name := range a.track.trackers.Interfaces() {
		on[name] = [2]bool{}
	}
	for _, r := range a.speaker.Routers() {
		cfg := r.Config()
		if a.extras[cfg.Name].trackSource && cfg.Source.IsValid() {
			sources = append(sources, cfg.Source)
		}
		for _, v := range addresses(cfg) {
			vips = append(vips, v.Prefix.Addr())
		}
		for _, name := range []string{cfg.Interface, cmp.Or(cfg.SourceOn, cfg.Interface)} {
			families := on[name]
			families[map[bool]int{false: 0, true: 1}[cfg.V6]] = true
			on[name] = families
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	a.vips.Store(&vips)
	a.tracked.Store(&sources)
	a.on.Store(&on)
}

// changed takes what the host tells of itself.
func (a *ha) changed(e host.Event) {
	index := 0 // every interface
	switch e := e.(type) {
	case host.RouteEvent:
		if e.Gone {
			a.loop.Send(a.routesChanged)
		}
		return
	case host.RuleEvent:
		if e.Gone {
			a.loop.Send(a.routesChanged)
		}
		return
	case host.LinkEvent:
		index = e.Index
		if !e.Gone {
			a.loop.Send(func(time.Time) { a.rewire(e.Name, e.Index) })
		}
	case host.AddressEvent:
		index = e.Ifindex
		if e.Gone {
			a.loop.Send(func(time.Time) { a.lost(e) })
		}
		if slices.Contains(*a.tracked.Load(), e.Prefix.Addr()) {
			index = 0
		}
	case host.Resync:
	default:
		return
	}
	if own, ok := e.(host.AddressEvent); ok && a.isVIP(own.Prefix.Addr()) {
		return // the host echoes what we did: a thousand addresses are no thousand looks at the host
	}
	for name, has := range a.interfaces() {
		if link, err := a.host.Link(name); index == 0 || err != nil || link.Index == index {
			facts := a.look(name, has)
			a.loop.Send(func(now time.Time) { a.take(now, name, facts) })
		}
	}
}

// facts are what the host says of an interface.
type facts struct {
	down    bool
	sources [2]netip.Addr // IPv4 and IPv6, zero: none
	lost    []netip.Addr  // sources of the file that no interface has
}

// look asks the host. It is not for the loop while that has adverts to send.
func (a *ha) look(ifname string, families [2]bool) (f facts) {
	if ifname != "" {
		link, err := a.host.Link(ifname)
		f.down = err != nil || !link.Ready() || a.beats.down(ifname)
	}
	for _, addr := range *a.tracked.Load() {
		if !a.host.IsOwn(addr) {
			f.lost = append(f.lost, addr)
		}
	}
	for i, wanted := range families {
		if wanted && ifname != "" {
			f.sources[i], _ = a.host.Source(ifname, i == 1, *a.vips.Load()) // none is a fault of its own
		}
	}
	return f
}

// take tells the instances of an interface.
func (a *ha) take(now time.Time, ifname string, f facts) {
	if ifname != "" {
		a.observeLink(now, ifname, !f.down)
	}
	for _, r := range a.speaker.Routers() {
		cfg := r.Config()
		if cmp.Or(cfg.SourceOn, cfg.Interface) != ifname {
			continue
		}
		source := cfg.Source
		switch {
		case source.IsValid() && a.extras[cfg.Name].trackSource && slices.Contains(f.lost, source):
			source = netip.Addr{}
		case source.IsValid():
		case cfg.V6:
			source = f.sources[1]
		default:
			source = f.sources[0]
		}
		r.SetSource(now, source)
	}
}

func (a *ha) isVIP(addr netip.Addr) bool {
	_, found := slices.BinarySearchFunc(*a.vips.Load(), addr, netip.Addr.Compare)
	return found
}

// interfaces are those that instances are on, and of which families (IPv4, IPv6), and those that they follow beside.
func (a *ha) interfaces() map[string][2]bool { return *a.on.Load() }

// drain executes the speaker's effects, in order.
func (a *ha) drain(time.Time) {
	for effects := a.speaker.Take(); len(effects) > 0; effects = a.speaker.Take() { // executing one may cause others
		for _, e := range effects {
			a.execute(e)
		}
	}
}

// do runs fn in the loop and waits until all that it caused is done, on this host too, and what followed of that.
func (a *ha) do(fn func(now time.Time)) {
	a.loop.Do(fn)
	a.hands.flush()
	a.loop.Do(func(time.Time) {}) // which the hands have told what they did
	a.hands.flush()
}

// addresses are all that an instance puts on the host, each with its device.
func addresses(cfg vrrp.Config) []host.Address {
	return hostAddresses(cfg.Interface, append(slices.Clone(cfg.VIPs), cfg.Excluded...))
}

func hostAddresses(ifname string, list []vrrp.Address) []host.Address {
	var all []host.Address
	for _, v := range list {
		a := host.Address(v)
		if a.Dev == "" {
			a.Dev = ifname
		}
		all = append(all, a)
	}
	return all
}

// status copies what the speaker knows.
func (a *ha) status() []vrrp.Status {
	var all []vrrp.Status
	a.loop.Do(func(time.Time) {
		for _, r := range a.speaker.Routers() {
			all = append(all, r.Status())
		}
	})
	return all
}

// followedStatus copies what is known of sync groups and of what instances follow.
func (a *ha) followedStatus() (groups []control.SyncGroup, trackers []control.Tracker) {
	a.loop.Do(func(time.Time) {
		for _, g := range a.speaker.Groups() {
			groups = append(groups, control.SyncGroup{Name: g.Name, State: g.State.String(), Instances: g.Instances})
		}
		for _, s := range a.track.trackers.Status() {
			trackers = append(trackers, control.Tracker{Kind: s.Kind.String(), Name: s.Name, Known: s.Known, OK: s.OK, Value: s.Value, Instances: s.Followers})
		}
	})
	return groups, trackers
}
