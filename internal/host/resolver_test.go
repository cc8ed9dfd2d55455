package host

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func netlinkNet(s string) (net.IP, *net.IPNet, error) { return net.ParseCIDR(s) }

// hops runs a resolver and keeps the last hop of every address.
type hops struct {
	t    *testing.T
	r    *Resolver
	mu   sync.Mutex
	last map[netip.Addr]Hop
	told int
	stop func()
}

func resolve(t *testing.T, change func(*Resolver), addrs ...string) *hops {
	t.Helper()
	h := &hops{t: t, last: map[netip.Addr]Hop{}}
	h.r = NewResolver(func(hop Hop) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.last[hop.Addr] = hop
		h.told++
	})
	if change != nil {
		change(h.r)
	}
	h.set(addrs...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.r.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		check(t, <-ended)
	})
	t.Cleanup(h.stop)
	return h
}

func (h *hops) set(addrs ...string) {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, addr(a))
	}
	h.r.Set(list)
}

// wait waits until the hop of an address is as wanted.
func (h *hops) wait(a, what string, is func(Hop) bool) Hop {
	h.t.Helper()
	var last Hop
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		h.mu.Lock()
		hop, ok := h.last[addr(a)]
		h.mu.Unlock()
		if ok && is(hop) {
			return hop
		}
		last = hop
	}
	h.t.Fatalf("after 10 s it is not so that %s: %s is %+v", what, a, last)
	return Hop{}
}

func (h *hops) waitMAC(a, mac string) Hop {
	h.t.Helper()
	return h.wait(a, "the MAC is "+mac, func(hop Hop) bool { return hop.OK && hop.Dst.String() == mac })
}

func neighbourOf(t *testing.T, a string) (Neighbour, bool) {
	t.Helper()
	all, err := Neighbours()
	check(t, err)
	for _, n := range all {
		if n.Addr == addr(a) {
			return n, true
		}
	}
	return Neighbour{}, false
}

func quickARP(t *testing.T, c *cable) {
	t.Helper()
	for s, value := range map[string]string{"retrans_time_ms": "100", "delay_first_probe_time": "1", "base_reachable_time_ms": "500",
		"interval_probe_time_ms": "500"} {
		sysctl(t, "net/ipv4/neigh/"+c.near+"/"+s, value)
	}
}

func TestNextHopOnTheLinkIsResolvedAndManaged(t *testing.T) {
	c := newCable(t)
	setMAC(t, c.near, "02:00:00:00:00:01")
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:02") })
	h := resolve(t, nil, "10.9.0.2")
	hop := h.waitMAC("10.9.0.2", "02:00:00:00:00:02")
	near, err := LinkByName(c.near)
	check(t, err)
	want := Hop{Addr: addr("10.9.0.2"), OK: true, Via: addr("10.9.0.2"), Carrier: Carrier{Ifindex: near.Index}, IfName: c.near, Src: near.MAC, Dst: hop.Dst,
		MTU: 1500, Source: addr("10.9.0.1")}
	if hop != want {
		t.Fatalf("got  %+v\nwant %+v", hop, want)
	}
	if n, ok := neighbourOf(t, "10.9.0.2"); !ok || !n.Managed || n.Proto != Protocol {
		t.Fatalf("neighbour %+v", n)
	}
	h.stop()
	if n, _ := neighbourOf(t, "10.9.0.2"); n.Managed || !n.Usable() {
		t.Fatalf("neighbour after the end: %+v", n)
	}
}

func TestNextHopIsTheGateway(t *testing.T) {
	c := newCable(t)
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:02") })
	h := resolve(t, nil, "10.77.1.1")
	h.wait("10.77.1.1", "there is no route", func(hop Hop) bool { return !hop.OK && strings.Contains(hop.Why, "unreachable") })
	l, err := netlink.LinkByName(c.near)
	check(t, err)
	_, dst, err := netlinkNet("10.77.0.0/16")
	check(t, err)
	route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: addr("10.9.0.2").AsSlice()}
	check(t, netlink.RouteAdd(route))
	if hop := h.waitMAC("10.77.1.1", "02:00:00:00:00:02"); hop.Via != addr("10.9.0.2") {
		t.Fatalf("got %+v", hop)
	}
	check(t, netlink.RouteDel(route))
	h.wait("10.77.1.1", "there is no route again", func(hop Hop) bool { return !hop.OK && hop.Dst == MAC{} })
	waitFor(t, "the gateway is let go", func() bool {
		n, _ := neighbourOf(t, "10.9.0.2")
		return !n.Managed
	})
}

