package here

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/realserver"
)

// fromFile reads a director's configuration: the services that have this host among their real servers.
func (o *options) fromFile() ([]realserver.Need, error) {
	mine, err := o.mine()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(o.file)
	if err != nil {
		return nil, err
	}
	cfg, _, said := conf.Load(os.DirFS("/"), strings.TrimPrefix(filepath.ToSlash(path), "/"), conf.Options{Env: os.Getenv})
	for _, d := range said {
		if d.Severity == conf.Error && len(cfg.Health.Services) == 0 {
			return nil, fmt.Errorf("read %s: %s", o.file, d)
		}
	}
	directors, err := addresses(o.directors)
	if err != nil {
		return nil, fmt.Errorf("--director: %w", err)
	}
	base := realserver.Need{Directors: directors, Interface: o.iface, Decap: o.decap, OuterMTU: o.mtu}
	all := needsOf(cfg.Health, mine, base)
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: none of its real servers is %s", o.file, cmp.Or(o.as, "this host (its addresses were compared)"))
	}
	for _, n := range all {
		if err := n.Check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// mine are the addresses by which this host is found in a configuration.
func (o *options) mine() ([]netip.Addr, error) {
	if o.as == "" {
		return ownAddresses()
	}
	mine, err := addresses([]string{o.as})
	if err != nil {
		return nil, fmt.Errorf("--as: %w", err)
	}
	return mine, nil
}

// needsOf gathers what the services of a configuration want of a real server, one need for each way of forwarding.
func needsOf(cfg health.Config, mine []netip.Addr, base realserver.Need) []realserver.Need {
	var all []realserver.Need
	for _, s := range cfg.Services {
		members := s.Members
		if len(members) == 0 {
			members = []lb.ServiceKey{s.ServiceKey}
		}
		for _, r := range s.Reals {
			n, ok := needOf(r.Real, base)
			if !ok || !slices.Contains(mine, r.Addr.Addr()) {
				continue
			}
			i := slices.IndexFunc(all, func(o realserver.Need) bool {
				return o.Method == n.Method && o.Tunnel == n.Tunnel && o.TunPort == n.TunPort
			})
			if i < 0 {
				i, all = len(all), append(all, n)
			}
			for _, key := range members {
				add(&all[i], key)
			}
		}
	}
	return slices.DeleteFunc(all, func(n realserver.Need) bool { return len(n.VIPs) == 0 })
}

func add(n *realserver.Need, key lb.ServiceKey) {
	if v := key.Addr.Addr(); v.IsValid() && !slices.Contains(n.VIPs, v) {
		n.VIPs = append(n.VIPs, v)
	}
	if p := key.Addr.Port(); p != 0 && key.Protocol == lb.TCP && !slices.Contains(n.Ports, p) {
		n.Ports = append(n.Ports, p)
	}
}

func needOf(r lb.Real, n realserver.Need) (realserver.Need, bool) {
	switch r.Forward {
	case lb.Route:
		n.Method = realserver.DR
	case lb.Masq:
		n.Method = realserver.NAT
	case lb.Tunnel:
		n.Method = realserver.TUN
		n.Tunnel = map[lb.TunnelType]string{lb.IPIP: "ipip", lb.GUE: "gue", lb.GRE: "gre"}[r.Tunnel.Type]
		n.TunPort = r.Tunnel.Port
		if r.Addr.Addr().Is6() && len(n.Directors) == 0 {
			n.Directors = []netip.Addr{r.Addr.Addr()} // its family is what counts: the outer header is IPv6
		}
	default:
		return n, false
	}
	return n, true
}
