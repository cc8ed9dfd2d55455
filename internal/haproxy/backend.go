package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vipd/internal/lb"
)

// backend is a Backend with all that is written of it.
type backend struct {
	Backend
	says    string // which service it is
	mode    string
	binds   []netip.AddrPort
	notes   []string // what is not as in vipd
	lines   []string
	servers []serverLine
}

// serverLine is one server.
type serverLine struct {
	note, text string
}

func newBackend(p Pool, o Options, name string) *backend {
	b := &backend{Backend: Backend{Name: name}, says: p.word(), mode: o.Mode, binds: p.addresses()}
	if len(b.binds) == 0 && !o.Backends {
		b.notes = append(b.notes, "it has no address and port that a frontend could bind: use_backend "+name+" in one of your own")
	}
	s := p.Rules.Scheduler
	plan, known := schedulers[s]
	if s == "" {
		plan, known = schedulers[defaultScheduler], true
	}
	if !known {
		plan = schedulers[defaultScheduler]
		plan.note = "the nearest there is to " + comment(s)
	}
	if plan.note != "" {
		b.notes = append(b.notes, "balance: "+plan.note)
	}
	b.lines = append(b.lines, plan.lines...)
	b.stick(p.Rules.Service)
	b.lines = append(b.lines, "option redispatch 1") // a connection that is refused is tried at another server at once
	if o.Mode == HTTP {
		b.lines = append(b.lines, "option forwardfor")
	}
	reals := plan.order(p.Reals)
	weights := plan.weights(reals)
	if scaled(plan, reals) {
		b.notes = append(b.notes, "weights are scaled: HAProxy's largest is 256")
	}
	checks := newChecks(p, reals, o)
	b.lines, b.notes = append(b.lines, checks.lines...), append(b.notes, checks.notes...)
	taken := map[string]bool{}
	for i, r := range reals {
		b.server(p, r, weights[i], plan, checks, taken, o)
	}
	b.sorry(p, taken)
	if p.Rules.MaxEject > 0 {
		b.notes = append(b.notes, "max_eject has no equivalent in HAProxy's own checks")
	}
	return b
}

// stick is persistence: "the last matching store rule" keeps the client's address with its server, and a match begins its time anew.
func (b *backend) stick(s lb.Service) {
	if s.Persistence <= 0 {
		return
	}
	if s.Engine != "" {
		b.notes = append(b.notes, "persistence engine "+comment(s.Engine)+" has no equivalent: the client's address counts")
	}
	kind, key := "ip", "src"
	if s.Is6() {
		kind = "ipv6"
	}
	bits, whole := s.MaskBits()
	switch {
	case s.Wild == 0:
	case !whole:
		key = "src,ipmask(" + s.Netmask() + ")"
	case s.Is6():
		key = fmt.Sprintf("src,ipmask(32,%d)", bits)
	default:
		key = fmt.Sprintf("src,ipmask(%d)", bits)
	}
	b.lines = append(b.lines, fmt.Sprintf("stick-table type %s size 1m expire %s", kind, span(max(s.Persistence, time.Second))), "stick on "+key)
}

func (b *backend) server(p Pool, r Real, weight int, plan plan, checks *checks, taken map[string]bool, o Options) {
	if r.Addr.Addr().Zone() != "" {
		b.notes = append(b.notes, "real server "+comment(r.Addr.String())+" is left out: HAProxy knows no interface of an address")
		return
	}
	s := Server{Name: unique(taken, endpoint(r.Addr)), Weight: weight, Out: r.Out}
	text := fmt.Sprintf("server %s %s weight %d", s.Name, address(netip.AddrPortFrom(r.Addr.Addr(), p.port(r.Real.Real))), weight)
	if most := plan.most(r); most > 0 {
		text += fmt.Sprintf(" maxconn %d", most)
	}
	if r.SlowStart > 0 && !o.Live {
		text += " slowstart " + span(r.SlowStart)
	}
	if p.Rules.Proxy {
		text += " send-proxy-v2"
	}
	text += checks.of(r)
	if r.Out {
		text += " disabled"
	}
	b.Servers = append(b.Servers, s)
	b.servers = append(b.servers, serverLine{note: comment(r.Why), text: text})
}

