package test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// failovers is how often each kind of failover is measured; VIPD_FAILOVERS says otherwise.
func failovers() int {
	if n, err := strconv.Atoi(os.Getenv("VIPD_FAILOVERS")); err == nil && n > 0 {
		return n
	}
	return 5
}

// pace is a timing of the adverts: the site's, and the fastest that version 3 knows.
type pace struct {
	name, lines string
	wait        time.Duration // until a pair has settled
}

var paces = []pace{
	{"1 s adverts, version 2", "advert_int 1", 5500 * time.Millisecond},
	{"10 ms adverts, version 3", "version 3\n    advert_int 0.01", 700 * time.Millisecond},
}

// TestFailoverBesideKeepalived measures, in one run and one after the other, how long the address is gone when the master
// is killed and when it is told to stop. It is a benchmark (make bench) and asserts only that the other takes over.
func TestFailoverBesideKeepalived(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 25*time.Minute, "keepalived") {
		return
	}
	for _, speed := range paces {
		for n, k := range []kind{theirs, ours} {
			p := newPair(t, fmt.Sprintf("f%d%d", len(speed.lines), n))
			config := func(priority int) string {
				return fmt.Sprintf("vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    state BACKUP\n    priority %d\n    %s\n    virtual_ipaddress {\n        %s/24\n    }\n}\n",
					priority, speed.lines, peerVIP)
			}
			p.newNode(t, a, k, config(100))
			p.newNode(t, b, k, config(150))
			for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				times := p.failovers(t, how, speed.wait)
				slices.Sort(times)
				t.Logf("%-26s %-10s %-9s median %8s worst %8s of %d", speed.name, k, map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGTERM: "stop"}[how],
					times[len(times)/2].Round(100*time.Microsecond), times[len(times)-1].Round(100*time.Microsecond), len(times))
			}
		}
	}
}

// failovers ends the master again and again and gives the times until the backup has the address.
func (p *pair) failovers(t *testing.T, how syscall.Signal, wait time.Duration) (times []time.Duration) {
	t.Helper()
	backup := p.netlink(t, "a")
	for range failovers() {
		for _, n := range p.nodes {
			if n.cmd == nil {
				n.start(t)
			}
		}
		time.Sleep(wait)
		p.calmBackup(t, backup)
		began := time.Now()
		ended := make(chan struct{})
		go func() { defer close(ended); p.nodes[b].end(t, how) }()
		for has := false; !has; {
			var err error
			if has, err = holds(backup); err != nil || time.Since(began) > 10*time.Second {
				t.Fatalf("the backup does not take over: %v\n%s", err, p.nodes[a].said(t))
			}
		}
		times = append(times, time.Since(began))
		<-ended
		p.dropVIP(t, "b") // what a killed one left
	}
	return times
}

// calmBackup waits until the backup has been without the address for a while: with 10 ms adverts a busy machine makes
// pairs change places by themselves.
func (p *pair) calmBackup(t *testing.T, backup *netlink.Handle) {
	t.Helper()
	since := time.Now()
	for end := time.Now().Add(30 * time.Second); time.Since(since) < 300*time.Millisecond; time.Sleep(2 * time.Millisecond) {
		has, err := holds(backup)
		if err != nil || time.Now().After(end) {
			t.Fatalf("the backup does not stay one: %v", err)
		}
		if has {
			since = time.Now()
		}
	}
}

func (p *pair) netlink(t *testing.T, host string) *netlink.Handle {
	t.Helper()
	ns, err := netns.GetFromName(p.lab.Namespace(host))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func (p *pair) dropVIP(t *testing.T, host string) {
	inside(t, p.lab.Namespace(host), func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		for _, addr := range addrs {
			if ip, _ := netip.AddrFromSlice(addr.IP.To4()); ip == peerVIP {
				err = netlink.AddrDel(link, &addr)
			}
		}
		return err
	})
}
