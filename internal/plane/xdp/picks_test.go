package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func TestPlane(t *testing.T) {
	p := opened(t, small)
	for _, c := range []struct {
		name string
		test func(*testing.T, *Plane)
	}{
		{"wrr begins as IPVS does when servers are added one by one", wrrBegins},
		{"wrr begins the same when they are added in one step", wrrBeginsAtOnce},
		{"rr goes on behind the last pick when servers come and go", rrGoesOn},
		{"another scheduler begins anew", anotherScheduler},
		{"sh keeps a client and follows the weights", sourceHash},
		{"mh keeps the clients of others when a server goes, and of one that is only paused", maglev},
		{"mh has as many tables as there is room for, and one more for each change", maglevRoom},
		{"a real server is overloaded between its thresholds", thresholds},
		{"one-packet scheduling keeps nothing", onePacket},
		{"an SCTP connection is active when it is established", sctp},
		{"a service without scheduler has no server", noScheduler},
		{"an index is not used again before the last connection is gone", indexKept},
		{"a removed service drops its connections while there are others", removedDrops},
		{"an expired connection is not listed", expired},
		{"a template is listed with the masked client and its state", template},
		{"a dead template shows a port that matches nothing", deadTemplate},
		{"rates follow the counts", rates},
		{"what is full says so and stays usable", full},
		{"what cannot be forwarded is named", unsupportedNamed},
		{"next hops are asked for, told and forgotten", nextHops},
		{"a next hop may be told before its real server is added", hopBefore},
		{"every packet has a reason", everyReason},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, emptied(t, p)) })
	}
}

// picks makes n connections from one port on and says which hosts they went to.
func picks(t *testing.T, p *Plane, s lb.Service, from, n int) string {
	t.Helper()
	var list []string
	for i := range n {
		verdict, to := runner{p}.pass(t, s.ServiceKey, port(uint16(from+i)), "S")
		if verdict != xdpTX || to == routerMAC { // the answer that there is no server
			list = append(list, "none")
			continue
		}
		list = append(list, fmt.Sprint(to[5]))
	}
	return strings.Join(list, ",")
}

func wantPicks(t *testing.T, p *Plane, s lb.Service, from int, want string) {
	t.Helper()
	if got := picks(t, p, s, from, 1+strings.Count(want, ",")); got != want {
		t.Errorf("picks %s, want %s", got, want)
	}
}

const ipvsPicks = "13,12,11,11,12,11,13,12,11,11,12,11" // weights 3, 2, 1 added in this order

func wrrBegins(t *testing.T, p *Plane) {
	for _, op := range add(planetest.Web, planetest.Server(11, 3), planetest.Server(12, 2), planetest.Server(13, 1)) {
		do(t, p, op)
	}
	wantPicks(t, p, planetest.Web, 40000, ipvsPicks)
}

func wrrBeginsAtOnce(t *testing.T, p *Plane) {
	do(t, p, add(planetest.Web, planetest.Server(11, 3), planetest.Server(12, 2), planetest.Server(13, 1))...)
	wantPicks(t, p, planetest.Web, 40000, ipvsPicks)
}

func with(s lb.Service, scheduler string) lb.Service {
	s.Scheduler = scheduler
	return s
}

func rrGoesOn(t *testing.T, p *Plane) {
	web := with(planetest.Web, "rr")
	do(t, p, add(web, planetest.Server(11, 1), planetest.Server(12, 1), planetest.Server(13, 1))...)
	wantPicks(t, p, web, 40000, "13,12")
	do(t, p, plane.Op{Verb: plane.AddReal, Service: web, Real: planetest.Server(14, 1)})
	wantPicks(t, p, web, 40010, "11,14,13,12")
	do(t, p, plane.Op{Verb: plane.DelReal, Service: web, Real: planetest.Server(12, 1)})
	wantPicks(t, p, web, 40020, "11,14") // 12 was the last pick: on behind the one before it
	do(t, p, plane.Op{Verb: plane.EditReal, Service: web, Real: planetest.Server(13, 0)})
	wantPicks(t, p, web, 40030, "11,14")
	do(t, p, plane.Op{Verb: plane.EditService, Service: web})
	wantPicks(t, p, web, 40040, "11,14,11")
	do(t, p, plane.Op{Verb: plane.DelReal, Service: web, Real: planetest.Server(11, 1)},
		plane.Op{Verb: plane.DelReal, Service: web, Real: planetest.Server(14, 1)})
	wantPicks(t, p, web, 40050, "none")
}

