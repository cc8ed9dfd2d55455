package conf

import (
	"fmt"
	"net/netip"
	"slices"
)

// holder is the instance that holds an address.
type holder struct {
	router *router
	line   *Statement // of the address; nil if it cannot be told
}

// heldAs is an address as the key of its holder: a link-local one may be on every link.
type heldAs struct {
	addr netip.Addr
	dev  string
}

// addresses looks for addresses that stand where they cannot do what they are there for.
func (a *adviser) addresses(l *loader) {
	held := map[heldAs]holder{}
	for _, r := range a.routers {
		a.hold(r, held)
	}
	on := map[netip.Addr]*router{}
	for k, h := range held {
		on[k.addr] = h.router
	}
	for _, r := range a.routers {
		a.source(r, on)
		a.peers(r, on)
	}
	for _, v := range l.vss {
		a.servers(v, on)
	}
	a.orphanServices(l, on)
}

// hold notes the addresses of an instance, and says which cannot be one or are held already.
func (a *adviser) hold(r *router, held map[heldAs]holder) {
	for _, v := range slices.Concat(r.VIPs, r.Excluded) {
		addr := v.Prefix.Addr()
		k := heldAs{addr: addr}
		if addr.IsLinkLocalUnicast() {
			if k.dev = v.Dev; k.dev == "" {
				k.dev = r.Interface
			}
		}
		o, twice := held[k]
		line := addressLine(r.at, addr, o.line)
		at := line
		if at == nil {
			at = r.at
		}
		if what := noHost(v.Prefix); what != "" {
			a.say(Warning, "vip-no-host", at, 0, fmt.Sprintf("%s is %s: no host can answer for it", v.Prefix, what), "write the address of the service with the length of its network, such as 10.0.8.9/24")
		}
		switch {
		case !twice:
			held[k] = holder{r, line}
		case o.router == r:
			a.say(Warning, "vip-twice", at, 0, fmt.Sprintf("%s has %s twice: removing one of them takes the other away too", r.Name, addr), "keep one of the two lines")
		default:
			a.say(Warning, "vip-twice", at, 0, fmt.Sprintf("%s is held by %s (line %d) too: as soon as one of the two is backup here, it takes the address away from the other", addr, o.router.Name, o.router.at.Words[0].Line),
				"one address is held by one virtual router: remove it from one of them")
		}
	}
}

// addressLine finds the line of an address in an instance, but not the line seen.
func addressLine(vi *Statement, addr netip.Addr, seen *Statement) *Statement {
	for _, b := range vi.Body {
		if b.Text(0) != "virtual_ipaddress" && b.Text(0) != "virtual_ipaddress_excluded" {
			continue
		}
		for _, s := range b.Body {
			text := s.Text(0)
			p, err := netip.ParsePrefix(text)
			if err != nil {
				one, _ := netip.ParseAddr(text)
				p = netip.PrefixFrom(one, max(one.BitLen(), 0))
			}
			if p.Addr() == addr && s != seen {
				return s
			}
		}
	}
	return nil
}

