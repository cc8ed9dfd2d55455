package realserver

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Facts are what a Linux host has, as far as a real server's duty goes.
type Facts struct {
	Addresses []Address
	Links     []Link
	Segment   string            // interface by which the director is reached. If empty, it is not known.
	Sysctls   map[string]string // by name with dots; a name that the kernel lacks is not in it
	Default4  Way
	Default6  Way
	Listens   []Listen
	Modules   map[string]bool // tunnel devices that the kernel can make: ipip, sit, ip6_tunnel
	Decap     []Decap         // this program's own
}

// Address is one on an interface.
type Address struct {
	Dev       string
	Prefix    netip.Prefix
	DADFailed bool
	Preferred bool // IPv6: it may be chosen as the source of this host's own connections
}

// Link is an interface.
type Link struct {
	Name     string
	Kind     string // ipip, ip6tnl, sit, veth, …
	Up       bool
	Loopback bool
	Quiet    bool // it neither asks nor answers for addresses: loopback, dummy, tunnels
	MTU      int
}

// Way is a default route.
type Way struct {
	Via    netip.Addr // If zero, there is none.
	Dev    string
	MTU    int    // of the route, else of its interface
	AdvMSS int    // If zero, MTU decides.
	Rest   string // what else stands in it: proto, metric, src
}

// Listen is a socket that waits for clients.
type Listen struct {
	At       netip.Addr // unspecified: all
	Port     uint16
	V6Only   bool
	Datagram bool
}

// Decap is an interface with this program's decapsulator.
type Decap struct {
	Dev  string
	VIPs []netip.Addr
}

func (f *Facts) link(name string) (Link, bool) {
	i := slices.IndexFunc(f.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return f.Links[i], true
}

// sysctl is a setting of an interface as the kernel takes it: the larger of its own and that of all.
func (f *Facts) sysctl(dev, name string) int {
	all, _ := strconv.Atoi(f.Sysctls["net.ipv4.conf.all."+name])
	own, _ := strconv.Atoi(f.Sysctls[Setting(dev, name)])
	return max(all, own)
}

func (f *Facts) way(v6 bool) Way {
	if v6 {
		return f.Default6
	}
	return f.Default4
}

// Setting is a sysctl of an interface; the dots of its name are written as slashes (sysctl(8)).
func Setting(dev, name string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(dev, ".", "/") + "." + name
}

// Path is the file of a sysctl, below /proc/sys.
func Path(sysctl string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, sysctl)
}

// Settings are the sysctls of an interface that Facts has.
var Settings = []string{"arp_ignore", "arp_announce", "rp_filter"}
