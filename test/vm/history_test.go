package vm

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/plane/ipvs"
	"vipd/internal/plane/xdp"
	"vipd/internal/vm"
)

//go:embed testdata/history.sh
var historyScript string

const (
	historySeed  = 2024
	historySteps = 1000
	historyVar   = "VIPD_HISTORY" // another number of steps: 10000 take half an hour on two busy processors
	seedVar      = "VIPD_HISTORY_SEED"
)

// TestTwoPlanesHaveOneHistory does the same, 1,000 times (or as VIPD_HISTORY says), to the kernel's IPVS and to the packet path beside it: packets of
// many clients, replies, changes of services and real servers, and time that passes. Every packet must get the same bytes to
// the same place or the same refusal, and now and then both must list the same connections, templates and counts.
//
// The machine's clock counts instructions, so that all of it takes seconds but for the hours that are slept.
func TestTwoPlanesHaveOneHistory(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, Modules: []string{"ip_vs_pe_sip"}, Script: exported(historyVar, seedVar) + historyScript, CountInstructions: true, Limit: 2 * time.Hour}) {
		return
	}
	need.BPF(t)
	h, steps := newHistory(t, uint64(numberOf(seedVar, historySeed))), numberOf(historyVar, historySteps)
	due := false
	for h.step = 1; h.step <= steps && h.wrong < 20; h.step++ {
		h.act()
		due = due || h.step%100 == 0
		if due && h.calm() {
			h.compare(false)
			due = false
		}
		if h.step%1000 == 0 {
			t.Logf("%d steps, %v", h.step, time.Since(h.began).Round(time.Second))
		}
		if h.apart {
			h.again()
		}
	}
	h.compare(false)
	t.Logf("%d steps, %v: %v", h.step-1, time.Since(h.began).Round(time.Second), h.done)
}

// exported hands variables of the environment on to the VM.
func exported(names ...string) (script string) {
	for _, n := range names {
		script += "export " + n + "=" + os.Getenv(n) + "\n"
	}
	return script
}

