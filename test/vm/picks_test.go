package vm

import (
	_ "embed"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/vm"
)

//go:embed testdata/picks.sh
var picksScript string

const (
	picksVar     = "VIPD_PICKS" // another number of services: 1000 take half an hour
	picksSeedVar = "VIPD_PICKS_SEED"
	picks        = 40
	picksSeed    = 1
)

// TestEverySchedulerPicksAsTheKernels makes services that chance shapes, one after the other, of the kernel's IPVS and of the packet path:
// any scheduler and its flags, up to 79 real servers, weights of every size, thresholds, persistence, firewall marks with many
// destinations, both families. New clients must all get to the same real servers, while some leave and servers are added, removed and edited.
func TestEverySchedulerPicksAsTheKernels(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, Script: exported(picksVar, picksSeedVar) + historyScript + picksScript,
		CountInstructions: true, Limit: 2 * time.Hour}) {
		return
	}
	need.BPF(t)
	h := newHistory(t, uint64(numberOf(picksSeedVar, picksSeed)), 1<<14)
	if err := h.xdp.SetClasses([]lb.Class{{Mark: 21, To: manyVIPs, Last: 65535}, {Mark: 22, To: manyVIPs6, Last: 65535}}); err != nil {
		t.Fatal(err)
	}
	h.sayTheSame("timeouts", h.kernel.SetTimeouts(pickTimeouts), h.xdp.SetTimeouts(pickTimeouts))
	games := numberOf(picksVar, picks)
	for n := 1; n <= games && h.wrong < 10; n++ {
		newPicking(h, n).play()
		if h.apart {
			h.again()
		}
	}
	t.Logf("%v: %v", time.Since(h.began).Round(time.Second), h.done)
}

// pickTimeouts are such that nothing ends while a service is there.
var pickTimeouts = lb.Timeouts{TCP: 100 * time.Second, TCPFin: 100 * time.Second, UDP: 100 * time.Second}

// manyVIPs are addresses whose packets have a mark.
var manyVIPs, manyVIPs6 = netip.MustParsePrefix("10.9.0.0/20"), netip.MustParsePrefix("fd00:9::/64")

// picking is one service on both planes and its clients.
type picking struct {
	*history
	number  int
	service lb.Service
	spread  int32 // of weights, by kind
	method  lb.Forward
	unused  []byte // hosts that were no real server yet
	open    []segment
	slept   bool
}

func newPicking(h *history, number int) *picking {
	p := &picking{history: h, number: number, method: lb.Route}
	port := uint16(5000 + number) // no other service has had it, so that what is left of those does not count
	switch h.IntN(8) {
	case 0, 1, 2:
		p.service.ServiceKey = lb.ServiceKey{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP, port)}
	case 3:
		p.service.ServiceKey = lb.ServiceKey{Protocol: lb.UDP, Addr: netip.AddrPortFrom(historyVIP, port)}
	case 4:
		p.service.ServiceKey = lb.ServiceKey{Protocol: lb.TCP, Addr: netip.AddrPortFrom(historyVIP6, port)}
	case 5:
		p.service.ServiceKey = lb.ServiceKey{Mark: 22, V6: true}
	default:
		p.service.ServiceKey = lb.ServiceKey{Mark: 21}
	}
	if h.IntN(2) == 0 {
		p.method = lb.Masq
	}
	for n := 20; n < 99; n++ {
		p.unused = append(p.unused, byte(n))
	}
	p.reshape()
	h.Shuffle(len(p.unused), func(i, j int) { p.unused[i], p.unused[j] = p.unused[j], p.unused[i] })
	p.spread = int32(h.IntN(8))
	return p
}

// reshape gives the service a scheduler and what belongs to it.
func (p *picking) reshape() {
	s := &p.service
	s.Scheduler, s.Flags = schedulersOfHistory[p.IntN(len(schedulersOfHistory))], 0
	switch {
	case s.Scheduler == "lblcr" && p.crowded():
		s.Scheduler = "wlc"
	case s.Scheduler == "sh" || s.Scheduler == "mh":
		s.Flags = lb.SchedFlags(p.IntN(4))
	}
	s.Persistence, s.Wild = 0, 0
	if p.IntN(8) == 0 {
		s.Persistence = 100 * time.Second
		if bytes := 4; p.IntN(2) == 0 {
			if s.Is6() {
				bytes = 16
			}
			s.Wild = wildBytes(addrOf(s.ServiceKey), 1+p.IntN(bytes-1))
		}
	}
	s.OnePacket = (s.Protocol == lb.UDP || s.Mark != 0) && p.IntN(8) == 0
}

