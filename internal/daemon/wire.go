package daemon

import (
	"cmp"
	"errors"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// endpoint is where an instance's adverts come in and go out. All instances of an interface, family and kind of header
// share one: two sockets would hear everything twice.
func endpoint(cfg vrrp.Config) host.Endpoint {
	at := host.Endpoint{Dev: cmp.Or(cfg.Wire, cfg.Interface), V6: cfg.V6, AH: cfg.AuthType == vrrp.AuthAH}
	if at.Dev == "" {
		at.Local, at.VRF = cfg.Source, cfg.VRF
	}
	return at
}

// openWire opens the socket of an instance if there is none yet, and joins its group. Once the daemon runs, its packets
// are received at once.
func (a *ha) openWire(cfg vrrp.Config) error {
	at := endpoint(cfg)
	if a.wires[at] == nil {
		wire, err := a.host.OpenVRRP(at)
		if a.dynamic && errors.Is(err, host.ErrNoInterface) {
			a.events.Info("("+cfg.Name+") interface "+at.Dev+" doesn't currently exist - will use if created", "vi", cfg.Name, "if", at.Dev)
			return nil
		}
		if err != nil {
			return fail(ExitFatal, "", "open the VRRP socket on %s: %w", at, err)
		}
		a.wires[at] = wire
		if a.receivers != nil {
			a.listen(at, wire)
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

// rewire opens anew what stands on an interface that was made anew, or has come at last: a socket stays with the
// interface that it was opened on, whatever another one of the same name does.
func (a *ha) rewire(name string, index int) {
	for at, wire := range a.wires {
		if stood := wire.Interface(); at.Dev == name && stood != 0 && stood != index {
			a.unlisten(wire)
			delete(a.wires, at)
		}
	}
	fresh := map[host.Endpoint]bool{}
	for _, r := range a.speaker.Routers() {
		cfg := r.Config()
		at := endpoint(cfg)
		if at.Dev != name {
			continue
		}
		if a.wires[at] == nil && len(fresh) == 0 {
			a.events.Info("Interface "+name+" added", "if", name)
		}
		if fresh[at] = fresh[at] || a.wires[at] == nil; !fresh[at] {
			continue
		}
		if err := a.openWire(cfg); err != nil {
			a.events.Error("("+cfg.Name+") "+err.Error(), "vi", cfg.Name, "if", name)
		}
	}
}

func (a *ha) send(e vrrp.Send) {
	at := endpoint(a.speaker.Router(e.Instance).Config())
	err := error(&host.NoInterfaceError{Name: at.Dev})
	if wire := a.wires[at]; wire != nil {
		err = wire.Send(e.Packet, e.To)
	}
	if err != nil && !a.failing[e.Instance] {
		a.events.Error("("+e.Instance+") send advert: "+err.Error(), "vi", e.Instance, "if", at.Dev)
	}
	a.failing[e.Instance] = err != nil
}