func anotherScheduler(t *testing.T, p *Plane) {
	web := with(planetest.Web, "rr")
	do(t, p, add(web, planetest.Server(11, 1), planetest.Server(12, 3))...)
	wantPicks(t, p, web, 40000, "12")
	do(t, p, plane.Op{Verb: plane.EditService, Service: planetest.Web})
	wantPicks(t, p, web, 40010, "12,12,12,11,12,12,12,11")
	do(t, p, plane.Op{Verb: plane.EditService, Service: web})
	wantPicks(t, p, web, 40020, "12,11,12,11")
}

func sourceHash(t *testing.T, p *Plane) {
	web := with(planetest.Web, "sh")
	do(t, p, add(web, planetest.Server(11, 1), planetest.Server(12, 1))...)
	first := picks(t, p, web, 40000, 1)
	wantPicks(t, p, web, 40001, first+","+first+","+first)
	var host byte = 11
	if first == "12" {
		host = 12
	}
	do(t, p, plane.Op{Verb: plane.EditReal, Service: web, Real: planetest.Server(host, 0)})
	wantPicks(t, p, web, 40010, "none")
	web.Flags = lb.SchedFlag1 // fallback
	do(t, p, plane.Op{Verb: plane.EditService, Service: web})
	wantPicks(t, p, web, 40020, map[string]string{"11": "12", "12": "11"}[first])
}

func maglev(t *testing.T, p *Plane) {
	web := with(planetest.Web, "mh")
	web.Flags = lb.SchedFlag2 // mh-port
	reals := []lb.Real{planetest.Server(11, 3), planetest.Server(12, 2), planetest.Server(13, 1)}
	do(t, p, add(web, reals...)...)
	before := strings.Split(picks(t, p, web, 40000, 60), ",")
	do(t, p, plane.Op{Verb: plane.EditReal, Service: web, Real: planetest.Server(11, 0)})
	if got := picks(t, p, web, 41000, 60); strings.Contains(got, "11") || !strings.Contains(got, "none") {
		t.Errorf("paused: picks %s, want none instead of 11", got)
	}
	do(t, p, plane.Op{Verb: plane.EditReal, Service: web, Real: planetest.Server(11, 3)})
	if err := p.Travel(time.Hour); err != nil {
		t.Fatal(err)
	}
	if after := strings.Split(picks(t, p, web, 40000, 60), ","); strings.Join(after, ",") != strings.Join(before, ",") {
		t.Errorf("picks %v, before the pause %v", after, before)
	}
	do(t, p, plane.Op{Verb: plane.DelReal, Service: web, Real: planetest.Server(13, 1)})
	if err := p.Travel(time.Hour); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, to := range strings.Split(picks(t, p, web, 40000, 60), ",") {
		if before[i] != "13" && before[i] != to {
			moved++
		}
	}
	if moved > 6 {
		t.Errorf("%d of 60 clients moved although their server stayed", moved)
	}
}

