package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// built is a network that stands: a thread in every host.
type built struct {
	net     Network
	keepers map[string]*keeper
}

// baseSysctls hold in every host, whatever the machine's own namespace has: a new namespace inherits IPv4's settings
// from it. IPv6 is off so that captures show the scene and nothing else.
var baseSysctls = []Sysctl{
	{Key: "net.ipv6.conf.all.disable_ipv6", Value: "1", Optional: true},
	{Key: "net.ipv6.conf.default.disable_ipv6", Value: "1", Optional: true},
	{Key: "net.ipv4.ip_forward", Value: "0"},
	{Key: "net.ipv4.conf.all.rp_filter", Value: "0"},
	{Key: "net.ipv4.conf.default.rp_filter", Value: "0"},
	{Key: "net.ipv4.conf.all.arp_ignore", Value: "0"},
	{Key: "net.ipv4.conf.default.arp_ignore", Value: "0"},
	{Key: "net.ipv4.conf.all.arp_announce", Value: "0"},
	{Key: "net.ipv4.conf.default.arp_announce", Value: "0"},
	{Key: "net.bridge.bridge-nf-call-iptables", Value: "0", Optional: true},
}

// build makes the network. Namespaces of the same names must be gone (Lab.Down). On failure the caller removes what
// was made.
func build(n Network) (*built, error) {
	b := &built{net: n, keepers: map[string]*keeper{}}
	if err := n.Check(); err != nil {
		return b, err
	}
	for _, h := range n.Hosts {
		k, err := createNamespace(n.Namespace(h.Name))
		if err != nil {
			return b, err
		}
		b.keepers[h.Name] = k
		if err := k.run(func() error { return prepareHost(h) }); err != nil {
			return b, fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	for _, c := range n.Cables {
		if err := b.plug(c); err != nil {
			return b, fmt.Errorf("cable %s-%s: %w", c.A.Host, c.B.Host, err)
		}
	}
	for _, h := range n.Hosts {
		if err := b.keepers[h.Name].run(func() error { return addRoutes(h.Routes) }); err != nil {
			return b, fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return b, nil
}

// open returns the network that an earlier process built.
func open(n Network) (*built, error) {
	b := &built{net: n, keepers: map[string]*keeper{}}
	for _, h := range n.Hosts {
		k, err := openNamespace(n.Namespace(h.Name))
		if err != nil {
			b.close()
			return nil, err
		}
		b.keepers[h.Name] = k
	}
	return b, nil
}

// close ends the threads; the network stays.
func (b *built) close() {
	for _, k := range b.keepers {
		k.close()
	}
	b.keepers = nil
}

// inside executes fn in host's namespace.
func (b *built) inside(host string, fn func() error) error {
	k := b.keepers[host]
	if k == nil {
		return fmt.Errorf("no host %s", host)
	}
	return k.run(fn)
}

// prepareHost runs inside the new namespace: settings first, because interfaces take over conf.default as they appear.
func prepareHost(h Host) error {
	if err := setSysctls(append(append([]Sysctl{}, baseSysctls...), h.Sysctls...)); err != nil {
		return err
	}
	if h.Bridge != "" {
		if err := addBridge(h.Bridge); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return addAddrs(lo, h.Loopback)
}

// addBridge makes a plain switch: no spanning tree, no delay before a port forwards, multicast flooded as adverts need it.
func addBridge(name string) error {
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("create bridge %s: %w", name, err)
	}
	return netlink.LinkSetUp(br)
}

func setSysctls(settings []Sysctl) error {
	for _, s := range settings {
		path := "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
		err := os.WriteFile(path, []byte(s.Value), 0)
		if err != nil && !(s.Optional && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("set %s: %w", s.Key, err)
		}
	}
	return nil
}

// plug makes both ends of a cable, each at once in its own namespace, so that no interface ever shows on the machine.
func (b *built) plug(c Cable) error {
	far, err := os.Open(netnsDir + "/" + b.net.Namespace(c.B.Host))
	if err != nil {
		return err
	}
	defer far.Close()
	err = b.inside(c.A.Host, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = c.A.If, c.A.MAC[:]
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: c.B.If, PeerHardwareAddr: c.B.MAC[:],
			PeerNamespace: netlink.NsFd(int(far.Fd()))})
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	for _, e := range []End{c.A, c.B} {
		h, _ := b.net.Host(e.Host)
		if err := b.inside(e.Host, func() error { return fitEnd(e, h.Bridge) }); err != nil {
			return fmt.Errorf("%s in %s: %w", e.If, e.Host, err)
		}
	}
	return nil
}

// fitEnd gives one end its addresses and switches it on.
func fitEnd(e End, bridge string) error {
	link, err := netlink.LinkByName(e.If)
	if err != nil {
		return err
	}
	if e.ChecksumOff {
		if err := checksumOff(e.If); err != nil {
			return err
		}
	}
	if bridge != "" {
		br, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(link, br); err != nil {
			return fmt.Errorf("add to %s: %w", bridge, err)
		}
	}
	if e.PassXDP {
		if err := attachPass(link); err != nil {
			return err
		}
	}
	if err := addAddrs(link, e.Addrs); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func addAddrs(link netlink.Link, addrs []netip.Prefix) error {
	for _, p := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addRoutes(routes []Route) error {
	for _, r := range routes {
		route := &netlink.Route{Gw: r.Via.AsSlice(), Protocol: unix.RTPROT_STATIC}
		if r.To.IsValid() {
			route.Dst = ipNet(r.To)
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("add route via %s: %w", r.Via, err)
		}
	}
	return nil
}
