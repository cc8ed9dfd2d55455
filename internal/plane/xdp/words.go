package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"

	"github.com/cilium/ebpf"

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
		if err := errors.Join(checkReal(s.ServiceKey, r), checkPort(s, r)); err != nil {
			return err
		}
	}
	return nil
}

// checkPort refuses what would send FTP's data connections to the port of its control connections.
func checkPort(s lb.Service, r lb.Real) error {
	if isFTP(s) && r.Forward == lb.Masq && r.Addr.Port() != 0 && r.Addr.Port() != portFTP {
		return unsupported("masquerading FTP to port %d (21 is)", r.Addr.Port())
	}
	return nil
}

const portFTP = 21

// isFTP reports whether connections to other ports belong to the service too.
func isFTP(s lb.Service) bool {
	return s.Persistence != 0 && s.Protocol == lb.TCP && s.Addr.Port() == portFTP
}

// portOf is the port that packets to a real server get; 0: they keep their own. With persistence that is so for all but the
// service's own port, and a firewall mark has none. FTP's data connections go on when their service is persistent no more.
func portOf(s lb.Service, r lb.Real) uint16 {
	ftp := s.Mark == 0 && s.Protocol == lb.TCP && s.Addr.Port() == portFTP && r.Addr.Port() == portFTP
	switch {
	case s.Mark != 0 && s.Persistence != 0, s.Mark == 0 && s.Addr.Port() == 0, ftp:
		return 0
	}
	return r.Addr.Port()
}

// checkService is plane.CheckService and what this plane leaves out.
func checkService(s lb.Service) error {
	if err := plane.CheckService(s); err != nil {
		return err
	}
	return checkKey(s.ServiceKey)
}

func checkKey(k lb.ServiceKey) error {
	if k.Mark == 0 && !k.Addr.Addr().IsValid() {
		return fmt.Errorf("a service without an address: %w", plane.ErrInvalid)
	}
	return nil
}

// checkReal is plane.CheckReal and what this plane leaves out. A port that is not the service's is taken and shown, and
// changes no packet, as with IPVS, where the method leaves ports alone: all do but NAT.
func checkReal(k lb.ServiceKey, r lb.Real) error {
	if err := plane.CheckReal(r); err != nil {
		return err
	}
	switch {
	case r.Forward == lb.Bypass:
		return unsupported("forwarding method %s (Masq, Tunnel, Route and Local are)", r.Forward)
	case k.Is6() != r.Addr.Addr().Is6() && r.Forward != lb.Tunnel:
		return fmt.Errorf("%s is of another address family, which only a tunnel bridges: %w", r.Addr, plane.ErrInvalid)
	}
	return nil
}

func keyOf(k lb.ServiceKey) serviceKey {
	if k.Mark != 0 {
		return serviceKey{Addr: be32(markAddr(k.Mark)), Kind: uint8(kindOf(k))}
	}
	return serviceKey{Addr: be32(k.Addr.Addr()), Port: be16(k.Addr.Port()), Proto: uint8(k.Protocol)}
}

// kindOf is what a service is recognized by.
func kindOf(k lb.ServiceKey) bpf.LbServiceKind {
	switch {
	case k.Mark != 0 && k.V6:
		return bpf.LbServiceKindSERVICE_MARK6
	case k.Mark != 0:
		return bpf.LbServiceKindSERVICE_MARK
	case k.Is6():
		return bpf.LbServiceKindSERVICE_IPV6
	}
	return bpf.LbServiceKindSERVICE_IPV4
}

// markAddr is a mark as it stands where an address would.
func markAddr(mark uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, mark)))
}

func markKey(addr uint32, kind uint8) (lb.ServiceKey, bool) {
	b := addr4(addr).As4()
	k := bpf.LbServiceKind(kind)
	if k != bpf.LbServiceKindSERVICE_MARK && k != bpf.LbServiceKindSERVICE_MARK6 {
		return lb.ServiceKey{}, false
	}
	return lb.ServiceKey{Mark: binary.BigEndian.Uint32(b[:]), V6: k == bpf.LbServiceKindSERVICE_MARK6}, true
}