func numberOf(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

type history struct {
	testing.TB
	*rand.Rand
	kernel   *ipvs.Plane
	xdp      *xdp.Plane
	lb       *ebpf.Program
	wire     *wire
	pools    map[lb.ServiceKey]*lb.Pool
	last     []string // what was done, for who must find out why
	ops      []string // of them, all but packets
	done     map[string]int
	gone     map[string]bool // services and real servers, as counts names them, of which totals differ: remember
	step     int
	began    time.Time
	slept    time.Time         // until when
	settings map[string]uint32 // of IPVS, as set
	apart    bool              // since a disagreement
	wrong    int
}

func newHistory(t testing.TB, seed uint64) *history {
	t.Helper()
	h := &history{TB: t, Rand: rand.New(rand.NewPCG(seed, 1)), wire: openWire(t), pools: map[lb.ServiceKey]*lb.Pool{}, done: map[string]int{}, settings: map[string]uint32{"conn_reuse_mode": 1}, gone: map[string]bool{}, began: time.Now()}
	var err error
	if h.kernel, err = ipvs.Open(); err != nil {
		t.Fatal(err)
	}
	if h.xdp, err = xdp.Open(xdp.Options{PinDir: "/sys/fs/bpf/vipd/history", TableSize: 1 << 11}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.xdp.Attach("shelf0"); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("shelf0")
	if err != nil {
		t.Fatal(err)
	}
	if h.lb, err = ebpf.NewProgramFromID(ebpf.ProgramID(link.Attrs().Xdp.ProgId)); err != nil {
		t.Fatal(err)
	}
	// BPF_PROG_TEST_RUN lets frames come in by lo.
	if err := h.xdp.SetLink(1, directorMAC, true); err != nil {
		t.Fatal(err)
	}
	if err := h.xdp.SetClasses(marksOfHistory); err != nil {
		t.Fatal(err)
	}
	// Replies leave by the interface that the routing table says.
	out, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.xdp.NoteLink(out.Attrs().Index, directorMAC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.lb.Close()
		if err := h.xdp.Remove(); err != nil {
			t.Error(err)
		}
		h.kernel.Close()
	})
	return h
}

func (h *history) note(kind, format string, args ...any) {
	h.done[kind]++
	h.last = append(h.last, fmt.Sprintf("%d: ", h.step)+fmt.Sprintf(format, args...))
	if len(h.last) > 60 {
		h.last = h.last[1:]
	}
	if kind != "packet" && kind != "reply" && !strings.HasPrefix(kind, "error") {
		h.ops = append(h.ops, h.last[len(h.last)-1])
	}
}

func (h *history) disagree(format string, args ...any) {
	h.Helper()
	if h.apart {
		return // one follows from another
	}
	h.apart = true
	h.wrong++
	h.Errorf("%s\nafter\n%s\nof\n%s", fmt.Sprintf(format, args...), strings.Join(append(slices.Clip(h.ops), h.last...), "\n"), strings.Join(h.counts(h.kernel, false), "\n"))
	for _, p := range h.pools {
		h.Logf("%s\n%v", attributes(p.Service), p.Reals)
	}
	for name, p := range map[string]plane.Plane{"the kernel": h.kernel, "the packet path": h.xdp} {
		var lines []string
		for _, c := range h.listed(p) {
			lines = append(lines, fmt.Sprintf("%s template %v, %v left", nameOf(c), c.Template, c.Expires))
		}
		slices.Sort(lines)
		h.Logf("%s has\n%s", name, strings.Join(lines, "\n"))
	}
}

// attributes are a service's, which %v leaves out.
func attributes(s lb.Service) string {
	return fmt.Sprintf("%v %s flags %d persistence %v wild %#x one packet %v engine %q", s.ServiceKey, s.Scheduler, s.Flags, s.Persistence, s.Wild, s.OnePacket, s.Engine)
}

// again begins anew after a disagreement, so that one run shows all there are: no services, and no connections after so long.
func (h *history) again() {
	for _, p := range h.pools {
		h.apply("delete a service", plane.Op{Verb: plane.DelService, Service: p.Service})
	}
	time.Sleep(20 * time.Minute) // established ones last 15, and kernel timers are late by an eighth
	h.apart, h.last, h.ops = false, nil, nil
	h.compare(true)
	if h.apart {
		h.Fatal("both are not empty after 20 minutes")
	}
}

func (h *history) act() {
	if time.Since(h.slept) > awake {
		h.sleep()
	}
	switch n := h.IntN(1000); {
	case len(h.pools) == 0 || n < 8 && len(h.pools) < 8:
		h.addService()
	case n < 11:
		h.apply("delete a service", plane.Op{Verb: plane.DelService, Service: h.anyPool().Service})
	case n < 26:
		s := h.anyPool().Service
		h.shape(&s)
		h.apply("edit a service", plane.Op{Verb: plane.EditService, Service: s})
	case n < 60:
		h.apply("add a real server", plane.Op{Verb: plane.AddReal, Service: h.anyPool().Service, Real: h.anyReal()})
	case n < 80:
		h.apply("delete a real server", plane.Op{Verb: plane.DelReal, Service: h.anyPool().Service, Real: h.anyReal()})
	case n < 120:
		h.apply("edit a real server", plane.Op{Verb: plane.EditReal, Service: h.anyPool().Service, Real: h.anyReal()})
	case n < 125: // the timer of the packet path goes a hundred times a second
		h.sleep()
	case n < 135:
		h.tune()
	case n < 138:
		h.setTimeouts()
	case n < 140:
		h.restore()
	case n < 230:
		h.reply()
	case n < 290:
		h.fail()
	default:
		h.packet()
	}
}

// ---- services and real servers ---------------------------------------------------------------------------------------

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

// ---- packets -----------------------------------------------------------------------------------------------------------

var (
	tcpEvents  = []byte{syn, syn, syn, syn, syn, syn, ack, ack, ack, ack, ack, ack, fin | ack, fin | ack, rst, rst | ack, syn | ack, syn | fin, syn | rst, 0}
	sctpEvents = []byte{1, 1, 10, 10, 0, 3, 7, 8, 14, 6, 2, 11, 9} // RFC 9260 3.2: INIT, COOKIE ECHO, DATA, …

	// Types and codes of RFC 792 and RFC 4443 that speak of a packet.
	failures  = [][2]byte{{3, 1}, {3, 3}, {3, 4}, {4, 0}, {11, 0}}
	failures6 = [][2]byte{{1, 0}, {1, 4}, {2, 0}, {3, 0}, {4, 1}}

	sctpAnswers = []byte{2, 2, 11, 11, 0, 3, 7, 8, 14, 6, 1, 10, 9}
)

// packet is one of a client: of a new one, or of one that was there before.
func (h *history) packet() {
	key := servicesOfHistory[h.IntN(len(servicesOfHistory))]
	if h.IntN(3) > 0 {
		key = h.anyPool().Service.ServiceKey
	}
	network := netip.AddrFrom4([4]byte{10, 0, 4 + byte(h.IntN(2))})
	if key.Is6() {
		network = netip.AddrFrom16([16]byte{0xfd, 0, 0, network.As4()[2]})
	}
	to := addrOf(key)
	s := segment{proto: key.Protocol, to: netip.AddrPortFrom(to, key.Addr.Port()), from: netip.AddrPortFrom(hostIn(network, byte(1+h.IntN(8))), uint16(3000+h.IntN(4)))}
	if h.IntN(40) == 0 {
		s.from = netip.AddrPortFrom(s.from.Addr(), 20) // FTP's data, which begin nothing
	}
	if ports := portsOfHistory[to]; ports != nil {
		s.to = netip.AddrPortFrom(to, ports[h.IntN(len(ports))])
	}
	if key.Addr.Port() == sipPort {
		s.call = byte(h.IntN(7))
	}
	if key.Mark != 0 {
		s.proto = []lb.Protocol{lb.TCP, lb.UDP, lb.SCTP}[h.IntN(3)]
	}
	switch s.proto {
	case lb.TCP:
		s.event = tcpEvents[h.IntN(len(tcpEvents))]
	case lb.SCTP:
		s.event = sctpEvents[h.IntN(len(sctpEvents))]
	}
	s.last = h.IntN(25) == 0 // not of replies, which the host tells the real server of (docs/limits.md)
	c, known := h.connOf(s)
	if known && h.differs(s, c) {
		return
	}
	h.pass("packet", s, routerMAC)
	if at, found := h.connOf(s); s.last && found && at.Forward != lb.Masq {
		h.toldOf(at)
	}
	if known && (begins(s) || !h.has(c)) {
		time.Sleep(soon)
	}
}

// begins tells whether the packet says that a connection begins.
func begins(s segment) bool {
	return s.proto == lb.TCP && s.event&(syn|rst) == syn || s.proto == lb.SCTP && s.event == 1
}

// differs tells whether a packet of a connection is one of those of which IPVS makes something else, as docs/ipvsadm.md says.
func (h *history) differs(s segment, c lb.Conn) bool {
	switch gone := !h.has(c); {
	case s.proto == lb.TCP && s.event&(syn|rst) == syn|rst: // a SYN where it asks if the connection begins anew, a RST where it does
		return h.settings["expire_nodest_conn"] != 0 || h.settings["conn_reuse_mode"] != 0 && slices.Contains([]string{"CLOSE", "TIME_WAIT", "FIN_WAIT"}, c.StateName())
	case gone && begins(s): // opens a new one here (bpf/conn.h, conn_renewed); IPVS drops it
		return true
	case gone && h.settings["expire_nodest_conn"] != 0 && s.proto == lb.TCP && s.event&rst == 0 && c.Forward != lb.Masq:
		return true // ends the connection; of IPVS's the reset of the host is the real server's answer, which keeps it for 10 s
	}
	return false
}

// connOf is the connection that a client's packet belongs to.
func (h *history) connOf(s segment) (lb.Conn, bool) {
	all := h.listed(h.xdp)
	i := slices.IndexFunc(all, func(c lb.Conn) bool {
		return !c.Template && c.Protocol == s.proto && c.Client == s.from && c.Virtual == s.to
	})
	if i < 0 {
		return lb.Conn{}, false
	}
	return all[i], true
}

// reply is what a NAT real server answers on a connection.
func (h *history) reply() {
	var masked []lb.Conn
	for _, c := range h.listed(h.xdp) {
		if c.Forward == lb.Masq && !c.Template {
			masked = append(masked, c)
		}
	}
	if len(masked) == 0 {
		return
	}
	slices.SortFunc(masked, func(a, b lb.Conn) int { return strings.Compare(nameOf(a), nameOf(b)) })
	c := masked[h.IntN(len(masked))]
	s := segment{proto: c.Protocol, from: c.Real, to: c.Client}
	if s.proto == lb.TCP {
		s.event = []byte{syn | ack, syn | ack, ack, ack, fin | ack, rst}[h.IntN(6)]
	} else if s.proto == lb.SCTP {
		s.event = sctpAnswers[h.IntN(len(sctpAnswers))]
	}
	h.pass("reply", s, serverMAC(c.Real.Addr()))
}

// fail is an ICMP error about a packet of a connection, or of none: about a reply, to the virtual address; about a request to a
// NAT real server, to its client; about one through a tunnel, to the director. It belongs to the connection also when the
// real server was removed.
func (h *history) fail() {
	var all []lb.Conn
	for _, c := range h.listed(h.xdp) {
		if !c.Template && h.serves(c.Client.Addr().Is6()) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b lb.Conn) int { return strings.Compare(nameOf(a), nameOf(b)) })
	c := all[h.IntN(len(all))]
	kinds := failures
	if c.Client.Addr().Is6() {
		kinds = failures6
	}
	e := failure{about: segment{proto: c.Protocol, from: c.Virtual, to: c.Client, event: ack}, kind: kinds[h.IntN(len(kinds))]}
	what, src := "error about a reply", routerMAC
	switch {
	case c.Forward == lb.Masq && h.IntN(2) == 0:
		what, src = "error about a request", serverMAC(c.Real.Addr())
		e.about.from, e.about.to = c.Client, c.Real
	// ipvs: knows a tunnel by the real servers that there are (docs/limits.md), and none of IPv6.
	case c.Forward == lb.Tunnel && c.Client.Addr().Is4() && c.Real.Addr().Is4() && h.tunnels(c.Real.Addr()) && h.IntN(2) == 0:
		what, e.through = "error about a tunnel", c.Real.Addr()
		e.about.from, e.about.to = c.Client, c.Virtual
		e.kind = failures[h.IntN(2)] // no size: the kernel would keep it for other packets
	}
	if !h.has(c) {
		what += " whose server was removed"
	}
	if h.IntN(10) == 0 {
		what, e.about.to = "error about nothing known", netip.AddrPortFrom(e.about.to.Addr(), 9)
	}
	h.note(what, "%s: %v about %s %v > %v", what, e.kind, e.about.proto, e.about.from, e.about.to)
	h.exchange(e.frame(directorMAC, src), func([]string) []string { return hostsFailure(e) })
	if e.through.IsValid() {
		h.toldOf(c)
	}
}

