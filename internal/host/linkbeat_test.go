package host

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func TestADriverTellsOfItsLinkWhenItIsAsked(t *testing.T) {
	c := newCable(t) // a veth has no transceiver, and tells ethtool
	for wanted, want := range map[Linkbeat]Linkbeat{"": LinkbeatEthtool, LinkbeatMII: LinkbeatEthtool, LinkbeatEthtool: LinkbeatEthtool, LinkbeatIOCTL: LinkbeatIOCTL} {
		got, err := FindLinkbeat(c.near, wanted)
		check(t, err)
		if got != want {
			t.Errorf("wanted %q, found %s", wanted, got)
		}
	}
	if got, err := FindLinkbeat("none0", LinkbeatMII); err != nil || got != LinkbeatIOCTL {
		t.Errorf("of an interface that there is not: %s, %v", got, err)
	}
	if up, err := LinkbeatEthtool.Up(c.near); !up || err != nil {
		t.Errorf("with a link: %v, %v", up, err)
	}
	c.do(func() {
		far, err := netlink.LinkByName(c.far)
		check(t, err)
		check(t, netlink.LinkSetDown(far))
	})
	waitFor(t, "the link is down", func() bool {
		up, err := LinkbeatEthtool.Up(c.near)
		return !up && err == nil
	})
	if up, err := LinkbeatIOCTL.Up(c.near); !up || err != nil {
		t.Errorf("the flags are not looked at here: %v, %v", up, err)
	}
	if up, err := LinkbeatMII.Up(c.near); !up || err == nil {
		t.Errorf("a driver that does not answer: %v, %v", up, err)
	}
}
