package host

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

func TestClaimantsAreOtherStations(t *testing.T) {
	c := newCable(t)
	const taken, free, ours = "10.9.0.9", "10.9.0.10", "10.9.0.1"
	c.do(func() { setUp(t, c.far, taken+"/32") })
	var mac MAC
	c.do(func() {
		l, err := netlink.LinkByName(c.far)
		check(t, err)
		mac = MAC(l.Attrs().HardwareAddr)
	})
	ask := []netip.Addr{addr(taken), addr(free), addr(ours), addr("fd00::9")}
	waitFor(t, "the far end answers for its address and for no other", func() bool {
		found, err := Claimants(c.near, ask, 100*time.Millisecond)
		check(t, err)
		return len(found) == 1 && found[addr(taken)] == mac
	})
	if found, err := Claimants("lo", ask, time.Second); err != nil || found != nil {
		t.Errorf("on lo: %v, %v", found, err)
	}
	if _, err := Claimants("none0", ask, time.Second); err == nil {
		t.Error("there is no interface none0")
	}
}

func FuzzClaimed(f *testing.F) {
	f.Add(GratuitousARP(MAC{2, 0, 0, 0, 0, 1}, addr("10.9.0.9")))
	f.Add(arpProbe(MAC{2, 0, 0, 0, 0, 1}, addr("10.9.0.9")))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if a, _, ok := claimed(frame); ok && (!a.Is4() || a.IsUnspecified()) {
			t.Errorf("%x claims %s", frame, a)
		}
	})
}

func TestWhatAFrameClaims(t *testing.T) {
	mac := MAC{2, 0, 0, 0, 0, 1}
	if a, m, ok := claimed(GratuitousARP(mac, addr("10.9.0.9"))); !ok || a != addr("10.9.0.9") || m != mac {
		t.Errorf("a gratuitous ARP claims %s, %s, %v", a, m, ok)
	}
	probe := arpProbe(mac, addr("10.9.0.9"))
	if _, _, ok := claimed(probe); ok || len(probe) != GratuitousARPLen {
		t.Errorf("a probe of %d bytes claims: %v", len(probe), ok)
	}
}