// toldOf notes whose totals will differ since the client was told an error about a connection by the director itself.
func (h *history) toldOf(c lb.Conn) {
	p := h.pools[keyOf(c.Protocol, c.Virtual)]
	if p == nil {
		return
	}
	for _, r := range p.Reals {
		if r.Addr.Addr() == c.Real.Addr() {
			h.remove(p.Service.ServiceKey, r.Addr)
		}
	}
}

// hostsFailure is what the director itself does with an error that the packet path leaves to it: nothing with what is to an
// address of its own, and the rest goes to the client.
func hostsFailure(e failure) []string {
	if e.to() == directorAddr || slices.Contains(virtualsOfHistory, e.to()) {
		return nil
	}
	return []string{told(e.frame(routerMAC, directorMAC))}
}

// tunnels tells whether there is a tunnel of IPIP to this address, of whatever service, and none of another type. ipvs: looks at one of
// them, and knows an error by the type that this one has.
func (h *history) tunnels(to netip.Addr) (any bool) {
	for _, p := range h.pools {
		for _, r := range p.Reals {
			if r.Addr.Addr() != to || r.Forward != lb.Tunnel {
				continue
			}
			if r.Tunnel.Type != lb.IPIP {
				return false
			}
			any = true
		}
	}
	return any
}

