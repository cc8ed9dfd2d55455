package probe

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/health"
	"vipd/internal/need"
)

// inEmptyNamespace runs fn in a network namespace of its own, which ends with it: the thread is never given back.
func inEmptyNamespace(t *testing.T, fn func()) {
	t.Helper()
	need.Root(t)
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		fn()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRoutesThatDoNotLeadThereAreToldApart(t *testing.T) {
	inEmptyNamespace(t, func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		for _, r := range []struct {
			to    string
			kind  int
			table int
		}{
			{"10.9.1.0/24", unix.RTN_UNREACHABLE, 0},
			{"10.9.2.0/24", unix.RTN_PROHIBIT, 0},
			{"10.9.3.0/24", unix.RTN_UNREACHABLE, 77},
		} {
			_, dst, _ := net.ParseCIDR(r.to)
			if err == nil {
				err = netlink.RouteAdd(&netlink.Route{Dst: dst, Type: r.kind, Table: r.table})
			}
		}
		rule := netlink.NewRule()
		rule.Mark, rule.Table, rule.Family = 7, 77, unix.AF_INET
		if err == nil {
			err = netlink.RuleAdd(rule)
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, row := range []struct {
			name, target string
			mark         uint32
			want         health.Result
		}{
			{"no route at all", "10.9.3.1:80", 0, health.Result{Why: "network unreachable"}},
			{"the same with a mark that leads to another table", "10.9.3.1:80", 7, health.Result{Why: "no route to host"}},
			{"a route that says unreachable", "10.9.1.1:80", 0, health.Result{Why: "no route to host"}},
			{"a route that says prohibited is a local rule", "10.9.2.1:80", 0, health.Result{Why: "permission denied", Inconclusive: true}},
			{"nobody listens", "127.0.0.2:80", 0, health.Result{Why: "connection refused"}},
		} {
			c := check(row.target)
			c.Mark = row.mark
			got := Run(context.Background(), c)
			got.Took = 0
			if got != row.want {
				t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
			}
		}
	})
}
