package realserver

import (
	"net/netip"
	"strings"
)

// Cures are the ways to mend one finding: at once, to last with each manager, and on Windows. f may be empty, as on a director
// that does not know its real server's interfaces.
func Cures(n Need, f Facts, code string) []Cure {
	var steps []Step
	for _, s := range everything(n, f) {
		if s.Mends == code {
			steps = append(steps, s)
		}
	}
	if code == NoListener {
		return []Cure{{"configuration of the server program", "let it listen on the virtual address, or on all (0.0.0.0, ::)"}}
	}
	if len(steps) == 0 {
		return nil
	}
	now := lines(steps)
	if code == NoDecap && f.Modules == nil {
		now = n.byItsKernel(now)
	}
	out := []Cure{{"Linux, now", now}}
	for _, m := range Managers {
		if text := fileLines(Files(m, steps)); text != "" {
			out = append(out, Cure{"Linux, to last, with " + m.title(), text})
		}
	}
	if text := windowsCure(n, code); text != "" {
		out = append(out, Cure{"Windows Server (PowerShell)", text})
	}
	return out
}

// CuresFor are those of several codes at once, with nothing said twice.
func CuresFor(n Need, f Facts, codes ...string) []Cure {
	byPlace, order := map[string][]string{}, []string{}
	for _, code := range codes {
		for _, c := range Cures(n, f, code) {
			if byPlace[c.For] == nil {
				order = append(order, c.For)
			}
			if !strings.Contains(strings.Join(byPlace[c.For], "\n"), c.Text) {
				byPlace[c.For] = append(byPlace[c.For], c.Text)
			}
		}
	}
	var out []Cure
	for _, place := range order {
		out = append(out, Cure{place, strings.Join(byPlace[place], "\n")})
	}
	return out
}

// byItsKernel is for a host whose kernel nobody knows: its own tunnel device, or what else there is if it has none.
func (n Need) byItsKernel(otherwise string) string {
	f := Facts{Modules: map[string]bool{"ipip": true, "sit": true, "ip6_tunnel": true}}
	var own []string
	for _, v6 := range []bool{false, true} {
		dev, module := n.device(&f, v6)
		if !n.has(v6) || dev == "" {
			continue
		}
		for _, s := range n.tunnelDevice(dev, module) {
			if s.Mends == NoDecap {
				own = append(own, s.String())
			}
		}
	}
	if len(own) == 0 {
		return otherwise
	}
	return strings.Join(own, " && ") + " || " + otherwise
}

func lines(steps []Step) string {
	var out []string
	for _, s := range steps {
		out = append(out, s.String())
	}
	return strings.Join(out, "\n")
}

func fileLines(files []File) string {
	var out []string
	for _, f := range files {
		out = append(out, f.String())
	}
	return strings.Join(out, "\n")
}

// Of narrows a need to one virtual address.
func (n Need) Of(vip netip.Addr) Need {
	n.VIPs = []netip.Addr{vip}
	return n
}
