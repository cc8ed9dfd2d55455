package ipvs

import (
	"net/netip"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// methods tell how connections are forwarded, by service and real server, and by real server alone for connections of a
// firewall mark, whose service cannot be seen on them, and of services of every port.
type methods struct {
	exact map[methodKey]lb.Forward
	real  map[netip.Addr]lb.Forward
}

type methodKey struct {
	protocol      lb.Protocol
	virtual, real netip.AddrPort
}

func methodsOf(pools []plane.Pool) methods {
	m := methods{map[methodKey]lb.Forward{}, map[netip.Addr]lb.Forward{}}
	for _, p := range pools {
		for _, r := range p.Reals {
			m.note(p.Service.ServiceKey, r.Real)
		}
	}
	return m
}

// note remembers a real server.
func (m methods) note(k lb.ServiceKey, r lb.Real) {
	m.exact[methodKey{k.Protocol, k.Addr, r.Addr}] = r.Forward
	m.real[r.Addr.Addr()] = r.Forward
}

// find gives the method of a connection. What is only in old, because the real server is gone, is taken over.
func (m methods) find(c lb.Conn, old methods) lb.Forward {
	if c.Real.Addr().IsUnspecified() && c.Real.Port() == 0 {
		return lb.Bypass
	}
	k := methodKey{c.Protocol, c.Virtual, c.Real}
	if f, ok := m.exact[k]; ok {
		return f
	}
	if f, ok := old.exact[k]; ok {
		m.exact[k] = f
		return f
	}
	addr := c.Real.Addr()
	if f, ok := m.real[addr]; ok {
		return f
	}
	if f, ok := old.real[addr]; ok {
		m.real[addr] = f
		return f
	}
	return lb.Masq
}