func keyFrom(k serviceKey) lb.ServiceKey {
	if key, ok := markKey(k.Addr, k.Kind); ok {
		return key
	}
	return lb.ServiceKey{Protocol: lb.Protocol(k.Proto), Addr: netip.AddrPortFrom(addr4(k.Addr), port16(k.Port))}
}

// indexOf is the map that a service's index stands in, and under which key.
func (m maps) indexOf(k lb.ServiceKey) (*ebpf.Map, any) {
	if kindOf(k) == bpf.LbServiceKindSERVICE_IPV6 {
		return m[bpf.LbMapServiceIndex6], key6Of(k)
	}
	return m[bpf.LbMapServiceIndex], keyOf(k)
}

// key6Of has room for a key of each family; only those of IPv6 stand in service_index6.
func key6Of(k lb.ServiceKey) serviceKey6 {
	if k.Mark != 0 {
		return serviceKey6{Addr: words6(markAddr(k.Mark)), Kind: uint8(kindOf(k))}
	}
	return serviceKey6{Addr: words6(k.Addr.Addr()), Port: be16(k.Addr.Port()), Proto: uint8(k.Protocol), Kind: uint8(kindOf(k))}
}

func key6From(k serviceKey6) lb.ServiceKey {
	if key, ok := markKey(k.Addr[0], k.Kind); ok {
		return key
	}
	return lb.ServiceKey{Protocol: lb.Protocol(k.Proto), Addr: netip.AddrPortFrom(addrOf(k.Addr, k.Kind == keyIPv6), port16(k.Port))}
}

// netmask is what of a client's address counts for persistence, as Wild says what does not: a mask for IPv4, for IPv6 the
// number of bits behind the prefix.
func netmask(s lb.Service) (w [4]uint32) {
	if !s.Is6() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], ^s.Wild)
		return [4]uint32{binary.NativeEndian.Uint32(b[:])}
	}
	var b [16]byte
	for i := range 128 - min(int(s.Wild), 128) {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return words6(netip.AddrFrom16(b))
}

// wild is netmask's way back.
func wild(w [4]uint32, v6 bool) uint32 {
	b := addrOf(w, v6).AsSlice()
	if !v6 {
		return ^binary.BigEndian.Uint32(b)
	}
	n := uint32(128)
	for _, one := range b {
		n -= uint32(bits.OnesCount8(one))
	}
	return n
}

// entry is the service as packets see it. Flags have the positions of IPVS's kernel interface: the first is bit 3.
func (s *service) entry(c clock) bpf.LbService {
	return bpf.LbService{
		Scheduler: uint32(schedulers[s.spec.Scheduler]),
		Flags:     flagsOf(s.spec),
		Pool:      s.pool,
		Persist:   c.ticks(s.spec.Persistence),
		Netmask:   netmask(s.spec),
		Kind:      uint16(kindOf(s.spec.ServiceKey)),
		Mark:      s.spec.Mark,
		Serial:    s.serial,
		Port:      be16(s.spec.Addr.Port()),
		Local:     rangeStart(s.spec.Locals),
		Locals:    uint16(s.spec.Locals.Len()),
		Segment:   s.spec.Segment,
	}
}

func rangeStart(r lb.AddrRange) (w [4]uint32) {
	if r.Len() == 0 {
		return w
	}
	return words6(r.First)
}

// rangeFrom is the range of n addresses from w on.
func rangeFrom(w [4]uint32, n uint16, v6 bool) (r lb.AddrRange) {
	if n == 0 {
		return r
	}
	r.First = addrOf(w, v6)
	r.Last = r.First
	for range n - 1 {
		r.Last = r.Last.Next()
	}
	return r
}

// segment is the most that a handshake to a real server of the service may say: RFC 9293 3.7.1, what the MTU leaves behind
// the headers, those of a tunnel too. 0: it is not known, or not asked for.
func segment(s lb.Service, r lb.Real, mtu int) uint16 {
	if s.Segment != lb.FitSegment {
		return s.Segment
	}
	if mtu == 0 {
		return 0
	}
	room := mtu - header(s.Is6()) - 20
	if r.Forward == lb.Tunnel {
		room -= header(r.Addr.Addr().Is6()) + front(r.Tunnel)
	}
	return uint16(min(max(room, 0), math.MaxUint16))
}

