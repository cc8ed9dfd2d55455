package planetest

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

type step struct {
	ops []plane.Op
	err error
}

func addService(s lb.Service) plane.Op  { return plane.Op{Verb: plane.AddService, Service: s} }
func editService(s lb.Service) plane.Op { return plane.Op{Verb: plane.EditService, Service: s} }
func delService(s lb.Service) plane.Op  { return plane.Op{Verb: plane.DelService, Service: s} }
func addReal(s lb.Service, r lb.Real) plane.Op {
	return plane.Op{Verb: plane.AddReal, Service: s, Real: r}
}
func editReal(s lb.Service, r lb.Real) plane.Op {
	return plane.Op{Verb: plane.EditReal, Service: s, Real: r}
}
func delReal(s lb.Service, r lb.Real) plane.Op {
	return plane.Op{Verb: plane.DelReal, Service: s, Real: r}
}

func ok(ops ...plane.Op) step               { return step{ops: ops} }
func fails(err error, ops ...plane.Op) step { return step{ops, err} }

// keyOnly is a service of which an op for its real servers may know no more.
func keyOnly(s lb.Service) lb.Service { return lb.Service{ServiceKey: s.ServiceKey} }

func with(s lb.Service, change func(*lb.Service)) lb.Service {
	change(&s)
	return s
}

var (
	sticky = with(Web, func(s *lb.Service) { s.Persistence, s.Wild = 50*time.Second, lb.WildOf(24, false) })
	hashed = with(Web, func(s *lb.Service) { s.Scheduler, s.Flags = "sh", lb.SchedFlag1|lb.SchedFlag2 })
	odd    = with(Web, func(s *lb.Service) { s.Scheduler = "nosuch" })
	gaps   = with(sticky, func(s *lb.Service) { s.Wild = 0x00ff00ff })
	nobody = with(sticky, func(s *lb.Service) { s.Wild = 0xffffffff })
	masked = with(Web, func(s *lb.Service) { s.Wild = 0xff })

	alone = with(DNS, func(s *lb.Service) { s.OnePacket = true })

	engine  = with(sticky, func(s *lb.Service) { s.Engine = "nosuch" })
	eternal = with(sticky, func(s *lb.Service) { s.Persistence = 31*24*time.Hour + time.Second })

	web6 = with(Web, func(s *lb.Service) { s.Addr = netip.MustParseAddrPort("[2001:db8:8::9]:80") })
	// Every method of both families, tunnels between them too.
	methods = []lb.Pool{
		{Service: Web, Reals: []lb.Real{Server(12, 1), by(Server(13, 1), lb.Masq, lb.TunnelOptions{}),
			by(Server(14, 1), lb.Tunnel, lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}), by(at("2001:db8:8::15"), lb.Tunnel, lb.TunnelOptions{})}},
		{Service: web6, Reals: []lb.Real{by(at("2001:db8:8::12"), lb.Route, lb.TunnelOptions{}), by(at("2001:db8:8::13"), lb.Masq, lb.TunnelOptions{}),
			by(at("2001:db8:8::14"), lb.Tunnel, lb.TunnelOptions{Type: lb.GRE, Csum: true}), by(Server(15, 1), lb.Tunnel, lb.TunnelOptions{Type: lb.GRE})}},
	}

	gueWithoutPort = lb.Real{Addr: Server(12, 0).Addr, Forward: lb.Tunnel, Weight: 1, Tunnel: lb.TunnelOptions{Type: lb.GUE}}
)

// by is r by another method.
func by(r lb.Real, f lb.Forward, o lb.TunnelOptions) lb.Real {
	r.Forward, r.Tunnel = f, o
	return r
}

// schedulers but twos, which not every kernel has. A plane under test has room for half of them.
var schedulers = []string{"none", "rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf"}

// pools has a service for each, and each a real server.
func pools(names []string, port uint16) (list []lb.Pool) {
	for i, name := range names {
		s := with(Web, func(s *lb.Service) {
			s.Scheduler, s.Addr = name, netip.AddrPortFrom(s.Addr.Addr(), port+uint16(i))
		})
		list = append(list, lb.Pool{Service: s, Reals: []lb.Real{Server(12, 3)}})
	}
	return list
}

func steps(list []lb.Pool) (ops []plane.Op) {
	for _, p := range list {
		ops = append(ops, addService(p.Service))
		for _, r := range p.Reals {
			ops = append(ops, addReal(p.Service, r))
		}
	}
	return ops
}

