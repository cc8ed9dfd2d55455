package health

import (
	"fmt"
	"net/netip"

	"vipd/internal/lb"
)

// Path is the way that a checker's packets take where check_path says so: to a virtual address, as traffic does.
type Path struct {
	VIP     netip.Addr
	Forward lb.Forward // Route or Tunnel; the others have no other way than to the real server's own address
	Tunnel  lb.TunnelOptions
}

// String names the way for a person: 10.0.8.9 through DR.
func (p *Path) String() string {
	how := "DR"
	if p.Forward == lb.Tunnel {
		how = map[lb.TunnelType]string{lb.IPIP: "IP in IP", lb.GUE: "GUE", lb.GRE: "GRE"}[p.Tunnel.Type]
	}
	return fmt.Sprintf("%s through %s", p.VIP, how)
}

// By is a checker by another way.
func (c Checker) By(p *Path) Checker {
	c.Way = p
	return c
}