func TestNextHopFollowsAChangedRoute(t *testing.T) {
	one, two := newCable(t), newCable(t)
	check(t, DelAddress(vip(two.near, "10.9.0.1/24")))
	setUp(t, two.near, "10.8.0.1/24")
	two.do(func() { setUp(t, two.far, "10.8.0.2/24") })
	one.do(func() { setMAC(t, one.far, "02:00:00:00:00:11") })
	two.do(func() { setMAC(t, two.far, "02:00:00:00:00:22") })
	_, dst, err := netlinkNet("10.77.0.0/16")
	check(t, err)
	check(t, netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: addr("10.9.0.2").AsSlice()}))
	h := resolve(t, nil, "10.77.1.1")
	h.waitMAC("10.77.1.1", "02:00:00:00:00:11")
	check(t, netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: addr("10.8.0.2").AsSlice()}))
	if hop := h.waitMAC("10.77.1.1", "02:00:00:00:00:22"); hop.IfName != two.near {
		t.Fatalf("got %+v", hop)
	}
}

func TestNeighbourThatAnnouncesAnotherMACIsFollowed(t *testing.T) {
	c := newCable(t)
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:02") })
	h := resolve(t, nil, "10.9.0.2")
	h.waitMAC("10.9.0.2", "02:00:00:00:00:02")
	sysctl(t, "net/ipv4/neigh/"+c.near+"/locktime", "0") // otherwise the kernel ignores a change within a second
	c.do(func() {
		setMAC(t, c.far, "02:00:00:00:00:03")
		a := announcer(t)
		check(t, a.Announce(c.far, addr("10.9.0.2")))
	})
	h.waitMAC("10.9.0.2", "02:00:00:00:00:03")
}

func TestNeighbourThatChangesItsMACInSilenceIsFoundByTheKernelsProbes(t *testing.T) {
	c := newCable(t)
	quickARP(t, c)
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:02") })
	h := resolve(t, nil, "10.9.0.2")
	h.waitMAC("10.9.0.2", "02:00:00:00:00:02")
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:03") })
	h.waitMAC("10.9.0.2", "02:00:00:00:00:03")
}

func TestNeighbourThatDoesNotAnswerIsNeverGuessedAndComesBack(t *testing.T) {
	for name, how := range map[string]solicitation{"kept by the kernel": keep, "kept by requests": ask} {
		t.Run(name, func(t *testing.T) {
			c := newCable(t)
			quickARP(t, c)
			h := resolve(t, func(r *Resolver) {
				r.how = how
				r.kick = 300 * time.Millisecond
			}, "10.9.0.2", "10.9.0.3")
			h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
			h.wait("10.9.0.3", "it is not resolved", func(hop Hop) bool {
				return !hop.OK && hop.Dst == MAC{} && hop.Why == "no neighbour 10.9.0.3 on "+c.near
			})
			if n, ok := neighbourOf(t, "10.9.0.2"); !ok || n.Managed != (how == keep) {
				t.Fatalf("neighbour %+v", n)
			}
			c.do(func() { check(t, DelAddress(vip(c.far, "10.9.0.2/24"))) })
			h.wait("10.9.0.2", "it has failed", func(hop Hop) bool { return !hop.OK && hop.Dst == MAC{} })
			c.do(func() { check(t, AddAddress(vip(c.far, "10.9.0.2/24"))) })
			h.wait("10.9.0.2", "it is back", func(hop Hop) bool { return hop.OK })
			c.do(func() { check(t, AddAddress(vip(c.far, "10.9.0.3/24"))) })
			h.wait("10.9.0.3", "it is there", func(hop Hop) bool { return hop.OK })
		})
	}
}

func TestOwnAddressIsLocalAndHasNoFrame(t *testing.T) {
	c := newCable(t)
	h := resolve(t, nil, "10.9.0.1", "10.9.0.50")
	h.wait("10.9.0.1", "it is local", func(hop Hop) bool { return hop.Local && !hop.OK && hop.Dst == MAC{} })
	h.wait("10.9.0.50", "it is elsewhere", func(hop Hop) bool { return !hop.Local })
	check(t, AddAddress(vip(c.near, "10.9.0.50/32")))
	h.wait("10.9.0.50", "it has become local", func(hop Hop) bool { return hop.Local })
}

