package planetest

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Mark is the service of firewall mark 7, and Mark6 that of its IPv6 packets.
var (
	Mark  = lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "rr"}
	Mark6 = lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}, Scheduler: "rr"}

	wide    = lb.Service{ServiceKey: lb.ServiceKey{Mark: 1<<32 - 1}, Scheduler: "sh"}
	every   = with(sticky, func(s *lb.Service) { s.Addr = netip.AddrPortFrom(s.Addr.Addr(), 0) })
	server6 = lb.Real{Addr: netip.MustParseAddrPort("[2001:db8:8::12]:80"), Forward: lb.Route, Weight: 1}
)

// markCases are about services that no single address, protocol and port names.
var markCases = []planeCase{
	{"a firewall mark has a service of each family",
		[]step{ok(addService(Mark), addReal(Mark, Server(12, 1)), addService(Mark6), addReal(Mark6, server6)), fails(plane.ErrServiceExists, addService(Mark))},
		[]lb.Pool{{Service: Mark, Reals: []lb.Real{Server(12, 1)}}, {Service: Mark6, Reals: []lb.Real{server6}}}},
	{"a mark may have all of its 32 bits", []step{ok(addService(wide), addReal(wide, Server(12, 1)))}, []lb.Pool{{Service: wide, Reals: []lb.Real{Server(12, 1)}}}},
	{"a mark's service is edited and removed by its mark",
		[]step{ok(addService(Mark), addService(wide), editService(with(Mark, func(s *lb.Service) { s.Scheduler = "wlc" })), delService(wide))},
		[]lb.Pool{{Service: with(Mark, func(s *lb.Service) { s.Scheduler = "wlc" })}}},
	{"a service of every port stands beside those of one",
		[]step{ok(addService(every), addService(Web), addReal(every, Server(12, 1)), addReal(Web, Server(13, 1)))},
		[]lb.Pool{{Service: every, Reals: []lb.Real{Server(12, 1)}}, {Service: Web, Reals: []lb.Real{Server(13, 1)}}}},
}

// settings begin with the kernel's, and change one by one.
func settings(t *testing.T, p plane.Plane) {
	tuner, ok := p.(plane.Tuner)
	if !ok {
		t.Fatalf("%T has no settings", p)
	}
	read := func() map[string]uint32 {
		t.Helper()
		have, err := tuner.Settings()
		if err != nil {
			t.Fatal(err)
		}
		return have
	}
	want := map[string]uint32{}
	have := read()
	for _, s := range plane.Settings {
		if n, had := have[s.Name]; had && s.Name == "sync_qlen_max" {
			want[s.Name] = n // a kernel's own begins with what its memory allows
		} else if had {
			want[s.Name] = s.Default
		} else if !s.Own && s.Name != "lblc_expiration" && s.Name != "lblcr_expiration" { // these come with their schedulers
			t.Errorf("there is no %s", s.Name)
		}
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Fatalf("at first (-want +have):\n%s", d)
	}
	for name, value := range map[string]uint32{"conn_reuse_mode": 0, "sloppy_tcp": 1, "am_droprate": 5, "expire_nodest_conn": 1, "drop_packet": 3,
		"sync_persist_mode": 1, "sync_refresh_period": 20, "sync_retries": 3, "sync_ports": 8, "sync_version": 0, "sync_sock_size": 1 << 20, "sync_qlen_max": 100} {
		if err := tuner.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tuner.Set(name, want[name]) }) // a kernel has one set for all cases
		if got := read()[name]; got != value {
			t.Errorf("%s is %d, want %d", name, got, value)
		}
	}
	for _, pair := range [][2]uint32{{60, 100}, {0, 1}, {200, 0}, {3, 50}} {
		if err := plane.SetThreshold(tuner, pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
		if got := read(); got["sync_threshold"] != pair[0] || got["sync_period"] != pair[1] {
			t.Errorf("sync_threshold is %d %d, want %v", got["sync_threshold"], got["sync_period"], pair)
		}
	}
	if err := plane.SetThreshold(tuner, 50, 50); !errors.Is(err, plane.ErrRange) {
		t.Errorf("sync_threshold 50 50: %v", err)
	}
	for _, row := range []struct {
		name  string
		value uint32
		err   error
	}{{"sync_threshold", 50, plane.ErrRange}, {"sync_period", 3, plane.ErrRange}, {"sync_ports", 3, plane.ErrRange}, {"sync_ports", 0, plane.ErrRange},
		{"sync_ports", 128, plane.ErrRange}, {"sync_retries", 4, plane.ErrRange}, {"sync_version", 2, plane.ErrRange}, {"drop_entry", 4, plane.ErrRange}, {"secure_tcp", 4, plane.ErrRange}, {"drop_packet", 7, plane.ErrRange}, {"nosuch", 1, plane.ErrNoSetting}} {
		if err := tuner.Set(row.name, row.value); !errors.Is(err, row.err) {
			t.Errorf("%s %d: error %v, want %v", row.name, row.value, err, row.err)
		}
	}
}

// classes are replaced whole. A plane whose packets have their marks from elsewhere has none.
func classes(t *testing.T, p plane.Plane) {
	c, ok := p.(plane.Classifier)
	if !ok {
		return
	}
	web := lb.Class{Mark: 7, Protocol: lb.TCP, To: netip.MustParsePrefix("10.0.8.9/32"), First: 80, Last: 443}
	all := lb.Class{Mark: 8, To: netip.MustParsePrefix("2001:db8::/32"), Last: 65535, From: netip.MustParsePrefix("2001:db8:4::/48"), Interface: "lo"}
	for _, want := range [][]lb.Class{{web, all}, {all}, nil, {all, web, web}} {
		if err := c.SetClasses(want); err != nil {
			t.Fatal(err)
		}
		have, err := c.Classes()
		if d := cmp.Diff(want, have, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || d != "" {
			t.Fatalf("error %v (-want +have):\n%s", err, d)
		}
	}
	for name, bad := range map[string]lb.Class{
		"no mark":             {To: web.To, Last: 65535},
		"no network":          {Mark: 7, Last: 65535},
		"another family":      {Mark: 7, To: web.To, From: all.From, Last: 65535},
		"bits of the host":    {Mark: 7, To: netip.MustParsePrefix("10.0.8.9/24"), Last: 65535},
		"ports the wrong way": {Mark: 7, To: web.To, First: 81, Last: 80},
	} {
		if err := c.SetClasses([]lb.Class{bad}); !errors.Is(err, plane.ErrInvalid) {
			t.Errorf("%s: error %v, want %v", name, err, plane.ErrInvalid)
		}
	}
	if have, err := c.Classes(); err != nil || len(have) != 3 {
		t.Errorf("after refusals: %v, %v", have, err)
	}
}