func header(v6 bool) int {
	if v6 {
		return 40
	}
	return 20
}

// front is what a tunnel has between the outer header and the packet.
func front(o lb.TunnelOptions) int {
	switch {
	case o.Type == lb.GUE:
		return 12
	case o.Type == lb.GRE && o.Csum:
		return 8
	case o.Type == lb.GRE:
		return 4
	}
	return 0
}

func flagsOf(s lb.Service) uint32 {
	flags := uint32(s.Flags) << 3
	if s.OnePacket {
		flags |= uint32(bpf.LbServiceFlagSERVICE_ONE_PACKET)
	}
	if s.Proxy {
		flags |= uint32(bpf.LbServiceFlagSERVICE_PROXY)
	}
	if s.CarryOn {
		flags |= uint32(bpf.LbServiceFlagSERVICE_CARRY)
	}
	if s.Engine != "" { // CheckService knows one
		flags |= uint32(bpf.LbServiceFlagSERVICE_SIP)
	}
	return flags
}

// serviceOf is entry's way back.
func serviceOf(k lb.ServiceKey, e bpf.LbService, c clock) lb.Service {
	s := lb.Service{ServiceKey: k, Flags: lb.SchedFlags(e.Flags >> 3 & 7),
		OnePacket: e.Flags&uint32(bpf.LbServiceFlagSERVICE_ONE_PACKET) != 0, Persistence: c.seconds(e.Persist),
		Wild: wild(e.Netmask, k.Is6()), Segment: e.Segment, Locals: rangeFrom(e.Local, e.Locals, k.Is6()), Proxy: e.Flags&uint32(bpf.LbServiceFlagSERVICE_PROXY) != 0,
		CarryOn: e.Flags&uint32(bpf.LbServiceFlagSERVICE_CARRY) != 0}
	if e.Flags&uint32(bpf.LbServiceFlagSERVICE_SIP) != 0 {
		s.Engine = "sip"
	}
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
	hop := p.hops[r.spec.Addr.Addr()]
	e := bpf.LbReal{Port: be16(portOf(s.spec, r.spec)), Given: be16(r.spec.Addr.Port()), Forward: uint8(r.spec.Forward), Flags: flags,
		Ifindex: uint32(hop.Ifindex), Src: hop.Src, Dst: hop.Dst, Tci: tci(hop.Tags),
		Weight: r.spec.Weight, Service: s.index, Serial: r.serial, LastWeight: r.lastWeight, Upper: r.spec.Upper, Lower: r.spec.Lower,
		Owner: key6Of(s.spec.ServiceKey), Addr: words6(r.spec.Addr.Addr())}
	if r.spec.Addr.Addr().Is6() {
		e.Flags |= isIPv6
	}
	if r.spec.Lower != 0 {
		e.Flags |= lowerGiven
	} else {
		e.Lower = r.spec.Upper - r.spec.Upper/4
	}
	e.Mtu = uint16(min(hop.MTU, math.MaxUint16))
	if hop.Local {
		e.Flags |= isLocal
	}
	if _, ok := p.directors[r.spec.Addr.Addr()]; ok {
		e.Flags |= isPeer
	}
	if hop.Source.IsValid() && hop.Source.Is4() == r.spec.Addr.Addr().Is4() {
		e.Source = words6(hop.Source)
	}
	e.Mss = segment(s.spec, r.spec, hop.MTU)
	if n := s.spec.Locals.Len(); r.spec.Forward == lb.Masq && n != 0 {
		e.Source, e.Locals = words6(s.spec.Locals.First), uint8(n)
		if s.spec.Proxy {
			e.Flags |= isProxy
		}
	}
	if r.spec.Forward == lb.Tunnel {
		e.Tunnel, e.TunnelPort, e.TunnelFlags = uint8(r.spec.Tunnel.Type), be16(r.spec.Tunnel.Port), tunnelFlags(r.spec.Tunnel)
	}
	e.SetPlain()
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
	r := lb.Real{Addr: netip.AddrPortFrom(addrOf(e.Addr, e.Flags&isIPv6 != 0), port16(e.Given)), Forward: lb.Forward(e.Forward), Weight: e.Weight, Upper: e.Upper}
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
	return key6From(e.Owner)
}
