package vm

import (
	_ "embed"
	"fmt"
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
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ipvsadm", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, Modules: []string{"ip_vs_pe_sip"}, Script: exported(historyVar, seedVar) + historyScript, CountInstructions: true, Limit: 2 * time.Hour}) {
		return
	}
	need.BPF(t)
	h, steps := newHistory(t, uint64(numberOf(seedVar, historySeed)), 1<<11), numberOf(historyVar, historySteps)
	due := false
	for h.step = 1; h.step <= steps && h.wrong < 20; h.step++ {
		h.act()
		due = due || h.step%100 == 0
		if due && h.calm() {
			h.compare(false)
			h.lists()
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

func newHistory(t testing.TB, seed uint64, connections uint32) *history {
	t.Helper()
	h := &history{TB: t, Rand: rand.New(rand.NewPCG(seed, 1)), wire: openWire(t, "out"), pools: map[lb.ServiceKey]*lb.Pool{}, done: map[string]int{}, settings: map[string]uint32{"conn_reuse_mode": 1}, gone: map[string]bool{}, began: time.Now()}
	var err error
	if h.kernel, err = ipvs.Open(); err != nil {
		t.Fatal(err)
	}
	if h.xdp, err = xdp.Open(xdp.Options{PinDir: "/sys/fs/bpf/vipd/history", TableSize: connections}); err != nil {
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
