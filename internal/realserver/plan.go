package realserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Step is one thing to be done on a Linux host, and how it is taken back. Either a sysctl or a command.
type Step struct {
	Mends string `json:"mends"` // the code of the finding that it is for

	Sysctl string `json:"sysctl,omitempty"` // name with dots
	Value  string `json:"value,omitempty"`
	Was    string `json:"was,omitempty"` // before it was set: whoever executes it fills this in

	Do   []string `json:"do,omitempty"`
	Undo []string `json:"undo,omitempty"`
	// Manager: the address that the step adds, for the files of those who manage addresses.
	Address netip.Prefix `json:"address,omitzero"`
}

// String is the step as a line for a shell.
func (s Step) String() string {
	if s.Sysctl != "" {
		return "sysctl -w " + s.Sysctl + "=" + s.Value
	}
	return strings.Join(s.Do, " ")
}

// Back is the line that takes it back. Of a sysctl whose value before is not known, the kernel's default.
func (s Step) Back() string {
	if s.Sysctl == "" {
		return strings.Join(s.Undo, " ")
	}
	was := s.Was
	if was == "" {
		was = "0"
	}
	return "sysctl -w " + s.Sysctl + "=" + was
}

// Plan is all that a host lacks for what it is to be, in the order in which it is to be done: nobody answers for an address
// before it is there.
func Plan(n Need, f Facts) []Step {
	var out []Step
	codes := map[string]bool{}
	for _, found := range Check(n, f) {
		codes[found.Code] = true
	}
	for _, s := range everything(n, f) {
		same := func(o Step) bool { return o.String() == s.String() }
		if codes[s.Mends] && !s.done(f) && !slices.ContainsFunc(out, same) {
			out = append(out, s)
		}
	}
	return out
}

// done tells that a host has it already.
func (s Step) done(f Facts) bool {
	if s.Sysctl != "" {
		return f.Sysctls[s.Sysctl] == s.Value
	}
	return s.Mends == VIPMissing && s.Address.IsValid() &&
		slices.ContainsFunc(f.Addresses, func(a Address) bool {
			l, _ := f.link(a.Dev)
			return a.Prefix == s.Address && l.Quiet
		})
}

// everything is all that a real server of that kind needs, whatever f has already; f names its interfaces.
func everything(n Need, f Facts) []Step {
	switch n.Method {
	case DR:
		return slices.Concat(quiet(n), filter(f.Segment, n), addresses(n, f))
	case TUN:
		return slices.Concat(quiet(n), unpack(n, f), addresses(n, f), segmentSteps(n, f))
	}
	return gatewaySteps(n, f)
}

func sysctl(mends, name, value string) Step { return Step{Mends: mends, Sysctl: name, Value: value} }

// quiet: of all interfaces, also those to come; a request never comes in by lo, so a value there has no effect.
func quiet(n Need) []Step {
	if !n.has(false) {
		return nil
	}
	return []Step{sysctl(ARPIgnore, "net.ipv4.conf.all.arp_ignore", "1"), sysctl(ARPAnnounce, "net.ipv4.conf.all.arp_announce", "2")}
}

// filter: 2 accepts what has any way back; the larger of all and the interface's counts, so that 0 would not do.
func filter(dev string, n Need) []Step {
	if !n.has(false) {
		return nil
	}
	if dev == "" {
		dev = "all"
	}
	return []Step{sysctl(RPFilter, Setting(dev, "rp_filter"), "2")}
}

func addresses(n Need, f Facts) []Step {
	var out []Step
	for _, v := range n.VIPs {
		for _, a := range f.Addresses {
			if a.Prefix.Addr() == v {
				out = append(out, misplaced(a, f)...)
			}
		}
		p := hostPrefix(v).String()
		add := Step{Mends: VIPMissing, Address: hostPrefix(v), Do: []string{"ip", "addr", "replace", p, "dev", "lo", "scope", "host"},
			Undo: []string{"ip", "addr", "del", p, "dev", "lo"}}
		if v.Is6() {
			add.Do = []string{"ip", "-6", "addr", "replace", p, "dev", "lo", "preferred_lft", "0", "nodad"}
			add.Undo = []string{"ip", "-6", "addr", "del", p, "dev", "lo"}
		}
		for _, code := range []string{VIPMissing, VIPOnSegment, VIPPrefix, VIPRefused, VIPSource} {
			add.Mends = code
			out = append(out, add)
		}
	}
	return dedup(out)
}

// misplaced takes an address away from where it does harm.
func misplaced(a Address, f Facts) []Step {
	link, _ := f.link(a.Dev)
	s := Step{Do: []string{"ip", "addr", "del", a.Prefix.String(), "dev", a.Dev}, Undo: []string{"ip", "addr", "add", a.Prefix.String(), "dev", a.Dev}}
	switch {
	case !link.Quiet:
		s.Mends = VIPOnSegment
	case a.DADFailed:
		s.Mends = VIPRefused
	case !a.Prefix.IsSingleIP():
		s.Mends = VIPPrefix
	default:
		return nil
	}
	return []Step{s}
}

