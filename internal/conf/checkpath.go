package conf

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// CheckPaths are the words of check_path.
var CheckPaths = []string{"real", "vip", "both"}

func setCheckPath(at func(l *loader) *string) setter {
	return func(l *loader, s *stmt) {
		if !slices.Contains(CheckPaths, s.text(1)) {
			l.bad(s, 1, "Unknown check_path %s - ignoring", s.text(1)).Expected = strings.Join(CheckPaths, ", ")
			return
		}
		*at(l) = s.text(1)
	}
}

// checkPaths makes of a real server's checkers those that check_path wants. To a real server by NAT the way of the traffic is
// the way to its own address; a check that goes to another address (connect_ip), and one that connects nowhere, has no other way.
func (l *loader) checkPaths(v *service, r *realServer) {
	word := cmp.Or(r.checkPath, v.checkPath, "real")
	if word == "real" || r.Forward != lb.Route && r.Forward != lb.Tunnel {
		return
	}
	vip := v.firstAddr()
	if !vip.IsValid() {
		d := l.after(Warning, "no-address", v.place, "Virtual server "+v.label()+": check_path "+word+" needs an address, a mark has none - checking real servers by their own")
		d.class = classOurs
		return
	}
	path := &health.Path{VIP: vip, Forward: r.Forward, Tunnel: r.Tunnel}
	var out []health.Checker
	for _, c := range r.Checkers {
		if c.Script != nil || c.File != nil || c.Kind == "BFD_CHECK" || c.Target.Addr() != r.Addr.Addr() || r.Forward == lb.Route && vip.Is6() != r.Addr.Addr().Is6() || r.Forward == lb.Tunnel && vip.Is6() != c.Target.Addr().Is6() {
			out = append(out, c)
			continue
		}
		if word == "both" {
			out = append(out, c)
		}
		out = append(out, c.By(path))
	}
	r.Checkers = out
}

// firstAddr is the address that checks by the way of the traffic go to.
func (v *service) firstAddr() netip.Addr {
	if v.grouped == nil {
		return v.Addr.Addr()
	}
	for _, m := range v.grouped.Members {
		if !m.IsMark {
			return m.First
		}
	}
	return netip.Addr{}
}
