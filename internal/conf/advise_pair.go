package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// Compare looks at two files as those of two directors of one site, and gives what they must agree or differ on and do
// not. What it says stands in b, the second one. Files that have no virtual router and no address in common are not
// compared.
func Compare(a, b *Checked) []Diagnostic {
	p := pair{a: a, b: b, diags: &diagnostics{}}
	p.holders()
	for _, r := range b.routers {
		if o := p.same(r); o != nil {
			p.routers(o, r)
		}
	}
	p.groups()
	if p.related {
		p.services()
	}
	return p.diags.all()
}

type pair struct {
	a, b    *Checked
	diags   *diagnostics
	related bool
}

// same finds the instance of the other file that is the same virtual router: by VRID, family and an address in common,
// since the interface may be called otherwise there, or else by the interface, or because there is no other.
func (p *pair) same(r *router) *router {
	var byIf, only *router
	n := 0
	for _, o := range p.a.routers {
		if o.VRID != r.VRID || v6(o.Config) != v6(r.Config) {
			continue
		}
		if slices.ContainsFunc(addresses(r.VIPs), func(a netip.Addr) bool { return slices.Contains(addresses(o.VIPs), a) }) {
			return o
		}
		if o.Interface == r.Interface {
			byIf = o
		}
		only = o
		n++
	}
	if byIf == nil && n == 1 && len(p.a.routers)*len(p.b.routers) == 1 {
		return only
	}
	return byIf
}

func v6(c vrrp.Config) bool { return len(c.VIPs) > 0 && c.VIPs[0].Prefix.Addr().Is6() }

// say puts a diagnostic at a line of the second router, or at its name.
func (p *pair) say(sev Severity, code string, r *router, keyword, text, hint string) {
	s, i := r.at, 1
	if c := r.at.child(keyword); c != nil {
		s, i = c, 1
	}
	d := p.diags.add(sev, code, s.File, s.Words[min(i, len(s.Words)-1)], text)
	d.Hint = hint
}

// where names the place of a router in the other file.
func (o *router) where() string {
	return fmt.Sprintf("%s (%s:%d)", o.Name, o.at.File.Name, o.at.Words[0].Line)
}

// routers compares two instances that are one virtual router.
func (p *pair) routers(o, r *router) {
	p.related = true
	p.priorities(o, r)
	const both = "each refuses the other's adverts, so both become master and hold the addresses at the same time"
	if o.Version != r.Version {
		p.say(Warning, "peer-version", r, "version", fmt.Sprintf("version %d here and %d in %s: %s", r.Version, o.Version, o.where(), both), "make the versions the same")
		return
	}
	if o.AdvertInt != r.AdvertInt && r.Version == 2 {
		p.say(Warning, "peer-advert-int", r, "advert_int", fmt.Sprintf("advert_int is %s here and %s in %s: %s", short(r.AdvertInt), short(o.AdvertInt), o.where(), both), "make them the same")
	}
	if o.AuthType != r.AuthType || o.AuthPass != r.AuthPass {
		p.say(Warning, "peer-auth", r, "authentication", fmt.Sprintf("authentication differs from that of %s: %s", o.where(), both), "make auth_type and the first 8 bytes of auth_pass the same")
	}
	if x, y := addresses(o.VIPs), addresses(r.VIPs); !slices.Equal(x, y) {
		p.say(Warning, "peer-addresses", r, "virtual_ipaddress", fmt.Sprintf("the addresses are not those of %s: %s", o.where(), difference(x, y)),
			"both directors must hold the same addresses, or some are lost at a takeover")
	}
	if x, y := addresses(o.Excluded), addresses(r.Excluded); !slices.Equal(x, y) {
		p.say(Warning, "peer-addresses", r, "virtual_ipaddress_excluded", fmt.Sprintf("the excluded addresses are not those of %s: %s", o.where(), difference(x, y)),
			"both directors must hold the same addresses, or some are lost at a takeover")
	}
}

