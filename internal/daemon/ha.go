package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
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
	hold    time.Duration   // startup delay
	heard   chan struct{}   // gets a token when another director's advert arrived; used while stopping
	failing map[string]bool // sends that fail, said once
	tell    *teller         // nil: nobody is told

	extras         map[string]extra // by instance
	statics        statics
	promoted       map[string]string          // promote_secondaries as it was, by interface
	holding        map[string]bool            // instances whose addresses are asked for
	private        []netip.Addr               // addresses that the host takes no packets to
	lacking, again map[string]time.Time       // instances that lack something, and when it is tried again
	restored       map[netip.Prefix]time.Time // when an address was put back last

	receivers *sync.WaitGroup // nil before run
}

// newHA opens a socket on every interface of instances. Nothing is sent before start.
func newHA(h Host, ev events, instances []vrrp.Config) (*ha, error) {
	a := &ha{host: h, events: ev, speaker: vrrp.NewSpeaker(), wires: map[host.Endpoint]Wire{}, heard: make(chan struct{}, 1), failing: map[string]bool{},
		holding: map[string]bool{}, lacking: map[string]time.Time{}, again: map[string]time.Time{}, restored: map[netip.Prefix]time.Time{}, promoted: map[string]string{}}
	a.track = newTracking(h, ev, a.speaker)
	a.loop = loop.New(loop.Machines{a, a.track.scripts, a.track.processes}, a.drain)
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

// endpoint is where an instance's adverts come in and go out. All instances of an interface, family and kind of header
// share one: two sockets would hear everything twice.
func endpoint(cfg vrrp.Config) host.Endpoint {
	at := host.Endpoint{Dev: cfg.Interface, V6: cfg.V6, AH: cfg.AuthType == vrrp.AuthAH}
	if at.Dev == "" {
		at.Local = cfg.Source
	}
	return at
}

// openWire opens the socket of an instance if there is none yet, and joins its group. Once the daemon runs, its packets
// are received at once.
func (a *ha) openWire(cfg vrrp.Config) error {
	at := endpoint(cfg)
	if a.wires[at] == nil {
		wire, err := a.host.OpenVRRP(at)
		if err != nil {
			return fail(ExitFatal, "", "open the VRRP socket on %s: %w", at, err)
		}
		a.wires[at] = wire
		if a.receivers != nil {
			a.receivers.Go(func() { a.receive(at, wire) })
		}
	}
	if cfg.Unicast {
		return nil
	}
	if err := a.wires[at].Join(cfg.McastDst); err != nil {
		return fail(ExitFatal, "an interface without multicast needs unicast_peer", "(%s) %w", cfg.Name, err)
	}
	return nil
}

// close closes the sockets, which ends their receivers.
func (a *ha) close() {
	for _, w := range a.wires {
		_ = w.Close()
	}
}

// run serves until ctx ends. The receivers end when close is called.
func (a *ha) run(ctx context.Context, wg *sync.WaitGroup) {
	a.receivers = wg
	for at, wire := range a.wires {
		wg.Go(func() { a.receive(at, wire) })
	}
	a.loop.Send(func(time.Time) { a.track.run(ctx, wg) })
	wg.Go(func() { a.loop.Run(ctx) })
}

// follow makes f what instances follow, and their groups: before the start, and in the loop at a reload.
func (a *ha) follow(now time.Time, f following) {
	a.speaker.SetGroups(now, f.groups)
	a.track.set(now, f)
	for _, name := range a.interfaces() {
		a.refreshLink(now, name)
	}
}

// interfaces are those that instances are on, and those that they follow beside.
func (a *ha) interfaces() []string {
	names := a.track.trackers.Interfaces()
	for _, r := range a.speaker.Routers() {
		names = append(names, r.Config().Interface)
	}
	slices.Sort(names)
	return slices.Compact(names)
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
	for _, name := range a.interfaces() {
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
func (a *ha) observeLink(now time.Time, ifname string) {
	link, err := a.host.Link(ifname)
	up := err == nil && link.Ready()
	thing := vrrp.Thing{Kind: vrrp.TrackInterface, Name: ifname}
	if was := a.track.trackers.Known(thing); was.Known && was.OK != up {
		a.events.Info("Netlink reports "+ifname+" "+map[bool]string{true: "up", false: "down"}[up], "if", ifname)
	}
	a.track.trackers.Observe(now, thing, vrrp.Up(up))
}

// refreshLink tells the instances of an interface what the host says of it now: up or down, and its address.
func (a *ha) refreshLink(now time.Time, ifname string) {
	if ifname != "" {
		a.observeLink(now, ifname)
	}
	for _, r := range a.speaker.On(ifname) {
		source, err := a.source(r.Config())
		if err != nil {
			source = netip.Addr{}
		}
		r.SetSource(now, source)
	}
}

// source is the address that an instance's adverts leave from: the file's, or the interface's own.
func (a *ha) source(cfg vrrp.Config) (netip.Addr, error) {
	if cfg.Source.IsValid() {
		return cfg.Source, nil
	}
	var vips []netip.Addr
	for _, r := range a.speaker.Routers() {
		for _, v := range addresses(r.Config()) {
			vips = append(vips, v.Prefix.Addr())
		}
	}
	return a.host.Source(cfg.Interface, cfg.V6, vips)
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
	case host.LinkEvent:
		index = e.Index
	case host.AddressEvent:
		index = e.Ifindex
		if e.Gone {
			a.loop.Send(func(now time.Time) { a.lost(now, e) })
		}
	case host.Resync:
	default:
		return
	}
	a.loop.Send(func(now time.Time) {
		for _, name := range a.interfaces() {
			if link, err := a.host.Link(name); index == 0 || err != nil || link.Index == index {
				a.refreshLink(now, name)
			}
		}
	})
}

// receive hands packets to the loop until the socket is closed.
func (a *ha) receive(at host.Endpoint, wire Wire) {
	buf := make([]byte, 64<<10)
	for {
		n, err := wire.Recv(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, syscall.ENETDOWN): // said once when a link goes; the link events say the rest
			continue
		case err != nil:
			a.events.Error("receive adverts: "+err.Error(), "if", at.Dev)
			return
		}
		packet := slices.Clone(buf[:n])
		a.loop.Send(func(now time.Time) {
			a.speaker.Receive(now, at.Dev, packet)
			a.notice(at.Dev, packet)
		})
	}
}

// notice lets a stopping daemon know that somebody else announces one of our virtual routers.
func (a *ha) notice(ifname string, packet []byte) {
	advert, err := vrrp.Parse(packet)
	if err != nil || advert.Priority == 0 {
		return
	}
	if slices.ContainsFunc(a.speaker.On(ifname), func(r *vrrp.Router) bool { return r.Config().VRID == advert.VRID }) {
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
}

// drain executes the speaker's effects, in order.
func (a *ha) drain(now time.Time) {
	for _, e := range a.speaker.Take() {
		switch e := e.(type) {
		case vrrp.Send:
			a.send(e)
		case vrrp.AddAddresses:
			a.assume(now, e.Instance)
		case vrrp.RemoveAddresses:
			a.release(e.Instance)
		case vrrp.Vacate:
			a.vacate(e)
		case vrrp.Announce:
			a.announce(e)
		case vrrp.Say:
			a.say(e)
		case vrrp.Change:
			// The machine's own Say lines are keepalived's; this one says why, which keepalived's do not.
			a.events.Info("("+e.Instance+") "+e.From.String()+" to "+e.To.String()+": "+e.Why, "vi", e.Instance)
			a.tell.changed(e.Instance, e.To, a.priority(e.Instance))
		case vrrp.Weaker:
			a.tell.lowerHeard(e.Instance, a.priority(e.Instance))
		case vrrp.GroupChange:
			a.events.Info("VRRP_Group("+e.Group+") "+e.From.String()+" to "+e.To.String()+": "+e.Why, "group", e.Group)
			a.tell.groupChanged(e.Group, e.To)
		case vrrp.PriorityChange:
			a.tell.prioritySet(e.Instance, e.State, e.To)
		default:
			a.track.effect(e)
		}
	}
}

// priority is the effective one of an instance.
func (a *ha) priority(instance string) uint8 { return a.speaker.Router(instance).Status().Priority }

func (a *ha) say(e vrrp.Say) {
	switch {
	case e.Warning:
		a.events.Warn(e.Text, "vi", e.Instance)
	case e.Detail:
		a.events.Debug(e.Text, "vi", e.Instance)
	default:
		a.events.Info(e.Text, "vi", e.Instance)
	}
}

func (a *ha) send(e vrrp.Send) {
	at := endpoint(a.speaker.Router(e.Instance).Config())
	err := a.wires[at].Send(e.Packet, e.To)
	if err != nil && !a.failing[e.Instance] {
		a.events.Error("("+e.Instance+") send advert: "+err.Error(), "vi", e.Instance, "if", at.Dev)
	}
	a.failing[e.Instance] = err != nil
}

// setAddresses adds or removes all addresses of an instance; one that fails does not keep the others back.
func (a *ha) setAddresses(instance string, do func(host.Address) error) {
	for _, addr := range addresses(a.speaker.Router(instance).Config()) {
		if err := do(addr); err != nil {
			a.events.Error("("+instance+") "+err.Error(), "vi", instance, "if", addr.Dev)
		}
	}
}

// vacate removes addresses that an instance no longer has.
func (a *ha) vacate(e vrrp.Vacate) {
	for _, addr := range hostAddresses(e.Interface, e.Addresses) {
		if err := a.host.DelAddress(addr); err != nil {
			a.events.Error("("+e.Instance+") "+err.Error(), "vi", e.Instance, "if", addr.Dev)
		}
	}
}

// announce sends gratuitous ARP and neighbour advertisements in keepalived's order: round by round over all addresses.
func (a *ha) announce(e vrrp.Announce) {
	all := addresses(a.speaker.Router(e.Instance).Config())
	for range e.Repeat {
		for _, v := range all {
			if e.Only != nil && !slices.Contains(e.Only, v.Prefix.Addr()) {
				continue
			}
			if err := a.host.Announce(v.Dev, v.Prefix.Addr()); err != nil {
				a.events.Error("("+e.Instance+") announce "+v.Prefix.Addr().String()+": "+err.Error(), "vi", e.Instance, "if", v.Dev)
			}
		}
	}
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
