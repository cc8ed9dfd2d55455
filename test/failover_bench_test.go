package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vipd/internal/host"
)

// failovers is how often each kind of failover is measured; VIPD_FAILOVERS says otherwise.
func failovers() int {
	if n, err := strconv.Atoi(os.Getenv("VIPD_FAILOVERS")); err == nil && n > 0 {
		return n
	}
	return 10
}

// pace is a timing of the adverts: the site's, and the fastest that version 3 knows.
type pace struct {
	name, lines string
	every       time.Duration
	pairs       int // of each program at a time: with adverts every second they mostly wait
}

var paces = []pace{
	{"1 s adverts, version 2", "advert_int 1", time.Second, 3},
	{"10 ms adverts, version 3", "version 3\n    advert_int 0.01", 10 * time.Millisecond, 1},
}

// wait is what a backup of priority 100 waits by the protocol, after an advert and after one of priority 0. RFC 3768 §6.1:
// "(3 * Advertisement_Interval) + Skew_time", "( (256 - Priority) / 256 )"; RFC 9568 §6.1: the latter times the interval.
func (s pace) wait() (afterAdvert, afterZero time.Duration) {
	skew := s.every * (256 - 100) / 256
	return 3*s.every + skew, skew
}

// measured is one failover: until the backup has the address, and how much of that is beyond what the protocol has it
// wait, counted from the last advert that it heard (a stop: from the signal). moment is that between two adverts at which the
// master was ended: the times of two programs are compared by it, as they differ by up to an interval with it.
type measured struct {
	moment       int
	took, beyond time.Duration
	other        bool // one more advert left before it was ended, each time that it was tried
}

// momentTries is how often a moment is tried that passes before the master is ended.
const momentTries = 3

// config is the same for both nodes: of two equal ones that is master which was there first, so that whoever was killed
// comes back as the backup, and the next to be killed is the other.
func (s pace) config() string {
	return fmt.Sprintf("vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    state BACKUP\n    priority 100\n    %s\n    virtual_ipaddress {\n        %s/24\n    }\n}\n",
		s.lines, peerVIP)
}

// TestFailoverBesideKeepalived measures how long the address is gone when the master is killed and when it is told to
// stop: pairs of keepalived and of vipd beside each other at the same time, and the moments between two adverts at which
// a master is killed are the same for both. It is a benchmark (make bench).
func TestFailoverBesideKeepalived(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 25*time.Minute, "keepalived") {
		return
	}
	for _, speed := range paces {
		for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			var times, beyond [2][]time.Duration
			var at [2]map[int]time.Duration // by moment
			t.Run(fmt.Sprintf("%s, %s", speed.name, how), func(t *testing.T) {
				var mu sync.Mutex
				for n, k := range []kind{theirs, ours} {
					for i := range speed.pairs {
						t.Run(fmt.Sprintf("%s %d", k, i), func(t *testing.T) {
							t.Parallel()
							got := speed.failovers(t, fmt.Sprintf("f%d%d%d%d", speed.pairs, how, n, i), k, how, i)
							mu.Lock()
							defer mu.Unlock()
							for _, m := range got {
								times[n], beyond[n] = append(times[n], m.took), append(beyond[n], m.beyond)
								if at[n] == nil {
									at[n] = map[int]time.Duration{}
								}
								if !m.other {
									at[n][m.moment] = m.took
								}
							}
						})
					}
				}
			})
			for n, k := range []kind{theirs, ours} {
				if len(times[n]) == 0 {
					t.Fatal("nothing was measured")
				}
				t.Logf("%-26s %-10s %-9s %s; beyond the protocol's wait: %s; %d times", speed.name, k, map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGTERM: "stop"}[how],
					summary(times[n]), summary(beyond[n]), len(times[n]))
			}
			var longer []time.Duration
			for moment, took := range at[1] {
				if other, both := at[0][moment]; both {
					longer = append(longer, took-other)
				}
			}
			if len(longer) > 0 {
				t.Logf("%-26s vipd's times less keepalived's of the same moments: %s; %d moments", speed.name, summary(longer), len(longer))
			}
		}
	}
}

func summary(all []time.Duration) string {
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("median %8.1f ms, worst %8.1f ms", ms(all[len(all)/2]), ms(all[len(all)-1]))
}

// failovers is one pair's share: it ends the master again and again and gives the times until the backup has the
// address, as the kernel tells it.
func (s pace) failovers(t *testing.T, name string, k kind, how syscall.Signal, share int) (all []measured) {
	t.Helper()
	p := newPair(t, name)
	var got [2]<-chan time.Time
	var heard [2]<-chan time.Time
	for i := range p.nodes {
		p.newNode(t, i, k, s.config())
		got[i] = arrivals(t, p, i)
		heard[i] = hearing(t, p, i)
	}
	p.nodes[a].start(t)
	next(t, got[a], p, "the first to start is master")
	for n := share; n < failovers(); n += s.pairs {
		for try := 1; ; try++ {
			m := s.failover(t, p, got, heard, how, n)
			if !m.other || try == momentTries {
				all = append(all, m)
				break
			}
		}
	}
	return all
}