func maglevRoom(t *testing.T, p *Plane) {
	for i := range 3 {
		web := with(planetest.Web, "mh")
		web.Addr = netip.AddrPortFrom(web.Addr.Addr(), uint16(80+i))
		err := p.Apply(add(web, planetest.Server(11, 1)))
		if full := i == 2; full != errors.Is(err, plane.ErrFull) || !full && err != nil {
			t.Errorf("service %d: error %v", i, err)
		}
		for range 3 {
			if i < 2 {
				do(t, p, plane.Op{Verb: plane.EditService, Service: web})
			}
		}
	}
	rr := planetest.Web
	do(t, p, plane.Op{Verb: plane.EditService, Service: rr})
	third := with(planetest.DNS, "mh")
	do(t, p, add(third, planetest.Server(11, 1))...)
	if got := picks(t, p, third, 40000, 1); got != "11" {
		t.Errorf("picked %s", got)
	}
}

func thresholds(t *testing.T, p *Plane) {
	limited := planetest.Server(11, 1)
	limited.Upper, limited.Lower = 3, 2
	do(t, p, add(planetest.Web, limited)...)
	wantPicks(t, p, planetest.Web, 40000, "11,11,11,none")
	limited.Upper, limited.Lower = 4, 0 // that is, 3
	do(t, p, plane.Op{Verb: plane.EditReal, Service: planetest.Web, Real: limited})
	wantPicks(t, p, planetest.Web, 40010, "none") // between the bounds the flag stays
	limited.Upper = 0
	do(t, p, plane.Op{Verb: plane.EditReal, Service: planetest.Web, Real: limited})
	wantPicks(t, p, planetest.Web, 40020, "11,11,11,11")
	limited.Upper, limited.Lower = 4, 1
	do(t, p, plane.Op{Verb: plane.EditReal, Service: planetest.Web, Real: limited})
	wantPicks(t, p, planetest.Web, 40030, "none")
	if err := p.Travel(time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	wantPicks(t, p, planetest.Web, 40040, "11,11,11,11,none")
	planetest.Want(t, p, []lb.Pool{{Service: planetest.Web, Reals: []lb.Real{limited}}})
}

func onePacket(t *testing.T, p *Plane) {
	dns := planetest.DNS
	dns.OnePacket = true
	do(t, p, add(dns, planetest.Server(11, 1), planetest.Server(12, 1))...)
	for _, want := range []string{"12", "11", "12"} {
		if got := picks(t, p, dns, 40000, 1); got != want {
			t.Errorf("the same client went to %s, want %s", got, want)
		}
	}
	if list := conns(t, p); len(list) != 0 {
		t.Errorf("connections %+v", list)
	}
	pools, err := p.Read()
	if err != nil || pools[0].Total.Conns != 3 || pools[0].Total.InPkts != 3 {
		t.Errorf("counted %+v, error %v", pools[0].Total, err)
	}
}

func sctp(t *testing.T, p *Plane) {
	signal := planetest.Web
	signal.Protocol = lb.SCTP
	do(t, p, add(signal, planetest.Server(12, 1))...)
	runner{p}.send(t, signal.ServiceKey, port(40000), "I")
	if c := conns(t, p)[0]; c.StateName() != "INIT1" || c.Expires > 5*time.Second {
		t.Errorf("connection %+v", c)
	}
	runner{p}.send(t, signal.ServiceKey, port(40000), "C")
	if c := conns(t, p)[0]; c.StateName() != "ESTABLISHED" || c.Expires <= 890*time.Second {
		t.Errorf("connection %+v", c)
	}
	if pools, _ := p.Read(); pools[0].Reals[0].Active != 1 || pools[0].Reals[0].Inactive != 0 {
		t.Errorf("real server %+v", pools[0].Reals[0])
	}
}

func noScheduler(t *testing.T, p *Plane) {
	web := with(planetest.Web, "none")
	do(t, p, add(web, planetest.Server(11, 1))...)
	wantPicks(t, p, web, 40000, "none")
	planetest.Want(t, p, []lb.Pool{{Service: web, Reals: []lb.Real{planetest.Server(11, 1)}}})
}

func indexKept(t *testing.T, p *Plane) {
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	runner{p}.Connect(t, planetest.Web, port(40000))
	kept := p.services[planetest.Web.ServiceKey].reals[0].index
	do(t, p, plane.Op{Verb: plane.DelService, Service: planetest.Web})
	now := time.Now()
	p.flipped = now.Add(-time.Hour)
	if err := p.Sample(now); err != nil {
		t.Fatal(err)
	}
	do(t, p, add(planetest.DNS, planetest.Server(11, 1), planetest.Server(12, 1), planetest.Server(13, 1))...)
	for _, r := range p.services[planetest.DNS.ServiceKey].reals {
		if r.index == kept {
			t.Fatalf("index %d has a second owner", kept)
		}
	}
	if err := p.Travel(time.Hour); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Sweep(); n > 1 || err != nil { // the timer may have been there first
		t.Fatalf("swept %d, error %v", n, err)
	}
	p.flipped = now.Add(-time.Hour)
	if err := p.Sample(now.Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if p.realSlots.used[kept] || len(p.services) != 1 {
		t.Errorf("index %d is still in use, services %v", kept, p.services)
	}
}

func removedDrops(t *testing.T, p *Plane) {
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	do(t, p, add(planetest.DNS, planetest.Server(11, 1))...)
	runner{p}.Connect(t, planetest.Web, port(40000))
	do(t, p, plane.Op{Verb: plane.DelService, Service: planetest.Web})
	if verdict, _ := (runner{p}).pass(t, planetest.Web.ServiceKey, port(40000), "A"); verdict != 1 {
		t.Errorf("verdict %d, want XDP_DROP", verdict)
	}
	do(t, p, plane.Op{Verb: plane.DelService, Service: planetest.DNS})
	if verdict, _ := (runner{p}).pass(t, planetest.Web.ServiceKey, port(40000), "A"); verdict != xdpPass {
		t.Errorf("verdict %d after the last service, want XDP_PASS", verdict)
	}
}

func expired(t *testing.T, p *Plane) {
	do(t, p, add(planetest.DNS, planetest.Server(11, 1))...)
	if err := p.SetTimeouts(lb.Timeouts{UDP: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	runner{p}.Connect(t, planetest.DNS, port(40000))
	if err := p.Travel(6 * time.Second); err != nil {
		t.Fatal(err)
	}
	if list := conns(t, p); len(list) != 1 || list[0].Expires > 4*time.Second+200*time.Millisecond || list[0].Expires < 3*time.Second {
		t.Errorf("connections %+v", list)
	}
	if err := p.Travel(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if list := conns(t, p); len(list) != 0 {
		t.Errorf("connections %+v", list)
	}
}

func sticky() lb.Service {
	s := planetest.Web
	s.Persistence, s.Wild = 50*time.Second, lb.WildOf(24, false)
	return s
}

func templateOf(t *testing.T, p *Plane) (found lb.Conn) {
	t.Helper()
	for _, c := range conns(t, p) {
		if c.Template {
			found = c
		}
	}
	return found
}

func template(t *testing.T, p *Plane) {
	do(t, p, add(sticky(), planetest.Server(11, 1))...)
	picks(t, p, sticky(), 40000, 1)
	c := templateOf(t, p)
	if c.Client.String() != "10.0.4.0:0" || c.Virtual.String() != "10.0.8.9:80" || c.Real.String() != "10.0.8.11:80" || c.StateName() != "NONE" ||
		c.Expires < 48*time.Second || c.Expires > 51*time.Second {
		t.Errorf("template %+v", c)
	}
	runner{p}.send(t, sticky().ServiceKey, port(40000), "A")
	if c := templateOf(t, p); c.StateName() != "ASSURED" {
		t.Errorf("template %+v", c)
	}
	pools, _ := p.Read()
	if r := pools[0].Reals[0]; r.Persist != 1 || r.Active != 1 {
		t.Errorf("real server %+v", r)
	}
}

func deadTemplate(t *testing.T, p *Plane) {
	do(t, p, add(sticky(), planetest.Server(11, 1))...)
	picks(t, p, sticky(), 40000, 1)
	do(t, p, plane.Op{Verb: plane.DelReal, Service: sticky(), Real: planetest.Server(11, 1)},
		plane.Op{Verb: plane.AddReal, Service: sticky(), Real: planetest.Server(12, 1)})
	wantPicks(t, p, sticky(), 40001, "12")
	dead := 0
	for _, c := range conns(t, p) {
		if c.Template && c.Virtual.Port() == 65535 {
			dead++
			if c.Real.String() != "10.0.8.11:65535" {
				t.Errorf("dead template %+v", c)
			}
		}
	}
	if dead != 1 {
		t.Errorf("%d dead templates, want 1: %+v", dead, conns(t, p))
	}
}

func rates(t *testing.T, p *Plane) {
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	now := time.Unix(1e6, 0)
	p.sampled = time.Time{}
	if err := p.Sample(now); err != nil {
		t.Fatal(err)
	}
	picks(t, p, planetest.Web, 40000, 40)
	if err := p.Sample(now.Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	pools, _ := p.Read()
	s, r := pools[0], pools[0].Reals[0]
	if s.Rate.Conns != 5 || r.Rate.InPkts != 5 || s.Total.Conns != 40 || r.Total.InBytes != 40*40 { // a quarter of 20/s
		t.Errorf("service %+v %+v, real server %+v %+v", s.Total, s.Rate, r.Total, r.Rate)
	}
}

func full(t *testing.T, p *Plane) {
	var reals []lb.Real
	for i := range 33 {
		reals = append(reals, planetest.Server(byte(i+1), 1))
	}
	err := p.Apply(add(planetest.Web, reals...))
	if err == nil || !strings.HasSuffix(err.Error(), "table full") {
		t.Errorf("error %v", err)
	}
	planetest.Want(t, p, []lb.Pool{{Service: planetest.Web, Reals: reals[:32]}})
	// All are replaced at once; the old ones are free when packets no longer see them.
	do(t, p, plane.Op{Verb: plane.DelService, Service: planetest.Web})
	do(t, p, add(planetest.DNS, reals[1:]...)...)
	planetest.Want(t, p, []lb.Pool{{Service: planetest.DNS, Reals: reals[1:]}})
}

func unsupportedNamed(t *testing.T, p *Plane) {
	do(t, p, add(planetest.DNS)...)
	bypass := planetest.Server(11, 1)
	bypass.Forward = lb.Bypass
	for text, op := range map[string]plane.Op{
		"forwarding method Bypass (Masq, Tunnel, Route and Local are): ": {Verb: plane.AddReal, Service: planetest.DNS, Real: bypass},
	} {
		if err := p.Apply([]plane.Op{op}); err == nil || !strings.Contains(err.Error(), text) || !strings.HasSuffix(err.Error(), plane.ErrUnsupported.Error()) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
}

func nextHops(t *testing.T, p *Plane) {
	do(t, p, add(planetest.Web, planetest.Server(12, 1), planetest.Server(11, 1))...)
	do(t, p, add(planetest.DNS, planetest.Server(11, 1))...)
	if got := fmt.Sprint(p.Hops()); got != "[10.0.8.11 10.0.8.12]" {
		t.Errorf("hops %s", got)
	}
	addr := planetest.Server(11, 1).Addr.Addr()
	if _, ok := p.Hop(addr); ok {
		t.Error("a new address has a next hop")
	}
	hop := Hop{Ifindex: 1, Src: ourMAC, Dst: realMAC, MTU: 1500, Source: netip.MustParseAddr("10.0.8.2")}
	if err := p.SetHop(addr, hop); err != nil {
		t.Fatal(err)
	}
	if got, ok := p.Hop(addr); !ok || got != hop {
		t.Errorf("hop %+v", got)
	}
	if err := p.ClearHop(addr); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Hop(addr); ok {
		t.Error("the next hop is still there")
	}
}

func hopBefore(t *testing.T, p *Plane) {
	hop := Hop{Ifindex: 1, Src: ourMAC, Dst: realMAC, MTU: 1500, Source: netip.MustParseAddr("10.0.8.2")}
	for i := range 32 { // as many as there may be
		if err := p.SetHop(planetest.Server(byte(100+i), 1).Addr.Addr(), hop); err != nil {
			t.Fatal(err)
		}
	}
	addr := planetest.Server(11, 1).Addr.Addr()
	if err := p.SetHop(addr, hop); err != nil {
		t.Fatal(err)
	}
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	if got, ok := p.Hop(addr); !ok || got != hop {
		t.Errorf("hop %+v", got)
	}
	for i := range 32 {
		if err := p.ClearHop(planetest.Server(byte(100+i), 1).Addr.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.hops) != 1 {
		t.Errorf("hops %v", p.hops)
	}
}

func everyReason(t *testing.T, p *Plane) {
	count := func() (total uint64, by map[string]Reason) {
		list, err := p.Reasons()
		if err != nil {
			t.Fatal(err)
		}
		by = map[string]Reason{}
		for _, r := range list {
			total += r.Packets
			by[r.Name] = r
		}
		return total, by
	}
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	before, old := count()
	runner{p}.Connect(t, planetest.Web, port(40000))
	after, by := count()
	if after-before != 2 || by["forward_new"].Packets-old["forward_new"].Packets != 1 || by["forward_hit"].Packets-old["forward_hit"].Packets != 1 {
		t.Errorf("counted %v, before %v", by, old)
	}
	if by["forward_hit"].Verdict != "forward" || by["drop_busy"].Verdict != "drop" || by["reply_no_server"].Verdict != "reply" || by["pass_icmp"].Verdict != "pass" {
		t.Errorf("verdicts %v", by)
	}
	// Those of the fast road are counted with the real server alone, and stay counted when it and its service have gone.
	for range 3 {
		runner{p}.send(t, planetest.Web.ServiceKey, port(40000), "A")
	}
	if pools, err := p.Read(); err != nil || pools[0].Total.InPkts != 5 || pools[0].Reals[0].Total.InPkts != 5 {
		t.Errorf("%+v, %v: want 5 packets", pools, err)
	}
	want, _ := count()
	if want-after != 3 {
		t.Errorf("%d packets more, want 3", want-after)
	}
	emptied(t, p)
	if now, by := count(); now != want || by["forward_hit"].Packets-old["forward_hit"].Packets != 4 {
		t.Errorf("%d packets when the real server has gone, want %d: %v", now, want, by)
	}
	do(t, p, add(planetest.Web, planetest.Server(11, 1))...)
	if now, _ := count(); now != want {
		t.Errorf("%d packets when its index is another's, want %d", now, want)
	}
}

// TestWeightOfOneThatComesBack: mh counts with the weight that a real server was added with, also if that is 0 and it was
// there before with another.
func TestWeightOfOneThatComesBack(t *testing.T) {
	p := opened(t, small)
	s := planetest.Web
	s.Scheduler = "mh"
	one, two := planetest.Server(12, 3), planetest.Server(13, 1)
	do(t, p, add(s, one, two)...)
	runner{p}.Connect(t, s, port(40000)) // so that it is not forgotten
	for _, r := range []lb.Real{one, two} {
		do(t, p, plane.Op{Verb: plane.DelReal, Service: s, Real: r})
		r.Weight = 0
		do(t, p, plane.Op{Verb: plane.AddReal, Service: s, Real: r})
		at := p.services[s.ServiceKey].find(r.Addr)
		var e bpf.LbReal
		if err := p.maps.get(bpf.LbMapReals, p.services[s.ServiceKey].reals[at].index, &e); err != nil || e.LastWeight != 0 {
			t.Errorf("%v came back with weight 0: last weight %d, error %v", r.Addr, e.LastWeight, err)
		}
	}
}
