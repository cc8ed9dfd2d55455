package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

var (
	routeOne = host.NewRoute{To: "203.0.113.0/24", Via: netip.MustParseAddr("10.0.8.1")}
	routeTwo = host.NewRoute{To: "198.51.100.0/24", Dev: "eth0"}
	ruleOne  = host.NewRule{Priority: 1000, From: "10.0.8.9", Table: "250"}
)

// taken returns what the host was asked for since the last call.
func (h *fakeHost) taken() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := strings.Join(h.notes, "; ")
	h.notes = nil
	return all
}

func (h *fakeHost) announcedSoFar() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.announced)
}

func TestAMasterHasItsRoutesAndRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		a.do(func(time.Time) {
			a.equip(map[string]extra{"VI_1": {routes: []host.NewRoute{routeOne, routeTwo}, rules: []host.NewRule{ruleOne}, private: true}})
		})
		h.taken()
		time.Sleep(4 * time.Second)
		if got, want := h.taken(), "drop [10.0.8.9]; +203.0.113.0/24 via 10.0.8.1; +198.51.100.0/24 dev eth0; +1000: from 10.0.8.9 lookup 250"; got != want {
			t.Errorf("a new master asks for\n%s\nwant\n%s", got, want)
		}
		a.do(func(time.Time) {
			a.equip(map[string]extra{"VI_1": {routes: []host.NewRoute{routeTwo}, rules: []host.NewRule{ruleOne, {Priority: 7, Table: "main"}}}})
		})
		if got, want := h.taken(), "-203.0.113.0/24 via 10.0.8.1; +7: lookup main; drop []"; got != want {
			t.Errorf("a reload asks for\n%s\nwant\n%s", got, want)
		}
		a.do(a.speaker.Stop)
		if got, want := h.taken(), "-7: lookup main; -1000: from 10.0.8.9 lookup 250; -198.51.100.0/24 dev eth0"; got != want {
			t.Errorf("a stop asks for\n%s\nwant\n%s", got, want)
		}
	})
}

func TestAnAddressThatSomebodyRemovesIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(4 * time.Second)
		remove := func() {
			h.DelAddress(host.Address{Prefix: vip})
			a.changed(host.AddressEvent{Assigned: host.Assigned{Ifindex: 2, Prefix: vip}, Gone: true})
			synctest.Wait()
		}
		before := h.announcements()
		remove()
		if !h.holds(vip) || a.status()[0].State != vrrp.Master || h.announcements() != before+1 {
			t.Fatalf("holds %v, %v, %d announcements more", h.holds(vip), a.status()[0].State, h.announcements()-before)
		}
		if !log.has("Netlink reflector reports IP 10.0.8.9 removed from eth0: it is put back") {
			t.Error("nothing is said")
		}
		remove() // at once again: somebody fights
		if h.holds(vip) {
			t.Fatal("it fights without a pause")
		}
		time.Sleep(retryExtra + time.Millisecond)
		if !h.holds(vip) {
			t.Fatal("the pause does not end")
		}
		a.do(a.speaker.Stop)
		remove()
		if h.holds(vip) {
			t.Fatal("who is no master puts an address back")
		}
	})
}

func TestAMasterWithoutItsAddressIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		h.refuse = errTest
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(4 * time.Second)
		if s := a.status()[0]; s.State != vrrp.Fault || !slices.Contains(s.Faults, causeLacking) {
			t.Fatalf("%v, faults %v", s.State, s.Faults)
		}
		if log.has("BACKUP to MASTER") || len(h.announcedSoFar()) > 0 {
			t.Error("somebody was told that it is master")
		}
		if sent := h.wire.sent(t); len(sent) > 0 {
			t.Errorf("the first advert has priority %d", sent[0].Priority)
		}
		h.mu.Lock()
		h.refuse = nil
		h.mu.Unlock()
		time.Sleep(retryAddress + 4*time.Second)
		if !h.holds(vip) || a.status()[0].State != vrrp.Master {
			t.Fatal("it is not tried again")
		}
	})
}

func TestAdvertsDoNotWaitForAHostThatSetsAddressesSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		h.slow = 2500 * time.Millisecond
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(3700 * time.Millisecond)
		if sent := h.wire.sent(t); len(sent) != 1 || a.status()[0].State != vrrp.Backup {
			t.Errorf("%d adverts before the addresses are there, %s", len(sent), a.status()[0].State)
		}
		time.Sleep(2 * time.Second)
		if sent := h.wire.sent(t); len(sent) != 2 || h.announcements() != 0 || log.has("Entering MASTER STATE") {
			t.Errorf("two seconds later: %d adverts, %d announcements\n%s", len(sent), h.announcements(), log)
		}
		time.Sleep(time.Second)
		if a.status()[0].State != vrrp.Master || h.announcements() != 5 || !h.holds(vip) {
			t.Errorf("with them: %s, %d announcements", a.status()[0].State, h.announcements())
		}
	})
}

func TestAnAddressThatNoKernelTakesIsSaidAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		h.refuse = syscall.EINVAL
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(4 * time.Second)
		if a.status()[0].State != vrrp.Master || !log.has("invalid argument") {
			t.Fatalf("%v", a.status()[0].State)
		}
	})
}

func TestStaticEntriesFollowTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		h.taken()
		static := netip.MustParsePrefix("192.0.2.1/32")
		a.do(func(time.Time) {
			a.settle(statics{promote: []string{"eth0"}, addresses: []host.Address{{Prefix: static, Dev: "eth0"}}, routes: []host.NewRoute{routeOne}, rules: []host.NewRule{ruleOne}})
		})
		if got := h.taken(); got != "net/ipv4/conf/eth0/promote_secondaries=1; +203.0.113.0/24 via 10.0.8.1; +1000: from 10.0.8.9 lookup 250" || !h.holds(static) {
			t.Errorf("a start asks for %s", got)
		}
		a.do(func(time.Time) { a.settle(statics{routes: []host.NewRoute{routeOne, routeTwo}}) })
		if got := h.taken(); got != "-1000: from 10.0.8.9 lookup 250; net/ipv4/conf/eth0/promote_secondaries=0; +198.51.100.0/24 dev eth0" || h.holds(static) {
			t.Errorf("a reload asks for %s", got)
		}
	})
}
