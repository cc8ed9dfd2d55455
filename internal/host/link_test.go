package host

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestLinkByNameTellsWhatItIs(t *testing.T) {
	c := newCable(t)
	setMAC(t, c.near, "02:00:00:00:00:01")
	l, err := LinkByName(c.near)
	check(t, err)
	if l.Name != c.near || l.MAC.String() != "02:00:00:00:00:01" || l.MTU != 1500 || !l.Ready() || !l.Ethernet || l.Loopback || l.Index < 2 {
		t.Fatalf("got %+v", l)
	}
	lo, err := LinkByName("lo")
	check(t, err)
	if !lo.Loopback || lo.Ethernet || lo.MTU != 65536 {
		t.Fatalf("got %+v", lo)
	}
}

func TestLinkWithoutCarrierIsUpButNotReady(t *testing.T) {
	c := newCable(t)
	c.do(func() {
		far, err := netlink.LinkByName(c.far)
		check(t, err)
		check(t, netlink.LinkSetDown(far))
	})
	waitFor(t, "the carrier is gone", func() bool {
		l, err := LinkByName(c.near)
		return err == nil && l.Up && !l.Running && !l.Ready()
	})
}

func TestUnknownInterfaceIsATypedError(t *testing.T) {
	newCable(t)
	for _, name := range []string{"nosuch0", "", "a-name-that-is-too-long", "a/b"} {
		_, err := LinkByName(name)
		var missing *NoInterfaceError
		if !errors.As(err, &missing) || missing.Name != name || !errors.Is(err, ErrNoInterface) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestUpLinksLeavesOutLoopbackAndWhatIsDown(t *testing.T) {
	c := newCable(t)
	off := netlink.NewLinkAttrs()
	off.Name = "off0"
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: off, PeerName: "off1"}))
	t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Veth{LinkAttrs: off}) })
	links, err := UpLinks()
	check(t, err)
	names := make([]string, 0, len(links))
	for _, l := range links {
		names = append(names, l.Name)
	}
	if !slices.Equal(names, []string{c.near}) {
		t.Fatalf("got %v", names)
	}
}