// sorry is the server that stands in while there is no other: "only used in load balancing when all other non-backup servers are
// unavailable".
func (b *backend) sorry(p Pool, taken map[string]bool) {
	sorry := p.Rules.Sorry
	if sorry == nil || sorry.Addr.Addr().Zone() != "" {
		return
	}
	if p.Rules.Quorum > 1 {
		b.notes = append(b.notes, fmt.Sprintf("quorum %d: by itself HAProxy takes the sorry server when no other is left; vipd tells it earlier (--watch)", p.Rules.Quorum))
	}
	name := unique(taken, "sorry_"+endpoint(sorry.Addr))
	b.servers = append(b.servers, serverLine{note: "sorry server",
		text: fmt.Sprintf("server %s %s weight 1 backup", name, address(netip.AddrPortFrom(sorry.Addr.Addr(), p.port(*sorry))))})
}

// address is where a server is: with port 0 at the client's port, "if unset, the same port the client connected to will be used".
func address(a netip.AddrPort) string {
	if a.Port() != 0 {
		return a.String()
	}
	return host(a.Addr())
}

// host is an address without a port, where a colon could begin one.
func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// plan is how a scheduler of IPVS is written.
type plan struct {
	lines  []string
	note   string // what is different
	equal  bool   // weights do not count, but for 0
	first  bool   // the one with the largest weight comes first
	filled bool   // a weight is how many connections there may be
}

const defaultScheduler = "wlc" // ip_vs_ctl.c and keepalived, where the file says none

// schedulers are IPVS's. HAProxy's roundrobin and leastconn count weights, which rr and lc do not. Of the hashes the consistent one
// alone takes another weight while it runs.
var schedulers = map[string]plan{
	"rr":    {lines: []string{"balance roundrobin"}, equal: true},
	"wrr":   {lines: []string{"balance roundrobin"}},
	"lc":    {lines: []string{"balance leastconn"}, equal: true},
	"wlc":   {lines: []string{"balance leastconn"}},
	"sed":   {lines: []string{"balance leastconn"}, note: "there is no shortest expected delay; leastconn is the nearest"},
	"nq":    {lines: []string{"balance leastconn"}, note: "there is no never queue; leastconn is the nearest"},
	"sh":    {lines: []string{"balance source", "hash-type consistent"}, note: "another hash than sh's: clients meet other servers than behind vipd"},
	"mh":    {lines: []string{"balance source", "hash-type consistent"}, note: "another hash than mh's: clients meet other servers than behind vipd"},
	"dh":    {lines: []string{"balance hash dst", "hash-type consistent"}, note: "another hash than dh's"},
	"lblc":  {lines: []string{"balance hash dst", "hash-type consistent"}, note: "there is no locality by load; the hash of the destination is the nearest"},
	"lblcr": {lines: []string{"balance hash dst", "hash-type consistent"}, note: "there is no locality by load; the hash of the destination is the nearest"},
	"fo":    {lines: []string{"balance first"}, equal: true, first: true},
	"ovf":   {lines: []string{"balance first"}, equal: true, first: true, filled: true},
	"twos":  {lines: []string{"balance random(2)"}},
}

// order is that of the servers; of two with one address and port the first counts, as in vipd.
func (p plan) order(reals []Real) []Real {
	var out []Real
	seen := map[netip.AddrPort]bool{}
	for _, r := range reals {
		if !seen[r.Addr] {
			out = append(out, r)
		}
		seen[r.Addr] = true
	}
	if !p.first {
		return out
	}
	slices.SortStableFunc(out, func(a, b Real) int { return int(b.Weight) - int(a.Weight) })
	return out
}

// maxWeight is the largest: "the weight ... between 0 and 256".
const maxWeight = 256

func scaled(p plan, reals []Real) bool {
	return !p.equal && slices.ContainsFunc(reals, func(r Real) bool { return r.Weight > maxWeight })
}

// weights are those of reals in HAProxy. What is above 0 stays so.
func (p plan) weights(reals []Real) []int {
	largest := int64(maxWeight)
	for _, r := range reals {
		largest = max(largest, int64(r.Weight))
	}
	out := make([]int, len(reals))
	for i, r := range reals {
		switch {
		case r.Weight <= 0:
		case p.equal:
			out[i] = 1
		default:
			out[i] = max(1, int((int64(r.Weight)*maxWeight+largest/2)/largest))
		}
	}
	return out
}

// most is how many connections a server may have at a time; 0: any number.
func (p plan) most(r Real) uint32 {
	most := r.Upper
	if p.filled && r.Weight > 0 && (most == 0 || uint32(r.Weight) < most) {
		most = uint32(r.Weight)
	}
	return min(most, 1<<31-1)
}
