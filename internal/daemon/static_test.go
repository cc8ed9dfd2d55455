package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

const staticFile = `
track_group G { group { VI_1 } }
static_ipaddress { 10.0.9.7/24 dev eth1 track_group G }
static_rules { from 10.0.9.7 table 300 preference 400 }
static_routes { 10.99.0.0/24 via 10.0.8.2 dev eth2 track_group G
 10.98.0.0/24 via 10.0.8.2 dev eth3 }
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	unicast_src_ip 10.0.8.25
	unicast_peer { 10.0.8.24 }
	track_src_ip
	virtual_ipaddress { 10.0.8.9
	 10.0.8.10 no_track }
}
`

// told has the daemon hear that an address is gone, or there.
func (d *daemon) told(addr string, index int, gone bool) {
	d.ha.changed(host.AddressEvent{Assigned: host.Assigned{Ifindex: index, Prefix: netip.MustParsePrefix(addr)}, Gone: gone})
	synctest.Wait()
}

// runStatic is a master by staticFile, as a start or reload leaves it.
func runStatic(t *testing.T) (d *daemon, r *poolRig, h *fakeHost, end func()) {
	d, r, h, end = runDaemonWith(t, staticFile, func(h *fakeHost) {
		h.followable()
		h.links = map[string]bool{"eth1": true, "eth2": true, "eth3": true}
	})
	d.ha.do(func(time.Time) {
		d.ha.settle(staticsOf(d.cfg))
		d.ha.equip(extrasOf(d.cfg))
	})
	time.Sleep(5 * time.Second)
	if s := d.vi1(t); s.State != vrrp.Master {
		t.Fatalf("it is %v, %v", s.State, s.Faults)
	}
	return d, r, h, end
}

func TestWhatIsStaticIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, h, end := runStatic(t)
		defer end()
		static, free := netip.MustParsePrefix("10.0.9.7/24"), netip.MustParsePrefix("10.0.8.10/32")
		h.DelAddress(host.Address{Prefix: static})
		d.told(static.String(), 2, true)
		if !h.holds(static) || !r.log.has("Restoring deleted static address 10.0.9.7/24 dev eth1") {
			t.Error("it is not put back, or nothing is said")
		}
		h.DelAddress(host.Address{Prefix: free})
		d.told(free.String(), 2, true)
		if h.holds(free) || d.vi1(t).State != vrrp.Master {
			t.Error("an address with no_track is put back, or it is not master any more")
		}
		h.mu.Lock()
		h.notes = nil
		h.mu.Unlock()
		for _, gone := range []host.Event{host.RouteEvent{Gone: true}, host.RuleEvent{Gone: true}} {
			d.ha.changed(gone)
			time.Sleep(retryExtra + time.Millisecond)
			d.ha.do(func(time.Time) {})
			h.mu.Lock()
			if len(h.notes) != 3 || h.notes[0][0] != '+' || h.notes[2][0] != '+' {
				t.Errorf("after %T: %q", gone, h.notes)
			}
			h.notes = nil
			h.mu.Unlock()
		}
	})
}

func TestASourceThatGoesIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, h, end := runStatic(t)
		defer end()
		for _, gone := range []bool{true, false} {
			h.mu.Lock()
			h.missing = map[string]bool{"10.0.8.25": gone}
			h.mu.Unlock()
			d.told("10.0.8.25/24", 7, gone) // of whatever interface it is
			if s := d.vi1(t); (s.State == vrrp.Fault) != gone {
				t.Errorf("gone %v: %v, %v", gone, s.State, s.Faults)
			}
		}
	})
}

// keepalived: a track_group is about the interfaces that its entries stand on.
func TestATrackGroupFollowsTheInterfacesOfItsEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, h, end := runStatic(t)
		defer end()
		for _, dev := range []string{"eth1", "eth2", "eth3"} {
			for _, up := range []bool{false, true} {
				h.mu.Lock()
				h.links[dev] = up
				h.mu.Unlock()
				d.ha.changed(host.LinkEvent{Link: host.Link{Index: 2, Name: dev}})
				if s := d.vi1(t); (s.State == vrrp.Fault) != (!up && dev != "eth3") {
					t.Errorf("%s up %v: %v, %v", dev, up, s.State, s.Faults)
				}
			}
		}
	})
	followers, _ := followersOf(&conf.Config{TrackGroups: []conf.TrackGroup{{Name: "G", Instances: []string{"A"}}}, Instances: []vrrp.Config{{Name: "A"}, {Name: "B"}},
		StaticRules: []conf.Rule{{In: "eth7", TrackGroup: "G"}, {Out: "eth8"}}})
	if i := slices.IndexFunc(followers, func(f vrrp.Follower) bool { return len(f.Things) > 0 }); i != 0 || len(followers[0].Things) != 1 || len(followers[1].Things) != 0 {
		t.Errorf("%+v", followers)
	}
}