func at(addr string) lb.Real {
	return lb.Real{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 80), Forward: lb.Route, Weight: 1}
}

func limited(host byte, upper, lower uint32) lb.Real {
	r := Server(host, 1)
	r.Upper, r.Lower = upper, lower
	return r
}

// planeCase is steps on an empty plane, and what it has then.
type planeCase struct {
	name  string
	steps []step
	want  []lb.Pool
}

var cases = []planeCase{
	{"a service and its real servers read back as added, in that order",
		[]step{ok(addService(Web), addReal(Web, Server(13, 2)), addReal(keyOnly(Web), Server(12, 1)), addReal(Web, Server(14, 0)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(13, 2), Server(12, 1), Server(14, 0)}}}},
	{"services with one address are told apart by protocol and port",
		[]step{ok(addService(Web), addService(DNS), addReal(DNS, Server(12, 1)))},
		[]lb.Pool{{Service: Web}, {Service: DNS, Reals: []lb.Real{Server(12, 1)}}}},
	{"a second service of the same key is refused and changes nothing",
		[]step{ok(addService(Web)), fails(plane.ErrServiceExists, addService(sticky))},
		[]lb.Pool{{Service: Web}}},
	{"editing a missing service fails", []step{fails(plane.ErrNoService, editService(Web))}, nil},
	{"deleting a missing service fails", []step{fails(plane.ErrNoService, delService(Web))}, nil},
	{"a real server needs its service", []step{fails(plane.ErrNoService, addReal(Web, Server(12, 1)))}, nil},
	{"editing a real server needs its service", []step{fails(plane.ErrNoService, editReal(Web, Server(12, 1)))}, nil},
	{"deleting a real server needs its service", []step{fails(plane.ErrNoService, delReal(Web, Server(12, 1)))}, nil},
	{"a second real server of the same address is refused and changes nothing",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1))), fails(plane.ErrRealExists, addReal(Web, Server(12, 7)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 1)}}}},
	{"editing a missing real server fails",
		[]step{ok(addService(Web)), fails(plane.ErrNoReal, editReal(Web, Server(12, 1)))}, []lb.Pool{{Service: Web}}},
	{"deleting a missing real server fails",
		[]step{ok(addService(Web)), fails(plane.ErrNoReal, delReal(Web, Server(12, 1)))}, []lb.Pool{{Service: Web}}},
	{"an unknown scheduler is refused at the addition", []step{fails(plane.ErrNoScheduler, addService(odd))}, nil},
	{"an unknown scheduler is refused at an edit and the old one stays",
		[]step{ok(addService(Web)), fails(plane.ErrNoScheduler, editService(odd))}, []lb.Pool{{Service: Web}}},
	{"a negative weight is out of range",
		[]step{ok(addService(Web)), fails(plane.ErrRange, addReal(Web, Server(12, -1)))}, []lb.Pool{{Service: Web}}},
	{"a negative weight is out of range at an edit",
		[]step{ok(addService(Web), addReal(Web, Server(12, 3))), fails(plane.ErrRange, editReal(Web, Server(12, -1)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 3)}}}},
	{"an edit replaces every attribute of a service and keeps its real servers",
		[]step{ok(addService(sticky), addReal(Web, Server(12, 1)), editService(hashed))},
		[]lb.Pool{{Service: hashed, Reals: []lb.Real{Server(12, 1)}}}},
	{"an edit without persistence ends it", []step{ok(addService(sticky), editService(Web))}, []lb.Pool{{Service: Web}}},
	{"a netmask reads back", []step{ok(addService(sticky))}, []lb.Pool{{Service: sticky}}},
	{"a netmask may have gaps", []step{ok(addService(gaps))}, []lb.Pool{{Service: gaps}}},
	{"a netmask may be empty: all clients are one", []step{ok(addService(nobody))}, []lb.Pool{{Service: nobody}}},
	{"a netmask without persistence is none", []step{ok(addService(masked))}, []lb.Pool{{Service: Web}}},
	{"an edit replaces a real server's weight and keeps its place",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1)), addReal(Web, Server(13, 1)), editReal(Web, Server(12, 9)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 9), Server(13, 1)}}}},
	{"a deleted real server leaves the others in order",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1)), addReal(Web, Server(13, 1)), addReal(Web, Server(14, 1)),
			delReal(Web, lb.Real{Addr: Server(13, 0).Addr}))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 1), Server(14, 1)}}}},
	{"a real server that comes back is the newest",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1)), addReal(Web, Server(13, 1)), delReal(Web, Server(12, 1))),
			ok(addReal(Web, Server(12, 4)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(13, 1), Server(12, 4)}}}},
	{"a deleted service takes its real servers along",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1)), addService(DNS), delService(Web))}, []lb.Pool{{Service: DNS}}},
	{"a service that comes back has no real servers",
		[]step{ok(addService(Web), addReal(Web, Server(12, 1)), delService(Web)), ok(addService(Web))}, []lb.Pool{{Service: Web}}},
	{"the first failure ends the steps and what was done before stays",
		[]step{fails(plane.ErrNoReal, addService(Web), addReal(Web, Server(12, 1)), delReal(Web, Server(13, 1)), addService(DNS))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 1)}}}},
	{"an address may serve two services with different weights",
		[]step{ok(addService(Web), addService(DNS), addReal(Web, Server(12, 1)), addReal(DNS, Server(12, 5)), delReal(Web, Server(12, 1)))},
		[]lb.Pool{{Service: Web}, {Service: DNS, Reals: []lb.Real{Server(12, 5)}}}},
	{"a lower threshold above the upper one is out of range",
		[]step{ok(addService(Web)), fails(plane.ErrRange, addReal(Web, limited(12, 10, 11))), fails(plane.ErrRange, addReal(Web, limited(12, 0, 1)))},
		[]lb.Pool{{Service: Web}}},
	{"an address that is no host's is invalid",
		[]step{ok(addService(Web)), fails(plane.ErrInvalid, addReal(Web, at("224.0.0.1"))), fails(plane.ErrInvalid, addReal(Web, at("255.255.255.255"))),
			fails(plane.ErrInvalid, addReal(Web, at("0.0.0.0")))}, []lb.Pool{{Service: Web}}},
	{"a real server of another family is invalid without a tunnel",
		[]step{ok(addService(Web)), fails(plane.ErrInvalid, addReal(Web, at("2001:db8::12")))}, []lb.Pool{{Service: Web}}},
	{"a tunnel leads to the other family, and nothing else does",
		[]step{ok(addService(web6)), fails(plane.ErrInvalid, addReal(web6, by(Server(12, 1), lb.Masq, lb.TunnelOptions{}))), fails(plane.ErrInvalid, addReal(web6, Server(12, 1)))},
		[]lb.Pool{{Service: web6}}},
	{"every method of both families reads back", []step{ok(steps(methods)...)}, methods},
	{"what is wrong with the values is said before the server is looked for",
		[]step{ok(addService(Web), addReal(Web, Server(12, 3))), fails(plane.ErrRange, addReal(Web, Server(12, -1))), fails(plane.ErrRange, editReal(Web, Server(13, -1))),
			fails(plane.ErrNoReal, editReal(Web, at("224.0.0.1")))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 3)}}}},
	{"a tunnel by GUE needs a port", []step{ok(addService(Web)), fails(plane.ErrInvalid, addReal(Web, gueWithoutPort))}, []lb.Pool{{Service: Web}}},
	{"an unknown persistence engine is refused", []step{fails(plane.ErrNoScheduler, addService(engine))}, nil},
	{"persistence of more than 31 days is out of range", []step{fails(plane.ErrRange, addService(eternal))}, nil},
	{"every scheduler of IPVS reads back", []step{ok(steps(pools(schedulers[:7], 80))...)}, pools(schedulers[:7], 80)},
	{"and the other half of them", []step{ok(steps(pools(schedulers[7:], 80))...)}, pools(schedulers[7:], 80)},
	{"one-packet scheduling reads back, and an edit ends it", []step{ok(addService(alone)), ok(editService(DNS))}, []lb.Pool{{Service: DNS}}},
	{"thresholds read back, a lower one that was not given too",
		[]step{ok(addService(Web), addReal(Web, limited(12, 10, 4)), addReal(Web, limited(13, 10, 0)), addReal(Web, limited(14, 10, 8)), editReal(Web, limited(14, 0, 0)))},
		[]lb.Pool{{Service: Web, Reals: []lb.Real{limited(12, 10, 4), limited(13, 10, 0), limited(14, 0, 0)}}}},
	{"no step is no change", []step{ok(addService(Web)), ok()}, []lb.Pool{{Service: Web}}},
}