func TestLinkIsFollowed(t *testing.T) {
	c := newCable(t)
	h := resolve(t, nil, "10.9.0.2")
	h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
	setMAC(t, c.near, "02:00:00:00:00:99")
	h.wait("10.9.0.2", "the source is the new MAC", func(hop Hop) bool { return hop.OK && hop.Src.String() == "02:00:00:00:00:99" })
	down := func(dev string) {
		l, err := netlink.LinkByName(dev)
		check(t, err)
		check(t, netlink.LinkSetDown(l))
	}
	c.do(func() { down(c.far) })
	h.wait("10.9.0.2", "there is no carrier", func(hop Hop) bool { return !hop.OK && strings.Contains(hop.Why, "no carrier") })
	c.do(func() { setUp(t, c.far) })
	h.wait("10.9.0.2", "it is resolved again", func(hop Hop) bool { return hop.OK })
	down(c.near)
	h.wait("10.9.0.2", "there is no way", func(hop Hop) bool { return !hop.OK })
	setUp(t, c.near)
	h.wait("10.9.0.2", "it is resolved once more", func(hop Hop) bool { return hop.OK })
}

func TestSetReplacesTheSet(t *testing.T) {
	c := newCable(t)
	c.do(func() { check(t, AddAddress(vip(c.far, "10.9.0.3/24"))) })
	h := resolve(t, nil, "10.9.0.2")
	h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
	h.set("10.9.0.3")
	h.wait("10.9.0.3", "it is resolved", func(hop Hop) bool { return hop.OK })
	waitFor(t, "the first is let go", func() bool {
		n, _ := neighbourOf(t, "10.9.0.2")
		return !n.Managed
	})
	h.mu.Lock()
	delete(h.last, addr("10.9.0.2"))
	h.mu.Unlock()
	h.set("10.9.0.2", "10.9.0.3")
	h.wait("10.9.0.2", "it is told anew", func(hop Hop) bool { return hop.OK })
}

func TestPermanentNeighbourIsUsedAndLeftAlone(t *testing.T) {
	c := newCable(t)
	l, err := netlink.LinkByName(c.near)
	check(t, err)
	check(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: addr("10.9.0.9").AsSlice(),
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}, State: unix.NUD_PERMANENT}))
	h := resolve(t, nil, "10.9.0.9")
	h.waitMAC("10.9.0.9", "02:00:00:00:00:09")
	h.stop()
	if n, ok := neighbourOf(t, "10.9.0.9"); !ok || n.Managed || n.State != unix.NUD_PERMANENT {
		t.Fatalf("neighbour %+v", n)
	}
}

func TestDeletedNeighbourIsAskedForAgain(t *testing.T) {
	c := newCable(t)
	h := resolve(t, nil, "10.9.0.2")
	h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
	l, err := netlink.LinkByName(c.near)
	check(t, err)
	check(t, netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: addr("10.9.0.2").AsSlice()}))
	waitFor(t, "it is managed and resolved", func() bool {
		n, _ := neighbourOf(t, "10.9.0.2")
		return n.Managed && n.Usable()
	})
	h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
}

// One resolver that ends takes nothing from another that uses the same next hop.
// TestNextHopIsAskedForAtOnceWhenTheLinkReturns: the kernel gives a managed one up while the cable is out, and would ask again at its next
// probe, which is seconds later; until then a master would refuse clients.
func TestNextHopIsAskedForAtOnceWhenTheLinkReturns(t *testing.T) {
	c := newCable(t)
	sysctl(t, "net/ipv4/neigh/"+c.near+"/retrans_time_ms", "100") // it gives up after three of these
	c.do(func() { setMAC(t, c.far, "02:00:00:00:00:02") })
	h := resolve(t, func(r *Resolver) { r.kick = time.Hour }, "10.9.0.2")
	h.waitMAC("10.9.0.2", "02:00:00:00:00:02")
	plug := func(in bool) {
		c.do(func() {
			far, err := netlink.LinkByName(c.far)
			check(t, err)
			if in {
				check(t, netlink.LinkSetUp(far))
			} else {
				check(t, netlink.LinkSetDown(far))
			}
		})
	}
	for range 3 { // its probes come every five seconds, so that one of them may be in time by chance
		plug(false)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			n, ok := neighbourOf(t, "10.9.0.2")
			if ok && n.Managed && n.State == unix.NUD_FAILED {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the kernel has not given it up: %+v, %v", n, ok)
			}
		}
		h.wait("10.9.0.2", "there is no next hop", func(hop Hop) bool { return !hop.OK })
		plug(true)
		back := time.Now()
		h.waitMAC("10.9.0.2", "02:00:00:00:00:02")
		if took := time.Since(back); took > 1500*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	}
}

