package lab

import (
	"fmt"
	"maps"
	"net/netip"
)

// Site is the project's scene: a client behind a router, a switch, two directors and two real servers in direct
// routing mode, the virtual IP on the real servers' loopback.
type Site struct {
	Network
	VIP       netip.AddrPort
	Directors []string              // hosts
	Reals     map[string]netip.Addr // host to its address
	Proxies   map[string]netip.Addr // HAProxy's hosts, which the method content has between directors and real servers
	Clients   []netip.Addr          // addresses that the client may send from
	Users     []netip.Addr          // addresses of a person at the same host, who uses the forum
	inside    []Route               // of hosts on the switch
}

// The site's networks and addresses.
var (
	siteVIP    = netip.MustParseAddr("10.0.8.9")
	siteInside = netip.MustParseAddr("10.0.8.1") // router, towards the switch
	siteFront  = netip.MustParseAddr("10.0.4.1") // router, towards the client
)

// clients is how many addresses the client has, from 10.0.4.102 on, and users how many a person has beside it.
const clients, users = 10, 4

// NewSite describes the site as a network called name.
func NewSite(name string) Site {
	s := Site{
		VIP:       netip.AddrPortFrom(siteVIP, 80),
		Directors: []string{"director1", "director2"},
		Reals: map[string]netip.Addr{
			"real1": netip.MustParseAddr("10.0.8.13"),
			"real2": netip.MustParseAddr("10.0.8.12"),
		},
	}
	for i := range clients {
		s.Clients = append(s.Clients, netip.AddrFrom4([4]byte{10, 0, 4, byte(102 + i)}))
	}
	for i := range users {
		s.Users = append(s.Users, netip.AddrFrom4([4]byte{10, 0, 4, byte(102 + clients + i)}))
	}
	def := []Route{{Via: siteInside}}
	s.inside = def
	hidden := []Sysctl{{Key: "net.ipv4.conf.all.arp_ignore", Value: "1"}, {Key: "net.ipv4.conf.all.arp_announce", Value: "2"}}
	lo := []netip.Prefix{netip.PrefixFrom(siteVIP, 32)}
	s.Network = Network{
		Name: name,
		Hosts: []Host{
			{Name: "client", Routes: []Route{{Via: siteFront}}},
			{Name: "router", Sysctls: []Sysctl{{Key: "net.ipv4.ip_forward", Value: "1"}}},
			{Name: "switch", Bridge: "br0"},
			{Name: "director1", Routes: def},
			{Name: "director2", Routes: def},
			{Name: "real1", Routes: def, Loopback: lo, Sysctls: hidden},
			{Name: "real2", Routes: def, Loopback: lo, Sysctls: hidden},
		},
		Cables: []Cable{
			{A: end("client", "eth0", append(s.Clients[:clients:clients], s.Users...)...), B: end("router", "eth1", siteFront)},
			patch("router", siteInside, false),
			patch("director1", netip.MustParseAddr("10.0.8.25"), true),
			patch("director2", netip.MustParseAddr("10.0.8.55"), true),
			patch("real1", s.Reals["real1"], false),
			patch("real2", s.Reals["real2"], false),
		},
	}
	return s
}

// end is an interface of a host whose MAC tells its first address: 02:00 and the four bytes.
func end(host, ifname string, addrs ...netip.Addr) End {
	e := End{Host: host, If: ifname, ChecksumOff: true}
	for _, a := range addrs {
		e.Addrs = append(e.Addrs, netip.PrefixFrom(a, 24))
	}
	ip := addrs[0].As4()
	e.MAC = [6]byte{2, 0, ip[0], ip[1], ip[2], ip[3]}
	return e
}

// patch is the cable from host's eth0 to the switch, whose port is named after the host.
func patch(host string, addr netip.Addr, xdp bool) Cable {
	own := end(host, "eth0", addr)
	port := End{Host: "switch", If: host, MAC: own.MAC, PassXDP: xdp}
	port.MAC[1] = 1
	return Cable{A: own, B: port}
}

// servers are the real servers and what is before them: all that is in a pool of the directors.
func (s Site) servers() map[string]netip.Addr {
	all := maps.Clone(s.Reals)
	maps.Copy(all, s.Proxies)
	return all
}

// RealNamed finds the host of a real server by its address.
func (s Site) RealNamed(addr string) (string, error) {
	for host, a := range s.Reals {
		if a.String() == addr {
			return host, nil
		}
	}
	return "", fmt.Errorf("no real server of the lab has the address %s", addr)
}
