package realserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The codes of what Check finds.
const (
	VIPMissing   = "vip-missing"   // on no interface
	VIPOnSegment = "vip-segment"   // on an interface that answers for it
	VIPPrefix    = "vip-prefix"    // with neighbours
	VIPRefused   = "vip-dadfailed" // duplicate address detection has refused it
	VIPSource    = "vip-source"    // used for this host's own connections
	ARPIgnore    = "arp-ignore"
	ARPAnnounce  = "arp-announce"
	RPFilter     = "rp-filter"
	NoDecap      = "no-decap"
	TunnelDown   = "tunnel-down"
	TunnelMSS    = "tunnel-mss"
	NoListener   = "no-listener"
	Gateway      = "gateway"
)

// Check judges a Linux host: what is wrong with it as a real server, in the order in which it should be mended.
func Check(n Need, f Facts) []Finding {
	c := checker{need: n, facts: &f}
	switch n.Method {
	case DR:
		c.hidden()
		c.reversePath(f.Segment)
	case TUN:
		c.hidden()
		c.decapsulated()
	case NAT:
		c.gateway()
	}
	c.listeners()
	for i := range c.out {
		c.out[i].Cures = Cures(n, f, c.out[i].Code)
	}
	return c.out
}

type checker struct {
	need  Need
	facts *Facts
	out   []Finding
}

func (c *checker) wrong(code, subject, what, how string) {
	c.out = append(c.out, Finding{Code: code, Subject: subject, What: what, How: how})
}

func (c *checker) warn(code, subject, what, how string) {
	c.out = append(c.out, Finding{Code: code, Subject: subject, What: what, How: how, Warning: true})
}

// hidden: the virtual addresses are here, and nobody on the segment is told so.
func (c *checker) hidden() {
	for _, v := range c.need.VIPs {
		c.holds(v)
	}
	if !c.need.has(false) || c.facts.Segment == "" {
		return
	}
	dev := c.facts.Segment
	// ip-sysctl: 1: only if the target is configured on the incoming interface; 2: and the sender is in its network; 3: not
	// for scope host; 8: for no local address.
	if v := c.facts.sysctl(dev, "arp_ignore"); v == 0 || v > 3 && v != 8 {
		c.wrong(ARPIgnore, dev, "this host answers ARP for its virtual addresses, and takes the traffic from the director",
			fmt.Sprintf("arp_ignore of %s is %d (the larger of all and %s counts)", dev, v, dev))
	}
	if v := c.facts.sysctl(dev, "arp_announce"); v < 2 {
		c.wrong(ARPAnnounce, dev, "ARP requests of this host may carry a virtual address as their sender, and its neighbours learn it",
			fmt.Sprintf("arp_announce of %s is %d (the larger of all and %s counts)", dev, v, dev))
	}
}

// holds judges where one virtual address is.
func (c *checker) holds(v netip.Addr) {
	quiet := false
	for _, a := range c.facts.Addresses {
		if a.Prefix.Addr() != v {
			continue
		}
		link, _ := c.facts.link(a.Dev)
		switch {
		case !link.Quiet:
			c.wrong(VIPOnSegment, v.String(), a.Dev+" has it: this host answers for it there, whatever arp_ignore says", "address list of "+a.Dev)
			continue
		case a.DADFailed:
			c.wrong(VIPRefused, v.String(), "the kernel found it in use on the segment and does not use it (dadfailed)", "flags of the address on "+a.Dev)
		case !a.Prefix.IsSingleIP():
			c.wrong(VIPPrefix, v.String(), fmt.Sprintf("%s has it with its network: all of %s counts as this host itself", a.Dev, a.Prefix.Masked()),
				fmt.Sprintf("its prefix length is %d, not %d", a.Prefix.Bits(), v.BitLen()))
		case v.Is6() && a.Preferred:
			c.warn(VIPSource, v.String(), "this host may choose it as the source of its own connections, whose answers go to the director",
				"it is not deprecated (preferred_lft 0)")
		}
		quiet = true
	}
	if !quiet && !slices.ContainsFunc(c.out, func(f Finding) bool { return f.Subject == v.String() && f.Code == VIPOnSegment }) {
		c.wrong(VIPMissing, v.String(), "this host does not have it: what the director sends is thrown away", "no interface has the address")
	}
}

// reversePath: packets of clients come in by dev; answers may leave by another interface, and strict filtering drops them then.
func (c *checker) reversePath(dev string) {
	if dev == "" || !c.need.has(false) || c.facts.sysctl(dev, "rp_filter") != 1 {
		return
	}
	if back := c.facts.Default4; back.Via.IsValid() && back.Dev == dev {
		return
	}
	c.wrong(RPFilter, dev, "packets of clients that come in by "+dev+" are dropped, as the way back to them is another",
		fmt.Sprintf("rp_filter of %s is 1, and the default route is %s", dev, c.facts.Default4))
}

func (w Way) String() string {
	if !w.Via.IsValid() {
		return "missing"
	}
	return w.Via.String() + " by " + w.Dev
}