// crowded tells that there were as many real servers as lblcr remembers of a destination; IPVS remembers any number (docs/ipvsadm.md).
func (p *picking) crowded() bool { return 79-len(p.unused) >= 8 }

// weight is one of the kind that the service's have.
func (p *picking) weight() int32 {
	switch p.spread {
	case 0:
		return 1
	case 1:
		return p.Int32N(4)
	case 2:
		return 1 + p.Int32N(10)
	case 3:
		return 6 * p.Int32N(5)
	case 4:
		return p.Int32N(65536)
	case 5:
		return 10000 * (1 + p.Int32N(10))
	case 6:
		return []int32{0, 1, 63, 64, 65, 255, 256, 257, 4093, 65535, 65536, 1 << 24, math.MaxInt32 - 1, math.MaxInt32}[p.IntN(14)]
	}
	return p.Int32N(3) * p.Int32N(120)
}

// real is a real server that was none yet.
func (p *picking) real() lb.Real {
	in := addrOf(p.service.ServiceKey)
	r := lb.Real{Forward: p.method, Addr: netip.AddrPortFrom(hostIn(in, p.unused[0]), p.service.Addr.Port()), Weight: p.weight()}
	if p.unused = p.unused[1:]; p.service.Mark != 0 {
		r.Addr = netip.AddrPortFrom(r.Addr.Addr(), uint16(5000+p.number))
	} else if p.method == lb.Masq && p.IntN(2) == 0 {
		r.Addr = netip.AddrPortFrom(r.Addr.Addr(), uint16(1+p.IntN(65535)))
	}
	p.limit(&r)
	return r
}

func (p *picking) limit(r *lb.Real) {
	if p.number%3 == 0 && p.IntN(2) == 0 {
		r.Upper = uint32(1 + p.IntN(12))
		r.Lower = uint32(p.IntN(int(r.Upper) + 1))
	}
}

// do is one change, or some together, on both planes.
func (p *picking) do(kind string, ops ...plane.Op) {
	for _, op := range ops {
		p.note(kind, "%v: %s %+v", op, attributes(op.Service), op.Real)
	}
	kernel, ours := p.kernel.Apply(ops), p.xdp.Apply(ops)
	p.sayTheSame(ops, kernel, ours)
	if kernel != nil || ours != nil {
		p.disagree("%v: %v, %v", ops, kernel, ours)
	}
	for _, op := range ops {
		p.remember(op)
	}
	p.setHops()
	if ops[0].Verb == plane.DelReal {
		time.Sleep(soon)
	}
}

func (p *picking) add(n int) {
	var ops []plane.Op
	for range min(n, len(p.unused)) {
		if p.service.Scheduler == "lblcr" && p.crowded() {
			break
		}
		ops = append(ops, plane.Op{Verb: plane.AddReal, Service: p.service, Real: p.real()})
	}
	if len(ops) > 0 && p.IntN(2) == 0 {
		p.do("add real servers together", ops...)
		return
	}
	for _, op := range ops {
		p.do("add a real server", op)
	}
}

func (p *picking) play() {
	p.do("a service of "+p.service.Scheduler, plane.Op{Verb: plane.AddService, Service: p.service})
	servers := 1 + p.IntN(8)
	if p.IntN(10) == 0 {
		servers = 20 + p.IntN(55)
	}
	p.add(servers)
	if name := p.service.Scheduler + "_expiration"; strings.HasPrefix(name, "lblc") {
		p.set(name, []uint32{86400, 20}[p.IntN(2)])
	}
	p.set("expire_quiescent_template", uint32(p.IntN(2)))
	for range 30 + p.IntN(50) {
		p.act()
		if p.apart {
			return
		}
	}
	if k, o := p.counts(p.kernel, false), p.counts(p.xdp, false); !slices.Equal(k, o) {
		p.disagree("counts\nthe kernel:\n%s\nthe packet path:\n%s", strings.Join(k, "\n"), strings.Join(o, "\n"))
		return
	}
	p.do("delete a service", plane.Op{Verb: plane.DelService, Service: p.service})
	if p.number%100 == 0 {
		time.Sleep(3 * time.Minute) // for connections to end, before the table is full
	}
}

