package vm

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/xdp"
)

// Each address behind the first two has one service for all ports that packets come to; those of markVIP, markVIP6 have a mark.
var (
	historyVIP, historyVIP6 = netip.MustParseAddr("10.0.8.9"), netip.MustParseAddr("fd00:8::9")
	ftpVIP, everyVIP        = netip.MustParseAddr("10.0.8.10"), netip.MustParseAddr("10.0.8.8")
	markVIP, markVIP6       = netip.MustParseAddr("10.0.8.7"), netip.MustParseAddr("fd00:8::7")
	sipVIP, sipVIP6         = netip.MustParseAddr("10.0.8.6"), netip.MustParseAddr("fd00:8::6")

	virtualsOfHistory = []netip.Addr{historyVIP, historyVIP6, ftpVIP, everyVIP, markVIP, markVIP6, sipVIP, sipVIP6}
)

// marksOfHistory are what history.sh has netfilter do.
var marksOfHistory = []lb.Class{{Mark: 7, To: netip.PrefixFrom(markVIP, 32), Last: 65535}, {Mark: 8, To: netip.PrefixFrom(markVIP6, 128), Last: 65535}}

// schedulersOfHistory are all but twos, which leaves it to chance.
var schedulersOfHistory = []string{"rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf"}

const sipPort = 5060 // of services whose templates are of calls

var servicesOfHistory = []lb.ServiceKey{
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP, 80)},
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP, 443)},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(historyVIP, 53)},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(historyVIP, 80)},
	{Protocol: lb.SCTP, Addr: netip.AddrPortFrom(historyVIP, 80)},
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP6, 80)},
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP6, 443)},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(historyVIP6, 53)},
	{Protocol: lb.SCTP, Addr: netip.AddrPortFrom(historyVIP6, 80)},
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(ftpVIP, 21)},
	{Protocol: lb.TCP, Addr: netip.AddrPortFrom(everyVIP, 0)},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(everyVIP, 0)},
	{Mark: 7},
	{Mark: 8, V6: true},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(sipVIP, sipPort)},
	{Protocol: lb.UDP, Addr: netip.AddrPortFrom(sipVIP6, sipPort)},
}

// portsOfHistory are those that packets to an address come to, if they are others than its services'. No two addresses have the same:
// where a real server has the packet's port, a reply would not say to which connection of its client it belongs.
var portsOfHistory = map[netip.Addr][]uint16{ftpVIP: {20, 21, 21, 1023, 1024, 5000}, everyVIP: {1, 81, 4000}, markVIP: {82, 6000}, markVIP6: {82, 6000}}

// addrOf is where packets to a service go.
func addrOf(k lb.ServiceKey) netip.Addr {
	switch {
	case k.Mark == 0:
		return k.Addr.Addr()
	case k.V6:
		return markVIP6
	}
	return markVIP
}

// keyOf is the service that a connection to this end is of.
func keyOf(proto lb.Protocol, to netip.AddrPort) lb.ServiceKey {
	switch to.Addr() {
	case markVIP:
		return lb.ServiceKey{Mark: 7}
	case markVIP6:
		return lb.ServiceKey{Mark: 8, V6: true}
	case ftpVIP:
		to = netip.AddrPortFrom(ftpVIP, 21)
	case everyVIP:
		to = netip.AddrPortFrom(everyVIP, 0)
	}
	return lb.ServiceKey{Protocol: proto, Addr: to}
}

// settingsOfHistory are settings that packets notice, with their values.
var settingsOfHistory = []struct {
	name   string
	values []uint32
}{{"conn_reuse_mode", []uint32{0, 1, 2, 3}}, {"expire_nodest_conn", []uint32{0, 1}}, {"expire_quiescent_template", []uint32{0, 1}},
	{"sloppy_tcp", []uint32{0, 1}}, {"sloppy_sctp", []uint32{0, 1}}, {"secure_tcp", []uint32{0, 3}}}

