package daemon

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/lb"
)

// weightIn is the weight of a real server in the plane; -1: it is not there.
func weightIn(r *poolRig, key lb.ServiceKey, addr netip.AddrPort) int32 {
	have, _ := r.plane.Read()
	for _, p := range have {
		for _, x := range p.Reals {
			if p.Service.ServiceKey == key && x.Addr == addr {
				return x.Weight
			}
		}
	}
	return -1
}

func drainOrder() control.Order {
	return control.Order{Do: control.OrderDrain, Service: webKey, Real: real12}
}

func TestAnOrderIsSoInThePlaneInStatusAndInTheFileAndStaysOverReloadAndRestart(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		d.opts.State = state
		time.Sleep(10 * time.Second)
		if out := d.Operate(t.Context(), drainOrder()); !out.Done || out.Error != "" {
			t.Fatalf("%+v", out)
		}
		st, err := d.Status(t.Context())
		if err != nil || st.Services[0].Reals[0].Operator == nil || st.Services[0].Reals[0].Operator.Do != "drain" || st.Services[0].Reals[0].Weight != 0 {
			t.Errorf("status %+v, %v", st.Services[0].Reals[0], err)
		}
		if got := weightIn(r, webKey, real12); got != 0 {
			t.Errorf("the plane has weight %d", got)
		}
		d.write(t, siteFile+"\n# another text\n")
		if out := d.Reload(t.Context()); !out.Done || len(out.Said) != 1 || !strings.Contains(out.Said[0], "[10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80 is held by operator (unknown)") {
			t.Errorf("reload says %+v", out)
		}
		if got := weightIn(r, webKey, real12); got != 0 {
			t.Errorf("after a reload the plane has weight %d", got)
		}
		if !r.log.has("Operator (unknown): drain [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80 ") {
			t.Errorf("the log does not say so:\n%s", r.log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		d.opts.State = state
		again := newPool(d.events, d.cfg.Health, r.plane, r.prober, func([]netip.Addr) {}, nil)
		d.restoreHands(again)
		if got := again.pools.Held(); len(got) != 1 || got[0].Do != health.Drain || got[0].Real != real12 {
			t.Fatalf("restored %+v", got)
		}
		if !r.log.has("is held by operator") {
			t.Error("the start does not say what is held")
		}
		time.Sleep(10 * time.Second)
		ready := drainOrder()
		d.Operate(t.Context(), drainOrder())
		ready.Do = control.OrderReady
		if out := d.Operate(t.Context(), ready); out.Error != "" {
			t.Errorf("%+v", out)
		}
		if got := weightIn(r, webKey, real12); got != 2 {
			t.Errorf("ready gives weight %d", got)
		}
		if _, err := os.Stat(d.handsPath()); !os.IsNotExist(err) {
			t.Errorf("nothing is held and the file is there: %v", err)
		}
		if out := d.Operate(t.Context(), ready); out.Done || !strings.Contains(out.Error, "ready 10.0.8.12:80 of [10.0.8.9]:tcp:80: no operator holds it") {
			t.Errorf("%+v", out)
		}
	})
}

func TestAnOrderThatCannotBeKeptIsSoAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		d.opts.State = filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(d.opts.State, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		out := d.Operate(t.Context(), drainOrder())
		if !out.Done || !strings.Contains(out.Error, "it is so now, but would be forgotten at a restart") || weightIn(r, webKey, real12) != 0 {
			t.Errorf("%+v", out)
		}
	})
}

func TestAStateFileThatIsDamagedIsSaidAndIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "torn": `{"version":1,"held":[{"do":"dr`, "of another version": `{"version":2}`, "of another kind": `{"version":1,"held":[{"do":"stop","fwmark":7,"real":"10.0.8.12:80"}]}`,
		"twice the same": `{"version":1,"held":[{"do":"drain","fwmark":7,"real":"10.0.8.12:80"},{"do":"drain","fwmark":7,"real":"10.0.8.12:80"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := &daemon{opts: Options{State: t.TempDir(), Instance: "x"}}
			log := new(journal)
			d.events = quiet(t, log)
			if err := os.MkdirAll(filepath.Dir(d.handsPath()), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.handsPath(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			m := newPool(d.events, siteHealth(), newFakePlane(), nil, nil, nil)
			d.restoreHands(m)
			if len(m.pools.Held()) != 0 || !log.has("ERROR operator's hand: read "+d.handsPath()) {
				t.Errorf("held %v, log %s", m.pools.Held(), log)
			}
		})
	}
}

// FuzzHands: whatever is in the file is refused, or written again as it was understood.
func FuzzHands(f *testing.F) {
	good, _ := formatHands([]health.Held{{Service: webKey, Real: real12, Hand: health.Hand{Do: health.Weigh, Percent: 50, Since: time.Unix(1700000000, 0).UTC(), By: "root"}}})
	f.Add(good)
	f.Add([]byte(`{"version":1,"held":null}`))
	f.Add([]byte(`{"version":1,"held":[{"do":"drain","fwmark":7,"ipv6":true,"real":"[::1]:0"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseHands(b)
		if err != nil {
			return
		}
		text, err := formatHands(all)
		if err != nil {
			t.Skip("a year that JSON cannot say")
		}
		again, err := parseHands(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		twice, err := formatHands(again)
		if err != nil || !bytes.Equal(text, twice) {
			t.Errorf("%s became %s, %v", text, twice, err)
		}
		p := health.New(siteHealth(), nil)
		p.Restore(all)
		p.Start(time.Unix(0, 0))
	})
}

func TestTheDumpHasWhatOperatorsHoldAndNothingOfItOtherwise(t *testing.T) {
	var b bytes.Buffer
	(&dump{}).held(&b)
	if b.Len() != 0 {
		t.Errorf("got %q", b.String())
	}
	(&dump{hands: []health.Held{{Service: webKey, Real: real12, Hand: health.Hand{Do: health.Weigh, Weight: 3, By: "root", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}}}).held(&b)
	want := "------< Held by an operator >------\n Real server = [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80\n   Operator = root\n   Does = weight 3\n   Since = 2026-01-02 03:04:05\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
