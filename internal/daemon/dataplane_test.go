package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

func TestTheDataPlaneIsTheOneThatIsWantedOrTheFirstThatWorks(t *testing.T) {
	busy, none := fail(ExitFatal, "remove the other", "another XDP program"), fail(ExitFatal, "modprobe", "no ip_vs")
	for _, c := range []struct {
		name      string
		want      string
		pinned    bool
		xdp, ipvs error
		tried     string
		path, err string
	}{
		{"xdp", "xdp", false, nil, nil, "xdp", "xdp said", ""},
		{"xdp does not fall back", "xdp", false, busy, nil, "xdp", "", "another XDP program"},
		{"ipvs", "ipvs", true, nil, nil, "ipvs", "ipvs said", ""},
		{"ipvs does not fall back", "ipvs", false, nil, none, "ipvs", "", "no ip_vs"},
		{"auto takes xdp", "auto", false, nil, nil, "xdp", "xdp auto: it works here", ""},
		{"auto falls back", "auto", false, busy, nil, "xdp ipvs", "ipvs auto: xdp does not work here: another XDP program", ""},
		{"auto does not leave what forwards", "auto", true, busy, nil, "xdp", "", "another XDP program"},
		{"auto says why neither works", "auto", false, busy, none, "xdp ipvs", "", "no data plane works here: xdp: another XDP program; ipvs: no ip_vs"},
	} {
		var tried []string
		open := func(name string, err error) opener {
			return func() error { tried = append(tried, name); return err }
		}
		path, err := choosePath(choice{c.want, "said"}, c.pinned, open("xdp", c.xdp), open("ipvs", c.ipvs))
		if strings.Join(tried, " ") != c.tried {
			t.Errorf("%s: tried %v, want %s", c.name, tried, c.tried)
		}
		var f *Failure
		if c.err != "" && (err == nil || err.Error() != c.err || !errors.As(err, &f) || f.Hint == "") {
			t.Errorf("%s: error %v, want %s with a hint", c.name, err, c.err)
		}
		if c.err == "" && (err != nil || path.Name+" "+path.Why != c.path) {
			t.Errorf("%s: %+v, %v; want %s", c.name, path, err, c.path)
		}
	}
}

func TestTheCommandLineWinsOverTheFile(t *testing.T) {
	d := &daemon{cfg: &conf.Config{}}
	if got := d.wanted(); got.plane != "xdp" {
		t.Errorf("nothing said: %+v", got)
	}
	d.cfg.Global.DataPlane = "ipvs"
	if got := d.wanted(); got.plane != "ipvs" {
		t.Errorf("the file says ipvs: %+v", got)
	}
	d.opts.DataPlane = "auto"
	if got := d.wanted(); got.plane != "auto" {
		t.Errorf("the command line says auto: %+v", got)
	}
}

func TestServicesOfOthersStayInASharedPlaneUnlessTheFileFlushes(t *testing.T) {
	theirs := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.10:25")}, Scheduler: "rr"}
	stale := plane.Op{Verb: plane.AddReal, Service: lb.Service{ServiceKey: webKey}, Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.99:80")}}
	for _, at := range []string{"", "start", "end"} {
		flush := at == "start"
		synctest.Test(t, func(t *testing.T) {
			p := newFakePlane()
			if err := p.Apply([]plane.Op{{Verb: plane.AddService, Service: theirs}, {Verb: plane.AddService, Service: stale.Service}, stale}); err != nil {
				t.Fatal(err)
			}
			m := newPool(quiet(t, new(journal)), siteHealth(), p, &fakeProber{down: map[netip.AddrPort]bool{}}, func([]netip.Addr) {}, nil)
			m.shared, m.flush, m.flushEnd = true, flush, at == "end"
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			m.run(ctx, &wg)
			defer func() { cancel(); wg.Wait() }()
			m.loop.Do(m.start)
			time.Sleep(10 * time.Second)
			var have []plane.Pool
			look := func() (keys []lb.ServiceKey) {
				have, _ = p.Read()
				for _, h := range have {
					keys = append(keys, h.Service.ServiceKey)
				}
				return keys
			}
			if keys := look(); slices.Contains(keys, theirs.ServiceKey) == flush || !slices.Contains(keys, webKey) {
				t.Errorf("flush %v: after the start the plane has %v", flush, keys)
			}
			for _, h := range have {
				if h.Service.ServiceKey == webKey && len(h.Reals) != 2 {
					t.Errorf("the configured service has %+v", h.Reals)
				}
			}
			m.loop.Do(m.end)
			if keys := look(); slices.Contains(keys, theirs.ServiceKey) == (at != "") || slices.Contains(keys, webKey) {
				t.Errorf("flush at the %s: after the end the plane has %v", at, keys)
			}
		})
	}
}