// serves tells whether there is a service of this family. ipvs: without one it takes no notice of connections that are left
// (docs/ipvsadm.md).
func (h *history) serves(six bool) bool {
	for key := range h.pools {
		if key.Is6() == six {
			return true
		}
	}
	return false
}

// pass gives one packet to both planes.
func (h *history) pass(kind string, s segment, src mac) {
	if !h.serves(s.to.Addr().Is6()) {
		return
	}
	s.options = h.IntN(12) == 0
	h.note(kind, "%s %v > %v %#x call %d options %v last %v", s.proto, s.from, s.to, s.event, s.call, s.options, s.last)
	h.exchange(s.frame(src), func(kernel []string) []string { return h.hosts(s, kernel) })
}

// exchange gives a frame to both planes, which must make the same of it, and returns that. hosts is what the director itself
// makes of one that is left to it, where the kernel did what is given.
func (h *history) exchange(in []byte, hosts func(kernel []string) []string) (kernel []string) {
	h.Helper()
	for _, frame := range h.wire.exchange(h, in) {
		kernel = append(kernel, told(frame))
	}
	o := ebpf.RunOptions{Data: in, DataOut: make([]byte, len(in)+64)}
	verdict, err := h.lb.Run(&o)
	if err != nil {
		h.Fatal(err)
	}
	const drop, pass, tx, redirect = 1, 2, 3, 4
	var ours []string
	switch verdict {
	case tx, redirect:
		ours = []string{told(o.DataOut)}
	case pass:
		ours = hosts(kernel)
	case drop:
	default:
		h.disagree("verdict %d", verdict)
	}
	if !slices.Equal(kernel, ours) {
		h.disagree("the kernel: %q\nthe packet path: %q", kernel, ours)
	}
	return kernel
}