// dedup leaves out steps that say the same for the same code.
func dedup(all []Step) []Step {
	var out []Step
	for _, s := range all {
		if !slices.ContainsFunc(out, func(o Step) bool { return o.Mends == s.Mends && o.String() == s.String() }) {
			out = append(out, s)
		}
	}
	return out
}

// unpack: the kernel's tunnel devices where they are of use, else this program's decapsulator.
func unpack(n Need, f Facts) []Step {
	var out []Step
	own := false
	for _, v6 := range []bool{false, true} {
		if !n.has(v6) {
			continue
		}
		dev, module := n.device(&f, v6)
		if dev == "" {
			own = true
			continue
		}
		out = append(out, n.tunnelDevice(dev, module)...)
	}
	if !own {
		return dedup(out)
	}
	segment := cmpOr(n.Interface, f.Segment, "eth0")
	do := []string{"vipd", "realserver", "decap", "--interface", segment, "--vip", joined(n.VIPs), "--tunnel", n.tunnel()}
	if n.tunnel() == "gue" {
		do = append(do, "--tunnel-port", fmt.Sprint(n.port()))
	}
	out = append(out, Step{Mends: NoDecap, Do: do, Undo: []string{"vipd", "realserver", "decap", "--interface", segment, "--off"}})
	return append(out, filter(f.Segment, n)...)
}

// tunnelDevice: it is there, up, filters loosely and has an address if what comes out of it is IPv4. On an interface without one
// Linux takes loose filtering for strict (fib_validate_source), and drops all.
func (n Need) tunnelDevice(dev, module string) []Step {
	up := func(mends string) Step {
		return Step{Mends: mends, Do: []string{"ip", "link", "set", dev, "up"}, Undo: []string{"ip", "link", "set", dev, "down"}}
	}
	out := []Step{{Mends: NoDecap, Do: []string{"modprobe", module}}}
	if dev == "vipd6" {
		out = append(out, Step{Mends: NoDecap, Do: []string{"ip", "link", "add", dev, "type", "ip6tnl", "mode", "any"}, Undo: []string{"ip", "link", "del", dev}})
	}
	rp := Setting(dev, "rp_filter")
	out = append(out, up(NoDecap), up(TunnelDown), sysctl(NoDecap, rp, "2"), sysctl(TunnelDown, rp, "2"), sysctl(RPFilter, rp, "2"))
	if i := slices.IndexFunc(n.VIPs, netip.Addr.Is4); i >= 0 && dev != "sit0" {
		p := hostPrefix(n.VIPs[i]).String()
		for _, code := range []string{NoDecap, TunnelDown, RPFilter} {
			out = append(out, Step{Mends: code, Do: []string{"ip", "addr", "replace", p, "dev", dev, "scope", "host"}, Undo: []string{"ip", "addr", "del", p, "dev", dev}})
		}
	}
	return out
}

// segmentSteps: what this host asks clients for is a word of its route to them.
func segmentSteps(n Need, f Facts) []Step {
	var out []Step
	for _, v6 := range []bool{false, true} {
		way := f.way(v6)
		if !n.has(v6) || !way.Via.IsValid() {
			continue
		}
		was := way.route(v6)
		s := Step{Mends: TunnelMSS, Do: append(slices.Clone(was), "advmss", fmt.Sprint(n.MSS(v6))), Undo: was}
		if way.AdvMSS > 0 {
			s.Undo = append(s.Undo, "advmss", fmt.Sprint(way.AdvMSS))
		}
		out = append(out, s)
	}
	return out
}

// route is the command that makes a default route what it is.
func (w Way) route(v6 bool) []string {
	out := []string{"ip"}
	if v6 {
		out = append(out, "-6")
	}
	out = append(out, "route", "replace", "default", "via", w.Via.String(), "dev", w.Dev)
	return append(out, strings.Fields(w.Rest)...)
}

func gatewaySteps(n Need, f Facts) []Step {
	var out []Step
	for _, v6 := range []bool{false, true} {
		i := slices.IndexFunc(n.Directors, func(d netip.Addr) bool { return d.Is6() == v6 })
		if !n.has(v6) || i < 0 {
			continue
		}
		ip := []string{"ip"}
		if v6 {
			ip = append(ip, "-6")
		}
		s := Step{Mends: Gateway, Do: append(slices.Clone(ip), "route", "replace", "default", "via", n.Directors[i].String())}
		s.Undo = append(slices.Clone(ip), "route", "del", "default", "via", n.Directors[i].String())
		if way := f.way(v6); way.Via.IsValid() && way.Via != n.Directors[i] {
			s.Undo = way.route(v6)
			s.Do = append(s.Do, "dev", way.Dev)
			s.Do = append(s.Do, strings.Fields(way.Rest)...)
		}
		out = append(out, s)
	}
	return out
}

func cmpOr(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
