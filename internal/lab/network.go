package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Network is a description of hosts and the cables between them. It is plain data; Build makes it and Remove ends it.
type Network struct {
	Name   string // prefix of every namespace: NAME-HOST
	Hosts  []Host
	Cables []Cable
}

// Host is one network namespace.
type Host struct {
	Name     string
	Bridge   string         // If not empty, this host is a switch: a bridge of that name with every end of a cable as a port.
	Loopback []netip.Prefix // extra addresses on lo
	Routes   []Route
	Sysctls  []Sysctl // beyond those that every host gets (baseSysctls)
}

// Sysctl is one kernel setting of the namespace.
type Sysctl struct {
	Key, Value string // net.ipv4.ip_forward, 1
	Optional   bool   // the kernel may lack it
}

// Route is a way to a network.
type Route struct {
	To  netip.Prefix // If zero, everything (IPv4).
	Via netip.Addr
}

// Cable joins two hosts: a veth pair.
type Cable struct{ A, B End }

// End is one end of a cable: an interface inside a host.
type End struct {
	Host, If string
	MAC      [6]byte
	Addrs    []netip.Prefix
	// ChecksumOff makes the sender compute every checksum. A veth leaves that to a device which does not exist, and a
	// packet that an XDP program sends on has lost the note that says so.
	ChecksumOff bool
	// PassXDP attaches a program that lets everything pass. A veth sends what the program at the other end transmits
	// (XDP_TX) only if this end has a program too (drivers/net/veth.c, Linux 4.19 and later).
	PassXDP bool
}

// Namespace is the name of host's namespace, as `ip netns` shows it.
func (n Network) Namespace(host string) string { return n.Name + "-" + host }

// Host finds a host by its name.
func (n Network) Host(name string) (Host, bool) {
	for _, h := range n.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// ends returns every end of every cable that is plugged into host.
func (n Network) ends(host string) []End {
	var out []End
	for _, c := range n.Cables {
		for _, e := range []End{c.A, c.B} {
			if e.Host == host {
				out = append(out, e)
			}
		}
	}
	return out
}

// plug returns host's first end and the end at the other side of that cable.
func (n Network) plug(host string) (own, far End, ok bool) {
	for _, c := range n.Cables {
		switch host {
		case c.A.Host:
			return c.A, c.B, true
		case c.B.Host:
			return c.B, c.A, true
		}
	}
	return End{}, End{}, false
}

// Check finds mistakes in the description: names used twice, ends at unknown hosts, equal MACs, gateways out of reach.
// An address that stands on several hosts is no mistake: that is what a virtual IP is.
func (n Network) Check() error {
	var errs []error
	hosts := map[string]bool{}
	for _, h := range n.Hosts {
		if hosts[h.Name] {
			errs = append(errs, fmt.Errorf("host %s: described twice", h.Name))
		}
		hosts[h.Name] = true
	}
	ifs, macs := map[string]bool{}, map[[6]byte]bool{}
	for _, c := range n.Cables {
		for _, e := range []End{c.A, c.B} {
			errs = append(errs, checkEnd(e, hosts, ifs, macs))
		}
	}
	for _, h := range n.Hosts {
		for _, r := range h.Routes {
			if !n.reaches(h.Name, r.Via) {
				errs = append(errs, fmt.Errorf("host %s: gateway %s is on none of its networks", h.Name, r.Via))
			}
		}
	}
	return errors.Join(errs...)
}

// maxIfName is the longest interface name that the kernel takes (IFNAMSIZ less the final zero).
const maxIfName = 15

func checkEnd(e End, hosts, ifs map[string]bool, macs map[[6]byte]bool) error {
	name := e.Host + "/" + e.If
	switch {
	case !hosts[e.Host]:
		return fmt.Errorf("cable at %s: no such host", name)
	case e.If == "" || len(e.If) > maxIfName:
		return fmt.Errorf("cable at %s: an interface name has 1 to %d characters", name, maxIfName)
	case ifs[name]:
		return fmt.Errorf("cable at %s: interface used twice", name)
	case e.MAC[0]&1 != 0 || e.MAC == [6]byte{}:
		return fmt.Errorf("cable at %s: %s is no unicast MAC", name, net.HardwareAddr(e.MAC[:]))
	case macs[e.MAC]:
		return fmt.Errorf("cable at %s: MAC %s used twice", name, net.HardwareAddr(e.MAC[:]))
	}
	ifs[name], macs[e.MAC] = true, true
	return nil
}

func (n Network) reaches(host string, a netip.Addr) bool {
	for _, e := range n.ends(host) {
		for _, p := range e.Addrs {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}
