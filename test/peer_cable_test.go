package test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vipd/internal/lab"
)

// peerVIP is the address that the nodes of a pair contend for; it is 10.9.0.1 and 10.9.0.2 that they send adverts from.
var peerVIP = netip.MustParseAddr("10.9.0.9")

// pair is two nodes, a and b, each on a switch of its own, and a cable between the switches. Pulling it parts the nodes
// and neither sees its link go down.
type pair struct {
	name  string
	lab   *lab.Lab
	nodes [2]*node
	watch *watch
	begun time.Time       // of the act under way
	took  []time.Duration // of each act
	went  []string        // in each act
	// grumble says that keepalived may complain of what it hears.
	grumble bool
}

func newPair(t *testing.T, name string) *pair {
	t.Helper()
	p := &pair{name: name, lab: lab.Named(name, filepath.Join(t.TempDir(), name), name+"-", program(), nil)}
	p.lab.Site = lab.Site{Network: lab.Network{
		Name:  name,
		Hosts: []lab.Host{{Name: "a"}, {Name: "b"}, {Name: "switcha", Bridge: "br0"}, {Name: "switchb", Bridge: "br0"}},
		Cables: []lab.Cable{
			{A: plug("a", "eth0", 1, "10.9.0.1/24"), B: plug("switcha", "node", 2)},
			{A: plug("b", "eth0", 3, "10.9.0.2/24"), B: plug("switchb", "node", 4)},
			{A: plug("switcha", "trunk", 5), B: plug("switchb", "trunk", 6)},
		},
	}}
	if err := p.lab.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.lab.Down(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func plug(host, ifname string, mac byte, addrs ...string) lab.End {
	e := lab.End{Host: host, If: ifname, MAC: [6]byte{2, 0, 0, 9, 0, mac}}
	for _, a := range addrs {
		e.Addrs = append(e.Addrs, netip.MustParsePrefix(a))
	}
	return e
}

// cable plugs the cable between the switches in, or pulls it.
func (p *pair) cable(t *testing.T, in bool) {
	t.Helper()
	inside(t, p.lab.Namespace("switcha"), func() error {
		link, err := netlink.LinkByName("trunk")
		if err != nil {
			return err
		}
		if in {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// watch looks every few milliseconds which of a pair's nodes have the virtual address.
type watch struct {
	stop    chan struct{}
	over    sync.WaitGroup
	mu      sync.Mutex
	changes []change
	dead    [2]bool // killed, so that what it has counts for nothing
	err     error
}

// change is a moment from which on other nodes have the address: "", "a", "b" or "ab".
type change struct {
	at      time.Time
	holders string
}

func startWatch(t *testing.T, p *pair) *watch {
	t.Helper()
	w := &watch{stop: make(chan struct{})}
	var hosts [2]*netlink.Handle
	for i, name := range []string{"a", "b"} {
		ns, err := netns.GetFromName(p.lab.Namespace(name))
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if hosts[i], err = netlink.NewHandleAt(ns); err != nil {
			t.Fatal(err)
		}
	}
	w.over.Go(func() { w.run(hosts) })
	t.Cleanup(func() {
		close(w.stop)
		w.over.Wait()
		for _, h := range hosts {
			h.Close()
		}
	})
	return w
}

func (w *watch) run(hosts [2]*netlink.Handle) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		now, holders := time.Now(), ""
		for i, h := range hosts {
			has, err := holds(h)
			w.mu.Lock()
			if err != nil {
				w.err = err
			} else if has && !w.dead[i] {
				holders += string(rune('a' + i))
			}
			w.mu.Unlock()
		}
		w.mu.Lock()
		if len(w.changes) == 0 || w.changes[len(w.changes)-1].holders != holders {
			w.changes = append(w.changes, change{now, holders})
		}
		w.mu.Unlock()
	}
}

func holds(h *netlink.Handle) (bool, error) {
	addrs, err := h.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		return ip == peerVIP
	}), nil
}

// ignore says that node i is dead, or lives again.
func (w *watch) ignore(i int, dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[i] = dead
}

// since tells of the time from begin to now: who has the address at the end, since when, and for how long both had it
// at a time at most.
func (w *watch) since(begin time.Time) (holders string, settled, both time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.changes) == 0 {
		return "", 0, 0, fmt.Errorf("nothing was seen yet (%v)", w.err)
	}
	for i, c := range w.changes {
		until := time.Now()
		if i+1 < len(w.changes) {
			until = w.changes[i+1].at
		}
		if c.holders == "ab" && until.After(begin) {
			from := c.at
			if from.Before(begin) {
				from = begin
			}
			both = max(both, until.Sub(from))
		}
	}
	last := w.changes[len(w.changes)-1]
	return last.holders, max(0, last.at.Sub(begin)), both, w.err
}

// history prints the changes for a person.
func (w *watch) history() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	for _, c := range w.changes {
		fmt.Fprintf(&out, "%s %q\n", c.at.Format("15:04:05.000"), c.holders)
	}
	return out.String()
}
