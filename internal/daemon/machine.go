package daemon

import (
	"context"
	"net/netip"
	"slices"

	"vipd/internal/host"
)

// machine is the Host that is really there.
type machine struct {
	announcer *host.Announcer
	table     host.DropTable // where no_accept is written
}

func newMachine(table host.DropTable) *machine {
	return &machine{announcer: host.NewAnnouncer(), table: table}
}

func (m *machine) Link(name string) (host.Link, error) { return host.LinkByName(name) }

func (m *machine) FindLinkbeat(name string, wanted host.Linkbeat) (host.Linkbeat, error) {
	return host.FindLinkbeat(name, wanted)
}

func (m *machine) LinkbeatUp(name string, way host.Linkbeat) bool {
	up, _ := way.Up(name) // without an answer the flags decide
	return up
}

func (m *machine) Source(ifname string, v6 bool, vips []netip.Addr) (netip.Addr, error) {
	if v6 {
		return host.LinkLocal(ifname, vips)
	}
	return host.PrimaryIPv4(ifname, vips)
}

func (m *machine) IsOwn(addr netip.Addr) bool {
	all, err := host.AllAddresses()
	return err != nil || slices.ContainsFunc(all, func(a host.Assigned) bool { return a.Prefix.Addr() == addr })
}

func (m *machine) AddAddress(a host.Address) error         { return host.AddAddress(a) }
func (m *machine) DelAddress(a host.Address) error         { return host.DelAddress(a) }
func (m *machine) HasAddress(a host.Address) (bool, error) { return host.HasAddress(a) }

func (m *machine) AddRoute(r host.NewRoute) error { return host.AddRoute(r) }
func (m *machine) DelRoute(r host.NewRoute) error { return host.DelRoute(r) }
func (m *machine) AddRule(r host.NewRule) error   { return host.AddRule(r) }
func (m *machine) DelRule(r host.NewRule) error   { return host.DelRule(r) }

func (m *machine) SetSysctl(name, value string) (string, error) { return host.SetSysctl(name, value) }

func (m *machine) Sysctl(name string) (string, error) { return host.Sysctl(name) }

func (m *machine) VMACs() ([]host.VMAC, []string, error) {
	vmacs, err := host.VMACs()
	if err != nil {
		return nil, nil, err
	}
	links, err := host.Links()
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	return vmacs, names, err
}

func (m *machine) MakeVMAC(v host.VMAC) (bool, error) { return host.MakeVMAC(v) }
func (m *machine) RemoveVMAC(name string) error       { return host.RemoveVMAC(name) }
func (m *machine) SwitchOn(name string) error         { return host.SwitchOn(name) }
func (m *machine) Quiet(parents map[int]int) error    { return host.Quiet(m.table, parents) }

func (m *machine) DropTo(all []netip.Addr) error { return host.DropTo(m.table, all) }

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
