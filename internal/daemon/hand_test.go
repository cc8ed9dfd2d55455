package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

var (
	handKey  = lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("10.0.8.9:53")}
	handReal = lb.Real{Addr: netip.MustParseAddrPort("10.0.8.14:53"), Forward: lb.Route, Weight: 1}
)

func byHand() []control.Change {
	return []control.Change{
		{Do: control.AddService, Service: lb.Service{ServiceKey: handKey, Scheduler: "rr"}},
		{Do: control.AddServer, Service: lb.Service{ServiceKey: handKey}, Real: handReal},
		{Do: control.DeleteServer, Service: lb.Service{ServiceKey: webKey}, Real: lb.Real{Addr: real12}},
		{Do: control.AddServer, Service: lb.Service{ServiceKey: webKey}, Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.15:80"), Forward: lb.Route, Weight: 9}},
		{Do: control.EditService, Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}}},
	}
}

// holds lists the real servers of a service of the plane; nil if there is no such service.
func holds(p *fakePlane, key lb.ServiceKey) []string {
	have, _ := p.Read()
	for _, pool := range have {
		if pool.Service.ServiceKey == key {
			all := []string{}
			for _, r := range pool.Reals {
				all = append(all, r.Addr.String())
			}
			return all
		}
	}
	return nil
}

func TestWhatIsChangedByHandStaysUntilAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		answers, err := d.Change(context.Background(), byHand())
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"", "", "", "", "ESRCH"}; !slices.EqualFunc(answers, want, func(a control.Answer, e string) bool { return a.Errno == e }) {
			t.Errorf("answers %+v", answers)
		}
		for _, line := range []string{"By hand: add service [10.0.8.9]:udp:53 vs=[10.0.8.9]:udp:53", "By hand: delete real server 10.0.8.12:80 of [10.0.8.9]:tcp:80",
			"By hand: edit service FWM 7, refused: edit service FWM 7: no such service"} {
			if !r.log.has(line) {
				t.Errorf("the log does not say %q", line)
			}
		}
		r.prober.set(real13, true)
		time.Sleep(30 * time.Second)
		if got := holds(r.plane, webKey); !slices.Equal(got, []string{"10.0.8.15:80"}) {
			t.Errorf("after a verdict the pool is %v", got)
		}
		if got := holds(r.plane, handKey); len(got) != 1 {
			t.Errorf("after a verdict the service made by hand has %v", got)
		}
		r.prober.set(real13, false)
		time.Sleep(30 * time.Second)
		if got := holds(r.plane, webKey); !slices.Equal(got, []string{"10.0.8.15:80", "10.0.8.13:80"}) {
			t.Errorf("after a good verdict the pool is %v", got)
		}
		if out := d.Reload(context.Background()); !out.Done {
			t.Fatalf("%+v", out)
		}
		if got := holds(r.plane, webKey); !slices.Equal(got, []string{"10.0.8.13:80", "10.0.8.12:80"}) {
			t.Errorf("after a reload the pool is %v", got)
		}
		if got := holds(r.plane, handKey); got != nil {
			t.Errorf("after a reload the service made by hand has %v", got)
		}
	})
}

func TestARealServerThatTheHandPutBackIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.prober.set(real13, true)
		time.Sleep(30 * time.Second)
		server := control.Change{Do: control.AddServer, Service: lb.Service{ServiceKey: webKey}, Real: lb.Real{Addr: real13, Forward: lb.Route, Weight: 5}}
		if _, err := d.Change(context.Background(), append(byHand()[:2], server)); err != nil {
			t.Fatal(err)
		}
		r.prober.set(real13, false)
		time.Sleep(30 * time.Second)
		r.prober.set(real12, true)
		time.Sleep(30 * time.Second)
		if got := holds(r.plane, webKey); !slices.Equal(got, []string{"10.0.8.13:80"}) {
			t.Errorf("the pool is %v", got)
		}
		if got := holds(r.plane, handKey); len(got) != 1 {
			t.Errorf("the service made by hand has %v", got)
		}
	})
}

func TestStatusShowsWhatWasMadeByHandAndTheTableShowsThePlaneAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		if _, err := d.Change(context.Background(), byHand()); err != nil {
			t.Fatal(err)
		}
		s, err := d.Status(context.Background())
		if err != nil || len(s.Services) != 2 || s.Services[1].ServiceKey != handKey || len(s.Services[0].Reals) != 3 {
			t.Fatalf("%+v, %v", s.Services, err)
		}
		if web := s.Services[0].Reals[2]; web.Why != madeByHand || !web.InPool || web.Weight != 9 {
			t.Errorf("%+v", web)
		}
		table, err := d.Table(context.Background())
		if err != nil || table.Size != 64 || len(table.Services) != 2 || len(table.Services[0].Reals) != 2 || table.Services[0].Reals[1].Weight != 9 {
			t.Errorf("%+v, %v", table, err)
		}
	})
}

