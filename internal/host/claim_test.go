package host

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

func TestClaimantsAreOtherStations(t *testing.T) {
	c, other := newCable(t), newCable(t)
	const taken, free, ours, taken6, local6, free6 = "10.9.0.9", "10.9.0.10", "10.9.0.1", "fd00::9", "fe80::9", "fd00::10"
	var mac MAC
	c.do(func() {
		setUp(t, c.far, taken+"/32", taken6+"/128", local6+"/64")
		mac = macOf(t, c.far)
	})
	var otherMAC MAC
	other.do(func() {
		setUp(t, other.far, free+"/32", free6+"/128")
		otherMAC = macOf(t, other.far)
	})
	all := []netip.Addr{addr(taken), addr(free), addr(ours), addr(taken6), addr(local6), addr(free6)}
	want := map[string]map[netip.Addr]MAC{
		c.near:     {addr(taken): mac, addr(taken6): mac, addr(local6): mac},
		other.near: {addr(free): otherMAC, addr(free6): otherMAC},
	}
	waitFor(t, "each far end answers for its addresses and for no other", func() bool {
		found, err := Claimants(map[string][]netip.Addr{c.near: all, other.near: all, "lo": all}, 200*time.Millisecond)
		check(t, err)
		return reflect.DeepEqual(found, want)
	})
	waitFor(t, "an interface that there is not is no loss to the other", func() bool {
		found, err := Claimants(map[string][]netip.Addr{c.near: {addr(taken)}, "none0": all}, 200*time.Millisecond)
		return errors.Is(err, ErrNoInterface) && found[c.near][addr(taken)] == mac && len(found) == 1
	})
}

func macOf(t *testing.T, dev string) MAC {
	l, err := netlink.LinkByName(dev)
	check(t, err)
	return MAC(l.Attrs().HardwareAddr)
}

func FuzzClaimed(f *testing.F) {
	f.Add(GratuitousARP(MAC{2, 0, 0, 0, 0, 1}, addr("10.9.0.9")))
	f.Add(arpProbe(MAC{2, 0, 0, 0, 0, 1}, addr("10.9.0.9")))
	f.Add(NeighbourAdvert(MAC{2, 0, 0, 0, 0, 1}, addr("fd00::9"), false))
	f.Add(neighbourProbe(MAC{2, 0, 0, 0, 0, 1}, addr("fe80::1"), addr("fd00::9")))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if a, _, ok := claimed(frame); ok && (!a.Is4() || a.IsUnspecified()) {
			t.Errorf("%x claims %s", frame, a)
		}
		if a, _, ok := claimed6(frame); ok && (!a.Is6() || a.IsUnspecified()) {
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
	if a, m, ok := claimed6(NeighbourAdvert(mac, addr("fd00::9"), true)); !ok || a != addr("fd00::9") || m != mac {
		t.Errorf("a neighbour advertisement claims %s, %s, %v", a, m, ok)
	}
	other := NeighbourAdvert(mac, addr("fd00::9"), true)
	other[11] = 7 // a proxy sends it: what is learnt is the option's
	if _, m, _ := claimed6(other); m != mac {
		t.Errorf("sent by another station it claims %s", m)
	}
	if _, m, ok := claimed6(other[:bareNeighbourLen]); !ok || m != (MAC{2, 0, 0, 0, 0, 7}) {
		t.Errorf("without an option it claims %s, %v", m, ok)
	}
	solicitation := neighbourProbe(mac, addr("fe80::1"), addr("fd00::12:3456"))
	if _, _, ok := claimed6(solicitation); ok || len(solicitation) != neighbourProbeLen || icmpv6Sum(solicitation[14:]) != 0 {
		t.Errorf("a solicitation %x claims: %v", solicitation, ok)
	}
	if to := MAC(solicitation[:6]); to != (MAC{0x33, 0x33, 0xff, 0x12, 0x34, 0x56}) {
		t.Errorf("it goes to %s", to)
	}
}
