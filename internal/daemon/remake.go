package daemon

import (
	"errors"
	"slices"

	"vipd/internal/host"
)

// What happens when somebody deletes an interface that this program needs, and when one of that name comes again.

// linkChanged takes what the host tells of its links.
func (d *daemon) linkChanged(e host.Event) {
	l, ok := e.(host.LinkEvent)
	if !ok {
		return
	}
	if d.vmacsNeed(l.Name) {
		d.soon(d.remakeVMACs)
	}
	m := d.servicePool()
	switch {
	case m == nil:
	case l.Gone:
		d.detached(l.Name)
	case !l.Up || !l.Ethernet || l.Loopback:
	case d.everyInterface():
		_ = m.ask(func() error { return d.attach(m.plane) }) // which cannot fail here
	case d.attachable(l.Name):
		d.soon(d.reattach)
	}
}

// soon has fn executed by serve, which owns the configuration. Nobody waits for it.
func (d *daemon) soon(fn func()) {
	d.wg.Go(func() {
		select {
		case d.orders <- fn:
		case <-d.ctx.Done():
		}
	})
}

// detached forgets an interface that is gone, and the packet path on it with it.
func (d *daemon) detached(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.links)
	d.links = slices.DeleteFunc(d.links, func(a attached) bool { return a.name == name })
	delete(d.left, name)
	if len(d.links) < before && !d.everyInterface() {
		d.notThere(name)
	}
}

// notThere notes that the packet path goes onto an interface once there is one of that name.
func (d *daemon) notThere(name string) {
	if d.left == nil {
		d.left = map[string]string{}
	}
	d.left[name] = "there is no such interface"
}

// attachable reports whether the packet path waits for that interface.
func (d *daemon) attachable(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, waits := d.left[name]
	return waits
}

// reattach attaches the packet path to what has come again.
func (d *daemon) reattach() {
	m := d.servicePool()
	if m == nil {
		return
	}
	if err := m.ask(func() error { return d.attach(m.plane) }); err != nil {
		d.events.of("plane").Error(err.Error())
	}
}

// vmacsNeed reports whether that is a VMAC, or carries one.
func (d *daemon) vmacsNeed(name string) bool {
	names := d.vmacNames.Load()
	return names != nil && slices.Contains(*names, name)
}

// noteVMACs makes known which interfaces those are.
func (d *daemon) noteVMACs() {
	var names []string
	for _, v := range d.raised.vmacs {
		names = append(names, v.Name, v.Parent)
	}
	d.vmacNames.Store(&names)
}

// remakeVMACs makes those anew that somebody has deleted, alone or with the interface that carries them. Their instances
// hear of it as of any interface that goes and comes.
func (d *daemon) remakeVMACs() {
	for _, v := range d.raised.vmacs {
		_, err := d.host.Link(v.Name)
		if _, parent := d.host.Link(v.Parent); !errors.Is(err, host.ErrNoInterface) || parent != nil {
			continue
		}
		d.events.Info("Interface "+v.Name+" deleted", "vi", v.instance, "if", v.Name)
		if err := d.raise(v); err != nil {
			d.events.Error("("+v.instance+") "+err.Error(), "vi", v.instance, "if", v.Name)
			continue
		}
		d.quiet()
		if err := d.switchOn(v); err != nil {
			d.events.Error("("+v.instance+") "+err.Error(), "vi", v.instance, "if", v.Name)
		}
	}
}
