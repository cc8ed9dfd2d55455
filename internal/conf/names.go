package conf

import "strings"

// routeTypes are the types of rtnetlink(7); a number is one too.
var routeTypes = words("local nat broadcast brd anycast multicast prohibit unreachable blackhole xresolve unicast throw")

// The names below are those that iproute2 has everywhere. A machine's own are asked for by TestOptions.Name.
var (
	routeTables = words("default main local unspec")
	routeProtos = words("none unspec redirect kernel boot static gated ra mrt zebra bird babel dnrouted xorp ntk dhcp keepalived openr bgp isis ospf rip eigrp")
	ifGroups    = words("default")
	dsfields    = words("default AF11 AF12 AF13 AF21 AF22 AF23 AF31 AF32 AF33 AF41 AF42 AF43 CS1 CS2 CS3 CS4 CS5 CS6 CS7 EF")
	ipProtos    = words("ip icmp igmp tcp udp ipv6 gre esp ah ipv6-icmp ospf vrrp sctp udplite")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// named tells whether a word is a number up to hi (in C notation) or one of the names of its kind.
func (l *loader) named(kind, w string, hi uint64, names map[string]bool) bool {
	neg, v, rest, over := cutNumber(w, true)
	if w != "" && rest == "" {
		return !neg && !over && v <= hi
	}
	return names[w] || l.host != nil && l.host.Name != nil && l.host.Name(kind, w)
}

// realms reads FROM/TO or TO.
func (l *loader) realms(w string) bool {
	for _, r := range strings.SplitN(w, "/", 2) {
		if !l.named("rt_realms", r, 255, nil) {
			return false
		}
	}
	return true
}