func (h *history) tune() {
	s := settingsOfHistory[h.IntN(len(settingsOfHistory))]
	value := s.values[h.IntN(len(s.values))]
	h.note("change a setting", "%s %d", s.name, value)
	h.set(s.name, value)
}

// set gives a setting of IPVS a value on both planes.
func (h *history) set(name string, value uint32) {
	h.Helper()
	h.settings[name] = value
	for _, p := range []plane.Tuner{h.kernel, h.xdp} {
		if err := p.Set(name, value); err != nil {
			h.Fatal(err)
		}
	}
}

func (h *history) anyPool() *lb.Pool {
	keys := slices.SortedFunc(maps.Keys(h.pools), func(a, b lb.ServiceKey) int { return strings.Compare(a.String(), b.String()) })
	return h.pools[keys[h.IntN(len(keys))]]
}

// shape chooses the attributes of a service.
func (h *history) shape(s *lb.Service) {
	s.Scheduler, s.Flags = schedulersOfHistory[h.IntN(len(schedulersOfHistory))], 0
	if s.Scheduler == "sh" || s.Scheduler == "mh" {
		s.Flags = lb.SchedFlags(h.IntN(4))
	}
	s.Persistence, s.Wild = 0, 0
	if h.IntN(3) == 0 {
		s.Persistence = time.Duration([]int{20, 50, 80}[h.IntN(3)]) * time.Second
		some := map[bool][]int{false: {0, 0, 1, 2}, true: {0, 0, 1, 8, 13}}[s.Is6()] // the most: clients of both networks are one
		s.Wild = wildBytes(addrOf(s.ServiceKey), some[h.IntN(len(some))])
	}
	s.Engine = ""
	if s.Addr.Port() == sipPort {
		s.Persistence, s.Engine = time.Minute, "sip" // no other time: one that has lived on for its connections keeps 60 s in IPVS (docs/limits.md)
	}
	s.OnePacket = (s.Protocol == lb.UDP || s.Mark != 0) && h.IntN(6) == 0
}

// wildBytes is lb.Service.Wild for clients of whom the last bytes do not count.
func wildBytes(a netip.Addr, n int) uint32 { return lb.WildOf(a.BitLen()-8*n, a.Is6()) }

func (h *history) addService() {
	s := lb.Service{ServiceKey: servicesOfHistory[h.IntN(len(servicesOfHistory))]}
	h.shape(&s)
	h.apply("add a service", plane.Op{Verb: plane.AddService, Service: s})
	for range 3 {
		if h.pools[s.ServiceKey] != nil {
			h.apply("add a real server", plane.Op{Verb: plane.AddReal, Service: s, Real: h.anyReal()})
		}
	}
}

// anyReal has an address of IPv4, and no port, until methodOf gives it those of a service.
func (h *history) anyReal() lb.Real {
	r := lb.Real{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(11 + h.IntN(6))}), 0), Weight: int32(h.IntN(5)),
		Tunnel: tunnelsOfHistory[h.IntN(len(tunnelsOfHistory))]}
	if h.IntN(8) == 0 {
		r.Weight *= []int32{10, 256, 16384}[h.IntN(3)]
	}
	if h.IntN(5) == 0 {
		r.Upper = uint32(2 + h.IntN(8))
		r.Lower = uint32(h.IntN(int(r.Upper)))
	}
	return r
}

// methodOf is the same for a real server as long as there are connections of it. ipvs: one keeps the method that its real
// server had when it was made; here an edited method counts for all of them (docs/ipvsadm.md).
func methodOf(s lb.Service, r *lb.Real) {
	host, port := lastByte(r.Addr.Addr()), s.Addr.Port()
	r.Forward = map[byte]lb.Forward{13: lb.Masq, 14: lb.Tunnel, 15: lb.Masq, 16: lb.Tunnel}[host]
	in := addrOf(s.ServiceKey)
	switch {
	case host == 16 && in.Is4(): // packets of one family in those of the other
		in = historyVIP6
	case host == 16:
		in = historyVIP
	case host < 13:
		r.Forward = lb.Route
	case host == 15 && port != 21 && s.Mark == 0: // FTP's can be no other (docs/limits.md), a mark's would be another with persistence
		port += 8000 // not the same for two services: a reply would not say to which connection of its client it belongs
	}
	if r.Forward != lb.Tunnel {
		r.Tunnel = lb.TunnelOptions{}
	}
	r.Addr = netip.AddrPortFrom(hostIn(in, host), port)
}