func (p *picking) act() {
	pool := p.pools[p.service.ServiceKey]
	n := p.IntN(100)
	if n >= 20 || len(pool.Reals) == 0 && n < 12 {
		p.client()
		return
	}
	switch {
	case n < 4:
		p.do("delete a real server", plane.Op{Verb: plane.DelReal, Service: p.service, Real: pool.Reals[p.IntN(len(pool.Reals))]})
	case n < 10:
		r := pool.Reals[p.IntN(len(pool.Reals))]
		if p.IntN(3) == 0 {
			p.limit(&r)
		} else if r.Weight = p.weight(); p.IntN(4) == 0 {
			r.Weight = 0
		}
		p.do("edit a real server", plane.Op{Verb: plane.EditReal, Service: p.service, Real: r})
	case n < 12 && !strings.HasPrefix(p.service.Scheduler, "lblc"):
		if p.IntN(2) == 0 {
			p.reshape()
		}
		p.do("edit a service", plane.Op{Verb: plane.EditService, Service: p.service})
	case n < 14:
		p.add(1 + p.IntN(3))
	case n < 15 && !p.slept:
		p.note("sleep", "sleep 30 s")
		time.Sleep(30 * time.Second)
		p.slept = true
	case len(p.open) > 0:
		i := p.IntN(len(p.open))
		s := p.open[i]
		s.event = []byte{fin | ack, rst}[p.IntN(2)]
		p.served("end", s)
		p.open = slices.Delete(p.open, i, i+1)
	}
}

// client is a new one.
func (p *picking) client() {
	s := segment{proto: p.service.Protocol, to: p.service.Addr, from: netip.AddrPortFrom(p.somebody(), uint16(1024+p.IntN(60000)))}
	if p.service.Mark != 0 {
		s.proto = []lb.Protocol{lb.TCP, lb.TCP, lb.UDP}[p.IntN(3)]
		s.to = netip.AddrPortFrom(p.somewhere(), uint16(5000+p.number))
	}
	if s.proto == lb.TCP {
		s.event = syn
	}
	if p.served("a client of "+p.service.Scheduler, s) && s.proto == lb.TCP && !p.service.OnePacket && p.IntN(8) > 0 {
		s.event = ack
		p.served("handshake", s)
		p.open = append(p.open, s)
	}
}

// served gives both planes a packet and tells whether a real server got it.
func (p *picking) served(kind string, s segment) bool {
	s.options = p.IntN(20) == 0
	p.note(kind, "%s %v > %v %#x options %v", s.proto, s.from, s.to, s.event, s.options)
	kernel := p.exchange(s.frame(routerMAC), func(kernel []string) []string { return p.hosts(s, kernel) })
	return !p.apart && len(kernel) == 1 && strings.HasPrefix(kernel[0], "to 0200000001")
}

// somebody is a client anywhere in the Internet, or near others.
func (p *picking) somebody() netip.Addr {
	if p.service.Is6() {
		b := [16]byte{0x20, 1, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(b[12:], p.Uint32())
		if p.service.Persistence > 0 {
			clear(b[12:15])
			b[15] %= 12
		} else if p.IntN(2) == 0 {
			binary.BigEndian.PutUint64(b[4:], p.Uint64())
		}
		return netip.AddrFrom16(b)
	}
	b := [4]byte{10, 50, byte(p.IntN(4)), byte(1 + p.IntN(250))}
	if p.service.Persistence > 0 { // and comes again
		b[3] %= 5
		return netip.AddrFrom4(b)
	}
	if p.IntN(2) == 0 {
		b = [4]byte{byte(20 + p.IntN(80)), byte(p.IntN(256)), byte(p.IntN(256)), byte(1 + p.IntN(250))}
	}
	return netip.AddrFrom4(b)
}

// somewhere is one of the addresses whose packets have the mark. Most of them are asked for more than once.
func (p *picking) somewhere() netip.Addr {
	n := p.Uint32N(12)
	if p.IntN(3) == 0 {
		n = p.Uint32N(1 << 12)
	}
	prefix := manyVIPs
	if p.service.Is6() {
		prefix = manyVIPs6
		n *= 0x10101
	}
	b := prefix.Addr().AsSlice()
	for i := range 4 {
		b[len(b)-1-i] |= byte(n >> (8 * i))
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
