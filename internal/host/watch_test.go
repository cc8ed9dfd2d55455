package host

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watcher runs a Watcher until the test ends and gives what it says by a channel.
func watcher(t *testing.T, w *Watcher) <-chan Event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, ended := make(chan Event, 4096), make(chan error, 1)
	go func() { ended <- w.Run(ctx, func(e Event) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-ended)
	})
	return events
}

// expect reads events until one is as wanted.
func expect(t *testing.T, events <-chan Event, what string, is func(Event) bool) {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case e := <-events:
			if is(e) {
				return
			}
		case <-timeout:
			t.Fatalf("no event tells that %s", what)
		}
	}
}

func TestWatchBeginsWithAllThereIs(t *testing.T) {
	c := newCable(t)
	w, err := OpenWatch()
	check(t, err)
	first := (<-watcher(t, w)).(Resync)
	links, addresses := map[string]bool{}, map[netip.Prefix]bool{}
	for _, l := range first.Links {
		links[l.Name] = true
	}
	for _, a := range first.Addresses {
		addresses[a.Prefix] = true
	}
	if !links["lo"] || !links[c.near] || !addresses[netip.MustParsePrefix("10.9.0.1/24")] {
		t.Fatalf("got %+v", first)
	}
}

func TestWatchTellsEveryKindOfChange(t *testing.T) {
	c := newCable(t)
	w, err := OpenWatch()
	check(t, err)
	events := watcher(t, w)
	a := vip(c.near, "10.9.0.100/32")
	check(t, AddAddress(a))
	expect(t, events, "the address is new", func(e Event) bool {
		got, ok := e.(AddressEvent)
		return ok && got.Prefix == a.Prefix && !got.Gone && got.Proto == Protocol
	})
	check(t, DelAddress(a))
	expect(t, events, "the address is gone", func(e Event) bool {
		got, ok := e.(AddressEvent)
		return ok && got.Prefix == a.Prefix && got.Gone
	})
	near, err := netlink.LinkByName(c.near)
	check(t, err)
	neigh := &netlink.Neigh{LinkIndex: near.Attrs().Index, IP: addr("10.9.0.7").AsSlice(), HardwareAddr: Broadcast[:], State: unix.NUD_PERMANENT}
	check(t, netlink.NeighSet(neigh))
	expect(t, events, "the neighbour is new", func(e Event) bool {
		got, ok := e.(NeighbourEvent)
		return ok && got.Addr == addr("10.9.0.7") && got.MAC == Broadcast && got.Usable() && !got.Gone
	})
	check(t, netlink.NeighDel(neigh))
	expect(t, events, "the neighbour is gone", func(e Event) bool {
		got, ok := e.(NeighbourEvent)
		return ok && got.Addr == addr("10.9.0.7") && (got.Gone || !got.Usable())
	})
	_, dst, err := netlinkNet("10.77.0.0/16")
	check(t, err)
	check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: near.Attrs().Index, Dst: dst, Gw: addr("10.9.0.2").AsSlice()}))
	expect(t, events, "the route is new", func(e Event) bool {
		got, ok := e.(RouteEvent)
		return ok && got.Dst == netip.MustParsePrefix("10.77.0.0/16") && got.Via == addr("10.9.0.2") && !got.Gone
	})
	rule := NewRule{Priority: 1234, From: "10.9.0.7", Table: "300"}
	check(t, AddRule(rule))
	expect(t, events, "the rule is new", func(e Event) bool { return e == RuleEvent{} })
	check(t, DelRule(rule))
	expect(t, events, "the rule is gone", func(e Event) bool { return e == RuleEvent{Gone: true} })
	check(t, netlink.LinkSetDown(near))
	expect(t, events, "the link is down", func(e Event) bool {
		got, ok := e.(LinkEvent)
		return ok && got.Name == c.near && !got.Up && !got.Gone
	})
	check(t, netlink.LinkDel(near))
	expect(t, events, "the link is gone", func(e Event) bool {
		got, ok := e.(LinkEvent)
		return ok && got.Name == c.near && got.Gone
	})
}

func TestLeavingABridgeIsNoLinkGone(t *testing.T) {
	body := make([]byte, ifinfomsgLen)
	body[0] = unix.AF_BRIDGE
	body[4] = 7
	body = append(body, attrString(unix.IFLA_IFNAME, "eth0")...)
	tell(message{Type: unix.RTM_DELLINK, Body: body}, func(e Event) { t.Fatalf("told %+v", e) })
	body[0] = unix.AF_UNSPEC
	var told int
	tell(message{Type: unix.RTM_DELLINK, Body: body}, func(e Event) { told++ })
	if told != 1 {
		t.Fatal("a link that is gone is not told")
	}
}

// The socket holds a few messages only, so that changes made before Run are lost.
func TestLostChangesAreMadeUpForByAResync(t *testing.T) {
	c := newCable(t)
	w, err := openWatch(2048)
	check(t, err)
	a := vip(c.near, "10.9.0.100/32")
	for range 50 {
		check(t, AddAddress(a))
		check(t, DelAddress(a))
	}
	check(t, AddAddress(a))
	events := watcher(t, w)
	for i := range 2 {
		expect(t, events, "there is a Resync with the last address", func(e Event) bool {
			all, ok := e.(Resync)
			if !ok {
				return false
			}
			for _, got := range all.Addresses {
				if got.Prefix == a.Prefix {
					return true
				}
			}
			t.Fatalf("Resync %d lacks the address", i)
			return false
		})
	}
}

func TestWatchThatIsNeverRunCanBeClosed(t *testing.T) {
	newCable(t)
	w, err := OpenWatch()
	check(t, err)
	w.Close()
}