// tunnelsOfHistory may be edited into each other: here and there an edited one counts for all connections. The last is refused.
var tunnelsOfHistory = []lb.TunnelOptions{{}, {}, {Type: lb.GRE}, {Type: lb.GRE, Csum: true}, {Type: lb.GUE, Port: 6080}, {Type: lb.GUE, Port: 6081, Csum: true}, {Type: lb.GUE}}

// hostIn is the host of that number in the network of the address.
func hostIn(in netip.Addr, number byte) netip.Addr {
	b := in.AsSlice()
	b[len(b)-1] = number
	a, _ := netip.AddrFromSlice(b)
	return a
}

// apply does one step on both planes, which must say the same about it.
func (h *history) apply(kind string, op plane.Op) {
	if op.Verb >= plane.AddReal {
		methodOf(op.Service, &op.Real)
	}
	h.note(kind, "%v: %s %+v", op, attributes(op.Service), op.Real)
	kernel, ours := h.kernel.Apply([]plane.Op{op}), h.xdp.Apply([]plane.Op{op})
	h.sayTheSame(op, kernel, ours)
	h.setHops()
	if op.Verb == plane.DelReal || op.Verb == plane.DelService {
		time.Sleep(soon)
	}
	if kernel == nil {
		h.remember(op)
	}
}

// soon is more than how much later IPVS ends what it ends at once: by a timer, one that a new one takes the place of; by a job of
// its own, those of removed real servers with expire_nodest_conn.
const soon = 20 * time.Millisecond

func (h *history) setHops() {
	for _, a := range h.xdp.Hops() {
		if err := h.xdp.SetHop(a, xdp.Hop{Ifindex: 1, Src: directorMAC, Dst: serverMAC(a), MTU: 1500, Source: directorOf(a)}); err != nil {
			h.Fatal(err)
		}
	}
}

// refusals are what ipvsadm tells apart.
var refusals = []error{plane.ErrServiceExists, plane.ErrNoService, plane.ErrRealExists, plane.ErrNoReal, plane.ErrNoScheduler, plane.ErrFull,
	plane.ErrUnsupported, plane.ErrRange, plane.ErrInvalid}

// refusal is the one that an error is, or the error.
func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r) {
			return r
		}
	}
	return err
}

func (h *history) sayTheSame(what any, kernel, ours error) {
	h.Helper()
	if refusal(kernel) != refusal(ours) {
		h.disagree("%v: the kernel says %v, the packet path %v", what, kernel, ours)
	}
}

// zero is ipvsadm -Z, of all services or of one. ipvs: what the estimator has not come to yet is there again two seconds later.
func (h *history) zero() {
	var key *lb.ServiceKey
	if h.IntN(2) == 0 {
		key = &servicesOfHistory[h.IntN(len(servicesOfHistory))]
	}
	h.note("zero counters", "zero %v", key)
	h.sayTheSame("zero", h.kernel.Zero(key), h.xdp.Zero(key))
	for k, p := range h.pools {
		if key != nil && k != *key {
			continue
		}
		for _, r := range p.Reals {
			delete(h.gone, realName(k, r.Addr))
		}
		if !h.outlived(k) {
			delete(h.gone, k.String())
		}
	}
}

// outlived tells whether there are connections of a service whose real server is not.
func (h *history) outlived(k lb.ServiceKey) bool {
	for _, c := range h.listed(h.xdp) {
		if !c.Template && keyOf(c.Protocol, c.Virtual) == k && !h.has(c) {
			return true
		}
	}
	return false
}