// hosts is what the director itself does with a packet that the packet path leaves to it: the network stack answers what
// nobody listens to, and routes what is not for it. That it is this and nothing else that the kernel did is checked here.
func (h *history) hosts(s segment, kernel []string) []string {
	want := ""
	switch six := s.to.Addr().Is6(); {
	case !slices.Contains(virtualsOfHistory, s.to.Addr()):
		want = fmt.Sprintf("to %x: ", routerMAC)
	case s.proto == lb.UDP && six:
		want = fmt.Sprintf("ICMPv6 1/4 from %v ", s.to.Addr())
	case s.proto == lb.SCTP && six:
		want = fmt.Sprintf("ICMPv6 4/1 from %v ", s.to.Addr())
	case s.event&rst == 0 && six:
		want = fmt.Sprintf("to %x: 60 ", routerMAC)
	case s.proto == lb.UDP:
		want = fmt.Sprintf("ICMP 3/3 from %v ", s.to.Addr())
	case s.proto == lb.SCTP:
		want = fmt.Sprintf("ICMP 3/2 from %v ", s.to.Addr())
	case s.event&rst == 0:
		want = fmt.Sprintf("to %x: 45 00 00 28 ", routerMAC) // a reset
	default:
		return nil
	}
	if len(kernel) == 1 && strings.HasPrefix(kernel[0], want) {
		return kernel
	}
	return []string{"the host: " + want}
}

// ---- time ----------------------------------------------------------------------------------------------------------------

// lateness is how much later than it says a kernel timer of so long may go off (kernel/time/timer.c: an eighth at most).
func lateness(full time.Duration) time.Duration { return full/8 + 2*time.Second }

// connLate is that of a connection, whose timer was wound for 15 minutes at most: 16.4 s, at 250 Hz.
const connLate = 18 * time.Second

// awake is how long steps are made before time passes: less than a connection lasts whose SCTP handshake has just begun (4 s),
// so that nothing ends while packets look at who has how many connections.
const awake = 1500 * time.Millisecond

// calm tells that nothing is just about to end, or does on one side already.
func (h *history) calm() bool {
	for _, p := range []plane.Plane{h.kernel, h.xdp} {
		for _, c := range h.listed(p) {
			if c.Expires < time.Second {
				return false
			}
		}
	}
	return true
}

// mayHold tells whether the template controls the connection.
func mayHold(template, c lb.Conn) bool {
	network := netip.PrefixFrom(template.Client.Addr(), bitsOf(template.Client.Addr()))
	same := c.Protocol == template.Protocol || template.Protocol == lb.IP // of a mark
	return !c.Template && same && network.Contains(c.Client.Addr()) && c.Real.Addr() == template.Real.Addr()
}

// bitsOf is how many there are up to the last byte that is not 0.
func bitsOf(a netip.Addr) int { return 8 * len(bytes.TrimRight(a.AsSlice(), "\x00")) }

// doubtful tells that a template, when its time has come, may be held on one side and not on the other.
func doubtful(template lb.Conn, end time.Duration, all []lb.Conn) bool {
	for _, c := range all {
		if mayHold(template, c) && (c.Expires-end).Abs() < connLate+lateness(time.Minute) {
			return true
		}
	}
	return false
}

// ended is after when everything has: connections first, and then their templates, which live on by steps of a minute meanwhile.
func ended(all []lb.Conn) time.Duration {
	last := time.Duration(0)
	for _, c := range all {
		last = max(last, c.Expires+max(connLate, lateness(80*time.Second)))
	}
	return last + time.Minute + lateness(time.Minute) + 5*time.Second
}

