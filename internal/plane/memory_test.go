package plane_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func TestMemory(t *testing.T) {
	planetest.Run(t, func(t *testing.T) plane.Plane { return plane.NewMemory() })
}

// injector makes connections of a memory plane as packets would.
type injector struct{ *plane.Memory }

func (m injector) Connect(t *testing.T, s lb.Service, client netip.AddrPort) {
	pools, _ := m.Read()
	for _, p := range pools {
		if p.Service.ServiceKey != s.ServiceKey {
			continue
		}
		c := lb.Conn{Protocol: s.Protocol, Client: client, Virtual: s.Addr, Real: p.Reals[0].Addr,
			Forward: p.Reals[0].Forward, State: lb.Established, Expires: 900 * time.Second}
		if err := m.Memory.Connect(s.ServiceKey, c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemoryTraffic(t *testing.T) {
	planetest.RunTraffic(t, func(t *testing.T) (plane.Plane, planetest.Traffic) {
		m := plane.NewMemory()
		return m, injector{m}
	})
}

func TestMemoryForgetsARemovedRealServerWithItsLastConnection(t *testing.T) {
	m := plane.NewMemory()
	ops := []plane.Op{{Verb: plane.AddService, Service: planetest.Web}, {Verb: plane.AddReal, Service: planetest.Web, Real: planetest.Server(12, 1)}}
	if err := m.Apply(ops); err != nil {
		t.Fatal(err)
	}
	injector{m}.Connect(t, planetest.Web, netip.MustParseAddrPort("10.0.4.10:40000"))
	if err := m.Apply([]plane.Op{{Verb: plane.DelService, Service: planetest.Web}}); err != nil {
		t.Fatal(err)
	}
	m.Disconnect(func(lb.Conn) bool { return true })
	if err := m.Apply(ops); err != nil {
		t.Fatal(err)
	}
	if pools, _ := m.Read(); pools[0].Reals[0].Total.Conns != 0 || pools[0].Reals[0].Active != 0 {
		t.Errorf("counts of a forgotten server came back: %+v", pools[0].Reals[0])
	}
}

func TestMemoryRecordsWhatWasDoneAndFailsWhereItIsTold(t *testing.T) {
	m, broken := plane.NewMemory(), errors.New("broken")
	m.Fail(func(op plane.Op) error {
		if op.Verb == plane.AddReal {
			return broken
		}
		return nil
	})
	err := m.Apply([]plane.Op{{Verb: plane.AddService, Service: planetest.Web}, {Verb: plane.AddReal, Service: planetest.Web, Real: planetest.Server(12, 1)}})
	if !errors.Is(err, broken) || err.Error() != "add real server 10.0.8.12:80 of [10.0.8.9]:tcp:80: broken" {
		t.Errorf("error %v", err)
	}
	if ops := m.Applied(); len(ops) != 1 || ops[0].Verb != plane.AddService {
		t.Errorf("applied %v", ops)
	}
	if ops := m.Applied(); len(ops) != 0 {
		t.Errorf("applied again %v", ops)
	}
	m.FailRead(broken)
	if _, err := m.Read(); !errors.Is(err, broken) {
		t.Errorf("read error %v", err)
	}
}
