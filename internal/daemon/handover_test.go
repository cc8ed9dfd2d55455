package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/need"
	"vipd/internal/vrrp"
)

func TestARestartIsFoundAmongSystemdsJobs(t *testing.T) {
	list := " 71 probe.service start   running\n154 vipd.service  restart running\n"
	for _, c := range []struct {
		list, unit string
		want       bool
	}{
		{list, "vipd.service", true},
		{list, "probe.service", false},
		{list, "vipd@b.service", false},
		{strings.ReplaceAll(list, "restart", "stop"), "vipd.service", false},
		{strings.ReplaceAll(list, "restart", "try-restart"), "vipd.service", true},
		{"No jobs running.\n", "vipd.service", false},
		{"", "vipd.service", false},
	} {
		if got := jobIsRestart(c.list, c.unit); got != c.want {
			t.Errorf("of %s in %q: %v", c.unit, c.list, got)
		}
	}
}

// An order that was carried out is answered as such, even if the daemon ends meanwhile, and the daemon does not end before it is.
func TestWhoOrdersAnUpgradeHasTheAnswerBeforeTheDaemonEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{events: quiet(t, new(journal)), orders: make(chan func())}
		said := make(chan error, 1)
		end := d.serveOn(t.Context(), nil, func(ctx context.Context, _ net.Listener, _ control.Source) error {
			asked, cancel := context.WithCancel(context.Background())
			go func() {
				<-ctx.Done()
				cancel() // as what a handler is given ends with the server
			}()
			err := d.order(asked, func() {})
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // the answer is on its way
			said <- err
			return nil
		})
		fn := <-d.orders
		fn()
		end()
		select {
		case err := <-said:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("it was not waited for")
		}
	})
}

// What a process hands over is what the next one needs: adverts go on, and the addresses stay on the host meanwhile.
func TestAMasterHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		time.Sleep(5 * time.Second)
		h.wire.sent(t)
		var masters []mastership
		a.do(func(now time.Time) {
			masters, _ = a.handOver(now)
			a.drain(now)
		})
		if len(masters) != 1 || masters[0].Instance != "VI_1" || masters[0].Within != 3*time.Second || len(masters[0].Addresses) != 1 {
			t.Fatalf("%+v", masters)
		}
		if sent := h.wire.sent(t); len(sent) != 1 || sent[0].Priority != 100 || !h.holds(vip) {
			t.Errorf("sent %+v, holds the address: %v", sent, h.holds(vip))
		}
	})
}

func TestWhoFollowsABFDSessionSaysGoodbyeInstead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := newFakeHost(), new(journal)
		a, end := runHA(t, h, log)
		defer end()
		thing := vrrp.Thing{Kind: vrrp.TrackBFD, Name: "peer"}
		a.do(func(now time.Time) {
			a.track.trackers.Follow(now, []vrrp.Follower{{Instance: "VI_1", Things: []vrrp.Tracked{{Thing: thing}}}})
			a.track.trackers.Observe(now, thing, vrrp.Up(true))
		})
		time.Sleep(5 * time.Second)
		h.wire.sent(t)
		a.do(func(now time.Time) {
			if masters, _ := a.handOver(now); len(masters) != 0 {
				t.Errorf("%+v", masters)
			}
			a.drain(now)
		})
		if sent := h.wire.sent(t); len(sent) != 1 || sent[0].Priority != 0 || h.holds(vip) {
			t.Errorf("sent %+v, holds the address: %v", sent, h.holds(vip))
		}
	})
}

func TestWhatWasHandedOverMayBeOfNoUse(t *testing.T) {
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		h    handover
		want string
	}{
		{handover{Version: handoverVersion, Boot: boot}, ""},
		{handover{Version: handoverVersion + 1, Boot: boot}, "it has version 2, this one reads 1"},
		{handover{Version: handoverVersion, Boot: "another"}, "it is of before the last boot"},
	} {
		said := ""
		if err := c.h.usable(); err != nil {
			said = err.Error()
		}
		if said != c.want {
			t.Errorf("%+v: %q, want %q", c.h, said, c.want)
		}
	}
}

// A process that begins elsewhere than the one before, or cannot begin, takes the addresses away where they are, and nowhere else.
func TestAddressesOfTheProcessBeforeGoInItsNamespace(t *testing.T) {
	need.Root(t)
	ip, name := need.Tool(t, "ip"), fmt.Sprintf("vipd-handover-%d", os.Getpid())
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(ip, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("netns", "add", name)
	defer run("netns", "del", name)
	run("-n", name, "link", "set", "lo", "up")
	run("-n", name, "addr", "add", "192.0.2.77/32", "dev", "lo")
	there := func() bool {
		return strings.Contains(run("-n", name, "addr", "show", "dev", "lo"), "192.0.2.77")
	}
	var st unix.Stat_t
	if err := unix.Stat(host.NamespacePath(name), &st); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	ev, err := newEvents(&said, "", false)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{events: ev}
	h := handover{Namespace: name, NamespaceID: "1:1", Masters: []mastership{{Mastership: vrrp.Mastership{Instance: "VI_1"},
		Addresses: []host.Address{{Prefix: netip.MustParsePrefix("192.0.2.77/32"), Dev: "lo"}}}}}
	d.removeHanded(h)
	if !there() {
		t.Error("it went from a namespace that only has the same name")
	}
	h.NamespaceID = fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	if err := h.here(); err == nil || err.Error() != "the process before was in network namespace "+name {
		t.Errorf("it is taken for here: %v", err)
	}
	d.removeHanded(h)
	if there() {
		t.Errorf("it is still there:\n%s", &said)
	}
	h.Namespace = ""
	d.removeHanded(h)
	if want := "(VI_1) the addresses of the process before are still in another network namespace: it has no name to enter it by"; !strings.Contains(said.String(), want) {
		t.Errorf("said %q", &said)
	}
}