// device is the kernel's tunnel device for a VIP's family; empty where the kernel has none that is of use here.
func (n Need) device(f *Facts, v6 bool) (name, module string) {
	outer6 := slices.ContainsFunc(n.Directors, netip.Addr.Is6)
	switch {
	case n.tunnel() != "ipip" || n.Decap:
		return "", ""
	case outer6 && f.Modules["ip6_tunnel"]:
		return "vipd6", "ip6_tunnel"
	case !outer6 && v6 && f.Modules["sit"]:
		return "sit0", "sit"
	case !outer6 && !v6 && f.Modules["ipip"]:
		return "tunl0", "ipip"
	}
	return "", ""
}

// decapsulated: what comes through the tunnel is unpacked, is not filtered, and fits.
func (c *checker) decapsulated() {
	for _, v6 := range []bool{false, true} {
		if !c.need.has(v6) {
			continue
		}
		c.unpacked(v6)
		c.segments(v6)
	}
}

func (c *checker) unpacked(v6 bool) {
	f := c.facts
	missing := slices.DeleteFunc(slices.Clone(c.need.VIPs), func(v netip.Addr) bool {
		return v.Is6() != v6 || slices.ContainsFunc(f.Decap, func(d Decap) bool { return slices.Contains(d.VIPs, v) && (f.Segment == "" || d.Dev == f.Segment) })
	})
	if len(missing) == 0 {
		c.reversePath(f.Segment)
		return
	}
	dev, _ := c.need.device(f, v6)
	link, there := f.link(dev)
	switch {
	case dev == "":
		c.wrong(NoDecap, joined(missing), "nothing unpacks what comes by "+c.need.tunnel(), "no tunnel device, and no decapsulator of vipd on "+f.Segment)
	case !there:
		c.wrong(NoDecap, joined(missing), "nothing unpacks what comes by "+c.need.tunnel(), "there is no "+dev)
	case !link.Up:
		c.wrong(TunnelDown, dev, "it is down: what comes by the tunnel is refused", "flags of "+dev)
	case !v6 && f.sysctl(dev, "rp_filter") == 1:
		c.wrong(RPFilter, dev, "packets that come out of the tunnel are dropped, as the way back to clients is another interface",
			"rp_filter of "+dev+" is 1 (the larger of all and "+dev+" counts)")
	case !v6 && f.sysctl(dev, "rp_filter") != 0 && !slices.ContainsFunc(f.Addresses, func(a Address) bool { return a.Dev == dev && a.Prefix.Addr().Is4() }):
		c.wrong(RPFilter, dev, "packets that come out of the tunnel are dropped: on an interface without an address Linux takes a loose rp_filter for a strict one",
			fmt.Sprintf("rp_filter of %s is %d (the larger of all and %s counts), and it has no IPv4 address", dev, f.sysctl(dev, "rp_filter"), dev))
	}
}

// segments: a client must not send more than fits into the tunnel.
func (c *checker) segments(v6 bool) {
	way, most := c.facts.way(v6), c.need.MSS(v6)
	if !way.Via.IsValid() {
		return
	}
	mss := way.AdvMSS
	if mss == 0 && way.MTU > 0 {
		mss = way.MTU - 40
		if v6 {
			mss -= 20
		}
	}
	if mss > most {
		c.warn(TunnelMSS, way.Dev, "clients are told that they may send more than fits into the tunnel: large requests hang where ICMP is filtered",
			fmt.Sprintf("the default route makes this host ask for segments of %d bytes; %d fit", mss, most))
	}
}

// gateway: answers must go back through the director.
func (c *checker) gateway() {
	for _, v6 := range []bool{false, true} {
		if !c.need.has(v6) {
			continue
		}
		i := slices.IndexFunc(c.need.Directors, func(d netip.Addr) bool { return d.Is6() == v6 })
		if way := c.facts.way(v6); i >= 0 && !slices.Contains(c.need.Directors, way.Via) {
			c.wrong(Gateway, c.need.Directors[i].String(), "answers to clients do not go back through the director, and clients refuse them",
				"the default route is "+way.String())
		}
	}
}

// listeners: somebody waits at the address and port that packets arrive with.
func (c *checker) listeners() {
	if c.need.Method == NAT {
		return // to which address the director translates is its own matter
	}
	for _, v := range c.need.VIPs {
		for _, port := range c.need.Ports {
			at := []string{}
			ok := slices.ContainsFunc(c.facts.Listens, func(l Listen) bool {
				if l.Port == port {
					at = append(at, l.At.String())
				}
				return l.Port == port && (l.At == v || l.At.IsUnspecified() && (l.At.Is6() == v.Is6() || l.At.Is6() && !l.V6Only))
			})
			if ok {
				continue
			}
			how := "no socket listens at that port"
			if len(at) > 0 {
				how = "sockets listen at " + strings.Join(at, ", ") + " alone"
			}
			c.wrong(NoListener, netip.AddrPortFrom(v, port).String(), "nobody listens there: clients are refused", how)
		}
	}
}

func joined(all []netip.Addr) string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return strings.Join(out, ",")
}
