package daemon

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// reload makes cfg the configuration in force. It is a literal list of steps in order; what can fail without anything
// being changed comes first. What did not change is not touched: a MASTER stays MASTER, check results and connections
// are kept.
func (d *daemon) reload(cfg *conf.Config) error {
	if err := d.staysWhereItIs(cfg); err != nil {
		return err
	}
	if err := d.checkInterfaces(cfg); err != nil {
		return err
	}
	if err := vrrp.Acceptable(cfg.Instances); err != nil {
		return fail(ExitConfig, "", "%w", err)
	}
	d.tell.configure(cfg)
	steps := []struct {
		name  string
		apply func(*conf.Config) error
	}{
		{"VMAC interfaces", d.raiseVMACs},
		{"sockets", func(c *conf.Config) error { return d.ha.open(c) }},
		{"packet path", d.reloadPlane},
		{"static addresses, routes and rules", func(c *conf.Config) error { d.ha.do(func(time.Time) { d.ha.settle(staticsOf(c)) }); return nil }},
		{"instances", func(c *conf.Config) error { return d.ha.reload(c, follower(d.host, c, d.events.of("vrrp"), true)) }},
		{"routes and rules", func(c *conf.Config) error { d.ha.do(func(time.Time) { d.ha.equip(extrasOf(c)) }); return nil }},
		{"VMAC interfaces that are not used any more", func(*conf.Config) error { d.lowerVMACs(d.raised.wanted); return nil }},
		{"BFD sessions", d.reloadBFD},
		{"commands of checks", func(c *conf.Config) error { d.checks.configure(d.events.of("check"), c.Global.Scripts); return nil }},
		{"services", d.reloadPools},
		{"sync daemon", d.followSync},
		{"peers", d.followPeers},
	}
	old := d.cfg
	d.cfg = cfg
	for _, s := range steps {
		if err := s.apply(cfg); err != nil {
			var part *partly
			if !errors.As(err, &part) {
				d.cfg = old
				d.tell.configure(old)
			}
			return fmt.Errorf("reload: %s: %w", s.name, err)
		}
	}
	d.tell.settled(cfg)
	d.tell.statesAgain(d.ha.status())
	return nil
}

// reloadPlane opens a packet path if services are new to this daemon, and attaches it to interfaces that are.
func (d *daemon) reloadPlane(cfg *conf.Config) error {
	if d.pool == nil {
		if len(cfg.Health.Services) == 0 {
			return nil
		}
		return d.bringPlane()
	}
	if now := d.wanted(); now.plane != d.chosen.plane {
		d.events.of("config").Warn(fmt.Sprintf("data_plane %s takes effect at the next start; until then %s forwards", now.plane, d.path.Name))
	}
	if n := d.connections(); n != d.madeFor && d.path.Name == "xdp" {
		d.madeFor = n
		d.events.Warn("lvs_connections takes effect at the next start that finds no table: after a stop, or with --discard")
	}
	return d.pool.ask(func() error {
		if len(cfg.Health.Services) == 0 { // nothing to see packets for
			return nil
		}
		if err := d.attach(d.pool.plane); err != nil {
			return err
		}
		d.balanceOwn(d.pool.plane)
		d.forgetSettings()
		return d.tune(d.pool.plane)
	})
}

// bringPlane opens a packet path while the daemon runs.
func (d *daemon) bringPlane() error {
	if d.pool != nil {
		return nil
	}
	if err := d.makePlane(); err != nil {
		return err
	}
	d.startPool(d.ctx)
	d.tellSessions()
	d.startKept()
	if err := d.followSync(d.cfg); err != nil {
		return err
	}
	return d.followPeers(d.cfg)
}

func (d *daemon) reloadPools(cfg *conf.Config) error {
	if d.pool == nil {
		return nil
	}
	var refused map[string]string
	d.pool.loop.Do(func(now time.Time) {
		clear(d.pool.refused)
		d.pool.whole, d.pool.flushEnd = true, cfg.Global.FlushStop == "full" // what was changed by hand goes
		d.pool.pools.Update(now, cfg.Health)
		d.pool.drain(now)
		if d.pool.whole {
			d.pool.sync()
		}
		d.said = append(d.said, d.pool.sayHeld(d.pool.pools.Held())...)
		refused = map[string]string{}
		for key, why := range d.pool.refused {
			refused[key.String()] = why
		}
	})
	if len(refused) > 0 {
		name := slices.Sorted(maps.Keys(refused))[0]
		return &partly{fmt.Errorf("virtual server %s: %s", name, refused[name])}
	}
	return nil
}