func TestTwoResolversShareANextHop(t *testing.T) {
	newCable(t)
	one, two := resolve(t, nil, "10.9.0.2"), resolve(t, nil, "10.9.0.2")
	for _, h := range []*hops{one, two} {
		h.wait("10.9.0.2", "it is resolved", func(hop Hop) bool { return hop.OK })
	}
	two.mu.Lock()
	before := two.told
	two.mu.Unlock()
	one.stop()
	waitFor(t, "the second manages it", func() bool {
		n, _ := neighbourOf(t, "10.9.0.2")
		return n.Managed
	})
	two.mu.Lock()
	defer two.mu.Unlock()
	if two.told != before {
		t.Fatalf("the second was disturbed: %+v", two.last)
	}
}

func TestHopIsNeverOKWithoutAllItNeeds(t *testing.T) {
	a := addr("10.0.0.1")
	unicast := Route{Type: unix.RTN_UNICAST, Ifindex: 2}
	eth := Link{Index: 2, Name: "eth0", MAC: MAC{2}, Up: true, Running: true, Ethernet: true}
	good := Neighbour{MAC: MAC{4}, State: unix.NUD_REACHABLE}
	tests := []struct {
		name  string
		route Route
		err   error
		link  Link
		neigh Neighbour
		why   string
	}{
		{"all is known", unicast, nil, eth, good, ""},
		{"a stale MAC is still the MAC", unicast, nil, eth, Neighbour{MAC: MAC{4}, State: unix.NUD_STALE}, ""},
		{"the route is missing", Route{}, errors.New("no route"), eth, good, "no route"},
		{"a broadcast address", Route{Type: unix.RTN_BROADCAST, Ifindex: 2}, nil, eth, good, "is not a unicast destination"},
		{"the interface is gone", unicast, nil, Link{}, good, "interface 2 is gone"},
		{"the interface is down", unicast, nil, Link{Index: 2, Name: "eth0"}, good, "interface eth0 is down"},
		{"a tunnel has no MAC", unicast, nil, Link{Index: 2, Name: "tun0", Up: true, Running: true}, good, "interface tun0 is not Ethernet"},
		{"the neighbour has failed", unicast, nil, eth, Neighbour{MAC: MAC{4}, State: unix.NUD_FAILED}, "no neighbour 10.0.0.1 on eth0"},
		{"the neighbour is being asked for", unicast, nil, eth, Neighbour{State: unix.NUD_INCOMPLETE}, "no neighbour 10.0.0.1 on eth0"},
		{"the neighbour has no MAC", unicast, nil, eth, Neighbour{State: unix.NUD_NOARP}, "no neighbour 10.0.0.1 on eth0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hopTo(a, tt.route, tt.err, map[int]Link{tt.link.Index: tt.link}, tt.neigh)
			if h.OK != (tt.why == "") || h.Why != tt.why {
				t.Fatalf("got %+v", h)
			}
			if !h.OK && (h.Dst != MAC{} || h.Src != MAC{}) {
				t.Fatalf("a MAC is guessed: %+v", h)
			}
		})
	}
}

// TestNextHopOfIPv6: neighbour discovery for one on the link, and for the gateway of one that is not.
func TestNextHopOfIPv6(t *testing.T) {
	c := newCable(t)
	add6 := func(name, mac, prefix string) {
		setMAC(t, name, mac)
		l, err := netlink.LinkByName(name)
		check(t, err)
		a, err := netlink.ParseAddr(prefix)
		check(t, err)
		a.Flags = unix.IFA_F_NODAD
		check(t, netlink.AddrAdd(l, a))
	}
	add6(c.near, "02:00:00:00:00:01", "fd09::1/64")
	c.do(func() { add6(c.far, "02:00:00:00:00:02", "fd09::2/64") })
	l, err := netlink.LinkByName(c.near)
	check(t, err)
	_, dst, err := netlinkNet("fd77::/32")
	check(t, err)
	check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: addr("fd09::2").AsSlice()}))
	h := resolve(t, nil, "fd09::2", "fd77::1", "fd09::1")
	if hop := h.waitMAC("fd09::2", "02:00:00:00:00:02"); hop.Via != addr("fd09::2") || hop.Source != addr("fd09::1") || hop.IfName != c.near ||
		hop.Src.String() != "02:00:00:00:00:01" || hop.MTU != 1500 {
		t.Errorf("on the link: %+v", hop)
	}
	if hop := h.waitMAC("fd77::1", "02:00:00:00:00:02"); hop.Via != addr("fd09::2") {
		t.Errorf("behind the gateway: %+v", hop)
	}
	h.wait("fd09::1", "it is local", func(hop Hop) bool { return hop.Local && !hop.OK })
}