// noHost says what an address is that no host can have, or "".
func noHost(p netip.Prefix) string {
	addr := p.Addr()
	switch {
	case addr.IsUnspecified():
		return "the unspecified address"
	case addr.IsMulticast():
		return "a multicast address"
	case addr.IsLoopback():
		return "a loopback address"
	case p.Bits() < 1 || p.Bits() >= addr.BitLen()-1:
		return ""
	case addr == p.Masked().Addr():
		return "the address of the network itself"
	case addr.Is4() && addr == broadcast(p):
		return "the broadcast address of its network"
	}
	return ""
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// source looks for adverts that would leave from an address that moves.
func (a *adviser) source(r *router, on map[netip.Addr]*router) {
	at := firstOf(r.at.child("unicast_src_ip"), r.at.child("mcast_src_ip"))
	if o := on[r.Source]; at != nil && o != nil {
		a.say(Warning, "source-is-vip", at, 1, fmt.Sprintf("%s is an address of %s: it is on a director only while that is master, so a backup has no address to send from", r.Source, o.Name),
			"write the director's own address on this interface, which never moves")
	}
}

// peers looks for peers that cannot be the other director.
func (a *adviser) peers(r *router, on map[netip.Addr]*router) {
	for _, b := range r.at.Body {
		if b.Text(0) != "unicast_peer" {
			continue
		}
		for _, s := range b.Body {
			addr, err := netip.ParseAddr(s.Text(0))
			switch {
			case err != nil:
			case addr == r.Source:
				a.say(Warning, "peer-is-self", s, 0, fmt.Sprintf("%s is also the source address: this director would send adverts to itself", addr), "list the addresses of the other directors only")
			case on[addr] != nil:
				a.say(Warning, "peer-is-vip", s, 0, fmt.Sprintf("%s is an address of %s, which moves: whoever is master would talk to itself", addr, on[addr].Name), "write the other director's own address")
			}
		}
	}
}

// servers looks at where a service sends packets.
func (a *adviser) servers(v *service, on map[netip.Addr]*router) {
	say := func(sev Severity, code string, p place, text, hint string) {
		a.diags.add(sev, code, p.file, p.tok, text).Hint = hint
	}
	var total int64
	own := v.Addr.Addr()
	servers := v.reals
	if v.sorry != nil {
		servers = append(slices.Clone(servers), v.sorry)
	}
	for _, r := range servers {
		addr := r.Addr.Addr()
		switch o := on[addr]; {
		case addr == own && own.IsValid():
			say(Warning, "real-is-vip", r.place, fmt.Sprintf("%s is the address of the service itself: packets would come back here instead of reaching a server", addr), "write the server's own address")
		case o != nil:
			say(Warning, "real-is-vip", r.place, fmt.Sprintf("%s is an address that %s holds: it moves between the directors, and no real server answers at it", addr, o.Name), "write the server's own address")
		}
		if r != v.sorry {
			total += int64(r.Weight)
		}
		if r != v.sorry && v.sorry != nil && r.Addr == v.sorry.Addr {
			say(Warning, "sorry-is-real", v.sorry.place, fmt.Sprintf("the sorry server %s is one of the real servers: when they have all failed, so has it", v.endpointOf(r)), "name a server that is not in the pool, or leave sorry_server out")
		}
	}
	if total == 0 && len(v.reals) > 0 && !slices.ContainsFunc(v.Servers, weighed) {
		say(Warning, "weight-zero", v.place, fmt.Sprintf("no real server of %s ever gets a connection: all weights are 0", v.label()), "give at least one real_server a weight above 0")
	}
	if v.Persistence > 0 && slices.Contains([]string{"sh", "dh", "mh"}, v.Scheduler) {
		say(Notice, "persistence-with-hash", v.place, fmt.Sprintf("persistence_timeout with lb_algo %s: what a client had first counts until it is silent for %s, not the table", v.Scheduler, short(v.Persistence)),
			"leave persistence_timeout out: the same client gets the same server from the table")
	}
}

// weighed tells a real server whose checks change its weight.
func weighed(r RealServer) bool {
	return slices.ContainsFunc(r.Checks, func(c HealthCheck) bool { return c.Dynamic || c.TrackFile != "" })
}

// orphanServices names services at addresses that no instance holds, if there are instances. The address may be on the
// host by other means, so it is only a notice.
func (a *adviser) orphanServices(l *loader, on map[netip.Addr]*router) {
	if len(on) == 0 {
		return
	}
	for _, s := range l.cfg.StaticAddresses {
		on[s.Prefix.Addr()] = nil
	}
	var first *service
	others := map[netip.Addr]bool{}
	for _, v := range l.vss {
		addr := v.Addr.Addr()
		if _, ok := on[addr]; ok || !addr.IsValid() || len(v.reals) == 0 {
			continue
		}
		if first == nil {
			first = v
		}
		others[addr] = true
	}
	if first == nil {
		return
	}
	text := fmt.Sprintf("no instance of this file holds %s", first.Addr.Addr())
	if n := len(others) - 1; n > 0 {
		text += fmt.Sprintf(", nor %d other addresses of its services", n)
	}
	d := a.diags.add(Notice, "service-without-vip", first.file, first.tok, text+": is it on this host by other means?")
	d.Hint = "if not, add it to a virtual_ipaddress, or correct it"
}
