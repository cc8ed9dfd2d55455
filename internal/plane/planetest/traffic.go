package planetest

import (
	"net/netip"
	"testing"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Traffic makes connections to a plane under test.
type Traffic interface {
	// Connect makes a connection from client to service s and brings TCP to ESTABLISHED. The plane has one usable real
	// server in s.
	Connect(t *testing.T, s lb.Service, client netip.AddrPort)
}

// RunTraffic runs the part of the contract that needs connections, each case on a new, empty plane.
func RunTraffic(t *testing.T, open func(t *testing.T) (plane.Plane, Traffic)) {
	client := netip.MustParseAddrPort("10.0.4.10:40000")
	t.Run("a connection is listed and counted as active", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)))
		traffic.Connect(t, Web, client)
		c := only(t, p)
		if c.Client != client || c.Virtual != Web.Addr || c.Real != Server(12, 1).Addr || c.Protocol != lb.TCP ||
			c.Forward != lb.Route || c.State != lb.Established || c.Template {
			t.Errorf("connection %+v", c)
		}
		if c.Expires <= 890*time.Second || c.Expires > 901*time.Second {
			t.Errorf("expires in %v, want nearly 900 s", c.Expires)
		}
		if r := read(t, p).Reals[0]; r.Active != 1 || r.Inactive != 0 || r.Total.Conns != 1 {
			t.Errorf("real server %+v, want one active connection", r)
		}
		if s := read(t, p); s.Total.Conns != 1 {
			t.Errorf("service counted %+v, want one connection", s.Total)
		}
	})
	t.Run("a UDP connection is inactive", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(DNS), addReal(DNS, Server(12, 1)))
		traffic.Connect(t, DNS, client)
		if c := only(t, p); c.StateName() != "UDP" || c.Protocol != lb.UDP {
			t.Errorf("connection %+v", c)
		}
		if r := read(t, p).Reals[0]; r.Active != 0 || r.Inactive != 1 {
			t.Errorf("real server %+v, want one inactive connection", r)
		}
	})
	t.Run("a removed real server that comes back has its counts again", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)), addReal(Web, Server(13, 0)))
		traffic.Connect(t, Web, client)
		apply(t, p, delReal(Web, Server(12, 1)))
		only(t, p)
		if r := read(t, p).Reals; len(r) != 1 || r[0].Addr != Server(13, 0).Addr || r[0].Active != 0 {
			t.Fatalf("real servers %+v", r)
		}
		apply(t, p, addReal(Web, Server(12, 7)))
		if r := read(t, p).Reals[1]; r.Active != 1 || r.Total.Conns != 1 || r.Weight != 7 {
			t.Errorf("real server %+v, want its connection and count, and the new weight", r)
		}
	})
	t.Run("a removed service leaves its connections and finds them when it comes back", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)))
		traffic.Connect(t, Web, client)
		apply(t, p, delService(Web))
		only(t, p)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)))
		if r := read(t, p).Reals[0]; r.Active != 1 {
			t.Errorf("real server %+v, want its connection", r)
		}
	})
	t.Run("zeroing begins the counters of one service anew and leaves connections", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)), addService(DNS), addReal(DNS, Server(13, 1)))
		traffic.Connect(t, Web, client)
		traffic.Connect(t, DNS, client)
		counts := func() (web, dns plane.Pool) {
			pools, err := p.Read()
			if err != nil || len(pools) != 2 {
				t.Fatalf("%d services, error %v", len(pools), err)
			}
			if pools[0].Service.ServiceKey == Web.ServiceKey {
				return pools[0], pools[1]
			}
			return pools[1], pools[0]
		}
		if err := p.Zero(&Web.ServiceKey); err != nil {
			t.Fatal(err)
		}
		web, dns := counts()
		if web.Total != (lb.Counters{}) || web.Reals[0].Total != (lb.Counters{}) || web.Reals[0].Active != 1 {
			t.Errorf("zeroed: %+v", web)
		}
		if dns.Total.Conns != 1 || dns.Reals[0].Total.Conns != 1 {
			t.Errorf("the other service: %+v", dns)
		}
		client2 := netip.AddrPortFrom(client.Addr(), 40001)
		traffic.Connect(t, Web, client2)
		if web, _ = counts(); web.Total.Conns != 1 || web.Reals[0].Total.Conns != 1 || web.Reals[0].Active != 2 {
			t.Errorf("counted on: %+v", web)
		}
		if err := p.Zero(nil); err != nil {
			t.Fatal(err)
		}
		if web, dns = counts(); web.Total != (lb.Counters{}) || dns.Total != (lb.Counters{}) || dns.Reals[0].Total != (lb.Counters{}) {
			t.Errorf("all zeroed: %+v %+v", web, dns)
		}
	})
	t.Run("a weight of 0 keeps connections", func(t *testing.T) {
		p, traffic := open(t)
		apply(t, p, addService(Web), addReal(Web, Server(12, 1)))
		traffic.Connect(t, Web, client)
		apply(t, p, editReal(Web, Server(12, 0)))
		only(t, p)
		if r := read(t, p).Reals[0]; r.Active != 1 {
			t.Errorf("real server %+v, want its connection", r)
		}
	})
}

func apply(t *testing.T, p plane.Plane, ops ...plane.Op) {
	t.Helper()
	if err := p.Apply(ops); err != nil {
		t.Fatal(err)
	}
}

// only returns the one connection of p.
func only(t *testing.T, p plane.Plane) (found lb.Conn) {
	t.Helper()
	n := 0
	if err := p.Conns(func(c lb.Conn) bool { found = c; n++; return true }); err != nil {
		t.Fatal(err)
	}
	if n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	return found
}

// read returns the one service of p.
func read(t *testing.T, p plane.Plane) plane.Pool {
	t.Helper()
	pools, err := p.Read()
	if err != nil || len(pools) != 1 {
		t.Fatalf("%d services, error %v; want 1", len(pools), err)
	}
	return pools[0]
}