// setTimeouts is ipvsadm --set: 0 keeps a value. None is so short that it ends while steps are made.
func (h *history) setTimeouts() {
	of := func(values ...int) time.Duration { return time.Duration(values[h.IntN(len(values))]) * time.Second }
	t := lb.Timeouts{TCP: of(0, 50, 400, 900), TCPFin: of(0, 20, 70, 120), UDP: of(0, 30, 100, 300)}
	h.note("set timeouts", "%+v", t)
	h.sayTheSame("set timeouts", h.kernel.SetTimeouts(t), h.xdp.SetTimeouts(t))
	kernel, errKernel := h.kernel.Timeouts()
	ours, errOurs := h.xdp.Timeouts()
	if err := errors.Join(errKernel, errOurs); err != nil {
		h.Fatal(err)
	}
	if kernel != ours {
		h.disagree("timeouts: the kernel has %+v, the packet path %+v", kernel, ours)
	}
}

// restore is ipvsadm -S, -C and then -R: connections go on that have not ended meanwhile.
func (h *history) restore() {
	var gone, back []plane.Op
	for _, k := range slices.SortedFunc(maps.Keys(h.pools), func(a, b lb.ServiceKey) int { return strings.Compare(a.String(), b.String()) }) {
		gone = append(gone, plane.Op{Verb: plane.DelService, Service: h.pools[k].Service})
		back = append(back, plane.Op{Verb: plane.AddService, Service: h.pools[k].Service})
		for _, r := range h.pools[k].Reals {
			back = append(back, plane.Op{Verb: plane.AddReal, Service: h.pools[k].Service, Real: r})
		}
	}
	h.note("flush", "flush %d services", len(gone))
	h.sayTheSame("flush", h.kernel.Client().Flush(), errors.Join(plane.ApplyEach(h.xdp, gone)...))
	time.Sleep(soon)
	for _, op := range gone {
		h.remember(op)
	}
	h.note("restore", "restore")
	h.sayTheSame("restore", errors.Join(plane.ApplyEach(h.kernel, back)...), errors.Join(plane.ApplyEach(h.xdp, back)...))
	h.setHops()
	for _, op := range back {
		h.remember(op)
	}
}

func (h *history) remember(op plane.Op) {
	p := h.pools[op.Service.ServiceKey]
	switch op.Verb {
	case plane.AddService:
		h.pools[op.Service.ServiceKey] = &lb.Pool{Service: op.Service}
	case plane.EditService:
		p.Service = op.Service
	case plane.DelService:
		for _, r := range p.Reals {
			h.remove(op.Service.ServiceKey, r.Addr)
		}
		delete(h.pools, op.Service.ServiceKey)
	case plane.AddReal:
		p.Reals = append(p.Reals, op.Real)
	case plane.EditReal:
		p.Reals[slices.IndexFunc(p.Reals, func(r lb.Real) bool { return r.Addr == op.Real.Addr })] = op.Real
	case plane.DelReal:
		h.remove(op.Service.ServiceKey, op.Real.Addr)
		p.Reals = slices.DeleteFunc(p.Reals, func(r lb.Real) bool { return r.Addr == op.Real.Addr })
	}
}

// remove notes whose totals will differ. ipvs: forgets what a removed real server counted two minutes after its last
// connection, and does not count what it still answers; counts what it tells a client of a tunnel or of direct routing (docs/ipvsadm.md).
func (h *history) remove(k lb.ServiceKey, a netip.AddrPort) {
	h.gone[k.String()] = true
	h.gone[realName(k, a)] = true
}

func realName(k lb.ServiceKey, a netip.AddrPort) string { return fmt.Sprintf("%v %v", k, a) }

// has tells whether the connection's real server is one of its service's.
func (h *history) has(c lb.Conn) bool {
	p := h.pools[keyOf(c.Protocol, c.Virtual)]
	return p != nil && slices.ContainsFunc(p.Reals, func(r lb.Real) bool { return r.Addr.Addr() == c.Real.Addr() }) // each host is there once
}
