package daemon

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

func TestWhyOfAServiceHasItsRulesResultsAndCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemon(t, siteFile)
		defer end()
		time.Sleep(10 * time.Second)
		r.prober.set(real13, true)
		time.Sleep(30 * time.Second)
		w, err := d.Explain(t.Context(), webKey)
		if err != nil || w.Service != "tcp/10.0.8.9:80" || !w.Quorum || w.Alive != 2 || w.Gained != 1 || len(w.Reals) != 2 {
			t.Fatalf("%+v, %v", w, err)
		}
		up, down := w.Reals[0], w.Reals[1]
		if up.Verdict != "in" || up.Weight != 2 || up.Rules[0].Rule != "check" {
			t.Errorf("%+v", up)
		}
		if down.Verdict != "out" || down.Rules[0].Rule != "check" || !strings.Contains(down.Rules[0].Says, "connection refused") {
			t.Errorf("%+v", down.Rules)
		}
		c := down.Checks[0]
		if c.Up || c.Kind != "TCP_CHECK" || c.Command != "nc -z -v -w 3 10.0.8.13 80" || len(c.Last) < 3 || c.Last[0].Result != "failed" || c.Last[len(c.Last)-1].Result != "ok" || !c.Last[0].At.After(c.Last[1].At) {
			t.Errorf("%+v", c)
		}
		if _, err := d.Explain(t.Context(), lb.ServiceKey{Mark: 7}); !errors.Is(err, control.ErrNothing) {
			t.Errorf("%v", err)
		}
	})
}
