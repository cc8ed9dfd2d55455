package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vipd/internal/host"
	"vipd/internal/plane/ipvs"
	"vipd/internal/plane/xdp"
)

// BPFFS is where pins live; systemd mounts it, other systems may not.
const BPFFS = "/sys/fs/bpf"

// bpffs is where this process sees it: a sandbox may show it elsewhere.
func (d *daemon) bpffs() string {
	if d.opts.BPFFS != "" {
		return d.opts.BPFFS
	}
	return BPFFS
}

// openPlane opens or adopts the packet path, attaches it and makes the pool machine that drives it. A file without
// virtual servers needs none, unless somebody comes with ipvsadm later.
func (d *daemon) openPlane(context.Context) error {
	d.restoreKept()
	if len(d.cfg.Health.Services) == 0 && !d.opts.NoConfig {
		return nil
	}
	return d.makePlane()
}

// lines is the table for so many connections: at most five eighths full, which leaves one of hundreds of thousands without
// room in its region, and 107 bytes for each of ten million.
func lines(connections uint32) uint32 { return uint32(uint64(connections) * 8 / 5) }

// connections is what the table is to be made for; 0: what is usual.
func (d *daemon) connections() uint32 { return cmp.Or(d.opts.Connections, d.cfg.Global.Connections) }

// makeXDP opens or adopts this program's own packet path.
func (d *daemon) makeXDP() (err error) {
	if err := mountBPFFS(d.bpffs()); err != nil {
		if errors.Is(err, unix.EROFS) {
			return fail(ExitFatal, "have it writable: mount -o remount,rw /sys/fs/bpf; in a container: -v /sys/fs/bpf:/sys/fs/bpf without :ro", "%w", err)
		}
		return fail(ExitFatal, "mount it before: mount -t bpf bpf /sys/fs/bpf; in a container: -v /sys/fs/bpf:/sys/fs/bpf", "%w", err)
	}
	opts := d.pathOptions()
	if d.opts.WhileNamed { // what a killed one left under this name may be of another namespace
		if err := xdp.Remove(d.pinDir()); err != nil {
			return pathFailure(err)
		}
	}
	d.madeFor = d.connections()
	p, err := xdp.Open(opts)
	if errors.Is(err, xdp.ErrLayout) && d.opts.Discard {
		d.events.of("plane").Warn("as --discard says, the packet path of the process before is removed and its connections are lost: " + err.Error())
		if err = xdp.Remove(d.pinDir()); err == nil {
			p, err = xdp.Open(opts)
		}
	}
	if err != nil {
		return pathFailure(err)
	}
	adopted := p.Adopted()
	defer func() {
		if err != nil {
			d.closePlane(p, adopted)
		}
	}()
	if err := d.attach(p); err != nil {
		return err
	}
	if len(d.links) == 0 && len(d.left) > 0 && d.wanted().plane == "auto" {
		return fail(ExitFatal, "", "no interface takes the packet path: %s", strings.Join(slices.Sorted(maps.Values(d.left)), "; "))
	}
	if m, ok := p.Migrated(); ok {
		d.events.of("plane").Info(fmt.Sprintf("the packet path of the process before had layout %d: its services and %d connections are in one of this version, %d are lost", m.Layout, m.Connections, m.Lost))
	} else if adopted {
		d.events.of("plane").Info("adopted the packet path of the process before: connections go on")
	}
	if err := d.tune(p); err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	d.undo = append(d.undo, func() { d.closePlane(p, adopted) })
	d.balanceOwn(p)
	d.openPool(p)
	return nil
}

// pathOptions is how this program makes its own packet path.
func (d *daemon) pathOptions() xdp.Options {
	return xdp.Options{
		PinDir:    d.pinDir(),
		TableSize: lines(d.connections()),
		Services:  atLeast(1024, 2*d.services()),
		Reals:     atLeast(16384, 2*d.reals()),
		// People's scripts make namespaces with cables of which they know nothing but the name.
		GenericVeth: d.opts.NoConfig,
	}
}