// sleep lets time pass, to a moment at which on both sides everything has either ended or does not end yet. When there are too
// many for such a moment, all of it ends.
func (h *history) sleep() {
	kernel, ours := h.listed(h.kernel), h.listed(h.xdp)
	first, d := h.IntN(100), ended(slices.Concat(kernel, ours))
	for n := range 100 {
		if try := time.Duration(1+(first+n)%100) * time.Second; h.clear(try, kernel) && h.clear(try, ours) {
			d = try
			break
		}
	}
	h.note("sleep", "sleep %v", d)
	time.Sleep(d)
	h.slept = time.Now()
	counted := d > 4*time.Second // the kernel's estimator has come round since
	h.compare(counted)
	if counted && h.IntN(3) == 0 {
		h.zero()
	}
}

func (h *history) clear(d time.Duration, all []lb.Conn) bool {
	const margin = 5 * time.Second // what the steps until the next sleep take, and more
	for _, c := range all {
		late := connLate
		if c.Template {
			late = lateness(80 * time.Second)
		}
		for end, n := c.Expires, 0; n < 4; end, n = end+time.Minute, n+1 {
			until := end + late + time.Duration(n)*lateness(time.Minute)
			if c.Template && doubtful(c, end, all) {
				until += time.Minute
			}
			if d > end-margin && d < until {
				return false
			}
			if !c.Template {
				break // a template lives on by steps of a minute while it controls connections
			}
		}
	}
	return true
}

// ---- what both have --------------------------------------------------------------------------------------------------------

func (h *history) listed(p plane.Plane) (all []lb.Conn) {
	h.Helper()
	if err := p.Conns(func(c lb.Conn) bool { all = append(all, c); return true }); err != nil {
		h.Fatal(err)
	}
	return all
}

func nameOf(c lb.Conn) string {
	return fmt.Sprintf("%s %v > %v > %v %s%s", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName(), c.EngineData)
}

// compare holds the tables and counts of both against each other. totals: also what was counted since the beginning, which the
// kernel shows with a lag of two seconds.
func (h *history) compare(totals bool) {
	h.Helper()
	kernel, ours := h.table(h.kernel), h.table(h.xdp)
	if k, o := slices.Sorted(maps.Keys(kernel)), slices.Sorted(maps.Keys(ours)); !slices.Equal(k, o) {
		h.disagree("connections\nonly the kernel: %q\nonly the packet path: %q", without(k, ours), without(o, kernel))
	}
	for name, left := range kernel {
		late := 2 * time.Second
		if strings.Contains(name, "@b") { // a Call-ID
			h.done["templates of calls compared"]++
		}
		if strings.HasSuffix(name, "template") {
			late += lateness(time.Minute) // it may have been extended, by a timer
		}
		if off := (left - ours[name]).Abs(); off > late {
			h.disagree("%s: the kernel says %v are left, the packet path %v", name, left, ours[name])
		}
	}
	k, o := h.counts(h.kernel, totals), h.counts(h.xdp, totals)
	if !slices.Equal(k, o) {
		h.disagree("counts\nthe kernel:\n%s\nthe packet path:\n%s", strings.Join(k, "\n"), strings.Join(o, "\n"))
	}
	h.done["connections compared"] += len(kernel)
}

func without(names []string, table map[string]time.Duration) (rest []string) {
	for _, n := range names {
		if _, found := table[n]; !found {
			rest = append(rest, n)
		}
	}
	return rest
}

func (h *history) table(p plane.Plane) map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, c := range h.listed(p) {
		name := nameOf(c)
		if c.Template {
			name += " template"
		}
		for n := 2; all[name] != 0; n++ { // dead templates look alike
			name += fmt.Sprint(" ", n)
		}
		all[name] = max(c.Expires, 1)
	}
	return all
}

func (h *history) counts(p plane.Plane, totals bool) (lines []string) {
	h.Helper()
	pools, err := p.Read()
	if err != nil {
		h.Fatal(err)
	}
	for _, pool := range pools {
		lines = append(lines, attributes(pool.Service))
		if totals && !h.gone[pool.Service.ServiceKey.String()] {
			lines = append(lines, fmt.Sprintf("%v: %+v", pool.Service.ServiceKey, pool.Total))
		}
		for _, r := range pool.Reals {
			if !totals || h.gone[realName(pool.Service.ServiceKey, r.Addr)] {
				r.Total = lb.Counters{}
			}
			lines = append(lines, fmt.Sprintf("%v %v: %v %+v, weight %d, thresholds %d %d, active %d, inactive %d, persist %d, counted %+v", pool.Service.ServiceKey, r.Addr,
				r.Forward, r.Tunnel, r.Weight, r.Upper, r.Lower, r.Active, r.Inactive, r.Persist, r.Total))
		}
	}
	slices.Sort(lines)
	return lines
}
