package daemon

import (
	"context"
	"net/netip"

	"vipd/internal/host"
)

// Host is this machine, as far as the daemon touches it. There are two: the machine (machine.go) and the tests' fake.
// Its methods may call the kernel and never wait for a peer.
type Host interface {
	// Link tells an interface's index and state. The error is host.ErrNoInterface when there is none of that name.
	Link(name string) (host.Link, error)
	// Source is the address that adverts leave from: the interface's first IPv4 address that is none of vips.
	Source(ifname string, vips []netip.Addr) (netip.Addr, error)
	AddAddress(host.Address) error
	DelAddress(host.Address) error
	HasAddress(host.Address) (bool, error)
	// Announce sends one gratuitous ARP.
	Announce(ifname string, addr netip.Addr) error
	OpenVRRP(ifname string) (Wire, error)
	// Watch calls changed for every change of links and addresses until ctx ends.
	Watch(ctx context.Context, changed func(host.Event)) error
}

// Wire sends and receives whole IPv4 packets of protocol 112 on one interface.
type Wire interface {
	Send(packet []byte, to netip.Addr) error
	Recv(buf []byte) (int, error)
	Close() error
}
