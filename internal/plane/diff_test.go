package plane_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func TestDiff(t *testing.T) {
	web, dns, s := planetest.Web, planetest.DNS, planetest.Server
	pool := func(s lb.Service, reals ...lb.Real) lb.Pool { return lb.Pool{Service: s, Reals: reals} }
	sticky := web
	sticky.Persistence = time.Minute
	wlc, none := web, web
	wlc.Scheduler, none.Scheduler = "wlc", ""
	for _, c := range []struct {
		name       string
		have, want []lb.Pool
		ops        string // one a line
	}{
		{"nothing is nothing", nil, nil, ""},
		{"what is wanted and there needs no step", []lb.Pool{pool(web, s(12, 1))}, []lb.Pool{pool(web, s(12, 1))}, ""},
		{"another order of real servers needs no step", []lb.Pool{pool(web, s(12, 1), s(13, 1))}, []lb.Pool{pool(web, s(13, 1), s(12, 1))}, ""},
		{"no scheduler is wlc", []lb.Pool{pool(wlc)}, []lb.Pool{pool(none)}, ""},
		{"a new service comes with its real servers in the wanted order", nil, []lb.Pool{pool(web, s(13, 1), s(12, 1))},
			"add service [10.0.8.9]:tcp:80\nadd real server 10.0.8.13:80 of [10.0.8.9]:tcp:80\nadd real server 10.0.8.12:80 of [10.0.8.9]:tcp:80"},
		{"a service goes in one step", []lb.Pool{pool(web, s(12, 1))}, nil, "delete service [10.0.8.9]:tcp:80"},
		{"real servers go, then services, then come the new, then the edits",
			[]lb.Pool{pool(dns), pool(web, s(12, 1), s(13, 1))}, []lb.Pool{pool(sticky, s(13, 2), s(14, 1))},
			"delete real server 10.0.8.12:80 of [10.0.8.9]:tcp:80\ndelete service [10.0.8.9]:udp:53\n" +
				"add real server 10.0.8.14:80 of [10.0.8.9]:tcp:80\nedit service [10.0.8.9]:tcp:80\nedit real server 10.0.8.13:80 of [10.0.8.9]:tcp:80"},
		{"of two of one name the first counts", nil, []lb.Pool{pool(web, s(12, 1), s(12, 2)), pool(web, s(13, 1))},
			"add service [10.0.8.9]:tcp:80\nadd real server 10.0.8.12:80 of [10.0.8.9]:tcp:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			for _, op := range plane.Diff(c.have, c.want) {
				said = append(said, op.String())
			}
			if got := strings.Join(said, "\n"); got != c.ops {
				t.Errorf("steps:\n%s\nwant:\n%s", got, c.ops)
			}
		})
	}
}

// Whatever was there before, applying Diff gives what is wanted, and then there is nothing left to do.
func TestDiffConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := plane.NewMemory()
		for range rapid.IntRange(1, 5).Draw(t, "reloads") {
			want := rapid.SliceOfNDistinct(pools(), 0, 4, func(p lb.Pool) lb.ServiceKey { return p.Service.ServiceKey }).Draw(t, "want")
			have, _ := m.Read()
			if err := m.Apply(plane.Diff(plane.Pools(have), want)); err != nil {
				t.Fatal(err)
			}
			have, _ = m.Read()
			if ops := plane.Diff(plane.Pools(have), want); len(ops) != 0 {
				t.Fatalf("still to do: %v", ops)
			}
			same(t, plane.Pools(have), want)
		}
	})
}

// same compares without Diff, so that Diff is not its own judge.
func same(t *rapid.T, have, want []lb.Pool) {
	if len(have) != len(want) {
		t.Fatalf("%d services, want %d", len(have), len(want))
	}
	for _, w := range want {
		at := slices.IndexFunc(have, func(h lb.Pool) bool { return h.Service == plane.Normal(w.Service) })
		if at < 0 || len(have[at].Reals) != len(w.Reals) {
			t.Fatalf("%v is not as wanted: %+v", w.Service, have)
		}
		for _, r := range w.Reals {
			if !slices.Contains(have[at].Reals, plane.NormalReal(r)) {
				t.Fatalf("%+v is not in %+v", r, have[at].Reals)
			}
		}
	}
}

func pools() *rapid.Generator[lb.Pool] {
	return rapid.Custom(func(t *rapid.T) lb.Pool {
		s := rapid.SampledFrom([]lb.Service{planetest.Web, planetest.DNS}).Draw(t, "service")
		s.Mark = rapid.Uint32Range(0, 2).Draw(t, "mark")
		s.Scheduler = rapid.SampledFrom([]string{"", "wlc", "rr", "sh"}).Draw(t, "scheduler")
		s.Persistence = time.Duration(rapid.IntRange(0, 2).Draw(t, "persistence")) * time.Second
		s.Wild = rapid.SampledFrom([]uint32{0, 0xff, 0xff00}).Draw(t, "mask")
		reals := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) lb.Real {
			r := planetest.Server(rapid.ByteRange(10, 15).Draw(t, "host"), rapid.Int32Range(0, 3).Draw(t, "weight"))
			r.Forward = lb.Forward(rapid.IntRange(0, 3).Draw(t, "forward"))
			r.Upper = rapid.Uint32Range(0, 2).Draw(t, "upper")
			r.Lower = r.Upper / 2
			r.Tunnel = lb.TunnelOptions{Type: lb.TunnelType(rapid.IntRange(0, 2).Draw(t, "tunnel")), Port: 6080}
			return r
		}), 0, 5, func(r lb.Real) string { return r.Addr.String() }).Draw(t, "reals")
		return lb.Pool{Service: s, Reals: reals}
	})
}
