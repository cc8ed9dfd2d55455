package xdp

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// How services and real servers are written in the maps, and read back; and which of them this plane cannot forward yet.

var schedulers = map[string]bpf.LbScheduler{"none": bpf.LbSchedulerSCHED_NONE, "rr": bpf.LbSchedulerSCHED_RR, "wrr": bpf.LbSchedulerSCHED_WRR,
	"sh": bpf.LbSchedulerSCHED_SH, "lc": bpf.LbSchedulerSCHED_LC, "wlc": bpf.LbSchedulerSCHED_WLC, "sed": bpf.LbSchedulerSCHED_SED,
	"nq": bpf.LbSchedulerSCHED_NQ, "dh": bpf.LbSchedulerSCHED_DH, "mh": bpf.LbSchedulerSCHED_MH, "lblc": bpf.LbSchedulerSCHED_LBLC,
	"lblcr": bpf.LbSchedulerSCHED_LBLCR, "fo": bpf.LbSchedulerSCHED_FO, "ovf": bpf.LbSchedulerSCHED_OVF, "twos": bpf.LbSchedulerSCHED_TWOS}

func unsupported(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, plane.ErrUnsupported)...)
}

// Check says why this plane cannot have a service with these real servers; nil if it can. It needs no kernel.
func Check(s lb.Service, reals []lb.Real) error {
	if err := checkService(s); err != nil {
		return err
	}
	for _, r := range reals {
		if err := checkReal(r); err != nil {
			return err
		}
	}
	return nil
}

// checkService is plane.CheckService and what this plane leaves out.
func checkService(s lb.Service) error {
	if err := plane.CheckService(s); err != nil {
		return err
	}
	if err := checkKey(s.ServiceKey); err != nil {
		return err
	}
	if s.Engine != "" {
		return unsupported("persistence engine %s", s.Engine)
	}
	return nil
}

func checkKey(k lb.ServiceKey) error {
	switch {
	case k.Mark != 0:
		return unsupported("a firewall-mark service (address, protocol and port are)")
	case !k.Addr.Addr().Is4():
		return unsupported("service address %s (IPv4 is)", k.Addr.Addr())
	case k.Addr.Port() == 0:
		return unsupported("a service of every port (port 0)")
	}
	return nil
}

// checkReal is plane.CheckReal and what this plane leaves out. A port that is not the service's is taken and shown, and
// changes no packet, as with IPVS, where the method leaves ports alone: all do but NAT.
func checkReal(r lb.Real) error {
	if err := plane.CheckReal(r); err != nil {
		return err
	}
	switch {
	case r.Forward == lb.Bypass:
		return unsupported("forwarding method %s (Masq, Tunnel, Route and Local are)", r.Forward)
	case !r.Addr.Addr().Is4():
		return unsupported("real server address %s (IPv4 is)", r.Addr.Addr())
	}
	return nil
}

func keyOf(k lb.ServiceKey) serviceKey {
	return serviceKey{Addr: be32(k.Addr.Addr()), Port: be16(k.Addr.Port()), Proto: uint8(k.Protocol)}
}

func keyFrom(k serviceKey) lb.ServiceKey {
	return lb.ServiceKey{Protocol: lb.Protocol(k.Proto), Addr: netip.AddrPortFrom(addr4(k.Addr), port16(k.Port))}
}

// entry is the service as packets see it. Flags have the positions of IPVS's kernel interface: the first is bit 3.
func (s *service) entry(c clock) bpf.LbService {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^s.spec.Wild)
	return bpf.LbService{
		Scheduler: uint32(schedulers[s.spec.Scheduler]),
		Flags:     flagsOf(s.spec),
		Pool:      s.pool,
		Persist:   c.ticks(s.spec.Persistence),
		Netmask:   [4]uint32{binary.NativeEndian.Uint32(b[:])},
		Port:      be16(s.spec.Addr.Port()),
	}
}

