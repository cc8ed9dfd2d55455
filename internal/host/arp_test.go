package host

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A frame of keepalived 2.2.7, as captured.
const keepalivedGARP = "ffffffffffff 8e02b049fda2 0806" + "0001 0800 06 04 0001" +
	"8e02b049fda2 0a090064" + "ffffffffffff 0a090064"

func TestGratuitousARPIsKeepalivedsByteForByte(t *testing.T) {
	got := GratuitousARP(MAC{0x8e, 0x02, 0xb0, 0x49, 0xfd, 0xa2}, addr("10.9.0.100"))
	if want := unhex(t, keepalivedGARP); !bytes.Equal(got, want) || len(got) != GratuitousARPLen {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
}

// tap receives the ARP frames that come to the far end.
func tap(t *testing.T, c *cable) func() []byte {
	t.Helper()
	var conn *packet.Conn
	c.do(func() {
		l, err := LinkByName(c.far)
		check(t, err)
		conn, err = packet.Listen(&net.Interface{Index: l.Index, Name: l.Name}, packet.Raw, unix.ETH_P_ARP, nil)
		check(t, err)
	})
	t.Cleanup(func() { conn.Close() })
	return func() []byte {
		t.Helper()
		check(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		buf := make([]byte, 100)
		n, _, err := conn.ReadFrom(buf)
		check(t, err)
		return buf[:n]
	}
}

func announcer(t *testing.T) *Announcer {
	a := NewAnnouncer()
	t.Cleanup(func() { check(t, a.Close()) })
	return a
}

func TestAnnounceIsSeenOnTheWireInOrder(t *testing.T) {
	c := newCable(t)
	next, a := tap(t, c), announcer(t)
	l, err := LinkByName(c.near)
	check(t, err)
	vips := []netip.Addr{addr("10.9.0.100"), addr("fd00:9::1"), addr("10.9.0.101")}
	for range 2 {
		check(t, a.Announce(c.near, vips...))
		for _, v := range []netip.Addr{vips[0], vips[2]} {
			if got, want := next(), GratuitousARP(l.MAC, v); !bytes.Equal(got, want) {
				t.Fatalf("got  %x\nwant %x", got, want)
			}
		}
	}
}

func TestAnnounceUsesTheMACThatTheInterfaceHasNow(t *testing.T) {
	c := newCable(t)
	next, a := tap(t, c), announcer(t)
	check(t, a.Announce(c.near, addr("10.9.0.100")))
	next()
	setMAC(t, c.near, "02:00:00:00:00:77")
	check(t, a.Announce(c.near, addr("10.9.0.100")))
	if got := next(); !bytes.Equal(got[6:12], []byte{2, 0, 0, 0, 0, 0x77}) {
		t.Fatalf("got %x", got)
	}
}

func TestAnnounceSurvivesAnInterfaceMadeAnew(t *testing.T) {
	a := announcer(t)
	c := newCable(t)
	check(t, a.Announce(c.near, addr("10.9.0.100")))
	old, err := netlink.LinkByName(c.near)
	check(t, err)
	check(t, netlink.LinkDel(old))
	if err := a.Announce(c.near, addr("10.9.0.100")); !errors.Is(err, ErrNoInterface) {
		t.Fatalf("without the interface: %v", err)
	}
	other := newCable(t)
	fresh, err := netlink.LinkByName(other.near)
	check(t, err)
	check(t, netlink.LinkSetDown(fresh))
	check(t, netlink.LinkSetName(fresh, c.near))
	check(t, netlink.LinkSetUp(fresh))
	other.near = c.near
	next := tap(t, other)
	check(t, a.Announce(c.near, addr("10.9.0.101")))
	if got := next(); !bytes.Equal(got[28:32], addr("10.9.0.101").AsSlice()) {
		t.Fatalf("got %x", got)
	}
}

func TestAnnounceOnLoopbackDoesNothing(t *testing.T) {
	newCable(t)
	a := announcer(t)
	check(t, a.Announce("lo", addr("10.9.0.100")))
	if len(a.conns) != 0 {
		t.Fatal("a socket was opened")
	}
}
