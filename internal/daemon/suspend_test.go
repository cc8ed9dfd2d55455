package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
)

func TestServicesWithHASuspendAreCheckedWhileTheirAddressIsOnAnyInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := siteHealth()
		cfg.Services[0].HASuspend = true
		r, end := runPool(t, cfg, nil)
		defer end()
		vip := cfg.Services[0].Addr.Addr()
		at := func(prefix netip.Prefix, index int) host.Assigned {
			return host.Assigned{Prefix: prefix, Ifindex: index}
		}
		change := func(index int, here bool) {
			r.m.loop.Do(func(now time.Time) { r.m.address(now, vip, index, here) })
		}
		failing := func() bool { return !slices.Contains(r.reals(t), real13) }
		r.prober.set(real13, true)
		time.Sleep(time.Minute)
		if failing() {
			t.Error("it was checked although the address is not here")
		}
		change(2, true)
		change(3, true)
		time.Sleep(time.Minute)
		if !failing() {
			t.Error("it was not checked although the address is here")
		}
		change(2, false)
		r.prober.set(real13, false)
		time.Sleep(time.Minute)
		if failing() {
			t.Error("it was not checked although the address is on another interface")
		}
		r.m.loop.Do(func(now time.Time) { r.m.resync(now, []host.Assigned{at(netip.PrefixFrom(real12.Addr(), 24), 3)}) })
		r.prober.set(real13, true)
		time.Sleep(time.Minute)
		if failing() || !r.log.has("Suspending healthchecker for service [10.0.8.13]:tcp:80 for VS [10.0.8.9]:tcp:80") {
			t.Error("it was checked although the address has gone")
		}
	})
}

func TestMailsAboutBFDNameTheSession(t *testing.T) {
	for up, want := range map[bool]string{true: "=> BFD CHECK edge succeeded on service <=", false: "=> BFD CHECK edge failed on service <="} {
		if got := checkerMail(health.CheckerTurned{Kind: health.BFDCheck, Session: "edge", Up: up}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