func flagsOf(s lb.Service) uint32 {
	flags := uint32(s.Flags) << 3
	if s.OnePacket {
		flags |= uint32(bpf.LbServiceFlagSERVICE_ONE_PACKET)
	}
	return flags
}

// serviceOf is entry's way back.
func serviceOf(k serviceKey, e bpf.LbService, c clock) lb.Service {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], e.Netmask[0])
	s := lb.Service{ServiceKey: keyFrom(k), Flags: lb.SchedFlags(e.Flags >> 3 & 7),
		OnePacket: e.Flags&uint32(bpf.LbServiceFlagSERVICE_ONE_PACKET) != 0, Persistence: c.seconds(e.Persist),
		Wild: ^binary.BigEndian.Uint32(b[:])}
	for name, number := range schedulers {
		if uint32(number) == e.Scheduler {
			s.Scheduler = name
		}
	}
	return plane.Normal(s)
}

// entry is the real server as packets see it. The owner is for a later process alone: the key of the service, which
// service_index no longer has when both are gone.
func (p *Plane) entry(s *service, r *real, flags uint8) bpf.LbReal {
	key := keyOf(s.spec.ServiceKey)
	hop := p.hops[r.spec.Addr.Addr()]
	e := bpf.LbReal{Port: be16(r.spec.Addr.Port()), Forward: uint8(r.spec.Forward), Flags: flags,
		Ifindex: uint32(hop.Ifindex), Src: hop.Src, Dst: hop.Dst,
		Weight: r.spec.Weight, Service: s.index, Serial: r.serial, LastWeight: r.lastWeight, Upper: r.spec.Upper, Lower: r.spec.Lower,
		Owner: bpf.LbServiceKey6{Addr: [4]uint32{key.Addr}, Port: key.Port, Proto: key.Proto, Kind: key.Kind}}
	e.Addr[0] = be32(r.spec.Addr.Addr())
	if r.spec.Lower != 0 {
		e.Flags |= lowerGiven
	} else {
		e.Lower = r.spec.Upper - r.spec.Upper/4
	}
	e.Mtu = uint16(min(hop.MTU, math.MaxUint16))
	if hop.Local {
		e.Flags |= isLocal
	}
	if hop.Source.Is4() {
		e.Source[0] = be32(hop.Source)
	}
	if r.spec.Forward == lb.Tunnel {
		e.Tunnel, e.TunnelPort, e.TunnelFlags = uint8(r.spec.Tunnel.Type), be16(r.spec.Tunnel.Port), tunnelFlags(r.spec.Tunnel)
	}
	return e
}

func tunnelFlags(o lb.TunnelOptions) (flags uint16) {
	if o.Csum {
		flags |= uint16(bpf.LbTunnelFlagTUNNEL_CSUM)
	}
	if o.RemCsum {
		flags |= uint16(bpf.LbTunnelFlagTUNNEL_REMCSUM)
	}
	return flags
}

// realOf is entry's way back.
func realOf(e bpf.LbReal) lb.Real {
	r := lb.Real{Addr: netip.AddrPortFrom(addr4(e.Addr[0]), port16(e.Port)), Forward: lb.Forward(e.Forward), Weight: e.Weight, Upper: e.Upper}
	if e.Flags&lowerGiven != 0 {
		r.Lower = e.Lower
	}
	if r.Forward == lb.Tunnel {
		r.Tunnel = lb.TunnelOptions{Type: lb.TunnelType(e.Tunnel), Port: port16(e.TunnelPort),
			Csum:    e.TunnelFlags&uint16(bpf.LbTunnelFlagTUNNEL_CSUM) != 0,
			RemCsum: e.TunnelFlags&uint16(bpf.LbTunnelFlagTUNNEL_REMCSUM) != 0}
	}
	return r
}

// ownerOf is the key of the service that a real server was written for.
func ownerOf(e bpf.LbReal) lb.ServiceKey {
	return keyFrom(serviceKey{Addr: e.Owner.Addr[0], Port: e.Owner.Port, Proto: e.Owner.Proto, Kind: e.Owner.Kind})
}