// attach attaches the packet path to the interfaces of the configuration in force that it is not on yet.
func (d *daemon) attach(p Plane) error {
	if _, kernel := p.(kernelPlane); kernel {
		return nil // it sees what the host sees
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range d.carriers() {
		if slices.ContainsFunc(d.links, func(l attached) bool { return l.name == name }) {
			continue
		}
		mode, err := p.Attach(name)
		if err != nil && (d.everyInterface() || d.cfg.Global.DynamicInterfaces) {
			d.notAttached(name, err)
			continue
		}
		if err != nil {
			return pathFailure(err)
		}
		delete(d.left, name)
		d.links = append(d.links, attached{name, string(mode)})
		d.events.of("plane").Info(fmt.Sprintf("packet path attached to %s in %s mode%s", name, mode, d.whyGeneric(mode)), "if", name)
	}
	return nil
}

// whyGeneric says what generic mode comes from and means. Without a configuration it is asked for on cables of namespaces.
func (d *daemon) whyGeneric(mode xdp.Mode) string {
	if mode != xdp.Generic || d.opts.NoConfig {
		return ""
	}
	return ": its driver does not run XDP, so each packet costs several times as much (vipd doctor); to be faster attach to the card below it with --interface"
}

// balanceOwn sends the director's own connections to real servers too, or leaves them alone. Where that does not go, all else
// does.
func (d *daemon) balanceOwn(p Plane) {
	if err := p.BalanceOwn(!d.cfg.Global.NoLocalClients); err != nil {
		d.events.of("plane").Warn(err.Error() + "; connections that this host itself opens to a virtual address stay here (lvs_local_clients off leaves it at that)")
	}
}

// everyInterface reports whether the packet path is wherever it can be, and not where somebody said it must be.
func (d *daemon) everyInterface() bool { return d.opts.NoConfig && len(d.opts.Interfaces) == 0 }

// notAttached says once of each interface why packets that come in there are not seen.
func (d *daemon) notAttached(name string, err error) {
	if d.left[name] != err.Error() {
		d.events.of("plane").Warn("packet path is not on "+name+": "+err.Error(), "if", name)
	}
	if d.left == nil {
		d.left = map[string]string{}
	}
	d.left[name] = err.Error()
}

// closePlane is the end of a start that failed or of a stop: what was adopted goes on, what is ours goes.
func (d *daemon) closePlane(p *xdp.Plane, adopted bool) {
	if d.pool != nil && d.pool.closed {
		return
	}
	d.mu.Lock()
	d.links, d.left = nil, nil
	d.mu.Unlock()
	if adopted {
		_ = p.Close()
		return
	}
	if err := p.Remove(); err != nil {
		d.events.of("plane").Error("remove the packet path: " + err.Error())
	}
}

func (d *daemon) openPool(p Plane) {
	var m *pool
	resolver := host.NewResolver(func(h host.Hop) { m.hop(h) })
	resolver.Link = func(l host.Link) { m.link(l) }
	resolver.Ports = func(p map[int]host.Carrier, s map[host.Station]int) { m.ports(p, s) }
	m = newPool(d.events.of("check"), d.cfg.Health, p, d.newProber(), resolver.Set, jitter)
	m.byHand, m.tell = d.opts.NoConfig, d.tell
	_, m.shared = p.(kernelPlane)
	m.flush, m.flushEnd = d.cfg.Global.Flush, d.cfg.Global.FlushStop == "full"
	d.restoreHands(m)
	d.mu.Lock()
	d.pool = m
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	d.wg.Go(func() {
		if err := resolver.Run(ctx); err != nil && ctx.Err() == nil {
			d.events.of("plane").Error("resolve next hops: " + err.Error())
		}
	})
	d.undo = append(d.undo, cancel)
	if m.syncs != nil {
		d.undo = append(d.undo, m.syncs.wait)
	}
}

// pathFailure gives the errors of the plane their exit code and the next step.
func pathFailure(err error) error {
	code, hint := ExitFatal, ""
	switch {
	case errors.Is(err, xdp.ErrPermission):
		code, hint = ExitPermission, "run it as root, or give it CAP_NET_ADMIN and CAP_BPF (before Linux 5.8: CAP_SYS_ADMIN)"
	case errors.Is(err, ipvs.ErrPermission):
		code, hint = ExitPermission, "run it as root, or give it CAP_NET_ADMIN"
	case errors.Is(err, ipvs.ErrNoIPVS):
		hint = "load it with modprobe ip_vs, or use data_plane xdp"
	case errors.Is(err, xdp.ErrBusy):
		code, hint = ExitRunning, "another process has this instance's pins open; give this one another name with --instance"
	case errors.Is(err, xdp.ErrForeign):
		hint = "two XDP programs cannot share an interface: remove the other, or choose interfaces with --interface"
	case errors.Is(err, xdp.ErrLayout):
		hint = "it was left by a process that was killed. To keep its connections, run the vipd that made it, with the same options; " +
			"with --discard this one removes it, with its connections, and begins anew"
	case errors.Is(err, xdp.ErrNoEthernet):
		hint = "choose interfaces with --interface, or let the kernel's IPVS forward: data_plane ipvs"
	case errors.Is(err, xdp.ErrKernel):
		hint = "a kernel of 6.1 or newer with BPF is needed"
	}
	return fail(code, hint, "%w", err)
}

// interfaces are those that packets for a service may come in by: what the command line says, else where instances
// speak and addresses stand, else every interface that is up.
func (d *daemon) interfaces() []string {
	names := d.opts.Interfaces
	if len(names) == 0 {
		for _, i := range d.cfg.Instances {
			names = append(names, i.Interface)
			for _, a := range addresses(i) {
				names = append(names, a.Dev)
			}
		}
	}
	if len(names) == 0 {
		links, _ := host.UpLinks()
		for _, l := range links {
			if l.Ethernet {
				names = append(names, l.Name)
			}
		}
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "lo" })
	slices.Sort(names)
	return slices.Compact(names)
}

func (d *daemon) services() (n int) {
	for _, s := range d.cfg.Health.Services {
		n += max(len(s.Members), 1)
	}
	return n
}

// carriers are the interfaces that the packet path is attached to for those: where frames of a VLAN or a virtual interface
// come in, as its driver hands them over with their tags.
func (d *daemon) carriers() []string {
	names := d.interfaces()
	for i, name := range names {
		names[i] = host.CarrierOf(name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (d *daemon) reals() (n int) {
	for _, s := range d.cfg.Health.Services {
		n += (len(s.Reals) + 1) * max(len(s.Members), 1)
	}
	return n
}

func atLeast(floor uint32, n int) uint32 { return max(floor, uint32(n)) }

// mountBPFFS mounts the BPF file system where pins live if nobody has.
func mountBPFFS(at string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err == nil && s.Type == unix.BPF_FS_MAGIC {
		if s.Flags&unix.ST_RDONLY != 0 {
			return fmt.Errorf("the BPF file system on %s: %w", at, unix.EROFS)
		}
		return nil
	}
	if err := unix.Mount("bpf", at, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", at, err)
	}
	return nil
}