// priorities looks at who wins the election.
func (p *pair) priorities(o, r *router) {
	if o.Priority == r.Priority {
		hint := "give the director that should be master the higher one, such as 150, and the other 100"
		text := fmt.Sprintf("priority %d is also that of %s: the higher IP address of the two becomes master, not the one that you chose", r.Priority, o.where())
		if r.Priority == 255 {
			text = fmt.Sprintf("priority 255 is also that of %s: both own the addresses and begin as master, and that does not settle", o.where())
		}
		p.say(Warning, "same-priority", r, "priority", text, hint)
	}
	if s := r.at.child("state"); s != nil && r.InitialMaster != o.InitialMaster && r.InitialMaster == (r.Priority < o.Priority) && o.Priority != r.Priority {
		p.say(Warning, "state-against-priority", r, "state", fmt.Sprintf("state %s stands here with priority %d, and %s has priority %d: that one decides, not the state",
			s.Text(1), r.Priority, o.where(), o.Priority), "give the director that should be master the higher priority, and state BACKUP to both")
	}
	if s := r.at.child("state"); s != nil && r.InitialMaster && o.InitialMaster && o.Priority != r.Priority {
		p.say(Warning, "both-master", r, "state", fmt.Sprintf("state MASTER stands in %s too: it decides nothing, but one of the two misleads its reader", o.where()),
			"write state BACKUP for the director with the lower priority, or for both")
	}
	high, low := o, r
	if r.Priority > o.Priority {
		high, low = r, o
	}
	if n := len(high.weighted) + len(low.weighted); n == 0 || high.lowest() < low.highest() || high.Priority == 255 {
		return
	}
	at := high.weighted
	if len(at) == 0 {
		at = low.weighted
	}
	d := p.diags.add(Warning, "weight-no-switch", at[0].at.File, at[0].at.Words[0], fmt.Sprintf(
		"the weights never move the addresses: at worst %s has priority %d, and %s has %d at best", high.where(), high.lowest(), low.where(), low.highest()))
	d.Hint = fmt.Sprintf("the weights must make up for more than the difference of the priorities, which is %d: at the same priority a backup stays backup", int(high.Priority)-int(low.Priority))
}

// holders looks for an address that two different virtual routers hold.
func (p *pair) holders() {
	for _, r := range p.b.routers {
		for _, o := range p.a.routers {
			if o.VRID == r.VRID {
				continue
			}
			for _, addr := range addresses(r.VIPs) {
				if !slices.Contains(addresses(o.VIPs), addr) || p.has(p.b, o.VRID) && p.has(p.a, r.VRID) {
					continue
				}
				p.related = true
				p.say(Warning, "peer-vrid", r, "virtual_router_id", fmt.Sprintf("%s has VRID %d here and %d in %s: they do not hear each other, so both hold it at the same time",
					addr, r.VRID, o.VRID, o.where()), "one address is held by one virtual router: make virtual_router_id the same")
				break
			}
		}
	}
}

func (p *pair) has(c *Checked, vrid uint8) bool {
	return slices.ContainsFunc(c.routers, func(r *router) bool { return r.VRID == vrid })
}

// services looks for those that only one of the two has.
func (p *pair) services() {
	only := func(here, there *Checked) {
		keys := map[lb.ServiceKey]bool{}
		for _, s := range there.Config.Health.Services {
			keys[s.ServiceKey] = true
		}
		for _, s := range here.Config.Health.Services {
			if !keys[s.ServiceKey] {
				d := p.diags.add(Warning, "peer-service", here.Tree.Files[0], Token{}, fmt.Sprintf("the service %s is not in %s: when the other director is master nobody serves it",
					s.ServiceKey, there.Tree.Files[0].Name))
				d.Hint = "add the virtual_server there too"
			}
		}
	}
	only(p.a, p.b)
	only(p.b, p.a)
}

func addresses(list []vrrp.Address) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, a.Prefix.Addr())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// difference says what is only there and what is only here.
func difference(there, here []netip.Addr) string {
	only := func(x, y []netip.Addr) (out []string) {
		for _, a := range x {
			if !slices.Contains(y, a) {
				out = append(out, a.String())
			}
		}
		return out
	}
	var parts []string
	if l := only(here, there); len(l) > 0 {
		parts = append(parts, "only here "+strings.Join(l, ", "))
	}
	if l := only(there, here); len(l) > 0 {
		parts = append(parts, "only there "+strings.Join(l, ", "))
	}
	if len(parts) == 0 {
		return "some stand more often than once"
	}
	return strings.Join(parts, "; ")
}