// runWithoutFile runs a daemon that was started with --no-config on a plane that somebody left full.
func runWithoutFile(t *testing.T, left []plane.Op) (d *daemon, r *poolRig, end func()) {
	t.Helper()
	r = &poolRig{plane: newFakePlane(), log: new(journal)}
	if err := r.plane.Apply(left); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d = &daemon{opts: Options{NoConfig: true, Instance: "test"}, events: quiet(t, r.log), host: newFakeHost(), orders: make(chan func()), ctx: ctx}
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.ha, err = newHA(d.host, d.events, nil, false); err != nil {
		t.Fatal(err)
	}
	d.pool = newPool(d.events, health.Config{}, r.plane, nil, func(a []netip.Addr) { r.asked = append(r.asked, a) }, nil)
	d.pool.byHand, r.m = true, d.pool
	d.pool.run(ctx, &d.wg)
	d.pool.loop.Do(d.pool.start)
	var serving sync.WaitGroup
	serving.Go(func() { d.serve(ctx, nil, nil) })
	return d, r, func() { cancel(); d.ha.close(); d.wg.Wait(); serving.Wait() }
}

func TestWithoutAConfigurationServicesAreThoseOfTheHandAndSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, end := runWithoutFile(t, plane.Diff(nil, []lb.Pool{{Service: lb.Service{ServiceKey: handKey, Scheduler: "rr"}, Reals: []lb.Real{handReal}}}))
		defer end()
		time.Sleep(time.Minute)
		if got := holds(r.plane, handKey); len(got) != 1 || len(r.asked) != 1 || len(r.asked[0]) != 1 {
			t.Errorf("the start left %v and asked for the next hops of %v", got, r.asked)
		}
		web := lb.Service{ServiceKey: webKey, Scheduler: "wlc"}
		answers, err := d.Change(context.Background(), []control.Change{{Do: control.AddService, Service: web},
			{Do: control.AddServer, Service: web, Real: lb.Real{Addr: real12, Forward: lb.Route, Weight: 1}}, {Do: control.Set, Timeouts: lb.Timeouts{UDP: time.Second}}})
		if err != nil || slices.ContainsFunc(answers, func(a control.Answer) bool { return a.Errno != "" }) {
			t.Fatalf("%+v, %v", answers, err)
		}
		if got := holds(r.plane, webKey); len(got) != 1 || len(r.asked) != 2 || len(r.asked[1]) != 2 {
			t.Errorf("the plane has %v, asked for next hops of %v", got, r.asked)
		}
		if times, _ := d.Timeouts(context.Background()); times.UDP != time.Second || times.TCP != 900*time.Second {
			t.Errorf("timeouts %+v", times)
		}
		for what, out := range map[string]control.Outcome{"reload": d.Reload(context.Background()), "apply": d.Apply(context.Background(), "/etc/x.conf", 0)} {
			if out.Done || out.Code != ExitNoConfig || out.Hint == "" {
				t.Errorf("%s: %+v", what, out)
			}
		}
		if _, err := d.Change(context.Background(), []control.Change{{Do: control.Flush}}); err != nil || holds(r.plane, webKey) != nil || holds(r.plane, handKey) != nil {
			t.Errorf("not flushed, %v", err)
		}
		d.pool.loop.Do(d.pool.end)
		if !r.plane.removed {
			t.Error("the end left the plane")
		}
		if _, err := d.Change(context.Background(), byHand()); !errors.Is(err, errStopping) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestManyChangesAtOnceAreOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, end := runWithoutFile(t, nil)
		defer end()
		var many []control.Change
		for i := range 50 {
			many = append(many, control.Change{Do: control.AddService, Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: uint32(i%49 + 1)}}})
		}
		if _, err := d.Change(context.Background(), many); err != nil {
			t.Fatal(err)
		}
		if !r.log.has("By hand: 50 changes, 1 of them refused") || r.log.has("FWM 3") {
			t.Error("the log is not one line")
		}
	})
}

func TestEveryErrorOfAPlaneHasTheKernelsNumber(t *testing.T) {
	for err, errno := range map[error]string{plane.ErrServiceExists: "EEXIST", plane.ErrRealExists: "EEXIST", plane.ErrNoService: "ESRCH", plane.ErrNoReal: "ENOENT",
		plane.ErrNoScheduler: "ENOENT", plane.ErrRange: "ERANGE", plane.ErrInvalid: "EINVAL", plane.ErrFull: "ENOMEM", plane.ErrUnsupported: "EOPNOTSUPP", errTest: "EIO"} {
		if a := answerOf(errors.Join(err)); a.Errno != errno || a.Error != err.Error() {
			t.Errorf("%v: %+v, want %s", err, a, errno)
		}
	}
}

func TestWithoutAConfigurationNothingIsRead(t *testing.T) {
	d := &daemon{opts: Options{NoConfig: true, Config: "/nowhere"}}
	if err := d.load(); err != nil || d.cfg == nil || d.cfg.Global.Timeouts != (conf.Config{}).Global.Timeouts {
		t.Errorf("%+v, %v", d.cfg, err)
	}
}