// partly is the error of a reload of which everything but what it names is done.
type partly struct{ err error }

func (p *partly) Error() string { return p.err.Error() }
func (p *partly) Unwrap() error { return p.err }

// open opens sockets on the interfaces of instances that have none yet.
func (a *ha) open(c *conf.Config) (err error) {
	a.loop.Do(func(time.Time) {
		a.dynamic = c.Global.DynamicInterfaces
		for _, cfg := range c.Instances {
			normal, _ := cfg.Normal()
			if err = a.openWire(normal); err != nil {
				return
			}
		}
	})
	return err
}

// reload changes the instances to those of cfg, which follow f; the sockets are open.
func (a *ha) reload(cfg *conf.Config, f following) (err error) {
	instances := cfg.Instances
	a.do(func(now time.Time) {
		a.configure(cfg)
		if a.thread != nil {
			a.thread()
			a.handsThread()
		}
		a.hands.do(func() { a.tell.retire(true) })
		a.speaker.Retire(now, instances)
		a.drain(now)
		a.hands.do(func() { a.tell.retire(false) })
		names := map[*vrrp.Router]string{}
		for _, r := range a.speaker.Routers() {
			names[r] = r.Config().Name
		}
		var fresh []vrrp.Config
		if fresh, err = a.speaker.Renew(now, instances); err != nil {
			return
		}
		a.renamed(names)
		a.drain(now)
		for _, cfg := range fresh {
			_, addErr := a.speaker.Add(cfg)
			err = errors.Join(err, addErr)
		}
		a.follow(now, f)
		a.withhold(now, a.withheld, a.withheldMost)
		if a.maintenance {
			a.setMaintenance(now, true) // also those that are new
		}
		a.speaker.Start(now, func(vrrp.Config) bool { return false })
		a.closeUnused()
	})
	return err
}

// renamed tells those who go by the names of instances of those that have another one, and had the one that is given.
func (a *ha) renamed(before map[*vrrp.Router]string) {
	if a.turned == nil {
		return
	}
	var others []*vrrp.Router
	for _, r := range a.speaker.Routers() {
		if was, ok := before[r]; ok && was != r.Config().Name {
			a.turned(was, vrrp.Init)
			others = append(others, r)
		}
	}
	for _, r := range others { // after that: two may have exchanged their names
		a.turned(r.Config().Name, r.Status().State)
	}
}

// closeUnused closes the sockets that no instance uses any more.
func (a *ha) closeUnused() {
	used := map[host.Endpoint]bool{}
	for _, r := range a.speaker.Routers() {
		used[endpoint(r.Config())] = true
	}
	for at, w := range a.wires {
		if !used[at] {
			a.unlisten(w)
			delete(a.wires, at)
		}
	}
}

// reread is a reload of the daemon's own file, as SIGHUP asks for.
func (d *daemon) reread() error {
	if d.opts.NoConfig {
		d.events.of("config").Warn("there is no configuration to reload: started with --no-config")
		return fail(ExitNoConfig, "services are changed with ipvsadm", "started with --no-config: there is no file to read")
	}
	d.events.of("config").Info("Reloading ...")
	d.over.reloading()
	defer d.over.ready(d.standing)
	d.reloads++
	d.save("pre", nil)
	over, said := d.reading(), len(d.said)
	cfg, err := d.read(d.opts.Config)
	over()
	d.checkedReload(d.said[said:])
	if err == nil {
		err = d.reload(cfg)
	}
	var part *partly
	if err != nil && !errors.As(err, &part) {
		d.events.of("config").Error("Reload refused, nothing is changed: " + strings.TrimSuffix(err.Error(), "\n"))
		return err
	}
	d.settlePending()
	text, _ := os.ReadFile(d.opts.Config) // it was readable just now
	d.save("post", text)
	d.inForce = d.opts.Config
	d.events.of("config").Info("Reload complete")
	return err
}
