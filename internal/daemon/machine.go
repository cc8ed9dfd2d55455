package daemon

import (
	"context"
	"net/netip"

	"vipd/internal/host"
)

// machine is the Host that is really there.
type machine struct{ announcer *host.Announcer }

func newMachine() *machine { return &machine{announcer: host.NewAnnouncer()} }

func (m *machine) Link(name string) (host.Link, error) { return host.LinkByName(name) }

func (m *machine) Source(ifname string, v6 bool, vips []netip.Addr) (netip.Addr, error) {
	if v6 {
		return host.LinkLocal(ifname, vips)
	}
	return host.PrimaryIPv4(ifname, vips)
}

func (m *machine) AddAddress(a host.Address) error         { return host.AddAddress(a) }
func (m *machine) DelAddress(a host.Address) error         { return host.DelAddress(a) }
func (m *machine) HasAddress(a host.Address) (bool, error) { return host.HasAddress(a) }

func (m *machine) Announce(ifname string, addr netip.Addr) error {
	return m.announcer.Announce(ifname, addr)
}

func (m *machine) OpenVRRP(at host.Endpoint) (Wire, error) {
	s, err := host.ListenVRRP(at)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (m *machine) Watch(ctx context.Context, changed func(host.Event)) error {
	return host.Watch(ctx, changed)
}

func (m *machine) close() { _ = m.announcer.Close() }
