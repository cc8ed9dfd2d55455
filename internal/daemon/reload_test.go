package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/plane"
	"vipd/internal/vrrp"
)

const siteFile = `
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	priority 100
	virtual_ipaddress { 10.0.8.9 }
}
virtual_server 10.0.8.9 80 {
	delay_loop 6
	lb_algo wrr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.12 80 {
		weight 2
		TCP_CHECK { connect_timeout 3 }
	}
	real_server 10.0.8.13 80 {
		weight 2
		TCP_CHECK { connect_timeout 3 }
	}
}
`

// runDaemon runs a whole daemon on fakes in the bubble, with text as its file, and returns how to end it.
func runDaemon(t *testing.T, text string) (d *daemon, r *poolRig, h *fakeHost, end func()) {
	t.Helper()
	return runDaemonWith(t, text, func(*fakeHost) {})
}

// runDaemonWith is runDaemon on a machine that prepare has changed.
func runDaemonWith(t *testing.T, text string, prepare func(*fakeHost)) (d *daemon, r *poolRig, h *fakeHost, end func()) {
	t.Helper()
	h = newFakeHost()
	prepare(h)
	r = &poolRig{plane: newFakePlane(), prober: &fakeProber{down: map[netip.AddrPort]bool{}}, log: new(journal)}
	ctx, cancel := context.WithCancel(context.Background())
	d = &daemon{opts: Options{Config: filepath.Join(t.TempDir(), "vipd.conf"), Instance: "test"}, events: quiet(t, r.log), started: time.Now(),
		host: h, orders: make(chan func()), ctx: ctx}
	d.write(t, text)
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.ha, err = newHA(h, d.events, d.cfg.Instances, d.cfg.Global.DynamicInterfaces); err != nil {
		t.Fatal(err)
	}
	if err := d.openBFD(ctx); err != nil {
		t.Fatal(err)
	}
	d.ha.turned = d.turned
	d.ha.follow(time.Now(), follower(h, d.cfg, d.events, false))
	d.pool = newPool(d.events, d.cfg.Health, r.plane, r.prober, func([]netip.Addr) {}, nil)
	r.m = d.pool
	d.pool.run(ctx, &d.wg)
	d.pool.loop.Do(d.pool.start)
	d.ha.run(ctx, &d.wg)
	d.bfd.run(ctx, &d.wg)
	d.ha.do(d.ha.start)
	var serving sync.WaitGroup
	serving.Go(func() { d.serve(ctx, nil, nil) })
	return d, r, h, func() {
		d.settlePending()
		cancel()
		d.ha.close()
		d.bfd.close()
		d.wg.Wait()
		serving.Wait()
	}
}

func (d *daemon) write(t *testing.T, text string) string {
	t.Helper()
	if err := os.WriteFile(d.opts.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d.opts.Config
}

// beside writes another file and returns its path.
func (d *daemon) beside(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAReloadOfTheSameFileTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, h, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.plane.Applied()
		h.wire.sent(t)
		announced := h.announcements()
		if out := d.Reload(t.Context()); !out.Done || out.Error != "" {
			t.Fatalf("outcome %+v", out)
		}
		if ops := r.plane.Applied(); len(ops) != 0 || h.announcements() != announced || len(h.wire.sent(t)) != 0 {
			t.Errorf("the plane got %v, %d announcements", ops, h.announcements()-announced)
		}
		if st := d.ha.status()[0]; st.State != vrrp.Master || st.Counters.BecameMaster != 1 {
			t.Errorf("it is %v after %d takeovers", st.State, st.Counters.BecameMaster)
		}
	})
}

// An instance that has another name goes on as master, and who follows it by its name finds it.
func TestAReloadThatRenamesAMasterLeavesNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, h, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		if !d.masterOf("VI_1") || !d.mastered() {
			t.Fatal("it is not master")
		}
		h.wire.sent(t)
		d.write(t, strings.ReplaceAll(siteFile, "VI_1", "VI_front"))
		if out := d.Reload(t.Context()); !out.Done || out.Error != "" {
			t.Fatalf("outcome %+v", out)
		}
		synctest.Wait()
		if d.masterOf("VI_1") || !d.masterOf("VI_front") || !d.mastered() {
			t.Errorf("master of VI_1: %v, of VI_front: %v, of any: %v", d.masterOf("VI_1"), d.masterOf("VI_front"), d.mastered())
		}
		if st := d.ha.status(); len(st) != 1 || st[0].Name != "VI_front" || st[0].State != vrrp.Master || st[0].Counters.BecameMaster != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAReloadTouchesTheOneRealServerThatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.plane.Applied()
		d.write(t, strings.Replace(siteFile, "10.0.8.13 80 {\n\t\tweight 2", "10.0.8.13 80 {\n\t\tweight 5", 1))
		if out := d.Reload(t.Context()); !out.Done {
			t.Fatalf("outcome %+v", out)
		}
		ops := r.plane.Applied()
		if len(ops) != 1 || ops[0].Verb != plane.EditReal || ops[0].Real.Addr != real13 || ops[0].Real.Weight != 5 {
			t.Errorf("the plane got %v", ops)
		}
	})
}

func TestAFailedServerStaysFailedOverAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		r.prober.set(real13, true)
		time.Sleep(20 * time.Second)
		if got := r.reals(t); len(got) != 1 {
			t.Fatalf("the pool is %v", got)
		}
		d.write(t, strings.Replace(siteFile, "lb_algo wrr", "lb_algo rr", 1))
		if out := d.Reload(t.Context()); !out.Done {
			t.Fatalf("outcome %+v", out)
		}
		if got := r.reals(t); len(got) != 1 || got[0] != real12 {
			t.Errorf("after the reload the pool is %v", got)
		}
	})
}

func TestAFileWithErrorsChangesNothingAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, h, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.plane.Applied()
		before := d.cfg
		for name, text := range map[string]string{
			"a missing argument":   siteFile + "virtual_server 10.0.8.8 80 {\n delay_loop\n}\n",
			"an unknown interface": strings.Replace(siteFile, "interface eth0", "interface eth7", 1),
		} {
			d.write(t, text)
			if out := d.Reload(t.Context()); out.Done || out.Error == "" || out.Code == 0 {
				t.Errorf("%s: outcome %+v", name, out)
			}
		}
		if d.cfg != before || len(r.plane.Applied()) != 0 || !h.holds(vip) || !r.log.has("Reload refused, nothing is changed") {
			t.Error("something changed, or nothing was said")
		}
	})
}

func TestAnApplyGoesBackUnlessItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		one := d.beside(t, strings.Replace(siteFile, "	real_server 10.0.8.13 80 {\n\t\tweight 2\n\t\tTCP_CHECK { connect_timeout 3 }\n\t}\n", "", 1))
		out := d.Apply(t.Context(), one, time.Minute)
		if !out.Done || out.Until.Sub(time.Now()) != time.Minute || len(r.reals(t)) != 1 {
			t.Fatalf("outcome %+v, pool %v", out, r.reals(t))
		}
		time.Sleep(61 * time.Second)
		if got := r.reals(t); len(got) != 2 || !r.log.has("Apply was not confirmed, going back") {
			t.Fatalf("unconfirmed, the pool is %v", got)
		}
		d.Apply(t.Context(), one, time.Minute)
		if out := d.Confirm(t.Context()); !out.Done || !out.Until.IsZero() {
			t.Fatalf("confirm: %+v", out)
		}
		time.Sleep(2 * time.Minute)
		if got := r.reals(t); len(got) != 1 {
			t.Errorf("confirmed, the pool is %v", got)
		}
		if out := d.Confirm(t.Context()); out.Done || !strings.Contains(out.Error, "nothing waits") {
			t.Errorf("a second confirm: %+v", out)
		}
	})
}

func TestAnApplyThatBreaksGoesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.plane.Fail(func(op plane.Op) error {
			if op.Service.Addr.Addr().String() == "10.0.8.8" {
				return errTest
			}
			return nil
		})
		out := d.Apply(t.Context(), d.beside(t, siteFile+strings.ReplaceAll(siteFile[strings.Index(siteFile, "virtual_server"):], "10.0.8.9", "10.0.8.8")), 0)
		if out.Done || !strings.Contains(out.Error, "refused by the test") || !strings.Contains(out.Hint, "before is in force") {
			t.Fatalf("outcome %+v", out)
		}
		if st := d.pool.pools.Status(); len(st) != 1 {
			t.Errorf("%d services are wanted", len(st))
		}
	})
}

func TestTheConfigurationInForceCanBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _, end := runDaemon(t, siteFile)
		defer end()
		raw, err := d.Config(t.Context())
		if err != nil || !strings.Contains(string(raw), `"10.0.8.12:80"`) {
			t.Fatalf("%v: %s", err, raw)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if out := (&daemon{events: d.events, orders: make(chan func())}).Reload(ctx); out.Done || out.Error == "" {
			t.Errorf("a stopping daemon answers %+v", out)
		}
	})
}

func TestOutcomesCarryCodesAndHints(t *testing.T) {
	if got := outcome(nil); !got.Done {
		t.Errorf("no error gives %+v", got)
	}
	if got := outcome(fail(ExitConfig, "mend it", "bad")); got.Done || got.Code != ExitConfig || got.Hint != "mend it" || got.Error != "bad" {
		t.Errorf("a failure gives %+v", got)
	}
	if got := outcome(fmt.Errorf("reload: %w", &partly{errors.New("one service")})); !got.Done || got.Error == "" {
		t.Errorf("a reload that did most gives %+v", got)
	}
	var _ control.Commander = (*daemon)(nil)
}

// largeConfig is a pool of n services with ten real servers each.
func largeConfig(n int, weight int32) *conf.Config {
	cfg := &conf.Config{}
	for i := range n {
		s := siteHealth().Services[0]
		s.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
		s.Reals = nil
		for j := range 10 {
			r := siteHealth().Services[0].Reals[0]
			r.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, byte(16 + j), byte(i >> 8), byte(i)}), 80)
			r.Checkers = []health.Checker{r.Checkers[0]}
			r.Checkers[0].Target = r.Addr
			s.Reals = append(s.Reals, r)
		}
		cfg.Health.Services = append(cfg.Health.Services, s)
	}
	cfg.Health.Services[n/2].Reals[3].Weight = weight
	return cfg
}

// BenchmarkReload is a reload of 10,000 services × 10 real servers of which one real server changed; it counts what the
// plane is told.
func BenchmarkReload(b *testing.B) {
	p := newFakePlane()
	ev, _ := newEvents(new(journal), "text", false)
	m := newPool(ev, largeConfig(10000, 2).Health, p, &fakeProber{}, func([]netip.Addr) {}, nil)
	now := time.Now()
	m.pools.Start(now)
	m.drain(now)
	p.Applied()
	configs := []*conf.Config{largeConfig(10000, 3), largeConfig(10000, 2)}
	ops := 0
	for i := 0; b.Loop(); i++ {
		m.pools.Update(now, configs[i%2].Health)
		m.drain(now)
		ops += len(p.Applied())
	}
	b.ReportMetric(float64(ops)/float64(b.N), "plane-ops/op")
}
