// Package planetest is the contract of plane.Plane as tests: the same cases run on memory and on every real plane, so
// that what the daemon was tested with is what it runs with. It uses only what every plane of this program can do
// (direct routing, and every scheduler and kind of service).
//
// Run needs a plane alone. RunTraffic needs somebody who makes connections as well.
package planetest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Web is the service of the cases: TCP 10.0.8.9:80, wrr.
var Web = lb.Service{
	ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")},
	Scheduler:  "wrr",
}

// DNS is a second service, of the same address: UDP 10.0.8.9:53, rr.
var DNS = lb.Service{
	ServiceKey: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("10.0.8.9:53")},
	Scheduler:  "rr",
}

// Server is real server 10.0.8.HOST:80 of weight w, by direct routing.
func Server(host byte, w int32) lb.Real {
	return lb.Real{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, host}), 80), Forward: lb.Route, Weight: w}
}

// Run runs the contract, each case on a new, empty plane of open. The plane is closed by open's own cleanup.
func Run(t *testing.T, open func(t *testing.T) plane.Plane) {
	for _, c := range slices.Concat(cases, markCases) {
		t.Run(c.name, func(t *testing.T) {
			p := open(t)
			for i, s := range c.steps {
				err := p.Apply(s.ops)
				if !errors.Is(err, s.err) {
					t.Fatalf("step %d: error %v, want %v", i, err, s.err)
				}
			}
			Want(t, p, c.want)
		})
	}
	t.Run("timeouts begin with the kernel's and a zero keeps its value", func(t *testing.T) { timeouts(t, open(t)) })
	t.Run("a new plane has no connections", func(t *testing.T) {
		if err := open(t).Conns(func(c lb.Conn) bool { t.Errorf("connection %+v", c); return true }); err != nil {
			t.Error(err)
		}
	})
	t.Run("the steps of Diff lead to what was wanted and then there are none", func(t *testing.T) { converge(t, open(t)) })
	t.Run("nothing is counted of what is new", func(t *testing.T) { uncounted(t, open(t)) })
	t.Run("zeroing a missing service fails, zeroing an empty plane does not", func(t *testing.T) {
		p := open(t)
		if err := p.Zero(&Web.ServiceKey); !errors.Is(err, plane.ErrNoService) {
			t.Errorf("error %v, want %v", err, plane.ErrNoService)
		}
		if err := p.Zero(nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("settings begin with the kernel's and change by name", func(t *testing.T) { settings(t, open(t)) })
	t.Run("classes are replaced whole", func(t *testing.T) { classes(t, open(t)) })
	t.Run("each of many steps has its own outcome", func(t *testing.T) { each(t, open(t)) })
}

// Want fails unless p has exactly the pools want, services in any order, real servers in this one.
func Want(t *testing.T, p plane.Plane, want []lb.Pool) {
	t.Helper()
	have, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	byKey := cmpopts.SortSlices(func(a, b lb.Pool) bool {
		return fmt.Sprint(a.Service.V6, a.Service.ServiceKey) < fmt.Sprint(b.Service.V6, b.Service.ServiceKey)
	})
	opts := []cmp.Option{byKey, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if d := cmp.Diff(want, plane.Pools(have), opts...); d != "" {
		t.Fatalf("pools differ (-want +have):\n%s", d)
	}
}

func timeouts(t *testing.T, p plane.Plane) {
	check := func(want lb.Timeouts) {
		t.Helper()
		if have, err := p.Timeouts(); err != nil || have != want {
			t.Fatalf("timeouts %v, %v; want %v", have, err, want)
		}
	}
	check(lb.DefaultTimeouts)
	if err := p.SetTimeouts(lb.Timeouts{TCPFin: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	check(lb.Timeouts{TCP: 900 * time.Second, TCPFin: 30 * time.Second, UDP: 300 * time.Second})
	if err := p.SetTimeouts(lb.Timeouts{TCP: time.Minute, UDP: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	check(lb.Timeouts{TCP: time.Minute, TCPFin: 30 * time.Second, UDP: 10 * time.Second})
}

func each(t *testing.T, p plane.Plane) {
	ops := []plane.Op{addService(Web), addReal(DNS, Server(12, 1)), addService(Web), addReal(Web, Server(12, 1)), addReal(Web, Server(13, -1)), addReal(Web, Server(14, 2))}
	want := []error{nil, plane.ErrNoService, plane.ErrServiceExists, nil, plane.ErrRange, nil}
	for i, err := range plane.ApplyEach(p, ops) {
		if !errors.Is(err, want[i]) {
			t.Errorf("%s: error %v, want %v", ops[i], err, want[i])
		}
	}
	Want(t, p, []lb.Pool{{Service: Web, Reals: []lb.Real{Server(12, 1), Server(14, 2)}}})
}

func converge(t *testing.T, p plane.Plane) {
	sticky := Web
	sticky.Persistence, sticky.Wild = 50*time.Second, lb.WildOf(24, false)
	for _, want := range [][]lb.Pool{
		{{Service: Web, Reals: []lb.Real{Server(12, 1), Server(13, 2)}}, {Service: DNS, Reals: []lb.Real{Server(12, 1)}}},
		{{Service: sticky, Reals: []lb.Real{Server(12, 1), Server(13, 5), Server(14, 0)}}},
		{{Service: DNS, Reals: []lb.Real{Server(12, 0)}}, {Service: Web}},
		nil,
	} {
		have, err := p.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(plane.Diff(plane.Pools(have), want)); err != nil {
			t.Fatal(err)
		}
		Want(t, p, want)
		have, _ = p.Read()
		if ops := plane.Diff(plane.Pools(have), want); len(ops) != 0 {
			t.Fatalf("still to do: %v", ops)
		}
	}
}

func uncounted(t *testing.T, p plane.Plane) {
	if err := p.Apply([]plane.Op{addService(Web), addReal(Web, Server(12, 1))}); err != nil {
		t.Fatal(err)
	}
	have, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []plane.Pool{{Service: Web, Reals: []plane.Real{{Real: Server(12, 1)}}}}
	if d := cmp.Diff(want, have, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Fatal(d)
	}
}