// failover ends the master of a pair once, at a moment between two adverts: the n-th of so many as there are failovers.
func (s pace) failover(t *testing.T, p *pair, got, heard [2]<-chan time.Time, how syscall.Signal, n int) measured {
	t.Helper()
	for i, node := range p.nodes {
		if node.cmd == nil {
			read := p.read(t)[i]
			node.start(t)
			eventually(t, 20*time.Second, node.String()+" starts", func() bool { return entering.MatchString(node.said(t)[read:]) })
		}
	}
	master := p.settled(t, s)
	backup := 1 - master
	drop(heard[backup])
	advert := next(t, heard[backup], p, "an advert")
	time.Sleep(time.Until(advert.Add(s.every * time.Duration(2*n+1) / time.Duration(2*failovers()))))
	drop(got[backup])
	began := time.Now()
	ended := make(chan struct{})
	go func() { defer close(ended); p.nodes[master].end(t, how) }()
	has := next(t, got[backup], p, "the backup takes over")
	<-ended
	last := advert
	for len(heard[backup]) > 0 { // up to the takeover
		if at := <-heard[backup]; at.Before(has) {
			last = at
		}
	}
	down, skew := s.wait()
	m := measured{moment: n, took: has.Sub(began), beyond: has.Sub(began) - skew}
	if how == syscall.SIGKILL {
		m.beyond, m.other = has.Sub(last)-down, last != advert
	}
	p.dropVIP(t, p.nodes[master].host) // what a killed one left
	return m
}

// settled waits until one node alone has had the address for a while, and gives it: with 10 ms adverts a busy machine
// makes pairs change places by themselves.
func (p *pair) settled(t *testing.T, s pace) int {
	t.Helper()
	hosts := [2]*netlink.Handle{p.netlink(t, "a"), p.netlink(t, "b")}
	holder, since := -1, time.Now()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		now := -1
		for i, h := range hosts {
			has, err := holds(h)
			switch {
			case err != nil:
				t.Fatal(err)
			case has && now < 0:
				now = i
			case has:
				now = 2
			}
		}
		if now != holder {
			holder, since = now, time.Now()
		}
		if holder == a || holder == b {
			if time.Since(since) > 2*s.every+300*time.Millisecond {
				return holder
			}
		}
	}
	t.Fatalf("the pair does not settle:\n%s\n%s", p.nodes[a].said(t), p.nodes[b].said(t))
	return 0
}

// drop forgets moments that have been.
func drop(moments <-chan time.Time) {
	for len(moments) > 0 {
		<-moments
	}
}

func next(t *testing.T, moments <-chan time.Time, p *pair, what string) time.Time {
	t.Helper()
	select {
	case at := <-moments:
		return at
	case <-time.After(15 * time.Second):
		t.Fatalf("waited in vain: %s\n%s\n%s", what, p.nodes[a].said(t), p.nodes[b].said(t))
		return time.Time{}
	}
}

// arrivals are the moments at which node i gets the address.
func arrivals(t *testing.T, p *pair, i int) <-chan time.Time {
	t.Helper()
	ns, err := netns.GetFromName(p.lab.Namespace(string(rune('a' + i))))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	updates, done := make(chan netlink.AddrUpdate, 64), make(chan struct{})
	if err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{Namespace: &ns}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(done) })
	moments := make(chan time.Time, 1024)
	go func() {
		for u := range updates {
			if ip, _ := netip.AddrFromSlice(u.LinkAddress.IP.To4()); u.NewAddr && ip == peerVIP {
				moments <- time.Now()
			}
		}
	}()
	return moments
}

// hearing gives the moments at which node i hears one, but of priority 0.
func hearing(t *testing.T, p *pair, i int) <-chan time.Time {
	t.Helper()
	var s *host.VRRPSocket
	inside(t, p.lab.Namespace(string(rune('a'+i))), func() (err error) {
		if s, err = host.ListenVRRP(host.Endpoint{Dev: "eth0"}); err == nil {
			err = s.Join(host.VRRPGroup)
		}
		return err
	})
	moments := make(chan time.Time, 4096)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 2048)
		for {
			n, err := s.Recv(buf)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err == nil && n > 24 && binary.BigEndian.Uint16(buf[20:])&0xff == 51 && buf[22] > 0 {
				select {
				case moments <- time.Now():
				default:
				}
			}
		}
	}()
	t.Cleanup(func() { s.Close(); <-ended })
	return moments
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

// TestFastAdvertsUnderLoad has pairs with adverts every 10 ms beside each other while every processor is kept busy, for
// ten minutes or what VIPD_CALM says: vipd's master stays master. It is a benchmark (make bench).
func TestFastAdvertsUnderLoad(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	during, err := time.ParseDuration(os.Getenv("VIPD_CALM"))
	if err != nil {
		during = 10 * time.Minute
	}
	if !alone(t, during+2*time.Minute, "keepalived") {
		return
	}
	speed := paces[len(paces)-1]
	var pairs [2]*pair
	var moments [2][2]<-chan time.Time
	for n, k := range []kind{theirs, ours} {
		p := newPair(t, fmt.Sprintf("load%d", n))
		pairs[n] = p
		for i := range p.nodes {
			p.newNode(t, i, k, speed.config())
			moments[n][i] = arrivals(t, p, i)
			p.nodes[i].start(t)
			if i == a {
				next(t, moments[n][a], p, "the first to start is master")
			}
		}
	}
	load(t)
	time.Sleep(5 * time.Second) // they have settled
	for _, of := range moments {
		drop(of[a])
		drop(of[b])
	}
	busy := busyShare()
	time.Sleep(during)
	for n, k := range []kind{theirs, ours} {
		count := len(moments[n][a]) + len(moments[n][b])
		t.Logf("%-10s %d false failovers in %s, processors %.0f %% busy", k, count, during, 100*busy())
		if k == ours && count > 0 {
			t.Error("there may be none")
		}
	}
	for _, n := range pairs[1].nodes {
		t.Logf("%s:\n%s", n, works(t, "vrrp", "--instance", n.pair.name+"-"+n.host))
	}
}

// load keeps every processor busy until the test ends.
func load(t *testing.T) {
	t.Helper()
	for range runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}
