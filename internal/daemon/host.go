package daemon

import (
	"context"
	"net/netip"

	"vipd/internal/host"
)

// Host is this machine, as far as the daemon touches it. There are two: the machine (machine.go) and the tests' fake.
// Its methods may call the kernel and never wait for a peer.
type Host interface {
	Followed
	BFDHost
	// Link tells an interface's index and state. The error is host.ErrNoInterface when there is none of that name.
	Link(name string) (host.Link, error)
	// FindLinkbeat finds the way to ask an interface's driver for its link, LinkbeatUp asks.
	FindLinkbeat(name string, wanted host.Linkbeat) (host.Linkbeat, error)
	LinkbeatUp(name string, way host.Linkbeat) bool
	// Source is the address that adverts leave from: the interface's first IPv4 address, or its first link-local IPv6
	// address, that is none of vips.
	Source(ifname string, v6 bool, vips []netip.Addr) (netip.Addr, error)
	// IsOwn tells whether any interface has an address.
	IsOwn(netip.Addr) bool
	AddAddress(host.Address) error
	DelAddress(host.Address) error
	HasAddress(host.Address) (bool, error)
	AddRoute(host.NewRoute) error
	DelRoute(host.NewRoute) error
	AddRule(host.NewRule) error
	DelRule(host.NewRule) error
	// SetSysctl sets a kernel parameter, by its path below /proc/sys, and returns what it was.
	SetSysctl(name, value string) (old string, err error)
	// Sysctl reads one.
	Sysctl(name string) (string, error)
	// VMACs are the private macvlans that there are, and the names of all interfaces.
	VMACs() ([]host.VMAC, []string, error)
	// MakeVMAC makes one, switched off, and reports whether it was not there before.
	MakeVMAC(host.VMAC) (made bool, err error)
	RemoveVMAC(name string) error
	SwitchOn(name string) error
	// Quiet sends reports of group membership from the parents of VMACs, by index, and not from them.
	Quiet(parents map[int]int) error
	// DropTo makes the host drop packets to and from these addresses, and to no others.
	DropTo([]netip.Addr) error
	// Announce sends one gratuitous ARP or, for IPv6, one neighbour advertisement.
	Announce(ifname string, addr netip.Addr) error
	OpenVRRP(host.Endpoint) (Wire, error)
	// Watch calls changed for every change of links and addresses until ctx ends.
	Watch(ctx context.Context, changed func(host.Event)) error
}

// Wire sends and receives whole packets with adverts.
type Wire interface {
	Join(group netip.Addr) error
	Send(packet []byte, to netip.Addr) error
	Recv(buf []byte) (int, error)
	// TryRecv does not wait: 0 without an error is that there is nothing.
	TryRecv(buf []byte) (int, error)
	// Interface is the index of the interface that it stands on. 0: on any.
	Interface() int
	// Descriptor is that of the socket, which can be read when something has arrived.
	Descriptor() int
	Close() error
}
