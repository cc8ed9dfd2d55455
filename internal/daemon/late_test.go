package daemon

import (
	"testing"
	"testing/fstest"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// What keepalived's own keywords say of its process holds for the threads of VRRP, and switches off what is the default here.
func TestThreadsRunAsTheFileSays(t *testing.T) {
	for _, c := range []struct {
		line         string
		vrrp, hands  host.Scheduling
		asked, usual bool
	}{
		{"", host.Scheduling{Realtime: 2}, host.Scheduling{Realtime: 1}, false, false},
		{"vrrp_rt_priority 1", host.Scheduling{Realtime: 1}, host.Scheduling{Nice: host.BriskNice}, true, false},
		{"vrrp_rt_priority 50", host.Scheduling{Realtime: 50}, host.Scheduling{Realtime: 49}, true, false},
		{"vrrp_priority -5", host.Scheduling{Nice: -5}, host.Scheduling{Nice: -5}, true, true},
		{"vrrp_priority 0", host.Scheduling{}, host.Scheduling{}, true, true},
	} {
		cfg, _, diags := conf.Load(fstest.MapFS{"t.conf": {Data: []byte("global_defs {\n" + c.line + "\n}\n")}}, "t.conf", conf.Options{})
		if cfg == nil {
			t.Fatal(diags)
		}
		h := newFakeHost()
		a, err := newHA(h, quiet(t, new(journal)), nil, false)
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		a.configure(cfg)
		hands := second(a.scheduling)
		if a.scheduling.Realtime != c.vrrp.Realtime || a.scheduling.Nice != c.vrrp.Nice || hands.Realtime != c.hands.Realtime || hands.Nice != c.hands.Nice ||
			a.asked != c.asked || a.usual != c.usual {
			t.Errorf("%q: VRRP %+v, its hands %+v, asked %t, others as usual %t", c.line, a.scheduling, hands, a.asked, a.usual)
		}
	}
}
